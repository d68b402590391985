# SPDX-License-Identifier: Apache-2.0
"""Which consortia the watcher reads: a bounded number at each poll, those that matter first.

Anyone may create consortia, so their number says nothing, and none of them may cost the others anything.
With `--consortium` exactly those are followed. Else, in this order:

1. consortia that have runs under way, those with running ones first;
2. consortia that adopted the gate which gets the heartbeats;
3. a few of the factory's others at each poll, in turn, in case they adopt it.

What does not fit into one poll has its turn in the next. The factory's list only grows, so it is read once,
and then its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from sealroom.key_release.messages import MAX_CONSORTIA
from sealroom.model import Platform
from sealroom_agents.errors import ChainError

MAX_POLL = MAX_CONSORTIA
"""Consortia in one poll; they fit into one heartbeat."""
MAX_UNSEEN = 32
"""Of them, those that could not be seen when they were last looked at. They have a batch of their own, so
that they fail alone."""
MAX_BUSY = 128
"""Of the others, those with runs under way that come first."""
MAX_SWEEP = 32
"""Of the others, the factory's that have not adopted this gate."""
MAX_NEW = 100
"""Consortia that are taken from the factory's list at one poll."""


class Factory(Protocol):
    """What finding consortia needs of `sealroom_agents.chain.ChainReader`."""

    def listed(self, factory: str, *, first: int, most: int) -> list[str]:
        """The factory's consortia from number `first` on."""


class Selection:
    """The consortia that are known, and whose turn it is."""

    def __init__(self, chain: Factory, *, factory: str | None, only: Sequence[str]) -> None:
        self._chain = chain
        self._factory = factory
        self._listed = 0
        self._named = OrderedDict.fromkeys(only)
        self._others: OrderedDict[str, None] = OrderedDict()
        self._adopters: OrderedDict[str, None] = OrderedDict()
        self._unseen: OrderedDict[str, None] = OrderedDict()
        self._busy: frozenset[str] = frozenset()
        self._gate: tuple[bytes, str] | None = None

    def next_poll(self, busy: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The consortia of this poll: those to read together, and those that could not be seen before.

        busy: consortia with runs under way, the most urgent first.
        """
        room = MAX_POLL - MAX_UNSEEN
        self._busy = frozenset(busy)
        if self._named:
            wanted = _rotate(self._named, room)
        else:
            self._grow(busy)
            first = list(busy[:MAX_BUSY])
            wanted = [*first, *_rotate(self._adopters, room - MAX_SWEEP - len(first))]
            wanted = list(dict.fromkeys([*wanted, *_rotate(self._others, MAX_SWEEP)]))
        unseen = set(wanted) & self._unseen.keys()
        together = tuple(one for one in wanted if one not in unseen)
        return together, tuple(one for one in self._unseen if one in unseen)[:MAX_UNSEEN]

    def watches(self, consortium: str) -> bool:
        """Whether it is followed, rather than looked at in case it adopts the gate."""
        return consortium in self._named or consortium in self._adopters or consortium in self._busy

    def gate_identified(self, gate: tuple[bytes, str], platforms: Mapping[str, Platform | None]) -> None:
        """The gate's root fingerprint and signer, as it has just said, and what the poll before found."""
        if gate != self._gate:
            self._gate = gate
            self.seen((), platforms)

    def seen(self, unseen: Sequence[str], platforms: Mapping[str, Platform | None]) -> None:
        """What a poll found: those that could not be seen, and the platform of each that could."""
        for consortium in unseen:
            self._unseen[consortium] = None
            self._unseen.move_to_end(consortium)
        for consortium, platform in platforms.items():
            self._unseen.pop(consortium, None)
            if self._named:
                continue
            mine = platform is not None and (platform.gate_root, platform.gate_signer) == self._gate
            joined, left = (self._adopters, self._others) if mine else (self._others, self._adopters)
            left.pop(consortium, None)
            joined.setdefault(consortium)

    def _grow(self, busy: Sequence[str]) -> None:
        for consortium in busy:
            if consortium not in self._adopters:
                self._others.setdefault(consortium)
        if self._factory is None:
            return
        try:
            new = self._chain.listed(self._factory, first=self._listed, most=MAX_NEW)
        except ChainError:
            return  # the next poll finds them; those that are known go on
        self._listed += len(new)
        for consortium in new:
            if consortium not in self._adopters and consortium not in self._others:
                self._others[consortium] = None
                self._others.move_to_end(consortium, last=False)


def _rotate(queue: OrderedDict[str, None], most: int) -> list[str]:
    """The first `most` of a queue, which go to its end."""
    taken = list(islice(queue, max(0, most)))
    for one in taken:
        queue.move_to_end(one)
    return taken
