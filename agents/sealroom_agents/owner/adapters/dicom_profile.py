# SPDX-License-Identifier: Apache-2.0
"""Which attributes of DICOM tell who somebody is: the list of the standard (PS3.15, table E.1-1).

The list is data beside this module, with its edition. An attribute that is not on it may still be a name, a
time or the id of an object, as its kind of value (VR) says: that counts as if it were.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

EDITION = "PS3.15 2026c, table E.1-1"
TELLING = {
    "PN": "names a person",
    "DA": "is a day",
    "TM": "is a time",
    "DT": "is an instant",
    "UI": "is an id",
}
"""Kinds of values that tell who or when, whatever the attribute."""
_FILE = "dicom_e1.tsv"


class Listed(NamedTuple):
    """An attribute of the list."""

    name: str
    """As the standard has it."""
    action: str
    """What the basic profile does: X removes, Z empties, D puts a dummy, U another UID, in its place."""
    characteristic: bool
    """Whether the option to retain characteristics of patients keeps it, as age and sex."""


@cache
def _list() -> dict[str, Listed]:
    text = files("sealroom_agents.owner.adapters").joinpath(_FILE).read_text()
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return {tag: Listed(name, action, kept == "K") for tag, action, kept, name in rows}


def listed(tag: int) -> Listed | None:
    """What the list says of a tag; `None` for one that is not on it."""
    known, text = _list(), f"{tag:08X}"
    if text[:2] == "50":  # curves, by any of their tags
        return known["50XXXXXX"]
    return known.get(text) or (known.get(f"60XX{text[4:]}") if text[:2] == "60" else None)


def private(tag: int) -> bool:
    """Whether a tag is of a maker's own: nobody else knows what it holds."""
    return bool(tag >> 16 & 1)


def written(tag: int) -> str:
    """A tag as people write it: `(0010,0020)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
