# SPDX-License-Identifier: Apache-2.0
"""The Sign-RPC envelope: a result with everything that proves it, in one JSON file.

The enclave signs twice with one key: the statement (in-toto, DSSE) for tools, and the receipt (EIP-712)
for the chain; each names the other. The rest is what leads from that key to the hardware, the gate and
the owners. Spec: `enclave/spec/envelope.md`. Quotes are judged elsewhere: this module knows no TDX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sealroom import typed
from sealroom.decimals import to_pico
from sealroom.encoding import Fields, canonical, sha256, strict_json, to_base64, to_hex
from sealroom.envelope.anchor import Anchor
from sealroom.envelope.dsse import SignedStatement, sign_payload
from sealroom.envelope.statement import (
    Statement,
    quote_body_digest,
)
from sealroom.errors import EnvelopeError, FormatError, KeyMaterialError, ReleaseError
from sealroom.keys import KEM_PUBLIC_SIZE, SIGNATURE_SIZE, address_of
from sealroom.records import Grant, Receipt
from sealroom.release import datasets_root
from sealroom.release.messages import (
    MAX_EVENT_LOG,
    MAX_GPU_EVIDENCE,
    MAX_QUOTE,
    Challenge,
    GateIdentity,
    Hello,
)

MAX_ENVELOPE_BYTES = 6 * 1024 * 1024
"""Most bytes of an envelope: two event logs, two collaterals and a recipe fit well."""
MAX_RECIPE_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One result with its proof."""

    signed: SignedStatement
    """The statement's exact bytes and signature."""
    statement: Statement
    """What those bytes say."""
    result: Mapping[str, Any]
    """The result JSON."""
    receipt: Receipt
    """The receipt."""
    receipt_signature: bytes
    """The enclave's EIP-712 signature over the receipt, 65 bytes."""
    grant: Grant
    """The gate's grant."""
    grant_signature: bytes
    """The gate's EIP-712 signature over the grant, 65 bytes."""
    hello: Hello
    """First message of the release."""
    challenge: Challenge
    """Second message of the release."""
    kem_key: bytes
    """The enclave's X-Wing public key of this run, 1216 bytes."""
    gpu_evidence: bytes
    """GPU evidence; empty without a GPU."""
    quote: bytes
    """The enclave's TDX quote."""
    event_log: str
    """The enclave's event log, JSON text."""
    collateral: Mapping[str, Any]
    """The collateral with which the gate verified the quote."""
    gate: GateIdentity
    """The gate that granted, with its own proof."""
    recipe: bytes
    """The recipe's app-compose bytes."""
    anchor: Anchor | None
    """Where the receipt stands, or `None` as long as it doesn't."""

    def with_anchor(self, anchor: Anchor) -> Envelope:
        """The same envelope, published."""
        return replace(self, anchor=anchor)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "statement": self.signed.to_json(),
            "result": dict(self.result),
            "receipt": self.receipt.to_json(),
            "receiptSignature": to_hex(self.receipt_signature),
            "grant": self.grant.to_json(),
            "grantSignature": to_hex(self.grant_signature),
            "release": {
                "hello": self.hello.to_json(),
                "challenge": self.challenge.to_json(),
                "kemKey": to_base64(self.kem_key),
                "gpuEvidence": to_base64(self.gpu_evidence),
            },
            "evidence": {
                "quote": to_base64(self.quote),
                "eventLog": self.event_log,
                "collateral": dict(self.collateral),
            },
            "gate": self.gate.to_json(),
            "recipe": to_base64(self.recipe),
            "anchor": None if self.anchor is None else self.anchor.to_json(),
        }

    def encode(self) -> bytes:
        """Canonical JSON. A copy with other white space is the same envelope: what is signed, is inside."""
        return canonical(self.to_json())


