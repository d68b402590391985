# SPDX-License-Identifier: Apache-2.0
"""The links of an envelope that carries proofs, in their order: from the hashes of a few blocks to everything
that the chain had to say of its run. No archive is needed, and with hashes that somebody vouches for no node.

Where nodes are asked, they vouch for the hashes, and say what `Ledger.verify` says of the receipt, with what
has happened since.
"""

from __future__ import annotations

from sealroom_agents.verification.blocks import BLOCKS
from sealroom_agents.verification.governed import APPROVALS, APPROVED, GATE_REGISTERED, names_of
from sealroom_agents.verification.of_run import chain_of
from sealroom_agents.verification.recorded import ANCHORED, OPENED
from sealroom_agents.verification.since import since_step, told_since, words_of_revocation
from sealroom_agents.verification.state import Findings, Step


def _tell_since(found: Findings) -> str:
    verdict, stated = found.receipt.verdict, found.envelope.statement
    reason = ""
    if verdict.revoked_at:
        reason = words_of_revocation(chain_of(found), stated.consortium, stated.study)
    return told_since(verdict, names_of(found), reason)


PROVEN: tuple[Step, ...] = (BLOCKS, OPENED, GATE_REGISTERED, APPROVED, ANCHORED, APPROVALS)
"""Links that rest on the hashes of blocks."""
SINCE = since_step(_tell_since)
"""What nodes say of the time since."""
