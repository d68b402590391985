# SPDX-License-Identifier: Apache-2.0
"""Where something stands: a member of study.yaml, a place in its SQL, a node of analysis.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

Path = tuple[str | int, ...]
"""Members and places in lists, from the whole file inwards."""


@dataclass(frozen=True)
class Place:
    """Lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    @property
    def rest(self) -> str:
        """What follows the file: `:12:5`."""
        return "".join(f":{each}" for each in (self.line, self.column) if each is not None)


class Positions:
    """Where the members of a YAML file stand."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._places: dict[Path, Place] = {}
        self._lines: dict[Path, int] = {}
        """First line of the text of each block scalar."""
        self._indents: dict[Path, int] = {}
        self._names: dict[Path, str] = {}
        """What mappings say of themselves: name."""
        self._values: dict[Path, str] = {}
        self._text = text.splitlines()
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            node = None
        if node is not None:
            self._visit(node, (), node)

    def of(self, path: Path) -> Place:
        """Where a member's name or a list's item stands, or what holds it if it is not there."""
        while path not in self._places and path:
            path = path[:-1]
        return self._places.get(path, Place(self._file))

    def has(self, path: Path) -> bool:
        """Whether there is such a member."""
        return path in self._places

    def within(self, path: Path, line: int, column: int | None = None) -> Place:
        """A line of a text that is written as a block (`sql: |`)."""
        first = self._lines.get(path)
        if first is None:
            return self.of(path)
        indent = self._indents.get(path, 0)
        return Place(self._file, first + line - 1, None if column is None else indent + column)

    def named(self, path: Path, message: str) -> Path:
        """The member below `path` that a message names, as far down as it names one."""
        words = re.findall(r"[\w.-]+", message)
        while True:
            below = next(
                (
                    each
                    for word in words
                    for each in self._places
                    if each and each[:-1] == path and (each[-1] == word or self._names.get(each) == word)
                ),
                None,
            )
            if below is None:
                return path
            path = below

    def keyed(self, path: Path, name: str) -> Path:
        """The first member of this name at or below `path`, or `path` itself."""
        below = (each for each in self._places if each[: len(path)] == path)
        return next((each for each in below if each and each[-1] == name), path)

    def valued(self, path: Path, value: str) -> Path:
        """The first member below `path` that has this value, or `path` itself."""
        below = (each for each in self._values if each[: len(path)] == path)
        return next((each for each in below if self._values[each] == value), path)

    def _visit(self, node: yaml.Node, path: Path, at: yaml.Node) -> None:
        mark = at.start_mark
        self._places[path] = Place(self._file, mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                self._visit(value, (*path, str(name.value)), name)
                if name.value == "name" and isinstance(value, yaml.ScalarNode):
                    self._names[path] = str(value.value)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self._visit(item, (*path, number), item)
        elif isinstance(node, yaml.ScalarNode) and node.style != "|":
            self._values[path] = str(node.value)
        elif isinstance(node, yaml.ScalarNode):
            self._lines[path] = node.start_mark.line + 2
            first = "".join(self._text[node.start_mark.line + 1 : node.start_mark.line + 2])
            self._indents[path] = len(first) - len(first.lstrip(" "))


def line_and_column(text: str, place: int) -> tuple[int, int]:
    """Of a place that is counted in bytes."""
    before = text.encode()[:place].decode(errors="replace")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
