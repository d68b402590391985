# SPDX-License-Identifier: Apache-2.0
"""What an owner does, before it is decided how it leaves: calls, and the vote that can be signed instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.encoding import to_hex
from sealroom.model import Vote
from sealroom.typed import Signable
from sealroom_agents.chain.contracts import interface


@dataclass(frozen=True)
class Sent:
    """A transaction that was mined."""

    tx: str
    block: int
    gas: int

    def json(self) -> dict[str, Any]:
        return {"tx": self.tx, "block": self.block, "gas": self.gas}


class Wallet(Protocol):
    """An account that can sign and send: a keystore, or one of Ape's."""

    @property
    def address(self) -> str:
        """Lower case."""

    def sign(self, message: Signable) -> bytes:
        """65 bytes."""

    def send(self, to: str, data: bytes) -> Sent:
        """One transaction, mined."""


@dataclass(frozen=True)
class Call:
    """One call of a contract."""

    contract: str
    """Name of its ABI."""
    to: str
    function: str
    arguments: tuple[Any, ...]

    @property
    def data(self) -> bytes:
        """Selector and arguments."""
        return interface(self.contract).encode(self.function, *self.arguments)

    def json(self) -> dict[str, Any]:
        return {"to": self.to, "value": "0", "function": self.function, "data": to_hex(self.data)}


@dataclass(frozen=True)
class Ballot:
    """What an owner can sign in place of sending, and how it is handed in."""

    kind: str
    """Name of the vote's type, such as `ApproveStudy`."""
    proposal: bytes
    """Id of the proposal; zero for a revocation."""
    vote: Callable[[str], Vote]
    """The vote of an owner's account."""
    handed_in: Callable[[Sequence[tuple[str, bytes]]], Call]
    """The call for signatures, in the contract's order."""


@dataclass(frozen=True)
class Act:
    """Something that an owner, or anybody, does."""

    title: str
    """In words, for wallets: `Approve the study 0x…`."""
    calls: tuple[Call, ...]
    """What the owner's account sends."""
    content: object = None
    """The proposal's content, for the words of a refusal."""
    ballot: Ballot | None = None
    """`None` for what can only be sent."""


@dataclass(frozen=True)
class Outcome:
    """What became of an act."""

    facts: dict[str, Any]
    lines: list[tuple[str, str]]
    sent: bool
    """Whether it is on chain."""
