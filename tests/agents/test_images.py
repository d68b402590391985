# SPDX-License-Identifier: Apache-2.0
"""`sealroom images`: pictures and a table become one table, that is sealed and that a network learns from."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from tests.agents.shell import shell
from tests.agents.worked import fresh_platform, make_gate, make_run
from tests.enclave.relation.test_run import run

from sealroom.recipe import parse, render
from sealroom.recipe.result import build_result
from sealroom.schema.arrow import columns_of
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.image_table import PICTURE, ImageTable, read_table
from sealroom_agents.owner.images import MAX_PIXELS, Fit, Form, Unfit, picture
from sealroom_agents.owner.tables.csv_dialect import Dialect

SMALL = Form(2, 2, 1, "exact")
GREY = [[0, 50], [100, 255]]


def grey(path: Path, rows: list[list[int]] = GREY, mode: str = "L") -> Path:
    picture = Image.frombytes("L", (len(rows[0]), len(rows)), bytes(chain.from_iterable(rows)))
    (picture if mode == "L" else picture.convert(mode)).save(path)
    return path


def empty_png(path: Path, width: int, height: int) -> Path:
    """A file that says how large its picture is, and has none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


# -- one picture --------------------------------------------------------------------------------------------


def test_pixels_stand_row_by_row_and_channel_by_channel(tmp_path: Path) -> None:
    for name, mode in (("l.png", "L"), ("p.png", "P"), ("la.png", "LA"), ("rgba.png", "RGBA")):
        assert list(picture(grey(tmp_path / name, mode=mode), SMALL).numbers) == [0, 50, 100, 255]
    path = tmp_path / "colours.png"
    Image.frombytes("RGB", (2, 1), bytes([1, 2, 3, 11, 12, 13])).save(path)
    assert list(picture(path, Form(2, 1, 3, "exact")).numbers) == [1, 11, 2, 12, 3, 13]
    photo = tmp_path / "photo.jpg"
    Image.new("L", (16, 8), 120).save(photo)
    assert set(picture(photo, Form(4, 2, 1, "exact")).numbers) == {120}


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    path, taken = tmp_path / "turned.png", Image.frombytes("L", (2, 2), bytes([0, 50, 100, 255]))
    for way, seen in {
        0: [0, 50, 100, 255], 1: [0, 50, 100, 255], 2: [50, 0, 255, 100], 3: [255, 100, 50, 0],
        4: [100, 255, 0, 50], 5: [0, 100, 50, 255], 6: [100, 0, 255, 50], 7: [255, 50, 100, 0],
        8: [50, 255, 0, 100], 9: [0, 50, 100, 255],
    }.items():  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = way
        taken.save(path, exif=exif)
        assert list(picture(path, SMALL).numbers) == seen, way


def test_what_a_camera_says_beside_may_be_broken(tmp_path: Path) -> None:
    """AR-12. Text where a number belongs: a picture is turned, and nothing of this is read."""
    said = struct.pack("<2sHIHHHIIHHI", b"II", 42, 8, 2, 0x0112, 3, 1, 6, 0x011A, 2, 4) + b"abc\0" + bytes(4)
    path = tmp_path / "turned.jpg"
    Image.new("L", (2, 1), 50).save(path, exif=b"Exif\0\0" + said)
    assert len(picture(path, Form(1, 2, 1, "exact")).numbers) == 2


@pytest.mark.parametrize(
    ("fit", "expected"), [("crop", [40, 60, 40, 60]), ("pad", [20, 80, 0, 0]), ("stretch", [20, 80, 20, 80])]
)
def test_a_picture_of_another_shape_is_made_to_fit_where_it_may_be(
    tmp_path: Path, fit: Fit, expected: list[int]
) -> None:
    """A pixel is the mean of those that it covers."""
    path = grey(tmp_path / "wide.png", [[0, 40, 60, 100], [0, 40, 60, 100]])
    with pytest.raises(Unfit, match="shape of 2 × 2"):
        picture(path, SMALL)
    assert list(picture(path, Form(2, 2, 1, fit)).numbers) == expected


