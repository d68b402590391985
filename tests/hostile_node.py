# SPDX-License-Identifier: Apache-2.0
"""An endpoint that answers with whatever bytes a test wants, when it wants.

with HostileNode(says(b"…")) as node:
    node.answer = drips            # what it does with the next request
    node.requests                  # heads of the requests that it got
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealroom_agents.chain import ChainReader

PACE_S = 0.02
"""Between two bytes of a node that drips."""


class HostileNode:
    """A server on a free port, a thread a connection."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.sent = 0
        self.open = 0
        self.changed = threading.Condition()
        """Notified when a connection opens or ends."""
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, name="hostile-node", daemon=True).start()

    def __enter__(self) -> HostileNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        # Closed alone, it would still take the one connection that the thread waits for.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send and count."""
        connection.sendall(data)
        self.sent += len(data)

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="hostile", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._count(1)
        try:
            with connection, connection.makefile("rb") as stream:
                while (head := self._head(stream)) is not None:
                    length = next(
                        int(line[15:])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    )
                    body = stream.read(length)
                    if len(body) < length:
                        return
                    self.requests.append(head)
                    if self.answer(self, connection, body) is False:
                        return
        except OSError:
            pass  # the caller hung up, which is what most tests are about
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self.changed:
            self.open += change
            self.changed.notify_all()

    def _head(self, stream: Any) -> bytes | None:
        """`None` where the caller hung up, be it in the middle of one."""
        lines: list[bytes] = []
        while (line := stream.readline()) != b"\r\n":
            if not line.endswith(b"\r\n"):
                return None
            lines.append(line)
        return b"".join(lines)


Answer = Callable[[HostileNode, socket.socket, bytes], Any]
"""What a node does with a request: its socket and the request's body; `False` closes the connection."""


def http(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def says(data: bytes) -> Answer:
    """These bytes, whatever was asked."""
    return lambda node, connection, body: node.send(connection, data)


def results(value: Any) -> Answer:
    """Proper JSON-RPC with this result for each call."""

    def answer(node: HostileNode, connection: socket.socket, body: bytes) -> None:
        ids = [call["id"] for call in json.loads(body)]
        node.send(
            connection, http(json.dumps([{"jsonrpc": "2.0", "id": i, "result": value} for i in ids]).encode())
        )

    return answer


def drips(start: bytes) -> Answer:
    """`start`, and then a byte now and then, for ever."""

    def answer(node: HostileNode, connection: socket.socket, body: bytes) -> None:
        node.send(connection, start)
        while not node.over.wait(PACE_S):
            node.send(connection, b" ")

    return answer


def endless(start: bytes, piece: bytes) -> Answer:
    """`start`, and then `piece` for ever, as fast as it is taken."""

    def answer(node: HostileNode, connection: socket.socket, body: bytes) -> None:
        node.send(connection, start)
        while not node.over.is_set():
            node.send(connection, piece)

    return answer


def silent(node: HostileNode, connection: socket.socket, body: bytes) -> bool:
    """Nothing, until the caller hangs up."""
    connection.recv(1)
    return False


def hangs_up(node: HostileNode, connection: socket.socket, body: bytes) -> bool:
    """The end of the connection."""
    return False


def give_up(reader: ChainReader, node: HostileNode, seconds: float) -> None:
    """From here on, the deadline of the reader and its followers for this node; a deadline for all would take
    an honest one, on a busy machine, for one that never answers."""
    for nodes in (reader._nodes, *reader._apart):
        (rpc,) = (rpc for rpc in nodes.rpcs if rpc.url == node.url)
        rpc._endpoint._timeout_s = seconds
