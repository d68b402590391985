# SPDX-License-Identifier: Apache-2.0
"""What every store gives that sealed files are fetched from, and how its answers to ranges are judged."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.pace import unreachable

FIRST_BYTES = 256 * 1024
"""What is asked for first: of nearly every file, all before the first part."""
Sink = Callable[[bytes], None]
"""Takes bytes as they come. What it raises ends the transfer."""
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


class Incoming(Protocol):
    """One file at a store, as it was when it was opened."""

    size: int | None
    """Its bytes; `None` where the store does not say."""
    first: bytes
    """Its first bytes, at most `FIRST_BYTES`; none where the store has no ranges."""
    ranged: bool
    """Whether `read` works; else only `stream` does."""

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        """Hand the bytes from `start` up to `stop` to the sink, exactly these.

        Raises `Transient`, after some of them maybe, and `ToolError` `remote-changed`, `remote-refused`.
        """

    async def stream(self, sink: Sink) -> None:
        """Hand all bytes to the sink, once."""


class Window:
    """Lets exactly the bytes of one range through to a sink."""

    def __init__(self, place: str, wanted: int, sink: Sink) -> None:
        self._place = place
        self._left = wanted
        self._sink = sink

    def take(self, chunk: bytes) -> None:
        """Raises `remote-refused` when more comes than was asked for."""
        self._left -= len(chunk)
        if self._left < 0:
            raise refused(self._place, "sends more bytes than the range that was asked for has")
        self._sink(chunk)

    def done(self) -> None:
        """Raises `Transient` when less came."""
        if self._left:
            raise unreachable(self._place, f"ended {self._left:,} bytes early")


def range_of(place: str, stated: str, start: int) -> tuple[int, int]:
    """Byte after the range that an answer states, and the size of the file. Raises `remote-refused` where it
    is another range (RFC 9110, section 14.4)."""
    found = _RANGE.fullmatch(stated)
    if found is None or int(found[1]) != start or not start <= int(found[2]) < int(found[3]):
        raise refused(place, "answers with another range than was asked for")
    return int(found[2]) + 1, int(found[3])


def refused(place: str, what: str) -> ToolError:
    """It answers what is not taken."""
    return ToolError(Code.REMOTE_REFUSED, f"{place} {what}", "nothing of it was kept")


def changed(place: str) -> ToolError:
    """Another file lies there than when the transfer began."""
    return ToolError(
        Code.REMOTE_CHANGED,
        f"{place} changed while it was read",
        "run it again: what still fits is not fetched anew",
    )
