# SPDX-License-Identifier: Apache-2.0
"""Release slots: when a result may leave."""

from __future__ import annotations

import math


def seconds_to_slot(elapsed: float, *, slot_seconds: int) -> tuple[int, float]:
    """The next release slot (counted from the grant, from 1) and how long until it begins.

    Results leave only on whole slots, so that the time of leaving tells nothing finer about sizes or drawn
    noise (DP-10, DP-11, OU-06).
    """
    slot = math.floor(elapsed / slot_seconds) + 1
    return slot, slot * slot_seconds - elapsed
