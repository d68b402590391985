# SPDX-License-Identifier: Apache-2.0
"""What `wrap.json` must not be, and wraps that must stay shut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors.make_sealed_archive import GATE, NAME, OWNER_ADDRESS, Json, dataset_id, fixed
from tests.vectors.make_sealed_case import Case, flip, put, text, without
from tests.vectors.make_sealed_crypto import ENCAPSULATION, hkdf, hpke

NONE = bytes(2560)
"""`wrap.json` of a file that is wrapped for nobody."""


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
        "wrap_version", "wrap unsupported-version", "a later version (CE-10)", {"says": put(version=3)}
    )
    yield Case(
        "wrap_version_1",
        "wrap unsupported-version",
        "a wrap of the format's version 1 (CE-10)",
        {"says": lambda wrap: without("header")(wrap) | {"version": 1, "owner": "hospital-A", "epoch": 3}},
    )
    for name, suite, comment in (
        ("suite_x25519", "x25519+hkdf-sha256+aes-256-gcm", "a KEM that is not post-quantum (CE-14)"),
        ("suite_kdf", "mlkem768-x25519+hkdf-sha512+aes-256-gcm", "another KDF (CE-10)"),
        ("suite_aead", "mlkem768-x25519+hkdf-sha256+export-only", "no cipher at all (CE-10)"),
    ):
        yield Case("wrap_" + name, "wrap unsupported-suite", comment, {"says": put(suite=suite)})
    yield raw("space", "a space: another encoding of the same (CE-18)", text(b'{"app"', b'{ "app"'))
    yield raw(
        "member_twice", "one name twice (AR-06)", text(b'"chainId":31337', b'"chainId":31337,"chainId":31337')
    )
    yield raw(
        "surrogate_name", "half of a surrogate pair as a name (CE-18)", text(b'{"app"', b'{"\\udfff":0,"app"')
    )
    yield case("member_more", "a member that is not in the format", put(psk="0x"))
    yield case("epoch", "a member of version 1: what changes on chain is not in a wrap", put(epoch=3))
    yield case("without_header", "a member is missing (CE-08)", without("header"))
    yield case("header_short", "31 bytes", put(header="0x" + "00" * 31))
    yield case("dataset_short", "31 bytes", put(dataset="0x" + "00" * 31))
    yield case("chain_zero", "no chain has the id 0", put(chainId=0))
    yield case("chain_text", "the chain id as text", put(chainId="31337"))
    yield case("chain_float", "a chain id with a fraction", put(chainId=31337.5))
    yield case("consortium_checksummed", "an address with upper case", put(consortium="0x" + "C1" * 20))
    yield case("consortium_short", "19 bytes", put(consortium="0x" + "c1" * 19))
    yield raw("empty", "no byte where zero bytes or a wrap must be", lambda _: b"")
    yield raw("zeros_less", "2,559 zero bytes: neither a wrap nor none", lambda _: bytes(2559))
    yield raw("zeros_more", "2,561 zero bytes: neither a wrap nor none", lambda _: bytes(2561))
    yield raw(
        "zeros_but_one",
        "a bit among the 2,560 bytes of a file that is not wrapped",
        lambda _: flip(2559)(NONE),
    )
    yield raw("filled", "a wrap with zero bytes up to 2,560", lambda wrap: wrap.ljust(2560, b"\0"))
    yield raw("null", "null where a wrap must be", lambda _: b"null")
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

    yield of_another(
        "owner",
        "the wrap of another account's dataset of the same name (CE-08)",
        dataset=dataset_id("0x" + "b2" * 20, NAME),
    )
    yield of_another(
        "dataset",
        "the wrap of another dataset of the same owner (CE-08)",
        dataset=dataset_id(OWNER_ADDRESS, "cohort-B"),
    )
    yield of_another(
        "file", "the wrap of another version of the dataset (CE-08)", header=fixed("other header")
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
        "dataset": ("dataset", fixed("other dataset")),
        "file": ("header", fixed("other header")),
    }
    for name, (field, value) in other.items():
        comment = f"sealed for another {name.replace('_', ' ')}, and says that it is for this one (CE-08)"
        yield case(f"made_for_other_{name}", comment, made_for={field: value})
    for name, field in {
        "chain": "chainId",
        "consortium": "consortium",
        "kms_root": "kmsRoot",
        "app": "app",
        "recipe": "composeHash",
        "gate": "gateRoot",
    }.items():
        value = fixed("other") if name == "gate" else other[name][1]
        shown = "0x" + value.hex() if isinstance(value, bytes) else value
        comment = f"sealed for this {name.replace('_', ' ')}, and says another (CE-08)"
        yield case(f"says_other_{name}", comment, says=put(**{field: shown}))
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
    yield case(
        "other_consortium",
        "an honest wrap, handed to the gate for another consortium (CE-08)",
        gate={"consortium": "0x" + "c2" * 20},
    )
    yield case(
        "other_chain", "an honest wrap, handed to the gate on another chain (CE-08)", gate={"chainId": 1}
    )
    yield Case(
        "not_wrapped",
        "wrap not-wrapped",
        "sealed before there is a recipient: whoever needs the wrap refuses the file",
        {"wrap_text": lambda _: NONE},
        at="unwrapping",
    )

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
    yield case("moved_fields", "info whose fields run into each other (CE-09)", encrypt=_without_lengths)
    secret = GATE.shared_secret(ENCAPSULATION)
    yield case(
        "other_domain",
        "another domain string in the info (CE-13)",
        encrypt=lambda info, key: _sealed(info.replace(b"v2/wrap", b"v2/rapw"), key),
    )
    yield case(
        "domain_of_version_1",
        "the domain string of version 1 in the info (CE-10, CE-13)",
        encrypt=lambda info, key: _sealed(info.replace(b"v2/wrap", b"v1/wrap"), key),
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
