# SPDX-License-Identifier: Apache-2.0
"""Names for the columns of a study, made of an input's headings: such that SQL takes them without quotes.

A name may be of any script, so a heading in letters that have no plain form stays as it is: it would lose
more than quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import count

from sealroom.errors import FormatError
from sealroom.schema.names import FIELD_NAME, check_column_name

MAX_NAME = 63
"""Characters of the longest `FIELD_NAME`."""
_LETTERS = {
    "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "oe", "å": "aa", "þ": "th",
    "ð": "d", "đ": "d", "ł": "l", "ı": "i", "µ": "u", "μ": "u",
}  # fmt: skip
"""Small letters that Unicode does not take apart into what one writes instead, and both signs of micro."""


def plain_name(heading: str) -> str | None:
    """A heading in letters of ASCII, digits and underscores; `None` where a letter or digit has no such form,
    or nothing is left."""
    found = "".join(map(_plain, unicodedata.normalize("NFC", heading)))
    if not found.isascii():
        return None
    found = re.sub("[^A-Za-z0-9]+", "_", found).strip("_")
    return f"c_{found}"[:MAX_NAME] if found[:1].isdigit() else found[:MAX_NAME] or None


def names_for(headings: Sequence[str]) -> list[str]:
    """A name for each heading, no two of them the same in whatever case; one that is a name already is its
    own, if no heading before has it."""
    found: dict[int, str] = {}
    taken: set[str] = set()

    def take(number: int, name: str) -> None:
        found[number] = name
        taken.add(name.lower())

    for number, heading in enumerate(headings):
        if FIELD_NAME.fullmatch(heading) and heading.lower() not in taken:
            take(number, heading)
    for number, heading in enumerate(headings):
        if number not in found:
            take(number, _free(plain_name(heading) or _as_it_is(heading) or f"column_{number + 1}", taken))
    return [found[number] for number in range(len(headings))]


def _plain(letter: str) -> str:
    """One letter: those that stand for it, `_` for what is no letter; itself where it has no plain form."""
    written = _LETTERS.get(letter.lower())
    if written is not None:
        return written if letter.islower() else written.capitalize()
    parts = [each for each in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(each)]
    found = "".join(parts)
    if found.isascii():
        return found
    return letter if any(each.isalnum() for each in parts) else "_"


def _as_it_is(heading: str) -> str | None:
    """The heading in the one form that a name has; `None` where it can be no name, or has no letter."""
    name = unicodedata.normalize("NFC", heading).strip()
    if not any(each.isalnum() for each in name):
        return None
    try:
        return check_column_name(name)
    except FormatError:
        return None


def _free(name: str, taken: set[str]) -> str:
    """The name, or with the first number behind it that makes it one of its own."""
    if name.lower() not in taken:
        return name
    for number in count(2):
        tail = f"_{number}"
        made = name[: MAX_NAME - len(tail)] + tail
        if made.lower() not in taken:
            return made
    raise AssertionError("numbers do not end")
