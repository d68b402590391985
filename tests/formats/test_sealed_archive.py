# SPDX-License-Identifier: Apache-2.0
"""The archive around a sealed dataset: one encoding, and decoders that raise only our errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.encoding import canonical, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError, HeaderError, SealError, WrapError
from sealroom.sealed import Header, Index, PartEntry, Wrap, inspect, open_wrap
from sealroom.sealed.archive import BLOCK, write_end, write_member
from sealroom.sealed.header import MAX_PARTS
from sealroom.sealed.index import MAX_INDEX_BYTES
from tests.formats.sealing import Sealed, members, write
from tests.formats.worked import CONTEXT, GATE_ROOT, flip


@pytest.mark.parametrize("name", ["header.json", "wrap.json", "parts/00001", "index.json"])
def test_an_archive_cut_anywhere_is_refused(sealed: Sealed, tmp_path: Path, name: str) -> None:
    """CE-05, AR-04."""
    data = sealed.path.read_bytes()
    offset = data.index(name.encode().ljust(100, b"\0"))
    path = tmp_path / "cut.tar"
    for length in (
        offset,
        offset + 100,
        offset + BLOCK,
        offset + BLOCK + 10,
        len(data) - 1,
        len(data) - BLOCK,
    ):
        path.write_bytes(data[:length])
        with pytest.raises(HeaderError) as caught:
            inspect(path)
        assert caught.value.code in ("archive-truncated", "archive-malformed")


def test_parts_cut_at_a_chunk_are_refused(sealed: Sealed, tmp_path: Path) -> None:
    """CE-05: at every boundary of Cobblestone's chunks."""
    contents = members(sealed.path)
    whole = contents["parts/00000"]
    for cut in (56, 56 + 16_400, len(whole) - 16):
        path = write(tmp_path / "cut.tar", {**contents, "parts/00000": whole[:cut]})
        with pytest.raises(SealError):
            inspect(path)


def _with_block(path: Path, target: Path, name: str, change: Callable[[bytearray], None]) -> Path:
    """The archive with one tar header changed, its checksum made right again."""
    data = bytearray(path.read_bytes())
    offset = data.index(name.encode().ljust(100, b"\0"))
    block = bytearray(data[offset : offset + BLOCK])
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    data[offset : offset + BLOCK] = block
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("kind", [kind for kind in range(256) if kind != ord("0")])
def test_every_other_member_type_is_refused(sealed: Sealed, tmp_path: Path, kind: int) -> None:
    """AR-02: links, devices, sparse files, long names, extensions."""

    def change(block: bytearray) -> None:
        block[156] = kind

    with pytest.raises(HeaderError) as caught:
        inspect(_with_block(sealed.path, tmp_path / "kind.tar", "wrap.json", change))
    assert caught.value.code == "archive-malformed"


@pytest.mark.parametrize(
    "name",
    ["../wrap.json", "/wrap.json", "./wrap.json", "WRAP.JSON", "wrap.json/", "C:\\wrap.json", "header.json"],
)
def test_every_other_member_name_is_refused(sealed: Sealed, tmp_path: Path, name: str) -> None:
    """AR-01, AR-06."""
    contents = list(members(sealed.path).items())
    path = tmp_path / "name.tar"
    with path.open("wb") as stream:
        for place, (own, content) in enumerate(contents):
            write_member(stream, name if place == 1 else own, content)
        write_end(stream)
    with pytest.raises(HeaderError) as caught:
        inspect(path)
    assert caught.value.code == "archive-malformed"
    assert sorted(os.listdir(tmp_path)) == ["name.tar"]


SIZES = {
    "10 GiB": b"%011o\0" % (10 << 30),
    "negative": b"-0000000010\0",
    "base 256": b"\x80" + (1 << 70).to_bytes(11, "big"),
    "with a space": b"0000000100 \0",
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_member_that_lies_about_its_size_is_refused_at_once(
    sealed: Sealed, tmp_path: Path, size: bytes
) -> None:
    """AR-03, AR-04."""

    def change(block: bytearray) -> None:
        block[124:136] = size

    with pytest.raises(HeaderError):
        inspect(_with_block(sealed.path, tmp_path / "size.tar", "header.json", change))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\0",
        lambda data: data + bytes(BLOCK),
        lambda data: data[: -2 * BLOCK] + b"\1" + data[-2 * BLOCK + 1 :],
        lambda data: b"\0" * BLOCK + data,
    ],
    ids=["a byte more", "a block more", "no end", "zeros before"],
)
def test_an_archive_has_one_beginning_and_one_end(
    sealed: Sealed, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    """AR-02."""
    path = tmp_path / "changed.tar"
    path.write_bytes(change(sealed.path.read_bytes()))
    with pytest.raises(HeaderError):
        inspect(path)


def test_padding_is_zero(sealed: Sealed, tmp_path: Path) -> None:
    """In every member that has some."""
    whole, place, found = sealed.path.read_bytes(), 0, 0
    path = tmp_path / "padding.tar"
    for content in members(sealed.path).values():
        end = place + BLOCK + len(content)
        place = end + -len(content) % BLOCK
        for at in {end, place - 1} if place > end else ():
            found += 1
            path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
            with pytest.raises(HeaderError):
                inspect(path)
    assert found


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_raises_another_error_or_goes_unseen(sealed: Sealed, data: st.DataObject) -> None:
    """CE-18: over all members, their tar headers and their padding."""
    content = sealed.path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    path = sealed.path.with_name("flipped.tar")
    path.write_bytes(flip(content, position, data.draw(st.integers(0, 7))))
    # The wrap alone is not registered: a flip in it is for the gate to refuse.
    with suppress(SealError):
        with sealed.open(path) as opened:
            assert opened.read() == sealed.source.read_bytes()
        with pytest.raises(WrapError):
            open_wrap(inspect(path).needed_wrap(), GATE_ROOT, context=CONTEXT)


DECODERS = {"header.json": Header, "wrap.json": Wrap, "index.json": Index}


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_decoders_raise_only_our_error(sealed: Sealed, name: str, data: st.DataObject) -> None:
    """CE-18."""
    content = members(sealed.path)[name]
    assert DECODERS[name].parse(content).encode() == content
    changed = flip(content, data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7)))
    with suppress(SealError):
        assert DECODERS[name].parse(changed).encode() == changed


