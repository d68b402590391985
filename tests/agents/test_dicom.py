# SPDX-License-Identifier: Apache-2.0
"""Folders of DICOM as a table: what is declared leaves, and what tells who somebody is does not."""

from __future__ import annotations

import re
import struct
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydicom import Dataset, FileDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from sealroom.schema import plain_type
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.adapters import dicom, dicom_files
from sealroom_agents.owner.adapters.dicom_pixels import rle_bytes
from sealroom_agents.owner.adapters.dicom_profile import listed, private, written
from sealroom_agents.owner.prepare.declared import parse as read_declared
from sealroom_agents.owner.prepare.words import Words

SECRET = "Zyxwvut"
"""What no message may repeat."""
DECLARED = """
[pixels]
size = "2x2"
window = "stored"
[columns]
person = { tag = "PatientID" }
day = { tag = "StudyDate" }
age = { tag = "PatientAge", characteristic = true }
kind = { tag = "Modality" }
voltage = { tag = "KVP" }
spacing = { tag = "PixelSpacing", item = 1 }
"""
PLAIN = '[columns]\nkind = { tag = "Modality" }'
SHADES = [[0, 50], [100, 255]]


def image(shades: Any = SHADES, kind: type = np.uint8, **changes: Any) -> FileDataset:
    """An image with all that is declared, and more; each change is of one attribute, `None` removes it."""
    pixels = np.array(shades, dtype=kind)
    meta = Dataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = CTImageStorage, generate_uid(), "1.2.3"
    made.PatientName, made.PatientID, made.PatientAge = SECRET, "P-17", "034Y"
    made.StudyDate, made.StudyTime, made.Modality, made.KVP = "20210305", "101112", "CT", "120.5"
    made.PixelSpacing, made.BurnedInAnnotation = ["0.5", "0.7"], "NO"
    made.Rows, made.Columns, made.SamplesPerPixel = *pixels.shape, 1
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", int(kind is np.int16)
    made.BitsAllocated = made.BitsStored = pixels.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelData = pixels.tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def saved(folder: Path, *images: FileDataset) -> Path:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for number, each in enumerate(images, 1):
        each.save_as(folder / f"{SECRET}-{number:04}.dcm", enforce_file_format=True)
    return folder


def table(folder: Path, declared: str = DECLARED) -> tuple[list[dict[str, Any]], dict[str, str]]:
    form = dicom.parse(Words(tomllib.loads(declared), "[input]"), "dicom")
    with form.open(folder) as opened:
        found = pa.Table.from_batches(opened.batches([name for name, _ in opened.columns])).to_pylist()
        return found, dict(opened.notes())


def shades(folder: Path, declared: str = DECLARED) -> list[int]:
    return table(folder, declared)[0][0]["pixels"]


def refused(folder: Path, declared: str = DECLARED) -> str:
    with pytest.raises(ToolError) as caught:
        table(folder, declared)
    assert caught.value.code == "dicom-unfit"
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"
    return caught.value.message


# -- what leaves --------------------------------------------------------------------------------------------


def test_each_image_is_a_row_of_what_is_declared(tmp_path: Path) -> None:
    folder = saved(tmp_path / "d", image(), image(PatientID="P-18", KVP=None, PatientAge="018M"))
    rows, _ = table(folder)
    first = {"person": "P-17", "day": date(2021, 3, 5), "age": 34, "kind": "CT", "voltage": 120.5}
    assert rows[0] == {**first, "spacing": 0.5, "pixels": [0, 50, 100, 255]}
    assert (rows[1]["person"], rows[1]["voltage"], rows[1]["age"]) == ("P-18", None, 1)
    assert SECRET not in str(rows)


def test_what_tells_who_somebody_is_is_counted_by_tag_and_never_shown(tmp_path: Path) -> None:
    nested = Dataset()
    nested.PatientName = SECRET
    one, two = image(ReferringPhysicianName=SECRET), image()
    one.RequestAttributesSequence = [nested]
    one.add_new(0x00091001, "LO", SECRET)
    _, notes = table(saved(tmp_path / "d", one, two))
    assert notes["images"] == "2" and "2026c" in notes["removed, of the list of"]
    assert notes["  (0010,0010) Patient's Name"] == "in 2 files, 3 times"
    assert notes["  (0008,0090) Referring Physician's Name"] == "in 1 file"
    assert notes["  private attributes"] == "in 1 file"
    assert "  (0010,0020) Patient ID" not in notes, "that one is taken"
    assert SECRET not in str(notes)


