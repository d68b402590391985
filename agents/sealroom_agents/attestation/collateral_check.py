# SPDX-License-Identifier: Apache-2.0
"""Whether collateral is what the root of trust signed, for which machines it is, and how long it is good.

dcap-qvl checks all of this again with each quote, and it alone decides. Here it is checked without a quote,
so that nothing is kept on disk which a cache made up (AT-07, AT-09), and a quote whose certificates are not
the root's asks no service for anything (AT-32).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dcap_qvl
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealroom.codes import Code
from sealroom.encoding import sha256, strict_json
from sealroom.errors import FormatError
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

INTEL_ROOT_SHA256 = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
"""SHA-256 of the DER of "Intel SGX Root CA"."""
CAS = ("platform", "processor")
"""Intel's two PCK CAs."""
MAX_PART_BYTES = 128 * 1024
"""Largest TCB info or QE identity."""
MAX_CHAIN_CERTIFICATES = 3


@dataclass(frozen=True, order=True)
class Kind:
    """Machines that share their collateral."""

    fmspc: str
    """Intel's number of a family of machines, 12 hex digits in upper case."""
    ca: str
    """`platform` or `processor`: which CA certified them."""

    def __str__(self) -> str:
        return f"{self.fmspc}-{self.ca}"


@dataclass(frozen=True)
class Standing:
    """How new collateral is, and how long it is good."""

    until: int
    """Unix seconds from which on it is void: the earliest `nextUpdate` of its parts, or end of a
    certificate."""
    numbers: tuple[int, int, int, int]
    """tcbEvaluationDataNumber of TCB info and QE identity, CRL number of the PCK CA and of the root: none of
    them ever falls."""

    def older_than(self, numbers: tuple[int, ...]) -> bool:
        """Whether a number fell."""
        return any(mine < other for mine, other in zip(self.numbers, numbers, strict=True))


def certificates_of(quote: bytes) -> bytes:
    """The certificates in a quote, PEM; nothing is verified. Raises `AttestationError` `quote-invalid`."""
    try:
        return bytes(dcap_qvl.Quote.parse(quote).cert_chain_pem_bytes())
    except (ValueError, AttributeError, TypeError) as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the quote has no certificates: {error}") from error


def kind_of(quote: bytes, *, trust: TrustRoot, now: int) -> Kind:
    """The kind of machine of which a quote comes, as certificates of the root say.

    The quote itself is not verified. Raises `AttestationError` `quote-invalid`.
    """
    try:
        parsed = dcap_qvl.Quote.parse(quote)
        chain = _certificates(bytes(parsed.cert_chain_pem_bytes()))
        kind = Kind(str(parsed.fmspc()).upper(), str(parsed.ca()).lower())
    except (ValueError, AttributeError, TypeError) as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the quote has no certificates: {error}") from error
    try:
        _require_chain(chain, trust, now)
    except _Bad as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the certificates of the quote: {error}") from error
    if kind.ca not in CAS or len(kind.fmspc) != 12:
        raise AttestationError(Code.QUOTE_INVALID, "the certificates of the quote name no kind of machine")
    return kind


def standing(collateral: Mapping[str, Any], kind: Kind, *, trust: TrustRoot, now: int) -> Standing:
    """Verify collateral for `kind` at `now`, unix seconds.

    collateral: the JSON form of `dcap_qvl.QuoteCollateralV3`. Raises `AttestationError`
    `collateral-unavailable` that says what is wrong with it.
    """
    try:
        return _standing(collateral, kind, trust, now)
    except _MALFORMED as error:
        raise AttestationError(
            Code.COLLATERAL_UNAVAILABLE, f"the collateral for {kind} does not hold: {error}"
        ) from error


def good_until(collateral: Mapping[str, Any]) -> int | None:
    """Unix seconds from which collateral is void by what its parts say, `None` where they say nothing.
    Nothing is verified: for people and metrics."""
    try:
        lists = [_crl(collateral[name]) for name in ("pck_crl", "root_ca_crl")]
        texts = [
            strict_json(collateral[name].encode(), MAX_PART_BYTES) for name in ("tcb_info", "qe_identity")
        ]
        return min(*(_next(one) for one in lists), *(_stamp(one["nextUpdate"]) for one in texts))
    except _MALFORMED:
        return None


class _Bad(Exception):
    """Why it does not hold."""


_MALFORMED = (_Bad, KeyError, TypeError, ValueError, AttributeError, FormatError, x509.ExtensionNotFound)
"""What reading collateral of any shape raises."""


