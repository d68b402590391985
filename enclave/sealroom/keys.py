# SPDX-License-Identifier: Apache-2.0
"""Keys: X-Wing for wrapping and releasing data keys, and dstack's signature chain back to the KMS root.

One HPKE suite everywhere (RFC 9180): KEM MLKEM768-X25519 (0x647a), HKDF-SHA256, AES-256-GCM. Base mode proves
no sender, so the receiver of a release checks the gate's signature over the transcript too (CE-12).

What works on secp256k1 imports eth-keys where it runs: that import takes longer than sealing half a gigabyte,
and sealing needs none of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealroom.codes import Code
from sealroom.encoding import lp, sha256
from sealroom.errors import KeyMaterialError

KEM_PUBLIC_SIZE = 1216
"""Bytes of an X-Wing public key: ML-KEM-768 encapsulation key (1184), then X25519 (32)."""

HPKE_OVERHEAD = 1136
"""Bytes that HPKE adds: the X-Wing encapsulation (1120) and the AES-GCM tag (16)."""

SEED_SIZE = 32
GATE_ROOT_PATH = "sealroom/v1/gate-root"
GATE_ROOT_PURPOSE = "sealroom-gate-root"
GATE_SIGNER_PATH = "sealroom/v1/gate-signer"
GATE_SIGNER_PURPOSE = "sealroom-gate"
SIGNATURE_SIZE = 65


class KeyInterface(StrEnum):
    """Which version of dstack's guest interface a key comes from. The same name gives another key in each,
    and the app's key signs another claim, so neither can pass for the other's."""

    V0 = "v0"
    """`GetKey` of a path, with a purpose: in every agent, closed for good at what dstack 0.5.11 did."""
    V1 = "v1"
    """`GetKey` of a domain and an algorithm: in agents from dstack 0.6 on."""


_MLKEM_PUBLIC_SIZE = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Secret:
    """Secret bytes with a repr that does not show them, which can be wiped.

    Wiping is best effort: Python and the libraries below may hold copies. The process that holds secrets
    therefore writes no core dump, and ends soon after its lease.
    """

    __slots__ = ("_bytes",)

    def __init__(self, data: bytes | bytearray) -> None:
        self._bytes = bytearray(data)

    @classmethod
    def generate(cls, size: int = 32) -> Secret:
        """Draw fresh secret bytes from the operating system's generator (CE-17)."""
        return cls(os.urandom(size))

    def reveal(self) -> bytes:
        """The bytes themselves."""
        if not self._bytes:
            raise KeyMaterialError(Code.KEY_WIPED, "this key was wiped")
        return bytes(self._bytes)

    def wipe(self) -> None:
        """Overwrite and drop the bytes; a later `reveal` is refused."""
        for position in range(len(self._bytes)):
            self._bytes[position] = 0
        self._bytes.clear()

    def __len__(self) -> int:
        return len(self._bytes)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


class SigningKey:
    """A secp256k1 private key that signs often: it is read once, not for each signature."""

    __slots__ = ("_key",)

    def __init__(self, private_key: bytes) -> None:
        """private_key: 32 bytes. Raises `key-invalid`."""
        from eth_keys.datatypes import PrivateKey
        from eth_utils.exceptions import ValidationError

        try:
            self._key = PrivateKey(private_key)
        except ValidationError:
            raise KeyMaterialError(Code.KEY_INVALID, "not a secp256k1 private key") from None

    def sign(self, digest: bytes) -> bytes:
        """Sign 32 bytes (RFC 6979): 65 bytes r ‖ s ‖ v."""
        signature = self._key.sign_msg_hash(digest)
        return bytes(signature.to_bytes()[:64]) + bytes([27 + signature.v])

    def __repr__(self) -> str:
        return "SigningKey(…)"

    def __reduce__(self) -> str:
        raise TypeError("a SigningKey cannot be pickled")


