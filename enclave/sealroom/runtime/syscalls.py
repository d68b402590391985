# SPDX-License-Identifier: Apache-2.0
"""Which system calls a job may make, as one table; whatever is not in it does not exist for it.

A job has two phases, each with a filter that stays: *load*, and then *sealed* or *block*. In *load*, measured
code alone runs: it imports modules, so files may be opened for reading. The second filter goes on before the
job sees any data or runs a line of the script; from then on no call takes a path, and no memory becomes code.
The kernel asks all filters and takes the strictest answer, so the second can only narrow what the first
allows.

Three answers, and none of them kills: a refused call is not carried out, which is as strong, while a kill by
a filter makes the kernel print registers that the analysis chose to its log, where the host may read it.

* *allowed*: libraries of the image make the call, and with these arguments it ends at the caller itself;
* *an error*, or 0 for "done" where nothing was done: the answer after which libraries go on;
* everything else, of today or of a later kernel: ENOSYS, "no such call".

The kernel reads an `int` from the low half of its register, so such an argument is compared in 32 bits; what
the kernel reads as a `long` or a pointer is compared in all 64.

Sources: Linux, asm/unistd_64.h (x86-64), asm-generic/unistd.h (AArch64); the manual page of each call.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import Enum

NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None),
    "fstat": (5, 80), "lstat": (6, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "ioctl": (16, 29), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66), "access": (21, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "nanosleep": (35, 101),
    "getpid": (39, 172), "socket": (41, 198), "recvmsg": (47, 212), "clone": (56, 220), "fork": (57, None),
    "vfork": (58, None), "execve": (59, 221), "exit": (60, 93), "uname": (63, 160), "fcntl": (72, 25),
    "getcwd": (79, 17), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37),
    "unlink": (87, None), "unlinkat": (263, 35), "symlink": (88, None), "symlinkat": (266, 36),
    "readlink": (89, None), "readlinkat": (267, 78), "sysinfo": (99, 179), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "prctl": (157, 167),
    "arch_prctl": (158, None), "gettid": (186, 178), "futex": (202, 98), "sched_setaffinity": (203, 122),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "tgkill": (234, 131), "mbind": (237, 235), "set_mempolicy": (238, 237), "openat": (257, 56),
    "newfstatat": (262, 79), "faccessat": (269, 48), "set_robust_list": (273, 99), "prlimit64": (302, 261),
    "getrandom": (318, 278), "statx": (332, 291), "rseq": (334, 293), "faccessat2": (439, 439),
    "seccomp": (317, 277),
}  # fmt: skip
"""Name: number on x86-64, number on AArch64; None where there is no such call."""


class Phase(Enum):
    """What a job is allowed, by how far it is."""

    LOAD = "load"
    """Measured code imports modules; files open for reading."""
    SEALED = "sealed"
    """The script or the relation runs; nothing opens, and no memory becomes code."""
    BLOCK = "block"
    """A script runs on one block of people: as sealed, and nothing that the kernel counts over all processes
    can be moved or read, by which one block could tell the next ones something."""


_INT, _LONG = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True)
class Test:
    """``argument & mask == value``, in 64 bits."""

    argument: int
    """Its place, from 0."""
    mask: int
    value: int


Case = tuple[Test, ...]
"""Tests that must all hold."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one call is answered with."""

    allowed: tuple[Case, ...]
    """The cases in which it is carried out; ``((),)`` is always."""
    error: int
    """What it returns otherwise: an errno, or 0 for success without doing anything."""


def int_is(argument: int, *values: int) -> tuple[Case, ...]:
    """A case for each value of an argument that the kernel reads as an int."""
    return tuple((Test(argument, _INT, value),) for value in values)


def _only_bits(argument: int, bits: int, *, width: int) -> Test:
    return Test(argument, width & ~bits, 0)


_RLIMIT_NPROC, _LIMITS = 6, 16
"""The limit of threads, and how many limits there are."""

_ALWAYS: tuple[Case, ...] = ((),)
_NEVER: tuple[Case, ...] = ()

_FREE = (
    # its own memory, time, identity and threads
    "brk munmap mremap nanosleep sched_yield getpid gettid getuid geteuid getgid getegid uname getrandom "
    "set_robust_list rseq rt_sigprocmask exit exit_group "
    # what is open already: memory with a dataset in it, and the one socket (read, readv, recvmsg; write and
    # writev answer it)
    "read readv pread64 lseek write writev recvmsg close fstat getcwd"
)

_PATHS = "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents64"
"""Calls that look a path up, or list one. glibc asks `newfstatat` about a descriptor, too (AT_EMPTY_PATH),
but the kernel takes that flag with any path, and a filter cannot tell the two."""

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOCTTY
_LARGE_FILE = (0o100000, 0o400000)
"""O_LARGEFILE by architecture, which some libraries pass and the kernel sets anyway."""

_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030

_THREAD = 0x3D0F00
"""The flags of glibc's pthread_create: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM,
SETTLS, PARENT_SETTID, CHILD_CLEARTID."""

_PROTECTION, _EXECUTE = 0x7, 0x4
_MAP_ODD = 0x0100 | 0x2000 | 0x40000 | 0x80000
"""GROWSDOWN, LOCKED, HUGETLB (a pool that all processes share), SYNC."""
_MAP_FLAGS = 0xFFFF_FFFF & ~_MAP_ODD

_ADVICE = (0, 1, 2, 3, 4, 8, 14, 15)
"""NORMAL to DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE. Not MERGEABLE, which compares pages with those of other
processes, nor REMOVE, PAGEOUT, COLD, HWPOISON."""

