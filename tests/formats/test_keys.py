# SPDX-License-Identifier: Apache-2.0
"""X-Wing keys and dstack's signature chain."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from sealroom.errors import KeyMaterialError
from sealroom.keys import (
    GATE_SIGNER_PATH,
    GATE_SIGNER_PURPOSE,
    KemPrivateKey,
    KeyInterface,
    Secret,
    gate_root_key,
    generate_signer,
    hpke_open,
    hpke_seal,
    public_key33,
    recover_kms_root,
)
from tests.formats.worked import GATE_ROOT, GATE_SIGNER, KMS_ROOT, flip, kms_signature_chain, secret

APP_ID = b"\x9a" * 20
INFO = b"the context"


def test_what_is_sealed_opens_in_its_context_only() -> None:
    sealed = hpke_seal(GATE_ROOT.public, b"a data key", info=INFO)

    assert hpke_open(GATE_ROOT, sealed, info=INFO) == b"a data key"
    for key, ciphertext, info in [
        (KemPrivateKey.generate(), sealed, INFO),
        (GATE_ROOT, flip(sealed, 5), INFO),
        (GATE_ROOT, flip(sealed, len(sealed) - 1), INFO),
        (GATE_ROOT, sealed[:-1], INFO),
        (GATE_ROOT, b"", INFO),
        (GATE_ROOT, sealed, INFO + b"."),
    ]:
        with pytest.raises(KeyMaterialError) as caught:
            hpke_open(key, ciphertext, info=info)
        assert caught.value.code == "does-not-open"


@pytest.mark.parametrize(
    "public",
    [b"\xff" * 1184 + GATE_ROOT.public[1184:], GATE_ROOT.public[:1184] + bytes(32), GATE_ROOT.public[:-1]],
    ids=["ML-KEM out of range", "X25519 of low order", "short"],
)
def test_an_invalid_public_key_is_refused(public: bytes) -> None:
    """CE-11."""
    assert hpke_seal(GATE_ROOT.public, b"x", info=INFO)
    with pytest.raises(KeyMaterialError) as caught:
        hpke_seal(public, b"x", info=INFO)
    assert caught.value.code == "key-invalid"


def test_the_gate_root_key_follows_from_secret_and_chain() -> None:
    again = gate_root_key(secret("gate root"), 31337)

    assert again.public == GATE_ROOT.public
    assert gate_root_key(secret("gate root"), 1).public != GATE_ROOT.public
    assert gate_root_key(secret("another"), 31337).public != GATE_ROOT.public


def test_the_seed_expands_as_x_wing_says() -> None:
    """draft-connolly-cfrg-xwing-kem, appendix C, first vector: the public key of a seed."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")

    public = KemPrivateKey.from_seed(seed).public.hex()

    assert public.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")


def test_the_signature_chain_leads_to_the_kms_root() -> None:
    chain = kms_signature_chain(APP_ID)
    arguments = {
        "name": GATE_SIGNER_PATH,
        "purpose": GATE_SIGNER_PURPOSE,
        "app_id": APP_ID,
        "signature_chain": chain,
    }

    assert recover_kms_root(public_key33(GATE_SIGNER), **arguments) == public_key33(KMS_ROOT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "another"},
        {"app_id": b"\x9b" * 20},
        {"signature_chain": tuple(reversed(kms_signature_chain(APP_ID)))},
        {"signature_chain": kms_signature_chain(b"\x9b" * 20)},
    ],
    ids=["purpose", "app id", "order", "another app's chain"],
)
def test_a_chain_for_something_else_leads_elsewhere(change: dict[str, object]) -> None:
    arguments = {
        "name": GATE_SIGNER_PATH,
        "purpose": GATE_SIGNER_PURPOSE,
        "app_id": APP_ID,
        "signature_chain": kms_signature_chain(APP_ID),
        **change,
    }
    try:
        root = recover_kms_root(public_key33(GATE_SIGNER), **arguments)  # type: ignore[arg-type]
    except KeyMaterialError:
        return
    assert root != public_key33(KMS_ROOT)


def test_a_known_dstack_signature_recovers_its_key() -> None:
    """dstack's own vector: app key 1a2b…, path "test", purpose "signing", first signature of the chain."""
    from eth_utils.crypto import keccak

    from sealroom.keys import _recover_compressed, hkdf_sha256

    app_key = bytes.fromhex("1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b")
    signature = bytes.fromhex(
        "c8a3dcf06c4e95bd78a5d7a1c8fcff171fc5848cfae804c6fc11bda4dc5d4062"
        "379995390843827444992c4c0e4bac70f0f878e01b9fc8b98cd7126fe5a3876b01"
    )
    key = hkdf_sha256(app_key, salt=b"RATLS", info=b"test")

    claim = keccak(b"signing:" + public_key33(key).hex().encode())

    assert _recover_compressed(claim, signature) == public_key33(app_key)


def test_a_chain_of_version_1_leads_to_the_root_by_that_claim_alone() -> None:
    """The claim is dstack's own vector (app key 1a2b…, domain "storage-encryption"); the KMS is ours."""
    from eth_keys.datatypes import PrivateKey
    from eth_utils.crypto import keccak

    app = public_key33(bytes.fromhex("1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b"))
    key = bytes.fromhex("03d962450a41748021c8b02787ac36ce642ff0ae25f4c55019eb527e1112cfd764")
    by_app = bytes.fromhex(
        "5b6193729ce7976ec67863f21692d4b98c69832698aae8e001a7d33a6f818b6e"
        "46ca950725b6e90e8ca9bcf394abd03ce264bf9b7eec1e91693247f9dd53c26901"
    )
    by_root = PrivateKey(KMS_ROOT).sign_msg_hash(keccak(b"dstack-kms-issued:" + APP_ID + app)).to_bytes()
    given: dict[str, Any] = {"purpose": "storage-encryption", "app_id": APP_ID}

    def root(interface: KeyInterface, name: str, chain: tuple[bytes, bytes] = (by_app, by_root)) -> bytes:
        return recover_kms_root(key, interface=interface, name=name, signature_chain=chain, **given)

    assert root(KeyInterface.V1, "storage-encryption") == public_key33(KMS_ROOT)
    assert root(KeyInterface.V1, "storage-encryptio") != public_key33(KMS_ROOT)
    assert root(KeyInterface.V0, "storage-encryption") != public_key33(KMS_ROOT)


def test_a_secret_shows_nothing_and_can_be_wiped() -> None:
    key = Secret(b"\x42" * 32)

    assert "42" not in repr(key) and "B" not in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    key.wipe()
    with pytest.raises(KeyMaterialError):
        key.reveal()


def test_two_fresh_keys_differ() -> None:
    """CE-04, CE-17."""
    assert generate_signer().reveal() != generate_signer().reveal()
    assert KemPrivateKey.generate().public != KemPrivateKey.generate().public