class KemPrivateKey:
    """An X-Wing private key. `public` is its public key as 1216 bytes."""

    def __init__(self, ml_kem: mlkem.MLKEM768PrivateKey, x_25519: x25519.X25519PrivateKey) -> None:
        self._hybrid = MLKEM768X25519PrivateKey(ml_kem, x_25519)
        self.public: bytes = ml_kem.public_key().public_bytes_raw() + x_25519.public_key().public_bytes_raw()
        """ML-KEM-768 encapsulation key, then X25519 public key."""

    @classmethod
    def from_seed(cls, seed: bytes) -> KemPrivateKey:
        """Expand 32 secret bytes (draft-connolly-cfrg-xwing-kem, section 5.2: SHAKE256, 96 bytes)."""
        if len(seed) != SEED_SIZE:
            raise KeyMaterialError(Code.KEY_INVALID, f"an X-Wing seed has {SEED_SIZE} bytes, not {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(96)
        return cls(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    @classmethod
    def generate(cls) -> KemPrivateKey:
        """Make a fresh key."""
        return cls.from_seed(os.urandom(SEED_SIZE))

    def open(self, ciphertext: bytes, *, info: bytes) -> bytes:
        """Open what `hpke_seal` sealed to this key under the same `info`. Raises `does-not-open`."""
        try:
            return _SUITE.decrypt(ciphertext, self._hybrid, info)
        except (InvalidTag, ValueError):
            raise KeyMaterialError(
                Code.DOES_NOT_OPEN, "the ciphertext does not open with this key in this context"
            ) from None

    def __repr__(self) -> str:
        return f"KemPrivateKey(fingerprint=0x{fingerprint(self.public).hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a KemPrivateKey cannot be pickled")


def hpke_seal(public: bytes, plaintext: bytes, *, info: bytes) -> bytes:
    """Seal to an X-Wing public key (1216 bytes); the result is `HPKE_OVERHEAD` bytes longer."""
    if len(public) != KEM_PUBLIC_SIZE:
        raise KeyMaterialError(
            Code.KEY_INVALID, f"an X-Wing public key has {KEM_PUBLIC_SIZE} bytes, not {len(public)}"
        )
    try:
        key = MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_SIZE]),
            x25519.X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_SIZE:]),
        )
        return _SUITE.encrypt(plaintext, key, info)
    except ValueError:  # an ML-KEM key out of range, or an X25519 point of low order (CE-11)
        raise KeyMaterialError(Code.KEY_INVALID, "not a valid X-Wing public key") from None


def hpke_open(private: KemPrivateKey, ciphertext: bytes, *, info: bytes) -> bytes:
    """Open what `hpke_seal` sealed to `private`. Raises `does-not-open`."""
    return private.open(ciphertext, info=info)


def fingerprint(public: bytes) -> bytes:
    """How a public key is named on chain and in wraps: SHA-256 of its bytes."""
    return sha256(public)


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, size: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)


def gate_root_key(guest_key: bytes, chain_id: int) -> KemPrivateKey:
    """Derive the gate's root key from the secret that the KMS gives its CVM under `GATE_ROOT_PATH`."""
    seed = hkdf_sha256(guest_key, salt=GATE_ROOT_PATH.encode(), info=lp("sealroom/v1/x-wing-seed", chain_id))
    return KemPrivateKey.from_seed(seed)


def public_key33(private_key: bytes) -> bytes:
    """Compressed SEC1 public key, 33 bytes, of a secp256k1 private key."""
    from eth_keys.datatypes import PrivateKey
    from eth_utils.exceptions import ValidationError

    try:
        return PrivateKey(private_key).public_key.to_compressed_bytes()
    except ValidationError:
        raise KeyMaterialError(Code.KEY_INVALID, "not a secp256k1 private key") from None


def address_of(private_key: bytes) -> str:
    """Address of a secp256k1 private key, in our text form."""
    from eth_keys.datatypes import PrivateKey
    from eth_utils.exceptions import ValidationError

    try:
        return str(PrivateKey(private_key).public_key.to_address())
    except ValidationError:
        raise KeyMaterialError(Code.KEY_INVALID, "not a secp256k1 private key") from None


