# SPDX-License-Identifier: Apache-2.0
"""What `wrap.json` must not be, and wraps that must stay shut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors.make_sealed_archive import GATE, Json, fixed
from tests.vectors.make_sealed_case import Case, flip, put, text, without
from tests.vectors.make_sealed_crypto import ENCAPSULATION, hkdf, hpke


def wraps() -> Iterator[Case]:
    def case(name: str, comment: str, change: Callable[[Any], Any]) -> Case:
        return Case("wrap_" + name, "wrap wrap-malformed", comment, {"says": change})

    def raw(name: str, comment: str, change: Callable[[bytes], bytes]) -> Case:
        return Case("wrap_" + name, "wrap wrap-malformed", comment, {"wrap_text": change})

    def sized(name: str, comment: str, change: Callable[[bytes], bytes]) -> Case:
        return Case("wrap_" + name, "wrap wrap-malformed", comment, {"ciphertext": change})

    def of_another(name: str, comment: str, **context: Any) -> Case:
        return Case("wrap_of_another_" + name, "wrap wrap-mismatch", comment, {"context": context})

    def encoded(change: Callable[[str], str]) -> Callable[[Json], Json]:
        return lambda wrap: wrap | {"ciphertext": change(wrap["ciphertext"])}

    yield Case(
        "wrap_version", "wrap unsupported-version", "a later version (CE-10)", {"says": put(version=2)}
    )
    for name, suite, comment in (
        ("suite_x25519", "x25519+hkdf-sha256+aes-256-gcm", "a KEM that is not post-quantum (CE-14)"),
        ("suite_kdf", "mlkem768-x25519+hkdf-sha512+aes-256-gcm", "another KDF (CE-10)"),
        ("suite_aead", "mlkem768-x25519+hkdf-sha256+export-only", "no cipher at all (CE-10)"),
    ):
        yield Case("wrap_" + name, "wrap unsupported-suite", comment, {"says": put(suite=suite)})
    yield raw("space", "a space: another encoding of the same (CE-18)", text(b'{"app"', b'{ "app"'))
    yield raw("member_twice", "one name twice (AR-06)", text(b'"epoch":3', b'"epoch":3,"epoch":3'))
    yield raw(
        "surrogate_name", "half of a surrogate pair as a name (CE-18)", text(b'{"app"', b'{"\\udfff":0,"app"')
    )
    yield case("member_more", "a member that is not in the format", put(psk="0x"))
    yield case("without_epoch", "a member is missing (CE-20)", without("epoch"))
    yield case("epoch_negative", "an epoch below zero (CE-20)", put(epoch=-3))
    yield case("epoch_text", "an epoch as text (CE-20)", put(epoch="3"))
    yield case("epoch_float", "an epoch with a fraction (CE-20)", put(epoch=3.5))
    yield case("kms_root_short", "31 bytes", put(kmsRoot="0x" + "00" * 31))
    yield case("app_upper_case", "an address with upper case", put(app="0x" + "A9" * 20))
    yield sized("ciphertext_short", "a byte less", lambda sealed: sealed[:-1])
    yield sized("ciphertext_long", "a byte more", lambda sealed: sealed + b"\0")
    yield sized("ciphertext_empty", "no ciphertext", lambda _: b"")
    yield case(
        "base64_unpadded", "base64 without its padding (CE-18)", encoded(lambda value: value.rstrip("="))
    )
    yield case(
        "base64_newline",
        "a newline in the base64 (CE-18)",
        encoded(lambda value: value[:76] + "\n" + value[76:]),
    )
    yield case(
        "base64_url",
        "the other base64 alphabet (CE-18)",
        encoded(lambda value: value.replace("+", "-").replace("/", "_")),
    )
    yield case("base64_spare_bits", "bits that nobody reads (CE-18)", encoded(_spare_bits))
    yield case("ciphertext_hex", "hex instead of base64 (CE-18)", put(ciphertext="0x" + "00" * 1168))

    yield of_another("chain", "sealed for another chain (CE-08)", chainId=1)
    yield of_another("consortium", "sealed for another consortium (CE-08)", consortium="0x" + "c2" * 20)
    yield of_another("owner", "hospital-B's wrap (CE-08)", owner="hospital-B")
    yield of_another(
        "dataset", "the wrap of another dataset of the same owner (CE-08)", dataset=fixed("other dataset")
    )


def _spare_bits(value: str) -> str:
    stem = value.rstrip("=")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return stem[:-1] + letters[letters.index(stem[-1]) + 1] + value[len(stem) :]


def unwrapping() -> Iterator[Case]:
    def case(name: str, comment: str, **steps: Any) -> Case:
        return Case("wrap_" + name, "wrap wrap-does-not-open", comment, steps, at="unwrapping")

    other: dict[str, tuple[str, Any]] = {
        "chain": ("chainId", 1),
        "consortium": ("consortium", "0x" + "c2" * 20),
        "kms_root": ("kmsRoot", fixed("other KMS root")),
        "app": ("app", "0x" + "aa" * 20),
        "recipe": ("composeHash", fixed("other recipe")),
        "owner": ("owner", "hospital-B"),
        "dataset": ("dataset", fixed("other dataset")),
        "epoch": ("epoch", 2),
    }
    for name, (field, value) in other.items():
        comment = f"sealed for another {name.replace('_', ' ')}, and says that it is for this one (CE-08)"
        yield case(f"made_for_other_{name}", comment, made_for={field: value})
    for name, field in {
        "kms_root": "kmsRoot",
        "app": "app",
        "recipe": "composeHash",
        "gate": "gateRoot",
    }.items():
        value = fixed("other") if name == "gate" else other[name][1]
        shown = value if isinstance(value, str) else "0x" + value.hex()
        comment = f"sealed for this {name.replace('_', ' ')}, and says another (CE-08)"
        yield case(f"says_other_{name}", comment, says=put(**{field: shown}))
    yield case(
        "says_other_epoch", "sealed for this epoch, and says the one before (CE-08, CE-20)", says=put(epoch=2)
    )
    yield case("old_epoch", "an honest wrap of the epoch before (CE-20)", gate={"epoch": 4})
    yield case(
        "old_recipe", "an honest wrap of another recipe (CE-20)", gate={"composeHash": fixed("next recipe")}
    )
    yield case(
        "other_recipe_one_bit",
        "one bit of the recipe's hash (CE-08)",
        gate={"composeHash": flip(31)(fixed("recipe"))},
    )
    yield case(
        "other_kms_root", "a gate under another KMS (CE-08, CE-13)", gate={"kmsRoot": fixed("other KMS root")}
    )
    yield case("other_app", "a gate that verified another app (CE-08)", gate={"app": "0x" + "aa" * 20})

    for name, place in {"ml_kem": 0, "x25519": 1088, "key": 1120, "tag": 1167}.items():
        yield case(
            f"flipped_{name}", f"one bit of the {name.replace('_', '-')} (CE-18)", ciphertext=flip(place)
        )
    yield case("zeros", "a ciphertext of zeros (CE-18)", ciphertext=lambda sealed: bytes(len(sealed)))
    low = ENCAPSULATION[:1088] + bytes(32)
    yield case(
        "low_order",
        "X25519's share is a point of low order; all else is right (CE-11)",
        encrypt=lambda info, key: low + hpke(GATE.shared_secret(low), info, key),
    )
    yield case(
        "public_values", "a key that anyone can derive from what is public (CE-01)", encrypt=_from_public
    )
    yield case(
        "additive", "a key that is the gate's public key and a public tweak (CE-02)", encrypt=_from_sum
    )
    yield case(
        "moved_fields", "info whose owner and dataset run into each other (CE-09)", encrypt=_without_lengths
    )
    secret = GATE.shared_secret(ENCAPSULATION)
    yield case(
        "other_domain",
        "another domain string in the info (CE-13)",
        encrypt=lambda info, key: _sealed(info.replace(b"v1/wrap", b"v1/rapw"), key),
    )
    yield case("no_info", "no info at all (CE-08)", encrypt=lambda info, key: _sealed(b"", key))
    yield case(
        "aad",
        "additional data that is not empty",
        encrypt=lambda info, key: ENCAPSULATION + hpke(secret, info, key, aad=b"x"),
    )
    yield case(
        "mode_psk",
        "HPKE's mode with a shared key",
        encrypt=lambda info, key: ENCAPSULATION + hpke(secret, info, key, mode=1),
    )
    yield case(
        "second_message",
        "the second message of a sender, not the first (CE-04)",
        encrypt=lambda info, key: ENCAPSULATION + hpke(secret, info, key, sequence=1),
    )
    yield case(
        "suite_id_x25519",
        "the KEM id of X25519 in the key schedule (CE-10, CE-14)",
        encrypt=lambda info, key: (
            ENCAPSULATION + hpke(secret, info, key, suite=bytes.fromhex("002000010002"))
        ),
    )


def _sealed(info: bytes, key: bytes) -> bytes:
    return ENCAPSULATION + hpke(GATE.shared_secret(ENCAPSULATION), info, key)


def _from_public(info: bytes, key: bytes) -> bytes:
    guess = hkdf(GATE.public, fixed("KMS root"), info)
    return ENCAPSULATION + hpke(guess, info, key)


def _from_sum(info: bytes, key: bytes) -> bytes:
    tweak = int.from_bytes(hkdf(info, b"", GATE.public), "big")
    total = (int.from_bytes(GATE.public[-32:], "big") + tweak) % 2**256
    return ENCAPSULATION + hpke(total.to_bytes(32, "big"), info, key)


def _without_lengths(info: bytes, key: bytes) -> bytes:
    fields, rest = [], info
    while rest:
        size = int.from_bytes(rest[:8], "big")
        fields.append(rest[8 : 8 + size])
        rest = rest[8 + size :]
    return _sealed(b"".join(fields), key)
