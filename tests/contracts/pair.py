# SPDX-License-Identifier: Apache-2.0
"""A consortium of two on a local chain: hospital-A, an EOA, and hospital-S, whose account is the one tested.

Both grant. A has registered a dataset, and approved a study on it: what is missing is S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eth_account.messages import SignableMessage

from sealroom import typed
from sealroom.model import ApproveStudy, Revoke, Withdraw
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
        chain.register(room, dataset)
        return cls(chain, room, tested, dataset.id, b"").again()

    def again(self) -> Pair:
        """The same with a new study, on the present basis."""
        study = self.chain.draft(self.room, compose_hash=RECIPE, datasets=[self.dataset])
        self.chain.approve(self.room, study, 0)
        return replace(self, study=study)

    # --- what S signs, or sends -----------------------------------------------------------------

    def approval(self, *, owner: str | None = None) -> SignableMessage:
        study = self.chain.study(self.study)
        return typed.vote(ApproveStudy(owner=owner or self.tested, study=study), **self._domain())

    def revocation(self, reason: str) -> SignableMessage:
        return typed.vote(Revoke(owner=self.tested, reason=reason, returns=0), **self._domain())

    def withdrawal(self) -> SignableMessage:
        return typed.vote(Withdraw(owner=self.tested, proposal=self.study), **self._domain())

    def content(self) -> tuple[Any, ...]:
        """`IConsortium.Study`."""
        return tuple(self.chain.study(self.study).solidity())

    def data(self, function: str, *arguments: Any) -> bytes:
        """Call data for the consortium."""
        return interface("Consortium").encode(function, *arguments)

    # --- what a stranger hands in ---------------------------------------------------------------

    def hand_in(self, signature: bytes) -> None:
        self._relay("approve", self.content(), [(self.tested, signature)])

    def hand_in_revocation(self, reason: str, signature: bytes) -> None:
        self._relay("revokeWithSignature", reason, (self.tested, signature))

    def hand_in_withdrawal(self, signature: bytes) -> None:
        self._relay("withdrawWithSignature", self.study, (self.tested, signature))

    # --- what is true ---------------------------------------------------------------------------

    def is_pinned(self) -> bool:
        """The study is live, and the app allows its recipe."""
        allowed = self.chain.call("DstackApp", self.room.app, "allowedComposeHashes", RECIPE)
        state = self.chain.state(self.room)
        live = state.live and state.study == self.study
        assert allowed == live
        return bool(live)

    def revoked_by(self) -> tuple[str, ...]:
        """Whose veto stands."""
        return self.chain.state(self.room).revokers

    def _relay(self, function: str, *arguments: Any) -> None:
        self.chain.send(STRANGER, self.room.consortium, self.data(function, *arguments))

    def _domain(self) -> dict[str, Any]:
        return {"chain_id": self.chain.chain_id, "consortium": self.room.consortium}
