# SPDX-License-Identifier: Apache-2.0
"""AR-05: small files that stand for gigabytes, at their owner's. Each is read a bit at a time, or refused."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sealroom.sealed import source
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables import arrow_ipc, parquet_batches
from sealroom_agents.owner.tables.arrow_ipc import arrow_batches, arrow_columns
from sealroom_agents.owner.tables.in_memory import unfolded_bytes
from sealroom_agents.owner.tables.parquet_batches import BATCH_ROWS
from sealroom_agents.owner.tables.parquet_rows import ParquetRows

ROWS, LONG = 2_000, 1_000_000
"""Two gigabytes, unfolded."""
MOST_KB = 1_200_000
"""Memory of the command at its most, of which a batch and the next one take half a gigabyte."""
PROFILE = """
import sys
from sealroom_agents.cli import main
try:
    main(["profile", sys.argv[1], "--json"], prog_name="sealroom")
finally:
    with open("/proc/self/status") as status:
        sys.stderr.write(status.read())
"""


def one_text(rows: int) -> pa.Array:
    """One long text, for each row by its number."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * LONG]))


def in_lists() -> pa.Array:
    offsets = pa.array(range(0, ROWS + 1, 2), pa.int32())
    return pa.ListArray.from_arrays(offsets, one_text(ROWS))


def in_structs() -> pa.Array:
    return pa.StructArray.from_arrays([one_text(ROWS)], ["part"])


def in_one_run() -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array(["x" * LONG]))


def as_views() -> pa.Array:
    views = struct.pack("<i4sii", LONG, b"xxxx", 0, 0) * ROWS
    return pa.Array.from_buffers(
        pa.string_view(), ROWS, [None, pa.py_buffer(views), pa.py_buffer(b"x" * LONG)]
    )


def parquet(path: Path, values: pa.Array, **options: Any) -> Path:
    pq.write_table(pa.table({"t": values}), path, compression="zstd", **options)
    return path


def arrow(path: Path, values: pa.Array, *, stream: bool = False) -> Path:
    batch = pa.record_batch({"t": values})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    writer = (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, batch.schema, options=options)
    with writer:
        writer.write_batch(batch)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "parquet, a dictionary": lambda path: parquet(path, one_text(ROWS)),
    "parquet, a struct of a dictionary": lambda path: parquet(path, in_structs()),
    "parquet, a dictionary and plain pages": lambda path: parquet(
        path,
        pa.chunked_array(
            [one_text(ROWS).cast(pa.string()), pa.array([f"{i:09}" * 9 for i in range(40_000)])]
        ),
        write_batch_size=64,
    ),
    "parquet, shared beginnings": lambda path: parquet(
        path,
        pa.array(["x" * 10_000] * (ROWS * 100)),
        use_dictionary=False,
        column_encoding={"t": "DELTA_BYTE_ARRAY"},
    ),
    "arrow, a dictionary": lambda path: arrow(path, one_text(ROWS)),
    "arrow, a stream": lambda path: arrow(path, one_text(ROWS), stream=True),
    "arrow, a list of a dictionary": lambda path: arrow(path, in_lists()),
    "arrow, one run": lambda path: arrow(path, in_one_run()),
    "arrow, views of one text": lambda path: arrow(path, as_views()),
}


