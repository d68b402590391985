# SPDX-License-Identifier: Apache-2.0
"""Where enclaves in confidential VMs reach their runner: they fetch sealed datasets, and hand in lines,
outcome and exit status (`sealroom.runtime.host_link` is the other side).

Each run has a URL of its own with 32 random bytes, which its VM alone is told. Who knows it can spoil that
run and no other: datasets are sealed, and an envelope is checked when it is published. So this is plain HTTP
with bounds, and no request can make the runner keep more than `LIMITS` say.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.runner.run_folder import LIMITS, OUT

MAX_LINE_BYTES = 64 * 1024
"""Longest line that an enclave may hand in."""
MAX_LINES = 100_000
"""Most lines of one run: a renewal each second for a day, and some."""
MAX_WORD = 64
"""Longest word by which an enclave is known."""
SILENCE_S = 60.0
"""Longest silence of a connection, seconds."""
MAX_CONNECTIONS = 64
"""Connections at one time; one more is closed."""
LINGER_S, LINGER_BYTES = 2.0, 1 << 20
"""How long, and how much, of a body that was refused unread is still taken from the line."""
_PATH = re.compile(r"/v1/runs/(?P<token>[0-9a-f]{64})(?P<what>/[A-Za-z0-9._/-]{1,200})")
_DATASET = "/datasets/"

log = logging.getLogger(__name__)


@dataclass
class Inbox:
    """What one run's enclave handed in. Thread safe."""

    folder: Path
    """The run's folder."""
    datasets: Mapping[str, Path]
    """Its sealed files, by their paths in the recipe."""
    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    starts: int = 0
    """How many enclaves said that they begin."""
    status: int | None = None
    """The exit status."""
    broken: str | None = None
    """What it did that no enclave does."""
    heard: float = field(default_factory=time.monotonic)
    """When something came last."""
    _lines: SimpleQueue[Mapping[str, object]] = field(default_factory=SimpleQueue)
    _last: int = 0
    _enclave: str = ""
    """The word by which the first enclave is known."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next line; `None` when none came in time."""
        try:
            return self._lines.get(timeout=timeout_s) if timeout_s > 0 else self._lines.get_nowait()
        except Empty:
            return None

    def empty(self) -> bool:
        """Whether no line waits."""
        return self._lines.empty()

    def take(self, method: str, what: str, body: bytes) -> int:
        """Take one message; returns the HTTP status of the answer."""
        with self._lock:
            self.heard = time.monotonic()
            try:
                if (method, what) == ("POST", "/start"):
                    return self._started(strict_json(body, MAX_LINE_BYTES)["enclave"])
                if self.starts != 1 or self.status is not None:
                    return 409
                return self._taken(method, what, body)
            except (FormatError, KeyError, TypeError, ValueError) as error:
                self.broken = f"it handed in {what} in a form that no enclave writes ({type(error).__name__})"
                return 400

    def _started(self, enclave: object) -> int:
        """One enclave begins; the same one may say so again, when its answer was lost."""
        if not isinstance(enclave, str) or not 0 < len(enclave) <= MAX_WORD:
            raise TypeError(enclave)
        if enclave != self._enclave:
            self.starts += 1
            self._enclave = self._enclave or enclave
        return 200 if enclave == self._enclave else 409

    def _taken(self, method: str, what: str, body: bytes) -> int:
        name = what.removeprefix("/")
        if method == "PUT" and name in LIMITS:
            target = self.folder / OUT / name
            if target.exists():
                return 409
            target.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomic(target, body, mode=PRIVATE)
            return 200
        if (method, what) == ("POST", "/lines"):
            told = strict_json(body, MAX_LINE_BYTES, allow_floats=True)
            number, line = told["number"], told["line"]
            if not isinstance(number, int) or not isinstance(line, dict) or not 0 < number <= MAX_LINES:
                raise TypeError(what)
            if number > self._last:  # else it is the same line again, whose answer was lost
                self._last = number
                self._lines.put(line)
            return 200
        if (method, what) == ("POST", "/exit"):
            status = strict_json(body, MAX_LINE_BYTES)["status"]
            if not isinstance(status, int) or isinstance(status, bool) or not 0 <= status <= 255:
                raise TypeError(what)
            self.status = status
            return 200
        return 404


class Delivery:
    """The server. One per runner."""

    def __init__(self, host: str, port: int, url: str | None = None) -> None:
        """`url` is how VMs reach it, where that is not the address it listens on.

        Raises `ConfigurationError` `listen`.
        """
        self._inboxes: dict[str, Inbox] = {}
        try:
            self._server = _Server((host, port), self._inboxes)
        except OSError as error:
            raise ConfigurationError(
                Code.LISTEN, f"cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = (url or f"http://{shown}:{self._server.server_address[1]}").rstrip("/")
        self._thread = threading.Thread(target=self._server.serve_forever, name="delivery", daemon=True)
        self._thread.start()

    def open(self, folder: Path, datasets: Mapping[str, Path]) -> Inbox:
        """A place of its own for one run."""
        inbox = Inbox(folder=folder, datasets=datasets)
        self._inboxes[inbox.token] = inbox
        return inbox

    def url_of(self, inbox: Inbox) -> str:
        """What that run's VM is told."""
        return f"{self.url}/v1/runs/{inbox.token}"

    def shut(self, inbox: Inbox) -> None:
        """Nothing more comes or goes for this run."""
        self._inboxes.pop(inbox.token, None)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], inboxes: Mapping[str, Inbox]) -> None:
        self.inboxes = inboxes
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        log.info("a connection of an enclave broke off")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"
    """One request a connection: what is bounded for one is bounded for all."""
    server_version, sys_version = "sealroom", ""
    timeout = SILENCE_S

    def do_GET(self) -> None:
        inbox, what = self._found()
        path = (
            inbox.datasets.get(what.removeprefix(_DATASET)) if inbox and what.startswith(_DATASET) else None
        )
        if path is None:
            return self._answer(404)
        try:
            stream = path.open("rb")
        except OSError as error:
            log.warning("the sealed dataset %s cannot be read: %s", path.name, error.strerror)
            return self._answer(503)
        with stream:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            shutil.copyfileobj(stream, self.wfile, 1024 * 1024)

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        inbox, what = self._found()
        if inbox is None:
            return self._refuse(404)
        limit = LIMITS.get(what.removeprefix("/"), MAX_LINE_BYTES)
        told = self.headers.get("Content-Length", "")
        if not (told.isascii() and told.isdigit() and len(told) < 12):
            return self._refuse(411)
        if int(told) > limit:
            return self._refuse(413)
        body = self.rfile.read(int(told))
        if len(body) != int(told):
            return self._answer(400)
        try:
            self._answer(inbox.take(self.command, what, body))
        except OSError as error:
            log.warning("what an enclave handed in cannot be kept: %s", error.strerror)
            self._answer(503)

    def _found(self) -> tuple[Inbox | None, str]:
        match = _PATH.fullmatch(self.path)
        return (None, "") if match is None else (self.server.inboxes.get(match["token"]), match["what"])

    def _refuse(self, status: int) -> None:
        """Answer without the body, and let the sender read that: a socket that is closed with bytes unread
        resets its connection, and the answer may be lost with it."""
        self._answer(status)
        end, left = time.monotonic() + LINGER_S, LINGER_BYTES
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (wait := end - time.monotonic()) > 0:
                self.connection.settimeout(wait)
                if not (piece := self.rfile.read1(min(left, 1 << 16))):
                    return
                left -= len(piece)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a path has the run's token."""
