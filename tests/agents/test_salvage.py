# SPDX-License-Identifier: Apache-2.0
"""Of a damaged sealed file, each part is tried on its own: what opens stands in its place."""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealroom import sealed
from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.sealed import SealedArchive
from sealroom_agents.owner.findings import opening
from sealroom_agents.owner.salvage import salvage
from sealroom_agents.owner.to_pipe import to_pipe

PART = 16 * 1024
PARTS = 10
SIZE = PART * (PARTS - 1) + 100


@dataclass
class Case:
    """A sealed file of ten parts, with its key and what was sealed."""

    path: Path
    key: Secret
    plain: bytes
    places: list[int]
    """Where the ciphertext of each part begins."""

    def damaged(self, change: Callable[[bytearray], None]) -> Path:
        content = bytearray(self.path.read_bytes())
        change(content)
        path = self.path.with_name("damaged.tar")
        path.write_bytes(content)
        return path


@pytest.fixture
def case(tmp_path: Path) -> Case:
    plain = secrets.token_bytes(SIZE)
    (tmp_path / "plain").write_bytes(plain)
    key = Secret.generate()
    sealed.seal(
        tmp_path / "plain", tmp_path / "sealed.tar", recipient=None, owner="0x" + "11" * 20, name="a",
        dek=key, media_type="application/octet-stream", part_size=PART,
    )  # fmt: skip
    with SealedArchive.open(tmp_path / "sealed.tar") as archive:
        places = [archive.place(number) for number in range(PARTS)]
    return Case(tmp_path / "sealed.tar", key, plain, places)


def test_a_whole_file_comes_back_whole(case: Case, tmp_path: Path) -> None:
    found = salvage(case.path, dek=case.key, target=tmp_path / "out")
    assert (found.broken, found.frame, found.lost) == ((), None, 0)
    assert (tmp_path / "out").read_bytes() == case.plain


def test_broken_parts_are_named_and_zeros_stand_for_them(case: Case, tmp_path: Path) -> None:
    def change(content: bytearray) -> None:
        for number in (2, 3, 7):
            content[case.places[number] + 500] ^= 1

    found = salvage(case.damaged(change), dek=case.key, target=tmp_path / "out")
    assert [(each.first, each.last, each.begin, each.end) for each in found.broken] == [
        (2, 3, 2 * PART, 4 * PART),
        (7, 7, 7 * PART, 8 * PART),
    ]
    assert {each.code for each in found.broken} == {Code.PART_DOES_NOT_OPEN} and found.lost == 3
    expected = bytearray(case.plain)
    for each in found.broken:
        expected[each.begin : each.end] = bytes(each.end - each.begin)
    assert (tmp_path / "out").read_bytes() == expected


def test_what_a_truncated_file_still_holds_is_had(case: Case, tmp_path: Path) -> None:
    """Index and end are gone; the header is enough."""

    def change(content: bytearray) -> None:
        del content[case.places[6] + 40 :]

    path = case.damaged(change)
    found = salvage(path, dek=case.key, target=tmp_path / "out")
    assert found.frame is not None and found.frame.code == Code.ARCHIVE_TRUNCATED
    assert [(each.first, each.last, each.code) for each in found.broken] == [(6, 9, Code.ARCHIVE_TRUNCATED)]
    written = (tmp_path / "out").read_bytes()
    assert len(written) == SIZE and written[: 6 * PART] == case.plain[: 6 * PART]
    assert not any(written[6 * PART :])
    finding = opening(path, case.key)
    assert finding.code == Code.PARTS_BROKEN and "6 to 9" in finding.detail
    assert finding.json()["broken"] == [each.json() for each in found.broken]


def test_a_torn_wrap_costs_no_part(case: Case, tmp_path: Path) -> None:
    def change(content: bytearray) -> None:
        at = content.index(b"wrap.json")
        content[at : at + 1000] = secrets.token_bytes(1000)

    found = salvage(case.damaged(change), dek=case.key, target=tmp_path / "out")
    assert found.frame is not None and found.broken == ()
    assert (tmp_path / "out").read_bytes() == case.plain


def test_parts_that_changed_places_do_not_open(case: Case) -> None:
    """CE-05: a part opens in its own place alone."""

    def change(content: bytearray) -> None:
        one, other = (slice(case.places[number], case.places[number] + 1000) for number in (1, 2))
        content[one], content[other] = content[other], content[one]

    found = salvage(case.damaged(change), dek=case.key)
    assert [(each.first, each.last) for each in found.broken] == [(1, 2)]


