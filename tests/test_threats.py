# SPDX-License-Identifier: Apache-2.0
"""The threat model is complete and true: each cited id is listed, and what a row names exists."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threat-model.md"
FAMILIES = ("AR", "AT", "CE", "CH", "DP", "GP", "OP", "OU", "RE", "WE")
ID = re.compile(rf"\b(?:{'|'.join(FAMILIES)})-[0-9]{{2}}\b")
CODE = ("agents/sealroom_agents", "enclave/sealroom", "contracts", "scripts")
"""Folders that the paths of the column `defence` start from."""


@dataclass(frozen=True)
class Row:
    """One threat of the page."""

    id: str
    threat: str
    defence: str
    shown: str

    @property
    def tests(self) -> list[str]:
        """`path::name` of each test that the row names."""
        return re.findall(r"`([\w/.]+::\w+)`", self.shown)

    @property
    def paths(self) -> list[str]:
        """Paths of code that the row names."""
        return re.findall(r"`([\w/]+\.(?:py|sol))`", self.defence)


def rows() -> list[Row]:
    """Every row of a table whose first cell is an id."""
    lines = [line for line in PAGE.read_text().splitlines() if ID.match(line.removeprefix("| "))]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


ROWS = rows()


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(path for name in listed.stdout.split("\0")[:-1] if (path := ROOT / name).is_file())


def cited() -> dict[str, str]:
    """Each id that a file of code, tests or pages names, and one such file. Vectors are binary."""
    found: dict[str, str] = {}
    for path in tracked():
        if path == PAGE:
            continue
        for id_ in ID.findall(path.read_bytes().decode(errors="replace")):
            found.setdefault(id_, str(path.relative_to(ROOT)))
    return found


@cache
def names(path: Path) -> frozenset[str]:
    """Test functions of a Python or Solidity file."""
    return frozenset(re.findall(r"^\s*(?:def|function) (test\w+)", path.read_text(), re.MULTILINE))


def test_every_id_that_is_cited_is_listed() -> None:
    listed = {row.id for row in ROWS}
    where = cited()
    assert len(where) > 100, "the search for ids finds too little"
    assert {id_: file for id_, file in where.items() if id_ not in listed} == {}


def test_no_id_is_listed_twice() -> None:
    listed = [row.id for row in ROWS]
    assert len(listed) == len(set(listed))


def test_each_family_is_numbered_without_gaps() -> None:
    for family in FAMILIES:
        numbers = [int(row.id[3:]) for row in ROWS if row.id.startswith(family)]
        assert numbers == list(range(1, len(numbers) + 1)), family


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_has_a_test_or_says_that_it_is_open(row: Row) -> None:
    if row.shown.startswith("open: "):
        assert not row.tests
    else:
        assert row.tests, "name a test, or write `open: ` and why"
    for test in row.tests:
        file, name = test.split("::")
        path = ROOT / "tests" / file
        assert path.is_file(), f"there is no tests/{file}"
        assert name in names(path), f"tests/{file} has no {name}"


def test_the_page_lists_what_is_open() -> None:
    section = PAGE.read_text().split("## Open\n")[1].split("\n## ")[0]
    assert ID.findall(section) == [row.id for row in ROWS if row.shown.startswith("open: ")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_code_that_a_row_names_exists(row: Row) -> None:
    for name in row.paths:
        assert any((ROOT / folder / name).is_file() for folder in CODE), f"there is no {name}"


@pytest.mark.parametrize("row", [row for row in ROWS if "vectors" in row.shown], ids=lambda row: row.id)
def test_a_row_with_vectors_has_some(row: Row) -> None:
    page = (ROOT / "tests" / "vectors" / "README.md").read_text()
    assert re.search(rf"^\| {row.id} \| `", page, re.MULTILINE)
