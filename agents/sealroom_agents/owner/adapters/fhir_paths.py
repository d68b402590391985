# SPDX-License-Identifier: Apache-2.0
"""Which value of a resource is meant: a small closed language, the part of FHIRPath that names values.

    path   = step *( "." step )
    step   = name *filter
    filter = "[" name "=" text "]"

Names are those of FHIR's JSON: `valueQuantity`, not `value`. A step into a list goes into all of its items; a
filter keeps those whose member is the text. There are no functions, so a path costs what it is long, and
what it says hangs on no library's version. FHIRPath whole does arithmetic, conversion and choice as well:
that is for the study. A library for it takes 0.3 ms for one path in one resource, twenty times as long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_PATH = 512
"""Characters of a path."""
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)((?:\[[A-Za-z_][A-Za-z0-9_]*=[^\[\]]+\])*)(\.(?=.)|$)")
_FILTER = re.compile(r"\[([A-Za-z0-9_]+)=([^\[\]]+)\]")


class Number(str):
    """A number of JSON, as it is written: `6.10` has another precision than `6.1`."""


@dataclass
class Unfit(Exception):
    """A resource that does not fit: why, as it follows `line 3`. Never what it holds."""

    reason: str
    hint: str | None = None


class Step(NamedTuple):
    """One step of a path."""

    name: str
    """Of the member."""
    filters: tuple[tuple[str, str], ...]
    """Names and texts that an item's members must have."""


Found = tuple[Any, dict[str, Any]]
"""A value that a path leads to (a text, a `Number`, a truth value or an object), and the object that it is a
member of."""


@dataclass(frozen=True)
class Path:
    """A path, read."""

    text: str
    """As it is written."""
    steps: tuple[Step, ...]
    """Its steps, at least one."""

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a path. Raises `ValueError`, which says where it is none."""
        if len(text) > MAX_PATH:
            raise ValueError(f"is longer than {MAX_PATH} characters")
        steps: list[Step] = []
        at = 0
        while at < len(text) or not steps:
            found = _STEP.match(text, at)
            if found is None:
                raise ValueError(f"is no path from its character {at + 1} on")
            steps.append(Step(found[1], tuple((each[1], each[2]) for each in _FILTER.finditer(found[2]))))
            at = found.end()
        return cls(text, tuple(steps))

    def find(self, resource: dict[str, Any]) -> list[Found]:
        """All values that the path leads to, in the order of the resource. Raises `Unfit`."""
        found: list[Found] = [(resource, {})]
        for name, filters in self.steps:
            below: list[Found] = []
            for each, _ in found:
                if type(each) is not dict or "modifierExtension" in each:
                    self._check(each)
                value = each.get(name)
                if value is None:
                    if name in each:
                        raise Unfit(f"has null at {self.text}, where FHIR leaves a member out")
                elif type(value) is list:
                    below += [(item, each) for item in value if item is not None]
                else:
                    below.append((value, each))
            found = [each for each in below if self._kept(each[0], filters)] if filters else below
        return found

    def _check(self, value: Any) -> None:
        if type(value) is not dict:
            raise Unfit(f"has a value at {self.text} that has no members", "does the path go too far?")
        if "modifierExtension" in value:
            raise Unfit(
                f"has a modifier extension at {self.text}: what it says may be the opposite of what it holds",
                "take such resources out of the export, or choose others with only",
            )

    def _kept(self, value: Any, filters: tuple[tuple[str, str], ...]) -> bool:
        if type(value) is not dict:
            self._check(value)
        for name, wanted in filters:
            member = value.get(name)
            if type(member) in (dict, list):
                raise Unfit(f"has {name} that is no text where {self.text} compares it with one")
            if plain(member) != wanted:
                return False
        return True


def plain(value: Any) -> str | None:
    """A value of JSON as text; `None` for one that is missing."""
    return ("true" if value else "false") if type(value) is bool else value
