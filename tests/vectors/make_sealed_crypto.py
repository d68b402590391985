# SPDX-License-Identifier: Apache-2.0
"""HPKE and Cobblestone-256 with nothing drawn at random, so that the vectors come out the same each time.

Written from RFC 9180, draft-connolly-cfrg-xwing-kem and c2sp.org/chunked-encryption, on primitives: what
`sealroom` must open was not made by `sealroom`. A writer of real datasets MUST draw fresh bytes instead.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

CHUNK = 16 * 1024
X_WING_LABEL = rb"\.//^" + b"\\"
HPKE_SUITE = bytes.fromhex("647a00010002")
"""KEM MLKEM768-X25519, KDF HKDF-SHA256, AEAD AES-256-GCM: two bytes each."""

ENCAPSULATION = base64.b64decode(
    "pPLPFZ6dnAF+cRYTYKTLSyhwLnU4rVdVldfYtquOmaN8PYXaCUqB6bukQdM8BbVH5stBWbY73ski3+alAQkm2XQK6fcLPVaA4HUr"
    "VIA3I8DsQwHRnonu9sLAJTtomf3k/fDxP8RTvBbcjqmqbLita9IBMf5Wxpq02MXEhruqy8BsF0psR8Y/UKvJd4Ky1YOiscd/+3QX"
    "TJEE7IdjYo6WSjsTthuLvm/0EHQxD/KqkDVkglhdG9OJxJC00VDOavuJYNEgWo7ZBJIJq+i4UhloP85wUeIi1nofZ2si4ODaEIGY"
    "wpaS76moiMqr8Lkm66IpxqTwfef/9PyythTHBlzz/LZVr/ZypOHS8dGz8AT6PPO8Oa5+BfB/th9a+YBh13via2y/snQyjOtF5dv6"
    "76eRBO46C7//Axe8Fs1lHDSNTEEdPWv7PYRDTfQ+2lJD81LEdc9pcISdjxCFAZFJl13V1t5A2aeIukC87PvBJq8bDcijdkvqSKVi"
    "Pk0PghhgvtdJZCcKZKPEgcCqQc1KpYa6HhkTxy8szfR2zM2r1N7auQTFRFupFid+VcnsP4ZeLYS8mVVIDTtV8CjRL+bBb42brih5"
    "M7304OWx0nGLZO0iA+JuHvSfPJM8rRTTSNV2gi+5mRPDxsH1nipbO9LSFDA5ICpAWBDSpaBDS5dcJ7JQrbOkZNXFSrXl5WUuIer2"
    "4lDRPxI1VPs0NgcDL7clUvoNOAbJG8b+9CDDzS1uHQQKy/XGSj1rsPVoMcaqCrqvgruVpY7D3DpwrBGW2dQjhXs7Ys41rxxGVz9+"
    "3DFBIFRmceBNsjWJIkZANjNoVtKGatPxvEvD+6nGmUtapweGS8TPEnSnE+ma3xrBoneT4/HQXxPXihIzMOgfEZ9BoZwo+34KwjWy"
    "aWJSXkN1V/wEP9MrjuiGcCmc+BFhnXLKYsEFK69E4IjGFNlchq5XM+hDs1uV9hHp55lU7n1p6O8+xGyR8YJO0R011hnhDvwu/7ML"
    "W7HMyqsplB93ZGA53wCsuAXnbiHt5x6AOcsnejEbnP9yNepwspkfaSTuGfBHXpu41Znj6fLwKXL6MPKcNJLctxt0kC/kQpBhSA44"
    "7nvRnud70EFliSJkHu69LmZAPlF4xzMUavzyx+HfSZQzOUceehJONebY1cYwv9Q+FrOp3PMx54k6+6zrZF1vfG2/nJ+zPQump0c3"
    "g7vwEo6K2NIziCg5dw/x16YnsGv3z1Fk4sZYUu6EnRIBggujuB5qUU9Tr6QO6oy8ghF2A3lbPJTFhsWyOfJOBIdKOTyK+anPZvwf"
    "3MVg0UfNgByLb1rce2OPcE6xvmncUr/NfdnIroWyJfN9INUN8KSQtqJzOyxklqhzfy4TvYsWjiyghG8J2KCtOJhR0Sg4qurPcxbg"
    "EQcopQtN35XhSbmMXf/1SAC5bN0pkj32YIn3Dh1Ny08j83diP/FD3sEZCQuKontLS0TxBl19B6egUShstwQ2lwA2qKNuTA=="
)
"""One X-Wing encapsulation to the gate of the vectors, drawn once; the HPKE `info` keeps its uses apart."""


def lp(*fields: bytes | str | int) -> bytes:
    """The length-prefixed tuple of the page."""
    encoded = [_field(field) for field in fields]
    return b"".join(len(field).to_bytes(8, "big") + field for field in encoded)


def _field(value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(32, "big")
    return value.encode() if isinstance(value, str) else value


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 with 32 bytes of output."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


class XWing:
    """A private key of X-Wing, from its seed."""

    def __init__(self, seed: bytes) -> None:
        expanded = hashlib.shake_256(seed).digest(96)
        self._ml_kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
        self._x25519_public = self._x25519.public_key().public_bytes_raw()
        self.public = self._ml_kem.public_key().public_bytes_raw() + self._x25519_public

    def shared_secret(self, encapsulation: bytes) -> bytes:
        """What X-Wing makes of an encapsulation. All zeros for X25519's share is a point of low order."""
        share = encapsulation[1088:]
        ml_kem = self._ml_kem.decapsulate(encapsulation[:1088])
        # The library refuses a point of low order; whoever forges one computes on with the zeros it gives.
        curve = (
            self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(share))
            if any(share)
            else bytes(32)
        )
        return hashlib.sha3_256(ml_kem + curve + share + self._x25519_public + X_WING_LABEL).digest()


