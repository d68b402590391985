# SPDX-License-Identifier: Apache-2.0
"""Sealed datasets: what opens, what the owner registered, and parts that are not theirs."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sealroom.errors import HeaderError, PartError, SealError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed import Index, inspect, open_wrap, seal
from sealroom.sealed.archive import part_name
from sealroom.sealed.parts import DOES_NOT_OPEN
from tests.formats.sealing import PART, ROWS, TABLE, Sealed, members, other, write
from tests.formats.worked import CONTEXT, DATA_KEY, GATE_ROOT, NAME, OWNER, flip


def test_a_sealed_file_opens_bit_for_bit(sealed: Sealed) -> None:
    with sealed.open() as opened:
        assert opened.read() == sealed.source.read_bytes()
    assert sealed.summary.rows == ROWS and sealed.summary.parts > 4


def test_pyarrow_reads_an_opened_dataset_as_it_is(sealed: Sealed) -> None:
    with sealed.open() as opened:
        assert pq.ParquetFile(opened).read().equals(TABLE)


def test_an_opened_dataset_holds_few_parts_in_memory(sealed: Sealed) -> None:
    with sealed.open(verify_all=False, cached_parts=2) as opened:
        opened.read()
        assert len(opened._cache) == 2


def test_an_opened_dataset_seeks_like_a_file(sealed: Sealed) -> None:
    plain = sealed.source.read_bytes()
    with sealed.open() as opened, sealed.source.open("rb") as file:
        for offset, whence, count in [(0, 0, 10), (PART - 3, 0, 7), (-5, 2, 9), (10, 0, 3 * PART), (2, 1, 1)]:
            assert opened.seek(offset, whence) == file.seek(offset, whence)
            assert opened.read(count) == file.read(count)
        assert opened.seek(len(plain) + 5) and opened.read(1) == b""
        with pytest.raises(ValueError):
            opened.seek(-1)


def test_the_archive_is_an_ordinary_tar(sealed: Sealed) -> None:
    with tarfile.open(sealed.path) as archive:
        found = archive.getmembers()
    parts = [part_name(number) for number in range(sealed.summary.parts)]
    assert [member.name for member in found] == ["header.json", "wrap.json", *parts, "index.json"]
    assert {(member.mode, member.uid, member.mtime, member.isreg()) for member in found} == {
        (0o600, 0, 0, True)
    }


def test_anyone_can_inspect_without_a_key(sealed: Sealed) -> None:
    info = inspect(sealed.path)

    assert (info.header.owner, info.header.dataset, info.header.rows) == (OWNER, NAME, ROWS)
    assert info.dataset_id == sealed.summary.dataset_id and info.index_digest == sealed.summary.index_digest
    assert info.needed_wrap().compose_hash == CONTEXT.compose_hash


def test_the_gate_opens_the_wrap_it_was_made_for(sealed: Sealed) -> None:
    data_key = open_wrap(inspect(sealed.path).needed_wrap(), GATE_ROOT, context=CONTEXT)

    assert data_key.reveal() == DATA_KEY.reveal()


def test_a_key_never_shows(sealed: Sealed) -> None:
    key = DATA_KEY.reveal()
    assert key.hex() not in repr(sealed.summary) and key not in sealed.path.read_bytes()


def test_two_seals_of_one_file_with_one_key_share_nothing(sealed: Sealed, tmp_path: Path) -> None:
    """CE-04."""
    again = other(sealed, tmp_path, dek=DATA_KEY)

    assert again.summary.dataset_id == sealed.summary.dataset_id
    assert again.summary.header_digest != sealed.summary.header_digest
    assert again.summary.key_commitment != sealed.summary.key_commitment
    assert not set(members(again.path).values()) & set(members(sealed.path).values())


def test_nothing_in_the_archive_is_a_digest_of_the_plaintext(sealed: Sealed) -> None:
    """CE-16."""
    import hashlib

    digest = hashlib.sha256(sealed.source.read_bytes())
    content = sealed.path.read_bytes()
    assert digest.digest() not in content and digest.hexdigest().encode() not in content


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
def test_files_of_any_size_seal_and_open(tmp_path: Path, size: int) -> None:
    source = tmp_path / "file"
    source.write_bytes(os.urandom(size))
    path = tmp_path / "file.tar"
    summary = seal(
        source,
        path,
        recipient=CONTEXT,
        owner=OWNER,
        name="file",
        media_type="application/octet-stream",
        part_size=PART,
    )
    with Sealed(source, path, summary).open() as opened:
        assert opened.read() == source.read_bytes()
    assert summary.parts == max(1, -(-size // PART)) and summary.rows == 0


# Opening: what the owner registered, and nothing else.


@pytest.mark.parametrize(
    "change, kind, code",
    [
        ({"header_digest": b"\x01" * 32}, HeaderError, "dataset-mismatch"),
        ({"index_digest": b"\x01" * 32}, SealIndexError, "index-mismatch"),
        ({"key_commitment": b"\x01" * 32}, SealIndexError, "index-mismatch"),
        ({"dek": Secret(b"\x01" * 32)}, SealIndexError, "wrong-key"),
        ({"dek": Secret(DATA_KEY.reveal()[:31])}, SealIndexError, "wrong-key"),
    ],
)
def test_a_dataset_opens_only_as_registered(
    sealed: Sealed, change: dict[str, object], kind: type[SealError], code: str
) -> None:
    """CE-15."""
    sealed.open().close()
    with pytest.raises(kind) as caught:
        sealed.open(**change)
    assert caught.value.code == code


def test_a_file_for_two_keys_is_refused_before_any_part(sealed: Sealed, tmp_path: Path) -> None:
    """CE-03: an index that commits to another key than the one the parts are sealed with."""
    contents = members(sealed.path)
    index = replace(Index.parse(contents["index.json"]), key_commitment=b"\x02" * 32)
    path = write(tmp_path / "two-keys.tar", {**contents, "index.json": index.encode()})

    with pytest.raises(SealIndexError) as caught:
        sealed.open(path, index_digest=index.digest, key_commitment=index.key_commitment)
    assert caught.value.code == "wrong-key"


def _relisted(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The archive with an index that lists its parts as they are now: what a malicious owner could write."""
    from sealroom.sealed import PartEntry
    from sealroom.sealed.parts import part_digest

    parts = tuple(
        PartEntry(part_digest(memoryview(content)), len(content))
        for name, content in contents.items()
        if name.startswith("parts/")
    )
    index = replace(Index.parse(contents["index.json"]), parts=parts)
    return {**contents, "index.json": index.encode()}