def address_of_public(key_public33: bytes) -> str:
    """Address of a compressed secp256k1 public key, in our text form."""
    from eth_keys.datatypes import PublicKey
    from eth_utils.exceptions import ValidationError

    try:
        return str(PublicKey.from_compressed_bytes(key_public33).to_address())
    except (ValidationError, ValueError):
        raise KeyMaterialError(Code.KEY_INVALID, "not a compressed secp256k1 public key") from None


def generate_signer() -> Secret:
    """Make a fresh secp256k1 private key."""
    while True:
        candidate = Secret.generate(32)
        try:
            address_of(candidate.reveal())
        except KeyMaterialError:  # zero or beyond the group order: once in 2^127 draws
            continue
        return candidate


def recover_kms_root(
    key_public33: bytes,
    *,
    interface: KeyInterface = KeyInterface.V0,
    name: str,
    purpose: str,
    app_id: bytes,
    signature_chain: Sequence[bytes],
) -> bytes:
    """Follow dstack's GetKey signature chain from a secp256k1 key up to the KMS root key.

    The app key signs, by the interface that the key comes from,

        v0   `keccak256(purpose ":" hex(pub))`
        v1   `keccak256(LP("dstack-guest-v1-key-claim") LP("secp256k1") LP(name) LP(pub))`, where LP(x) is the
             length of x as 4 big-endian bytes, then x

    and the KMS root signs `keccak256("dstack-kms-issued:" app_id app_pub)`. Returns the root's compressed
    public key, 33 bytes: the caller compares it, since any two signatures recover *some* root. A claim of v0
    ends in at least 64 hex digits, where one of v1 has the zeros of a length, so no chain of one leads to the
    same root as the other.

    Source: dstack `docs/guest-api-v0.md`, `docs/guest-api-v1.md`; `dstack/kms`, `sign_message`.
    """
    from eth_utils.crypto import keccak

    if len(signature_chain) != 2:
        raise KeyMaterialError(Code.SIGNATURE_INVALID, "a key's signature chain has two signatures")
    if len(app_id) != 20 or len(key_public33) != 33:
        raise KeyMaterialError(Code.KEY_INVALID, "an app id has 20 bytes, and a compressed public key 33")
    if interface is KeyInterface.V1:
        parts = (b"dstack-guest-v1-key-claim", b"secp256k1", name.encode(), key_public33)
        claim = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    else:
        claim = purpose.encode() + b":" + key_public33.hex().encode()
    app_public = _recover_compressed(keccak(claim), signature_chain[0])
    return _recover_compressed(keccak(b"dstack-kms-issued:" + app_id + app_public), signature_chain[1])


def recover_variables_root(public32: bytes, *, app_id: bytes, signature: bytes) -> bytes:
    """Follow the KMS's signature of the X25519 key that an app's variables are encrypted to.

    The KMS root signs `keccak256("dstack-env-encrypt-pubkey:" app_id pub)`; the key follows from root and
    app, so an old signature says no less. Returns the root's compressed public key, 33 bytes, to compare.

    Source: `dstack/kms`, `GetAppEnvEncryptPubKey`.
    """
    from eth_utils.crypto import keccak

    if len(app_id) != 20 or len(public32) != 32:
        raise KeyMaterialError(Code.KEY_INVALID, "an app id has 20 bytes, and an X25519 key 32")
    return _recover_compressed(keccak(b"dstack-env-encrypt-pubkey:" + app_id + public32), signature)


def _recover_compressed(digest: bytes, signature: bytes) -> bytes:
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if len(signature) != SIGNATURE_SIZE:
        raise KeyMaterialError(
            Code.SIGNATURE_INVALID, f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}"
        )
    try:
        public = Signature(signature).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError, ValueError):
        raise KeyMaterialError(Code.SIGNATURE_INVALID, "the signature recovers no key") from None
    return public.to_compressed_bytes()