def result_digest(result: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical result JSON, 32 bytes.

    Raises `EnvelopeError` for what JSON can't hold exactly.
    """
    try:
        return sha256(canonical(result))
    except FormatError as error:
        raise EnvelopeError("malformed", f"result: {error.message}") from None


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
    receipt = _receipt_of(statement, signed)
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


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope. Raises only `EnvelopeError`; nothing of it is verified yet."""
    try:
        fields = Fields(strict_json(data, MAX_ENVELOPE_BYTES), "envelope", error=EnvelopeError)
        return _read(fields)
    except (FormatError, ReleaseError) as error:
        raise EnvelopeError(error.code, f"envelope: {error.message}") from None


def verify_statement(envelope: Envelope) -> None:
    """Check that the granted enclave signed a statement about this result, quote and run.

    Raises `EnvelopeError`: `result-mismatch`, `statement-forged`, `statement-mismatch`.
    """
    statement, grant, hello = envelope.statement, envelope.grant, envelope.hello
    if result_digest(envelope.result) != statement.result_digest:
        raise EnvelopeError("result-mismatch", "the result is not the one in the statement")
    envelope.signed.verify(grant.enclave_signer)
    grant_hash = typed.digest(
        typed.grant(grant, chain_id=statement.chain_id, consortium=statement.consortium)
    )
    _same("statement", "run", statement.run_id, grant.run_id, hello.run_id)
    _same("statement", "chain", statement.chain_id, hello.chain_id)
    _same("statement", "consortium", statement.consortium, hello.consortium)
    _same("statement", "ledger", statement.ledger, grant.ledger)
    _same("statement", "study", statement.study, grant.study)
    _same("statement", "compose hash", statement.compose_hash, grant.compose_hash, hello.compose_hash)
    _same("statement", "datasets", _root(statement), grant.datasets_root)
    _same("statement", "ε", statement.privacy.epsilon_micro, grant.epsilon_micro, hello.epsilon_micro)
    _same("statement", "δ", to_pico(statement.privacy.delta), grant.delta_pico, hello.delta_pico)
    _same("statement", "epoch", statement.epoch, grant.epoch)
    _same("statement", "block", statement.block_number, grant.block_number)
    _same("statement", "block hash", statement.block_hash, grant.block_hash)
    _same("statement", "grant", statement.grant_hash, grant_hash)
    _same("statement", "quote", statement.quote_body_digest, quote_body_digest(envelope.quote))


def verify_receipt(envelope: Envelope) -> None:
    """Check that the granted enclave signed the receipt, and that it says what the statement says.

    Raises `EnvelopeError`: `receipt-forged`, `receipt-mismatch`.
    """
    statement = envelope.statement
    message = typed.receipt(envelope.receipt, chain_id=statement.chain_id, ledger=statement.ledger)
    try:
        signer = typed.recover(message, envelope.receipt_signature)
    except KeyMaterialError as error:
        raise EnvelopeError("receipt-forged", f"receipt: {error.message}") from None
    if signer != envelope.grant.enclave_signer:
        raise EnvelopeError(
            "receipt-forged", f"the receipt was not signed by {envelope.grant.enclave_signer}"
        )
    if envelope.receipt != _receipt_of(statement, envelope.signed):
        raise EnvelopeError("receipt-mismatch", "the receipt does not say what the statement says")


def _receipt_of(statement: Statement, signed: SignedStatement) -> Receipt:
    return Receipt(
        run_id=statement.run_id,
        consortium=statement.consortium,
        study=statement.study,
        compose_hash=statement.compose_hash,
        datasets_root=_root(statement),
        result_digest=statement.result_digest,
        statement_digest=signed.digest,
        epsilon_micro=statement.privacy.epsilon_micro,
        delta_pico=to_pico(statement.privacy.delta),
        epoch=statement.epoch,
        grant_hash=statement.grant_hash,
    )


def _root(statement: Statement) -> bytes:
    return datasets_root([dataset.id for dataset in statement.datasets])


def _same(what: str, name: str, *values: object) -> None:
    if any(value != values[0] for value in values):
        raise EnvelopeError(f"{what}-mismatch", f"the {what} names another {name} than the grant")


def _read(fields: Fields) -> Envelope:
    fields.version()
    release = Fields(fields.object("release"), "envelope's release", error=EnvelopeError)
    evidence = Fields(fields.object("evidence"), "envelope's evidence", error=EnvelopeError)
    signed = SignedStatement.from_json(fields.object("statement"))
    anchor = fields.raw("anchor")
    envelope = Envelope(
        signed=signed,
        statement=Statement.parse(signed.payload),
        result=fields.object("result"),
        receipt=Receipt.from_json(fields.object("receipt"), error=EnvelopeError),
        receipt_signature=fields.hex("receiptSignature", SIGNATURE_SIZE),
        grant=Grant.from_json(fields.object("grant"), error=EnvelopeError),
        grant_signature=fields.hex("grantSignature", SIGNATURE_SIZE),
        hello=Hello.read(Fields(release.object("hello"), "envelope's hello", error=EnvelopeError)),
        challenge=Challenge.read(
            Fields(release.object("challenge"), "envelope's challenge", error=EnvelopeError)
        ),
        kem_key=release.base64("kemKey", limit=KEM_PUBLIC_SIZE, size=KEM_PUBLIC_SIZE),
        gpu_evidence=release.base64("gpuEvidence", limit=MAX_GPU_EVIDENCE),
        quote=evidence.base64("quote", limit=MAX_QUOTE),
        event_log=evidence.text("eventLog", limit=MAX_EVENT_LOG),
        collateral=evidence.object("collateral"),
        gate=GateIdentity.from_json(fields.object("gate")),
        recipe=fields.base64("recipe", limit=MAX_RECIPE_BYTES),
        anchor=None if anchor is None else Anchor.from_json(anchor),
    )
    for reader in (release, evidence, fields):
        reader.done()
    return envelope
