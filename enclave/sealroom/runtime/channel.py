# SPDX-License-Identifier: Apache-2.0
"""The one socket between custodian and analysis: bounded frames of a JSON head and a plain payload.

Frame = u32be length of head ‖ u64be length of payload ‖ head ‖ payload. Both lengths are checked before a
byte of either is read, and memory is taken as bytes arrive, so that a lying peer costs nothing. A reply may
carry one file descriptor (`SCM_RIGHTS`): a sealed memfd with a dataset in it. The child's side uses `read`,
`write` and `recvmsg` alone, since its filter denies the rest of the socket calls.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, JobError

HEAD_BYTES = 256 * 1024
"""Largest head of a request: the names of a table's columns are the longest thing in it."""

SCRIPT_BYTES = 4 * 2**20
"""Largest head of the custodian's first message, which carries the analysis."""

_LENGTHS = struct.Struct(">IQ")
_MEMORY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One message."""

    head: dict[str, Any]
    payload: memoryview
    descriptor: int | None
    """A file descriptor that came with the message; its receiver closes it."""


class Channel:
    """One end of the socket. Not thread-safe: requests and replies take turns."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(
        self, head: dict[str, Any], payload: Sequence[memoryview] = (), *, descriptor: int | None = None
    ) -> None:
        """Send one frame. Raises `JobError` ("channel-closed") when the peer is gone."""
        encoded = json.dumps(head, separators=(",", ":")).encode()
        start = _LENGTHS.pack(len(encoded), sum(part.nbytes for part in payload)) + encoded
        try:
            if descriptor is not None:
                sent = socket.send_fds(self._end, [start], [descriptor])
                start = start[sent:]
            for part in (memoryview(start), *payload):
                if part.nbytes:  # a column of no rows has no bytes to cast
                    self._write(part.cast("B"))
        except OSError:
            raise _closed() from None

    def receive(
        self, *, head_limit: int = HEAD_BYTES, check: Callable[[dict[str, Any], int], None] | None = None
    ) -> Frame | None:
        """The next frame, or None when the peer has closed between frames.

        `check` sees the head and the payload's size, and raises to refuse; without it no payload is accepted.

        Raises `JobError`: "request-too-large" before anything is read of what is too large,
        "request-malformed", "out-of-memory", "channel-closed" in the middle of a frame, "job-timeout" when
        the socket's own timeout passes.
        """
        start, descriptor = self._first_bytes()
        if start is None:
            return None
        try:
            head_size, payload_size = _LENGTHS.unpack(start)
            if head_size > head_limit:
                raise _too_large()
            head = strict_json(bytes(self._read(head_size)), head_limit, allow_floats=True)
            if check is not None:
                check(head, payload_size)
            elif payload_size:
                raise _too_large()
            return Frame(head=head, payload=self._read(payload_size), descriptor=descriptor)
        except (FormatError, JobError) as error:
            if descriptor is not None:
                os.close(descriptor)
            if isinstance(error, FormatError):
                raise JobError(Code.REQUEST_MALFORMED, "a request of the analysis cannot be read") from None
            raise

    def _first_bytes(self) -> tuple[bytes | None, int | None]:
        """The two lengths, and the descriptor if one came with the first of their bytes."""
        descriptor = None
        start = b""
        while len(start) < _LENGTHS.size:
            try:
                piece, descriptors, _, _ = socket.recv_fds(self._end, _LENGTHS.size - len(start), 1)
            except TimeoutError:
                raise _timeout() from None
            except OSError:
                raise _closed() from None
            if descriptors:
                descriptor = descriptors[0]
            if not piece:
                if start:
                    raise _closed()
                return None, None
            start += piece
        return start, descriptor

    def _read(self, size: int) -> memoryview:
        # Not a bytearray: Python writes all of it with zeros first, and stops every other thread meanwhile.
        try:
            target = memoryview(mmap.mmap(-1, size, flags=_MEMORY) if size else b"")
        except OSError:
            raise JobError(Code.OUT_OF_MEMORY, "there is no room for a request in memory") from None
        filled = 0
        while filled < size:
            try:
                if self._end.gettimeout() is None:
                    count = os.readv(self._end.fileno(), [target[filled:]])
                else:
                    count = self._end.recv_into(target[filled:])
            except TimeoutError:
                raise _timeout() from None
            except OSError:
                raise _closed() from None
            if count == 0:
                raise _closed()
            filled += count
        return target

    def _write(self, data: memoryview) -> None:
        while data:
            if self._end.gettimeout() is None:
                written = os.write(self._end.fileno(), data)
            else:
                written = self._end.send(data)
            data = data[written:]


def _too_large() -> JobError:
    return JobError(Code.REQUEST_TOO_LARGE, "the analysis sent more than any request may hold")


def _closed() -> JobError:
    return JobError(Code.CHANNEL_CLOSED, "the other end of the channel is gone")


def _timeout() -> JobError:
    return JobError(Code.JOB_TIMEOUT, "the analysis took longer than a run may")
