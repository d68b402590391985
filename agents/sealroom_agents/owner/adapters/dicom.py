# SPDX-License-Identifier: Apache-2.0
"""A folder of DICOM files as a table: a row for each image or series, of what is declared alone.

All else stays at home by construction. Which attributes that tell who somebody is were there is told, by tag
and number of files, and never a value. One that is declared must become a pseudonym, or a year or month of it
is kept.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Column
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import folder
from sealroom_agents.owner.adapters.declared import declared_columns
from sealroom_agents.owner.adapters.dicom_columns import Attribute, read_attribute
from sealroom_agents.owner.adapters.dicom_files import DIRECTORY, PRIVATE, read_file, reading, telling
from sealroom_agents.owner.adapters.dicom_pixels import Pixels, read_pixels
from sealroom_agents.owner.adapters.dicom_profile import EDITION, listed, written
from sealroom_agents.owner.image_table import PICTURE
from sealroom_agents.owner.images import Unfit
from sealroom_agents.owner.prepare.forms import Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words

BATCH_ROWS = 512
BATCH_BYTES = 64 * 2**20
"""Bytes of pixels that one batch holds."""
_TOLD = 5
"""Files that a refusal names."""
_GIVEN_UP = 1000
"""Files that do not fit, after which no more are looked at."""


@dataclass(frozen=True)
class Dicom(Form):
    """What `[input]` declares of a folder."""

    attributes: dict[str, Attribute]
    """The columns."""
    pixels: Pixels | None
    """The column of pictures; `None` where there is none."""
    series: bool = False
    """Whether a row is a series, whose files must agree; else it is an image."""
    unknown_burned_in: bool = False
    """Whether pictures are taken of which nobody says whether text is burned in."""
    name: str = "dicom"

    def identifies(self, column: str) -> str | None:
        found = self.attributes.get(column)
        return None if found is None else found.identifies

    @contextmanager
    def open(self, path: Path) -> Iterator[Table]:
        """Open a folder: list it. Raises `folder-unsupported` for a link in it. See `Form`."""
        if not path.is_dir():
            raise ToolError(Code.DICOM_UNFIT, f"{path} is no folder", "name the folder that the files lie in")
        yield Images(self, path, [each for each in folder.listing(path) if each.size is not None])


class Images(Table):
    """An open folder. Files are told by their number in the order of names: a name may be a person's."""

    def __init__(self, form: Dicom, path: Path, files: list[folder.Entry]) -> None:
        self._form, self._path, self._files = form, path, files
        self.size = sum(each.size or 0 for each in files)
        pictures = () if form.pixels is None else (Column(form.pixels.column, PICTURE),)
        self.columns = (*(Column(name, each.type) for name, each in form.attributes.items()), *pictures)
        self._rows = array("I")
        self._directories = 0
        self._found: Counter[int] = Counter()
        self._in_files: Counter[int] = Counter()
        self._declared = {each.tag for each in form.attributes.values()}

    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        import pyarrow

        from sealroom.schema.arrow import arrow_schema

        kinds = dict(self.columns)
        schema = arrow_schema([Column(name, kinds[name]) for name in names])
        rows: list[tuple[Any, ...]] = []
        size = 0 if self._form.pixels is None else self._form.pixels.form.length
        most = min(BATCH_ROWS, max(1, BATCH_BYTES // max(size, 1)))

        def batch() -> Any:
            columns = [
                _pictures(values, kind) if name not in self._form.attributes else pyarrow.array(values, kind)
                for name, kind, values in zip(names, schema.types, zip(*rows, strict=True), strict=True)
            ]
            return pyarrow.record_batch(columns, schema)

        taken = self._series(names, advance) if self._form.series else self._images(names, advance)
        for number, row in taken:
            self._rows.append(number)
            rows.append(row)
            if len(rows) == most:
                yield batch()
                rows.clear()
        if rows:
            yield batch()

    def where(self, row: int) -> str:
        return f"file {self._rows[row]:,} by name"

    def notes(self) -> Sequence[tuple[str, str]]:
        """What was taken and what was not: attributes on the standard's list by tag, with their files."""
        told = [("series" if self._form.series else "images", f"{len(self._rows):,}")]
        if self._directories:
            told.append(("indexes left out (DICOMDIR)", f"{self._directories:,}"))
        told.append(("removed, of the list of", EDITION))
        for tag in sorted(self._in_files):
            known = listed(tag)
            name = "private attributes" if tag == PRIVATE or known is None else f"{written(tag)} {known.name}"
            files, times = self._in_files[tag], self._found[tag]
            more = "" if files == times else f", {times:,} times"
            told.append((f"  {name}", f"in {files:,} {'file' if files == 1 else 'files'}{more}"))
        return told

    def _images(self, names: Sequence[str], advance: Advance | None) -> Iterator[tuple[int, tuple[Any, ...]]]:
        seen: dict[str, int] = {}
        for number, dataset, unfit in self._datasets(advance):
            try:
                instance = _uid(dataset, "SOPInstanceUID")
                if not instance:
                    raise Unfit("does not say which image it is (SOPInstanceUID)")
                if seen.setdefault(instance, number) != number:
                    raise Unfit(f"is the image of file {seen[instance]:,} again")
                row = self._row(dataset, names)
            except Unfit as error:
                unfit[number] = error.reason
                continue
            yield number, row

    def _series(self, names: Sequence[str], advance: Advance | None) -> Iterator[tuple[int, tuple[Any, ...]]]:
        found: dict[str, tuple[int, tuple[Any, ...]]] = {}
        for number, dataset, unfit in self._datasets(advance):
            try:
                row = self._row(dataset, names)
                series = _uid(dataset, "SeriesInstanceUID")
                if not series:
                    raise Unfit("does not say of which series it is")
                first, same = found.setdefault(series, (number, row))
                if same != row:
                    differs = next(n for n, a, b in zip(names, same, row, strict=True) if a != b)
                    raise Unfit(f"has another {differs} than file {first:,} of the same series")
            except Unfit as error:
                unfit[number] = error.reason
        yield from found.values()

    def _datasets(self, advance: Advance | None) -> Iterator[tuple[int, Any, dict[int, str]]]:
        """Each file that can be read, with its number, and where to say why it does not fit.

        Raises `dicom-unfit` behind the last file for all that do not.
        """
        unfit: dict[int, str] = {}
        done = 0
        for number, entry in enumerate(self._files, 1):
            if len(unfit) >= _GIVEN_UP:
                break
            try:
                dataset = read_file(entry.path, pixels=self._form.pixels is not None)
                if dataset.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
                    self._directories += 1
                    continue
                self._count(telling(dataset), dataset)
                yield number, dataset, unfit
            except Unfit as error:
                unfit[number] = error.reason
            done += entry.size or 0
            if advance is not None:
                advance(done)
        if unfit or not self._files:
            told = "; ".join(f"file {number:,} {why}" for number, why in list(unfit.items())[:_TOLD])
            more = "" if len(unfit) <= _TOLD else f"; and {len(unfit) - _TOLD:,} more"
            raise ToolError(
                Code.DICOM_UNFIT,
                f"{len(unfit):,} of {len(self._files):,} files in {self._path} cannot be taken: {told}{more}"
                if unfit
                else f"{self._path} has no files",
                "files are counted in the order of their names, as LC_ALL=C sort gives it",
            )

    def _count(self, found: Counter[int], dataset: Any) -> None:
        for tag in self._declared:
            if tag in found:
                found[tag] -= tag in dataset  # that one is taken
        found = +found
        self._found.update(found)
        self._in_files.update(found.keys())

    def _row(self, dataset: Any, names: Sequence[str]) -> tuple[Any, ...]:
        with reading():  # pydicom reads a value when it is asked for
            return self._values(dataset, names)
        raise AssertionError("the block returns or raises")

    def _values(self, dataset: Any, names: Sequence[str]) -> tuple[Any, ...]:
        if self._form.pixels is not None:
            _refuse_burned_in(dataset, unknown=self._form.unknown_burned_in)
        row = []
        for name in names:
            attribute = self._form.attributes.get(name)
            if attribute is not None:
                try:
                    row.append(attribute.of(dataset))
                except Unfit:
                    raise
                except Exception:  # as above
                    raise Unfit(f"has a broken value of {attribute.keyword}") from None
            elif self._form.pixels is not None:
                row.append(self._form.pixels.of(dataset))
        return tuple(row)


def _uid(dataset: Any, keyword: str) -> str:
    with reading():
        return str(dataset.get(keyword) or "")
    raise AssertionError("the block returns or raises")


def _refuse_burned_in(dataset: Any, *, unknown: bool) -> None:
    if str(dataset.get("RecognizableVisualFeatures") or "") == "YES":
        raise Unfit("shows a face, as it says itself (RecognizableVisualFeatures)")
    burned = str(dataset.get("BurnedInAnnotation") or "")
    if burned == "YES":
        raise Unfit("has text burned into its picture, as it says itself (BurnedInAnnotation)")
    if burned != "NO" and not unknown:
        raise Unfit(
            "does not say whether text is burned into its picture (BurnedInAnnotation): look, then declare"
            ' burned-in = "unknown"'
        )


def _pictures(values: Sequence[bytes], kind: Any) -> Any:
    import pyarrow

    ends = array("i", [0])
    for each in values:
        ends.append(ends[-1] + len(each))
    numbers = pyarrow.UInt8Array.from_buffers(
        pyarrow.uint8(), ends[-1], [None, pyarrow.py_buffer(b"".join(values))]
    )
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), numbers, type=kind)


def parse(words: Words, name: str | None) -> Form:
    """Read `[input]` of a folder of DICOM. Raises `prepare-malformed`, `package-missing`."""
    import pydicom  # noqa: F401 - the extra is asked for at once, by its own name

    pixels = read_pixels(Words(words.raw("pixels"), "[input.pixels]")) if words.has("pixels") else None
    series = words.one_of("rows", ("image", "series"), "image") == "series"
    unknown = words.one_of("burned-in", ("refused", "unknown"), "refused") == "unknown"
    if series and pixels is not None:
        words.fail("has pixels, and rows of series: a series has many pictures", 'rows = "image"')
    if unknown and pixels is None:
        words.fail("has burned-in and no pixels")
    beside = () if pixels is None else (pixels.column,)
    attributes = {
        each: read_attribute(Words(value, f"[input.columns] {each}"))
        for each, value in declared_columns(words, 'person = { tag = "PatientID" }', *beside).items()
    }
    return Dicom(attributes, pixels, series, unknown)
