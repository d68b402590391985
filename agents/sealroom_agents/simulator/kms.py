# SPDX-License-Identifier: Apache-2.0
"""A KMS root and the keys that dstack derives from it for an app.

Derivations and signatures are dstack's (`kms/src/main_service.rs`, `ra-tls/src/kdf.rs`; guest interface:
`docs/guest-api-v0.md`, `docs/guest-api-v1.md`). LP(x) is the length of x as 4 big-endian bytes, then x.

    KDF(key, context) = HKDF-SHA256(ikm = key, salt = "RATLS", info = context, 32 bytes)
    app key           = KDF(root, app_id ‖ "app-key")
    v0, of a path     = KDF(app key, path)            — purpose and algorithm are not derived from
    v1, of a domain   = HKDF-SHA256(ikm = app key, salt = "dstack-guest-v1",
                                    info = LP("dstack-guest-v1-key") ‖ LP(algorithm) ‖ LP(domain), 32 bytes)
    chain[0], v0      = app key over  keccak256(purpose ‖ ":" ‖ hex(public key))
    chain[0], v1      = app key over  keccak256(LP("dstack-guest-v1-key-claim") ‖ LP(algorithm) ‖ LP(domain)
                                                ‖ LP(public key))
    chain[1]          = root over     keccak256("dstack-kms-issued" ‖ ":" ‖ app_id ‖ app public key)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from sealroom_agents.simulator.pki import derive_p256

_SALT = b"RATLS"
_SALT_V1 = b"dstack-guest-v1"
_KEY_TAG = b"dstack-guest-v1-key"
_CLAIM_TAG = b"dstack-guest-v1-key-claim"
_KEY_BYTES = 32
SECP256K1_NAME = "secp256k1"
SECP256K1_NAMES = frozenset({"", SECP256K1_NAME, "k256"})
"""What a caller of version 0 may call the default algorithm."""
ED25519_NAME = "ed25519"


@dataclass(frozen=True)
class DerivedKey:
    """A key of one app, and the chain of signatures that leads from it to the KMS root."""

    key: bytes
    """The private key, 32 bytes."""
    public_key: bytes
    """33 bytes compressed for secp256k1, 32 bytes for ed25519."""
    signature_chain: tuple[bytes, bytes]
    """Signature by the app key and signature by the root, 65 bytes each: r ‖ s ‖ v with v 0 or 1."""

    def __repr__(self) -> str:
        return f"DerivedKey(public_key={self.public_key.hex()})"


class SimulatedKms:
    """The root keys of a simulated KMS."""

    def __init__(self, seed: bytes) -> None:
        self._root = PrivateKey(hashlib.sha256(b"sealroom/v1/simulated-kms-root\x00" + seed).digest())
        self._root_ca = derive_p256(seed, "kms-root-ca")

    @property
    def root_public_key(self) -> bytes:
        """secp256k1 root key, 33 bytes compressed: `kmsInfo().k256Pubkey` of a real one."""
        return self._root.public_key.to_compressed_bytes()

    @property
    def key_provider_id(self) -> bytes:
        """SubjectPublicKeyInfo of the root CA, DER: what the guest measures as its key provider."""
        return self._root_ca.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def root_ca_key(self) -> ec.EllipticCurvePrivateKey:
        """The P-256 key under which it issues certificates."""
        return self._root_ca

    def derive(self, app_id: bytes, *, path: str, purpose: str, algorithm: str = "") -> DerivedKey:
        """Version 0: the key of `path` for the app (20 bytes).

        Raises `ValueError` for an algorithm that dstack does not know.
        """
        app_key = self._app_key(app_id)
        key, public, by_app = derive_path(app_key, path=path, purpose=purpose, algorithm=algorithm)
        return self._issued(app_id, app_key, key, public, by_app)

    def derive_domain(self, app_id: bytes, *, domain: str, algorithm: str) -> DerivedKey:
        """Version 1: the key of (`domain`, `algorithm`) for the app. Raises `ValueError` like `derive`."""
        app_key = self._app_key(app_id)
        key, public, by_app = derive_domain(app_key, domain=domain, algorithm=algorithm)
        return self._issued(app_id, app_key, key, public, by_app)

    def _app_key(self, app_id: bytes) -> bytes:
        return _kdf(self._root.to_bytes(), app_id + b"app-key")

    def _issued(self, app_id: bytes, app_key: bytes, key: bytes, public: bytes, by_app: bytes) -> DerivedKey:
        app_public = PrivateKey(app_key).public_key.to_compressed_bytes()
        by_root = self._root.sign_msg_hash(keccak(b"dstack-kms-issued:" + app_id + app_public))
        return DerivedKey(key=key, public_key=public, signature_chain=(by_app, by_root.to_bytes()))


def derive_path(
    app_key: bytes, *, path: str, purpose: str, algorithm: str = ""
) -> tuple[bytes, bytes, bytes]:
    """(private key, public key, the app key's signature) for `path` by version 0;
    `ValueError` for an unknown algorithm."""
    if algorithm not in SECP256K1_NAMES | {ED25519_NAME}:
        raise ValueError("Unsupported algorithm")
    key = _kdf(app_key, path.encode())
    public = _public(key, ED25519_NAME if algorithm == ED25519_NAME else SECP256K1_NAME)
    signature = PrivateKey(app_key).sign_msg_hash(keccak(f"{purpose}:{public.hex()}".encode()))
    return key, public, signature.to_bytes()


def derive_domain(app_key: bytes, *, domain: str, algorithm: str) -> tuple[bytes, bytes, bytes]:
    """(private key, public key, the app key's signature) for a domain by version 1;
    `ValueError` for an algorithm that is not named exactly."""
    if algorithm not in (SECP256K1_NAME, ED25519_NAME):
        what = f"unsupported algorithm `{algorithm}`" if algorithm else "algorithm is required"
        raise ValueError(f"{what}, use `secp256k1` or `ed25519`")
    name, kind = domain.encode(), algorithm.encode()
    key = _kdf(app_key, _length_prefixed(_KEY_TAG, kind, name), salt=_SALT_V1)
    public = _public(key, algorithm)
    claim = _length_prefixed(_CLAIM_TAG, kind, name, public)
    return key, public, PrivateKey(app_key).sign_msg_hash(keccak(claim)).to_bytes()


def _public(key: bytes, algorithm: str) -> bytes:
    if algorithm == ED25519_NAME:
        return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    return bytes(PrivateKey(key).public_key.to_compressed_bytes())


def _length_prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _kdf(key: bytes, context: bytes, *, salt: bytes = _SALT) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=salt, info=context).derive(key)
