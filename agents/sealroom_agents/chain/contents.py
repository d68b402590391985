# SPDX-License-Identifier: Apache-2.0
"""What a hash on chain is the hash of: the content of studies, and the words of a revocation.

The contract keeps a study's struct hash, and the block in which it was pinned; the content stands in
that block's log. So the state is the proof and the log a hint (CH-29): content counts only if it hashes
to the id that the state names. A node that hides or falsifies the log can be the reason that nothing is
read, never that something false is. Content never changes under its id, so once found it is kept, and a
release costs no further question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from sealroom.codes import Code
from sealroom.model import Study
from sealroom_agents.chain.breaker import FAULTS
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import Log, address_topic, backward, of_block, topics
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import ConsortiumState
from sealroom_agents.errors import ChainError

MAX_KEPT = 1024
"""Studies, and revocations, that are kept."""
MAX_REORGANISATION = 512
"""Blocks below the newest that are searched again."""


class Contents:
    """Contents by their hash, found once. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._studies: OrderedDict[bytes, Study] = OrderedDict()
        self._searched: OrderedDict[tuple[str, str, bytes], tuple[int, Study | None]] = OrderedDict()
        self._words: OrderedDict[tuple[str, str, int, int], str] = OrderedDict()

    def pinned(self, rpcs: Sequence[Rpc], consortium: str, state: ConsortiumState) -> Study | None:
        """Content of the active study; `None` when there is none.

        Raises `ChainError` `chain-disagrees` when no node shows it, though the state says that it is there.
        """
        if state.active_study is None:
            return None
        kept = self._kept(state.active_study)
        if kept is not None:
            return kept
        silent: ChainError | None = None
        for rpc in rpcs:
            try:
                found = _pinned(rpc, consortium, state.active_study, state.approved_block)
            except ChainError as error:
                if error.code not in FAULTS:
                    raise
                silent = error
                continue
            if found is not None:
                self._keep(found)
                return found
        raise silent or ChainError(
            Code.CHAIN_DISAGREES,
            f"block {state.approved_block} has no log with the content of study 0x{state.active_study.hex()}",
            "the node hides or falsifies the log, or does not keep logs of that block: ask another one",
        )

    def proposed(self, rpc: Rpc, consortium: str, compose_hash: bytes, *, until: int) -> Study | None:
        """Content of the newest proposal of a recipe, of any epoch, up to block `until`, or `None`."""
        topic = interface("Consortium").topic("StudyProposed")
        query = {"address": consortium, "topics": topics(topic, None, compose_hash)}
        key = (rpc.url, consortium, compose_hash)
        with self._lock:
            searched, newest = self._searched.get(key, (-1, None))
        # The newest blocks are searched again each time, because they may be replaced.
        settled = until - MAX_REORGANISATION
        for log in backward(rpc, query, until, lowest=searched + 1):
            found = _content(log)
            if found is not None and found.compose_hash == compose_hash:
                self._keep(found)
                newest = found
                if log.where.block > settled:
                    return newest
                break
        with self._lock:
            self._searched[key] = max(searched, settled), newest
            while len(self._searched) > MAX_KEPT:
                self._searched.popitem(last=False)
        return newest

    def reason(self, rpcs: Sequence[Rpc], consortium: str, state: ConsortiumState) -> str:
        """Words of the revocation that stands; empty when there is none, or when no node shows them."""
        if state.revoked_by is None:
            return ""
        key = (consortium, state.revoked_by, state.revoked_block, state.epoch)
        with self._lock:
            if key in self._words:
                return self._words[key]
        for rpc in rpcs:
            try:
                words = _reason(rpc, consortium, state.revoked_by, state.revoked_block)
            except ChainError:
                continue  # words are for people; a revocation counts without them
            if words:
                with self._lock:
                    self._words[key] = words
                    while len(self._words) > MAX_KEPT:
                        self._words.popitem(last=False)
                return words
        return ""

    def _kept(self, study: bytes) -> Study | None:
        with self._lock:
            found = self._studies.get(study)
            if found is not None:
                self._studies.move_to_end(study)
            return found

    def _keep(self, study: Study) -> None:
        with self._lock:
            self._studies[study.id] = study
            while len(self._studies) > MAX_KEPT:
                self._studies.popitem(last=False)


def _pinned(rpc: Rpc, consortium: str, study: bytes, block: int) -> Study | None:
    query = {"address": consortium, "topics": topics(interface("Consortium").topic("StudyPinned"), study)}
    for log in of_block(rpc, query, block):
        found = _content(log)
        if found is not None and found.id == study:
            return found
    return None


def _content(log: Log) -> Study | None:
    """The study in a log, if it is the one that the log says it is."""
    decoded = interface("Consortium").decode_log(log.topics, log.data)
    if decoded is None or "content" not in decoded[1]:
        return None
    study = Study.of_abi(decoded[1]["content"])
    return study if study.id == decoded[1]["study"] else None


def _reason(rpc: Rpc, consortium: str, owner: str, block: int) -> str:
    contract = interface("Consortium")
    query = {"address": consortium, "topics": topics(contract.topic("Revoked"), address_topic(owner))}
    words = ""
    for log in of_block(rpc, query, block):
        decoded = contract.decode_log(log.topics, log.data)
        if decoded is not None and decoded[0] == "Revoked":
            words = str(decoded[1]["reason"])
    return words
