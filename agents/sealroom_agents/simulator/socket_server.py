# SPDX-License-Identifier: Apache-2.0
"""HTTP over a unix socket, the way a dstack guest agent is reached, with limits for hostile callers.

`POST /<Method>` (also under `/prpc/`), JSON object in, JSON object out; a refused request gets a status of
4xx and `{"error": "…"}`, as dstack answers. An interface that is not served gets the 404 of dstack's web
server instead, by which callers know that the agent lacks it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ConfigurationError

MAX_BODY_BYTES = 64 * 1024
"""Largest request body."""
MAX_CONNECTIONS = 64
"""Connections at one time. One more takes the place of the one that has been idle longest."""
ROOM_TIMEOUT_S = 1.0
"""How long a new connection waits for that place; where none is idle, it is closed then."""
IDLE_TIMEOUT_S = 30
"""A connection that sends nothing for this long is closed."""
MAX_SOCKET_PATH_BYTES = 107
"""Longest path of a unix socket on Linux (`sun_path` less its final zero)."""

MAX_NESTED = 64
"""Brackets in a request, an array of names among them; the parser never sees what could exhaust its stack."""

_ALIAS = "prpc/"
_NOT_FOUND = {"code": 404, "reason": "Not Found", "description": "The requested resource could not be found."}
_PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>404: Not Found</body></html>"
"""What Rocket, which serves dstack's agent, answers to who does not ask for JSON."""

_LOG = logging.getLogger(__name__)

Method = Callable[[Mapping[str, Any]], dict[str, Any]]
"""One method of the agent: request object to response object; raises `BadRequest`."""


class BadRequest(Exception):
    """The caller's request is no good; the text goes back to it with status 400."""


class AgentServer:
    """A running server; also a context manager that closes it."""

    def __init__(self, socket_path: Path | str, methods: Mapping[str, Method]) -> None:
        """Listen on `socket_path` (mode 0600); a dead socket file in its place is replaced. `methods`
        are named as in a request's path, such as `GetKey` and `v1/GetKey`.

        Raises `ConfigurationError` `socket-path` when the path is too long or can't be bound.
        """
        self.path = Path(socket_path)
        if len(os.fsencode(self.path)) > MAX_SOCKET_PATH_BYTES:
            raise ConfigurationError(
                Code.SOCKET_PATH,
                f"{self.path} is longer than {MAX_SOCKET_PATH_BYTES} bytes",
                "use a shorter folder",
            )
        try:
            if self.path.is_socket():
                self.path.unlink()
            self._server = _Server(str(self.path), _handler(methods))
            self.path.chmod(0o600)
        except OSError as error:
            raise ConfigurationError(
                Code.SOCKET_PATH, f"cannot listen on {self.path}: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="guest-agent", daemon=True)
        self._thread.start()

    @property
    def working(self) -> int:
        """Connections whose request is being read or answered."""
        return self._server.working

    def __enter__(self) -> AgentServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and remove the socket; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
        self.path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    # Handlers of idle keep-alive connections must not hold up closing.
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._idle: dict[socket.socket, None] = {}
        """Connections between two requests, the one that has been so for longest first."""
        self._working: set[socket.socket] = set()
        """Connections whose request has begun."""
        self._lock = threading.Lock()
        super().__init__(path, handler)

    @property
    def working(self) -> int:
        """How many connections have a request under way."""
        with self._lock:
            return len(self._working)

    def mark_idle(self, connection: socket.socket) -> None:
        """The connection waits for its next request."""
        with self._lock:
            self._idle[connection] = None

    def mark_working(self, connection: socket.socket) -> None:
        """The connection's request has begun."""
        with self._lock:
            self._idle.pop(connection, None)
            self._working.add(connection)

    def ends(self, connection: socket.socket) -> None:
        """The connection's request was answered, or the connection is gone."""
        with self._lock:
            self._idle.pop(connection, None)
            self._working.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self._end_longest_idle()
            if not self._slots.acquire(timeout=ROOM_TIMEOUT_S):
                self.shutdown_request(request)
                return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def _end_longest_idle(self) -> None:
        """Close an idle connection: clients leave theirs open."""
        with self._lock:
            connection = next(iter(self._idle), None)
            if connection is None:
                return
            del self._idle[connection]
            # Its own thread closes it, which the lock holds back: else another socket could have its number.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no event; anything else is a mistake of ours."""
        if not isinstance(sys.exception(), OSError):
            _LOG.exception("a request failed")


def _handler(methods: Mapping[str, Method]) -> type[BaseHTTPRequestHandler]:
    served = {name.rpartition("/")[0] for name in methods}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_TIMEOUT_S
        # Headers and body leave in one write.
        wbufsize = -1
        server: _Server

        def handle_one_request(self) -> None:
            self.server.mark_idle(self.connection)
            try:
                super().handle_one_request()
            finally:
                self.server.ends(self.connection)

        def parse_request(self) -> bool:
            self.server.mark_working(self.connection)
            return super().parse_request()

        def do_POST(self) -> None:
            name = self.path.split("?", 1)[0].removeprefix("/").removeprefix(_ALIAS)
            interface, _, word = name.rpartition("/")
            method = methods.get(name)
            try:
                request = self._request()
                if method is None and interface in served:
                    self._answer(404, {"error": f"Service not found: {word[:64]}"})
                    return
                if method is None:
                    self._no_such_page()
                    return
                self._answer(200, method(request))
            except BadRequest as error:
                self._answer(400, {"error": str(error)})

        def _request(self) -> dict[str, Any]:
            text = self.headers.get("Content-Length", "")
            if not (text.isascii() and text.isdigit()) or self.headers.get("Transfer-Encoding"):
                self.close_connection = True
                raise BadRequest("a request needs a Content-Length")
            # Compare the length of the digits first: Python refuses to read absurdly long numbers.
            if len(text) > 8 or int(text) > MAX_BODY_BYTES:
                self.close_connection = True
                raise BadRequest(f"a request body is at most {MAX_BODY_BYTES} bytes")
            body = self.rfile.read(int(text))
            if body.count(b"[") + body.count(b"{") > MAX_NESTED:
                raise BadRequest("the request body is nested too deeply")
            try:
                request = json.loads(body or b"{}")
            except ValueError as error:
                raise BadRequest("the request body is not JSON") from error
            if not isinstance(request, dict):
                raise BadRequest("the request body is not a JSON object")
            return request

        def _no_such_page(self) -> None:
            if "json" in self.headers.get("Accept", ""):
                self._answer(404, {"error": _NOT_FOUND})
            else:
                self._send(404, "text/html; charset=utf-8", _PAGE)

        def _answer(self, status: int, answer: dict[str, Any]) -> None:
            self._send(status, "application/json", json.dumps(answer).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: a path may name a key."""

        def address_string(self) -> str:
            return "unix"

    return Handler
