# SPDX-License-Identifier: Apache-2.0
"""Which system calls libraries make once a job is sealed, as strace saw them, against the table.

A new version of a library that makes another call fails here, and somebody decides what it is answered.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.enclave.test_filter import ALLOWED, by_the_table
from tests.enclave.test_syscalls import NEEDED

from sealroom.runtime.seccomp import architecture
from sealroom.runtime.syscalls import Phase, rules

SECONDS = 900
CALL = re.compile(r"(\d+) +(\w+)\((.*)")
MARK = "sched_get_priority_max"
"""A call that no library makes: it stands where the script begins and where it ends."""

REFUSED = {
    # no path is looked up, and nothing is written
    "openat", "newfstatat", "statx", "readlink", "readlinkat", "access", "faccessat", "faccessat2",
    "getdents64", "stat", "mkdir", "rmdir", "unlink",
    # answered, and libraries go on
    "clone3", "ioctl", "prctl", "rt_sigaction", "sched_setaffinity", "socket", "mbind", "set_mempolicy",
    "sysinfo",
}  # fmt: skip
"""Calls that libraries make and do without. Not among them: any command of fcntl, any limit, any signal."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls were recorded on x86-64"),
]


@pytest.mark.parametrize("work", [name for name in NEEDED if name not in ("imports", "signals of its own")])
def test_no_library_makes_a_call_that_nobody_decided_on(work: str, tmp_path: Path) -> None:
    """OU-06."""
    if work == "torch":
        pytest.importorskip("torch")
    assert undecided(NEEDED[work], tmp_path) == set()


RELATION = """
import os
from sealroom.relation.engine import Engine
engine = Engine({{"t": [os.open({path!r}, os.O_RDONLY)]}}, threads=4, memory_bytes=2**30)
assert engine.run('SELECT "n" AS c1, count(*) AS c2 FROM "t" GROUP BY "n"').num_rows == 50_000
engine.close()
"""


def test_the_engine_makes_no_call_that_nobody_decided_on(tmp_path: Path) -> None:
    """OU-06: DuckDB with its threads, over a file that is open."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": range(50_000)}), path, row_group_size=5_000)
    assert undecided(RELATION.format(path=str(path)), tmp_path) == set()


@pytest.mark.parametrize(
    "line, call",
    [
        ("import os; os.getpgid(0)", "getpgid"),
        ("import fcntl; fcntl.fcntl(0, fcntl.F_GETOWN)", "fcntl"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "prlimit64"),
    ],
)
def test_such_a_call_is_noticed(line: str, call: str, tmp_path: Path) -> None:
    """The twin: another call, another command, another target."""
    assert [name for name, *_ in undecided(line, tmp_path)] == [call]


def undecided(work: str, folder: Path) -> set[tuple[str, ...]]:
    """Calls of a script, once loaded, that the table neither allows nor is known to refuse."""
    log, script = folder / "log", folder / "script.py"
    script.write_text(work)
    run = (
        "import os, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nos.chdir('/')\n"
        f"from sealroom.runtime import loading\ntext = open({str(script)!r}).read()\n"
        "loading.load_base()\nloading.load_for(text)\nos.sched_get_priority_max(0)\n"
        "exec(compile(text, 'analysis.py', 'exec'), {})\nos.sched_get_priority_max(0)\nos._exit(0)\n"
    )
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "raw=all", "-o", str(log), sys.executable, "-B", "-c", run],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": "/"}, timeout=SECONDS, check=True, capture_output=True,
    )  # fmt: skip
    assert log.read_text(errors="replace").count(f" {MARK}(") == 2
    pid, calls = recorded(log)
    table = rules(Phase.SEALED, pid=pid, column=architecture().column)
    return {
        (name, *(hex(each) for each in arguments[:3]))
        for name, arguments in calls
        if name not in REFUSED and (name not in table or by_the_table(table[name], arguments) != ALLOWED)
    }


def recorded(log: Path) -> tuple[int, list[tuple[str, tuple[int, ...]]]]:
    """The process, and name and arguments of each call between the marks."""
    found, inside, first = [], False, 0
    for line in log.read_text(errors="replace").splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        first = first or int(match[1])
        if match[2] == MARK:
            inside = not inside
        elif inside:
            words = re.findall(r"(?:0x)?[0-9a-f]+", match[3].partition(")")[0])
            numbers = [int(word, 16) for word in words]
            found.append((match[2], tuple((numbers + [0] * 6)[:6])))
    return first, found
