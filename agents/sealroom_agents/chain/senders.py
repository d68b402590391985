# SPDX-License-Identifier: Apache-2.0
"""What one key needs to know of several nodes to send with it, and handing them what it signed.

Everything that a node could say falsely counts only when a quorum says it (CH-03): the next nonce, the base
fee, what the call costs, that a contract refuses it, and that it was mined. A signed transaction goes to all
nodes, again and again: one that takes it is enough, and one that drops it gets it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sealroom.codes import Code
from sealroom_agents.chain.logs import Log, parsed
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import Rpc, RpcFailure
from sealroom_agents.errors import ChainError

T = TypeVar("T", bound=Hashable)
UNDERPRICED = "underpriced"
"""In the words of every node that has another transaction under the nonce, for nearly the same fee."""


@dataclass(frozen=True)
class Prospect:
    """What a transaction meets if it is sent now."""

    chain_id: int
    """Chain."""
    nonce: int
    """The next one."""
    base_fee: int
    """Of the newest block, wei per gas."""
    gas: int | None
    """What the call would cost; `None` where it is refused."""
    refusal: RpcFailure | None
    """Why a quorum refuses the call; its `data` is empty where it is the nodes that do."""


@dataclass(frozen=True)
class Event:
    """One log of a mined transaction."""

    topics: tuple[bytes, ...]
    """Topics."""
    data: bytes
    """Data."""


@dataclass(frozen=True)
class Mined:
    """A transaction that is in a block, as a quorum shows it."""

    tx: str
    """Hash, `0x` + 64 hex digits."""
    block_number: int
    """Its block."""
    block_hash: bytes
    """Hash of that block."""
    gas_used: int
    """Gas it cost."""
    succeeded: bool
    """Whether it did what it was to do."""
    events: tuple[Event, ...]
    """Its logs."""


@dataclass(frozen=True)
class Sight:
    """What the nodes show of a transaction under way."""

    mined: Mined | None
    """The one of those asked for that counts."""
    nonce: int
    """The next one of the key."""
    base_fee: int
    """Of the newest block, wei per gas."""
    time: int
    """Of the newest block, unix seconds."""


@dataclass(frozen=True)
class Handed:
    """What nodes answer to a signed transaction."""

    taken: bool
    """One of them has it, or none answered: it may be mined."""
    trouble: str | None
    """Why a quorum does not take it, in the words of one."""

    @property
    def underpriced(self) -> bool:
        """Whether it is for too low a fee beside one that waits."""
        return self.trouble is not None and UNDERPRICED in self.trouble.lower()


class Senders:
    """Several endpoints, as one key sees them. Thread safe."""

    def __init__(self, nodes: Nodes, address: str) -> None:
        self._nodes = nodes
        self._address = address

    def prospect(self, call: dict[str, str], state: str) -> Prospect:
        """What the call meets at the block tag `state`. Raises `ChainError`."""

        def one(rpc: Rpc) -> tuple[int | RpcFailure, int, int, int]:
            estimate, nonce, block, chain_id = rpc.batch(
                [
                    ("eth_estimateGas", [call, state]),
                    ("eth_getTransactionCount", [self._address, state]),
                    ("eth_getBlockByNumber", ["latest", False]),
                    ("eth_chainId", []),
                ]
            )
            for answer in (nonce, block, chain_id):
                if isinstance(answer, RpcFailure):
                    raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses: {answer.message}")
            gas = estimate if isinstance(estimate, RpcFailure) else rpc.quantity(estimate)
            return gas, rpc.quantity(nonce), _header(rpc, block)[0], rpc.quantity(chain_id)

        seen = self._nodes.ask(one)
        chain_id, _ = self._nodes.agreed(
            {rpc: answer[3] for rpc, answer in seen.items()}, "the chain that they are on"
        )
        gases = [answer[0] for answer in seen.values()]
        refusals = [gas for gas in gases if isinstance(gas, RpcFailure)]
        costs = [gas for gas in gases if not isinstance(gas, RpcFailure)]
        refused = not costs or self._nodes.decisive(len(refusals), len(gases))
        # Nodes have words of their own for what the contract says in the same bytes.
        why = most([failure.data for failure in refusals])
        return Prospect(
            chain_id=chain_id,
            nonce=self._nodes.enough(answer[1] for answer in seen.values()),
            base_fee=self._nodes.enough(answer[2] for answer in seen.values()),
            gas=None if refused else self._nodes.enough(costs),
            refusal=next((each for each in refusals if each.data == why), None) if refused else None,
        )

    def hand(self, raw: str) -> Handed:
        """Give all nodes a signed transaction; the same bytes again count once."""

        def one(rpc: Rpc) -> str | None:
            (answer,) = rpc.batch([("eth_sendRawTransaction", [raw])])
            if isinstance(answer, RpcFailure) and "already" not in answer.message.lower():
                return answer.message
            return None

        answers = list(self._nodes.each(one, self._nodes.present()).values())
        refusals = [why for why in answers if why is not None]
        taken = len(refusals) < len(answers) or not answers
        decisive = not taken or self._nodes.decisive(len(refusals), len(answers))
        return Handed(
            taken=taken, trouble=max(refusals, key=_mentions_fee) if decisive and refusals else None
        )

    def sight(self, sent: Sequence[str]) -> Sight:
        """What became of these transactions, which all are to do the same. Raises `ChainError`."""
        asked: list[tuple[str, list[Any]]] = [("eth_getTransactionReceipt", [tx]) for tx in sent]
        asked += [
            ("eth_getTransactionCount", [self._address, "latest"]),
            ("eth_getBlockByNumber", ["latest", False]),
        ]

        def one(rpc: Rpc) -> tuple[dict[str, Mined], int, tuple[int, int]]:
            *receipts, nonce, block = rpc.batch(asked)
            found = {
                tx: _mined(rpc, tx, receipt)
                for tx, receipt in zip(sent, receipts, strict=True)
                if isinstance(receipt, dict)
            }
            return found, rpc.quantity(nonce), _header(rpc, block)

        seen = list(self._nodes.ask(one).values())
        shown = Counter(mined for found, _, _ in seen for mined in found.values())
        certain = [mined for mined, count in shown.items() if self._nodes.decisive(count, len(seen))]
        # At most one of one nonce is mined. Of several nonces, a later one failed because an earlier one did
        # what it was to do.
        done = [mined for mined in certain if mined.succeeded]
        return Sight(
            mined=next(iter(done or certain), None),
            nonce=self._nodes.enough(nonce for _, nonce, _ in seen),
            base_fee=self._nodes.enough(header[0] for _, _, header in seen),
            time=self._nodes.enough(header[1] for _, _, header in seen),
        )

    def why(self, call: dict[str, str], block_number: int) -> bytes:
        """What most nodes say of a call that failed in a block: the encoded error, or nothing."""

        def one(rpc: Rpc) -> bytes:
            (answer,) = rpc.batch([("eth_call", [call, hex(block_number)])])
            return answer.data if isinstance(answer, RpcFailure) else b""

        return most(list(self._nodes.each(one, self._nodes.present()).values())) or b""

    def refusals(self, question: Callable[[Rpc], Mapping[bytes, bytes]]) -> dict[bytes, bytes]:
        """Of what each node refuses, by key, that which a quorum refuses, with the reason of most. So none of
        them alone can have something refused. Raises `ChainError`."""
        seen = list(self._nodes.ask(question).values())
        reasons: dict[bytes, list[bytes]] = {}
        for refused in seen:
            for key, why in refused.items():
                reasons.setdefault(key, []).append(why)
        return {
            key: most(whys) or b""
            for key, whys in reasons.items()
            if self._nodes.decisive(len(whys), len(seen))
        }


def most(values: Sequence[T]) -> T | None:
    """The commonest, and the first of those that are equally common."""
    return Counter(values).most_common(1)[0][0] if values else None


def _mentions_fee(words: str) -> bool:
    return UNDERPRICED in words.lower()


def _header(rpc: Rpc, block: object) -> tuple[int, int]:
    """Base fee and time of a block."""
    if not isinstance(block, dict):
        raise rpc.malformed("a malformed block")
    return rpc.quantity(block.get("baseFeePerGas", "0x0")), rpc.quantity(block.get("timestamp", "0x0"))


def _mined(rpc: Rpc, tx: str, receipt: dict[str, Any]) -> Mined:
    if "0x" + rpc.data(receipt.get("transactionHash"), 32).hex() != tx:
        raise rpc.malformed("the receipt of another transaction")
    logs: list[Log] = parsed(rpc, receipt.get("logs"))
    return Mined(
        tx=tx,
        block_number=rpc.quantity(receipt.get("blockNumber")),
        block_hash=rpc.data(receipt.get("blockHash"), 32),
        gas_used=rpc.quantity(receipt.get("gasUsed")),
        succeeded=rpc.quantity(receipt.get("status")) == 1,
        events=tuple(Event(topics=tuple(log.topics), data=log.data) for log in logs),
    )
