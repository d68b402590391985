# SPDX-License-Identifier: Apache-2.0
"""What the processes share: signals, secrets in files, the ready file, listening and serving HTTP.

Gate, runner, watcher, console and the simulated guest agent are started by commands. Each command keeps what
is its own, and takes from here:

* `on_signals`: SIGTERM and SIGINT do the same. The first one ends the process in order, a second one without
  waiting for answers under way.
  A process that a signal ended in order has exit status 0.
* `read_token`, `read_key`: one rule for files with secrets, that of `sealroom.files.read_private`.
* `announce`: the ready file, written once the process does its work.
* `listen`, `serve`: one HTTP server, with the same bounds for every process.

What a process refuses at its start is a `ConfigurationError`: exit status 78.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError
from sealroom.files import PUBLIC, FileExposed, read_private, write_atomic
from sealroom_agents.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

MAX_TOKEN_BYTES = 1024
"""Largest token file."""
MIN_TOKEN_CHARACTERS = 32
"""Shortest token: 16 random bytes as hex."""
MAX_KEY_BYTES = 256
"""Largest file with a private key."""
MAX_CONNECTIONS = 256
"""Connections that a server serves at once; more wait."""
MAX_HEAD_BYTES = 16 * 1024
"""What is kept of the head of an HTTP request that has not come to its end."""

_TOKEN = re.compile(rb"[!-~]+")


def on_signals(*actions: Callable[[], object]) -> None:
    """At the n-th SIGTERM or SIGINT call the n-th action; at later ones the last.

    The actions run in a thread of their own, one after the other: unlike a signal handler, they may take
    locks. Call it from the main thread.
    """
    # `SimpleQueue.put` is made to be called by a signal handler, which may interrupt anything.
    arrived: SimpleQueue[int] = SimpleQueue()

    def act() -> None:
        count = 0
        while True:
            arrived.get()
            actions[min(count, len(actions) - 1)]()
            count += 1

    threading.Thread(target=act, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: arrived.put(number))


def read_token(path: Path) -> str:
    """The token in a file that nobody else may read: printable ASCII without spaces, 32 to 1,024 characters.

    White space around it is ignored. Raises `ConfigurationError` `token-file`, which never shows it.
    """
    data = _read_secret(path, MAX_TOKEN_BYTES, code=Code.TOKEN_FILE)
    token = data.strip()
    if len(data) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            Code.TOKEN_FILE, f"{path} holds no token", "put 32 random bytes in it, as hex"
        )
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ConfigurationError(
            Code.TOKEN_FILE,
            f"{path} holds a token of {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are needed",
            "write a random one: openssl rand -hex 32",
        )
    return token.decode("ascii")


def read_key(path: Path) -> bytes:
    """The private key, 32 bytes, in a file that nobody else may read, as 0x and 64 hex digits.

    Raises `ConfigurationError` `key-file`, which never shows it.
    """
    data = _read_secret(path, MAX_KEY_BYTES, code=Code.KEY_FILE)
    if len(data) > MAX_KEY_BYTES:
        raise ConfigurationError(Code.KEY_FILE, f"{path} holds no key", "0x and 64 hex digits")
    try:
        return from_hex(data.decode("ascii", errors="replace").strip(), 32)
    except FormatError as error:
        raise ConfigurationError(Code.KEY_FILE, f"{path} holds no key", "0x and 64 hex digits") from error


def address_option(text: str, option: str) -> str:
    """The address that an option names, lower case. Raises `ConfigurationError` `address`."""
    try:
        return normal_address(text)
    except FormatError as error:
        raise ConfigurationError(Code.ADDRESS, f"--{option} {text!r} is {error.message}") from error


def announce(ready_file: Path | None, **facts: object) -> None:
    """Write the ready file, one JSON object with the process id in `pid`; nothing where none is wanted."""
    if ready_file is not None:
        content = json.dumps({**facts, "pid": os.getpid()}).encode()
        write_atomic(ready_file, content, mode=PUBLIC, replace=True)


@contextmanager
def listen(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket that takes connections, and its URL. Port 0 takes a free one.

    Raises `ConfigurationError` `listen`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off: it would cost 40 ms a message.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(MAX_CONNECTIONS)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(Code.LISTEN, f"cannot listen on {host}:{port}: {reason}") from error
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        yield listener, f"http://{shown}:{listener.getsockname()[1]}"


def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    ready: Callable[[], object],
    keep_alive_s: int,
    shutdown_s: int | None = None,
    connections: int = MAX_CONNECTIONS,
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called once requests are answered.

    `keep_alive_s` bounds how long an idle connection is kept, and `shutdown_s` how long answers under way may
    take after the signal, `None` as long as they need; a second signal cuts them off. The process ends when
    the work that they left in threads has. `connections` is how many it has open at once.
    """
    import httptools
    import uvicorn
    import uvloop
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Bounded(HttpToolsProtocol):
        """Keeps no more of a head, or of what follows a body, than `MAX_HEAD_BYTES`."""

        _idle = _head = 0

        def data_received(self, data: bytes) -> None:
            self._idle += len(data)
            super().data_received(data)
            if self._idle > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large")

        def on_message_begin(self) -> None:
            self._head = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._counted(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._counted(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._idle = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._idle = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._idle = 0
            super().on_message_complete()

        def _counted(self, size: int) -> None:
            self._head += size
            if self._head > MAX_HEAD_BYTES:
                raise httptools.HttpParserError("the head is too large")

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """`on_signals` has them: uvicorn would raise them again, and the process would die of them."""
            yield

    config: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "http": Bounded,
        "limit_concurrency": connections,
        "timeout_keep_alive": keep_alive_s,
        "timeout_graceful_shutdown": shutdown_s,
    }
    server = Server(uvicorn.Config(app, **config))
    on_signals(
        lambda: setattr(server, "should_exit", True),
        lambda: setattr(server, "force_exit", True),
    )
    uvloop.run(server.serve(sockets=[listener]))


def _read_secret(path: Path, limit: int, *, code: Code) -> bytes:
    try:
        return read_private(path, limit)
    except FileExposed as error:
        raise ConfigurationError(code, error.reason, error.remedy) from None
    except OSError as error:
        raise ConfigurationError(code, f"{path}: {error.strerror}") from error
