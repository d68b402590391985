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

import asyncio
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
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError
from sealroom.files import PUBLIC, FileExposed, read_private, write_atomic
from sealroom_agents.clients import Crowd, client_of
from sealroom_agents.errors import ConfigurationError

MAX_TOKEN_BYTES = 1024
"""Largest token file."""
MIN_TOKEN_CHARACTERS = 32
"""Shortest token: 16 random bytes as hex."""
MAX_KEY_BYTES = 256
"""Largest file with a private key."""
MAX_CONNECTIONS = 256
"""Connections that a server has open at once; for one more, another that waits for its client is closed."""
HEAD_S = 10.0
"""Seconds from the first byte of a request's head, or from the connection's begin, to the head's last."""
BODY_S = 60.0
"""Seconds that a body may take."""
WRITE_S = 60.0
"""Seconds that whoever asked may leave an answer unread."""
MAX_HEAD_BYTES = 16 * 1024
"""What is kept of the head of an HTTP request that has not come to its end."""

_TOKEN = re.compile(rb"[!-~]+")
_ANY_TOKEN = "copy the whole one that a service gave you; one of your own is made by: openssl rand -hex 32"


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
        raise ConfigurationError(Code.TOKEN_FILE, f"{path} holds no token", _ANY_TOKEN)
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ConfigurationError(
            Code.TOKEN_FILE,
            f"{path} holds a token of {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are needed",
            _ANY_TOKEN,
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
    app: Callable[..., Any],
    listener: socket.socket,
    *,
    ready: Callable[[], object],
    keep_alive_s: int,
    shutdown_s: int | None = None,
    connections: int = MAX_CONNECTIONS,
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT. `ready` is called once requests are answered.

    `keep_alive_s` bounds how long an idle connection is kept, and `shutdown_s` how long answers under way may
    take after the signal, `None` as long as they need; a second signal cuts them off. The process ends when
    the work that they left in threads has. `connections` is how many it has open at once; who loses one
    where there are more, says `sealroom_agents.clients.Crowd`.
    """
    import httptools
    import uvicorn
    import uvloop
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    crowd = Crowd(connections)

    class Bounded(HttpToolsProtocol):
        """Keeps no more of a head, or of what follows a body, than `MAX_HEAD_BYTES`; waits for neither longer
        than `HEAD_S` and `BODY_S`. Where there are too many, one that waits for its client goes."""

        _idle = _head = 0
        _due: float | None = None
        _timer: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait(HEAD_S)
            crowd.came(self, client_of(self.client[0] if self.client else None))

        @property
        def waits(self) -> bool:
            """Whether it is its client's turn: to ask, to go on with what it sends, or to read an answer."""
            cycle: Any = self.cycle  # none before the first request
            answering = cycle is not None and not cycle.response_complete and not cycle.more_body
            return self._unread is not None or not (answering or self.pipeline)

        def go(self) -> None:
            """Make room for another."""
            self.connections.discard(self)
            self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            crowd.went(self)
            if self._timer is not None:
                self._timer.cancel()
            self._read()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._read()
            self._unread = self.loop.call_later(WRITE_S, self.transport.abort)

        def resume_writing(self) -> None:
            self._read()
            super().resume_writing()

        def _wait(self, seconds: float | None) -> None:
            """What is under way must be over in so many seconds. One timer serves all that comes over a
            connection: to set one for each part of each message costs more than to read it."""
            self._due = None if seconds is None else self.loop.time() + seconds
            if self._timer is None:
                self._timer = self.loop.call_later(HEAD_S, self._look)

        def _look(self) -> None:
            now = self.loop.time()
            if self._due is not None and now >= self._due:
                self.transport.abort()
                return
            # What begins before the next look is due after it.
            left = HEAD_S if self._due is None else min(HEAD_S, self._due - now)
            self._timer = self.loop.call_later(left, self._look)

        def _read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def data_received(self, data: bytes) -> None:
            self._idle += len(data)
            answered: Any = self.cycle  # none before the first request
            if self._due is None and (answered is None or answered.response_complete):
                # A request begins, though what came may be no more than a line's end, which no parser tells.
                self._wait(HEAD_S)
            super().data_received(data)
            if self._idle > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large")

        def on_message_begin(self) -> None:
            self._head = 0
            self._wait(HEAD_S)
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._counted(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._counted(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._idle = 0
            self._wait(BODY_S)
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._idle = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._idle = 0
            self._wait(None)
            crowd.spoke(self)
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
        # Where each connection is at work, one more is told so, or goes for the next one.
        "limit_concurrency": connections + 1,
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
        if os.environ.get("CREDENTIALS_DIRECTORY") == str(path.parent):
            # systemd made it for this service alone, by an access control list that shows as a group's bits.
            with path.open("rb") as stream:
                return stream.read(limit + 1)
        return read_private(path, limit)
    except FileExposed as error:
        raise ConfigurationError(code, error.reason, error.remedy) from None
    except OSError as error:
        raise ConfigurationError(code, f"{path}: {error.strerror}") from error