def test_a_row_is_a_series_whose_files_agree(tmp_path: Path) -> None:
    declared = 'rows = "series"\n' + PLAIN
    folder = saved(tmp_path / "d", image(), image(), image(SeriesInstanceUID="1.2.4", Modality="MR"))
    assert table(folder, declared)[0] == [{"kind": "CT"}, {"kind": "MR"}]
    saved(folder, image(), image(Modality="MR"))
    assert "file 2 has another kind than file 1 of the same series" in refused(folder, declared)


def test_an_index_of_the_folder_is_no_image_and_is_told(tmp_path: Path) -> None:
    index = image(SOPClassUID=dicom_files.DIRECTORY)
    rows, notes = table(saved(tmp_path / "d", index, image()))
    assert len(rows) == 1 and notes["indexes left out (DICOMDIR)"] == "1"


# -- pixels -------------------------------------------------------------------------------------------------


def test_values_are_measured_windowed_and_black_is_black(tmp_path: Path) -> None:
    window = DECLARED.replace('"stored"', "[40, 400]")
    low, high = -1024 - 160, -1024 + 239  # what slope and intercept make the ends of the window
    values = [[low + 1024 - 1, low + 1024 + 1024], [high + 2048, 3000]]
    folder = saved(tmp_path / "d", image(values, np.int16, RescaleSlope="1", RescaleIntercept="-1024"))
    assert shades(folder, window) == [0, 0, 255, 255]
    middle = saved(folder, image([[1024 + 40, 1024 + 140], [1024, 1024]], np.int16, RescaleIntercept="-1024"))
    assert shades(middle, window) == [128, 192, 102, 102]
    turned = saved(folder, image(PhotometricInterpretation="MONOCHROME1"))
    assert shades(turned) == [255, 205, 155, 0]


def test_bits_above_the_picture_are_no_part_of_it(tmp_path: Path) -> None:
    """Older files keep an overlay there, with writing perhaps."""
    folder = saved(
        tmp_path / "d", image([[0xF000, 0x0FFF], [0x8800, 0]], np.uint16, BitsStored=12, HighBit=11)
    )
    assert shades(folder) == [0, 255, 128, 0]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_files_are_decoded_however_they_are_packed(tmp_path: Path, syntax: Any) -> None:
    made = image()
    if syntax == RLELossless:
        made.compress(RLELossless)
    elif syntax == JPEG2000Lossless:
        path = tmp_path / "p.j2k"
        Image.frombytes("L", (2, 2), made.PixelData).save(path, no_jp2=True, irreversible=False)
        made.PixelData = encapsulate([path.read_bytes()])
    made.file_meta.TransferSyntaxUID = syntax
    assert shades(saved(tmp_path / "d", made)) == [0, 50, 100, 255]


