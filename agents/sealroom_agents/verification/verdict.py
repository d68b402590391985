# SPDX-License-Identifier: Apache-2.0
"""The verdict of a walk: proven, self-consistent or broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sealroom_agents.verification import pinned
from sealroom_agents.verification.offline import OFFLINE
from sealroom_agents.verification.pin import ORIGINS, Pin
from sealroom_agents.verification.state import GATE, TrustedBlock
from sealroom_agents.verification.walk import Link, first_broken

ON_CHAIN_QUESTIONS = ("gate", "study", "approvals", "opening", "anchoring", "revocation")
"""Questions that only the chain answers: was the gate adopted, the study approved and by whom, the run
opened, the receipt anchored, and did anyone revoke since."""
SINCE_QUESTION = ON_CHAIN_QUESTIONS[-1:]
"""The one that proofs do not answer either."""


VOUCHERS = {
    "node": "the nodes that were asked",
    "auditor": "the hashes that were given",
    "gate": "the gate, in its grant",
}
"""Who can vouch for a block, for people."""
ENCLAVE_ORIGINS = ("gate", "kms-root", "os-images")
"""Origins without which nobody knows whose enclave it was."""
ANCHORED, ADOPTED = "anchored", "gate-registered"
"""Links on chain: the receipt is anchored; the consortium adopted the gate."""


class Outcome(StrEnum):
    """The three outcomes of a walk."""

    PROVEN = "proven"
    """Every link holds, and every origin is known from elsewhere."""
    UNPROVEN = "self-consistent"
    """Every link holds, and the origin of the envelope is not proven."""
    BROKEN = "broken"
    """A link does not hold."""


@dataclass(frozen=True)
class Verdict:
    """What a walk amounts to."""

    outcome: Outcome
    """Proven, self-consistent or broken."""
    broken: Link | None
    """The link that broke."""
    unproven: tuple[str, ...]
    """Origins (`pin.ORIGINS`) that nothing outside the envelope vouches for."""
    unchecked: tuple[str, ...]
    """What the envelope says, or leaves open, and was not looked at."""
    enclave_proven: bool
    """Whether an enclave of known origin made the result: its evidence holds, and gate, KMS root and OS
    image are known from elsewhere."""
    anchored: bool | None
    """Whether the receipt is anchored on chain; `None` where that was not looked at. It says nothing about
    the enclave: who holds a gate's key can anchor receipts that no enclave made."""
    blocks: tuple[TrustedBlock, ...]
    """The blocks on whose hashes the answers of the chain rest, and who vouches for each."""

    @property
    def vouched(self) -> str:
        """Who vouches for the blocks, for people."""
        if not self.blocks:
            return "no block was looked at"
        who = dict.fromkeys(voucher for block in self.blocks for voucher in block.vouchers)
        lacking = [str(block.number) for block in self.blocks if not block.vouchers]
        told = [VOUCHERS[voucher] for voucher in who]
        if lacking:
            told.append(f"nobody for {', '.join(lacking)}" if told else "nobody")
        return "; ".join(told)

    def lines(self) -> list[tuple[str, str]]:
        """Label and answer for people; always both, never the chain's alone."""
        proven = "yes" if self.enclave_proven else "no"
        anchored = {True: "yes", False: "no", None: "not looked at"}[self.anchored]
        found = [("enclave proven", proven), ("anchored on chain", anchored)]
        return [*found, ("blocks vouched for by", self.vouched)] if self.blocks else found


def verdict_of(links: Sequence[Link], *, pin: Pin, on_chain: bool) -> Verdict:
    """The verdict on the links that `verify` walked with this pin.

    What proofs show counts as the chain's only where nodes or the auditor vouch for the hash of every block.
    A chain vouches for the gate of a pinned consortium, which adopted it there. It vouches for nothing
    else: a consortium that the envelope alone names may be anybody's, on any chain.
    """
    known = set(pin.origins)
    blocks = next((link.blocks for link in links if link.blocks), ())
    witnessed = on_chain or (bool(blocks) and all(set(block.vouchers) - {GATE} for block in blocks))
    if witnessed and "consortium" in known:
        known.add("gate")
    unproven = tuple(origin for origin in ORIGINS if origin not in known)
    broken = first_broken(links)
    holding = Outcome.UNPROVEN if unproven else Outcome.PROVEN
    outcome = Outcome.BROKEN if broken is not None else holding
    walked = {link.name: link.ok for link in links}
    needed = [step.name for step in (*OFFLINE, *pinned.steps(pin))]
    if "gate" not in pin.origins:
        needed.append(ADOPTED)
    return Verdict(
        outcome=outcome,
        broken=broken,
        unproven=unproven,
        unchecked=() if on_chain else SINCE_QUESTION if witnessed else ON_CHAIN_QUESTIONS,
        enclave_proven=known.issuperset(ENCLAVE_ORIGINS) and all(walked.get(name) for name in needed),
        anchored=walked.get(ANCHORED) if witnessed else None,
        blocks=blocks,
    )
