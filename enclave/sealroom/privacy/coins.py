# SPDX-License-Identifier: Apache-2.0
"""The coins that say who is in one draw over a random part of the people.

Each is a whole number below 2³² from the operating system's generator, against the threshold that the
accountant computes with: no chance is rounded, there is no seed, and no draw uses a coin of another. All rows
of a person share one coin. Then the person's rows are in a draw together or not at all, so that a draw tells
two neighbours apart as one draw of a sampled Gaussian does whose sensitivity is that of all these rows.
"""

from __future__ import annotations

import os

import numpy as np

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.privacy.people import Booleans, People

_AT_ONCE = 2**20
"""Coins of which the numbers are in memory at a time."""


def coins(people: People, rate: int) -> Booleans:
    """Of each row, whether its person is in this draw; `rate` is the threshold.

    Raises `PrivacyError` ("privacy-range") where persons have several rows and are not told apart.
    """
    if people.persons is None and people.rows > 1:
        raise PrivacyError(Code.PRIVACY_RANGE, "people of several rows cannot be sampled row by row")
    persons = people.persons
    count = people.count if persons is None else int(persons.max(initial=-1)) + 1
    kept = np.empty(count, dtype=np.bool_)
    for start in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - start)
        drawn = np.frombuffer(os.urandom(4 * some), dtype="<u4")
        kept[start : start + some] = drawn.astype(np.uint64) < np.uint64(rate)
    return kept if persons is None else kept[persons]
