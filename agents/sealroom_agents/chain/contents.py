# SPDX-License-Identifier: Apache-2.0
"""What a hash on chain is the hash of: the content of studies, and the words of a revocation.

The contract keeps a study's struct hash; the content stands in the event that pinned it, which is found by
walking back from the consortium's last event (`sealroom_agents.chain.logs`). So the state is the proof and
the log a hint (CH-29): content counts only if it hashes to the id that the state names. A node that hides or
falsifies a log can be the reason that nothing is read, never that something false is. Content never changes
under its id, so once found it is kept, and a release costs no further question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model import State, Study
from sealroom_agents.chain.breaker import FAULTS
from sealroom_agents.chain.logs import MAX_WALK, Happening, walk
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import active_study, revoker
from sealroom_agents.errors import ChainError

MAX_KEPT = 1024
"""Studies, and revocations, that are kept."""
MAX_REORGANISATION = 512
"""Blocks below the newest that are searched again."""
MAX_WORDS_WALK = 64
"""Blocks with events in which the words of a revocation are looked for: words are for people."""

K = TypeVar("K")
V = TypeVar("V")


class Contents:
    """Contents by their hash, found once. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._studies: OrderedDict[bytes, Study] = OrderedDict()
        self._last: OrderedDict[str, Study] = OrderedDict()
        self._searched: OrderedDict[tuple[str, str, bytes], tuple[int, Study | None]] = OrderedDict()
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
            found = self._found(rpcs, consortium, study, state.last_block)
        with self._lock:
            _keep(self._studies, study, found)
            _keep(self._last, consortium, found)
        return found

    def proposed(
        self, rpc: Rpc, consortium: str, compose_hash: bytes, *, last: int, until: int
    ) -> Study | None:
        """Content of the newest proposal of a recipe, on any basis; or `None`.

        last: block of the consortium's last event. until: block up to which is looked.
        """
        key = (rpc.url, consortium, compose_hash)
        with self._lock:
            searched, newest = self._searched.get(key, (-1, None))
        # The newest blocks are searched again each time, because they may be replaced.
        settled = until - MAX_REORGANISATION
        for happened in walk(rpc, "Consortium", {"address": consortium}, last):
            if happened[0].where.block <= searched:
                break
            for event in reversed(happened):
                study = content(event) if event.name == "StudyProposed" else None
                if study is not None and study.compose_hash == compose_hash:
                    with self._lock:
                        _keep(self._studies, study.id, study)
                        if event.where.block <= settled:
                            _keep(self._searched, key, (max(searched, settled), study))
                    return study
        with self._lock:
            _keep(self._searched, key, (max(searched, settled), newest))
        return newest

    def reason(self, rpcs: Sequence[Rpc], consortium: str, state: State) -> str:
        """Words of the revocation that stands; empty when there is none, or when no node shows them."""
        owner = revoker(state)
        if owner is None:
            return ""
        key = (consortium, state.standing)
        with self._lock:
            if key in self._words:
                return self._words[key]
        for rpc in rpcs:
            try:
                words = _reason(rpc, consortium, owner, state.last_block)
            except ChainError:
                continue  # words are for people; a revocation counts without them
            if words:
                with self._lock:
                    _keep(self._words, key, words)
                return words
        return ""

    def _found(self, rpcs: Sequence[Rpc], consortium: str, study: bytes, last: int) -> Study:
        silent: ChainError | None = None
        for rpc in rpcs:
            try:
                for happened in walk(rpc, "Consortium", {"address": consortium}, last):
                    for event in happened:
                        found = content(event) if event.name == "StudyPinned" else None
                        if found is not None and found.id == study:
                            return found
            except ChainError as error:
                if error.code not in FAULTS:
                    raise
                silent = error
        raise silent or ChainError(
            Code.CHAIN_DISAGREES,
            f"no log of the last {MAX_WALK} blocks with events has the content of study 0x{study.hex()}",
            "the node falsifies logs: ask another one",
        )


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


def _reason(rpc: Rpc, consortium: str, owner: str, last: int) -> str:
    """Words of the newest revocation by `owner`."""
    for happened in walk(rpc, "Consortium", {"address": consortium}, last, most=MAX_WORDS_WALK):
        for event in reversed(happened):
            if event.name == "Revoked" and event.fields["owner"] == owner:
                return str(event.fields["reason"])
    return ""
