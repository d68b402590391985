# SPDX-License-Identifier: Apache-2.0
"""One question to dstack's guest agent and its answer: HTTP over a unix socket, bounded and timed.

Version 1 is asked by this alone; version 0 by dstack's own client over it (`guest_sdk`).
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 20.0
"""For a whole exchange, from the connection to the last byte; a quote takes about a second on hardware."""
MAX_HEAD = 64 * 1024
"""Most bytes of what stands before a body, and of the marks between its chunks."""


@dataclass(frozen=True)
class Reply:
    """What the agent answered. Nothing of it is judged."""

    status: int
    body: bytes
    """At most as long as was said."""


def ask(
    path: Path, method: str, request: Mapping[str, Any], *, limit: int, timeout: float = TIMEOUT_SECONDS
) -> Reply:
    """`POST /method` with a JSON object; `limit` is the most bytes of a body, `timeout` in seconds.

    Raises `OSError`, of which a timeout is one, and `ValueError` for an answer that is no HTTP, is cut off or
    too long. No redirection is followed, and nothing is asked twice.
    """
    deadline = time.monotonic() + timeout
    body = json.dumps(request, separators=(",", ":")).encode()
    head = (
        f"POST /{method} HTTP/1.1\r\nHost: dstack\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(head.encode("ascii") + body)
        answer = http.client.HTTPResponse(_Bounded(connection, limit + MAX_HEAD, deadline), method="POST")  # type: ignore[arg-type]
        try:
            answer.begin()
            if answer.length is None and not answer.chunked:
                raise ValueError("the answer does not say how long it is")
            found = answer.read(limit + 1)
            if len(found) > limit:
                raise ValueError(f"the answer has more than {limit} bytes")
            if answer.length:
                raise ValueError("the answer is cut off")
        except http.client.HTTPException as error:
            raise ValueError(f"the answer is no HTTP, or is cut off: {type(error).__name__}") from error
        finally:
            answer.close()
        return Reply(answer.status, found)


class _Bounded(io.RawIOBase):
    """What a socket gives until a deadline, and no more than a number of bytes. For `HTTPResponse`, which
    wants something with `makefile`."""

    def __init__(self, connection: socket.socket, limit: int, deadline: float) -> None:
        self._connection, self._left, self._deadline = connection, limit, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """The reader."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes. Raises `TimeoutError` after the deadline, `ValueError` beyond the bound."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("no whole answer in time")
        self._connection.settimeout(remaining)
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise ValueError("the answer is too long")
        return count
