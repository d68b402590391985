# SPDX-License-Identifier: Apache-2.0
"""One attribute of DICOM as a column."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from sealroom.schema import ColumnType, Date, Integer, Real, String
from sealroom_agents.owner.adapters.dicom_profile import EDITION, TELLING, listed, private, written
from sealroom_agents.owner.images import Unfit
from sealroom_agents.owner.prepare.words import Words

MAX_TEXT = 1024
"""Characters of a value of text: twice what the standard lets the longest of these kinds have."""
_TEXTS = ("AE", "CS", "DT", "LO", "PN", "SH", "TM", "UI")
_TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(_TEXTS, String()),
    **dict.fromkeys(("IS", "SL", "SS", "UL", "US", "AS"), Integer(64)),
    **dict.fromkeys(("DS", "FD", "FL"), Real(64)),
    "DA": Date(),
}
"""Column types by kind of value (VR). An age (AS) is in whole years. Long texts and sequences are none."""
_AGE = re.compile(r"([0-9]{3})([DWMY])")
_A_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")


@dataclass(frozen=True)
class Attribute:
    """What a column takes of each file."""

    keyword: str
    """Its name, such as `PatientID`."""
    tag: int
    """Its tag: group, then element."""
    vr: str
    """Its kind of value, one of `_TYPES`."""
    item: int | None
    """Which of several values is taken, from 1; `None`: there must be one."""
    characteristic: bool
    """Whether it is declared to be kept as a characteristic of patients."""

    @property
    def type(self) -> ColumnType:
        """What cells hold."""
        return _TYPES[self.vr]

    @property
    def identifies(self) -> str | None:
        """Why it must not leave as it is; `None` where it may."""
        if self.characteristic:
            return None
        if (found := listed(self.tag)) is not None:
            return f"is {found.name} {written(self.tag)}, on the list of {EDITION}"
        return TELLING.get(self.vr)

    def of(self, dataset: Any) -> Any:
        """The value in a file, of the column's type; `None` where there is none. Raises `Unfit`."""
        from pydicom.multival import MultiValue

        value = dataset[self.tag].value if self.tag in dataset else None
        if isinstance(value, MultiValue):
            if self.item is None and len(value) > 1:
                raise Unfit(f"has {len(value)} values of {self.keyword}: item = 1 takes the first")
            value = value[(self.item or 1) - 1] if len(value) >= (self.item or 1) else None
        if value is None or value == "":
            return None
        try:
            return self._read(value)
        except (ValueError, TypeError, OverflowError):
            raise Unfit(f"has a value of {self.keyword} that is no {self.type.name}") from None

    def _read(self, value: Any) -> Any:
        from pydicom.valuerep import PersonName

        if isinstance(self.type, Integer | Real) and self.vr != "AS":
            if not isinstance(value, int | float):
                raise ValueError
            number = int(value) if isinstance(self.type, Integer) else float(value)
            if number != value or not abs(number) < (2**63 if isinstance(number, int) else math.inf):
                raise ValueError
            return number
        if not isinstance(value, str | PersonName):
            raise ValueError
        text = str(value)
        if self.vr == "AS":
            age = _fullmatch(_AGE, text)
            return int(age[1]) // _A_YEAR[age[2]]
        if self.vr == "DA":
            day = _fullmatch(_DAY, text)
            return date(int(day[1]), int(day[2]), int(day[3]))
        # what pydicom puts where a character is not of the file's declared set
        if len(text) > MAX_TEXT or "\ufffd" in text or not text.isprintable():
            raise ValueError
        return text


def _fullmatch(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError
    return found


def read_attribute(words: Words) -> Attribute:
    """Read one column of `[input.columns]`. Raises `prepare-malformed`."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    keyword = words.text("tag", limit=64)
    tag = tag_for_keyword(keyword)
    if tag is None or private(tag):
        words.fail(
            "has a tag that is no keyword of the standard", 'tag = "PatientID"; private tags never leave'
        )
    vr = dictionary_VR(tag)
    if vr not in _TYPES:
        words.fail(f"has a tag of kind {vr}, which is no column: a sequence, a long text, or bytes")
    found = Attribute(
        keyword=keyword,
        tag=int(tag),
        vr=vr,
        item=words.integer("item", 1, 1000) if words.has("item") else None,
        characteristic=words.flag("characteristic"),
    )
    words.done()
    if found.characteristic and not ((known := listed(found.tag)) and known.characteristic):
        words.fail(
            "has characteristic, which is for age, sex, size, weight, ethnic group, smoking and pregnancy",
            f"those that {EDITION} lets be retained",
        )
    return found
