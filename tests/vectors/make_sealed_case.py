# SPDX-License-Identifier: Apache-2.0
"""One case of a sealed dataset before it is built, and the changes from which cases are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.vectors.make_sealed_archive import OWNER_ADDRESS, Json, build
from tests.vectors.vector import Vector

STAGES = {"header": "HeaderError", "wrap": "WrapError", "index": "SealIndexError", "part": "PartError"}
OPAQUE: dict[str, Any] = {"columns": None, "rows": None}
"""A file that is no table."""


class Case(NamedTuple):
    """One vector before it is built."""

    name: str
    expect: str
    """`success`, or stage and code."""
    comment: str
    steps: dict[str, Any]
    """Arguments of `build`."""
    at: str = "reading"
    """The first step that must refuse: `reading`, which needs no key, `signer`, `unwrapping` or `opening`."""

    def vector(self) -> Vector:
        fields, body = build(**self.steps)
        head = {"expect": "success", "comment": self.comment}
        if self.expect != "success":
            stage, code = self.expect.split()
            head = {"expect": code, "stage": STAGES[stage], "at": self.at, "comment": self.comment}
        signer = self.steps.get("sign")
        if self.expect == "success" and signer is not None:
            head["signer"] = OWNER_ADDRESS
        return Vector(head | fields, body)


def put(**values: Any) -> Callable[[Json], Json]:
    """Other values, or more of them."""
    return lambda value: value | values


def without(name: str) -> Callable[[Json], Json]:
    return lambda value: {key: item for key, item in value.items() if key != name}


def text(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Other bytes in the place of those; they must be there."""

    def change(content: bytes) -> bytes:
        if content.count(old) != 1:
            raise ValueError(f"{old!r} is not there once")
        return content.replace(old, new)

    return change


def flip(position: int) -> Callable[[bytes], bytes]:
    """One bit."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[position] ^= 1
        return bytes(changed)

    return change


def at(place: int, change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """Change one of a list."""

    def apply(items: list[Any]) -> list[Any]:
        items = list(items)
        items[place] = change(items[place])
        return items

    return apply


def order(*places: int) -> Callable[[list[Any]], list[Any]]:
    """Take these of a list."""
    return lambda items: [items[place] for place in places]


def renamed(place: int, name: str) -> dict[str, Any]:
    """A member under another name."""
    return {"members": at(place, lambda member: (name, member[1]))}