class Gate(XWing):
    """The gate's root key, from the secret of its guest path."""

    def __init__(self, guest_key: bytes, chain_id: int) -> None:
        super().__init__(hkdf(guest_key, b"sealroom/v1/gate-root", lp("sealroom/v1/x-wing-seed", chain_id)))


def hpke(
    secret: bytes,
    info: bytes,
    plaintext: bytes,
    *,
    aad: bytes = b"",
    mode: int = 0,
    suite: bytes = HPKE_SUITE,
    sequence: int = 0,
) -> bytes:
    """RFC 9180, sections 5.1 and 5.2: what the AEAD makes of a plaintext under a KEM's shared secret."""
    suite_id = b"HPKE" + suite

    def extract(salt: bytes, label: bytes, key: bytes) -> bytes:
        return HKDF.extract(SHA256(), salt or bytes(32), b"HPKE-v1" + suite_id + label + key)

    def expand(prk: bytes, label: bytes, context: bytes, size: int) -> bytes:
        labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
        return HKDFExpand(algorithm=SHA256(), length=size, info=labelled).derive(prk)

    context = bytes([mode]) + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    prk = extract(secret, b"secret", b"")
    nonce = _nonce(expand(prk, b"base_nonce", context, 12), sequence)
    return AESGCM(expand(prk, b"key", context, 32)).encrypt(nonce, plaintext, aad)


def cobblestone(
    key: bytes, context: bytes, plain: bytes, *, salt: bytes, aead: bytes = b"AEAD_AES_256_GCM"
) -> bytes:
    """One stream: salt, commitment, and chunks of which the last is short."""
    info = b"c2sp.org/chunked-encryption@v1+" + aead + b"\0" + salt + context
    derived = HKDFExpand(algorithm=SHA512(), length=76, info=info).derive(key)
    cipher, nonce, commitment = AESGCM(derived[:32]), derived[32:44], derived[44:]
    chunks = [
        cipher.encrypt(_nonce(nonce, number), plain[number * CHUNK : (number + 1) * CHUNK], None)
        for number in range(len(plain) // CHUNK + 1)
    ]
    return salt + commitment + b"".join(chunks)


def _nonce(base: bytes, number: int) -> bytes:
    return (int.from_bytes(base, "big") ^ number).to_bytes(12, "big")
