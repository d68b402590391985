# SPDX-License-Identifier: Apache-2.0
"""What a hash on chain is the hash of: the content of studies, and the words of a revocation.

The contract keeps a study's struct hash; the content stands in the event that pinned it. That is looked for
among the consortium's last events, then in the blocks of the time at which the state says that it was pinned:
however many other events an owner makes, it is found by a bounded number of questions. So the state is the
proof and the log a hint (CH-29): content counts only if it hashes to the id that the state names. A node that
hides or falsifies a log can be the reason that nothing is read, never that something false is. Content never
changes under its id, so once found it is kept, and a release costs no further question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model import State, Study
from sealroom_agents.chain.breaker import FAULTS
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import (
    LOG_RANGE,
    Happening,
    Walk,
    address_topic,
    at_time,
    backward,
    decoded,
    topics,
    walk,
)
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import active_study, revoker
from sealroom_agents.errors import ChainError

MAX_KEPT = 1024
"""Studies, and revocations, that are kept."""
MAX_REORGANISATION = 512
"""Blocks below the newest that are searched again."""
NEAR = 16
"""Blocks with events that are looked through before what is looked for is asked for by its time, or its
topics."""
MAX_PROPOSAL_RANGES = 50
"""Ranges of blocks in which the proposal of a recipe is looked for beyond a walk: half a million blocks."""

K = TypeVar("K")
V = TypeVar("V")


class Contents:
    """Contents by their hash, found once. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._studies: OrderedDict[bytes, Study] = OrderedDict()
        self._last: OrderedDict[str, Study] = OrderedDict()
        self._searched: OrderedDict[tuple[str, str, bytes], tuple[int, Study | None, int]] = OrderedDict()
        self._words: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    def last(self, consortium: str) -> Study | None:
        """The study that was active when one was asked for last; `None` before the first."""
        with self._lock:
            return self._last.get(consortium)

    def active(self, rpcs: Sequence[Rpc], consortium: str, state: State) -> Study | None:
        """Content of the active study; `None` when there is none.

        Raises `ChainError`, of the last node asked, when no node shows it, though the state says that it is
        there.
        """
        study = active_study(state)
        if study is None:
            return None
        with self._lock:
            found = self._studies.get(study)
        if found is None:
            found = self._found(rpcs, consortium, state)
        with self._lock:
            _keep(self._studies, study, found)
            _keep(self._last, consortium, found)
        return found

    def proposed(
        self, rpc: Rpc, consortium: str, compose_hash: bytes, *, last: int, until: int
    ) -> tuple[Study | None, int]:
        """Content of the newest proposal of a recipe, on any basis, or `None`; and without one, the block
        before which nothing was looked for, 0 if all was.

        last: block of the consortium's last event. until: block up to which is looked.
        """
        key = (rpc.url, consortium, compose_hash)
        with self._lock:
            searched, newest, unread = self._searched.get(key, (-1, None, 0))
        # The newest blocks are searched again each time, because they may be replaced.
        settled = until - MAX_REORGANISATION
        near = walk(rpc, "Consortium", {"address": consortium}, last, floor=max(0, searched))
        for happened in self._back(rpc, consortium, compose_hash, near):
            for event in reversed(happened):
                study = content(event) if event.name == "StudyProposed" else None
                if study is not None and study.compose_hash == compose_hash:
                    with self._lock:
                        _keep(self._studies, study.id, study)
                        if event.where.block <= settled:
                            _keep(self._searched, key, (max(searched, settled), study, 0))
                    return study, 0
        if near.unread > MAX_PROPOSAL_RANGES * LOG_RANGE:
            newest, unread = None, near.unread - MAX_PROPOSAL_RANGES * LOG_RANGE + 1
        with self._lock:
            _keep(self._searched, key, (max(searched, settled), newest, unread))
        return newest, unread

    @staticmethod
    def _back(rpc: Rpc, consortium: str, compose_hash: bytes, near: Walk) -> Iterator[list[Happening]]:
        """Events from the newest back; from where a walk was cut, proposals of the recipe alone."""
        yield from near
        if near.unread:
            topic = interface("Consortium").topic("StudyProposed")
            query = {"address": consortium, "topics": topics(topic, None, compose_hash)}
            for logs in backward(rpc, query, near.unread, most=MAX_PROPOSAL_RANGES):
                yield decoded("Consortium", logs)

    def reason(self, rpcs: Sequence[Rpc], consortium: str, state: State) -> str:
        """Words of the revocation that stands; empty when there is none, or when no node shows them."""
        owner = revoker(state)
        if owner is None:
            return ""
        key = (consortium, state.standing)
        with self._lock:
            if key in self._words:
                return self._words[key]
        asked_all = True
        for rpc in rpcs:
            try:
                words = _reason(rpc, consortium, owner, state)
            except ChainError:
                asked_all = False
                continue  # words are for people; a revocation counts without them
            if words:
                break
        else:
            words = ""
        if words or asked_all:
            with self._lock:
                _keep(self._words, key, words)
        return words

    def _found(self, rpcs: Sequence[Rpc], consortium: str, state: State) -> Study:
        silent: ChainError | None = None
        for rpc in rpcs:
            try:
                event = find_pin(rpc, consortium, state)
            except ChainError as error:
                if error.code not in FAULTS:
                    raise
                silent = error
                continue
            found = None if event is None else content(event)
            if found is not None:
                return found
        raise silent or ChainError(
            Code.CHAIN_DISAGREES,
            f"no log of the time at which study 0x{state.study.hex()} was pinned has its content",
            "the node falsifies or lacks logs: ask another one",
        )


def find_pin(rpc: Rpc, consortium: str, state: State) -> Happening | None:
    """The event that pinned the study which the state names last, from one node; `None` where its logs do not
    have it. Raises `ChainError` `chain-unreachable`."""
    topic = interface("Consortium").topic("StudyPinned")
    query = {"address": consortium, "topics": topics(topic, state.study)}

    def fits(event: Happening) -> bool:
        found = content(event) if event.name == "StudyPinned" else None
        return found is not None and found.id == state.study

    return _find(rpc, consortium, state.last_block, state.approved_at, query, fits)


def _find(
    rpc: Rpc, consortium: str, last: int, when: int, query: dict[str, Any], fits: Callable[[Happening], bool]
) -> Happening | None:
    """The newest event that fits: of the last blocks with events, else of the time when it happened."""
    near = walk(rpc, "Consortium", {"address": consortium}, last, most=NEAR)
    for happened in near:
        found = next(filter(fits, reversed(happened)), None)
        if found is not None:
            return found
    if not near.unread or not when:
        return None
    return next(filter(fits, reversed(decoded("Consortium", at_time(rpc, query, when, near.unread)))), None)


def content(event: Happening) -> Study | None:
    """The study in an event, if it is the one that the event says it is."""
    try:
        study = Study.of_abi(event.fields["content"])
    except FormatError:
        return None
    return study if study.id == event.fields["study"] and study.fault() is None else None


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)


def _reason(rpc: Rpc, consortium: str, owner: str, state: State) -> str:
    """Words of the newest revocation by `owner`."""
    topic = interface("Consortium").topic("Revoked")
    query = {"address": consortium, "topics": topics(topic, address_topic(owner))}

    def fits(event: Happening) -> bool:
        return event.name == "Revoked" and str(event.fields["owner"]) == owner

    found = _find(rpc, consortium, state.last_block, state.fate.ended_at, query, fits)
    return "" if found is None else str(found.fields["reason"])
