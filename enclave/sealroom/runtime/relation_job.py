# SPDX-License-Identifier: Apache-2.0
"""The job of a study whose relation computes: measured code alone, which runs no script.

It asks for the Parquet bytes of each dataset that the relation reads, as sealed memory; computes the table of
people with DuckDB; hands the columns of each field over, as a script does; and hands in what it got. Where a
person has one row, the numbers that it gives people rise, and the custodian has nothing to sort. Nothing here
is trusted with a key or with noise. It is sealed as a script is: were DuckDB taken over by a hostile file,
that code could do what a script can.

It loads DuckDB, NumPy and Arrow before the seal, and no pandas: what these two look for in it when they first
run is missing then, and they go on without. DuckDB starts after the seal. Before it, it would look for limits
of its control group, and give up where it finds one that it may not read; a sealed job is told that there is
none.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.relation.engine import Engine
from sealroom.runtime.channel import SCRIPT_BYTES, Channel, Frame
from sealroom.runtime.confine import Walls
from sealroom.runtime.job import begun
from sealroom.runtime.lists import entries, has_length
from sealroom.runtime.syscalls import Phase

MAX_THREADS = 4

MEMORY_SHARE = 0.6
"""The part of what the job may map that DuckDB may use. The rest is libraries, stacks of threads, and the
result as columns. Without a limit DuckDB asks the kernel, which tells a sealed job nothing."""


def threads() -> int:
    return min(MAX_THREADS, os.cpu_count() or 1)


def memory() -> int:
    """Bytes that DuckDB may use."""
    return int(resource.getrlimit(resource.RLIMIT_AS)[0] * MEMORY_SHARE)


def run(channel: Channel, walls: Walls) -> None:
    """The job's program."""
    pa.enable_signal_handlers(False)  # they need a pipe, and a relation is not interrupted
    compute(channel, begun(channel, walls, lambda begin: Phase.SEALED))


def compute(channel: Channel, begin: Mapping[str, Any]) -> None:
    """Compute the relation that `begin` holds, and release each field from it."""
    relation = begin["relation"]
    sources = {}
    for path in relation["datasets"]:
        frame = _ask(channel, {"op": "parquet", "path": path})
        if frame.descriptor is None:
            raise JobError(Code.REQUEST_MALFORMED, "the custodian sent no dataset")
        sources[path] = [frame.descriptor]  # open until the end
    engine = Engine(sources, threads=threads(), memory_bytes=memory())
    table = engine.run(relation["sql"])
    engine.close()
    result = Result(
        table,
        unit=begin["unit"],
        person=relation["person"],
        rows=relation["rows"],
        columns=relation["columns"],
        groups=begin["groups"],
    )
    fields = {name: _released(channel, result, name, field) for name, field in begin["fields"].items()}
    _ask(channel, {"op": "emit"}, [memoryview(json.dumps(fields, separators=(",", ":")).encode())])


def _released(channel: Channel, result: Result, name: str, field: Mapping[str, Any]) -> Any:
    """The value of one field. Of its table nothing is held afterwards."""
    head, payload = result.handed_over(
        numbers=field["numbers"], groups=field["groups"], vectors=field["vectors"]
    )
    request = {"op": "release", "kind": field["kind"], "field": name, **head}
    return _ask(channel, request, payload).head["value"]


class Result:
    """What a relation gave, as columns that the custodian takes. People are numbered: no id leaves."""

    def __init__(
        self,
        table: pa.Table,
        *,
        unit: str,
        person: str,
        rows: int,
        columns: Mapping[str, str],
        groups: Mapping[str, Sequence[str]],
    ) -> None:
        """`unit` names people towards the custodian, `person` in the table. `rows` is the most of a person,
        `columns` the table's name of each column, `groups` are the declared labels."""
        self._table = table
        self._columns = columns
        self._groups = groups
        self._unit = unit
        # Each is converted once, however many fields read it.
        self._kept = {(unit, "i8"): _people(table.column(person), rows)}

    def handed_over(
        self,
        *,
        numbers: Sequence[str],
        groups: Sequence[str],
        vectors: Sequence[tuple[str, int]] = (),
    ) -> tuple[dict[str, Any], list[memoryview]]:
        """The rows of one field, as `sealroom.privacy.rows.parse_rows` reads them: the head of a request, and
        a payload. Rows without a list of the declared length are not among them."""
        columns = [
            (self._unit, "i8"),
            *((name, "f8") for name in numbers),
            *((name, "i4") for name in groups),
        ]
        plain = [self._values(*each) for each in columns]
        kept = np.ones(len(self._table), np.bool_)
        for name, width in vectors:
            kept &= has_length(self._table.column(self._columns[name]), width)
        told: list[dict[str, Any]] = [{"name": name, "type": kind} for name, kind in columns]
        values = plain if kept.all() else [each[kept] for each in plain]
        for name, width in vectors:
            lists = entries(self._table.column(self._columns[name]), width, kept)
            told.append({"name": name, "type": lists.dtype.str[1:], "width": int(width)})
            values.append(lists)
        count = int(kept.sum())
        return {"rows": count, "columns": told}, [each.data for each in values if count]

    def _values(self, name: str, kind: str) -> np.ndarray[Any, Any]:
        if (name, kind) not in self._kept:
            column = self._table.column(self._columns[name])
            places = kind == "i4"
            self._kept[name, kind] = _places(column, self._groups[name]) if places else _number(column)
        return self._kept[name, kind]


def _people(column: pa.ChunkedArray, rows: int) -> np.ndarray[Any, Any]:
    """A number for the person of each row: the row's own, where a person has one row."""
    if rows == 1:
        return np.arange(len(column), dtype="<i8")
    return np.asarray(pc.rank(column, tiebreaker="dense").to_numpy(zero_copy_only=False), dtype="<i8")


def _number(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """A column as float64; NaN where a value is missing."""
    plain = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(plain.type):
        plain = plain.cast(pa.int8())
    numbers = plain.cast(pa.float64(), safe=False)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype="<f8")


def _places(column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray[Any, Any]:
    """The place of each value's label among the declared ones; −1 for none."""
    values = column
    if pa.types.is_boolean(column.type):
        values = column.cast(pa.string())  # true, false
        labels = [label.lower() for label in labels]
    elif not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        values = column.cast(pa.string())
    found = pc.fill_null(pc.index_in(values, value_set=pa.array(labels, values.type)), -1)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype="<i4")


def _ask(channel: Channel, request: dict[str, Any], payload: list[memoryview] | None = None) -> Frame:
    channel.send(request, payload or [])
    reply = channel.receive(head_limit=SCRIPT_BYTES)
    if reply is None:
        raise JobError(Code.CHANNEL_CLOSED, "the custodian is gone")
    if not reply.head.get("ok"):
        raise JobError(Code.parse(str(reply.head.get("code"))), str(reply.head.get("message")))
    return reply
