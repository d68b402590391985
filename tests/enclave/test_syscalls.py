# SPDX-License-Identifier: Apache-2.0
"""Every way known to us out of the sandbox by a system call, made in a real sandbox: the list of what works
is empty. The twin of each line runs in an ordinary process, where it must work.
"""

from __future__ import annotations

import itertools
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest
from tests.enclave.attacks import CALLS, GROUPS, PRELUDE
from tests.enclave.inside import Inside, inside, outside
from tests.enclave.test_filter import ALLOWED, MACHINES, answer
from tests.patience import PATIENCE_S

from sealroom.runtime.seccomp import AARCH64, X86_64, Architecture, filter_program
from sealroom.runtime.syscalls import NUMBERS, Phase

NOT_EVERYWHERE = {
    # what an ordinary machine may refuse for want of privilege, room, hardware or a kernel option
    "kill, all", "ptrace", "a key in a keyring", "move_pages", "migrate_pages", "locked pages", "mlock",
    "MADV_REMOVE", "kcmp", "process_madvise", "process_mrelease", "fanotify", "seccomp", "capset",
    "prctl PR_SET_SECCOMP", "Landlock", "adjtimex", "setns", "chroot", "mount", "execveat", "clone3",
    "membarrier", "open by handle", "priority inheritance", "F_SETLEASE", "F_SET_RW_HINT", "O_NOATIME",
    "a POSIX queue", "asynchronous I/O", "openat2", "setitimer", "sched_getattr", "sched_setscheduler",
    "process_vm_readv", "process_vm_writev", "personality", "sched_rr_get_interval", "ioprio_set",
    "execve",
}  # fmt: skip


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user that does nothing."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def prelude(attempts: dict[str, str], *, victim: int = 0) -> str:
    return PRELUDE.format(
        calls=CALLS,
        arm=int(platform.machine() != "x86_64"),
        file=sys.executable,  # which lies where the analysis may read
        victim=victim,
        custodian=os.getpid(),
        attempts=attempts,
    )


@pytest.mark.parametrize("group", ["fcntl", "other processes", "traces", "kernel"])
def test_no_call_reaches_out(group: str, victim: subprocess.Popen[bytes]) -> None:
    """OU-04, OU-05, OU-06, OP-01, OP-02: none of these calls works inside, and each does outside."""
    script = prelude(GROUPS[group], victim=victim.pid)
    assert inside(script + "tell(through)\n") == []
    assert victim.poll() is None
    refused_outside = {name for name, _ in outside(script + "tell(unclear)\n")}
    assert refused_outside <= NOT_EVERYWHERE


SIGNAL_BY_DESCRIPTOR = """
import os, sys
def attempt(end):
    for command, value in ((8, TARGET), (10, 9), (4, 0x2000 | os.O_NONBLOCK)):
        try:
            call("fcntl", end, command, value)
        except OSError:
            pass
from sealroom.runtime import job
try:
    attempt(job._session._channel._end.fileno())
except AttributeError:
    pass
tell("tried")
"""


@pytest.mark.parametrize("whom", ["a stranger", "the custodian"])
def test_no_descriptor_signals_a_process(whom: str, victim: subprocess.Popen[bytes]) -> None:
    """OP-01: F_SETOWN, F_SETSIG and O_ASYNC on the channel have the kernel kill whoever is named."""
    target = victim.pid if whom == "a stranger" else os.getpid()
    with Inside(prelude({}) + f"TARGET = {target}\n" + SIGNAL_BY_DESCRIPTOR) as running:
        assert running.told() == "tried"
        running._channel.send({"ok": True})  # arrives on the descriptor, which would set the signal off
        assert running.sandbox.ended(within=PATIENCE_S) == 0
    assert victim.poll() is None


def test_no_lock_shows_in_the_table_of_locks() -> None:
    """OU-06."""
    place = 0xC0FFEE
    lock = f"call('fcntl', file(), 6, buffer('hhqqi4x', 0, 0, {place}, 1, 0))"
    with Inside(prelude({"lock": lock}) + "tell(through)\n") as running:
        assert running.told() == []
        assert str(place) not in Path("/proc/locks").read_text()
    twin = prelude({"lock": lock}) + f"tell(str({place}) in open('/proc/locks').read())\n"
    assert outside(twin) is True


def test_neither_name_nor_command_line_can_be_written_for_others_to_read() -> None:
    """OU-06: PR_SET_NAME says that it is done, and the memory of the arguments is nobody's any more."""
    mark = "s3cret"
    write = (
        f"\nlibc.prctl(15, b'{mark}', 0, 0, 0)\n"
        "place = ctypes.c_void_p.in_dll(libc, 'program_invocation_name').value\n"
        f"ctypes.memmove(place, b'{mark}', {len(mark)})\n"
    )
    with Inside(prelude({}) + write + "tell('written')\n") as running:
        assert running.told() == "written"
        here = Path(f"/proc/{running.sandbox.pid}")
        assert mark not in (here / "comm").read_text()
        assert mark.encode() not in (here / "cmdline").read_bytes()
    twin = prelude({}) + write + "tell([open(f'/proc/self/{n}').read() for n in ('comm', 'cmdline')])\n"
    assert all(mark in text for text in outside(twin))


