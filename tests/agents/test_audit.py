# SPDX-License-Identifier: Apache-2.0
"""The gate's audit log over kills, full disks and cuts (RE-12, OP-05)."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors.vector import FOLDER, read

from sealroom.encoding import canonical, to_hex
from sealroom_agents.cli.gatelog import gate_log as command
from sealroom_agents.errors import GateError
from sealroom_agents.gate.audit import GENESIS, AuditLog, Head, verify
from sealroom_agents.gate.sessions import Sessions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@contextmanager
def opened(folder: Path, **options: bytes) -> Iterator[AuditLog]:
    """The log as a gate opens it: beside the database that keeps its head."""
    sessions = Sessions.open(folder)
    try:
        log = AuditLog(folder / "audit.jsonl", sessions, clock=lambda: 1_800_000_000, **options)
        try:
            yield log
        finally:
            log.close()
    finally:
        sessions.close()


def written(folder: Path, entries: int) -> Path:
    """A log of so many entries, closed."""
    with opened(folder) as log:
        for number in range(entries):
            log.append("refused", facts={"number": number})
    return folder / "audit.jsonl"


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_bytes().splitlines()]


def refusal(folder: Path, **options: bytes) -> GateError:
    with pytest.raises(GateError) as error, opened(folder, **options):
        pass
    return error.value


def test_a_log_that_is_whole_goes_on(folder: Path) -> None:
    path = written(folder, 3)
    with opened(folder) as log:
        assert log.head == verify(path)
        assert log.append("started", facts={}).sequence == 4
    assert verify(path).sequence == 4


@pytest.mark.parametrize(
    "rest",
    [b"{", b'{"digest":"0x', bytes(300), b'{"digest":"0x00"}\n', b"\n", bytes(99) + b"\n", b"\xff\xfe"],
    ids=["a brace", "half an entry", "zeros", "a line", "an empty line", "zeros and a line", "no text"],
)
def test_a_torn_last_line_is_set_aside_and_the_log_says_so(folder: Path, rest: bytes) -> None:
    """A power cut leaves a part of the last entry, or zeros, and the entry never counted."""
    path = written(folder, 2)
    with path.open("ab") as file:
        file.write(rest)

    with opened(folder) as log:
        log.append("started", facts={})

    assert events(path) == ["refused", "refused", "torn-entry-set-aside", "started"]
    assert verify(path).sequence == 4
    aside = json.loads(path.read_bytes().splitlines()[2])["facts"]["file"]
    assert (folder / aside).read_bytes() == rest


@given(cut=st.integers(min_value=0), keep_head=st.booleans())
@settings(max_examples=30, deadline=None)
def test_wherever_a_write_stops_the_gate_starts_again(cut: int, keep_head: bool) -> None:
    """Every prefix of the third entry, with the head of two or, where it was whole, of three entries."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "state"
        path = written(folder, 2)
        before, head = path.read_bytes(), verify(path)
        written(folder, 1)
        third = path.read_bytes()[len(before) :]
        cut %= len(third) + 1
        path.write_bytes(before + third[:cut])
        if cut < len(third) or not keep_head:
            sessions = Sessions.open(folder)
            sessions.keep_audit_head(head)
            sessions.close()

        with opened(folder) as log:
            kept = log.head.sequence

        assert kept == (2 if cut == 0 else 3)
        assert verify(path).sequence == kept


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: lines[:-1], "audit-cut"),
        (lambda lines: [], "audit-cut"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], "audit-broken"),
        (lambda lines: lines[1:], "audit-broken"),
        (lambda lines: [lines[0].replace(b"refused", b"granted"), *lines[1:]], "audit-broken"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "audit-broken"),
        (lambda lines: [*lines, b"x\n", b"y\n"], "audit-broken"),
        (lambda lines: [*lines, b"x" * (1 << 17)], "audit-broken"),
    ],
    ids=["last line", "all lines", "half of it", "first line", "edited", "swapped", "two more", "a flood"],
)
def test_a_log_that_lacks_what_was_written_is_refused_until_the_operator_accepts_it(
    folder: Path, change: Callable[[list[bytes]], list[bytes]], code: str
) -> None:
    path = written(folder, 3)
    head = verify(path)
    changed = b"".join(change(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(changed)

    error = refusal(folder)
    assert error.code == code
    assert f"--accept-audit-break 0x{head.digest.hex()}" in (error.hint or "")
    assert path.read_bytes() == changed, "a refusal leaves everything as it is"
    assert refusal(folder, accept_break=bytes(32)).code == code, "another digest accepts another break"

    with opened(folder, accept_break=head.digest) as log:
        log.append("started", facts={})
    assert events(path) == ["break-accepted", "started"]
    facts = json.loads(path.read_bytes().splitlines()[0])["facts"]
    assert (facts["keptSequence"], facts["keptDigest"]) == (3, "0x" + head.digest.hex())
    assert (folder / facts["file"]).read_bytes() == changed, "the old log is kept"

    written(folder, 1)
    path.write_bytes(b"")
    assert refusal(folder, accept_break=head.digest).code == "audit-cut", "one digest accepts one break"


def test_another_log_of_the_same_length_is_not_taken_for_the_gates(folder: Path, tmp_path: Path) -> None:
    path = written(folder, 3)
    with opened(tmp_path / "other") as log:
        for number in range(4):
            log.append("granted", facts={"number": number})
    path.write_bytes((tmp_path / "other" / "audit.jsonl").read_bytes())

    assert refusal(folder).code == "audit-broken"


def test_an_entry_whose_head_was_not_kept_counts(folder: Path) -> None:
    """A kill between the two writes: the log is ahead of the database, and that is no cut."""
    path = written(folder, 2)
    sessions = Sessions.open(folder)
    sessions.keep_audit_head(GENESIS)
    sessions.close()

    with opened(folder) as log:
        assert log.head == verify(path)


def test_a_log_from_before_heads_were_kept_is_taken_up(folder: Path) -> None:
    path = written(folder, 2)
    for name in ("gate.db", "gate.db-wal", "gate.db-shm"):
        (folder / name).unlink(missing_ok=True)

    with opened(folder) as log:
        assert log.head == verify(path)


def test_a_log_that_is_cut_while_the_gate_runs_stops_it(folder: Path) -> None:
    path = written(folder, 2)
    with opened(folder) as log:
        os.truncate(path, 10)
        with pytest.raises(GateError) as error:
            log.append("granted", facts={})
        assert error.value.code == "audit-cut"
        path.unlink()
        with pytest.raises(GateError, match="cut or removed"):
            log.append("granted", facts={})


# --- an auditor's command ------------------------------------------------------------------------


def envelope_of(head: bytes, path: Path) -> Path:
    """An envelope whose grant names this entry of the log; its signatures are not what is looked at."""
    content = json.loads(read(FOLDER / "envelope" / "holds").body)
    content["grant"]["auditHead"] = to_hex(head)
    path.write_bytes(canonical(content))
    return path


def gate_log(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments], standalone_mode=False)


def test_an_auditor_sees_whether_the_log_has_what_envelopes_name(folder: Path, tmp_path: Path) -> None:
    path = written(folder, 3)
    third, second = verify(path), verify(written(tmp_path / "other", 2))
    named = [envelope_of(head.digest, tmp_path / f"{head.sequence}.json") for head in (third, second)]
    first = envelope_of(GENESIS.digest, tmp_path / "first.json")

    whole = gate_log(path, *named, first)
    assert (whole.return_value, whole.output.count("in the log")) == (0, 3)

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    cut = gate_log(path, *named)
    assert cut.return_value == 1
    assert "NOT in the log" in cut.output and cut.output.startswith("2 entries hold")
    assert gate_log(path, named[1]).return_value == 0

    path.write_bytes(path.read_bytes() + b"{")
    broken = json.loads(gate_log(path, "--json").output)
    assert (broken["ok"], broken["entries"]) == (False, 2)
    assert broken["trouble"] == "it was not written to its end"


FULL = """
import resource, signal, sys
from pathlib import Path
from sealroom_agents.errors import GateError, Refused
from sealroom_agents.gate.audit import AuditLog, verify

class Heads:
    head = None
    def audit_head(self): return self.head
    def keep_audit_head(self, head, beside): self.head = head

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, heads = Path(sys.argv[1]), Heads()
log = AuditLog(path, heads, clock=lambda: 0)
log.append("granted", facts={"filler": "x" * 500})
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        log.append("granted", facts={"filler": "y" * 500})
    except GateError as error:
        print(error.code, path.stat().st_size - size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append("granted", facts={"filler": "z" * 500})
print(verify(path).sequence, heads.head == verify(path) == log.head)
"""


def test_a_full_disk_lets_no_entry_count_and_ends_with_the_disk(tmp_path: Path) -> None:
    """The file may grow by 100 bytes: the write stops in the middle of an entry, as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "audit.jsonl")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split("\n")[:3] == ["audit-unwritable 100", "audit-unwritable 100", "2 True"]


def test_a_database_that_cannot_be_written_is_told_by_a_code(folder: Path) -> None:
    sessions = Sessions.open(folder)
    try:
        sessions.keep_audit_head(Head(1, bytes(32)))
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, limit[1]))
            with pytest.raises(GateError) as error:
                sessions.keep_audit_head(Head(2, bytes(32)))
            assert error.value.code == "gate-state"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, before)
        sessions.keep_audit_head(Head(2, bytes(32)))
        assert sessions.audit_head() == Head(2, bytes(32))
    finally:
        with suppress(GateError):
            sessions.close()


@pytest.mark.parametrize(
    "fact", ["\x01" * 16_000, "x" * 70_000, "a\ud800b"], ids=["control characters", "long", "half a pair"]
)
def test_no_words_of_others_make_an_entry_that_nobody_can_read_again(folder: Path, fact: str) -> None:
    """Refusals hold words of nodes and enclaves (RE-12)."""
    with opened(folder) as log:
        log.append("refused", facts={"code": "revoked", "message": fact})

    with opened(folder) as log:
        assert log.append("started", facts={}).sequence == 2
    entry = json.loads((folder / "audit.jsonl").read_bytes().splitlines()[0])
    assert entry["facts"]["code"] == "revoked"
    assert entry["facts"]["message"][0] == fact[0]


@pytest.mark.parametrize("fact", [["x" * 70_000], 2**60], ids=["a long list", "a large number"])
def test_an_entry_that_cannot_be_written_leaves_the_log_as_it_was(folder: Path, fact: object) -> None:
    with opened(folder) as log:
        before = log.append("started", facts={})
        with pytest.raises(GateError) as error:
            log.append("granted", facts={"fact": fact})
        assert error.value.code == "audit-unwritable"
        assert log.head == before
        log.append("refused", facts={})
    assert verify(folder / "audit.jsonl").sequence == 2


FIRST_TABLES = """
CREATE TABLE challenge (nonce BLOB NOT NULL PRIMARY KEY, run_id BLOB NOT NULL, hello BLOB NOT NULL,
    challenge BLOB NOT NULL, expires BIGINT NOT NULL, used BOOLEAN NOT NULL);
CREATE TABLE lease (run_id BLOB NOT NULL PRIMARY KEY, consortium VARCHAR(42) NOT NULL, study BLOB NOT NULL,
    epoch BIGINT NOT NULL, signer VARCHAR(42) NOT NULL, counter BIGINT NOT NULL, until BIGINT NOT NULL,
    ended VARCHAR(64));
CREATE TABLE halt (consortium VARCHAR(42) NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL);
CREATE TABLE mark (name VARCHAR(32) NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO lease VALUES (x'aa', '0xc0', x'bb', 1, '0xd0', 0, 1800000030, NULL);
INSERT INTO mark VALUES ('finalized', 12);
"""
"""What the gate's first version made: no openings, no head of the audit log, halts by epoch."""


def state(folder: Path, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "gate.db")) as database:
        database.executescript(script)


@pytest.mark.parametrize(
    "script",
    [
        FIRST_TABLES,
        "ALTER TABLE lease ADD COLUMN fence BIGINT NOT NULL DEFAULT 0;",
        "ALTER TABLE lease DROP COLUMN counter;",
        "UPDATE mark SET value = 1000 WHERE name = 'schema';",
    ],
    ids=["version 1", "a column more", "a column less", "a later version"],
)
def test_the_state_of_another_version_is_refused_at_the_start(folder: Path, script: str) -> None:
    """Not at the first message that needs what is missing. Its runs are of a consortium of version 1."""
    if script != FIRST_TABLES:
        Sessions.open(folder).close()
    state(folder, script)

    error = refusal(folder)

    assert error.code == "state-version"
    assert "--state" in error.hint