@pytest.mark.parametrize("which", FILES)
def test_memory_is_bounded_by_what_is_read_at_once(which: str, tmp_path: Path) -> None:
    path = FILES[which](tmp_path / "t.table")
    assert path.stat().st_size < 1_000_000
    ended = subprocess.run(
        [sys.executable, "-c", PROFILE, str(path)], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert json.loads(ended.stdout)["rows"] >= ROWS / 2
    most = re.search(r"^VmHWM:\s*([0-9]+) kB$", ended.stderr, re.MULTILINE)
    assert most is not None and int(most[1]) < MOST_KB


def parquet_rows(path: Path) -> list[int]:
    with path.open("rb", buffering=0) as file:
        return [batch.num_rows for batch in ParquetRows(file, name=path)]


def arrow_rows(path: Path) -> list[int]:
    return [batch.num_rows for batch in arrow_batches(path, arrow_columns(path))]


@pytest.mark.parametrize(
    "make", [one_text, lambda rows: in_lists().slice(0, rows // 2)], ids=["text", "list"]
)
def test_what_is_unfolded_bit_by_bit_is_what_was_written(
    make: Callable[[int], pa.Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 3 * LONG)
    monkeypatch.setattr(arrow_ipc, "BATCH_BYTES", 3 * LONG)
    values = make(20)
    with (made := parquet(tmp_path / "t.parquet", values)).open("rb", buffering=0) as file:
        found = list(ParquetRows(file, name=made))
    written = arrow(tmp_path / "t.arrow", values)
    others = list(arrow_batches(written, arrow_columns(written)))
    for batches in (found, others):
        assert len(batches) > 5, "in pieces"
        assert pa.Table.from_batches(batches).column("t").to_pylist() == values.to_pylist()


def test_lists_of_texts_of_several_row_groups_are_read(tmp_path: Path) -> None:
    """Each group has a dictionary of its own, which Arrow does not join inside of a list."""
    values = pa.array([[f"code {i % 7}", None] if i % 3 else None for i in range(1_000)])
    path = parquet(tmp_path / "t.parquet", values, row_group_size=300)
    with path.open("rb", buffering=0) as file:
        found = pa.Table.from_batches(list(ParquetRows(file, name=path)))
    assert found.column("t").to_pylist() == values.to_pylist()


def test_one_long_text_makes_no_small_batches(tmp_path: Path) -> None:
    values = pa.array([*(f"note {i}" for i in range(2 * BATCH_ROWS - 1)), "x" * LONG])
    path = parquet(tmp_path / "t.parquet", values, use_dictionary=False)
    assert parquet_rows(path) == [BATCH_ROWS, BATCH_ROWS]


def of_texts(path: Path) -> list[int]:
    return parquet_rows(parquet(path, pa.array(["y" * 200_000] * 20), use_dictionary=False))


def of_one_list(path: Path) -> list[int]:
    return parquet_rows(parquet(path, pa.array([[0] * 500_000], pa.list_(pa.int8()))))


def of_a_dictionary(path: Path) -> list[int]:
    return parquet_rows(parquet(path, pa.array(["y" * 600_000] * 20)))


def of_zeros(path: Path) -> list[int]:
    return arrow_rows(arrow(path, pa.array(np.zeros(1_000_000))))


@pytest.mark.parametrize("read", [of_texts, of_one_list, of_a_dictionary, of_zeros])
def test_what_would_take_more_memory_than_a_table_may_is_refused_with_its_numbers(
    read: Callable[[Path], list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.table"
    read(path)
    limits = source.TableLimits(table_bytes=500_000)
    monkeypatch.setattr(source.TableLimits, "of_this_machine", lambda: limits)
    with pytest.raises(ToolError, match="500,000") as caught:
        read(path)
    assert caught.value.code == "table-too-large" and caught.value.hint
    assert str(path) in caught.value.message


@pytest.mark.parametrize("how", ["file", "stream", "stream without markers"])
def test_dictionaries_count_together_however_their_messages_begin(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow still reads messages without a marker, as it wrote them before 0.15."""
    path = tmp_path / "t.arrow"
    batch = pa.record_batch({name: pa.array([name * 100_000]).dictionary_encode() for name in "abc"})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (pa.ipc.new_file if how == "file" else pa.ipc.new_stream)(
        path, batch.schema, options=options
    ) as writer:
        writer.write_batch(batch)
    assert arrow_rows(path) == [1]
    if how == "stream without markers":
        data = path.read_bytes()
        path.write_bytes(data[:8] + data[8:].replace(b"\xff\xff\xff\xff", b""))
    limits = source.TableLimits(table_bytes=250_000)
    monkeypatch.setattr(source.TableLimits, "of_this_machine", lambda: limits)
    with pytest.raises(ToolError, match="300,") as caught:
        arrow_rows(path)
    assert caught.value.code == "table-too-large", "each is less, and all together are not"


def test_more_rows_than_a_table_may_have_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """A run of a column says in eight bytes how many rows it has."""
    run = pa.RunEndEncodedArray.from_arrays(pa.array([2**31 - 1], pa.int32()), pa.array([1]))
    path, batch = tmp_path / "t.arrow", pa.record_batch({"t": run})
    with pa.ipc.new_file(path, batch.schema) as writer:
        for _ in range(3):
            writer.write_batch(batch)
    with pytest.raises(ToolError, match="6,442,450,941 rows") as caught:
        arrow_columns(path)
    assert caught.value.code == "table-too-large"


def test_empty_lists_within_lists_that_came_without_a_buffer_are_sealed(tmp_path: Path) -> None:
    """AR-08: Arrow itself reads memory that is not there when it is asked how large they are."""
    within = pa.Array.from_buffers(
        pa.list_(pa.string()), 0, [None, pa.py_buffer(b"")], children=[pa.array([], pa.string())]
    )
    path = arrow(tmp_path / "t.arrow", pa.ListArray.from_arrays(pa.array([0, 0], pa.int32()), within))
    written = (
        "import sys; from pathlib import Path; from sealroom_agents.owner.source import look, ready\n"
        "with ready(look(Path(sys.argv[1]), kind=None, declared=None)) as made: print(made.rows)"
    )
    ended = subprocess.run([sys.executable, "-c", written, str(path)], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.string())], ids=str)
def test_no_lists_that_begin_elsewhere_are_no_lists(kind: pa.DataType, tmp_path: Path) -> None:
    """AR-08: of no rows Arrow checks no places, and ends the process when it goes there."""
    places = pa.array([77], pa.int64() if pa.types.is_large_list(kind) else pa.int32()).buffers()[1]
    within = pa.Array.from_buffers(kind, 0, [None, places], children=[pa.array([], pa.string())])
    outer = pa.ListArray.from_arrays(pa.array([0, 0], pa.int32()), within)
    assert unfolded_bytes(outer) == 4
    unfolded = arrow_ipc.as_kind(outer, pa.list_(pa.list_(pa.string())))
    assert unfolded.to_pylist() == [[]]
    assert parquet_rows(parquet(tmp_path / "t.parquet", unfolded)) == [1]


def test_a_number_that_its_dictionary_does_not_have_is_refused(tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int32()), pa.array(["a"]), safe=False)
    with pytest.raises(ToolError, match="the column t holds a value") as caught:
        arrow_rows(arrow(tmp_path / "t.arrow", values))
    assert caught.value.code == "table-malformed"


@pytest.mark.parametrize("at", range(0, 400, 8))
def test_no_changed_message_raises_another_error(at: int, tmp_path: Path) -> None:
    """AR-08: whatever its messages say of lengths and places."""
    whole = arrow(tmp_path / "t.arrow", pa.array(range(100))).read_bytes()
    at += whole.index(b"\xff\xff\xff\xff", 16)
    path = tmp_path / "changed.arrow"
    for wrong in (b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", struct.pack("<q", 2**40)):
        path.write_bytes(whole[:at] + wrong + whole[at + 8 :])
        try:
            arrow_rows(path)
        except ToolError as error:
            assert error.code in ("not-arrow", "table-too-large", "table-malformed", "schema-unsupported")
