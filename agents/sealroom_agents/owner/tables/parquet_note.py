# SPDX-License-Identifier: Apache-2.0
"""What a Parquet file notes of the columns that it was written from, to tell its owner which one is more.

Notes count for nothing in what is sealed. But pandas' periods, or polars' integers of 128 bits, are bytes to
everybody who does not read the note: who writes such a file hears of the column before it is sealed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema import Binary, Column
from sealroom.schema.names import shown
from sealroom.sealed.parquet import MAX_FOOTER_BYTES
from sealroom.sealed.thrift import CompactReader, Truncated
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.arrow_schema import Foreign, NoFlatbuffer, foreign_columns

_NOTES, _KEY, _VALUE = 5, 1, 2
"""Fields of FileMetaData and of KeyValue."""
_ARROW = b"ARROW:schema"
_TAIL = 8


def look_parquet(path: Path) -> tuple[tuple[Column, ...], int]:
    """Columns and rows of a Parquet file. Raises as `sealroom.sealed.parquet.read_footer`, and
    `schema-unsupported` with the name of a column that is more than the bytes that it stores."""
    from sealroom.sealed.parquet import read_footer

    try:
        columns, rows = read_footer(path)
    except SealError as error:
        if error.code == Code.SCHEMA_UNSUPPORTED:
            _refuse(_foreign(path), path)
        raise
    if any(isinstance(kind, Binary) and kind.length == 16 for _, kind in columns):
        _refuse(_foreign(path), path)
    return columns, rows


def _refuse(found: Sequence[Foreign], path: Path) -> None:
    for each in found:
        raise ToolError(
            Code.SCHEMA_UNSUPPORTED,
            f"{path} cannot be sealed as a table: the column {shown(each.name)} is {each.what}",
            each.remedy,
        )


def _foreign(path: Path) -> list[Foreign]:
    """What the note says; nothing where there is none that can be read."""
    try:
        note = _arrow_note(path)
        return [] if note is None else foreign_columns(base64.b64decode(note))
    except (Truncated, SealError, NoFlatbuffer, binascii.Error):
        return []


def _arrow_note(path: Path) -> bytes | None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= min(size - _TAIL, MAX_FOOTER_BYTES):
            return None
        file.seek(size - _TAIL - length)
        footer = CompactReader(memoryview(file.read(length)), "a footer")
    found = None
    for field, kind in footer.fields():
        if field != _NOTES:
            footer.skip(kind)
            continue
        for _ in footer.structs(kind):
            note = {}
            for inner, inner_kind in footer.fields():
                if inner in (_KEY, _VALUE):
                    note[inner] = footer.text(inner_kind)
                else:
                    footer.skip(inner_kind)
            if note.get(_KEY) == _ARROW:
                found = note.get(_VALUE)
    return found
