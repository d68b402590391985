# SPDX-License-Identifier: Apache-2.0
"""Text of which a reader sees all.

Python calls a character printable that Unicode has a shape for in principle. Some of these show nothing:
fillers, blanks, selectors of variants (Unicode's property Default_Ignorable_Code_Point, and the empty
Braille pattern). With one of them, two names that look the same are two.
"""

from __future__ import annotations

import re

_SHOWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: str) -> bool:
    """Whether every character shows, where it stands: no control, mark of direction, odd space or filler."""
    return text.isprintable() and _SHOWS_NOTHING.search(text) is None
