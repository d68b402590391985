# SPDX-License-Identifier: Apache-2.0
"""Which variants are meant, and what a genotype says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MISSING = 255
"""A dosage that is not known, in one byte."""
_ALLELES = r":(?P<ref>[ACGTN]{1,255}):(?P<alt>[ACGTN]{1,255})"
_PLACED = re.compile(r"([^\s:;,]{1,64}):([1-9][0-9]{0,9})" + _ALLELES)
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,63})" + _ALLELES)
_GENOTYPE = re.compile(rb"[/|]?(?:[0-9]{1,4}|\.)(?:[/|](?:[0-9]{1,4}|\.))*")
_ALLELE = re.compile(rb"[0-9]+|\.")


@dataclass
class Unfit(Exception):
    """A line that does not fit: why, as it follows `line 3`. Never what a sample has."""

    reason: str
    hint: str | None = None


@dataclass(frozen=True)
class Variant:
    """A variant whose allele is counted."""

    text: str
    """As it is declared."""
    place: tuple[bytes, bytes] | None
    """Contig and position; `None` where it is known by its id."""
    id: bytes | None
    """Its id, such as `rs429358`, where it is known by that."""
    ref: bytes
    """Bases of the reference."""
    alt: bytes
    """The bases that are counted."""

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read `19:44908684:T:C` or `rs429358:T:C`. Raises `ValueError`."""
        place = id_ = None
        if (found := _PLACED.fullmatch(text)) is not None:
            place = found[1].encode(), found[2].encode()
        elif (found := _NAMED.fullmatch(text)) is not None:
            id_ = found[1].encode()
        else:
            raise ValueError("is neither CONTIG:POSITION:REF:ALT nor ID:REF:ALT, with bases in capitals")
        ref, alt = found["ref"].encode(), found["alt"].encode()
        if ref == alt:
            raise ValueError("has one allele twice")
        return cls(text, place, id_, ref, alt)


@dataclass
class Dosages:
    """What is known of one variant while a file is read."""

    variant: Variant
    counts: bytearray | None = None
    """Of each sample: how often it has the allele, or `MISSING`."""
    line: int = 0
    """Where it stands."""
    others: list[int] = field(default_factory=list)
    """Lines of the same place or id with other alleles, the first few."""


def place_in(alts: bytes, variant: Variant) -> int | None:
    """The number of the variant's allele among those of a line, from 1; `None` where it is not there."""
    found = [number for number, alt in enumerate(alts.upper().split(b","), 1) if alt == variant.alt]
    if len(found) > 1:
        raise Unfit("has one allele twice")
    return found[0] if found else None


class Genotypes:
    """Genotypes of the samples of one line as dosages of one allele; each that is written alike is read once.

    `alleles` is how many the line has beside the reference, `allele` which one is counted; `haploid`: whether
    one allele alone may stand, as on Y. A sample that lacks an allele of two has no dosage.
    """

    def __init__(self, allele: int, alleles: int, *, haploid: bool) -> None:
        self._allele, self._alleles, self._haploid = allele, alleles, haploid
        self._known: dict[bytes, int] = {}

    def dosage(self, genotype: bytes) -> int:
        """How often the allele is there; `MISSING` where that is not known. Raises `Unfit`."""
        known = self._known.get(genotype)
        if known is None:
            known = self._known[genotype] = self._read(genotype)
        return known

    def _read(self, genotype: bytes) -> int:
        if genotype == b".":
            return MISSING
        if len(genotype) > 64 or _GENOTYPE.fullmatch(genotype) is None:
            raise Unfit("has a genotype that is none")
        found = _ALLELE.findall(genotype)
        if len(found) == 1 and not self._haploid:
            raise Unfit(
                "has a genotype of one allele", 'name contigs on which that is right: haploid = ["X"]'
            )
        if len(found) > 2:
            raise Unfit(f"has a genotype of {len(found)} alleles, where two are counted")
        if b"." in found:
            return MISSING
        numbers = [int(each) for each in found]
        if max(numbers) > self._alleles:
            raise Unfit("has a genotype with an allele that the line does not name")
        return numbers.count(self._allele)
