# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that gives one file in ranges and counts what it gives, honest until a test makes it lie.

    with RangeServer.start(data) as server:
        server.url
        server.lie = lambda answer: replace(answer, total=1)      # a lie in each answer

A lie may change the answer, or send something itself through `answer.request` and return `None`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """To a request for one range."""

    request: BaseHTTPRequestHandler
    number: int
    """Of the request, from 0."""
    start: int
    """First byte that was asked for."""
    body: bytes
    """The bytes from there, up to the last one that was asked for."""
    total: int
    """Bytes of the file."""
    tag: str
    """Its entity tag."""
    status: int = 206
    headers: dict[str, str] = field(default_factory=dict)
    """Beside, or in place of, those that the values above make."""
    stops_after: int | None = None
    """After so many bytes of the body, the connection ends."""


@dataclass
class RangeServer:
    """One that runs."""

    data: bytes
    tag: str = '"one"'
    lie: Callable[[Answer], Answer | None] = lambda answer: answer
    asked: list[tuple[int, int]] = field(default_factory=list)
    """First byte, and byte after the last one, of each request."""
    given: int = 0
    """Bytes of bodies that were sent."""
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextmanager
    def start(cls, data: bytes) -> Iterator[RangeServer]:
        """It ends with the block."""
        made = cls(data)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with suppress(OSError):
                    made._answer(self)

            def log_message(self, *_: object) -> None:
                return

        httpd = _Quiet(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{httpd.server_address[1]}/A.tar"
        try:
            yield made
        finally:
            httpd.shutdown()
            httpd.server_close()
            thread.join()

    def forget(self) -> None:
        """Count from nothing."""
        self.asked.clear()
        self.given = 0

    def give(self, count: int) -> None:
        """Count what a lie sent by itself."""
        with self._lock:
            self.given += count

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        assert found is not None
        start, stop = int(found[1]), min(int(found[2]) + 1, len(self.data))
        with self._lock:
            number = len(self.asked)
            self.asked.append((start, stop))
        answer = Answer(request, number, start, self.data[start:stop], len(self.data), self.tag)
        if request.headers.get("If-Range", self.tag) != self.tag:
            answer = Answer(request, number, 0, self.data, len(self.data), self.tag, 200)
        lied = self.lie(answer)
        if lied is None:
            request.close_connection = True
            return
        self._send(request, lied)

    def _send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        stop = answer.start + len(answer.body) - 1
        headers = {
            "ETag": answer.tag,
            "Content-Length": str(len(answer.body)),
            "Content-Range": f"bytes {answer.start}-{stop}/{answer.total}",
            **answer.headers,
        }
        request.send_response(answer.status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        body = answer.body if answer.stops_after is None else answer.body[: answer.stops_after]
        request.wfile.write(body)
        self.give(len(body))
        if answer.stops_after is not None or len(answer.body) != int(headers["Content-Length"]):
            request.close_connection = True


class _Quiet(ThreadingHTTPServer):
    """Whoever hangs up on a lying server is right to."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        return
