# SPDX-License-Identifier: Apache-2.0
"""`sealroom seal --prepare`: the declared file by which an input is prepared before it is sealed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.input_options import given_dialect, given_kind
from sealroom_agents.cli.pseudonym_options import pseudonym_key
from sealroom_agents.cli.standard_input import DASH
from sealroom_agents.cli.terminal import warn

if TYPE_CHECKING:
    from sealroom_agents.owner.source import Preparing


def asked_preparing(
    file: Path | None, source: Path, *, keys: Path, name: str, version: int
) -> Preparing | None:
    """By what the input is prepared; `None` where no file is named, and then the owner is told of the one by
    which the version before was. `keys` is the folder of the dataset's keys.

    Raises as `sealroom_agents.owner.prepare.declared.read` and `pseudonym_key`.
    """
    from sealroom_agents.owner.prepare.kept import newest_kept

    if file is None:
        kept = newest_kept(keys, name, below=version)
        if kept is not None:
            warn(f"the version before was prepared, and this one is not: --prepare {kept} does the same")
        return None
    from sealroom_agents.owner.prepare import declared as files
    from sealroom_agents.owner.source import Preparing
    from sealroom_agents.owner.tables.csv_dialect import Dialect

    if source == DASH:
        raise click.UsageError("--prepare reads a file or a folder, and not standard input")
    if given_kind() is not None or given_dialect() != Dialect():
        raise click.UsageError("--prepare: how the input is read stands in the declared file, under [input]")
    declared = files.read(file)
    return Preparing(file, declared, pseudonym_key(declared))