def test_the_column_is_that_of_sealroom_images(tmp_path: Path) -> None:
    form = dicom.parse(Words(tomllib.loads(DECLARED), "[input]"), "dicom")
    with form.open(saved(tmp_path / "d", image())) as opened:
        kind = dict(opened.columns)["pixels"]
        assert plain_type(kind) == {"type": "list", "of": {"type": "uint8", "nullable": False}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"BurnedInAnnotation": "YES"}, "has text burned into its picture"),
        ({"BurnedInAnnotation": None}, "does not say whether text is burned"),
        ({"RecognizableVisualFeatures": "YES"}, "shows a face"),
        ({"PhotometricInterpretation": "RGB"}, "not in shades of grey"),
        ({"SamplesPerPixel": 3}, "not in shades of grey"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"PixelData": None}, "no pixels"),
        ({"PixelData": bytes(2)}, "cannot be decoded"),
        ({"Rows": 60_000, "Columns": 60_000}, "more than 67,108,864 pixels"),
        ({"Rows": 0}, "does not say its rows"),
        ({"BitsStored": 9}, "neither 8 nor 16 bits"),
        ({"HighBit": 6}, "lowest bits"),
        ({"RescaleSlope": "0"}, "a slope or an intercept"),
        ({"Rows": 1, "Columns": 4}, "shape of 2 × 2"),
        ({"KVP": ["1", "2"]}, "has 2 values of KVP"),
        ({"PatientID": ["P-17", SECRET]}, "has 2 values of PatientID"),
        ({"PatientAge": "34"}, "value of PatientAge that is no int64"),
        ({"StudyDate": "20210230"}, "value of StudyDate that is no date"),
        ({"SOPInstanceUID": None}, "does not say which image"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_that_cannot_be_taken_is_told_by_its_number(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    assert len(table(saved(tmp_path / "d", image(), image()))[0]) == 2
    message = refused(saved(tmp_path / "d", image(), image(**changes)))
    assert "1 of 2 files" in message and "file 2 " in message and says in message


def test_text_that_may_be_burned_in_is_declared(tmp_path: Path) -> None:
    folder = saved(tmp_path / "d", image(BurnedInAnnotation=None))
    assert "does not say" in refused(folder)
    assert len(shades(folder, 'burned-in = "unknown"' + DECLARED)) == 4
    saved(folder, image(BurnedInAnnotation="YES"))
    assert "burned into" in refused(folder, 'burned-in = "unknown"' + DECLARED)
    assert len(table(folder, PLAIN)[0]) == 1, "pixels are not taken there"


# -- hostile files ------------------------------------------------------------------------------------------


def test_one_image_twice_is_refused(tmp_path: Path) -> None:
    twice = image()
    assert "file 2 is the image of file 1 again" in refused(saved(tmp_path / "d", twice, twice))


def test_links_and_what_is_no_dicom_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "d", image())
    (folder / "note.txt").write_text(SECRET)
    assert "file 2 is no file of DICOM" in refused(folder)
    (folder / "note.txt").unlink()
    (folder / "x.dcm").symlink_to(tmp_path)
    with pytest.raises(ToolError) as caught:
        table(folder)
    assert caught.value.code == "folder-unsupported"
    (tmp_path / "file").touch()
    assert "is no folder" in refused(tmp_path / "file")


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "d", image())
    path = next(folder.iterdir())
    whole = path.read_bytes()
    for length in range(132, len(whole), 9):
        path.write_bytes(whole[:length])
        assert "1 of 1 files" in refused(folder)


def test_a_way_to_pack_that_is_not_read_is_named(tmp_path: Path) -> None:
    """AR-12. Deflated whole, a file says nothing of how large it becomes."""
    folder = saved(tmp_path / "d", image())
    path = next(folder.iterdir())
    made = dcmread(path)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
    assert "is packed in Deflated Explicit VR Little Endian" in refused(folder)
    jpeg = image()
    jpeg.file_meta.TransferSyntaxUID, jpeg.PixelData = JPEGLosslessSV1, encapsulate([bytes(64)])
    assert "JPEG Lossless, Non-Hierarchical" in refused(saved(folder, jpeg))


def test_what_unpacks_to_more_than_its_picture_is_refused_before(tmp_path: Path) -> None:
    """AR-12. Two bytes of RLE become 128."""
    bomb = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * 500
    assert rle_bytes(encapsulate([bomb])) == 64_000
    made = image()
    made.file_meta.TransferSyntaxUID, made.PixelData = RLELossless, encapsulate([bomb])
    assert "unpacks to more than its picture" in refused(saved(tmp_path / "d", made))


def test_sequences_without_end_are_refused(tmp_path: Path) -> None:
    """AR-12. Of defined length and of undefined length, beyond a bound and beyond the interpreter's."""
    for depth in (dicom_files.MAX_NESTING + 2, 300):
        for undefined in (False, True):
            inner = Dataset()
            for _ in range(depth):
                outer = Dataset()
                outer.RequestAttributesSequence = [inner]
                outer["RequestAttributesSequence"].is_undefined_length = undefined
                inner = outer
            message = refused(saved(tmp_path / "d", image(RequestAttributesSequence=[inner])))
            assert "lie deeper" in message or "nested too deeply" in message


