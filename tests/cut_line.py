# SPDX-License-Identifier: Apache-2.0
"""The network before a server: a port that leads to it, which a test cuts and mends.

with CutLine(("127.0.0.1", 9000)) as line:      # or the path of a socket
    line.port                                   # leads there
    line.cut()                                  # every connection ends, and new ones end at once
    line.mend()
    line.hold()                                 # connections stay, and no byte comes through
    line.mend()                                 # what was held comes through
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

CHUNK_BYTES = 1 << 16


class CutLine:
    """Hands bytes on, both ways, in threads of its own."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        self._flowing = threading.Event()
        self._flowing.set()
        self.connections = 0
        """How often somebody has connected."""
        self.sent = 0
        """Bytes that went to the server."""
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        """Of this machine; it stays the same."""
        return int(self._door.getsockname()[1])

    def cut(self) -> None:
        """End every connection, and each new one."""
        with self._lock:
            self._whole = False
            ending, self._open = self._open, set()
        self._flowing.set()
        for one in ending:
            _end(one)

    def hold(self) -> None:
        """Let no byte through, and tell nobody: what loses every packet looks so."""
        self._flowing.clear()

    def mend(self) -> None:
        """Lead to the server again."""
        with self._lock:
            self._whole = True
        self._flowing.set()

    def __enter__(self) -> CutLine:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        _end(self._door)
        self.cut()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                self.connections += 1
                threading.Thread(target=self._join, args=(caller,), daemon=True).start()

    def _join(self, caller: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        server = socket.socket(family)
        with self._lock:
            whole = self._whole
            if whole:
                self._open |= {caller, server}
        try:
            if not whole:
                return
            server.connect(self._target)
            back = threading.Thread(target=self._pass_on, args=(server, caller), daemon=True)
            back.start()
            self._pass_on(caller, server, count=True)
            back.join()
        except OSError:
            return
        finally:
            with self._lock:
                self._open -= {caller, server}
            _end(caller)
            _end(server)

    def _pass_on(self, source: socket.socket, to: socket.socket, *, count: bool = False) -> None:
        """Until one of them ends; the other learns it."""
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                to.sendall(data)
                if count:
                    with self._lock:
                        self.sent += len(data)
        self._flowing.wait()
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
