# SPDX-License-Identifier: Apache-2.0
"""The walls around a job, as the job's process puts them up around itself; none can be taken down again.

One path for every place. What a place does not grant is left out, and `Walls` says so:

==========================  =================================================================================
system-call filter          everywhere; without it there is no job
limits, no capabilities     everywhere
own namespaces, empty root  as root, or through a user namespace; a container without privileges has none to
                            give, and is a namespace itself (the service `job`)
own uid                     as root
Landlock                    where the kernel has it; an extra wall, which no guarantee rests on
==========================  =================================================================================
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime import landlock, seccomp
from sealroom.runtime.empty_root import enter_empty_root
from sealroom.runtime.syscalls import Phase

PACKAGES = Path(__file__).resolve().parent.parent.parent
"""The folder that holds the package ``sealroom``."""

MEMORY_SHARE = 0.75
"""The part of the machine's memory that a job may map."""

GROUP_SHARE = 0.9
"""The part of its control group's memory that a job may map: were that full, the kernel would log numbers."""

MEMORY_FLOOR_BYTES = 4 * 2**30
"""The address space granted even on a small machine; pandas and its libraries map about two GiB."""

OPEN_FILES = 256
"""File descriptors a job may hold; imports need a few dozen."""

THREADS_BESIDE, THREADS_A_CPU, MOST_THREADS = 256, 8, 1024
"""Threads a job may have. The service `job` grants more, so that the kernel has no refusal to log."""

FIRST_JOB_UID, JOB_UIDS = 2_000_000_000, 100_000_000
"""The first of so many uids that own no file; one of them is drawn for a job."""

CHANNEL = 3
"""The one descriptor that a job has besides its standard streams, which are /dev/null."""

_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_CRASHES = (signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV)
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_RLIMIT_SIGPENDING, _RLIMIT_NICE, _RLIMIT_RTPRIO = 11, 13, 14
_SIGNALS_PENDING = 16
_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_NOT_FOR_A_JOB = ("/etc/passwd", "/etc/hosts", "/proc/stat")
"""What cannot be opened where a wall hides the file system; tried by measured code."""


@dataclass(frozen=True, kw_only=True)
class Walls:
    """Which walls stand around a job, besides the system-call filter."""

    namespaces: str
    """"root" or "user" (process ids, network, IPC, mounts, host name and control groups of its own, made
    with root's privilege or through a user namespace), or "none" but the surrounding container's."""
    root: str
    """"empty" (Python and its libraries, read-only, and nothing else) or "machine"."""
    uid: str
    """"own", or "shared" with the process that started the job."""
    landlock: int
    """Version of Landlock's interface; 0 where the kernel has none."""
    command_line: str
    """"blank", or "kept" on a kernel that does not let it be blanked."""
    memory_bytes: int
    """RLIMIT_AS."""
    threads: int
    """RLIMIT_NPROC."""


# -- before the job's process is made ------------------------------------------------------------------------


def enter_namespaces() -> str:
    """Enter fresh namespaces; the next process forked is the first of its pid namespace.

    Returns `Walls.namespaces`. Leaves mounts and network of this process behind, too.
    """
    libc = _libc()
    wanted = _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWCGROUP
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(wanted) == 0:
        return "root"
    if libc.unshare(wanted | _CLONE_NEWUSER) != 0:
        return "none"
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    return "user"


# -- inside the job's process --------------------------------------------------------------------------------


def lock_down(*, namespaces: str) -> Walls:
    """Confine this process for the phase `LOAD`; of its descriptors `CHANNEL` alone stays.

    `namespaces` is what `enter_namespaces` said.

    Call it single-threaded and before any foreign code is loaded. Raises `JobError` ("sandbox-unavailable")
    when a wall that must stand does not: the filter, the capabilities, or one that says it stands and is
    found open.
    """
    seccomp.architecture()
    libc = _libc()
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(libc, _PR_SET_DUMPABLE, 1)  # of its entries in /proc it needs some yet
    _keep_only_the_channel()
    _go_first_when_memory_is_short()
    command_line = "blank" if blank_command_line() else "kept"
    root = "machine"
    if namespaces != "none":
        libc.sethostname(b"job", 3)
        if libc.unshare(_CLONE_NEWNS) == 0 and enter_empty_root(libc, list(readable())):
            root = "empty"
    memory, threads = _limit_resources(alone=namespaces != "none")
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    uid = "own" if namespaces == "root" and _take_own_uid() else "shared"
    _drop_capabilities(libc)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of uid clears it, and sets the next
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    for number in _CRASHES:
        libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))
    walls = Walls(
        namespaces=namespaces,
        root=root,
        uid=uid,
        landlock=landlock.restrict(libc, tuple(readable())),
        command_line=command_line,
        memory_bytes=memory,
        threads=threads,
    )
    seccomp.install(Phase.LOAD)
    _try(walls)
    return walls