def test_another_key_and_another_header_open_nothing(case: Case, tmp_path: Path) -> None:
    def rename(content: bytearray) -> None:
        content[:2000] = content[:2000].replace(b'"dataset":"a"', b'"dataset":"b"')

    for path, key in ((case.path, Secret.generate()), (case.damaged(rename), case.key)):
        with pytest.raises(SealError) as error:
            salvage(path, dek=key, target=tmp_path / "out")
        assert error.value.code == Code.WRONG_KEY
        assert not (tmp_path / "out").exists()


def test_a_flipped_bit_of_the_index_does_not_make_a_good_key_a_wrong_one(case: Case, tmp_path: Path) -> None:
    """Every part opens; only what the index says of the key is another."""

    def change(content: bytearray) -> None:
        at = content.index(b'"keyCommitment":"0x') + 19
        content[at] = ord("0") if content[at] != ord("0") else ord("1")

    path = case.damaged(change)
    found = salvage(path, dek=case.key, target=tmp_path / "out")
    assert found.frame is not None and found.frame.code == Code.INDEX_MISMATCH and found.broken == ()
    assert (tmp_path / "out").read_bytes() == case.plain
    finding = opening(path, case.key)
    assert (finding.ok, finding.code) == (False, Code.INDEX_MISMATCH) and "opens 10 of 10" in finding.detail
    with pytest.raises(SealError) as error:
        salvage(path, dek=Secret.generate())
    assert error.value.code == Code.WRONG_KEY


@dataclass
class BadDisk:
    """A disk, as the kernel shows it, of whose places some cannot be read."""

    bad: Sequence[int]

    def holds(self, offset: int, count: int) -> None:
        if any(offset <= place < offset + count for place in self.bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pread, preadv = os.pread, os.preadv

        def one(descriptor: int, count: int, offset: int) -> bytes:
            self.holds(offset, count)
            return pread(descriptor, count, offset)

        def some(descriptor: int, rooms: Sequence[memoryview], offset: int) -> int:
            self.holds(offset, sum(room.nbytes for room in rooms))
            return preadv(descriptor, rooms, offset)

        monkeypatch.setattr(os, "pread", one)
        monkeypatch.setattr(os, "preadv", some)


def test_what_a_dying_disk_still_gives_is_had(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of part 2, the middle of part 5 and the index are bad sectors."""
    index = case.path.read_bytes().index(b"index.json")
    BadDisk([case.places[2] - 100, case.places[5] + 500, index]).put_in(monkeypatch)
    found = salvage(case.path, dek=case.key, target=tmp_path / "out")
    assert found.frame is not None and found.frame.code == Code.SOURCE_UNREADABLE
    assert [(each.first, each.last, each.code) for each in found.broken] == [(5, 5, Code.SOURCE_UNREADABLE)]
    assert found.broken[0].sentence().endswith("cannot be read")
    expected = bytearray(case.plain)
    expected[5 * PART : 6 * PART] = bytes(PART)
    assert (tmp_path / "out").read_bytes() == expected


def test_of_a_key_that_could_not_be_tried_nothing_is_said(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads `wrong-key` may throw the key away."""

    def change(content: bytearray) -> None:
        del content[case.places[0] + 40 :]

    with pytest.raises(SealError) as error:
        salvage(case.damaged(change), dek=case.key)
    assert error.value.code == Code.ARCHIVE_TRUNCATED
    BadDisk(case.places).put_in(monkeypatch)
    with pytest.raises(SealError) as error:
        salvage(case.path, dek=case.key)
    assert error.value.code == Code.SOURCE_UNREADABLE
    BadDisk([700]).put_in(monkeypatch)
    with pytest.raises(SealError) as error:
        salvage(case.path, dek=case.key)
    assert error.value.code == Code.SOURCE_UNREADABLE


def test_a_pipe_gets_all_or_nothing_of_a_file_that_was_damaged_on_its_way(case: Case) -> None:
    whole, none = io.BytesIO(), io.BytesIO()
    to_pipe(case.path, whole, dek=case.key)
    assert whole.getvalue() == case.plain

    def change(content: bytearray) -> None:
        content[case.places[9] + 60] ^= 1

    with pytest.raises(SealError) as error:
        to_pipe(case.damaged(change), none, dek=case.key)
    assert error.value.code == Code.PART_ALTERED
    assert none.getvalue() == b""