_FUTEX_OPTIONS = 0x80 | 0x100
"""FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME."""
_FUTEX_CALLS = (0, 1, 9, 10)
"""WAIT, WAKE, WAIT_BITSET, WAKE_BITSET; no requeueing and no priority inheritance."""

_CLOCKS = 0xF
"""Clocks 0 to 11 are the machine's and the caller's own; negative ids are other processes' CPU clocks."""

_SIGNALS = (32, 33, 34)
"""glibc's own. The handlers of crashes stay as `lock_down` set them, and no other signal can come."""


_SET_FILTER, _ALL_THREADS = 1, 1
"""SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC: how the second filter goes on."""


def rules(phase: Phase, *, pid: int, column: int) -> dict[str, Rule]:
    """The whole table of a phase for the process `pid`; `column` of `NUMBERS` is its architecture's."""
    only = {name: Rule(allowed=_ALWAYS, error=0) for name in _FREE.split()}
    opens = phase is Phase.LOAD
    protection = _PROTECTION if opens else _PROTECTION & ~_EXECUTE
    flags = _OPEN_FLAGS | _LARGE_FILE[column]
    for name in _PATHS.split():
        only[name] = Rule(allowed=_ALWAYS if opens else _NEVER, error=errno.ENOENT)
    for name, argument in (("open", 1), ("openat", 2)):
        # No O_PATH, O_DIRECT, O_NOATIME; nothing that writes, creates or truncates.
        reading = ((_only_bits(argument, flags, width=_INT),),)
        only[name] = (
            Rule(allowed=reading, error=errno.EACCES) if opens else Rule(allowed=_NEVER, error=errno.ENOENT)
        )
    if opens:
        only["seccomp"] = Rule(
            allowed=((Test(0, _INT, _SET_FILTER), Test(1, _LONG, _ALL_THREADS)),), error=errno.EPERM
        )
    clock = Rule(allowed=((_only_bits(0, _CLOCKS, width=_INT),),), error=errno.EINVAL)
    only |= {
        # Copies of a descriptor and its close-on-exec bit. Not F_SETOWN, F_SETSIG and F_SETFL (O_ASYNC), by
        # which the kernel signals any process; not locks, leases, F_NOTIFY, pipe sizes and hints, which
        # others can see.
        "fcntl": Rule(
            allowed=int_is(1, _F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC), error=errno.EPERM
        ),
        # Allocators, and in `LOAD` the loader; there even writable code, which ctypes makes.
        "mmap": Rule(
            allowed=((_only_bits(2, protection, width=_LONG), _only_bits(3, _MAP_FLAGS, width=_LONG)),),
            error=errno.EACCES,
        ),
        "mprotect": Rule(allowed=((_only_bits(2, protection, width=_LONG),),), error=errno.EACCES),
        "madvise": Rule(allowed=int_is(2, *_ADVICE), error=errno.EINVAL),
        # Threads: exactly pthread_create's. clone3 passes flags by pointer, which no filter can read; glibc
        # goes on with clone after ENOSYS.
        "clone": Rule(allowed=((Test(0, _LONG, _THREAD),),), error=errno.EPERM),
        "futex": Rule(
            allowed=tuple((Test(1, _INT & ~_FUTEX_OPTIONS, call),) for call in _FUTEX_CALLS),
            error=errno.ENOSYS,
        ),
        "tgkill": Rule(allowed=int_is(0, pid), error=errno.EPERM),  # abort() and raise()
        "clock_gettime": clock,
        "clock_getres": clock,
        "clock_nanosleep": clock,
        # Reading its own limits: the new limits, a pointer, must be NULL.
        "prlimit64": Rule(allowed=((Test(0, _INT, 0), Test(2, _LONG, 0)),), error=errno.EPERM),
        # How many processors it may use (OpenMP, OpenBLAS); its own, by 0 or by its number.
        "sched_getaffinity": Rule(allowed=int_is(0, 0, pid), error=errno.EPERM),
        "rt_sigaction": Rule(allowed=int_is(0, *_SIGNALS), error=0),
        # A thread's name would show in /proc/PID/comm: said to be done, and not done.
        "prctl": Rule(allowed=_NEVER, error=0),
        # ENOTTY: "no terminal", after which libraries go on.
        "ioctl": Rule(allowed=_NEVER, error=errno.ENOTTY),
        "arch_prctl": Rule(allowed=_NEVER, error=errno.EINVAL),
        "socket": Rule(allowed=_NEVER, error=errno.EACCES),
    }
    if phase is Phase.BLOCK:
        # Thread ids are given out in turn, to all processes of a container. And where the uid is shared, the
        # limit of threads has those added that the uid has already.
        only["clone"] = Rule(allowed=_NEVER, error=errno.EAGAIN)
        limits = [number for number in range(_LIMITS) if number != _RLIMIT_NPROC]
        own = Test(0, _INT, 0), Test(2, _LONG, 0)
        only["prlimit64"] = Rule(
            allowed=tuple((Test(1, _INT, number), *own) for number in limits), error=errno.EPERM
        )
    for names, error in (
        ("sched_setaffinity mbind set_mempolicy sysinfo fork vfork execve", errno.EPERM),
        ("mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat rename renameat renameat2",
         errno.EROFS),
    ):  # fmt: skip
        only |= {name: Rule(allowed=_NEVER, error=error) for name in names.split()}
    return only
