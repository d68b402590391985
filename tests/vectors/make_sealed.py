# SPDX-License-Identifier: Apache-2.0
"""The vectors of sealed datasets: one file, one failure. `python -m tests.vectors.make` writes them.

A case is a name, what must come of it, why it exists with the ids of the threats that it covers, and the one
step of `build` that it changes. Each starts from a dataset that opens, and nothing is drawn at random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.vectors.make_sealed_case import Case
from tests.vectors.make_sealed_frames import archives
from tests.vectors.make_sealed_good import good
from tests.vectors.make_sealed_headers import headers
from tests.vectors.make_sealed_parts import indexes, parts, registered
from tests.vectors.make_sealed_wraps import unwrapping, wraps
from tests.vectors.vector import FOLDER

README = FOLDER / "README.md"
TABLE = "| id | cases |\n| --- | --- |\n"
THREAT = re.compile(r"(?:CE|AR)-\d\d")


def cases() -> Iterator[Case]:
    """All cases, in the order of a reader's steps."""
    for group in (good, archives, headers, wraps, unwrapping, indexes, registered, parts):
        yield from group()


def make_sealed(folder: Path = FOLDER / "sealed") -> None:
    """Write all cases, and the table of what they cover."""
    for case in cases():
        case.vector().write(folder / case.name)
    if folder == FOLDER / "sealed":
        page = README.read_text()
        begin = page.index(TABLE)
        end = page.index("\n\n", begin) if "\n\n" in page[begin:] else len(page) - 1
        README.write_text(page[:begin] + coverage({case.name: case.comment for case in cases()}) + page[end:])


def coverage(comments: Mapping[str, str]) -> str:
    """Which case covers which threat, as a table; made from the cases' comments."""
    covering: dict[str, list[str]] = {}
    for name, comment in comments.items():
        for threat in THREAT.findall(comment):
            covering.setdefault(threat, []).append(f"`{name}`")
    rows = (f"| {threat} | {_list(covering[threat])} |" for threat in sorted(covering))
    return TABLE + "\n".join(rows)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
