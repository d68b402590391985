# SPDX-License-Identifier: Apache-2.0
"""The ports of a room's processes, held against other rooms from the choice on.

A process listens on its port half a minute after it was chosen: first come the chain and the contracts. Two
rooms that start meanwhile would choose alike. So a room claims a port by a name in the abstract namespace of
Unix sockets (unix(7)), which lives in the network namespace, as ports do, and ends with the process that has
it.
"""

from __future__ import annotations

import random
import socket

from sealroom_agents.errors import DemoError

TRIED = 100
"""So many ports from the wanted one on are tried."""
ANY = range(20_000, 32_000)
"""Where any port is sought: below those that the kernel gives to connections."""


class Ports:
    """Ports that one program claims, until it closes them or ends."""

    def __init__(self) -> None:
        self._claims: dict[int, socket.socket] = {}

    def close(self) -> None:
        """Give all back."""
        for claim in self._claims.values():
            claim.close()
        self._claims.clear()

    def take(self, wanted: int) -> int:
        """That port, or the next one that is free; any free one for 0. Raises `DemoError` where none is."""
        first = wanted or random.choice(ANY)
        for port in range(first, first + TRIED):
            if self._claim(port):
                return port
        raise DemoError(
            f"no port from {first} to {first + TRIED - 1} is free", hint="ss -ltn shows who has them"
        )

    def keep(self, ports: dict[str, int]) -> None:
        """Claim a room's ports, by its process. Raises `DemoError` where another program has one."""
        for name, port in ports.items():
            if not self._claim(port):
                raise DemoError(
                    f"port {port}, which the {name} of this room has, is taken by another program",
                    hint=f"stop it (`ss -ltnp 'sport = :{port}'` names it), "
                    "or start a new room: --dir FOLDER",
                )

    def _claim(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sealroom-port-{port}")
        except OSError:
            claim.close()
            return False
        self._claims[port] = claim
        if _listened_on(port):
            self._claims.pop(port).close()
            return False
        return True


def _listened_on(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an earlier one that linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
