# SPDX-License-Identifier: Apache-2.0
"""A consortium of two on a local chain: hospital-A, an EOA, and hospital-S, whose account is the one tested.

Both grant. A has registered a dataset, and approved a study on it: what is missing is S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eth_account.messages import SignableMessage

from sealroom import typed
from sealroom_agents.chain.contracts import interface
from tests.local_chain import Dataset, LocalChain, Room, account, member

STRANGER = 16
"""The account that hands in what others signed."""
RECIPE = b"\xc0" * 32


@dataclass(frozen=True)
class Pair:
    """The consortium, with the study that S may approve."""

    chain: LocalChain
    room: Room
    tested: str
    """Account of hospital-S."""
    dataset: bytes
    study: bytes

    @classmethod
    def create(cls, chain: LocalChain, tested: str) -> Pair:
        owners = [member(account(0), "hospital-A"), member(tested, "hospital-S")]
        room = chain.create_consortium(owners, threshold=2)
        dataset = Dataset()
        chain.register(room, owner=0, dataset=dataset)
        return cls(chain, room, tested, dataset.id, b"").again()

    def again(self) -> Pair:
        """The same with a new study, of the present epoch."""
        study = self.chain.propose(self.room, compose_hash=RECIPE, datasets=[self.dataset])
        self.chain.approve(self.room, study, 0)
        return replace(self, study=study)

    # --- what S signs, or sends -----------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self.chain.epoch(self.room)

    def approval(self, *, owner: str | None = None) -> SignableMessage:
        return typed.approve_study(self.chain.study(self.study), owner=owner or self.tested, **self._domain())

    def revocation(self, reason: str) -> SignableMessage:
        return typed.revoke(reason, owner=self.tested, epoch=self.epoch, **self._domain())

    def withdrawal(self) -> SignableMessage:
        return typed.withdraw(self.study, owner=self.tested, epoch=self.epoch, **self._domain())

    def content(self) -> tuple[Any, ...]:
        """`IConsortium.Study`."""
        return tuple(self.chain.study(self.study).solidity())

    def data(self, function: str, *arguments: Any) -> bytes:
        """Call data for the consortium."""
        return interface("Consortium").encode(function, *arguments)

    # --- what a stranger hands in ---------------------------------------------------------------

    def hand_in(self, signature: bytes) -> None:
        self._relay("approveWithSignatures", self.content(), [self.tested], [signature])

    def hand_in_revocation(self, reason: str, signature: bytes) -> None:
        self._relay("revokeWithSignature", self.tested, reason, self.epoch, signature)

    def hand_in_withdrawal(self, signature: bytes) -> None:
        self._relay("withdrawWithSignature", self.study, self.tested, self.epoch, signature)

    # --- what is true ---------------------------------------------------------------------------

    def is_pinned(self) -> bool:
        """The study is active, and the app allows its recipe."""
        allowed = self.chain.call("DstackApp", self.room.app, "allowedComposeHashes", RECIPE)
        active = self.chain.state(self.room)["activeStudy"] == self.study
        assert allowed == active
        return bool(active)

    def revoked_by(self) -> str:
        return str(self.chain.state(self.room)["revokedBy"]).lower()

    def _relay(self, function: str, *arguments: Any) -> None:
        self.chain.send(STRANGER, self.room.consortium, self.data(function, *arguments))

    def _domain(self) -> dict[str, Any]:
        return {"chain_id": self.chain.chain_id, "consortium": self.room.consortium}
