# SPDX-License-Identifier: Apache-2.0
"""The sandbox of the analysis: a process that can read, compute and use one socket, and nothing else.

`Sandbox.start` starts `sealroom.runtime.job` with no environment, no standard streams and one inherited
socket. The child calls `lock_down` on itself before it imports anything but the standard library, and long
before it receives the analysis script. The parent verifies the sandbox through ``/proc`` (`Sandbox.verify`)
and only then sends the script. The layers overlap, so that one holds what another lets through:

==============  ====================================================================================
system calls    what `sealroom.runtime.syscalls` lists, with the arguments it lists; no other exists
network         no call makes a socket; own network namespace where the kernel grants one
files           no call writes, creates or locks; Landlock (where the kernel has it) hides all others
processes       no call reaches another process; no capabilities; not dumpable; no command line
new programs    none; the one way to `clone` makes a thread
crashes         end in silence: a handler is set, so the kernel logs no registers
memory          RLIMIT_AS, RLIMIT_CORE 0; first to go when the machine runs short
==============  ====================================================================================

The system-call filter is not optional: if it cannot be installed, or the machine is neither x86-64 nor
AArch64, the child dies before it sees any data. Landlock and the network namespace are additional and may be
missing (an older kernel, a container without privileges); `Confinement` says which are in force.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime import landlock
from sealroom.runtime.seccomp import Architecture, architecture, filter_program

PACKAGES = Path(__file__).resolve().parent.parent.parent
"""The folder that holds the package ``sealroom``."""

MEMORY_SHARE = 0.75
"""The part of the machine's memory that the analysis may map."""

MEMORY_FLOOR_BYTES = 4 * 2**30
"""The address space granted even on a small machine; pandas and its libraries map about two GiB."""

OPEN_FILES = 256
"""File descriptors the analysis may hold; imports need a few dozen."""

STOP_SECONDS = 5.0
"""How long a killed child may take to be gone."""

_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_TSYNC = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_CRASHES = (signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV)
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522


# -- inside the child --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """Which layers of the sandbox are in force, as the child reports them."""

    network: str
    """"namespace" (own, empty network namespace and the filter) or "filter" (the filter alone)."""
    files: str
    """"landlock" (only Python and its libraries can be read) or "filter" (any file can)."""
    memory_bytes: int
    """RLIMIT_AS."""


def lock_down() -> Confinement:
    """Confine this process; nothing can undo it. Call it single-threaded and
    before any foreign code is loaded.

    Raises `JobError` ("sandbox-unavailable") when the filter cannot be installed.
    """
    machine = architecture()
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _go_first_when_memory_is_short()
    _blank_command_line(libc)
    network = "namespace" if _own_network(libc) else "filter"
    memory = _limit_resources()
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities(libc, machine)
    for number in _CRASHES:
        libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))
    files = "landlock" if landlock.restrict(libc, landlock.readable(PACKAGES)) else "filter"
    program = filter_program(pid=os.getpid())
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    # TSYNC: a thread that a library has started already gets the filter as well.
    if libc.syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_TSYNC, head) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise JobError(Code.SANDBOX_UNAVAILABLE, f"the kernel did not take the system-call filter: {reason}")
    return Confinement(network=network, files=files, memory_bytes=memory)


def protect_custodian() -> None:
    """Keep this process, which holds keys, out of core dumps, out of debuggers
    and, where allowed, out of swap."""
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    # Pages stay in memory from their first use on. Needs privilege; without it there
    # is no swap in a dstack VM either.
    libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def _own_network(libc: ctypes.CDLL) -> bool:
    """Enter a fresh network and IPC namespace: directly with privilege, else through a user namespace."""
    for flags in (_CLONE_NEWNET | _CLONE_NEWIPC, _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC):
        if libc.unshare(flags) == 0:
            return True
    return False


def _go_first_when_memory_is_short() -> None:
    """The kernel then ends the analysis and not its custodian."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _blank_command_line(libc: ctypes.CDLL) -> None:
    """Forget where arguments and environment lie in memory: every process may read them in /proc, and the
    analysis could write there. Best effort (a kernel built without CONFIG_CHECKPOINT_RESTORE refuses)."""
    text = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    field = {number: int(text[number - 3]) for number in (26, 27, 28, 45, 46, 47, 48, 50)}  # as in proc(5)
    libc.sbrk.restype = ctypes.c_void_p
    layout = struct.pack(
        "=12QII",  # struct prctl_mm_map: code, data, break, stack, arguments, environment; no auxv, no exe
        *(field[26], field[27], field[45], field[46], field[47], libc.sbrk(0), field[28]),
        *(field[48], field[48], field[50], field[50]),
        *(0, 0, 2**32 - 1),
    )
    libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, layout, ctypes.c_ulong(len(layout)), ctypes.c_ulong(0))


def _limit_resources() -> int:
    machine_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = max(int(machine_memory * MEMORY_SHARE), MEMORY_FLOOR_BYTES)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_AS: memory,
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def _drop_capabilities(libc: ctypes.CDLL, machine: Architecture) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.syscall(machine.capset, header, bytes(24)) != 0:
        raise JobError(Code.SANDBOX_UNAVAILABLE, "the process could not give up its capabilities")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise JobError(Code.SANDBOX_UNAVAILABLE, f"prctl({option}, {value}) failed: {reason}")


# -- from the parent ---------------------------------------------------------------------------------------


class Sandbox:
    """A running, confined child. A context manager: its exit kills the child."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self._process = process
        self.channel = channel
        """Our end of the one socket the child has."""

    @classmethod
    def start(cls) -> Sandbox:
        """Start the job process. It has a fresh address space: no key this process holds can be in it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        entry = (
            f"import sys; sys.path.insert(0, {str(PACKAGES)!r}); "
            f"from sealroom.runtime.job import main; main({theirs.fileno()})"
        )
        with theirs:
            process = subprocess.Popen(
                # -I: no environment, no user site, no current directory; -B: it could not write bytecode
                # anyway.
                [sys.executable, "-I", "-B", "-c", entry],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def verify(self) -> None:
        """Read from the kernel that every thread of the child is filtered and powerless.

        Raises `JobError` ("sandbox-unavailable"). The child's own report is not enough: a child whose
        lock-down failed half-way must get no data.
        """
        wanted = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16, "CapPrm": "0" * 16}
        try:
            threads = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/status")]
        except OSError:
            raise JobError(Code.SANDBOX_UNAVAILABLE, "the sandboxed process is gone") from None
        for status in threads:
            lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            missing = [name for name, value in wanted.items() if lines.get(name, "").strip() != value]
            if missing:
                raise JobError(Code.SANDBOX_UNAVAILABLE, f"the sandbox does not hold: {', '.join(missing)}")
        if not threads:
            raise JobError(Code.SANDBOX_UNAVAILABLE, "the sandboxed process is gone")

    def ended(self, *, within: float) -> int | None:
        """The child's exit status if it ends within so many seconds, else None."""
        try:
            return self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> float:
        """Kill the child and wait until it is gone; returns the seconds that took. Safe to call twice."""
        start = time.monotonic()
        if self._process.poll() is None:
            self._process.kill()
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise JobError(Code.JOB_WILL_NOT_DIE, "the analysis process did not end after SIGKILL") from None
        return time.monotonic() - start

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, raised: object, *exception: object) -> None:
        try:
            self.kill()
        except JobError:
            if raised is None:  # else what was raised before is the reason
                raise
        finally:
            self.channel.close()
