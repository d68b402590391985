# SPDX-License-Identifier: Apache-2.0
"""``sealroom image``: the digest of an image on disk, and the images of a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, FILE_OR_FOLDER, json_option
from sealroom_agents.cli.terminal import Red, complain, plural, size, table
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.released import Release


@click.group()
def image() -> None:
    """The images of enclave and gate: what is on disk, what a release names, what a recipe asks for.

    \b
    Example:
      sealroom image digest .build/images/enclave --recipe app-compose.json
      sealroom image release
    """


@image.command()
@click.argument("path", metavar="IMAGE", type=FILE_OR_FOLDER)
@click.option("--recipe", "recipe_file", type=FILE, metavar="FILE", help="The recipe that must name it.")
@click.option(
    "--release", "release_file", type=FILE, metavar="FILE",
    help="The file of a release that must name it.  [default: that of this version, which need not]",
)  # fmt: skip
@click.option("--tag", help="Which image, where the layout has several.")
@json_option
def digest(
    path: Path, recipe_file: Path | None, release_file: Path | None, tag: str | None, as_json: bool
) -> None:
    """Compute the digest of IMAGE, a folder in the OCI layout or a tar of one, and compare it.

    All layers are hashed. Nothing is run, and no registry is asked: `skopeo copy` fetches an image to disk.

    \b
    Exit status: 0 where recipe and release name this image, as far as they were given; 1 otherwise.

    \b
    Example:
      skopeo copy docker://ghcr.io/sealroom/enclave@sha256:DIGEST oci:enclave
      sealroom image digest enclave --recipe app-compose.json
    """
    from sealroom_agents import released
    from sealroom_agents.oci_image import read_image

    wanted = None if recipe_file is None else _image_of(recipe_file)
    release = released.published() if release_file is None else released.load(release_file)
    found = read_image(path, tag=tag)
    named = None if wanted is None else wanted.endswith(f"@{found.digest}")
    name = None if release is None else _name_in(release, found.digest)
    # What a recipe names is to run as the enclave, which no other image of a release does.
    misplaced = named is True and name not in (None, "enclave")
    differs = named is False or misplaced or (release_file is not None and name is None)
    if as_json:
        told = {
            "ok": not differs,
            "code": Code.IMAGE_DIFFERS if differs else None,
            "digest": found.digest,
            "config": found.config,
            "platform": found.platform,
            "created": found.created,
            "user": found.user,
            "layers": found.layers,
            "bytes": found.size,
            "release": None if release is None else {"version": release.release, "image": name},
            "recipe": named,
        }
        click.echo(json.dumps(told))
    else:
        rows = [
            ("digest", found.digest),
            ("platform", found.platform),
            ("made", found.created or "at no time that it tells"),
            ("runs as", found.user or "root"),
            ("holds", f"{plural(found.layers, 'layer')}, {size(found.size)}, all of it hashed"),
        ]
        if release is None:
            rows.append(("release", "no image of this version was published"))
        elif name is None:
            rows.append(("release", Red(f"{release.release} names other images")))
        else:
            said = f"{release.release} names it: {name}"
            rows.append(("release", Red(f"{said}, which is no enclave") if misplaced else said))
        if wanted is not None:
            rows.append(("recipe", "names it" if named else Red(f"names {wanted}")))
        click.echo(table(rows))
    if differs:
        complain(
            Code.IMAGE_DIFFERS.sentence,
            "build from the release's commit with its builder; see agents/deploy/README.md",
        )
        raise SystemExit(CommandExit.FAILED)


@image.command("release")
@click.argument("file", metavar="[FILE]", type=FILE, required=False)
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """Tell the images of a release: of this version, or of FILE as `make images` wrote it.

    \b
    Example:
      sealroom image release
      sealroom image release .build/images/release.json --json
    """
    from sealroom_agents import released

    found = released.require_published() if file is None else released.load(file)
    if as_json:
        click.echo(found.encode())
        return
    click.echo(
        table(
            [
                ("release", found.release),
                *((name, one.reference) for name, one in sorted(found.images.items())),
                ("commit", found.commit),
                ("base", found.base),
                ("builder", found.builder),
                ("epoch", str(found.epoch)),
            ]
        )
    )


def _image_of(file: Path) -> str:
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse
    from sealroom_agents.cli.terminal import read_bounded

    return parse(read_bounded(file, MAX_COMPOSE_BYTES, "a recipe")).image


def _name_in(release: Release, digest: str) -> str | None:
    return next((name for name, one in sorted(release.images.items()) if one.digest == digest), None)