def test_a_file_and_its_attributes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AR-12."""
    folder = saved(tmp_path / "d", image())
    size = next(folder.iterdir()).stat().st_size
    monkeypatch.setattr(dicom_files, "MAX_FILE_BYTES", size)
    assert len(table(folder)[0]) == 1
    monkeypatch.setattr(dicom_files, "MAX_FILE_BYTES", size - 1)
    assert "is larger than" in refused(folder)
    monkeypatch.undo()
    monkeypatch.setattr(dicom_files, "MAX_ELEMENTS", 10)
    assert "more than 10 attributes" in refused(folder)


# -- what may be declared -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("", "lacks columns"),
        ('[columns]\na = { tag = "PatientsName" }', "no keyword of the standard"),
        ('[columns]\na = { tag = "00091001" }', "no keyword of the standard"),
        ('[columns]\na = { tag = "RequestAttributesSequence" }', "of kind SQ"),
        ('[columns]\na = { tag = "PatientComments" }', "of kind LT"),
        ('[columns]\na = { tag = "PatientID", characteristic = true }', "has characteristic"),
        ('[columns]\na = { tag = "Modality", pseudonym = true }', "'pseudonym', which says nothing"),
        ('rows = "series"' + DECLARED, "a series has many pictures"),
        ('burned-in = "unknown"\n' + PLAIN, "has burned-in and no pixels"),
        (DECLARED.replace("2x2", "2 by 2"), "is not width x height"),
        (DECLARED.replace('"stored"', "[40, 1]"), "width is not above 1"),
        (DECLARED.replace('"stored"', '"auto"'), "neither centre and width nor stored"),
        (DECLARED.replace("spacing =", "Pixels ="), "is there twice"),
    ],
)  # fmt: skip
def test_a_declaration_with_anything_amiss_is_refused(declared: str, says: str) -> None:
    dicom.parse(Words(tomllib.loads(DECLARED), "[input]"), "dicom")
    with pytest.raises(ToolError) as caught:
        dicom.parse(Words(tomllib.loads(declared), "[input]"), "dicom")
    assert caught.value.code == "prepare-malformed" and says in caught.value.message


WHOLE = """
version = 1
[input]
form = "dicom"
[input.columns]
a = {{ tag = "{tag}"{more} }}
[columns.b]
from = "a"
type = "{kind}"
"""


@pytest.mark.parametrize(
    ("tag", "kind", "made_fit"),
    [
        ("PatientID", "string", 'pseudonym = true\n[pseudonyms]\nstudy = "s"'),
        ("OperatorsName", "string", 'pseudonym = true\n[pseudonyms]\nstudy = "s"'),
        ("StudyInstanceUID", "string", 'pseudonym = true\n[pseudonyms]\nstudy = "s"'),
        ("StudyDate", "int16", 'keep = "year"'),
        ("PatientAge", "int64", None),
    ],
)
def test_what_tells_who_somebody_is_leaves_as_a_pseudonym_or_a_year(
    tag: str, kind: str, made_fit: str | None
) -> None:
    """The list of the standard decides, and what kind of value it is."""
    text = WHOLE.format(tag=tag, kind=kind, more="")
    with pytest.raises(ToolError, match="takes a, which is ") as caught:
        read_declared(text.encode(), name="f.toml")
    assert caught.value.code == "prepare-malformed"
    fit = text + made_fit if made_fit else WHOLE.format(tag=tag, kind=kind, more=", characteristic = true")
    assert read_declared(fit.encode(), name="f.toml").columns


def test_a_day_that_is_kept_whole_does_not_leave() -> None:
    text = WHOLE.format(tag="StudyDate", kind="date", more="")
    assert read_declared((text + 'keep = "month"').encode(), name="f.toml")
    with pytest.raises(ToolError, match="which is Study Date"):
        read_declared((text + 'keep = "day"').encode(), name="f.toml")


def test_the_list_is_that_of_the_standard() -> None:
    """PS3.15 2026c, table E.1-1: spot checks of each action, and of tags with any digit."""
    for tag, action in {
        0x00100010: "Z", 0x00100020: "Z/D", 0x00080080: "X/Z/D", 0x00081140: "X/Z/U*", 0x00080018: "U",
        0x00080020: "Z", 0x00080022: "X/Z", 0x00204000: "X", 0x50040010: "X", 0x60023000: "X",
        0x60023001: None, 0x00080060: None,
    }.items():  # fmt: skip
        found = listed(tag)
        assert (found.action if found else None) == action, written(tag)
    kept = [tag for tag in (0x00101010, 0x00100040, 0x00101030, 0x001021A0) if listed(tag).characteristic]  # type: ignore[union-attr]
    assert len(kept) == 4 and not listed(0x00100020).characteristic  # type: ignore[union-attr]
    assert private(0x00091001) and not private(0x00100010)


def test_the_page_of_inputs_shows_a_file_that_takes_an_image(tmp_path: Path) -> None:
    section = Path("docs/inputs.md").read_text().split("\n## DICOM\n")[1].split("\n## ")[0]
    (shown,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    declared = read_declared(shown.encode(), name="ct.toml")
    with declared.form.open(saved(tmp_path / "d", image([[0] * 64] * 64, np.int16))) as opened:
        names = [str(each.source) for each in declared.columns]
        assert set(names) == {name for name, _ in opened.columns}
        (batch,) = opened.batches(names)
    assert batch.num_rows == 1