def _standing(collateral: Mapping[str, Any], kind: Kind, trust: TrustRoot, now: int) -> Standing:
    tcb_chain = _certificates(collateral["tcb_info_issuer_chain"].encode())
    qe_chain = _certificates(collateral["qe_identity_issuer_chain"].encode())
    ca_chain = _certificates(collateral["pck_crl_issuer_chain"].encode())
    for chain in (tcb_chain, qe_chain, ca_chain):
        _require_chain(chain, trust, now)
    root = ca_chain[-1]
    if kind.ca not in ca_chain[0].subject.rfc4514_string().lower():
        raise _Bad(f"the revocation list is not of the {kind.ca} CA")
    pck_crl, root_crl = _crl(collateral["pck_crl"]), _crl(collateral["root_ca_crl"])
    _require_crl(pck_crl, ca_chain[0], now)
    _require_crl(root_crl, root, now)
    for certificate in (tcb_chain[0], qe_chain[0], ca_chain[0]):
        if root_crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise _Bad("a certificate of it is revoked")
    tcb = _signed(collateral["tcb_info"], collateral["tcb_info_signature"], tcb_chain[0], now)
    qe = _signed(collateral["qe_identity"], collateral["qe_identity_signature"], qe_chain[0], now)
    if (tcb["id"], str(tcb["fmspc"]).upper()) != ("TDX", kind.fmspc) or qe["id"] != "TD_QE":
        raise _Bad("it is of other machines")
    ends = [
        *(_stamp(part["nextUpdate"]) for part in (tcb, qe)),
        *(_next(one) for one in (pck_crl, root_crl)),
        *(int(one.not_valid_after_utc.timestamp()) for one in (*tcb_chain, *qe_chain, *ca_chain)),
    ]
    return Standing(
        until=min(ends),
        numbers=(_number(tcb), _number(qe), _crl_number(pck_crl), _crl_number(root_crl)),
    )


def _certificates(pem: bytes) -> list[x509.Certificate]:
    chain = x509.load_pem_x509_certificates(pem.strip(b"\x00 \r\n\t"))
    if not 2 <= len(chain) <= MAX_CHAIN_CERTIFICATES:
        raise ValueError(f"a chain of {len(chain)} certificates")
    return chain


def _require_chain(chain: list[x509.Certificate], trust: TrustRoot, now: int) -> None:
    """Leaf to root, each issued by the next, all valid now, the last one the root of trust itself."""
    root = chain[-1].public_bytes(serialization.Encoding.DER)
    pinned = INTEL_ROOT_SHA256 if trust.root_der is None else sha256(trust.root_der)
    if sha256(root) != pinned:
        raise _Bad("they do not end at the root of trust")
    for certificate, issuer in zip(chain, [*chain[1:], chain[-1]], strict=True):
        try:
            certificate.verify_directly_issued_by(issuer)
            authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise _Bad("a certificate is not signed by the next one") from error
        if not authority:
            raise _Bad("a certificate is signed by one that may sign none")
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin.timestamp() <= now < end.timestamp():
            raise _Bad("a certificate is not valid now")


def _require_crl(crl: x509.CertificateRevocationList, issuer: x509.Certificate, now: int) -> None:
    key = issuer.public_key()
    if (
        not isinstance(key, ec.EllipticCurvePublicKey)
        or crl.issuer != issuer.subject
        or not crl.is_signature_valid(key)
    ):
        raise _Bad("a revocation list is not signed by its CA")
    if not crl.last_update_utc.timestamp() <= now < _next(crl):
        raise _Bad("a revocation list is not valid now")


def _signed(text: str, signature: str, signer: x509.Certificate, now: int) -> dict[str, Any]:
    raw, key = bytes.fromhex(signature), signer.public_key()
    if len(raw) != 64 or not isinstance(key, ec.EllipticCurvePublicKey):
        raise _Bad("a signature has another form")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), text.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise _Bad("a signature is wrong") from error
    fields = strict_json(text.encode(), MAX_PART_BYTES)
    if not _stamp(fields["issueDate"]) <= now < _stamp(fields["nextUpdate"]):
        raise _Bad("it is not valid now")
    return fields


def _crl(text: str) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(bytes.fromhex(text))


def _next(crl: x509.CertificateRevocationList) -> int:
    if crl.next_update_utc is None:
        raise _Bad("a revocation list has no end")
    return int(crl.next_update_utc.timestamp())


def _crl_number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _number(fields: Mapping[str, Any]) -> int:
    number = fields["tcbEvaluationDataNumber"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise _Bad("tcbEvaluationDataNumber is no number")
    return number


def _stamp(text: str) -> int:
    moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    return int(moment.timestamp())