def test_what_is_no_picture_that_can_be_taken_says_why(tmp_path: Path) -> None:
    """AR-12. Hostile files end in a refusal, before much is read of them; no name of a file is told."""
    (tmp_path / "no.png").write_bytes(b"GIF89a" + bytes(64))
    whole = grey(tmp_path / "whole.png", [[9] * 64] * 64).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.png").mkdir()
    Image.new("I;16", (2, 2)).save(tmp_path / "deep.png")
    Image.new("LA", (2, 2), (3, 100)).save(tmp_path / "glass.png")
    frames = [Image.new("L", (2, 2), n) for n in (1, 2)]
    frames[0].save(tmp_path / "moves.png", save_all=True, append_images=frames[1:])
    empty_png(tmp_path / "bomb.png", 30_000, 30_000)
    empty_png(tmp_path / "large.png", 9_000, 9_000)
    empty_png(tmp_path / "none.png", 8, 8)
    with (tmp_path / "long.png").open("wb") as stream:
        stream.truncate(2**26 + 1)
    for name, says in (
        ("no.png", "is no picture"), ("cut.png", "is no picture"), ("folder.png", "names no file"),
        ("deep.png", "more than 8 bits"), ("glass.png", "transparent"), ("moves.png", "several pictures"),
        ("bomb.png", f"more than {MAX_PIXELS:,} pixels"), ("large.png", "more than 67,108,864 pixels"),
        ("none.png", "is no picture"), ("long.png", "more than 64 MiB"), ("nobody.png", "names no file"),
    ):  # fmt: skip
        with pytest.raises(Unfit) as caught:
            picture(tmp_path / name, SMALL)
        assert says in caught.value.reason and name not in caught.value.reason


def test_what_is_measured_has_no_decoder_of_pictures() -> None:
    """AR-12: neither as an import nor in the enclave's image."""
    root = Path(__file__).resolve().parents[2] / "enclave"
    for path in (root / "sealroom").rglob("*.py"):
        assert not re.search(
            r"^\s*(?:from|import) (?:PIL|cv2|imageio|pydicom)\b", path.read_text(), re.MULTILINE
        )
    assert "pillow" not in (root / "requirements.lock").read_text()


# -- the table ----------------------------------------------------------------------------------------------


def folder_of(tmp_path: Path, count: int = 4) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(count):
        grey(folder / f"{number}.png", [[number, 1], [2, 3]])
    return folder