@pytest.mark.parametrize(
    "crash", ["ctypes.string_at(0x5EA15EC3E7)", "os.abort()"], ids=["a segmentation fault", "an abort"]
)
def test_a_crash_ends_in_silence(crash: str) -> None:
    """OU-04: the kernel logs address and registers of a crash, all of the analysis' choice."""
    with Inside(prelude({}) + "tell('here')\n" + crash) as running:
        assert running.told() == "here"
        running._channel.send({"ok": True})
        ended = running.sandbox.ended(within=PATIENCE_S)
    assert ended is not None and ended != 0
    if "string_at" in crash:
        assert ended > 0  # an exit, not a death by signal, which is what the kernel logs


def test_the_custodians_entries_cannot_be_read() -> None:
    """OP-01: where the kernel has Landlock, nothing but Python, its libraries and the job itself is seen."""
    places = [f"/proc/{os.getpid()}/{name}" for name in ("cmdline", "stat", "environ", "mem", "maps")]
    places += ["/etc/passwd", "/etc", "/proc/locks", "/proc/1/cmdline", __file__]
    script = prelude({path: f"os.read(os.open({path!r}, os.O_RDONLY), 1)" for path in places})
    with Inside(script + "tell(through)\n") as running:
        found = running.told()
        if running.walls.root != "empty" and not running.walls.landlock:
            pytest.skip("neither an empty root nor Landlock is to be had here")
    assert found == []


NEEDED = {
    "NumPy": "import numpy as np; assert np.linalg.inv(np.eye(300) * 2)[0, 0] == 0.5",
    "pandas": (
        "import pandas as pd; t = pd.DataFrame({'a': [1, 2, 2], 'b': [1.0, 2.0, 4.0]})\n"
        "assert t.groupby('a').b.mean().loc[2] == 3.0 and len(t.pivot_table(index='a')) == 2\n"
        "assert pd.to_datetime(['2020-01-01']).tz_localize('Europe/Berlin')[0].year == 2020"
    ),
    "Arrow": (
        "import io, pyarrow as pa, pyarrow.csv, pyarrow.compute, pyarrow.parquet\n"
        "t = pyarrow.csv.read_csv(io.BytesIO(b'a,b\\n1,2\\n'))\n"
        "f = io.BytesIO(); pyarrow.parquet.write_table(t, f); f.seek(0)\n"
        "assert pyarrow.compute.sum(pyarrow.parquet.read_table(f)['b']).as_py() == 2"
    ),
    "torch": (
        "import torch\ntorch.manual_seed(1)\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), "
        "torch.nn.Linear(144, 2))\n"
        "opt = torch.optim.AdamW(net.parameters()); x = torch.rand(64, 1, 8, 8)\n"
        "for _ in range(3):\n"
        "    loss = net(x).square().mean(); opt.zero_grad(); loss.backward(); opt.step()\n"
        "assert loss.item() >= 0"
    ),
    "OpenDP": (
        "import opendp.prelude as dp; dp.enable_features('contrib')\n"
        "m = dp.m.make_laplace(dp.atom_domain(T=int), dp.absolute_distance(T=int), 1.0)\n"
        "assert isinstance(m(3), int)"
    ),
    "threads": (
        "import concurrent.futures, threading, queue\n"
        "with concurrent.futures.ThreadPoolExecutor(8) as pool:\n"
        "    assert sum(pool.map(lambda n: n * n, range(100))) == 328350\n"
        "q = queue.Queue(); t = threading.Thread(target=q.put, args=(7,)); t.start(); t.join()\n"
        "assert q.get(timeout=60) == 7"
    ),
    "time": (
        "import time; time.sleep(0.001); time.monotonic(); time.process_time(); time.thread_time()\n"
        "time.clock_gettime(time.CLOCK_BOOTTIME)"
    ),
    "its own process": (
        "import os, resource, platform\n"
        "assert len(os.sched_getaffinity(0)) >= 1 and os.cpu_count() >= 1 and platform.machine()\n"
        "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)\n"
        "assert os.urandom(8) and os.getcwd() == '/'"
    ),
    "imports": (
        "def late():\n    import wave, zoneinfo\n    from xml.dom import pulldom\n"
        "    return zoneinfo.ZoneInfo('Asia/Tokyo')\nlate()\n"
        "try:\n    import no_such_module\nexcept ImportError:\n    pass"
    ),
    "signals of its own": "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)",
}


