# SPDX-License-Identifier: Apache-2.0
"""Batches of rows as Parquet: the one form of a table that a recipe reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.in_memory import unfolded_bytes

ROW_GROUP_BYTES = 64 * 1024 * 1024
"""How much of a table one row group holds, before it is compressed."""

Advance = Callable[[int], None]


def same_rows(path: Path, **counted: int) -> None:
    """Raise `rows-differ` unless all ways to count the rows agree."""
    if len(set(counted.values())) > 1:
        said = ", ".join(f"{count:,} {way}" for way, count in counted.items())
        raise ToolError(
            Code.ROWS_DIFFER,
            f"the rows of {path} cannot be counted the same twice: {said}",
            "nothing was sealed",
        )


def write_batches(batches: Iterable[Any], schema: Any, target: BinaryIO) -> int:
    """Write all batches, gathered into row groups of one size however small they come; returns their rows."""
    import pyarrow
    import pyarrow.parquet

    waiting: list[Any] = []
    rows = gathered = 0
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                waiting.clear()

        for batch in batches:
            rows += batch.num_rows
            gathered += sum(map(unfolded_bytes, batch.columns))
            waiting.append(pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema))
            if gathered >= ROW_GROUP_BYTES:
                flush()
                gathered = 0
        flush()
    return rows


def as_schema(batch: Any, schema: Any) -> Any:
    """The same batch with each column as the schema has it."""
    import pyarrow

    pairs = zip(batch.columns, schema, strict=True)
    arrays = [values if values.type == one.type else values.cast(one.type) for values, one in pairs]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
