# SPDX-License-Identifier: Apache-2.0
"""`Sign` and `Verify` of dstack's guest interface, version 0 (`docs/guest-api-v0.md`); 1 has neither."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from eth_keys.datatypes import PrivateKey

from sealroom_agents.simulator.kms import ED25519_NAME, SECP256K1_NAME

PREHASHED = "secp256k1_prehashed"
"""A mode of signing, not a kind of key: `data` is the digest."""
SIGNER_PATH = "vms"
SIGNER_PURPOSE = "signing"
DIGEST_BYTES = 32
_LEAST_DIGEST_BYTES = 16
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_RAW = Prehashed(hashes.SHA256())


def mode_of(algorithm: str) -> str:
    """The mode that a caller means. Raises `ValueError`: there is no default."""
    mode = SECP256K1_NAME if algorithm == "k256" else algorithm
    if mode not in (SECP256K1_NAME, PREHASHED, ED25519_NAME):
        raise ValueError("Unsupported algorithm")
    return mode


def sign(key: bytes, mode: str, data: bytes) -> bytes:
    """64 bytes, r ‖ s with a low s, or R ‖ S. Raises `ValueError` for a digest of another length."""
    if mode == ED25519_NAME:
        return Ed25519PrivateKey.from_private_bytes(key).sign(data)
    if mode == PREHASHED and len(data) != DIGEST_BYTES:
        raise ValueError(f"Pre-hashed signing requires a 32-byte digest, but received {len(data)} bytes")
    digest = data if mode == PREHASHED else hashlib.sha256(data).digest()
    return bytes(PrivateKey(key).sign_msg_hash(digest).to_bytes()[:64])


def verify(mode: str, data: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether it holds. A high s does not; raises `ValueError` for what is no key or no signature."""
    if len(signature) != 64:
        raise ValueError("a signature has 64 bytes")
    if mode == ED25519_NAME:
        return _holds(lambda: Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise ValueError("a signature beyond the order of the group")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    if s > _ORDER // 2 or (mode == PREHASHED and len(data) < _LEAST_DIGEST_BYTES):
        return False
    # dstack takes digests of other lengths here, though not in `Sign`.
    digest = (
        data[:DIGEST_BYTES].rjust(DIGEST_BYTES, b"\0") if mode == PREHASHED else hashlib.sha256(data).digest()
    )
    return _holds(lambda: key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(_RAW)))


def _holds(check: Callable[[], object]) -> bool:
    try:
        check()
    except InvalidSignature:
        return False
    return True
