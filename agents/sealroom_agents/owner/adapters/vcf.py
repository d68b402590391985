# SPDX-License-Identifier: Apache-2.0
"""VCF 4.2 to 4.4 as a table: a row for each sample, and how often it has the allele of each declared variant.

Only lines of declared variants are read whole; of all others contig, position, id and the number of cells. So
no library of C reads a hostile file, and memory is what is declared: a byte for each sample and variant. A
variant that is not there, is there twice, did not pass its filters or has other alleles is refused: an absent
line says nothing of whether anybody has the reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Column, Integer, String
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.adapters.declared import declared_columns
from sealroom_agents.owner.adapters.lines import Lines, lines_of
from sealroom_agents.owner.adapters.vcf_variants import (
    MISSING,
    Dosages,
    Genotypes,
    Unfit,
    Variant,
    place_in,
)
from sealroom_agents.owner.prepare.forms import Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words

MAX_LINE_BYTES = 128 * 2**20
"""Longest line: half a million samples have one of 20 MB."""
MAX_HEADER_LINES = 1_000_000
MAX_CELLS = 2**28
"""Most samples times variants: a byte of memory for each."""
BATCH_ROWS = 16_384
_VERSION = re.compile(rb"##fileformat=VCFv4\.[234]")
_FIXED = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO", b"FORMAT")
_TOLD = 5
"""Variants that a refusal names."""


@dataclass(frozen=True)
class Vcf(Form):
    """What `[input]` declares of a VCF."""

    sample: str
    """The column of the samples' ids."""
    variants: dict[str, Variant]
    """The other columns."""
    filters: tuple[str, ...] = ("PASS",)
    """What may stand as filter of a variant's line."""
    haploid: frozenset[bytes] = frozenset()
    """Contigs on which a genotype may have one allele."""
    unsure_missing: bool = False
    """Whether a genotype that did not pass its own filter (FT) is missing. It is refused otherwise."""
    name: str = "vcf"

    @contextmanager
    def open(self, path: Path) -> Iterator[Table]:
        """Open a file and read its header. See `Form`."""
        with lines_of(path, limit=MAX_LINE_BYTES, code=Code.VCF_UNFIT) as lines:
            yield Samples(self, path, lines)