def _swap(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {**contents, "parts/00000": contents["parts/00001"], "parts/00001": contents["parts/00000"]}


def _double(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {**contents, "parts/00001": contents["parts/00000"]}


def _flipped(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {**contents, "parts/00002": flip(contents["parts/00002"], 5000)}


CHANGES: list[Callable[[dict[str, bytes]], dict[str, bytes]]] = [_swap, _double, _flipped]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_part_is_not_the_one_that_the_index_lists(
    sealed: Sealed, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    """CE-06."""
    contents = members(sealed.path)
    sealed.open(write(tmp_path / "same.tar", contents)).close()
    with pytest.raises(PartError) as caught:
        sealed.open(write(tmp_path / "changed.tar", change(contents)))
    assert caught.value.code == "part-altered"


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_part_does_not_open_even_when_the_index_lists_it(
    sealed: Sealed, tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]
) -> None:
    """CE-06: the part's own key and context refuse it."""
    contents = members(sealed.path)
    same = write(tmp_path / "same.tar", _relisted(contents))
    sealed.open(same, index_digest=inspect(same).index_digest).close()
    path = write(tmp_path / "changed.tar", _relisted(change(contents)))
    with pytest.raises(PartError) as caught:
        sealed.open(path, index_digest=inspect(path).index_digest)
    assert caught.value.code == "part-does-not-open"


def test_a_part_of_another_dataset_does_not_open(sealed: Sealed, tmp_path: Path) -> None:
    """CE-08."""
    contents = members(sealed.path)
    theirs = members(other(sealed, tmp_path, dek=DATA_KEY).path)["parts/00000"]
    path = write(tmp_path / "changed.tar", _relisted({**contents, "parts/00000": theirs}))
    with pytest.raises(PartError) as caught:
        sealed.open(path, index_digest=inspect(path).index_digest)
    assert caught.value.code == "part-does-not-open"


def test_no_byte_of_a_part_is_visible_before_its_last(sealed: Sealed, tmp_path: Path) -> None:
    """CE-07: the last byte of the first part is changed; not even the first byte comes out."""
    contents = members(sealed.path)
    changed = {**contents, "parts/00000": flip(contents["parts/00000"], -1)}
    path = write(tmp_path / "changed.tar", _relisted(changed))
    with sealed.open(path, verify_all=False, index_digest=inspect(path).index_digest) as opened:
        with pytest.raises(PartError):
            opened.read(1)
        opened.seek(PART)
        assert opened.read(1) == sealed.source.read_bytes()[PART : PART + 1]


def test_one_text_for_all_that_does_not_open(sealed: Sealed, tmp_path: Path) -> None:
    """CE-19."""
    contents = members(sealed.path)
    path = write(tmp_path / "changed.tar", _relisted(_swap(contents)))
    texts = set()
    for act in (
        lambda: sealed.open(dek=Secret(b"\x01" * 32)),
        lambda: sealed.open(path, index_digest=inspect(path).index_digest),
        lambda: open_wrap(
            inspect(sealed.path).needed_wrap(), GATE_ROOT, context=replace(CONTEXT, app="0x" + "aa" * 20)
        ),
    ):
        with pytest.raises(SealError) as caught:
            act()
        texts.add(str(caught.value))
    assert texts == {DOES_NOT_OPEN}
