# SPDX-License-Identifier: Apache-2.0
"""The gate's word on blocks: signed only for those that its own nodes call final.

The proofs of an envelope rest on the hashes of a few blocks. The gate says of each that it is final, with the
key that its quote certifies; a verifier who believes the grant needs no node then. What it signs follows from
the chain alone, so anybody may ask: for a consortium that adopted this gate, or to which it released keys.

A block is final when it is no newer than the final view, on which a quorum of the nodes agrees, and when a
quorum has the same hash for it (CH-03). What was found once is kept: a final block stays what it is. When a
final block is replaced, there is no view any more, and nothing is signed.

Anybody may ask, and what was not found yet costs the nodes a question. So look-ups are few a second, of which
each client has a share, and go to the nodes by the batch, through connections of their own: whatever is asked
here, neither the look at the chain nor a lease waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sealroom.codes import Code
from sealroom.key_release import FinalBlock, FinalityReply, FinalityRequest, sign_finalized
from sealroom_agents.clients import Allowance
from sealroom_agents.errors import ChainError, Refused
from sealroom_agents.facts import ChainView
from sealroom_agents.gate.refusals import chain_refused, parsed
from sealroom_agents.gate.root import GateRoot

MAX_KEPT = 8192
"""Words that are kept in memory; the one that was asked for longest ago goes first."""
MAX_SERVED = 1024
"""Consortia that are remembered as served."""
LOOKUPS = 512
"""Blocks that all clients together may have looked up at once."""
LOOKUPS_PER_S = 32.0
"""Blocks that they may have looked up each second: more than a chain makes."""
SHARE = 0.25
"""Of both, what one client may have."""
NEW_CONSORTIUM = 4
"""Look-ups that a question about a consortium costs which was not served before: it has to be read."""


class Chain(Protocol):
    """What is asked of `sealroom_agents.chain.FollowedChain`."""

    def finalized_view(self, consortium: str) -> ChainView:
        """The agreed state at one finalized block."""
        ...

    def block_hashes(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Hashes of blocks by number, each the same at a quorum of nodes."""
        ...


class Finality:
    """Signs final blocks. Thread safe."""

    def __init__(
        self,
        *,
        chain: Chain,
        root: GateRoot,
        chain_id: int,
        granted: Callable[[], frozenset[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`granted`: the consortia to which this gate released keys. `clock`: seconds, for the allowance."""
        self._chain = chain
        self._root = root
        self._chain_id = chain_id
        self._granted = granted
        self._words: OrderedDict[tuple[str, int], FinalBlock] = OrderedDict()
        self._served: OrderedDict[str, None] = OrderedDict()
        self._allowance = Allowance(most=LOOKUPS, per_s=LOOKUPS_PER_S, share=SHARE, clock=clock)
        self._lock = threading.Lock()

    def answer(self, body: bytes, *, client: str = "") -> FinalityReply:
        """Sign all the blocks that are asked about, or none. `client`: who asks.

        Raises `Refused`: `malformed`, `busy` where too many blocks were looked up of late,
        `gate-not-registered`, `not-finalized` for a block that is not final yet, and the codes of a chain
        that cannot be read.
        """
        asked = parsed(FinalityRequest.parse, body)
        words = self._known(asked, client)
        try:
            view = self._chain.finalized_view(asked.consortium)
            self._require_served(view)
            if asked.numbers[-1] > view.block_number:
                raise Refused(
                    Code.NOT_FINALIZED,
                    f"block {asked.numbers[-1]} is not final yet; block {view.block_number} is",
                    "ask again later",
                )
            lacking = [number for number in asked.numbers if number not in words]
            for number, found in self._chain.block_hashes(lacking).items():
                words[number] = self._signed(view, number, found)
        except ChainError as error:
            raise chain_refused(error) from error
        self._keep(asked.consortium, words)
        return FinalityReply(blocks=tuple(words[number] for number in asked.numbers))

    def _known(self, asked: FinalityRequest, client: str) -> dict[int, FinalBlock]:
        """The words that are there; the others are paid for. Raises `Refused` `busy`."""
        with self._lock:
            keys = [key for number in asked.numbers if (key := (asked.consortium, number)) in self._words]
            cost = len(asked.numbers) - len(keys)
            if asked.consortium not in self._served:
                cost += NEW_CONSORTIUM
            if not self._allowance.take(client, cost):
                raise Refused(Code.BUSY, "too many blocks are asked about", "ask again in a minute")
            for key in keys:
                self._words.move_to_end(key)
            return {key[1]: self._words[key] for key in keys}

    def _keep(self, consortium: str, words: Mapping[int, FinalBlock]) -> None:
        with self._lock:
            self._words.update({(consortium, number): word for number, word in words.items()})
            self._served[consortium] = None
            self._served.move_to_end(consortium)
            for kept, most in ((self._words, MAX_KEPT), (self._served, MAX_SERVED)):
                while len(kept) > most:
                    kept.popitem(last=False)

    def _require_served(self, view: ChainView) -> None:
        adopted = view.platform is not None and view.platform.gate_signer == self._root.signer
        if not adopted and view.consortium not in self._granted():
            raise Refused(
                Code.GATE_NOT_REGISTERED, "the consortium has not adopted this gate, and got no keys from it"
            )

    def _signed(self, view: ChainView, number: int, found: bytes) -> FinalBlock:
        return sign_finalized(
            number,
            found,
            chain_id=self._chain_id,
            consortium=view.consortium,
            private_key=self._root.signing_key,
        )
