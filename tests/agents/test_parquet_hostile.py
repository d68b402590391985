# SPDX-License-Identifier: Apache-2.0
"""Parquet files that break, end or change while they are read ahead, and readers that stop before the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.patience import until

from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.parquet_batches import BATCH_ROWS
from sealroom_agents.owner.tables.parquet_rows import ParquetRows

ROWS = 6 * BATCH_ROWS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One row group, so that its pages are all that divides it."""
    made = tmp_path / "t.parquet"
    texts = [f"text {number * 7919 % ROWS}" for number in range(ROWS)]
    table = pa.table({"a": range(ROWS), "s": texts, "l": [[number % 5] for number in range(ROWS)]})
    pq.write_table(table, made, row_group_size=ROWS, use_dictionary=False, compression="zstd")
    return made


def rows(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(batch.num_rows for batch in ParquetRows(file, name=path))


def opened(path: Path) -> Generator[Any, None, None]:
    """Its batches, of which one was taken."""

    def batches() -> Generator[Any, None, None]:
        with path.open("rb", buffering=0) as file:
            yield from ParquetRows(file, name=path)

    found = batches()
    next(found)
    return found


def no_thread_is_left() -> bool:
    return not [each for each in threading.enumerate() if each.name.startswith("rows")]


def in_the_middle(path: Path, column: int) -> int:
    """Where the frame of a page in the middle of a column begins, behind its header."""
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(column)
    begin, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    data = path.read_bytes()
    found = data.index(b"\x28\xb5\x2f\xfd", (begin + end) // 2)
    assert found < end
    return found


@pytest.mark.parametrize("column, name", [(0, "a"), (1, "s"), (2, "l")])
def test_a_page_that_is_broken_in_the_middle_is_told_with_its_column(
    column: int, name: str, path: Path
) -> None:
    """What the thread meets is refused in the words of the one who waits for it."""
    assert rows(path) == ROWS
    at = in_the_middle(path, column)
    data = bytearray(path.read_bytes())
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(ToolError, match=f"the column {name} holds a page that cannot be read") as caught:
        rows(path)
    assert caught.value.code == "not-parquet"
    assert no_thread_is_left()


def test_a_file_that_is_cut_while_it_is_read_is_refused(path: Path) -> None:
    batches = opened(path)
    os.truncate(path, path.stat().st_size // 3)
    with pytest.raises(ToolError) as caught:
        list(batches)
    assert caught.value.code == "not-parquet"
    assert no_thread_is_left()


def test_who_stops_early_leaves_no_thread(path: Path) -> None:
    batches = opened(path)
    assert not no_thread_is_left()
    batches.close()
    assert no_thread_is_left()
    dropped = opened(path)
    del dropped
    until(no_thread_is_left)


def test_an_interrupted_read_ends_with_its_thread(path: Path) -> None:
    """Ctrl-C between two batches; the batch that is being decoded is waited for."""
    with pytest.raises(KeyboardInterrupt):
        for _ in opened(path):
            signal.raise_signal(signal.SIGINT)
    assert no_thread_is_left()


def test_a_process_that_is_forked_afterwards_reads_too(path: Path) -> None:
    """seal forks helpers after the look: nothing of its threads is waited for there."""
    opened(path).close()
    assert rows(path) == ROWS
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if rows(path) == ROWS else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_is_read_twice_at_one_time(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        both = ParquetRows(file, name=path)
        pairs = list(zip(both, both, strict=True))
    assert all(one.equals(other) for one, other in pairs)
    assert sum(one.num_rows for one, _ in pairs) == ROWS


def test_columns_without_number_are_read(tmp_path: Path) -> None:
    """As many as a table may have."""
    made = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"c{number}": [number] for number in range(4000)}), made)
    assert rows(made) == 1
