# SPDX-License-Identifier: Apache-2.0
"""`sealroom seal --prepare`: the declared file by which an input is prepared before it is sealed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.input_options import given_dialect, given_kind
from sealroom_agents.cli.pseudonym_options import pseudonym_key
from sealroom_agents.cli.standard_input import DASH
from sealroom_agents.cli.terminal import warn
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom_agents.owner.source import Preparing


KEPT, NOT = Path("kept"), Path("none")
"""What `--prepare` takes beside a file: the declared file of the newest version before, and none at all."""
PREPARE_HELP = (
    "Make the columns that this declared file names of the input, and seal these; it is kept beside the data "
    "key. kept is the one that is kept of the newest version before, none seals the input as it comes. See "
    "sealroom prepare."
)
"""Of `--prepare`, in each command that has it."""


def asked_preparing(
    file: Path | None, source: Path, *, keys: Path, name: str, version: int
) -> Preparing | None:
    """By what the input is prepared: `file`, or the word `KEPT` or `NOT`. `keys` is the folder of the
    dataset's keys.

    Raises `prepare-unsaid` where an earlier version was prepared and nobody says how this one is: sealed as
    it comes, it would hold the ids and columns that the owner took out before. `not-prepared-before` for
    `KEPT` where there is no such version. Else as `sealroom_agents.owner.prepare.declared.read` and
    `pseudonym_key`.
    """
    from sealroom_agents.owner.prepare.kept import newest_kept

    if file in (None, KEPT, NOT):
        kept = newest_kept(keys, name, below=version)
        if file == NOT:
            if kept is not None:
                warn(f"an earlier version was prepared by {kept}, and this one is sealed as it comes")
            return None
        if file is None and kept is None:
            return None
        if kept is None:
            raise ToolError(
                Code.NOT_PREPARED_BEFORE,
                f"no version of {name} before {version} has its declared file in {keys}",
                "name the file: --prepare FILE",
            )
        if file is None:
            raise ToolError(
                Code.PREPARE_UNSAID,
                f"an earlier version was prepared by {kept}, and how this one is was not said",
                "the same way: --prepare kept; another: --prepare FILE; sealed as it comes: --prepare none",
            )
        file = kept
    from sealroom_agents.owner.prepare import declared as files
    from sealroom_agents.owner.source import Preparing
    from sealroom_agents.owner.tables.csv_dialect import Dialect

    if source == DASH:
        raise click.UsageError("--prepare reads a file or a folder, and not standard input")
    if given_kind() is not None or given_dialect() != Dialect():
        raise click.UsageError("--prepare: how the input is read stands in the declared file, under [input]")
    declared = files.read(file)
    return Preparing(file, declared, pseudonym_key(declared))
