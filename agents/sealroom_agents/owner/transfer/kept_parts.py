# SPDX-License-Identifier: Apache-2.0
"""Which parts of a sealed file lie here, of a fetch that was stopped: each is compared, whoever wrote it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from sealroom.errors import SealError
from sealroom_agents.owner.transfer.layout import Layout


def bytes_of(layout: Layout, parts: list[int]) -> int:
    """Bytes of these parts, with what stands around them."""
    return sum(layout.span(number)[1] - layout.span(number)[0] for number in parts)


def sound_parts(descriptor: int, layout: Layout, tell: Callable[[int], None]) -> list[int]:
    """Parts that lie in a file, at their places, as the index lists them."""
    sound, number = [], 0
    buffer = memoryview(bytearray(layout.span(0)[1] - layout.span(0)[0]))
    while number < layout.parts:
        start, stop = layout.span(number)
        # Over a hole, which is where nothing came yet.
        data_at = _next_data(descriptor, start)
        if data_at is None:
            break
        if data_at >= stop:
            number += 1
            continue
        framed = buffer[: stop - start]
        if os.preadv(descriptor, [framed], start) == len(framed):
            with suppress(SealError):
                layout.check(number, framed)
                sound.append(number)
                tell(len(framed))
        number += 1
    return sound


def _next_data(descriptor: int, start: int) -> int | None:
    """Where the next bytes lie that were written; `start` where the file system doesn't tell."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        return None if error.errno == errno.ENXIO else start
