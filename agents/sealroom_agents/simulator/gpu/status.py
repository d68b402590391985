# SPDX-License-Identifier: Apache-2.0
"""What a responder says of the certificates of simulated GPUs and manifests (OCSP, RFC 6960)."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealroom_agents.simulator.gpu.pki import moment

Pair = tuple[x509.Certificate, x509.Certificate]
"""A certificate and its issuer."""


def encode_answer(
    pair: Pair,
    key: ec.EllipticCurvePrivateKey,
    *,
    made: int,
    until: int | None,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    nonce: bytes | None = None,
    responder: x509.Certificate | None = None,
    hashed: HashAlgorithm | None = None,
) -> bytes:
    """An answer about a certificate as DER, signed by `key`: the issuer's, or that of the `responder`.

    Times in unix seconds; without `until` nothing newer is promised.
    """
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        *pair,
        hashed or SHA384(),
        status,
        moment(made),
        None if until is None else moment(until),
        moment(made) if revoked else None,
        x509.ReasonFlags.certificate_hold if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder or pair[1])
    if responder is not None:
        builder = builder.certificates([responder])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(key, SHA384()).public_bytes(Encoding.DER)