class Samples(Table):
    """An open VCF."""

    def __init__(self, form: Vcf, path: Path, lines: Lines) -> None:
        self._form, self._path, self._lines = form, path, lines
        self.size = path.stat().st_size
        self._rest = iter(lines)
        self._samples = self._header()
        if len(self._samples) * len(form.variants) > MAX_CELLS:
            raise ToolError(
                Code.VCF_UNFIT,
                f"{path} has {len(self._samples):,} samples: with {len(form.variants):,} variants, more than"
                f" {MAX_CELLS:,} cells",
                "declare fewer variants",
            )
        self.columns = (
            Column(form.sample, String(nullable=False)),
            *(Column(name, Integer(64)) for name in form.variants),
        )

    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        import pyarrow
        import pyarrow.compute as pc

        from sealroom.schema.arrow import arrow_schema

        found = self._dosages(advance)
        kinds = dict(self.columns)
        schema = arrow_schema([Column(name, kinds[name]) for name in names])
        for begin in range(0, len(self._samples), BATCH_ROWS):
            end = min(begin + BATCH_ROWS, len(self._samples))
            columns = []
            for name in names:
                if name == self._form.sample:
                    columns.append(pyarrow.array(self._samples[begin:end], pyarrow.string()))
                    continue
                counts = pyarrow.UInt8Array.from_buffers(
                    pyarrow.uint8(), end - begin, [None, pyarrow.py_buffer(bytes(found[name][begin:end]))]
                )
                known = pc.if_else(pc.equal(counts, MISSING), None, counts)
                columns.append(known.cast(pyarrow.int64()))
            yield pyarrow.record_batch(columns, schema)

    def where(self, row: int) -> str:
        return f"sample {row + 1:,}"

    def notes(self) -> Sequence[tuple[str, str]]:
        return (("samples", f"{len(self._samples):,}"), ("lines read", f"{self._lines.number:,}"))

    def _header(self) -> list[str]:
        """Read to the line that names the samples."""
        for line in self._rest:
            if self._lines.number == 1:
                if _VERSION.fullmatch(line) is None:
                    raise self._lines.refused(
                        "does not begin a VCF 4.2, 4.3 or 4.4", "bcftools view writes 4.2"
                    )
            elif not line.startswith(b"##"):
                return self._names(line)
            elif self._lines.number > MAX_HEADER_LINES:
                break
        raise ToolError(Code.VCF_UNFIT, f"{self._path} has no line #CHROM that names its samples")

    def _names(self, line: bytes) -> list[str]:
        cells = line.split(b"\t")
        if tuple(cells[: len(_FIXED)]) != _FIXED or len(cells) == len(_FIXED):
            raise self._lines.refused("does not name the columns of a VCF with samples, between tabs")
        try:
            samples = [each.decode() for each in cells[len(_FIXED) :]]
        except UnicodeDecodeError:
            raise self._lines.refused("names a sample that is not UTF-8") from None
        if "" in samples or len(set(samples)) < len(samples):
            raise self._lines.refused("does not name each sample once")
        return samples

    def _dosages(self, advance: Advance | None) -> dict[str, bytearray]:
        """Read all lines; the dosages of each variant, by the name of its column."""
        wanted = {name: Dosages(variant) for name, variant in self._form.variants.items()}
        places: dict[tuple[bytes, bytes], list[Dosages]] = {}
        ids: dict[bytes, list[Dosages]] = {}
        for each in wanted.values():
            if each.variant.place is not None:
                places.setdefault(each.variant.place, []).append(each)
            if each.variant.id is not None:
                ids.setdefault(each.variant.id, []).append(each)
        tabs = len(_FIXED) + len(self._samples) - 1
        self._lines.tell(advance)
        for line in self._rest:
            if line.count(b"\t") != tabs:
                raise self._lines.refused("does not have as many cells as the heading", "is the file whole?")
            contig, position, id_, _ = line.split(b"\t", 3)
            meant = places.get((contig, position), ())
            if ids:
                named = [each for one in id_.split(b";") for each in ids.get(one, ())]
                meant = [*meant, *named]
            try:
                for each in meant:
                    self._read(line, each)
            except Unfit as error:
                raise self._lines.refused(error.reason, error.hint) from None
        self._refuse_absent(wanted)
        return {name: each.counts for name, each in wanted.items() if each.counts is not None}

    def _read(self, line: bytes, wanted: Dosages) -> None:
        """Take the genotypes of a line of a variant's place or id, if it has the variant's alleles."""
        variant = wanted.variant
        contig, _, _, ref, alts, _, passed, _, keys, *cells = line.split(b"\t")
        allele = place_in(alts, variant) if ref.upper() == variant.ref else None
        if allele is None:
            wanted.others = [*wanted.others, self._lines.number][:_TOLD]
            return
        if wanted.counts is not None:
            raise Unfit(
                f"has {variant.text} again: it stands in line {wanted.line:,}", "bcftools norm -d exact"
            )
        if passed.decode("latin-1") not in self._form.filters:
            raise Unfit(
                f"has {variant.text}, which did not pass the filters that are declared",
                'take it out of the study; or declare what may stand there: filter = ["PASS", "."]',
            )
        names = keys.split(b":")
        if names[0] != b"GT":
            raise Unfit(f"has {variant.text} without genotypes (GT first)")
        genotypes = Genotypes(allele, alts.count(b",") + 1, haploid=contig in self._form.haploid)
        at = names.index(b"FT") if b"FT" in names else None
        read, counts = genotypes.dosage, bytearray(len(cells))
        for number, cell in enumerate(cells):
            if at is not None and self._unsure(cell, at):
                counts[number] = MISSING
            else:
                counts[number] = read(cell.partition(b":")[0])
        wanted.counts, wanted.line = counts, self._lines.number

    def _unsure(self, cell: bytes, at: int) -> bool:
        """Whether a genotype did not pass its own filter."""
        values = cell.split(b":", at + 1)
        if len(values) <= at or values[at] in (b"PASS", b"."):
            return False
        if not self._form.unsure_missing:
            raise Unfit(
                "has a genotype that did not pass its own filter (FT)",
                'make such genotypes missing: unsure = "missing"',
            )
        return True

    def _refuse_absent(self, wanted: dict[str, Dosages]) -> None:
        absent = [each for each in wanted.values() if each.counts is None]
        if not absent:
            return
        told = "; ".join(f"{each.variant.text} ({_instead(each)})" for each in absent[:_TOLD]) + (
            "" if len(absent) <= _TOLD else f"; and {len(absent) - _TOLD:,} more"
        )
        raise ToolError(
            Code.VCF_UNFIT,
            f"{self._path} lacks {len(absent):,} of {len(wanted):,} variants: {told}",
            "contigs are named as in the file (19 is not chr19); positions and REF are of one assembly",
        )


def _instead(each: Dosages) -> str:
    if not each.others:
        return "no line has it"
    return f"other alleles in line {', '.join(f'{line:,}' for line in each.others)}"


def parse(words: Words, name: str | None) -> Form:
    """Read `[input]` of a VCF. Raises `prepare-malformed`."""
    sample = words.line("sample") or "sample"
    variants = {}
    for each, text in declared_columns(words, 'apoe4 = "rs429358:T:C"', sample).items():
        if not isinstance(text, str):
            words.fail(f"has the column {each[:80]} that is no variant", 'apoe4 = "rs429358:T:C"')
        try:
            variants[each] = Variant.parse(text)
        except ValueError as error:
            words.fail(f"has the column {each[:80]} that {error}", 'apoe4 = "19:44908684:T:C"')
    if len(set(variants.values())) < len(variants):
        words.fail("has one variant in two columns")
    filters = words.lines("filter") if words.has("filter") else ("PASS",)
    if not filters:
        words.fail("has filter that lets no variant pass", 'filter = ["PASS"]')
    return Vcf(
        sample=sample,
        variants=variants,
        filters=filters,
        haploid=frozenset(each.encode() for each in words.lines("haploid")),
        unsure_missing=words.one_of("unsure", ("refused", "missing")) == "missing",
    )
