# SPDX-License-Identifier: Apache-2.0
"""What a person probably meant by a name that is none of those that there are."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a name, in whatever case; `None` where none is like it."""
    lower = {each.lower(): each for each in known}
    found = get_close_matches(name[:200].lower(), list(lower), n=1, cutoff=0.6)
    return lower[found[0]] if found else None
