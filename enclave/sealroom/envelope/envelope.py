# SPDX-License-Identifier: Apache-2.0
"""The Sign-RPC envelope: a result with everything that proves it, in one JSON file.

The enclave signs twice with one key: the statement (in-toto, DSSE) for tools, and the receipt
(EIP-712) for the chain; each names the other. The rest is what leads from that key to the hardware,
the gate and the owners. Spec: `enclave/spec/envelope.md`. Quotes are verified elsewhere:
this module contains nothing about TDX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, sha256, strict_json, to_base64, to_hex
from sealroom.envelope.anchor import Anchor
from sealroom.envelope.dsse import SignedStatement
from sealroom.envelope.statement import Statement
from sealroom.errors import EnvelopeError, FormatError, KeyReleaseError
from sealroom.key_release.messages import (
    MAX_EVENT_LOG,
    MAX_GPU_EVIDENCE,
    MAX_GPU_MATERIAL,
    MAX_QUOTE,
    Challenge,
    GateIdentity,
    Hello,
)
from sealroom.keys import KEM_PUBLIC_SIZE, SIGNATURE_SIZE
from sealroom.model import Grant, Receipt

VERSION = 5
"""Version of the format."""
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
    gpu_material: bytes
    """What the gate judged it by: manifests, and NVIDIA's word on certificates; empty without a GPU."""
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
            "version": VERSION,
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
                "gpuMaterial": to_base64(self.gpu_material),
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

    def padded(self, limit_bytes: int) -> bytes:
        """The same, as an enclave writes it: with white space behind it, so that the length does not depend
        on the released values (DP-11, OU-02). `limit_bytes` is what the output contract says, and the fields
        take no more.
        """
        return self.encode() + b" " * (limit_bytes - len(canonical(self.result["fields"])))


def result_digest(result: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical result JSON, 32 bytes.

    Raises `EnvelopeError` for what JSON can't hold exactly.
    """
    try:
        return sha256(canonical(result))
    except FormatError as error:
        raise EnvelopeError(Code.MALFORMED, f"result: {error.message}") from None


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope. Raises only `EnvelopeError`; nothing of it is verified yet."""
    try:
        fields = Fields(strict_json(data, MAX_ENVELOPE_BYTES), "envelope", error=EnvelopeError)
        return _read(fields)
    except (FormatError, KeyReleaseError) as error:
        raise EnvelopeError(error.code, f"envelope: {error.message}") from None


def _read(fields: Fields) -> Envelope:
    fields.version(VERSION)
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
        hello=Hello.from_json(release.object("hello"), error=EnvelopeError, what="envelope's hello"),
        challenge=Challenge.from_json(
            release.object("challenge"), error=EnvelopeError, what="envelope's challenge"
        ),
        kem_key=release.base64("kemKey", limit=KEM_PUBLIC_SIZE, size=KEM_PUBLIC_SIZE),
        gpu_evidence=release.base64("gpuEvidence", limit=MAX_GPU_EVIDENCE),
        gpu_material=release.base64("gpuMaterial", limit=MAX_GPU_MATERIAL),
        quote=evidence.base64("quote", limit=MAX_QUOTE),
        event_log=evidence.text("eventLog", limit=MAX_EVENT_LOG),
        collateral=evidence.object("collateral"),
        gate=GateIdentity.from_json(fields.object("gate")),
        recipe=fields.base64("recipe", limit=MAX_RECIPE_BYTES),
        anchor=None if anchor is None else Anchor.from_json(anchor, error=EnvelopeError),
    )
    for reader in (release, evidence, fields):
        reader.done()
    return envelope
