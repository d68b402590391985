# SPDX-License-Identifier: Apache-2.0
"""The verdict of a walk: proven, the same on a simulated machine, self-consistent or broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sealroom.encoding import to_hex
from sealroom_agents.verification import pinned
from sealroom_agents.verification.offline import OFFLINE
from sealroom_agents.verification.pin import ORIGINS, Pin
from sealroom_agents.verification.state import AUDITOR, GATE, NODES, TrustedBlock
from sealroom_agents.verification.walk import Link, first_broken

ON_CHAIN_QUESTIONS = ("gate", "study", "approvals", "opening", "anchoring", "revocation")
"""Questions that only the chain answers: was the gate adopted, the study approved and by whom, the run
opened, the receipt anchored, and did anyone revoke since."""
SINCE_QUESTION = ON_CHAIN_QUESTIONS[-1:]
"""The one that proofs do not answer either."""


VOUCHERS = {
    NODES: "the nodes that were asked (--rpc)",
    AUDITOR: "the hashes that were given (--block-hash)",
    GATE: "the signature of the gate whose quote measures compose {}",
}
"""Who can vouch for a block, for people."""
ENCLAVE_ORIGINS = ("gate", "kms-root", "os-images")
"""Origins without which nobody knows whose enclave it was."""
ANCHORED, ADOPTED = "anchored", "gate-registered"
"""Links on chain: the receipt is anchored; the consortium adopted the gate."""


class Outcome(StrEnum):
    """The outcomes of a walk."""

    PROVEN = "proven"
    """Every link holds, and every origin is known from elsewhere."""
    SIMULATED = "simulated"
    """The same, on a simulated machine: whoever holds its root key can make such an envelope."""
    UNPROVEN = "self-consistent"
    """Every link holds, and the origin of the envelope is not proven."""
    BROKEN = "broken"
    """A link does not hold."""


@dataclass(frozen=True)
class Verdict:
    """What a walk amounts to."""

    outcome: Outcome
    """Proven, simulated, self-consistent or broken."""
    broken: Link | None
    """The link that broke."""
    unproven: tuple[str, ...]
    """Origins (`pin.ORIGINS`) that nothing outside the envelope vouches for."""
    unchecked: tuple[str, ...]
    """What the envelope says, or leaves open, and was not looked at."""
    enclave_proven: bool
    """Whether an enclave of known origin made the result: its evidence holds, and gate, KMS root and OS
    image are known from elsewhere. Never of a simulated machine."""
    anchored: bool | None
    """Whether the receipt is anchored on chain; `None` where that was not looked at. It says nothing about
    the enclave: who holds a gate's key can anchor receipts that no enclave made."""
    blocks: tuple[TrustedBlock, ...]
    """The blocks on whose hashes the answers of the chain rest, and who vouches for each."""
    rests_on_gate: bool
    """Whether the gate alone vouches for a block of them, and it is not known from elsewhere."""
    simulated: bool
    """Whether a simulated root stood in for the hardware's."""

    @property
    def vouched(self) -> str:
        """Who vouches for the blocks, for people."""
        if not self.blocks:
            return "no block was looked at"
        who = dict.fromkeys(voucher for block in self.blocks for voucher in block.vouchers)
        lacking = [str(block.number) for block in self.blocks if not block.vouchers]
        measured = next((block.gate_compose for block in self.blocks if block.gate_compose), b"")
        told = [VOUCHERS[voucher].format(to_hex(measured)) for voucher in who]
        if lacking:
            told.append(f"nobody for {', '.join(lacking)}" if told else "nobody")
        return "; ".join(told)

    def lines(self) -> list[tuple[str, str]]:
        """Label and answer for people; always both, never the chain's alone."""
        proven = "yes" if self.enclave_proven else "no"
        if self.outcome is Outcome.SIMULATED:
            proven = "no, its machine is simulated"
        anchored = {True: "yes", False: "no", None: "not looked at"}[self.anchored]
        found = [("enclave proven", proven), ("anchored on chain", anchored)]
        return [*found, ("blocks vouched for by", self.vouched)] if self.blocks else found


def _unchecked(links: Sequence[Link], *, on_chain: bool, witnessed: bool) -> tuple[str, ...]:
    if on_chain:
        return tuple(question for link in links for question in link.unsaid)
    return SINCE_QUESTION if witnessed else ON_CHAIN_QUESTIONS


def verdict_of(links: Sequence[Link], *, pin: Pin, on_chain: bool, simulated: bool) -> Verdict:
    """The verdict on the links that `verify` walked with this pin. simulated: whether under a simulated root.

    What proofs show counts as the chain's only where somebody vouches for the hash of every block: nodes, the
    auditor, or the gate where it is pinned with all that its quote rests on. A chain vouches for the gate of
    a pinned consortium, which adopted it there, unless the blocks are the gate's own word. It vouches for
    nothing else: a consortium that the envelope alone names may be anybody's, on any chain.
    """
    known = set(pin.origins)
    blocks = next((link.blocks for link in links if link.blocks), ())
    vouched = bool(blocks) and all(block.vouchers for block in blocks)
    elsewhere = on_chain or (vouched and all(set(block.vouchers) - {GATE} for block in blocks))
    gate_known = known.issuperset(ENCLAVE_ORIGINS)
    witnessed = elsewhere or (vouched and gate_known)
    if elsewhere and "consortium" in known:
        known.add("gate")
    unproven = tuple(origin for origin in ORIGINS if origin not in known)
    broken = first_broken(links)
    whole = Outcome.SIMULATED if simulated else Outcome.PROVEN
    holding = Outcome.UNPROVEN if unproven else whole
    outcome = Outcome.BROKEN if broken is not None else holding
    walked = {link.name: link.ok for link in links}
    needed = [step.name for step in (*OFFLINE, *pinned.steps(pin))]
    if "gate" not in pin.origins:
        needed.append(ADOPTED)
    return Verdict(
        outcome=outcome,
        broken=broken,
        unproven=unproven,
        unchecked=_unchecked(links, on_chain=on_chain, witnessed=witnessed),
        enclave_proven=not simulated
        and known.issuperset(ENCLAVE_ORIGINS)
        and all(walked.get(name) for name in needed),
        anchored=walked.get(ANCHORED) if witnessed else None,
        blocks=blocks,
        rests_on_gate=vouched and not witnessed,
        simulated=simulated,
    )
