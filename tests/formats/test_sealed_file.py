# SPDX-License-Identifier: Apache-2.0
"""Reading a sealed dataset as a file: any bytes, from any place, by any thread, and never a wrong one."""

from __future__ import annotations

import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sealroom
from sealroom.errors import KeyMaterialError, PartError, SealError
from sealroom.keys import Secret
from sealroom.sealed import SealSummary, seal, unseal
from tests.formats.sealing import PART, Sealed
from tests.formats.worked import CONTEXT, DATA_KEY, OWNER, flip

SIZE = 12 * PART + 777


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """A file of 13 parts that is no table."""
    folder = tmp_path_factory.mktemp("file")
    source, path = folder / "file", folder / "file.tar"
    source.write_bytes(random.Random(1).randbytes(SIZE))
    return Sealed(source, path, _seal(source, path))


def _seal(source: Path, path: Path) -> SealSummary:
    return seal(
        source, path, recipient=CONTEXT, owner=OWNER, name="file", dek=DATA_KEY, part_size=PART,
        media_type="application/octet-stream",
    )  # fmt: skip


def _part_offset(path: Path, number: int) -> int:
    """Where the content of a part lies in the archive."""
    return path.read_bytes().index(f"parts/{number:05d}".encode().ljust(100, b"\0")) + 512


def test_open_sealed_is_the_package_s_own(file: Sealed) -> None:
    from sealroom.sealed import open_sealed

    assert sealroom.open_sealed is open_sealed


READS = st.lists(
    st.tuples(st.integers(0, SIZE + 100), st.integers(0, 5 * PART), st.booleans()), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(reads=READS, cached=st.integers(1, 5))
def test_any_reads_give_the_plain_bytes(
    file: Sealed, reads: list[tuple[int, int, bool]], cached: int
) -> None:
    plain = file.source.read_bytes()
    with file.open(verify_all=False, cached_parts=cached) as opened:
        for offset, count, going_on in reads:
            if going_on:
                offset = opened.tell()
            else:
                opened.seek(offset)
            assert opened.read(count) == plain[offset : offset + count]
            assert opened.tell() == max(offset, min(offset + count, len(plain)))
            assert len(opened._cache) <= cached


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_with_a_flipped_byte_nothing_wrong_is_ever_read(file: Sealed, data: st.DataObject) -> None:
    """CE-07: reads give the plain bytes or an error, whichever part is broken and however it is read."""
    plain = file.source.read_bytes()
    broken = data.draw(st.integers(0, 12))
    content = bytearray(file.path.read_bytes())
    content[_part_offset(file.path, broken) + data.draw(st.integers(0, 777))] ^= 1
    path = file.path.with_name("flipped.tar")
    path.write_bytes(content)
    with file.open(path, verify_all=False, cached_parts=3) as opened:
        for offset, count, _ in data.draw(READS):
            end = min(offset + count, len(plain))
            parts = range(offset // PART, (end - 1) // PART + 1) if offset < end else ()
            opened.seek(offset)
            if broken in parts:
                with pytest.raises(PartError) as caught:
                    opened.read(count)
                assert caught.value.code == "part-altered" and opened.tell() == offset
            else:
                assert opened.read(count) == plain[offset : offset + count]


def test_threads_share_a_file(file: Sealed) -> None:
    plain = file.source.read_bytes()
    with file.open(verify_all=False, cached_parts=3) as opened:

        def read(seed: int) -> bool:
            draw = random.Random(seed)
            for _ in range(60):
                offset, target = draw.randrange(SIZE), bytearray(draw.randrange(3 * PART))
                count = opened.read_at(offset, target)
                if target[:count] != plain[offset : offset + len(target)]:
                    return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(8)))


def test_threads_that_meet_a_broken_part_all_hear_of_it(file: Sealed, tmp_path: Path) -> None:
    path = tmp_path / "flipped.tar"
    path.write_bytes(flip(file.path.read_bytes(), _part_offset(file.path, 4) + 100))
    with file.open(path, verify_all=False, cached_parts=2) as opened:

        def read(_: int) -> str:
            try:
                opened.read_at(3 * PART, bytearray(3 * PART))
            except PartError as error:
                return error.code
            return "read"

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(read, range(40))) == {"part-altered"}


def test_a_part_is_opened_once_while_there_is_room_for_it(file: Sealed) -> None:
    with file.open(verify_all=False, cached_parts=13) as opened:
        for _ in range(3):
            opened.seek(0)
            assert len(opened.read()) == SIZE
        assert opened.parts_opened == 13


def test_reading_here_and_there_opens_no_part_ahead(file: Sealed) -> None:
    with file.open(verify_all=False) as opened:
        for number in (9, 2, 6):
            opened.seek(number * PART + 5)
            opened.read(10)
        assert opened.parts_opened == 3


def test_a_closed_file_is_wiped_and_refuses_to_be_read(file: Sealed) -> None:
    opened = file.open(verify_all=False)
    opened.read(3 * PART)
    rooms = [slot.room for slot in opened._cache._slots.values()]
    assert any(any(room) for room in rooms)
    threads = threading.active_count()

    opened.close()

    assert not any(any(room) for room in rooms) and threading.active_count() <= threads
    for act in (lambda: opened.read(1), lambda: opened.seek(0), lambda: opened.read_at(0, bytearray(1))):
        with pytest.raises(ValueError):
            act()


def test_a_wiped_key_opens_no_further_part(file: Sealed) -> None:
    key = Secret(DATA_KEY.reveal())
    with file.open(verify_all=False, dek=key) as opened:
        assert opened.read(10) == file.source.read_bytes()[:10]
        key.wipe()
        opened.seek(5 * PART)
        with pytest.raises(KeyMaterialError) as caught:
            opened.read(2 * PART)
        assert caught.value.code == "key-wiped"


def test_an_opened_file_cannot_be_pickled(file: Sealed) -> None:
    with file.open() as opened, pytest.raises(TypeError):
        pickle.dumps(opened)


# Unsealing.


def test_the_owner_gets_the_file_back_bit_for_bit(file: Sealed, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = tmp_path / "file"
    unseal(file.path, target, dek=DATA_KEY, progress=lambda done, total: seen.append((done, total)))

    assert target.read_bytes() == file.source.read_bytes() and target.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (SIZE, SIZE) and seen == sorted(seen)


@pytest.mark.parametrize("size", [0, 1, PART])
def test_a_small_file_comes_back_too(tmp_path: Path, size: int) -> None:
    source, path, target = (tmp_path / name for name in ("file", "file.tar", "again"))
    source.write_bytes(os.urandom(size))
    _seal(source, path)
    unseal(path, target, dek=DATA_KEY)
    assert target.read_bytes() == source.read_bytes()


def test_unsealing_refuses_before_it_writes(file: Sealed, tmp_path: Path) -> None:
    broken, there = tmp_path / "broken.tar", tmp_path / "there"
    broken.write_bytes(flip(file.path.read_bytes(), _part_offset(file.path, 12) + 9))
    there.write_bytes(b"mine")
    before = sorted(os.listdir(tmp_path))
    for path, target, dek, code in [
        (file.path, tmp_path / "out", Secret(b"\x01" * 32), "wrong-key"),
        (file.path, there, DATA_KEY, "output-exists"),
        (broken, tmp_path / "out", DATA_KEY, "part-altered"),
        (broken, broken, DATA_KEY, "same-file"),
    ]:
        with pytest.raises(SealError) as caught:
            unseal(path, target, dek=dek)
        assert caught.value.code == code
    assert sorted(os.listdir(tmp_path)) == before and there.read_bytes() == b"mine"
