# SPDX-License-Identifier: Apache-2.0
"""DSSE: exact bytes with a signature over them and their type.
Checking it needs no second serialisation of JSON.

Source: DSSE protocol v1.0 (pre-authentication encoding).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import Fields, sha256, to_base64
from sealroom.errors import EnvelopeError, KeyMaterialError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_STATEMENT_BYTES = 64 * 1024
DSSE_SIGNATURE_SIZE = 64
"""r ‖ s, s in the lower half; DSSE signatures carry no recovery value."""


@dataclass(frozen=True, kw_only=True)
class SignedStatement:
    """A statement's exact bytes with the enclave's signature."""

    payload: bytes
    """The in-toto Statement as it was signed."""
    key_id: str
    """Address of the signing key: a hint, never trusted."""
    signature: bytes
    """ECDSA over SHA-256 of the pre-authentication encoding: r ‖ s, 64 bytes."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the pre-authentication encoding, 32 bytes.

        What is signed, and what the receipt holds.
        """
        return sha256(pre_authentication_encoding(self.payload))

    def verify(self, signer: str) -> None:
        """Check that `signer` signed. Raises `statement-forged`."""
        for recovery in (27, 28):
            try:
                found = typed.recover_digest(self.digest, self.signature + bytes([recovery]))
            except KeyMaterialError:
                continue
            if found == signer:
                return
        raise EnvelopeError(Code.STATEMENT_FORGED, f"the statement was not signed by {signer}")

    def to_json(self) -> dict[str, Any]:
        """The DSSE envelope."""
        return {
            "payloadType": PAYLOAD_TYPE,
            "payload": to_base64(self.payload),
            "signatures": [{"keyid": self.key_id, "sig": to_base64(self.signature)}],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SignedStatement:
        """Read strictly what `to_json` writes. Raises `EnvelopeError`."""
        fields = Fields(value, "statement envelope", error=EnvelopeError)
        if fields.raw("payloadType") != PAYLOAD_TYPE:
            raise EnvelopeError(Code.UNSUPPORTED_VERSION, "the statement envelope has another payload type")
        signatures = fields.array("signatures", limit=1)
        if len(signatures) != 1:
            fields.fail("must have one signature")
        signature = Fields(signatures[0], "statement envelope's signature", error=EnvelopeError)
        signed = cls(
            payload=fields.base64("payload", limit=MAX_STATEMENT_BYTES),
            key_id=signature.address("keyid"),
            signature=signature.base64("sig", limit=DSSE_SIGNATURE_SIZE, size=DSSE_SIGNATURE_SIZE),
        )
        signature.done()
        fields.done()
        return signed


def sign_payload(payload: bytes, *, private_key: bytes, signer: str) -> SignedStatement:
    """Sign a statement's bytes with the enclave's key of this run, whose address is `signer`."""
    signature = typed.sign_digest(sha256(pre_authentication_encoding(payload)), private_key)
    return SignedStatement(payload=payload, key_id=signer, signature=signature[:DSSE_SIGNATURE_SIZE])


def pre_authentication_encoding(payload: bytes) -> bytes:
    """DSSE's PAE: type and payload, each behind its length in ASCII digits."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