@pytest.mark.parametrize(
    "name, old, new, code",
    [
        ("header.json", b'"version":3', b'"version":2', "unsupported-version"),
        ("header.json", b"cobblestone-256+", b"cobblestone-128+", "unsupported-suite"),
        ("header.json", b'"partSize":16384', b'"partSize":16385', "header-malformed"),
        ("header.json", b'"rows":4000', b'"rows":null', "header-malformed"),
        ("header.json", b'"float64"', b'"float32"', "header-malformed"),
        ("header.json", b'["age"', b'["Sex"', "header-malformed"),
        ("header.json", b'"dataset":"cohort-A"', b'"dataset":"../cohort"', "header-malformed"),
        ("header.json", b"{", b'{"a":1,', "header-malformed"),
        ("header.json", b"{", b"{ ", "header-malformed"),
        ("wrap.json", b'"version":2', b'"version":1', "unsupported-version"),
        ("wrap.json", b"mlkem768-x25519+", b"x25519+", "unsupported-suite"),
        ("wrap.json", b'"chainId":31337', b'"chainId":0', "wrap-malformed"),
        ("wrap.json", b'"chainId":31337', b'"chainId":31337.0', "wrap-malformed"),
        ("index.json", b'"version":2', b'"version":1', "unsupported-version"),
        ("index.json", b'"signature":null', b'"signature":"0x"', "index-malformed"),
    ],
)
def test_another_version_suite_or_value_is_refused(
    sealed: Sealed, name: str, old: bytes, new: bytes, code: str
) -> None:
    """CE-10, CE-14."""
    content = members(sealed.path)[name]
    assert old in content and DECODERS[name].parse(content)
    with pytest.raises(SealError) as caught:
        DECODERS[name].parse(content.replace(old, new, 1))
    assert caught.value.code == code


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_quick_way_to_read_an_index_takes_what_the_strict_one_takes(
    sealed: Sealed, data: st.DataObject
) -> None:
    """CE-18: an index is canonical JSON, however it is read."""
    content = members(sealed.path)["index.json"]
    position = data.draw(st.integers(0, len(content)))
    change = data.draw(
        st.sampled_from([b"", b" ", b"0", b",", b"]", b'{"digest":"0x', b'"', b"-", b"e", b"\n"])
    )
    changed = content[:position] + change + content[position + data.draw(st.integers(0, 2)) :]
    strict = _strict(changed)
    try:
        index = Index.parse(changed)
    except SealError as error:
        assert error.code in ("index-malformed", "unsupported-version")
    else:
        assert index.encode() == changed and strict is not None
        assert [(to_hex(part.digest), part.size) for part in index.parts] == [
            (part["digest"], part["size"]) for part in strict["parts"]
        ]


def test_a_list_of_parts_within_a_part_is_not_the_index_s(sealed: Sealed) -> None:
    """CE-18: that one is read the quick way, and the list around it would be judged by nobody."""
    content = members(sealed.path)["index.json"]
    before, list_on = content.split(b'"parts":[')
    inner = list_on.rpartition(b"]")[0]
    within = b'{"parts":[' + inner + b"]}"
    in_part = before + b'"parts":[' + within + list_on[len(inner) :]
    in_header = content.replace(b'"header":', b'"header":' + within + b',"header2":')
    for changed in (in_part, in_part.replace(b'"parts":[{', b'"parts":[{"digest":"0x00",', 1), in_header):
        assert _strict(changed) is not None
        with pytest.raises(SealError) as caught:
            Index.parse(changed)
        assert caught.value.code == "index-malformed"


def _strict(data: bytes) -> dict[str, Any] | None:
    try:
        return parse_canonical(data, MAX_INDEX_BYTES)
    except FormatError:
        return None


def test_an_index_of_the_most_parts_is_written_as_canonical_json() -> None:
    parts = tuple(PartEntry(sha256(number.to_bytes(4, "big")), number + 1) for number in range(MAX_PARTS))
    index = Index(header=b"\x01" * 32, key_commitment=b"\x02" * 32, parts=parts, signature=b"\x03" * 65)
    value = {
        "version": 2,
        "header": to_hex(index.header),
        "keyCommitment": to_hex(index.key_commitment),
        "parts": [{"digest": to_hex(part.digest), "size": part.size} for part in parts],
        "signature": "0x" + "03" * 65,
    }
    assert index.encode() == canonical(value) and Index.parse(index.encode()) == index
    more = Index(header=index.header, key_commitment=index.key_commitment, parts=(*parts, parts[0]))
    with pytest.raises(SealError) as caught:
        Index.parse(more.encode())
    assert caught.value.code == "index-malformed"
