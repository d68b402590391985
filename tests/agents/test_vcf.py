# SPDX-License-Identifier: Apache-2.0
"""VCF as a table: dosages of declared alleles, and a variant that is not as declared is refused."""

from __future__ import annotations

import gzip
import re
import struct
import tomllib
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealroom_agents.errors import ToolError
from sealroom_agents.owner.adapters import vcf
from sealroom_agents.owner.adapters.vcf_variants import MISSING, Genotypes, Unfit
from sealroom_agents.owner.prepare.declared import parse as read_declared
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.tables.packed import BGZF_END

SAMPLE = "Zyxwvut"
"""Of a person: what no message may repeat."""
HEADING = f"#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT A {SAMPLE} C"
LINES = (
    "##fileformat=VCFv4.2",
    "##contig=<ID=19>",
    HEADING,
    "19 100 rs1;rs9 T C 50 PASS AC=1 GT:DP 0/0:9 0|1:8 1/1:7",
    "19 200 rs2 G A,T . PASS . GT 1/2 ./. 2|2",
    "X 300 . a t . PASS . GT 0 1 0/1",
)
DECLARED = """
haploid = ["X"]
[columns]
one = "19:100:T:C"
two = "rs2:G:T"
three = "X:300:A:T"
"""


def form(declared: str = DECLARED) -> Any:
    return vcf.parse(Words(tomllib.loads(declared), "[input]"), "vcf")


def rows(path: Path, declared: str = DECLARED) -> list[dict[str, Any]]:
    with form(declared).open(path) as table:
        return pa.Table.from_batches(table.batches([name for name, _ in table.columns])).to_pylist()


def written(path: Path, *lines: str, ending: str = "\n") -> Path:
    path.write_bytes("".join(line.replace(" ", "\t") + ending for line in lines).encode())
    return path


def changed(number: int, *instead: str) -> tuple[str, ...]:
    """The file with other lines in the place of one, from 1."""
    return (*LINES[: number - 1], *instead, *LINES[number:])


def refused(path: Path, *lines: str, declared: str = DECLARED) -> str:
    with pytest.raises(ToolError) as caught:
        rows(written(path, *lines), declared)
    assert caught.value.code == "vcf-unfit"
    assert SAMPLE not in f"{caught.value.message} {caught.value.hint}"
    return caught.value.message


