# SPDX-License-Identifier: Apache-2.0
"""Envelopes among the vectors."""

from __future__ import annotations

from dataclasses import replace

from sealroom.encoding import canonical
from sealroom.envelope import Anchor, Approval
from tests.formats.worked import CHAIN_ID, GRANT, LEDGER, envelope, flip, secret
from tests.formats.worked_block import NUMBER, WorkedBlock
from tests.vectors.vector import FOLDER, Vector

BLOCK = WorkedBlock(40)
ANCHOR = Anchor(
    chain_id=CHAIN_ID,
    ledger=LEDGER,
    tx=secret("anchoring"),
    block=NUMBER,
    sequence=1,
    approvals=(Approval(owner="0x" + "0a" * 20, tx=secret("approval")),),
    batch_path=(secret("sibling"),),
    proofs=(BLOCK.proof(0), BLOCK.proof(37)),
)


def make_envelopes() -> None:
    """Envelopes: one that holds, and one broken link each."""
    holds = envelope()
    forged = replace(holds.signed, signature=flip(holds.signed.signature, 63))
    signature = flip(holds.receipt_signature, 40)
    broken = {
        "anchored": ("success", "", "the same with its anchor and two proofs", holds.with_anchor(ANCHOR)),
        "holds": ("success", "", "an envelope before its anchor", holds),
        "result_changed": (
            "result-mismatch",
            "EnvelopeError",
            "one count differs",
            replace(holds, result={**holds.result, "epsilon": "1.4"}),
        ),
        "statement_forged": (
            "statement-forged",
            "EnvelopeError",
            "one bit of the DSSE signature",
            replace(holds, signed=forged),
        ),
        "receipt_forged": (
            "receipt-forged",
            "EnvelopeError",
            "one bit of the receipt's signature",
            replace(holds, receipt_signature=signature),
        ),
        "grant_of_another_run": (
            "statement-mismatch",
            "EnvelopeError",
            "a grant with another ε",
            replace(holds, grant=replace(GRANT, epsilon_micro=1)),
        ),
        "grant_of_another_delta": (
            "statement-mismatch",
            "EnvelopeError",
            "a grant without the δ that the statement names",
            replace(holds, grant=replace(GRANT, delta_pico=0)),
        ),
        "hello_of_another_delta": (
            "statement-mismatch",
            "EnvelopeError",
            "a hello with another δ",
            replace(holds, hello=replace(holds.hello, delta_pico=0)),
        ),
        "grant_of_another_standing": (
            "statement-mismatch",
            "EnvelopeError",
            "a grant under another standing",
            replace(holds, grant=replace(GRANT, standing=secret("another standing"))),
        ),
        "dataset_of_another_version": (
            "statement-mismatch",
            "EnvelopeError",
            "a grant for another file of a dataset",
            replace(holds, grant=replace(GRANT, datasets_root=secret("another version"))),
        ),
        "quote_changed": (
            "statement-mismatch",
            "EnvelopeError",
            "a bit in the quote's body",
            replace(holds, quote=flip(holds.quote, 520)),
        ),
    }
    for name, (code, stage, comment, value) in broken.items():
        fields = {"expect": code, "comment": comment} | ({"stage": stage} if stage else {})
        Vector(fields, value.encode()).write(FOLDER / "envelope" / name)
    fields = {
        "expect": "unsupported-version",
        "stage": "EnvelopeError",
        "comment": "the format before this one",
    }
    Vector(fields, canonical({**holds.to_json(), "version": 4})).write(FOLDER / "envelope" / "version_4")
