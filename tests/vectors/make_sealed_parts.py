# SPDX-License-Identifier: Apache-2.0
"""What `index.json` must not be, what was not registered, and parts that must stay shut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors.make_sealed_archive import CURVE_ORDER, LARGE, PART, Json, Part, fixed, sha256, sign_index
from tests.vectors.make_sealed_case import OPAQUE, Case, at, flip, order, put, text, without
from tests.vectors.make_sealed_crypto import cobblestone, hkdf, lp


def indexes() -> Iterator[Case]:
    def case(name: str, comment: str, change: Callable[[Any], Any]) -> Case:
        return Case("index_" + name, "index index-malformed", comment, {"index": change})

    def raw(name: str, comment: str, change: Callable[[bytes], bytes]) -> Case:
        return Case("index_" + name, "index index-malformed", comment, {"index_text": change})

    def mismatch(name: str, comment: str, change: Callable[[Any], Any], **steps: Any) -> Case:
        return Case("index_" + name, "index index-mismatch", comment, {"index": change, **steps})

    def entry(**values: Any) -> Callable[[Json], Json]:
        return lambda index: index | {"parts": at(0, put(**values))(index["parts"])}

    def signed(name: str, comment: str, change: Callable[[bytes], bytes]) -> Case:
        steps = {"sign": lambda message: change(sign_index(message))}
        return Case("index_" + name, "index index-signature", comment, steps, at="signer")

    yield Case(
        "index_version", "index unsupported-version", "a later version (CE-10)", {"index": put(version=3)}
    )
    yield Case(
        "index_version_1",
        "index unsupported-version",
        "an index of the format's version 1 (CE-10)",
        {"index": _version_1},
    )
    yield raw("space", "a space: another encoding of the same (CE-18)", text(b'{"header"', b'{ "header"'))
    yield raw(
        "surrogate_name",
        "half of a surrogate pair as a name (CE-18)",
        text(b'{"header"', b'{"\\ud800":0,"header"'),
    )
    yield raw(
        "member_twice",
        "one name twice (AR-06)",
        text(b'"signature":null', b'"signature":null,"signature":null'),
    )
    yield case("member_more", "a member that is not in the format", put(created=0))
    yield case("without_commitment", "no key commitment (CE-03)", without("keyCommitment"))
    yield case("commitment_short", "31 bytes of commitment (CE-03)", put(keyCommitment="0x" + "00" * 31))
    yield case("digest_short", "31 bytes of digest", entry(digest="0x" + "00" * 31))
    yield case("size_zero", "a part of no bytes", entry(size=0))
    yield case("size_large", "a part larger than any (AR-04)", entry(size=(8 << 20) + 56 + 16 * 513 + 1))
    yield case("entry_more", "a member that is not in the format", entry(offset=0))
    yield case("parts_object", "parts as an object", put(parts={}))
    yield case("signature_empty", "a signature of no bytes", put(signature="0x"))
    yield case("signature_short", "a signature in EIP-2098's short form", put(signature="0x" + "11" * 64))
    yield mismatch(
        "other_header",
        "the index of another file (CE-15)",
        put(header="0x" + fixed("other header").hex()),
    )
    yield mismatch("parts_none", "no parts listed (CE-06)", put(parts=[]))
    yield mismatch(
        "parts_fewer",
        "one of two parts listed (CE-06)",
        lambda index: index | {"parts": index["parts"][:1]},
        plain=LARGE,
    )
    yield mismatch(
        "parts_more",
        "a part listed that is not there (CE-06)",
        lambda index: index | {"parts": index["parts"] * 2},
    )
    yield mismatch("size_other", "another size than the part has", entry(size=300))
    yield signed(
        "signature_high_s", "the other half of the order: a second signature of the same (CE-18)", _high_s
    )
    yield signed(
        "signature_v", "v of 0 or 1 instead of 27 or 28", lambda value: value[:64] + bytes([value[64] - 27])
    )
    yield signed("signature_r_zero", "r is zero", lambda value: bytes(32) + value[32:])
    yield signed("signature_s_zero", "s is zero", lambda value: value[:32] + bytes(32) + value[64:])
    yield signed(
        "signature_no_point",
        "r is the coordinate of no point",
        lambda value: (5).to_bytes(32, "big") + value[32:],
    )


def _version_1(index: Json) -> Json:
    """The members that version 1 had."""
    old = {name: value for name, value in index.items() if name != "header"}
    return old | {"version": 1, "dataset": index["header"]}


def _high_s(signature: bytes) -> bytes:
    high = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + high.to_bytes(32, "big") + bytes([55 - signature[64]])


def registered() -> Iterator[Case]:
    def case(name: str, expect: str, comment: str, **steps: Any) -> Case:
        return Case(name, expect, comment, steps, at="opening")

    yield case(
        "header_not_registered",
        "header dataset-mismatch",
        "another file than the registered one (CE-15)",
        registered={"header-digest": fixed("other header")},
    )
    yield case(
        "index_not_registered",
        "index index-mismatch",
        "another index than the registered one (CE-15)",
        registered={"index-digest": fixed("other index")},
    )
    yield case(
        "commitment_not_registered",
        "index index-mismatch",
        "commits to another key than the registered one (CE-03, CE-12)",
        registered={"key-commitment": fixed("other key")},
    )
    yield case(
        "wrap_holds_another_key",
        "index wrong-key",
        "anyone can seal a key to the gate: it is not the committed one (CE-12)",
        wrapped_key=fixed("attacker's key"),
    )
    yield case(
        "commits_to_another_key",
        "index wrong-key",
        "an owner who commits to one key and seals with another (CE-03)",
        committed_key=fixed("second key"),
    )


def parts() -> Iterator[Case]:
    def altered(name: str, comment: str, change: Callable[[Any], Any], **steps: Any) -> Case:
        return Case(name, "part part-altered", comment, {"after_listing": change, **steps}, at="opening")

    def shut(name: str, comment: str, **steps: Any) -> Case:
        return Case(name, "part part-does-not-open", comment, steps, at="opening")

    def sealed(name: str, comment: str, part: Callable[[Part], bytes], **steps: Any) -> Case:
        return shut("part_" + name, comment, part=part, **steps)

    two = {"plain": LARGE, **OPAQUE}
    yield altered("part_flipped", "one bit of the last part (AR-11)", at(-1, flip(-1)), **two)
    yield altered("part_salt_flipped", "one bit of a part's salt (AR-11)", at(0, flip(0)))
    yield Case(
        "part_listed_by_sha_256",
        "part part-altered",
        "the index lists another hash of the part: a suite has one (CE-10)",
        {"part_digest": sha256},
        at="opening",
    )
    pair = {"plain": LARGE[:PART] * 2, **OPAQUE}
    yield altered("parts_swapped", "two parts in each other's place (CE-06)", order(1, 0), **pair)
    yield altered("part_doubled", "the first part twice (CE-06)", order(0, 0), **pair)
    yield shut(
        "parts_swapped_and_listed", "and the index lists them so (CE-06)", before_listing=order(1, 0), **pair
    )
    yield shut(
        "part_doubled_and_listed", "and the index lists it twice (CE-06)", before_listing=order(0, 0), **pair
    )
    yield shut(
        "part_flipped_and_listed", "the last byte of the last chunk (CE-07)", before_listing=at(0, flip(-1))
    )
    yield shut("part_salt_and_listed", "one bit of the salt (CE-18)", before_listing=at(0, flip(0)))
    yield shut(
        "part_commitment_and_listed",
        "all chunks authenticate, the key commitment differs (CE-03)",
        before_listing=at(0, flip(24)),
    )
    yield shut(
        "part_first_byte_and_listed",
        "the first byte of a part of two chunks (CE-07)",
        before_listing=at(0, flip(56)),
        **two,
    )
    yield shut(
        "part_second_chunk_and_listed",
        "the second chunk's tag, after a first that authenticates (CE-07)",
        before_listing=at(0, flip(-1)),
        **two,
    )
    yield shut(
        "part_chunks_swapped",
        "two chunks in each other's place (CE-06)",
        before_listing=at(0, _chunks_swapped),
        plain=LARGE[:PART] * 2,
        part_size=2 * PART,
        **OPAQUE,
    )
    yield shut(
        "part_chunk_doubled",
        "the first chunk twice (CE-06)",
        before_listing=at(0, _chunk_doubled),
        plain=LARGE[:PART] * 2,
        part_size=2 * PART,
        **OPAQUE,
    )
    yield sealed(
        "of_another_file",
        "sealed under a header with another salt, and the same data key (CE-04, CE-08)",
        lambda part: part._replace(header=fixed("other header")).seal(),
    )
    yield sealed(
        "of_another_number",
        "sealed as the next part (CE-06)",
        lambda part: part._replace(number=part.number + 1).seal(),
    )
    yield sealed(
        "of_another_count",
        "sealed as one of more parts (CE-06)",
        lambda part: part._replace(total=part.total + 1).seal(),
    )
    yield sealed(
        "of_another_key",
        "sealed with another data key (CE-03)",
        lambda part: part._replace(data_key=fixed("second key")).seal(),
    )
    yield sealed(
        "under_the_data_key",
        "the data key itself as the part's key (CE-13)",
        lambda part: cobblestone(part.data_key, part.context(), part.plain, salt=part.salt),
    )
    yield sealed(
        "under_the_commitment",
        "the key commitment as the part's key (CE-13)",
        lambda part: cobblestone(
            hkdf(part.data_key, part.header, lp("sealroom/v2/key-commitment")),
            part.context(),
            part.plain,
            salt=part.salt,
        ),
    )
    yield sealed(
        "without_context",
        "an empty context (CE-08)",
        lambda part: cobblestone(part.key(), b"", part.plain, salt=part.salt),
    )
    yield sealed(
        "other_aead",
        "another cipher's name in the key derivation (CE-10)",
        lambda part: cobblestone(
            part.key(), part.context(), part.plain, salt=part.salt, aead=b"AEAD_AES_128_GCM"
        ),
    )
    yield sealed(
        "not_encrypted",
        "the plaintext, filled up to the length of a part (CE-21)",
        lambda part: part.plain.ljust(len(part.seal()), b"\0"),
    )


def _chunks_swapped(part: bytes) -> bytes:
    size = PART + 16
    return part[:56] + part[56 + size : 56 + 2 * size] + part[56 : 56 + size] + part[56 + 2 * size :]


def _chunk_doubled(part: bytes) -> bytes:
    size = PART + 16
    return part[:56] + part[56 : 56 + size] * 2 + part[56 + 2 * size :]
