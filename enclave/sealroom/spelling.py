# SPDX-License-Identifier: Apache-2.0
"""What a person probably meant by a name that is none of those that there are."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest

_LIKE = 0.6
"""How much alike two names are, from 0 to 1, where one may stand for the other."""
_JUDGED = 16
"""Most names that are compared letter by letter: a stranger's study has thousands, all of the same letters if
it is to cost."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a name, in whatever case; `None` where none is like it."""
    # Late: only who mistyped waits for it.
    from difflib import SequenceMatcher, get_close_matches

    lower, said = {each.lower(): each for each in known}, name[:200].lower()
    compared = SequenceMatcher(b=said)

    def at_most(each: str) -> float:
        compared.set_seq1(each)
        return compared.quick_ratio() if compared.real_quick_ratio() >= _LIKE else 0.0

    likely = nlargest(_JUDGED, lower, key=at_most)
    found = get_close_matches(said, likely, n=1, cutoff=_LIKE)
    return lower[found[0]] if found else None
