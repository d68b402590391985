# SPDX-License-Identifier: Apache-2.0
"""Walk a result's envelope link by link, name the first that is broken, and say what the walk proves.

Offline: `result` `statement` `receipt` `grant` `recipe` `output` `quote` `report-data` `event-log`
`kms-chain` `gate-quote` `anchor`. With pins also `pinned-consortium` `pinned-gate` `pinned-kms-root`
`pinned-os-images`. With proofs in the envelope also `blocks` `opened` `gate-registered` `approved` `anchored`
`approvals`, which rest on the hashes of the blocks that `blocks` tells; with a node of the chain these are
vouched for, and `revocation` follows. Without proofs a node that keeps old state
shows all of it. Each link rests on the ones before it, so the walk stops at the first that doesn't hold.

A whole walk without pins proves that the file is self-consistent, and that machines of the root's maker took
part: with firmware, gate, KMS and consortium of any choice. With all pins it proves that exactly this recipe,
in an enclave that booted a pinned image, made exactly this result, and that the gate of this consortium let
it have the keys. With the chain: k owners and every owner of a used dataset had approved, the budget was
booked, and the receipt is anchored. What no walk proves: that the data were true, or that the noise was drawn
well; those rest on the owners and on the recipe that they read.
"""

from sealroom_agents.verification.offline import OFFLINE
from sealroom_agents.verification.onchain import ON_CHAIN
from sealroom_agents.verification.pin import NOTHING, ORIGINS, PIN_LIMIT_BYTES, Pin, parse_pin
from sealroom_agents.verification.proven import PROVEN, SINCE
from sealroom_agents.verification.state import Chain, Check, Findings, Step, TrustedBlock
from sealroom_agents.verification.verdict import Outcome, Verdict, verdict_of
from sealroom_agents.verification.walk import Link, first_broken, steps, verify, walk

__all__ = [
    "NOTHING",
    "OFFLINE",
    "ON_CHAIN",
    "ORIGINS",
    "PIN_LIMIT_BYTES",
    "PROVEN",
    "SINCE",
    "Chain",
    "Check",
    "Findings",
    "Link",
    "Outcome",
    "Pin",
    "Step",
    "TrustedBlock",
    "Verdict",
    "first_broken",
    "parse_pin",
    "steps",
    "verdict_of",
    "verify",
    "walk",
]
