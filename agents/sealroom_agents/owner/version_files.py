# SPDX-License-Identifier: Apache-2.0
"""What the files of a dataset's versions are called: `NAME.tar` is the first, `NAME.v2.tar` the second."""

from __future__ import annotations

import re
from pathlib import Path


def file_stem(name: str, version: int) -> str:
    """Name of a version's files: those of the first are called after the dataset alone."""
    return name if version == 1 else f"{name}.v{version}"


def versions_in(folder: Path, name: str, suffix: str) -> dict[int, Path]:
    """The files with this suffix that a folder holds of a dataset, by the numbers of their versions."""
    found: dict[int, Path] = {}
    if folder.is_dir():
        for path in folder.iterdir():
            of = re.fullmatch(rf"{re.escape(name)}(?:\.v([1-9][0-9]{{0,9}}))?{re.escape(suffix)}", path.name)
            if of is not None and path.is_file():
                found[int(of[1] or 1)] = path
    return found
