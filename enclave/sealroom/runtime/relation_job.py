# SPDX-License-Identifier: Apache-2.0
"""The job of a study whose relation computes: measured code alone, which runs no script.

It asks for the Parquet bytes of each dataset that the relation reads, as sealed memory; computes the table of
people with DuckDB; hands it over once a field, as a script does; and hands in what it got. Nothing here is
trusted with a key or with noise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.relation.engine import Engine
from sealroom.runtime.channel import SCRIPT_BYTES, Channel, Frame

MAX_THREADS = 4


def load() -> None:
    """Run a query over nothing, so that all that DuckDB loads late is loaded before the job is sealed."""
    engine = Engine({}, threads=threads())
    table = engine.run("SELECT * FROM (VALUES ('a'::VARCHAR, 1::BIGINT, NULL::DOUBLE)) v(c1, c2, c3)")
    _number(table.column("c2"))
    _places(table.column("c1"), ["a"])
    engine.close()


def threads() -> int:
    return min(MAX_THREADS, os.cpu_count() or 1)


def compute(channel: Channel, begin: Mapping[str, Any]) -> None:
    """Compute the relation that `begin` holds, and release each field from it."""
    relation = begin["relation"]
    descriptors, sources = [], {}
    for path in relation["datasets"]:
        frame = _ask(channel, {"op": "parquet", "path": path})
        if frame.descriptor is None:
            raise JobError(Code.REQUEST_MALFORMED, "the custodian sent no dataset")
        descriptors.append(frame.descriptor)  # open until the end: DuckDB opens it by its path, many times
        sources[path] = [f"/proc/self/fd/{frame.descriptor}"]
    engine = Engine(sources, threads=threads())
    table = engine.run(relation["sql"])
    engine.close()
    fields = {}
    for name, field in begin["fields"].items():
        head, payload = handed_over(table, relation["columns"], begin["unit"], field, begin["groups"])
        request = {"op": "release", "kind": field["kind"], "field": name, **head}
        fields[name] = _ask(channel, request, payload).head["value"]
    _ask(channel, {"op": "emit"}, [memoryview(json.dumps(fields, separators=(",", ":")).encode())])


def handed_over(
    table: pa.Table,
    ids: Mapping[str, str],
    unit: str,
    field: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Any], list[memoryview]]:
    """The rows of one field as the custodian takes them (`sealroom.privacy.rows.parse_rows`).

    `ids` is the compiled name of each column. The relation has one row a person: a row's number names its
    person, and no id leaves.
    """
    columns: list[tuple[str, str, np.ndarray[Any, Any]]] = [(unit, "i8", np.arange(len(table), dtype="<i8"))]
    columns += [(name, "f8", _number(table.column(ids[name]))) for name in field["numbers"]]
    columns += [(name, "i4", _places(table.column(ids[name]), groups[name])) for name in field["groups"]]
    head = {"rows": len(table), "columns": [{"name": name, "type": kind} for name, kind, _ in columns]}
    return head, [memoryview(values.tobytes()) for _, _, values in columns if len(table)]


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
