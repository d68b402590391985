# SPDX-License-Identifier: Apache-2.0
"""Who shares what strangers may have of a server: one client is one address, so far as it is one machine's.

What a client holds counts against itself first. Behind a proxy all are one client, so no bound rests on the
address alone: what was held longest goes first, whoever holds it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Protocol

MAX_CLIENTS = 4096
"""Clients whose share is remembered; the one that asked longest ago is forgotten first."""
NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all addresses of its network."""


def client_of(address: str | None) -> str:
    """The client that an address belongs to; empty for a socket without one."""
    try:
        ip = ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(IPv6Address(int(ip) >> NETWORK_BITS << NETWORK_BITS))


class Bucket:
    """So much at once, and so much a second."""

    def __init__(self, most: float, per_s: float, now: float) -> None:
        self._most, self._per_s = most, per_s
        self._left, self._at = most, now

    def left(self, now: float) -> float:
        """What may be taken now."""
        self._left = min(self._most, self._left + self._per_s * max(now - self._at, 0.0))
        self._at = now
        return self._left

    def take(self, cost: float) -> None:
        """It was taken."""
        self._left -= cost


class Allowance:
    """What all clients may have together of something dear, and of that each client. For callers that hold
    a lock of their own."""

    def __init__(
        self, *, most: float, per_s: float, share: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`most` at once and `per_s` each second for all; a client has the part `share` of both."""
        self._clock = clock
        self._share = share * most, share * per_s
        self._all = Bucket(most, per_s, clock())
        self._of: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str, cost: float) -> bool:
        """Take so much for a client, or nothing: false where that is more than it has now."""
        now = self._clock()
        own = self._of.get(client)
        if own is None:
            own = self._of[client] = Bucket(*self._share, now)
            if len(self._of) > MAX_CLIENTS:
                self._of.popitem(last=False)
        self._of.move_to_end(client)
        if cost > min(own.left(now), self._all.left(now)):
            return False
        own.take(cost)
        self._all.take(cost)
        return True


class Connection(Protocol):
    """One connection of a server."""

    @property
    def waits(self) -> bool:
        """Whether it is its client's turn to say something, or to read."""
        ...

    def go(self) -> None:
        """Be closed, to make room for another."""
        ...


class Crowd:
    """The open connections of a server, by client.

    A connection costs whoever opens it nothing. So nobody is refused because others hold many: where one is
    too many, the client with the most loses the one that has said nothing whole for the longest time. None is
    closed whose request is being answered.
    """

    def __init__(self, most: int) -> None:
        """`most`: how many may be open at once."""
        self._most = most
        self._of: dict[str, OrderedDict[Connection, None]] = {}
        self._client: dict[Connection, str] = {}

    def came(self, one: Connection, client: str) -> None:
        """A connection was opened."""
        if len(self._client) >= self._most and (goes := self._burden()) is not None:
            self.went(goes)
            goes.go()
        self._client[one] = client
        self._of.setdefault(client, OrderedDict())[one] = None

    def _burden(self) -> Connection | None:
        for held in sorted(self._of.values(), key=len, reverse=True):
            for one in held:
                if one.waits:
                    return one
        return None

    def spoke(self, one: Connection) -> None:
        """It brought a whole request."""
        if (client := self._client.get(one)) is not None:
            self._of[client].move_to_end(one)

    def went(self, one: Connection) -> None:
        """It is closed."""
        client = self._client.pop(one, None)
        if client is not None:
            del self._of[client][one]
            if not self._of[client]:
                del self._of[client]
