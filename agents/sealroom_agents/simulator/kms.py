# SPDX-License-Identifier: Apache-2.0
"""A KMS root and the keys that dstack derives from it for an app.

Derivations and signatures are dstack's (`kms/src/main_service.rs`,
`ra-tls/src/kdf.rs`, guest agent `GetKey` v0):

    KDF(key, context) = HKDF-SHA256(ikm = key, salt = "RATLS", info = context, 32 bytes)
    app key           = KDF(root, app_id ‖ "app-key")
    key of a path     = KDF(app key, path)            — the purpose is signed, not derived from
    chain[0]          = app key over  keccak256(purpose ‖ ":" ‖ hex(public key of the path))
    chain[1]          = root over     keccak256("dstack-kms-issued" ‖ ":" ‖ app_id ‖ app public key)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from sealroom_agents.simulator.pki import derive_p256

_SALT = b"RATLS"
_KEY_BYTES = 32
SECP256K1_NAMES = frozenset({"", "secp256k1", "k256"})
"""What a caller may call the default algorithm."""
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

    def derive(self, app_id: bytes, *, path: str, purpose: str, algorithm: str = "") -> DerivedKey:
        """The key of `path` for the app (20 bytes).

        Raises `ValueError` for an algorithm that dstack does not know.
        """
        app_key = _kdf(self._root.to_bytes(), app_id + b"app-key")
        app_public = PrivateKey(app_key).public_key.to_compressed_bytes()
        key, public, by_app = derive_path(app_key, path=path, purpose=purpose, algorithm=algorithm)
        by_root = self._root.sign_msg_hash(keccak(b"dstack-kms-issued:" + app_id + app_public))
        return DerivedKey(key=key, public_key=public, signature_chain=(by_app, by_root.to_bytes()))


def derive_path(
    app_key: bytes, *, path: str, purpose: str, algorithm: str = ""
) -> tuple[bytes, bytes, bytes]:
    """(private key, public key, the app key's signature) for `path`;
    `ValueError` for an unknown algorithm."""
    key = _kdf(app_key, path.encode())
    if algorithm in SECP256K1_NAMES:
        public = PrivateKey(key).public_key.to_compressed_bytes()
    elif algorithm == ED25519_NAME:
        public = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    else:
        raise ValueError("Unsupported algorithm")
    signature = PrivateKey(app_key).sign_msg_hash(keccak(f"{purpose}:{public.hex()}".encode()))
    return key, public, signature.to_bytes()


def _kdf(key: bytes, context: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=_SALT, info=context).derive(key)
