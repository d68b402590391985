# SPDX-License-Identifier: Apache-2.0
"""Which parts of a damaged sealed file still open, and the file as far as they go.

Each part opens on its own: its key and its context name the header, the part's number and how many there are.
So what opens is what its owner sealed, even where the index, the wrap or the end of the archive is gone, or
the disk no longer gives them. Only the header must be whole: all parts hang on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import HeaderError, PartError, SealError, SealIndexError
from sealroom.keys import Secret
from sealroom.sealed import Header, SealedArchive, check_commitment
from sealroom.sealed.archive import BLOCK, HEADER_NAME, ArchiveReader, padded
from sealroom.sealed.header import MAX_HEADER_BYTES
from sealroom.sealed.parallel import Buffers, for_each_part
from sealroom.sealed.parts import open_part, sealed_length
from sealroom.sealed.positional import read_at, write_at
from sealroom.sealed.reader import open_file
from sealroom.sealed.target import refuse_same, sealed_output
from sealroom.sealed.wrap import UNWRAPPED

Progress = Callable[[int, int], None]
_OPENS, _BROKEN, _MISSING, _UNREAD = b"\0", b"\1", b"\2", b"\3"
_CODES = {
    _BROKEN: Code.PART_DOES_NOT_OPEN,
    _MISSING: Code.ARCHIVE_TRUNCATED,
    _UNREAD: Code.SOURCE_UNREADABLE,
}
_HOW = {Code.ARCHIVE_TRUNCATED: "not there: the file ends before", Code.SOURCE_UNREADABLE: "cannot be read"}


@dataclass(frozen=True)
class BrokenParts:
    """Neighbouring parts that are broken in the same way."""

    first: int
    """Number of the first."""
    last: int
    """Number of the last."""
    begin: int
    """First byte of the file that they hold."""
    end: int
    """First byte after them."""
    code: Code
    """What is wrong: `part-does-not-open`, `archive-truncated` where the file ends before, or
    `source-unreadable` where the disk does not give it."""

    def json(self) -> dict[str, object]:
        """The same as JSON."""
        return {
            "first": self.first, "last": self.last, "begin": self.begin, "end": self.end, "code": self.code,
        }  # fmt: skip

    def sentence(self) -> str:
        """The same in words."""
        which = f"part {self.first}" if self.first == self.last else f"parts {self.first} to {self.last}"
        how = _HOW.get(self.code, "does not open" if self.first == self.last else "do not open")
        return f"{which}, bytes {self.begin:,} to {self.end - 1:,}: {how}"


@dataclass(frozen=True)
class Salvage:
    """What became of all parts."""

    header: Header
    """What the dataset is."""
    frame: SealError | None
    """What is wrong with the rest of the archive, if anything is."""
    broken: tuple[BrokenParts, ...]
    """The parts that do not open, in order."""

    @property
    def lost(self) -> int:
        """How many parts do not open."""
        return sum(each.last - each.first + 1 for each in self.broken)


def salvage(
    path: Path,
    *,
    dek: Secret,
    target: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Salvage:
    """Open every part. With `target`, write there what opens, and zeros for what does not, as one file of
    the full length that appears whole or not at all.

    Raises `SealError`: `wrong-key` when no part opens, `source-unreadable` when the file cannot be opened or
    the disk gives no part, `archive-truncated` when there is none, `header-malformed` and what else reading
    the header raises, `output-exists`, `output-unwritable`.
    """
    if target is not None:
        refuse_same(path, target)
    descriptor = open_file(path)
    try:
        frame = _frame(path, dek)
        with ExitStack() as stack:
            header, first = _header(descriptor)
            output = None
            if target is not None:
                output = stack.enter_context(sealed_output(target, overwrite=overwrite)).fileno()
                os.ftruncate(output, header.size)
            states = _open_all(descriptor, first, header, dek, output, progress)
            if states and _OPENS not in states:
                raise _nothing(states, frame)
    finally:
        os.close(descriptor)
    return Salvage(header=header, frame=frame, broken=_ranges(header, states))


def _frame(path: Path, dek: Secret) -> SealError | None:
    """What is wrong with all but the parts."""
    try:
        with SealedArchive.open(path) as archive:
            info = archive.info
            check_commitment(dek, header_digest=info.header_digest, commitment=info.index.key_commitment)
    except SealError as error:
        if error.code != Code.WRONG_KEY:
            return error
        # One flipped bit of the index says so too: which of the two is wrong, the parts tell.
        return SealIndexError(Code.INDEX_MISMATCH, "its index commits to another key than the one given")
    return None


_NO_PART = "`sealroom key list` says which header the key is for; fetch or restore the sealed file"


def _nothing(states: Sequence[bytes], frame: SealError | None) -> SealError:
    """Why there is no part that opens. Of a key nothing is said where none of them could be tried."""
    said = None if frame is None else frame.message
    if _BROKEN in states:
        what = "no part opens: it is the key of another file, or the header was altered"
        return SealIndexError(Code.WRONG_KEY, what, said or _NO_PART)
    return HeaderError(_CODES[states[0]], "no part is there that could be read", said)


def _header(descriptor: int) -> tuple[Header, int]:
    """The header, and where the first part's member begins."""
    reader = ArchiveReader(descriptor)
    header = Header.parse(reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES)))
    # Any wrap takes as many blocks, so the parts are found even where it is torn.
    return header, reader.position + BLOCK + padded(len(UNWRAPPED))


def _open_all(
    descriptor: int, first: int, header: Header, dek: Secret, output: int | None, progress: Progress | None
) -> Sequence[bytes]:
    whole, digest = header.part_length(0), header.digest
    stride = BLOCK + padded(sealed_length(whole))

    def make(number: int, buffers: Buffers) -> bytes:
        length = header.part_length(number)
        plain, sealed = buffers.target(length), buffers.source(sealed_length(length))
        try:
            there = read_at(descriptor, (sealed,), first + number * stride + BLOCK)
        except OSError:  # a disk that cannot give this part may well give the next
            plain[:] = bytes(length)
            return _UNREAD
        if not there:
            plain[:] = bytes(length)
            return _MISSING
        try:
            open_part(sealed, plain, data_key=dek, header_digest=digest, number=number, count=header.parts)
        except PartError:
            return _BROKEN
        return _OPENS

    def put(number: int, room: memoryview) -> None:
        assert output is not None
        try:
            write_at(output, (room[: header.part_length(number)],), number * header.part_size)
        except OSError as error:
            raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write the file: {error.strerror}") from None

    def tell(parts: int) -> None:
        if progress is not None:
            progress(min(parts * header.part_size, header.size), header.size)

    return for_each_part(
        make,
        header.parts,
        source=sealed_length(whole),
        target=whole,
        put=None if output is None else put,
        result=1,
        tell=tell,
    )


def _ranges(header: Header, states: Sequence[bytes]) -> tuple[BrokenParts, ...]:
    found = []
    for state, same in groupby(enumerate(states), key=lambda each: each[1]):
        if state != _OPENS:
            numbers = [number for number, _ in same]
            first, last = numbers[0], numbers[-1]
            begin, end = first * header.part_size, last * header.part_size + header.part_length(last)
            found.append(BrokenParts(first=first, last=last, begin=begin, end=end, code=_CODES[state]))
    return tuple(found)
