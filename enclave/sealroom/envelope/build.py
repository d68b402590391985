# SPDX-License-Identifier: Apache-2.0
"""Making an envelope, as the enclave does at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealroom import typed
from sealroom.envelope.checks import receipt_of, verify_receipt, verify_statement
from sealroom.envelope.dsse import sign_payload
from sealroom.envelope.envelope import Envelope
from sealroom.envelope.statement import Statement
from sealroom.key_release.messages import Challenge, GateIdentity, Hello
from sealroom.keys import address_of
from sealroom.model import Grant


def build_envelope(
    *,
    statement: Statement,
    result: Mapping[str, Any],
    private_key: bytes,
    grant: Grant,
    grant_signature: bytes,
    hello: Hello,
    challenge: Challenge,
    kem_key: bytes,
    gpu_evidence: bytes,
    gpu_material: bytes,
    quote: bytes,
    event_log: str,
    collateral: Mapping[str, Any],
    gate: GateIdentity,
    recipe: bytes,
) -> Envelope:
    """Sign statement and receipt as the enclave, and put all of it together.

    The receipt follows from the statement. Raises `EnvelopeError` when result, statement and grant do not fit
    together: an enclave never signs what a verifier would refuse.
    """
    signer = address_of(private_key)
    signed = sign_payload(statement.encode(), private_key=private_key, signer=signer)
    receipt = receipt_of(statement, signed)
    message = typed.receipt(receipt, chain_id=statement.chain_id, ledger=statement.ledger)
    envelope = Envelope(
        signed=signed,
        statement=statement,
        result=result,
        receipt=receipt,
        receipt_signature=typed.sign(message, private_key),
        grant=grant,
        grant_signature=grant_signature,
        hello=hello,
        challenge=challenge,
        kem_key=kem_key,
        gpu_evidence=gpu_evidence,
        gpu_material=gpu_material,
        quote=quote,
        event_log=event_log,
        collateral=collateral,
        gate=gate,
        recipe=recipe,
        anchor=None,
    )
    verify_statement(envelope)
    verify_receipt(envelope)
    return envelope