def people(tmp_path: Path, names: list[str | None]) -> Path:
    table = pa.table(
        {"person": pa.array(range(len(names)), pa.int64()), "file": pa.array(names, pa.string())}
    )
    pq.write_table(table, tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def test_every_row_of_the_table_is_a_row_in_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    people(tmp_path, ["3.png", "0.png", "3.png"])
    done = shell("sealroom images scans --table people.parquet --size 2x2 --out made.parquet", tmp_path)
    assert done.returncode == 0, done.stdout
    for line in (
        '{person: "int64", pixels: {type: list, of: uint8}}',
        "{name: pixels, length: 4, lower: 0, upper: 255}",
        "{unflatten: [1, 2, 2]}", "wrote made.parquet: 3 rows",
    ):  # fmt: skip
        assert line in done.stdout
    made = pq.read_table(tmp_path / "made.parquet")
    assert made.column_names == ["person", "pixels"] and made["person"].to_pylist() == [0, 1, 2]
    assert made["pixels"].to_pylist() == [[3, 1, 2, 3], [0, 1, 2, 3], [3, 1, 2, 3]]
    assert dict(columns_of(made.schema))["pixels"] == PICTURE
    assert (tmp_path / "made.parquet").stat().st_mode & 0o077 == 0 and folder.exists()
    sealed = shell(f"sealroom seal --account 0x{'11' * 20} --in made.parquet --yes", tmp_path)
    assert sealed.returncode == 0 and "pixels" in sealed.stdout, sealed.stdout
    again = shell("sealroom images scans --table people.parquet --size 2x2 --out made.parquet", tmp_path)
    assert again.returncode == 1 and "is there already" in again.stdout


def test_pictures_that_are_made_larger_or_smaller_are_counted_and_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    grey(folder / "large.png", [[each] * 4 for each in (0, 40, 60, 100)])
    people(tmp_path, ["0.png", "1.png", "large.png"])
    done = shell("sealroom images scans --table people.parquet --size 3x3 --out made.parquet", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "warning: 2 pictures made larger, to 3 × 3: copied pixels tell nothing new" in done.stdout
    assert "wrote made.parquet: 3 rows, 1 picture made smaller, to 3 × 3" in done.stdout
    assert picture(folder / "0.png", SMALL).times == 1
    assert picture(folder / "large.png", Form(2, 4, 1, "pad")).times == 0.5


def test_a_row_without_a_usable_picture_is_refused_or_left_without_one(tmp_path: Path) -> None:
    """OP-04: rows are told by their number, and names of files, which may be people's, are not."""
    folder = folder_of(tmp_path)
    (folder / "jane-doe.png").write_bytes(b"broken")
    outside = grey(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(outside)
    people(tmp_path, ["0.png", None, "jane-doe.png", "../secret.png", "link.png", "", "\0", "1.png"])
    command = "sealroom images scans --table people.parquet --size 2x2 --out made.parquet --json"
    done = shell(f"{command} 2> words", tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["code"]) == (1, "image-unfit") and not (tmp_path / "made.parquet").exists()
    assert "6 of 8 rows" in told["error"] and "row 2 names no file" in told["error"]
    assert "row 3 is no picture" in told["error"] and "and 1 more" in told["error"]
    words = done.stdout + (tmp_path / "words").read_text()
    assert "jane" not in words and "secret" not in words
    done = shell(f"{command} --leave-out 2> words", tmp_path)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["withoutPicture"] == [2, 3, 4, 5, 6, 7]
    assert told["columns"]["pixels"] == {"type": "list", "of": {"type": "uint8", "nullable": False}}
    found = pq.read_table(tmp_path / "made.parquet")["pixels"].to_pylist()
    assert found == [[0, 1, 2, 3], *[None] * 6, [1, 1, 2, 3]]


def test_a_name_that_no_file_can_have_is_one_of_no_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    names = ["x" * 300, "x/" * 5000, "circle", ".", "0.png/x", "0.png"]
    table = ImageTable(folder, pa.table({"file": names}), names="file", pictures="pixels")
    assert table.bytes == (folder / "0.png").stat().st_size
    assert table.write(io.BytesIO(), SMALL, leave_out=True).without == [1, 2, 3, 4, 5]


def test_the_types_of_a_csv_are_said_and_not_guessed(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "people.csv").write_text("person,scan,ill\n7,0.png,true\n8,1.png,\n")
    command = "sealroom images scans --table people.csv --file-column scan --column grey --size 2x2"
    done = shell(f"{command} --type person=int64 --type ill=bool --out made.parquet --json", tmp_path)
    assert done.returncode == 0, done.stdout
    made = pq.read_table(tmp_path / "made.parquet")
    assert made.to_pydict() == {"person": [7, 8], "ill": [True, None], "grey": [[0, 1, 2, 3], [1, 1, 2, 3]]}
    for more, says in (
        ("--type person=int8x", "--type"), ("--type person", "is not name=type"),
        ("--type age=int64", "no column age"),
        ("--file-column nobody", "no column nobody"), ("--column person", "person"), ("--size 2", "28x28"),
        ("--size 200x200", "takes 16,384"), ("--type person=bool", "people.csv line 2"),
    ):  # fmt: skip
        done = shell(f"{command} --out other.parquet {more}", tmp_path)
        assert done.returncode in (1, 2) and says in done.stdout, (more, done.stdout)
        assert not (tmp_path / "other.parquet").exists()


def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    with pytest.raises(ToolError) as caught:
        read_table(tmp_path / "no.parquet", [], Dialect())
    assert caught.value.code == "not-a-table"
    odd: Any
    for odd, code in (
        (pa.table({"file": pa.array([1])}), "image-table"),
        (pa.table({"file": ["0.png"], "Pixels": ["x"]}), "schema-unsupported"),
        (pa.table({"file": ["0.png"], "x": pa.array([None], pa.null())}), "schema-unsupported"),
    ):
        with pytest.raises(ToolError) as caught:
            ImageTable(folder, odd, names="file", pictures="pixels")
        assert caught.value.code == code


# -- from files to a model ----------------------------------------------------------------------------------

STUDY = """\
version: 2
name: digits
question: Which digit does a picture show?
image: registry.example/sealroom/enclave@sha256:IMAGE
gpu: none
guarantee: by-construction
schemas:
  scans: {unit: person, columns: {person: int64, digit: int8, pixels: {type: list, of: uint8}}}
datasets:
  - {owner: hospital-A, name: cohort-A, schema: scans}
  - {owner: hospital-B, name: cohort-B, schema: scans}
relation:
  rows: 1
  sql: |
    SELECT person, digit, pixels, person % 5 = 0 AS held_out
    FROM scans
    QUALIFY row_number() OVER (PARTITION BY person ORDER BY digit) = 1
privacy: {adjacency: add-remove, epsilon: "10", delta: "1e-6", minimum_cohort: 100, release_after_seconds: 60}
output:
  limit_bytes: 65536
  groups: {digit: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]}
  fields:
    - name: reader
      kind: model
      vectors: [{name: pixels, length: 64, lower: 0, upper: 255}]
      layers:
        [{unflatten: [1, 8, 8]}, {conv2d: {channels: 8, kernel: 3, padding: 1}}, relu, {max_pool2d: 2},
         flatten, {linear: 10}]
      loss: classes
      label: digit
      held_out: held_out
      batch: 1
      clip: 1
      steps: 40
      learning_rate: 2
      momentum: "0.9"
      seed: 1
      curve: 2
      decimals: 3
""".replace("IMAGE", "0" * 64)


def test_a_folder_of_pictures_becomes_a_network_that_proves_itself(tmp_path: Path) -> None:
    """PNG files of scikit-learn's digits, to a table, through DuckDB and the trainer in the real sandbox and
    the custodian, to a model file that `sealroom verify` walks."""
    digits = load_digits()
    (tmp_path / "scans").mkdir()
    for letter, some in (("A", range(900)), ("B", range(900, 1797))):
        lines = ["person,digit,file\n"]
        for number in some:
            picture = (digits.images[number] * (255 / 16)).round().astype("uint8")
            Image.frombytes("L", (8, 8), picture.tobytes()).save(tmp_path / "scans" / f"{number}.png")
            lines.append(f"{number},{digits.target[number]},{number}.png\n")
        (tmp_path / f"{letter}.csv").write_text("".join(lines))
        done = shell(
            f"sealroom images scans --table {letter}.csv --type person=int64 --type digit=int8 --size 8x8"
            f" --out {letter}.parquet",
            tmp_path,
        )
        assert done.returncode == 0, done.stdout
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.yaml").write_text(STUDY)
    compose = render(tmp_path / "study")
    recipe = parse(compose)
    fields, rows, _ = run(recipe, tables=lambda owner: pq.read_table(tmp_path / f"{owner[-1]}.parquet"))
    assert rows["reader"].vectors["pixels"].dtype == "int16" and len(rows["reader"]) == 1797
    [tested] = fields["reader"]["held_out"]
    assert float(tested["accuracy_low"]) > 0.4, "guessing gets 0.1"

    platform = fresh_platform()
    done = make_run(platform, make_gate(platform), compose)
    envelope = replace(done, result=build_result(fields, recipe)).envelope()
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    assert shell("sealroom model envelope.json --out model.safetensors", tmp_path).returncode == 0
    verified = shell("sealroom verify model.safetensors --simulated-root root.der", tmp_path)
    assert verified.returncode == 4 and "numbers of the field reader" in verified.stdout, verified.stdout
