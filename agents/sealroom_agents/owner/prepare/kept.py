# SPDX-License-Identifier: Apache-2.0
"""Where the declared file of a sealed dataset is kept: beside its data key, at home.

A later version of the dataset is mostly made the same way: `sealroom seal --prepare kept` takes the file of
the one before.
"""

from __future__ import annotations

from pathlib import Path

from sealroom_agents.owner.version_files import versions_in

SUFFIX = ".prepare.toml"


def kept_file(key: Path) -> Path:
    """Where it is kept, of the dataset with this key: `NAME.prepare.toml` beside `NAME.key`."""
    return key.with_suffix(SUFFIX)


def newest_kept(keys: Path, name: str, *, below: int) -> Path | None:
    """Of the versions of a dataset before `below`, the newest whose declared file is kept in the folder
    `keys`; `None` where none is."""
    found = versions_in(keys, name, SUFFIX).items()
    return max(((number, path) for number, path in found if number < below), default=(0, None))[1]
