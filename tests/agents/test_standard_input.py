# SPDX-License-Identifier: Apache-2.0
"""What comes through a pipe is sealed as the file that it would have been. What is neither a file nor a
folder is refused before anything is opened."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.agents.shell import environment, forked
from tests.patience import PATIENCE_S

ACCOUNT = "0x" + 40 * "1"
SEAL = f"sealroom seal --account {ACCOUNT} --in - --name t --yes"
OPEN = f"sealroom unseal sealed/{ACCOUNT}/t.tar --key keys/{ACCOUNT}/t.key --out t.parquet"
TABLE = pa.table({"id": pa.array([1, 2, None]), "who": ["Ada", None, "ä"]})


def said(command: str, folder: Path) -> str:
    return forked(command, folder).stdout


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = pl.DataFrame(TABLE)
    frame.write_ipc_stream(tmp_path / "stream")
    frame.write_ipc(tmp_path / "file")
    frame.write_parquet(tmp_path / "parquet")
    (tmp_path / "csv").write_text("id,who\n1,Ada\n")
    return tmp_path


@pytest.mark.parametrize("name", ["stream", "file", "parquet"])
def test_a_table_through_a_pipe_is_sealed(folder: Path, name: str) -> None:
    done = forked(f"set -o pipefail; cat {name} | {SEAL} && {OPEN}", folder)
    assert done.returncode == 0, done.stdout
    assert pq.read_table(folder / "t.parquet").cast(TABLE.schema).equals(TABLE)
    assert (folder / "t.parquet").read_bytes() == (folder / name).read_bytes() or name != "parquet"


def test_from_a_writing_program_and_from_a_redirected_file(folder: Path) -> None:
    write = "import duckdb, sys; duckdb.sql(\"COPY (SELECT 1 AS id) TO '/dev/stdout' (FORMAT parquet)\")"
    (folder / "write.py").write_text(write)
    assert json.loads(said(f"{sys.executable} write.py | sealroom profile - --json", folder))["rows"] == 1
    assert json.loads(said("sealroom profile - --json < stream", folder))["file"] == "standard input"


def test_nothing_is_left_of_what_came(folder: Path) -> None:
    """OP-04."""
    before = written(folder)
    assert forked("cat stream | sealroom profile -", folder).returncode == 0
    assert written(folder) == before
    forked(f"cat stream | {SEAL}", folder)
    assert written(folder) - before == {"t.tar", "t.key", "t.registration.json", "report-key.secret"}


def test_half_a_stream_is_refused_and_called_what_it_is(folder: Path) -> None:
    assert forked(f"cat stream | {SEAL}", folder).returncode == 0
    told = said("head -c 300 stream | sealroom profile -", folder)
    assert "error: cannot read standard input as Arrow IPC" in told
    assert "/proc" not in told


def test_a_csv_is_named_since_its_first_bytes_say_nothing(folder: Path) -> None:
    assert "standard input  csv" in said("cat csv | sealroom profile - --as csv", folder)
    # From its first bytes alone: all of it would never end.
    told = said("yes | sealroom profile - --json", folder)
    assert "not-a-table" in told and "--as csv" in told


@pytest.mark.parametrize("lacks", [" --name t", " --yes"])
def test_a_pipe_has_no_name_and_answers_nothing(folder: Path, lacks: str) -> None:
    assert forked(f"cat stream | {SEAL}", folder).returncode == 0
    done = forked(f"cat stream | {SEAL.replace(lacks, '')} --key-out k --out o", folder)
    assert done.returncode == 2
    assert "needs --name NAME, and --yes" in done.stdout


@pytest.mark.parametrize("path", ["fifo", "/dev/zero", "/dev/tty", "socket"])
@pytest.mark.parametrize("command", ["sealroom profile", f"sealroom seal --account {ACCOUNT} --yes --in"])
def test_what_is_no_file_is_refused_before_it_is_opened(folder: Path, command: str, path: str) -> None:
    """Nobody writes into the FIFO: to open it would be to wait without end."""
    import socket

    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as there:
        here = os.getcwd()
        os.chdir(folder)  # the name of a socket has little room
        try:
            there.bind("socket")
        finally:
            os.chdir(here)
        done = forked(f"{command} {path} --json 2>/dev/null", folder)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "source-unsupported"


@pytest.mark.parametrize("given", ["zero", "terminal"])
def test_a_device_or_a_terminal_as_standard_input_is_refused(folder: Path, given: str) -> None:
    ours, theirs = pty.openpty()
    zero = os.open("/dev/zero", os.O_RDONLY)
    try:
        done = subprocess.run(
            ["sealroom", "profile", "-", "--json"],
            cwd=folder,
            env=environment(),
            stdin=zero if given == "zero" else theirs,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    finally:
        for descriptor in (ours, theirs, zero):
            os.close(descriptor)
    assert json.loads(done.stdout)["code"] == "source-unsupported"
    assert {"zero": "a device", "terminal": "a terminal"}[given] in done.stderr


@pytest.mark.parametrize("name", ["t.xlsx", "t.xls", "t.ods"])
def test_a_workbook_is_refused_with_what_to_save_instead(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"PK\3\4rest" if name != "t.xls" else b"\xd0\xcf\x11\xe0rest")
    told = said(f"sealroom profile {name}", folder)
    assert "is a workbook" in told and "as CSV in UTF-8" in told
