# SPDX-License-Identifier: Apache-2.0
"""What the links of a walk are made of, and what they share: the envelope, and what earlier links found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sealroom.codes import Code
from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError
from sealroom.model import Opening, Owner, Receipt, Verdict, Version
from sealroom.platform_policy import PlatformPolicy
from sealroom.recipe import Recipe
from sealroom_agents.attestation import GateFacts, QuoteFacts, TrustRoot
from sealroom_agents.facts import ChainView, Evidence
from sealroom_agents.verification.pin import Pin

if TYPE_CHECKING:
    # Who verifies a file alone should not wait for a chain's client.
    from sealroom_agents.attestation.gpu import Walk
    from sealroom_agents.chain import Anchoring, FoundReceipt, History
    from sealroom_agents.chain.rpc import Head
    from sealroom_agents.verification.shown import Shown


class Chain(Protocol):
    """What the walk asks; `sealroom_agents.chain.ChainReader` answers."""

    def chain_id(self) -> int:
        """The chain id."""

    def view_at(self, consortium: str, block: int) -> ChainView:
        """A consortium at one block."""

    def block(self, number: int) -> Head:
        """A block, by number."""

    def newest(self) -> Head:
        """The newest block that all nodes have reached."""

    def home(self, consortium: str) -> tuple[str, str]:
        """App and ledger of a consortium."""

    def registered(
        self, ledger: str, dataset: bytes, number: int, header: bytes
    ) -> tuple[str, Version | None]:
        """Name of a dataset, and its version with this header."""

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """The owners of a consortium now."""

    def verdict(
        self, ledger: str, receipt: Receipt, signature: bytes, opening: Opening, anchoring: Anchoring | None
    ) -> Verdict:
        """What the ledger says now of a run that was opened and anchored so."""

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""

    def study_history(self, consortium: str) -> History:
        """What happened to a consortium."""

    def approvals_in(
        self, consortium: str, study: bytes, tx: bytes, *, counted: bool = False
    ) -> frozenset[str]:
        """The accounts whose approval of a study one transaction brought on chain; with `counted`, only those
        with which it pinned the study."""


NODES, AUDITOR, GATE = "node", "auditor", "gate"
"""Who can vouch for a block: the nodes that were asked; who gave its hash; the gate, by its signature."""


@dataclass(frozen=True)
class TrustedBlock:
    """A block on whose hash the walk rests."""

    number: int
    """Its number."""
    hash: bytes
    """Its hash, 32 bytes."""
    shows: tuple[str, ...]
    """What it shows, as stable words: names of events, or `state`."""
    vouchers: tuple[str, ...]
    """Who vouches for the hash; nobody where it is empty."""
    gate_compose: bytes | None = None
    """Where the gate does: the compose hash that the quote measures which certifies its key, 32 bytes."""


@dataclass
class Findings:
    """Filled in by the links in their order; a link that reads a field comes after the one that sets it."""

    envelope: Envelope
    """What is walked."""
    trust: TrustRoot
    """Root of trust for hardware."""
    now: int
    """Unix seconds."""
    pin: Pin
    """What the verifier knows from elsewhere."""
    chain: Chain | None = None
    """The chain, where it is asked."""
    policy: PlatformPolicy | None = None
    """The platform policy by which the gate judged, where the verifier has it; `trust` has its rules."""
    hashes: Mapping[int, bytes] = field(default_factory=dict)
    """Hashes of blocks that the auditor knows from elsewhere, by number."""
    transcript: bytes = field(init=False)
    """T0, set by `grant`."""
    recipe: Recipe = field(init=False)
    """The parsed recipe, set by `recipe`."""
    quote: QuoteFacts = field(init=False)
    """What the enclave's quote proves, set by `quote`."""
    gpus: Walk | None = field(init=False, default=None)
    """How far its GPUs were verified, set by `report-data` where the recipe demands some."""
    evidence: Evidence = field(init=False)
    """What quote and event log prove together, set by `event-log`."""
    gate: GateFacts = field(init=False)
    """What the gate's quote proves, set by `gate-quote`."""
    view: ChainView = field(init=False)
    """The consortium at the grant's block, set by `gate-registered`."""
    receipt: FoundReceipt = field(init=False)
    """What the chain has about the receipt, set by `opened`."""
    newest: Head = field(init=False)
    """The newest block that all nodes have reached, set by `revocation`."""
    shown: Shown = field(init=False)
    """What the envelope's proofs show, set by `blocks`."""


@dataclass(frozen=True)
class Check:
    """One single thing that has to hold. No other check of the walk looks at the same."""

    name: str
    """Stable word: what it compares, behind the part that says it."""
    run: Callable[[Findings], None]
    """Raises the error that names what is broken."""


@dataclass(frozen=True)
class Step:
    """One link to walk: its checks in order, then what was found in one line."""

    name: str
    """Stable word."""
    checks: tuple[Check, ...]
    """What has to hold."""
    tell: Callable[[Findings], str]
    """What was found, once all of them hold."""
    blocks: Callable[[Findings], tuple[TrustedBlock, ...]] = lambda found: ()
    """The blocks on whose hashes the links behind rest."""
    unsaid: Callable[[Findings], tuple[str, ...]] = lambda found: ()
    """Questions that it leaves open though it holds."""


def equal(
    name: str,
    seen: Callable[[Findings], object],
    expected: Callable[[Findings], object],
    code: Code,
    message: str | Callable[[Findings], str],
) -> Check:
    """A check that two values are the same; `code` and `message` say what is broken when they are not."""

    def run(found: Findings) -> None:
        if seen(found) != expected(found):
            raise EnvelopeError(code, message if isinstance(message, str) else message(found))

    return Check(name, run)
