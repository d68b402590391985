# SPDX-License-Identifier: Apache-2.0
"""Reading and writing at a place in an open file, whole, so that threads can share the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

PARTS_AHEAD = 16
"""How far ahead of the work the disk is told what will be read. Told of much more, it comes to that late."""
WRITE_BACK_BYTES = 32 * 1024 * 1024
"""How much is written before the kernel is told to bring it to the disk."""


def read_at(descriptor: int, targets: Sequence[memoryview], offset: int) -> bool:
    """Fill the targets, one after another, from the file; `False` when the file ends before."""
    views = _views(targets)
    while views:
        count = os.preadv(descriptor, views, offset)
        if count == 0:
            return False
        offset += count
        _step_over(views, count)
    return True


def will_read(descriptor: int, offset: int, count: int) -> None:
    """Have the kernel fetch from the disk what will be read soon."""
    os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)


def write_at(descriptor: int, pieces: Sequence[Buffer], offset: int) -> int:
    """Write all pieces, one after another; returns how many bytes that were."""
    views = _views(pieces)
    total = sum(view.nbytes for view in views)
    while views:
        count = os.pwritev(descriptor, views, offset)
        offset += count
        _step_over(views, count)
    return total


def _views(buffers: Sequence[Buffer]) -> list[memoryview]:
    return [view for view in (memoryview(buffer).cast("B") for buffer in buffers) if view.nbytes]


def _step_over(views: list[memoryview], count: int) -> None:
    """Drop the first `count` bytes."""
    while views and count >= views[0].nbytes:
        count -= views.pop(0).nbytes
    if views:
        views[0] = views[0][count:]


class WriteBack:
    """Has the kernel bring a file to the disk while it is written, and let go of what is there.

    A sync at the end then waits for little, and a large file does not push all else out of memory. On the way
    it is also faster: pages are used again instead of found anew.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def up_to(self, position: int) -> None:
        """Everything before `position` is written."""
        if position - self._begun < WRITE_BACK_BYTES:
            return
        # From one step back: what was begun there is done by now.
        start = max(0, self._begun - WRITE_BACK_BYTES)
        os.posix_fadvise(self._descriptor, start, position - start, os.POSIX_FADV_DONTNEED)
        self._begun = position
