# SPDX-License-Identifier: Apache-2.0
"""Whether NVIDIA revoked a certificate: requests to its responder, and what an answer is worth.

An answer is signed by the issuer of the certificate, or by a responder whose certificate that issuer made for
answering (RFC 6960, 4.2.2.2). Whether it was made for our request, its nonce says; a cache may pass on older
ones, so that is a claim by itself, and how old one may be is for whoever asks to decide (GP-07).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealroom.codes import Code
from sealroom_agents.attestation.gpu.chain import CERTIFICATE_FAULTS, common_name, public_key, time_fault
from sealroom_agents.errors import AttestationError

MAX_ANSWER_BYTES = 16 * 1024
MAX_KEPT = 512
"""Answers that are kept as they were read."""
SKEW_S = 300
"""Seconds that the clock of a responder may be ahead of ours."""

Pair = tuple[x509.Certificate, x509.Certificate]
"""A certificate and its issuer."""


@dataclass(frozen=True)
class Standing:
    """That a certificate is not revoked."""

    until: int
    """When the responder says something newer, unix seconds."""
    nonce_matched: bool
    """Whether the answer was made for our request."""
    answer: bytes = field(repr=False)
    """The answer that says so, DER."""


def asked_of_device(chain: Sequence[x509.Certificate]) -> list[Pair]:
    """The certificates of a device whose status counts: all but the root, and the leaf, which is the boot
    ROM's work."""
    return list(pairwise(chain))[1:]


def asked_of_rim(chain: Sequence[x509.Certificate]) -> list[Pair]:
    """The certificates of a manifest whose status counts: all but the root."""
    return list(pairwise(chain))


def request(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes) -> bytes:
    """A request as DER, with a nonce of 16 to 32 bytes."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA384())
    return builder.add_extension(x509.OCSPNonce(nonce), critical=False).build().public_bytes(Encoding.DER)


def require_good(pair: Pair, answers: Iterable[bytes], *, now: int, max_age_s: int | None) -> Standing:
    """One of the answers says that a certificate is good, and none says that it is revoked.

    answers: DER, of whichever certificates. Raises `AttestationError`: `gpu-status-missing` where none is
    about this certificate, else what `standing` raises of the newest one.
    """
    found = sorted(_about(pair, answers), key=lambda one: one[0])
    if not found:
        raise AttestationError(
            Code.GPU_STATUS_MISSING, f"nobody says whether {common_name(pair[0])!r} is revoked"
        )
    for _, data in found:
        try:
            last = standing(pair, data, now=now, max_age_s=max_age_s)
        except AttestationError as error:
            if error.code is Code.GPU_REVOKED or data is found[-1][1]:
                raise
    return last


def standing(
    pair: Pair, data: bytes, *, now: int, max_age_s: int | None, nonce: bytes | None = None
) -> Standing:
    """Verify an answer at `now`, unix seconds, which may be `max_age_s` seconds old; `None` leaves that to
    the responder's own word. `nonce` is the one of our request.

    Raises `AttestationError`: `gpu-status-malformed`, `gpu-status-signer`, `gpu-revoked`, `gpu-status-stale`.
    """
    response = _read(data)
    certificate, issuer = pair
    name = common_name(certificate)
    if response is None or not _is_about(response, pair):
        raise AttestationError(Code.GPU_STATUS_MALFORMED, f"no answer about {name!r}")
    _require_signed(response, issuer, now)
    status = response.certificate_status
    if status is ocsp.OCSPCertStatus.REVOKED:
        raise AttestationError(Code.GPU_REVOKED, f"NVIDIA revoked {name!r}")
    if status is not ocsp.OCSPCertStatus.GOOD:
        raise AttestationError(Code.GPU_STATUS_MALFORMED, f"the responder does not know {name!r}")
    made, until = int(response.this_update_utc.timestamp()), response.next_update_utc
    if until is None or not made - SKEW_S <= now < until.timestamp():
        raise AttestationError(Code.GPU_STATUS_STALE, f"the answer about {name!r} does not count now")
    if max_age_s is not None and now - made > max_age_s:
        raise AttestationError(
            Code.GPU_STATUS_STALE,
            f"the answer about {name!r} is {now - made} s old, and {max_age_s} s may be",
        )
    return Standing(
        until=int(until.timestamp()),
        nonce_matched=nonce is not None and _nonce(response) == nonce,
        answer=data,
    )


def _about(pair: Pair, answers: Iterable[bytes]) -> Iterator[tuple[float, bytes]]:
    """When each answer about this certificate was made, and the answer."""
    asked = _asked(pair)
    for data in answers:
        response = _read(data)
        if asked is not None and response is not None and _about_whom(response) == asked:
            yield response.this_update_utc.timestamp(), data


@lru_cache(MAX_KEPT)
def _read(data: bytes) -> ocsp.OCSPResponse | None:
    """A successful answer about one certificate."""
    if len(data) > MAX_ANSWER_BYTES:
        return None
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        _ = response.this_update_utc, response.next_update_utc, response.certificate_status
        return response if len(list(response.responses)) == 1 else None
    except CERTIFICATE_FAULTS:
        return None


def _about_whom(response: ocsp.OCSPResponse) -> tuple[int, bytes, bytes] | None:
    try:
        if not isinstance(response.hash_algorithm, SHA384):
            return None
    except CERTIFICATE_FAULTS:
        return None
    return response.serial_number, response.issuer_name_hash, response.issuer_key_hash


def _asked(pair: Pair) -> tuple[int, bytes, bytes] | None:
    try:
        asked = ocsp.OCSPRequestBuilder().add_certificate(*pair, SHA384()).build()
    except CERTIFICATE_FAULTS:
        return None
    return asked.serial_number, asked.issuer_name_hash, asked.issuer_key_hash


def _is_about(response: ocsp.OCSPResponse, pair: Pair) -> bool:
    asked = _asked(pair)
    return asked is not None and _about_whom(response) == asked


def _require_signed(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: int) -> None:
    for signer in (issuer, *_delegates(response, issuer, now)):
        key = public_key(signer)
        if key is None:
            continue
        try:
            if not isinstance(response.signature_hash_algorithm, SHA384):
                break
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(SHA384()))
            return
        except CERTIFICATE_FAULTS:
            continue
    raise AttestationError(
        Code.GPU_STATUS_SIGNER, f"the answer is not signed by {common_name(issuer)!r} or for it"
    )


def _delegates(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: int) -> Iterator[x509.Certificate]:
    """Certificates in an answer that the issuer made for answering."""
    try:
        found = response.certificates[:4]
    except CERTIFICATE_FAULTS:
        return
    for certificate in found:
        try:
            certificate.verify_directly_issued_by(issuer)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            timely = time_fault([certificate], now) is None
        except CERTIFICATE_FAULTS:
            continue
        if ExtendedKeyUsageOID.OCSP_SIGNING in usage and timely:
            yield certificate


def _nonce(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except CERTIFICATE_FAULTS:
        return None
