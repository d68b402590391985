# SPDX-License-Identifier: Apache-2.0
"""Sealing: refuses before it writes, and leaves nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sealroom.codes import Code
from sealroom.errors import PartError, SealError, SealroomError
from sealroom.sealed import PART_SIZE, SealedArchive, SealSummary, inspect, parallel, seal, unseal
from sealroom.sealed.archive import member_header
from sealroom.sealed.header import MAX_PARTS, USUAL_PART_SIZE, usual_part_size
from sealroom.sealed.parts import sealed_length
from tests.formats.sealing import PART, Sealed, other
from tests.formats.worked import CONTEXT, DATA_KEY, NAME, OWNER
from tests.patience import PATIENCE_S, until


def _seal(source: Path, target: Path, **changes: object) -> SealSummary:
    return seal(source, target, **{"recipient": CONTEXT, "owner": OWNER, "name": NAME, **changes})  # type: ignore[arg-type]


def test_sealing_refuses_to_overwrite_unless_told(sealed: Sealed, tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    _seal(sealed.source, target)
    with pytest.raises(SealError) as caught:
        _seal(sealed.source, target)
    assert caught.value.code == "output-exists"
    _seal(sealed.source, target, overwrite=True)
    assert os.listdir(tmp_path) == ["a.tar"] and target.stat().st_mode & 0o777 == 0o600


def test_sealing_a_file_onto_itself_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(sealed.source)
    before = sealed.source.read_bytes()
    with pytest.raises(SealError) as caught:
        _seal(sealed.source, link, overwrite=True)
    assert caught.value.code == "same-file" and sealed.source.read_bytes() == before


def test_sealing_a_table_does_without_arrow(sealed: Sealed, tmp_path: Path) -> None:
    """Its import takes as long as sealing a hundred megabytes."""
    script = """