def bgzf(data: bytes) -> bytes:
    """The file packed as bgzip does, without its end."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25)
    return head + packed + struct.pack("<II", zlib.crc32(data), len(data))


def test_each_sample_has_a_row_and_each_variant_how_often_its_allele_is_there(tmp_path: Path) -> None:
    """By place, by id, of a line with several alleles, phased or not, and on a contig where one is right."""
    assert rows(written(tmp_path / "v.vcf", *LINES)) == [
        {"sample": "A", "one": 0, "two": 1, "three": 0},
        {"sample": SAMPLE, "one": 1, "two": None, "three": 1},
        {"sample": "C", "one": 2, "two": 2, "three": 1},
    ]


def test_columns_are_whole_numbers_in_batches_as_they_are_asked_for(tmp_path: Path) -> None:
    with form().open(written(tmp_path / "v.vcf", *LINES)) as table:
        assert [str(kind) for _, kind in table.columns] == ["string without nulls", "int64", "int64", "int64"]
        (batch,) = table.batches(["two", "sample"])
        assert batch.schema.names == ["two", "sample"] and batch.schema.types == [pa.int64(), pa.string()]
        assert table.where(1) == "sample 2"
        assert table.notes() == (("samples", "3"), ("lines read", "6"))


def test_versions_line_endings_and_both_ways_to_pack_are_read(tmp_path: Path) -> None:
    plain = rows(written(tmp_path / "a", *LINES))
    for version in ("4.3", "4.4"):
        assert rows(written(tmp_path / "b", *changed(1, f"##fileformat=VCFv{version}"))) == plain
    assert rows(written(tmp_path / "c", *LINES, ending="\r\n")) == plain
    data = (tmp_path / "a").read_bytes()
    for packed in (
        gzip.compress(data),
        pa.compress(data, "zstd", asbytes=True),
        bgzf(data[:99]) + bgzf(data[99:]) + BGZF_END,
    ):
        (tmp_path / "d").write_bytes(packed)
        assert rows(tmp_path / "d") == plain


def test_a_packed_file_without_its_end_is_refused(tmp_path: Path) -> None:
    """Cut between two blocks, BGZF is still whole for gzip."""
    data = written(tmp_path / "v", *LINES).read_bytes()
    whole = bgzf(data) + BGZF_END
    for broken, says in (
        (whole[: -len(BGZF_END)], "lacks its end"),
        (bgzf(data), "lacks its end"),
        (whole[:-1], "lacks its end"),
        (whole[:60] + whole[-len(BGZF_END) :], "cut off or damaged"),
        (gzip.compress(data)[:-9], "cut off or damaged"),
    ):
        (tmp_path / "v").write_bytes(broken)
        with pytest.raises(ToolError, match=says) as caught:
            rows(tmp_path / "v")
        assert caught.value.code == "compressed-damaged"


@pytest.mark.parametrize(
    ("number", "instead", "says"),
    [
        (1, ["##fileformat=VCFv4.1"], "line 1 does not begin a VCF"),
        (1, ["##fileformat=VCFv5.0"], "line 1 does not begin a VCF"),
        (3, [HEADING.replace("REF ALT", "ALT REF")], "line 3 does not name the columns"),
        (3, ["#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT"], "line 3 does not name the columns"),
        (3, [HEADING.replace(" A ", " C ")], "line 3 does not name each sample once"),
        (3, [HEADING.replace(" A ", "  ")], "line 3 does not name each sample once"),
        (3, [], "line 3 does not name the columns"),
        (4, ["19 100 rs1 T C 50 PASS AC=1 GT 0/0 0/1"], "line 4 does not have as many cells"),
        (4, [""], "line 4 does not have as many cells"),
        (4, [LINES[3], LINES[3]], "line 5 has 19:100:T:C again: it stands in line 4"),
        (4, [LINES[3], LINES[3].replace("T C", "T C,A")], "line 5 has 19:100:T:C again"),
        (4, [LINES[3].replace("T C", "A C")], "lacks 1 of 3 variants: 19:100:T:C (other alleles in line 4)"),
        (4, [LINES[3].replace("T C", "T G")], "lacks 1 of 3 variants: 19:100:T:C (other alleles in line 4)"),
        (4, [LINES[3].replace("T C", "T C,C")], "line 4 has one allele twice"),
        (4, [LINES[3].replace("19 1", "chr19 1")], "lacks 1 of 3 variants: 19:100:T:C (no line has it)"),
        (5, [LINES[4].replace("rs2", "rs3")], "lacks 1 of 3 variants: rs2:G:T (no line has it)"),
        (4, [LINES[3].replace("PASS", "q10")], "did not pass the filters"),
        (4, [LINES[3].replace("PASS", ".")], "did not pass the filters"),
        (4, [LINES[3].replace("GT:DP", "DP:GT")], "without genotypes"),
        (4, [LINES[3].replace("0/0:9", "1:9")], "a genotype of one allele"),
        (4, [LINES[3].replace("0/0:9", "0/0/1:9")], "a genotype of 3 alleles"),
        (4, [LINES[3].replace("0/0:9", "0/2:9")], "with an allele that the line does not name"),
        (4, [LINES[3].replace("0/0:9", "0/:9")], "a genotype that is none"),
        (4, [LINES[3].replace("0/0:9", "")], "a genotype that is none"),
        (4, [LINES[3].replace("GT:DP", "GT:FT")], "did not pass its own filter"),
    ],
)  # fmt: skip
def test_a_variant_that_is_not_as_declared_is_refused(
    tmp_path: Path, number: int, instead: list[str], says: str
) -> None:
    assert len(rows(written(tmp_path / "v", *LINES))) == 3
    assert says in refused(tmp_path / "v", *changed(number, *instead))


def test_a_file_that_ends_before_its_samples_are_named_is_refused(tmp_path: Path) -> None:
    assert "no line #CHROM" in refused(tmp_path / "v", *LINES[:2])
    assert "no line #CHROM" in refused(tmp_path / "v")


def test_another_variant_of_the_same_place_is_another_variant(tmp_path: Path) -> None:
    """An insertion may begin where a base is replaced, and alleles may stand in lines of their own."""
    plain = rows(written(tmp_path / "v", *LINES))
    lines = changed(
        4, "19 100 . TA T . q10 . GT 0/1 0/1 0/1", LINES[3], "19 100 . T G . PASS . GT 0/1 0/0 0/0"
    )
    assert rows(written(tmp_path / "v", *lines)) == plain


def test_what_may_stand_as_filter_is_declared(tmp_path: Path) -> None:
    path = written(tmp_path / "v", *changed(4, LINES[3].replace("PASS", ".")))
    assert len(rows(path, 'filter = ["PASS", "."]' + DECLARED)) == 3


def test_a_genotype_that_did_not_pass_is_missing_where_that_is_declared(tmp_path: Path) -> None:
    line = "19 100 rs1 T C 50 PASS . GT:FT 0/0 0|1:PASS 1/1:q10"
    path = written(tmp_path / "v", *changed(4, line))
    assert [row["one"] for row in rows(path, 'unsure = "missing"' + DECLARED)] == [0, 1, None]


def test_memory_is_bounded_by_what_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AR-12. A line has a bound, and samples times variants are counted before they are read."""
    path = written(tmp_path / "v", *LINES)
    monkeypatch.setattr(vcf, "MAX_CELLS", 9)
    assert len(rows(path)) == 3
    monkeypatch.setattr(vcf, "MAX_CELLS", 8)
    assert "more than 8 cells" in refused(path, *LINES)
    monkeypatch.undo()
    monkeypatch.setattr(vcf, "MAX_LINE_BYTES", max(map(len, LINES)))
    assert len(rows(path)) == 3
    monkeypatch.setattr(vcf, "MAX_LINE_BYTES", max(map(len, LINES)) - 1)
    assert "has more than" in refused(path, *LINES)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("", "lacks columns"),
        ("[columns]\none = 3", "that is no variant"),
        ('[columns]\none = "rs1"', "neither CONTIG:POSITION:REF:ALT nor ID:REF:ALT"),
        ('[columns]\none = "19:0:T:C"', "neither CONTIG:POSITION:REF:ALT nor ID:REF:ALT"),
        ('[columns]\none = "19:100:T:<DEL>"', "neither CONTIG:POSITION:REF:ALT nor ID:REF:ALT"),
        ('[columns]\none = "19:100:T:T"', "has one allele twice"),
        ('[columns]\none = "rs1:T:C"\ntwo = "rs1:T:C"', "one variant in two columns"),
        ('[columns]\nSample = "rs1:T:C"', "is there twice, in whatever case"),
        ('filter = []\n[columns]\none = "rs1:T:C"', "lets no variant pass"),
        ('unsure = "kept"\n[columns]\none = "rs1:T:C"', "has unsure 'kept'"),
    ],
)  # fmt: skip
def test_a_declaration_with_anything_amiss_is_refused(declared: str, says: str) -> None:
    form()
    with pytest.raises(ToolError) as caught:
        form(declared)
    assert caught.value.code == "prepare-malformed" and says in caught.value.message


