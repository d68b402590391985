# SPDX-License-Identifier: Apache-2.0
"""A dstack KMS: what binds its two root keys to a measured machine, and an app's certificate to the KMS.

A KMS has a root key for signatures (secp256k1) and one for certificates (P-256). `DstackKms.kmsInfo()` holds
both, with the quote of the machine that made them: its report data binds the two together. A guest measures
the second as its key provider, and its certificate leads to it. Source: dstack `kms/src/onboard_service.rs`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.encoding import Fields, sha256, strict_json
from sealroom.errors import FormatError
from sealroom_agents.attestation.pem import require_whole
from sealroom_agents.attestation.quote import said_facts
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

MAX_INFO_BYTES = 256 * 1024
MAX_CHAIN_BYTES = 256 * 1024
"""Largest chain of certificates; an app's leaf carries its quote and event log."""
SIGNATURE_KEY_BYTES = 33
CERTIFICATE_KEY_BYTES = 91
"""SubjectPublicKeyInfo of a P-256 key, DER."""
_TAG = b"dstack-kms-genereted-keys-v1:"
"""dstack's own spelling."""
_APP_ID = x509.ObjectIdentifier("1.3.6.1.4.1.62397.1.3")
_USAGE = x509.ObjectIdentifier("1.3.6.1.4.1.62397.1.4")
_APP_CA = b"app:ca"


@dataclass(frozen=True)
class KmsInfo:
    """A KMS as its contract tells it; nothing is verified."""

    signature_key: bytes
    """Root key for signatures, 33 bytes compressed."""
    certificate_key: bytes
    """Root key for certificates, 91 bytes: what guests measure as the id of their key provider."""
    quote: bytes
    """Quote of the machine that made both."""
    event_log: str
    """Its event log, JSON text; a KMS measures no OS image."""

    @property
    def root(self) -> bytes:
        """What a platform policy names: SHA-256 of the key for signatures, 32 bytes."""
        return sha256(self.signature_key)

    @property
    def report_data(self) -> bytes:
        """What its quote must bind, 64 bytes."""
        keys = f"{self.certificate_key.hex()};{self.signature_key.hex()};".encode()
        return keccak(_TAG + keys) + bytes(32)

    @classmethod
    def read(cls, data: bytes) -> KmsInfo:
        """Read a JSON object `{caPubkey, k256Pubkey, quote, eventlog}` of hex, the last as text.

        Raises `FormatError` `malformed`, `too-large`.
        """
        fields = Fields(strict_json(data, MAX_INFO_BYTES), "the KMS")
        found = cls(
            certificate_key=fields.hex("caPubkey", CERTIFICATE_KEY_BYTES),
            signature_key=fields.hex("k256Pubkey", SIGNATURE_KEY_BYTES),
            quote=_unhex(fields.text("quote", limit=MAX_INFO_BYTES)),
            event_log=fields.text("eventlog", limit=MAX_INFO_BYTES),
        )
        fields.done()
        return found


def require_bound_keys(info: KmsInfo, *, trust: TrustRoot) -> None:
    """That the KMS's quote says to bind both of its keys.

    The quote was made once, when the KMS was set up, and its collateral is void by now: its signature is not
    verified here. Raises `AttestationError`: those of `said_facts`, `report-data-mismatch`.
    """
    if said_facts(info.quote, trust=trust).report_data != info.report_data:
        raise AttestationError(
            Code.REPORT_DATA_MISMATCH, "the KMS's quote was made for other root keys than these two"
        )


def require_app_chain(pem: bytes, *, app_id: bytes, key_provider_id: bytes, now: int) -> x509.Certificate:
    """An app's own certificate, where its chain leads to the KMS: leaf, "App CA" of this app, KMS CA.

    app_id: 20 bytes, which leaf and App CA must name. key_provider_id: what the guest measured, the
    SubjectPublicKeyInfo of the KMS CA. now: unix seconds. Raises `AttestationError` `kms-chain-broken`.
    """
    try:
        if len(pem) > MAX_CHAIN_BYTES:
            _broken("it is too long")
        _require_whole(pem.decode("ascii"))
        chain = x509.load_pem_x509_certificates(pem)
        if len(chain) != 3:
            _broken(f"it has {len(chain)} certificates where three must be")
        leaf, app_ca, kms_ca = chain
        for certificate, issuer in ((leaf, app_ca), (app_ca, kms_ca), (kms_ca, kms_ca)):
            certificate.verify_directly_issued_by(issuer)
            if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                _broken("a certificate is signed by one that may sign none")
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        if not all(one.not_valid_before_utc <= moment < one.not_valid_after_utc for one in chain):
            _broken("a certificate is not valid at that time")
        if _extension(app_ca, _USAGE) != _APP_CA or any(
            _extension(one, _APP_ID) != app_id for one in (leaf, app_ca)
        ):
            _broken("it is of another app, or of none")
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise AttestationError(
            Code.KMS_CHAIN_BROKEN,
            "the app's certificates do not lead to a KMS: a signature or a part is wrong",
        ) from error
    if kms_ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != key_provider_id:
        _broken("it ends at another KMS than the one that the guest measured")
    return leaf


def _require_whole(text: str) -> None:
    try:
        require_whole(text, "certificates")
    except AttestationError as error:
        _broken(error.message)


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes:
    """The bytes of one of dstack's extensions, a short OCTET STRING."""
    value = certificate.extensions.get_extension_for_oid(oid).value
    if not isinstance(value, x509.UnrecognizedExtension):
        _broken("an extension is of another form")
    if len(value.value) < 2 or value.value[0] != 4 or value.value[1] != len(value.value) - 2:
        _broken("an extension is of another form")
    return value.value[2:]


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise FormatError(Code.MALFORMED, "the KMS has quote that is not hex") from None


def _broken(why: str) -> NoReturn:
    raise AttestationError(Code.KMS_CHAIN_BROKEN, f"the app's certificates do not lead to its KMS: {why}")