import sys
from pathlib import Path
from sealroom.sealed import seal
from tests.formats.worked import CONTEXT, NAME, OWNER
source, target = map(Path, sys.argv[1:])
summary = seal(source, target, recipient=CONTEXT, owner=OWNER, name=NAME)
print(summary.rows, sorted({"numpy", "pyarrow"} & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(sealed.source), str(tmp_path / "a.tar")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout == f"{sealed.summary.rows} []\n"


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"note": pa.array([None], pa.null())}),
        pa.table({"note": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
        pa.table({"note": pa.array([[[[[[1]]]]]])}),
        pa.table({"note\n": pa.array([1])}),
        pa.table({"no\u0302te": pa.array([1])}),
        pa.table({"note": pa.array([1]), "NOTE": pa.array([1])}),
    ],
    ids=["null", "map", "deep", "line break", "NFD", "twice"],
)
def test_a_table_that_no_study_reads_is_refused_with_column_and_remedy(
    tmp_path: Path, table: pa.Table
) -> None:
    """AR-06, AR-07, AR-09."""
    source, target = tmp_path / "a.parquet", tmp_path / "a.tar"
    pq.write_table(table, source)
    with pytest.raises(SealError) as caught:
        _seal(source, target)
    assert caught.value.code == "schema-unsupported" and not target.exists()
    assert "o" in caught.value.message and caught.value.hint


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 100])
def test_another_file_is_not_parquet(tmp_path: Path, content: bytes) -> None:
    source, target = tmp_path / "a.parquet", tmp_path / "a.tar"
    source.write_bytes(content)
    with pytest.raises(SealError) as caught:
        _seal(source, target)
    assert caught.value.code == "not-parquet" and not target.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"owner": "hospital-A"},
        {"owner": "0x" + "A1" * 20},
        {"name": "../x"},
        {"dataset_version": 0},
        {"dataset_version": 2**32},
        {"part_size": 5000},
    ],
)
def test_a_header_that_could_not_be_read_is_not_written(
    sealed: Sealed, tmp_path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(SealError):
        _seal(sealed.source, tmp_path / "a.tar", **change)
    assert os.listdir(tmp_path) == []


def test_a_file_that_changes_while_it_is_sealed_leaves_nothing(sealed: Sealed, tmp_path: Path) -> None:
    """AR-11."""
    source = tmp_path / "growing"
    source.write_bytes(bytes(3 * PART))

    def grow(_done: int, _total: int) -> None:
        with source.open("ab") as stream:
            stream.write(b"x")

    with pytest.raises(SealError) as caught:
        _seal(
            source,
            tmp_path / "a.tar",
            media_type="application/octet-stream",
            part_size=PART,
            progress=grow,
        )
    assert caught.value.code == "source-changed" and os.listdir(tmp_path) == ["growing"]


def test_progress_is_told_in_order(sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "TELL_S", 0)
    seen: list[tuple[int, int]] = []
    other(sealed, tmp_path, progress=lambda done, total: seen.append((done, total)))

    size = sealed.source.stat().st_size
    told = [(min((number + 1) * PART, size), size) for number in range(sealed.summary.parts)]
    assert seen == told


def test_an_index_signature_names_its_owner(sealed: Sealed, tmp_path: Path) -> None:
    from sealroom import typed
    from sealroom.keys import address_of

    key = b"\x11" * 32
    signed = other(sealed, tmp_path, sign=lambda index: typed.sign(index.message(), key))

    index = inspect(signed.path).index
    assert index.signer() == address_of(key) and index.digest == signed.summary.index_digest
    assert inspect(sealed.path).index.signer() is None
    moved = replace(index, header=b"\x01" * 32)
    with suppress(SealroomError):
        assert moved.signer() != address_of(key)


def test_the_lengths_that_the_reader_computes_are_cobblestone_s() -> None:
    from cryptography.cobblestone import Cobblestone256Encryptor

    for length in (0, 1, 16_383, 16_384, 16_385, PART_SIZE):
        encryptor = Cobblestone256Encryptor(bytes(32), b"")
        sealed = encryptor.update(bytes(length)) + encryptor.finalize()
        assert len(sealed) == sealed_length(length)


def test_member_headers_are_those_of_the_standard_library() -> None:
    info = tarfile.TarInfo("parts/00007")
    info.size, info.mode = 8_396_872, 0o600
    assert member_header("parts/00007", 8_396_872) == info.tobuf(tarfile.USTAR_FORMAT)


# Processes, interrupts, sizes.

OPAQUE = "application/octet-stream"
HUGE = 50_000_000_000
"""Bytes of a file with holes: it takes no room, and sealing all of it takes the better part of a minute."""


def _children() -> set[int]:
    found = set[int]()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ends meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return found


def _with_holes(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(HUGE)
    return path


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_any_number_of_processes_seals_the_same_way(tmp_path: Path, processes: int) -> None:
    """CE-04: and no two parts have one salt, though their workers come from one process."""
    source, target, again = (tmp_path / name for name in ("file", "file.tar", "again"))
    source.write_bytes(os.urandom(9 * PART + 5))
    seen: list[int] = []
    _seal(
        source, target, media_type=OPAQUE, part_size=PART, processes=processes, dek=DATA_KEY,
        progress=lambda done, _: seen.append(done),
    )  # fmt: skip
    unseal(target, again, dek=DATA_KEY, processes=processes)

    assert again.read_bytes() == source.read_bytes() and seen == sorted(seen) and seen[-1] == 9 * PART + 5
    with SealedArchive.open(target) as archive, target.open("rb") as file:
        salts = {os.pread(file.fileno(), 24, archive.place(number)) for number in range(10)}
    assert len(salts) == 10


@pytest.mark.parametrize("after", [1, 5, 30])
def test_an_interrupt_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(parallel, "TELL_S", 0)
    source, target = tmp_path / "file", tmp_path / "file.tar"
    source.write_bytes(bytes(40 * PART))
    calls = 0

    def interrupt(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _seal(source, target, media_type=OPAQUE, part_size=PART, progress=interrupt, processes=1)
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_leaves_no_worker(tmp_path: Path) -> None:
    source, before = _with_holes(tmp_path / "file"), _children()
    workers: set[int] = set()

    def interrupt(_done: int, _total: int) -> None:
        workers.update(_children() - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _seal(source, tmp_path / "file.tar", media_type=OPAQUE, progress=interrupt, processes=3)
    assert len(workers) == 2 and _children() == before and os.listdir(tmp_path) == ["file"]


def test_a_worker_that_is_killed_is_our_error() -> None:
    """With what it was at, that part is lost: it is not taken for done."""
    before, here = _children(), os.getpid()
    begun, begin = os.pipe()
    workers: list[int] = []
    killed: list[int] = []

    def make(_number: int, _buffers: parallel.Buffers) -> bytes:
        if os.getpid() != here:
            os.write(begin, os.getpid().to_bytes(4, "big"))
            time.sleep(9999)
        while not killed and len(workers) < 2:  # both are at a part when the first is killed
            workers.append(int.from_bytes(os.read(begun, 4), "big"))
        return b""

    def kill_one(_done: int) -> None:
        if workers:
            killed.append(workers.pop())
            os.kill(killed[-1], signal.SIGKILL)

    with pytest.raises(SealError) as caught:
        parallel.for_each_part(make, 60, source=1, target=1, processes=3, tell=kill_one)
    assert caught.value.code == "worker-died" and _children() == before
    os.close(begun)
    os.close(begin)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_becomes_shorter_while_it_is_sealed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """AR-11: helpers look at it where it is mapped, and what is gone there ends them without a word."""
    monkeypatch.setattr(parallel, "TELL_S", 0)
    source, before = tmp_path / "file", _children()
    source.write_bytes(bytes(200 * PART))
    _seal(source, tmp_path / "whole.tar", media_type=OPAQUE, part_size=PART, processes=processes)
    (tmp_path / "whole.tar").unlink()

    def cut(_done: int, _total: int) -> None:
        os.truncate(source, 0)

    with pytest.raises(SealError) as caught:
        _seal(
            source,
            tmp_path / "file.tar",
            media_type=OPAQUE,
            part_size=PART,
            processes=processes,
            progress=cut,
        )
    assert caught.value.code == "source-changed"
    assert _children() == before and os.listdir(tmp_path) == ["file"]


def test_where_helpers_make_parts_this_process_makes_none() -> None:
    made_by: set[int] = set()

    def put(_number: int, room: memoryview) -> None:
        made_by.add(int.from_bytes(room[:8], "big"))

    def make(_number: int, buffers: parallel.Buffers) -> bytes:
        buffers.target(8)[:] = os.getpid().to_bytes(8, "big")
        return b""

    parallel.for_each_part(make, 60, source=1, target=8, put=put, processes=3, helpers_make=True)
    assert made_by and os.getpid() not in made_by
    made_by.clear()
    parallel.for_each_part(make, 60, source=1, target=8, put=put, processes=1, helpers_make=True)
    assert made_by == {os.getpid()}


def test_parts_are_put_by_one_process_whoever_made_them() -> None:
    """However many more are made than there is room for, and however long putting takes."""
    made_by: dict[int, int] = {}
    here, met = os.getpid(), set[int]()
    begun, begin = os.pipe()
    going, go = os.pipe()

    def meet() -> None:
        """No process goes on before all three have begun, which a busy machine may delay."""
        if os.getpid() in met:
            return
        met.add(os.getpid())
        if os.getpid() == here:
            assert os.read(begun, 1) + os.read(begun, 1) == b".."
            os.write(go, b"..")
        else:
            os.write(begin, b".")
            os.read(going, 1)

    def make(number: int, buffers: parallel.Buffers) -> bytes:
        meet()
        buffers.target(8)[:] = number.to_bytes(4, "big") + os.getpid().to_bytes(4, "big")
        return bytes((number,))

    def put(number: int, room: memoryview) -> None:
        meet()
        time.sleep(0.002)
        assert number not in made_by and int.from_bytes(room[:4], "big") == number
        made_by[number] = int.from_bytes(room[4:8], "big")

    results = parallel.for_each_part(make, 200, source=1, target=8, put=put, result=1, processes=3)
    assert results == [bytes((number,)) for number in range(200)]
    assert sorted(made_by) == list(range(200)) and len(set(made_by.values()) - {here}) == 2
    for end in (begun, begin, going, go):
        os.close(end)


def test_a_machine_that_starts_no_process_is_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(bytes(40 * PART))

    def no_more() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_more)
    with pytest.raises(SealError) as caught:
        _seal(source, tmp_path / "file.tar", media_type=OPAQUE, part_size=PART, processes=2)
    assert caught.value.code == "worker-died" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("length", [10, 400, 4000])
def test_what_a_worker_says_fits_into_one_piece(length: int) -> None:
    """However long the name of a file, and whatever its letters."""
    said = parallel._message(PartError(Code.PART_ALTERED, "ü" * length, "a hint"))
    error = parallel._error(said)

    assert len(said) <= 512 and said.count(b"\n") == 1
    assert (type(error), error.code, error.hint) == (PartError, "part-altered", "a hint")
    assert error.message and ("ü" * length).startswith(error.message)


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Whoever kills a process that seals does not leave its workers behind, with the data key."""
    process = _sealing_process(_with_holes(tmp_path / "file"), tmp_path / "file.tar")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert children
    until(lambda: not any(_lives(int(child)) for child in children))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _sealing_process(source: Path, target: Path) -> subprocess.Popen[bytes]:
    """A process that seals, and has told its progress once."""
    script = (
        "import sys; from pathlib import Path; from tests.formats.test_sealing import _seal;"
        "_seal(Path(sys.argv[1]), Path(sys.argv[2]), media_type='application/octet-stream', processes=2,"
        " progress=lambda done, total: print(done, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(source), str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None and process.stdout.readline()
    return process


def test_a_signal_while_sealing_leaves_no_file_and_ends_the_process(tmp_path: Path) -> None:
    process = _sealing_process(_with_holes(tmp_path / "file"), tmp_path / "file.tar")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == -signal.SIGINT and b"KeyboardInterrupt" in errors
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_that_is_full_is_our_error(tmp_path: Path, processes: int) -> None:
    source = tmp_path / "file"
    source.write_bytes(bytes(40 * PART))
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from sealroom.errors import SealError; from tests.formats.test_sealing import PART, _seal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try: _seal(Path(sys.argv[1]), Path(sys.argv[2]), media_type='application/octet-stream',"
        f" part_size=PART, processes={processes})\n"
        "except SealError as error: print(error.code, error.message)\n"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "file.tar")]
    found = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True, timeout=PATIENCE_S
    )
    assert found.stdout == "output-unwritable cannot write the output: File too large\n"
    assert os.listdir(tmp_path) == ["file"] and not found.stderr


@pytest.mark.parametrize(
    "size, part_size",
    [
        (0, USUAL_PART_SIZE),
        (MAX_PARTS * USUAL_PART_SIZE, USUAL_PART_SIZE),
        (MAX_PARTS * USUAL_PART_SIZE + 1, 2 * USUAL_PART_SIZE),
        (MAX_PARTS * PART_SIZE, PART_SIZE),
        (MAX_PARTS * PART_SIZE + 1, PART_SIZE),
    ],
)
def test_parts_grow_only_where_they_run_out(size: int, part_size: int) -> None:
    assert usual_part_size(size) == part_size


def test_sealing_imports_nothing_that_it_does_not_need() -> None:
    code = "import sys, sealroom.sealed; print([name for name in sys.argv[1:] if name in sys.modules])"
    heavy = ["eth_account", "eth_keys", "eth_utils", "numpy", "pandas", "pyarrow", "duckdb", "pydantic"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
