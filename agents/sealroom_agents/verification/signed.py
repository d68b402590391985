# SPDX-License-Identifier: Apache-2.0
"""The links `result` `statement` `receipt` and `anchor`: what the enclave signed, and where the envelope says
that it stands. Whether it stands there, only proofs or a chain tell.
"""

from __future__ import annotations

from collections import Counter

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import RECEIPT_CHECKS, RESULT_CHECK, STATEMENT_CHECKS, EnvelopeCheck
from sealroom.errors import EnvelopeError
from sealroom_agents.verification.state import Check, Findings, Step


def _of_envelope(check: EnvelopeCheck) -> Check:
    name, run = check
    return Check(name, lambda found: run(found.envelope))


def _after_grant(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.block < found.envelope.grant.block_number:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored before the grant")


def _anchor_chain(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.chain_id != found.envelope.statement.chain_id:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored on another chain")


def _anchor_ledger(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.ledger != found.envelope.grant.ledger:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored in another ledger")


def _each_owner_once(found: Findings) -> None:
    anchor = found.envelope.anchor
    counted = Counter(approval.owner for approval in anchor.approvals) if anchor is not None else Counter()
    for owner, times in counted.items():
        if times > 1:
            raise EnvelopeError(Code.APPROVAL_REPEATED, f"the approval of {owner} is listed {times} times")


def _tell_anchor(found: Findings) -> str:
    anchor = found.envelope.anchor
    if anchor is None:
        return "the envelope does not say where its receipt stands"
    said = f"says receipt {anchor.sequence} in block {anchor.block}, {len(anchor.approvals)} approvals: "
    if anchor.proofs:
        return said + f"{len(anchor.proofs)} proofs of it follow"
    return said + "true or not, only the chain can tell"


RESULT = Step(
    "result",
    (_of_envelope(RESULT_CHECK),),
    lambda found: f"sha256 {to_hex(found.envelope.statement.result_digest)}",
)
"""The result is the signed one."""
STATEMENT = Step(
    "statement",
    tuple(_of_envelope(check) for check in STATEMENT_CHECKS),
    lambda found: f"signed by the enclave's key {found.envelope.grant.enclave_signer}",
)
"""The granted enclave signed the statement."""
RECEIPT = Step(
    "receipt",
    tuple(_of_envelope(check) for check in RECEIPT_CHECKS),
    lambda found: f"signed by the same key, run {to_hex(found.envelope.receipt.run_id)}",
)
"""It signed the receipt, too."""
ANCHOR = Step(
    "anchor",
    (
        Check("anchor.chain", _anchor_chain),
        Check("anchor.ledger", _anchor_ledger),
        Check("anchor.after-grant", _after_grant),
        Check("anchor.approvals", _each_owner_once),
    ),
    _tell_anchor,
)
"""What the envelope says of its place can be true."""
