# SPDX-License-Identifier: Apache-2.0
"""Where `sealroom seal` writes: names of files and folders, and what must not stand or lie there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.sealing import Job
from sealroom_agents.cli.terminal import refuse_stdout
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.staging import Outputs
from sealroom_agents.owner.version_files import file_stem

if TYPE_CHECKING:
    from collections.abc import Sequence

SEALED_FOLDER = Path("sealed")
"""What may leave, as OWNER/NAME.tar, just as the runner reads it; ignored by git."""
KEYS_FOLDER = Path("keys")
"""Folder of what stays. Another one, so that a copy of the first holds no key."""


@dataclass(frozen=True)
class Home:
    """Where owners keep what they sealed, unless a command line says otherwise."""

    sealed: Path = SEALED_FOLDER
    """What may leave, as OWNER/NAME.tar."""
    keys: Callable[[str], Path] = KEYS_FOLDER.joinpath
    """Folder of the keys that stay with one owner."""


HOME = Home()
"""In the working folder."""


def outputs_of(
    source: Path,
    *,
    place: str,
    name: str,
    version: int,
    out: Path | None,
    key_out: Path | None,
    home: Home = HOME,
) -> Outputs:
    """Where to write; refused before anything is read when input and outputs are one, by whatever name."""
    stem = file_stem(name, version)
    sealed = out if out is not None else home.sealed / place / f"{stem}.tar"
    key = key_out if key_out is not None else home.keys(place) / f"{stem}.key"
    for path in (sealed, key):
        refuse_stdout(path)
    if out is not None and key_out is None:
        raise click.UsageError("--out needs --key-out: say where the data key stays")
    outputs = Outputs(sealed=sealed, key=key, registration=sealed.with_suffix(".registration.json"))
    if len({source.resolve(), *(path.resolve() for path in outputs.all)}) != 4 or any(
        path.exists() and source.exists() and path.samefile(source) for path in outputs.all
    ):
        raise ToolError(
            Code.SAME_FILE, "input, sealed dataset and key must be different files", "name another --out"
        )
    if source.is_dir() and any(path.resolve().is_relative_to(source.resolve()) for path in outputs.all):
        raise ToolError(
            Code.SAME_FILE, f"an output would lie in {source}, which is sealed", "name another --out"
        )
    _refuse_key_that_would_leave(outputs, home)
    return outputs


def _refuse_key_that_would_leave(outputs: Outputs, home: Home) -> None:
    """A copy of the sealed file's folder, or of all of `sealed/`, must hold no key."""
    leaves, stays = outputs.sealed.parent.resolve(), outputs.key.parent.resolve()
    # A sealed file that somebody puts where they work: its folder is no folder to be sent.
    below = leaves != Path.cwd() and stays.is_relative_to(leaves)
    if leaves == stays or below or stays.is_relative_to(home.sealed.resolve()):
        raise ToolError(
            Code.KEY_WOULD_LEAVE,
            f"the key {outputs.key} would lie where sealed files lie, and leave with them",
            "name a --key-out in another folder, such as keys/",
        )


def refuse_plain_that_would_leave(out: Path, *, what: str) -> None:
    """A file that is not sealed must not lie where sealed ones lie. Raises `plain-would-leave`, or
    `output-unwritable` where there is no folder for it."""
    if out.absolute().parent.resolve().is_relative_to(SEALED_FOLDER.resolve()):
        raise ToolError(
            Code.PLAIN_WOULD_LEAVE,
            f"{what} {out} would lie where sealed files lie, and could leave with them",
            f"name an --out elsewhere than in {SEALED_FOLDER}/",
        )
    if not out.absolute().parent.is_dir():
        raise ToolError(
            Code.OUTPUT_UNWRITABLE, f"there is no folder {out.parent}", "make it, or name another"
        )


def refuse_existing(outputs: Outputs, *, gone: Sequence[Path] = ()) -> None:
    """Nothing is overwritten. Raises `key-exists`, `output-exists`. gone: what would be removed before."""

    def stands(path: Path) -> bool:
        return path not in gone and os.path.lexists(path)

    hint = (
        "for another recipe or consortium: sealroom reseal; for a correction: --new-version; "
        "else name another file"
    )
    if stands(outputs.key):
        if not stands(outputs.sealed):
            hint = "if it is of no sealed file (a run that was killed may have left it), remove it; " + hint
        raise ToolError(Code.KEY_EXISTS, f"{outputs.key} exists, and a data key is never overwritten", hint)
    if stands(outputs.sealed):
        raise ToolError(Code.OUTPUT_EXISTS, f"{outputs.sealed} exists, and may be registered already", hint)
    if stands(outputs.prepare):
        # It would be taken for the file by which this dataset was prepared.
        raise ToolError(
            Code.OUTPUT_EXISTS,
            f"{outputs.prepare} exists, where the declared file of this dataset is kept",
            "it is of a dataset whose key is gone: move it elsewhere; --prepare takes it from there",
        )


def need_space(job: Job) -> None:
    """Refuse before the work where a disk has too little space."""
    from sealroom_agents.owner import disk_space

    here, there = job.outputs.sealed.parent, job.source.place
    sealed = disk_space.sealed_size(job.source.size, job.source.columns)
    if job.source.remade is not None:
        disk_space.need(there, job.source.size, what=f"what is made of {job.source.path}")
        # On one disk both stand side by side for a while.
        sealed += job.source.size
    disk_space.need(here, sealed, what=str(job.outputs.sealed))