@given(st.binary(max_size=8) | st.from_regex(rb"[|/]?[0-3.]([|/][0-3.]){0,2}", fullmatch=True))
def test_any_genotype_is_a_count_missing_or_refused(genotype: bytes) -> None:
    try:
        dosage = Genotypes(2, 3, haploid=True).dosage(genotype)
    except Unfit as error:
        assert error.reason.startswith("has a genotype ")
        return
    alleles = re.split(rb"[|/]", genotype.lstrip(b"|/"))
    assert dosage == (MISSING if b"." in alleles else alleles.count(b"2"))


def test_the_page_of_inputs_shows_a_file_and_a_vcf_that_go_together(tmp_path: Path) -> None:
    section = Path("docs/inputs.md").read_text().split("\n## VCF\n")[1].split("\n## ")[0]
    shown = dict(re.findall(r"```(text|toml)\n(.*?)```", section, re.DOTALL))
    declared = read_declared(shown["toml"].encode(), name="apoe.toml")
    written(tmp_path / "v", *(" ".join(line.split()) for line in shown["text"].splitlines()))
    with declared.form.open(tmp_path / "v") as table:
        assert {each.source for each in declared.columns} == {name for name, _ in table.columns}
        (batch,) = table.batches(["sample", "e4", "e2"])
    assert [tuple(row.values()) for row in batch.to_pylist()] == [("P-17", 1, 0), ("P-18", 0, None)]
