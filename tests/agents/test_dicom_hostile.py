# SPDX-License-Identifier: Apache-2.0
"""Files of DICOM that hide sequences, that were cut off, and that have more than any image has."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from tests.agents.test_dicom import PLAIN, SECRET, image, refused, table

from sealroom_agents.owner.adapters import dicom_files

ITEM, ITEM_END, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = b"\xff\xff\xff\xff"
REQUEST, FIRST, UNKNOWN = 0x00400275, 0x00400254, 0x0040F0F0
"""A sequence of the standard, a text of it, and a tag that nobody has heard of."""


def attribute(tag: int, vr: bytes, value: bytes, *, undefined: bool = False) -> bytes:
    length = UNDEFINED if undefined else struct.pack("<I", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr + b"\0\0" + length + value


def within(**values: str) -> bytes:
    """What lies in an item, without kinds of values, as in all that is of an unknown kind (PS3.5, 6.2.2)."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True
    write_dataset(out, made)
    return out.getvalue()


def item(content: bytes) -> bytes:
    return ITEM + struct.pack("<I", len(content)) + content


def file(folder: Path, more: bytes = b"", *, cut: int = 0) -> Path:
    """A folder of one image without a picture, with more behind its last attribute, or cut off."""
    made, out = image(), io.BytesIO()
    for tag in [each.tag for each in made if each.tag >> 16 >= 0x0028]:
        del made[tag]
    made.save_as(out, enforce_file_format=True)
    folder.mkdir(exist_ok=True)
    data = out.getvalue() + more
    (folder / "1.dcm").write_bytes(data[: len(data) - cut])
    return folder


@pytest.mark.parametrize("tag", [REQUEST, FIRST, UNKNOWN], ids=["sequence", "text", "unknown"])
@pytest.mark.parametrize("how", ["length", "end", "ends"])
def test_a_sequence_of_an_unknown_kind_is_counted(tag: int, how: str, tmp_path: Path) -> None:
    """Whoever does not know a tag writes its sequence as bytes (UN): names in it are names."""
    named = within(PatientName=SECRET, OtherPatientIDs="X")
    value = {
        "length": item(named),
        "end": item(named) + END + bytes(4),
        "ends": ITEM + UNDEFINED + named + ITEM_END + bytes(4) + END + bytes(4),
    }[how]
    _, plain = table(file(tmp_path / "a"), PLAIN)
    assert plain["  (0010,0010) Patient's Name"] == "in 1 file"
    found, told = table(file(tmp_path / "b", attribute(tag, b"UN", value, undefined=how != "length")), PLAIN)
    assert told["  (0010,0010) Patient's Name"] == "in 1 file, 2 times"
    assert told["  (0010,1000) Other Patient IDs"] == "in 1 file"
    assert found == [{"kind": "CT"}]


def test_a_sequence_in_a_sequence_of_an_unknown_kind_is_counted_and_bounded(tmp_path: Path) -> None:
    def nested(depth: int) -> bytes:
        value = within(PatientName=SECRET)
        for _ in range(depth):
            inner = item(value)
            value = struct.pack("<HHI", REQUEST >> 16, REQUEST & 0xFFFF, len(inner)) + inner
        return attribute(UNKNOWN, b"UN", item(value))

    _, told = table(file(tmp_path / "d", nested(3)), PLAIN)
    assert told["  (0010,0010) Patient's Name"] == "in 1 file, 2 times"
    assert "deeper than 16" in refused(file(tmp_path / "d", nested(40)), PLAIN)


def test_bytes_of_an_unknown_kind_are_no_sequence(tmp_path: Path) -> None:
    table(file(tmp_path / "d", attribute(UNKNOWN, b"UN", b"abcd")), PLAIN)
    assert "is broken" in refused(file(tmp_path / "d", attribute(UNKNOWN, b"UN", item(b"")[:-2])), PLAIN)


@pytest.mark.parametrize("vr", [b"SQ", b"UN"])
@pytest.mark.parametrize("undefined", [False, True])
def test_items_are_bounded_before_all_of_them_are_made(
    vr: bytes, undefined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AR-12: an item that holds nothing takes eight bytes in a file, and a kilobyte in memory."""
    monkeypatch.setattr(dicom_files, "MAX_ELEMENTS", 1000)
    monkeypatch.setattr(dicom_files, "MAX_READS", 4000)
    end = END + bytes(4) if undefined else b""

    def sequence(count: int) -> Path:
        return file(tmp_path / "d", attribute(REQUEST, vr, item(b"") * count + end, undefined=undefined))

    table(sequence(900), PLAIN)
    for count in (1100, 100_000):
        assert "has more than 1,000 attributes" in refused(sequence(count), PLAIN)


def test_what_lies_in_many_sequences_counts_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_files, "MAX_ELEMENTS", 1000)
    hundred = item(b"".join(struct.pack("<HHI", 0x0040, 0xF100 + number, 0) for number in range(100)))

    def sequences(count: int) -> Path:
        return file(tmp_path / "d", b"".join(attribute(UNKNOWN + at, b"UN", hundred) for at in range(count)))

    table(sequences(8), PLAIN)
    assert "has more than 1,000 attributes" in refused(sequences(12), PLAIN)


def test_attributes_are_bounded_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AR-12: of a tag that stands again and again the last counts, and no file has that."""
    monkeypatch.setattr(dicom_files, "MAX_READS", 4000)
    one = attribute(UNKNOWN, b"LO", b"")[:8]
    table(file(tmp_path / "d", one * 10), PLAIN)
    assert "has more than 100,000 attributes" in refused(file(tmp_path / "d", one * 100_000), PLAIN)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """Else a cell would be what is left of its value."""
    last = attribute(UNKNOWN, b"UN", b"abcdef")
    table(file(tmp_path / "d", last), PLAIN)
    for cut in range(1, len(last)):
        message = refused(file(tmp_path / "d", last, cut=cut), PLAIN)
        assert "was cut off" in message or "is broken" in message


@pytest.mark.parametrize("keyword", ["BitsStored", "BurnedInAnnotation", "SOPInstanceUID", "Modality"])
def test_a_value_of_a_kind_that_there_is_not_is_refused(keyword: str, tmp_path: Path) -> None:
    """pydicom has an error of its own for it, when the value is asked for."""
    made, out = image(), io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    data, tag = out.getvalue(), tag_for_keyword(keyword)
    assert tag is not None
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + made[tag].VR.encode()
    assert data.count(head) == 1
    (tmp_path / "1.dcm").write_bytes(data.replace(head, head[:4] + b"U\xe7"))
    assert "file 1 " in refused(tmp_path)