def seal(phase: Phase) -> None:
    """Put the second filter on this process: from here on it opens nothing and makes no new code.

    Raises `JobError` ("sandbox-unavailable"), also when an open still works.
    """
    seccomp.install(phase)
    with contextlib.suppress(OSError):
        os.close(os.open(__file__, os.O_RDONLY))
        raise JobError(Code.SANDBOX_UNAVAILABLE, "a sealed process could open a file")


def readable() -> Iterator[str]:
    """What a job may read while it loads, and all that there is in an empty root."""
    yield from ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/dev/urandom")
    yield from (sys.prefix, sys.base_prefix, str(PACKAGES))


# -- around keys ---------------------------------------------------------------------------------------------


def protect_custodian() -> None:
    """Keep this process, which holds keys, out of core dumps, out of debuggers and, where allowed, out of
    swap; empty its environment, and blank what others can read of its command line."""
    libc = _libc()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.clear()
    blank_command_line()
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    # Pages stay in memory from their first use on. Needs privilege; without it there
    # is no swap in a dstack VM either.
    libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def hide_memory() -> None:
    """Keep this process out of debuggers and core dumps."""
    _prctl(_libc(), _PR_SET_DUMPABLE, 0)


def blank_command_line() -> bool:
    """Forget where arguments and environment lie in memory: every process may read them in /proc, and this
    one could write there. False on a kernel that refuses (built without CONFIG_CHECKPOINT_RESTORE)."""
    libc = _libc()
    text = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    field = {number: int(text[number - 3]) for number in (26, 27, 28, 45, 46, 47, 48, 50)}  # as in proc(5)
    libc.sbrk.restype = ctypes.c_void_p
    layout = struct.pack(
        "=12QII",  # struct prctl_mm_map: code, data, break, stack, arguments, environment; no auxv, no exe
        *(field[26], field[27], field[45], field[46], field[47], libc.sbrk(0), field[28]),
        *(field[48], field[48], field[50], field[50]),
        *(0, 0, 2**32 - 1),
    )
    done = libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, layout, ctypes.c_ulong(len(layout)), ctypes.c_ulong(0))
    return bool(done == 0)


# -- the single steps ----------------------------------------------------------------------------------------


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _keep_only_the_channel() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.closerange(CHANNEL + 1, 2**20)


def _go_first_when_memory_is_short() -> None:
    """The kernel then ends the job and not its custodian."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit_resources(*, alone: bool) -> tuple[int, int]:
    """Set the limits; returns those of memory in bytes and of threads.

    `alone`: no process of this uid is in the namespace. Otherwise those count, too, and are added.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = max(int(machine * MEMORY_SHARE), MEMORY_FLOOR_BYTES)
    group = _group_memory()
    threads = min(THREADS_BESIDE + THREADS_A_CPU * (os.cpu_count() or 1), MOST_THREADS)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        _RLIMIT_SIGPENDING: _SIGNALS_PENDING,
        _RLIMIT_NICE: 0,
        _RLIMIT_RTPRIO: 0,
        resource.RLIMIT_AS: memory if group is None else min(memory, int(group * GROUP_SHARE)),
        resource.RLIMIT_NPROC: threads if alone else threads + _threads_of(os.getuid()),
    }
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
    return resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_NPROC)[0]


def _group_memory() -> int | None:
    """Bytes of memory that this process's control group may take, as far as it is seen from inside."""
    for path in _GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            return int(path.read_text())
    return None


def _threads_of(uid: int) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == uid:
                found += len(os.listdir(path / "task"))
    return found


def _take_own_uid() -> bool:
    """Become a user who is nobody else, unless it could not read the packages then.

    Drawn, and not counted: a number made of process ids would tell a job how many threads earlier ones had.
    """
    for path in (os.__file__, __file__):
        if not os.stat(path).st_mode & 0o004:
            return False
    uid = FIRST_JOB_UID + int.from_bytes(os.urandom(8), "big") % JOB_UIDS
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    return True


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.syscall(seccomp.architecture().capset, header, bytes(24)) != 0:
        raise JobError(Code.SANDBOX_UNAVAILABLE, "the process could not give up its capabilities")


def _try(walls: Walls) -> None:
    """Run against the walls once, as measured code."""
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_UNIX).close()
        raise JobError(Code.SANDBOX_UNAVAILABLE, "a locked process could make a socket")
    with contextlib.suppress(OSError):
        os.close(os.open(__file__, os.O_RDWR))
        raise JobError(Code.SANDBOX_UNAVAILABLE, "a locked process could open a file for writing")
    if walls.root == "empty" or walls.landlock:
        for path in _NOT_FOR_A_JOB:
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_RDONLY))
                raise JobError(Code.SANDBOX_UNAVAILABLE, f"a locked process could open {path}")


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise JobError(Code.SANDBOX_UNAVAILABLE, f"prctl({option}, {value}) failed: {reason}")