@pytest.mark.parametrize("work", NEEDED)
def test_what_an_analysis_needs_works(work: str) -> None:
    """The twin of the refusals, in a sandbox."""
    if work == "torch":
        pytest.importorskip("torch")
    # Not by exec: what a script imports is found in its own text.
    lines = indent(NEEDED[work], "    ")
    script = f"import traceback\ntry:\n{lines}\nexcept BaseException:\n    tell(traceback.format_exc())\n"
    assert inside(script + "else:\n    tell('done')\n") == "done"


# -- the program, interpreted ------------------------------------------------------------------------------


HIGH = 1 << 32


@pytest.mark.parametrize("name", MACHINES)
def test_the_filter_answers_by_the_whole_argument(name: str) -> None:
    machine = MACHINES[name]
    program = filter_program(Phase.LOAD, pid=77, machine=machine)

    def allowed(call: str, *arguments: int) -> bool:
        number = CALLS[call][machine.column]
        assert number is not None
        found = answer(program, audit=machine.audit, number=number, arguments=arguments)
        assert found == ALLOWED or found & ~0xFFFF == 0x00050000  # never a kill
        return found == ALLOWED

    assert allowed("prlimit64", 0, 7, 0) and not allowed("prlimit64", 1, 7, 0)
    assert not allowed("prlimit64", 0, 7, 1) and not allowed("prlimit64", 0, 7, HIGH)
    assert allowed("tgkill", 77, 78, 6) and not allowed("tgkill", 78, 77, 6)
    assert allowed("clone", 0x3D0F00) and not allowed("clone", 0x3D0F00 | HIGH)
    assert allowed("mmap", 0, 4096, 3, 0x22) and not allowed("mmap", 0, 4096, 3, 0x22 | HIGH)
    assert not allowed("mmap", 0, 4096, 3 | HIGH, 0x22) and not allowed("mmap", 0, 4096, 3, 0x40022)
    assert allowed("fcntl", 5, 1030, 9) and not allowed("fcntl", 5, 4, 0)
    assert allowed("sched_getaffinity", 0) and allowed("sched_getaffinity", 77)
    assert not allowed("sched_getaffinity", 78)
    assert allowed("clock_gettime", 1) and not allowed("clock_gettime", (~77 << 3 | 2) & 0xFFFFFFFF)
    assert allowed("openat", 0, 0, os.O_CLOEXEC) and not allowed("openat", 0, 0, os.O_RDWR)
    assert allowed("futex", 0, 0x80) and not allowed("futex", 0, 0x86)


@pytest.mark.parametrize("name", MACHINES)
def test_a_sealed_job_opens_nothing_and_makes_no_code(name: str) -> None:
    machine = MACHINES[name]

    def allowed(phase: Phase, call: str, *arguments: int) -> bool:
        number = CALLS[call][machine.column]
        assert number is not None
        program = filter_program(phase, pid=77, machine=machine)
        return answer(program, audit=machine.audit, number=number, arguments=arguments) == ALLOWED

    read, code, current, flag = os.O_RDONLY | os.O_CLOEXEC, 5, 2**64 - 100, 0x1000
    for call, arguments in {
        "openat": (current, 0, read), "newfstatat": (3, 0, 0, flag), "faccessat": (current, 0, 0),
        "getdents64": (3, 0, 99), "mmap": (0, 4096, code, 0x22), "mprotect": (0, 4096, code),
        "seccomp": (1, 1, 0),
    }.items():  # fmt: skip
        assert allowed(Phase.LOAD, call, *arguments)
        assert not allowed(Phase.SEALED, call, *arguments)
    assert not allowed(Phase.LOAD, "seccomp", 1, 0, 0) and not allowed(Phase.LOAD, "seccomp", 1, 9, 0)


def neighbours(machine: Architecture) -> list[tuple[int, int]]:
    """Calls under another ABI, of x32, unknown and of the future: audit, number."""
    other = AARCH64 if machine is X86_64 else X86_64
    known = {numbers[machine.column] for numbers in NUMBERS.values()}
    strange = [(other.audit, 0), (0x40000003, 1), (machine.audit, 0x40000000), (machine.audit, 0x40000001)]
    return strange + [(machine.audit, number) for number in (*range(1024), 2**31 - 1) if number not in known]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("name", MACHINES)
def test_what_is_not_listed_does_not_exist(name: str, phase: Phase) -> None:
    machine = MACHINES[name]
    program = filter_program(phase, pid=77, machine=machine)
    for audit, number in neighbours(machine):
        assert answer(program, audit=audit, number=number, arguments=()) == 0x00050000 | 38, (
            audit,
            number,
        )  # ENOSYS


def test_the_filter_has_no_jump_out_of_the_program() -> None:
    for machine, phase in itertools.product(MACHINES.values(), Phase):
        program = filter_program(phase, pid=77, machine=machine)
        count = len(program) // 8
        assert count < 4096  # BPF_MAXINSNS
        for at in range(count):
            code, if_true, if_false, _ = struct.unpack_from("=HBBI", program, 8 * at)
            assert code == 0x06 or at + 1 + max(if_true, if_false) < count
