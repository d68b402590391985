# SPDX-License-Identifier: Apache-2.0
"""The images of a release, by digest, and the name that stands where there is none.

`make images` writes the file of a release, canonical JSON of at most 64 KiB::

    {"base": "python:3.11-slim-bookworm@sha256:…", "builder": "buildah 1.28.2", "commit": "40 hex digits",
     "epoch": 1790000000,
     "images": {"agents": {"digest": "sha256:…", "name": "ghcr.io/sealroom/agents", "sbom": "sha256:…"},
                "enclave": {…}},
     "release": "0.1.0", "version": 1}

`epoch` is the second of all files that a build wrote, `sbom` the digest of the bill of materials beside it.
Whoever publishes the images puts the file into `studies/`, from where templates take the enclave. It is left
out of the images themselves, whose digests it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, parse_canonical
from sealroom.errors import FormatError, RecipeError
from sealroom.recipe.appcompose import check_image
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.errors import ToolError

RELEASE_FILE = Path(__file__).parent / "studies" / "release.json"
"""That of this version; absent where no image was published."""
MAX_RELEASE_BYTES = 64 * 1024
VERSION = 1
NAMES = ("agents", "enclave")
"""What each release has: gate, watcher and console; and the enclave."""
LOCAL_HOST = "local.invalid"
"""No registry can have this name (RFC 2606)."""
LOCAL_IMAGE = f"{LOCAL_HOST}/sealroom/enclave@sha256:{('10ca1' * 13)[:64]}"
"""Stands in a study of a local room, whose enclave runs from the installed package, where no release is."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BASE = re.compile(r"[a-z0-9][a-z0-9./:_-]{0,150}@sha256:[0-9a-f]{64}")
_ZEROS = f"@sha256:{'0' * 64}"


@dataclass(frozen=True)
class Released:
    """One image of a release."""

    name: str
    """Registry and repository."""
    digest: str
    """`sha256:` and 64 hex digits, of the manifest."""
    sbom: str
    """The same of its bill of materials."""

    @property
    def reference(self) -> str:
        """As recipes and compose files name it."""
        return f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Release:
    """All images of a release, and from what they were built."""

    release: str
    """Version of the package."""
    commit: str
    """Git's name of the sources."""
    epoch: int
    """Unix second."""
    builder: str
    """Program and version: another writes the same files as other bytes."""
    base: str
    """Image below ours, by digest."""
    images: dict[str, Released]
    """By the names in `NAMES`."""

    def encode(self) -> bytes:
        """The file. Raises `ToolError` `release-malformed`."""
        content = {
            "version": VERSION,
            **{name: getattr(self, name) for name in ("release", "commit", "epoch", "builder", "base")},
            "images": {
                name: {"name": one.name, "digest": one.digest, "sbom": one.sbom}
                for name, one in self.images.items()
            },
        }
        data = canonical(content)
        decode(data)
        return data


def decode(data: bytes, what: str = "the release") -> Release:
    """A release from its file's bytes; `what` names it. Raises `ToolError` `release-malformed`."""
    try:
        content = parse_canonical(data, MAX_RELEASE_BYTES)
    except FormatError as error:
        raise ToolError(Code.RELEASE_MALFORMED, f"{what}: {error.message}", _HINT) from None
    fields = _fields(content, what)
    fields.version(VERSION)
    images = _fields(fields.object("images"), f"images of {what}")
    release = Release(
        release=fields.text("release", limit=40, pattern=re.compile(r"[0-9][0-9A-Za-z.+-]*")),
        commit=fields.text("commit", limit=40, pattern=re.compile(r"[0-9a-f]{40}")),
        epoch=fields.integer("epoch", 1, 2**40),
        builder=fields.text("builder", limit=80),
        base=fields.text("base", limit=255, pattern=_BASE, words="an image by its digest"),
        images={name: _released(images.object(name), f"{name} of {what}") for name in NAMES},
    )
    images.done()
    fields.done()
    return release


def load(path: Path) -> Release:
    """A release from its file. Raises `ToolError` `release-malformed`, `OSError`."""
    with path.open("rb") as stream:
        return decode(stream.read(MAX_RELEASE_BYTES + 1), path.name)


def published() -> Release | None:
    """The release of this version, if its images were published. Raises `ToolError`, `OSError`."""
    return load(RELEASE_FILE) if RELEASE_FILE.exists() else None


def require_published() -> Release:
    """The same. Raises `ToolError` `image-unreleased` where none is."""
    found = published()
    if found is None:
        raise ToolError(
            Code.IMAGE_UNRELEASED,
            "no image of this version was published",
            "build the images with `make images`, push them to a registry of yours, and name them by digest",
        )
    return found


def is_local(image: str) -> bool:
    """Whether it stands for a local room: no registry has it."""
    return image.startswith(f"{LOCAL_HOST}/") or image.endswith(_ZEROS)


def require_for_chain(image: str, chain_id: int) -> None:
    """Refuse an image that stands for local rooms on a chain that is none.

    Raises `ToolError` `image-unreleased`.
    """
    if is_local(image) and chain_id not in LOCAL_CHAIN_IDS:
        raise ToolError(
            Code.IMAGE_UNRELEASED,
            f"the recipe's image is {image}, which stands for local rooms: on chain {chain_id} no machine "
            "could run it",
            "write the digest of an image that owners can pull and rebuild into study.yaml, and render again",
        )


_HINT = "take the file that make images wrote, byte by byte"


def _fields(content: Any, what: str) -> Fields:
    return Fields(content, what, error=ToolError, code=Code.RELEASE_MALFORMED)


def _released(content: Any, what: str) -> Released:
    fields = _fields(content, what)
    found = Released(
        name=fields.text("name", limit=180),
        digest=fields.text("digest", limit=71, pattern=DIGEST),
        sbom=fields.text("sbom", limit=71, pattern=DIGEST),
    )
    fields.done()
    try:
        check_image(found.reference)
    except RecipeError as error:
        raise ToolError(Code.RELEASE_MALFORMED, f"{what}: {error.message}", _HINT) from None
    if is_local(found.reference):
        fields.fail("is no image that could be pulled", _HINT)
    return found
