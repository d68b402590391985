# SPDX-License-Identifier: Apache-2.0
"""What the links of a walk share: the envelope, and what earlier links established."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError
from sealroom.recipe import Recipe
from sealroom_agents.attestation import GateFacts, QuoteFacts, TrustAnchor
from sealroom_agents.facts import ChainView, Evidence

if TYPE_CHECKING:
    # Who verifies a file alone should not wait for a chain's client.
    from sealroom_agents.chain import FoundReceipt


@dataclass
class Findings:
    """Filled in by the links in their order; a link that reads a field comes after the one that sets it."""

    envelope: Envelope
    """What is walked."""
    anchor: TrustAnchor
    """Root of trust for hardware."""
    now: int
    """Unix seconds."""
    transcript: bytes = field(init=False)
    """T0, set by `grant`."""
    recipe: Recipe = field(init=False)
    """The parsed recipe, set by `recipe`."""
    quote: QuoteFacts = field(init=False)
    """What the enclave's quote proves, set by `quote`."""
    evidence: Evidence = field(init=False)
    """What quote and event log prove together, set by `event-log`."""
    gate: GateFacts = field(init=False)
    """What the gate's quote proves, set by `gate-quote`."""
    view: ChainView = field(init=False)
    """The consortium at the grant's block, set by `gate-registered`."""
    receipt: FoundReceipt = field(init=False)
    """What the chain has about the receipt, set by `opened`."""


def need(value: object, expected: object, code: str, message: str) -> None:
    """Raise `EnvelopeError` unless both are equal."""
    if value != expected:
        raise EnvelopeError(code, message)
