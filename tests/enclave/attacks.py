# SPDX-License-Identifier: Apache-2.0
"""Attacks on the walls around a job: each is one line of Python, and works on an ordinary machine.

    python -m tests.enclave.attacks load|sealed|relation

runs each in a fresh job of this place, and prints which got through. A job is made, locked down and sealed
as one with an analysis is, by the same launcher; only the script is another, and so is what it has loaded.
In `relation` DuckDB has read a dataset before, and lives on with its threads, as if a file had taken it over.
A line counts as refused only if the job said that it began with it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from sealroom.errors import JobError
from sealroom.relation.engine import Engine
from sealroom.runtime import launcher
from sealroom.runtime.channel import Channel
from sealroom.runtime.confine import Walls, hide_memory, seal
from sealroom.runtime.memory import seal_memory
from sealroom.runtime.sandbox import Sandbox
from sealroom.runtime.syscalls import NUMBERS, Phase

CALLS = {
    **NUMBERS,
    "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "timer_create": (222, 107), "setitimer": (38, 103), "alarm": (37, None), "setpriority": (141, 140),
    "getpriority": (140, 141), "sched_setscheduler": (144, 119), "sched_getscheduler": (145, 120),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_getattr": (315, 275),
    "ioprio_set": (251, 30), "ioprio_get": (252, 31), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "kcmp": (312, 272), "migrate_pages": (256, 238), "move_pages": (279, 239), "get_mempolicy": (239, 236),
    "get_robust_list": (274, 100), "getpgid": (121, 155), "getsid": (124, 156), "setpgid": (109, 154),
    "membarrier": (324, 283), "sync": (162, 81), "syncfs": (306, 267), "flock": (73, 32),
    "inotify_init1": (294, 26), "fanotify_init": (300, 262), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "io_uring_setup": (425, 425), "io_setup": (206, 0), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "modify_ldt": (154, None),
    "personality": (135, 92), "memfd_create": (319, 279), "memfd_secret": (447, 447), "mlock": (149, 228),
    "mlockall": (151, 230), "pkey_alloc": (330, 289), "mincore": (27, 232), "shmget": (29, 194),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "socketpair": (53, 199),
    "connect": (42, 203), "sendto": (44, 206), "sendmsg": (46, 211), "setsockopt": (54, 208),
    "shutdown": (48, 210), "unshare": (272, 97), "setns": (308, 268), "clone3": (435, 435),
    "mount": (165, 40), "chroot": (161, 51), "setuid": (105, 146), "setresuid": (117, 147),
    "capset": (126, 91), "seccomp": (317, 277), "syslog": (103, 116), "landlock_create_ruleset": (444, 444),
    "name_to_handle_at": (303, 264), "statfs": (137, 43), "splice": (275, 76), "tee": (276, 77),
    "vmsplice": (278, 75), "sendfile": (40, 71), "timerfd_create": (283, 85), "signalfd4": (289, 74),
    "adjtimex": (159, 171), "sethostname": (170, 161), "umask": (95, 166), "sigaltstack": (131, 132),
    "getrusage": (98, 165), "times": (100, 153), "sched_rr_get_interval": (148, 127), "getcpu": (309, 168),
    "epoll_create1": (291, 20), "eventfd2": (290, 19), "pipe2": (293, 59), "copy_file_range": (326, 285),
    "fadvise64": (221, 223), "readahead": (187, 213), "futex_waitv": (449, 449), "set_tid_address": (218, 96),
    "ftruncate": (77, 46), "fchmod": (91, 52), "utimensat": (280, 88), "setrlimit": (160, 164),
    "execveat": (322, 281), "openat2": (437, 437), "close_range": (436, 436), "fsopen": (430, 430),
    "rt_sigtimedwait": (128, 137), "wait4": (61, 260), "pause": (34, None), "iopl": (172, None),
}  # fmt: skip
"""Name: number on x86-64 and AArch64. 0 is a call too (io_setup on AArch64), None is none."""

PRELUDE = """
import ctypes, errno, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)
CALLS, ARM, FILE, VICTIM, CUSTODIAN = {calls!r}, {arm!r}, {file!r}, {victim!r}, {custodian!r}
def call(name, *arguments):
    number = CALLS[name][ARM]
    if number is None:
        raise OSError(errno.ENOSYS, "no such call here")
    ctypes.set_errno(0)
    longs = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    done = libc.syscall(ctypes.c_long(number), *longs)
    if done < 0:
        raise OSError(ctypes.get_errno(), name)
    return done
def reached(name, *arguments):
    "The kernel looked at the arguments, and maybe found them wrong: the filter let the call through."
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EACCES, errno.ENOTTY, errno.EROFS):
            raise
def buffer(form, *values):
    return ctypes.create_string_buffer(struct.pack(form, *values))
def file():
    return os.open(FILE, os.O_RDONLY)
def pages(length=8192):
    area = mmap.mmap(-1, length)
    kept.append(area)
    return ctypes.addressof(ctypes.c_char.from_buffer(area))
def pipe():
    ends = buffer("ii", 0, 0)
    call("pipe2", ends, 0)
    return struct.unpack("ii", ends.raw[:8])
def vectors():
    return buffer("QQ", 0, 0), 1, buffer("QQ", 0, 0), 1, 0
kept = []
through, unclear = [], []
for name, line in {attempts!r}.items():
    try:
        exec(line, globals())
    except (OSError, ImportError, ValueError) as error:
        unclear.append((name, str(error)))
    else:
        through.append(name)
"""

FCNTL = {
    "F_SETFL (O_ASYNC)": "call('fcntl', 1, 4, 0x2000)",
    "F_GETLK": "call('fcntl', file(), 5, buffer('hhqqi4x', 0, 0, 0, 0, 0))",
    "F_SETLK": "call('fcntl', file(), 6, buffer('hhqqi4x', 0, 0, 0, 1, 0))",
    "F_SETLKW": "call('fcntl', file(), 7, buffer('hhqqi4x', 0, 0, 0, 1, 0))",
    "F_SETOWN": "call('fcntl', 1, 8, VICTIM)",
    "F_GETOWN": "call('fcntl', 1, 9, 0)",
    "F_SETSIG": "call('fcntl', 1, 10, 9)",
    "F_SETOWN_EX": "call('fcntl', 1, 15, buffer('ii', 1, VICTIM))",
    "F_OFD_SETLK": "call('fcntl', file(), 37, buffer('hhqqi4x', 0, 0, 0, 0, 0))",
    "F_SETLEASE": "call('fcntl', file(), 1024, 0)",
    "F_NOTIFY": "call('fcntl', os.open(os.path.dirname(FILE), os.O_RDONLY), 1026, 2)",
    "F_SETPIPE_SZ": "call('fcntl', pipe()[1], 1031, 4096)",
    "F_SET_RW_HINT": "call('fcntl', file(), 1036, buffer('Q', 2))",
    "a command in the high half": "reached('fcntl', 1, (1 << 32) | 8, VICTIM)",
}
OTHERS = {
    "kill": "call('kill', VICTIM, 0)",
    "kill, custodian": "call('kill', CUSTODIAN, 0)",
    "kill, all": "call('kill', -1, 0)",
    "tkill": "call('tkill', VICTIM, 0)",
    "tgkill": "call('tgkill', VICTIM, VICTIM, 0)",
    "rt_sigqueueinfo": "call('rt_sigqueueinfo', VICTIM, 0, buffer('iiiiQ100x', 0, 0, -1, 0, 0))",
    "rt_tgsigqueueinfo": "call('rt_tgsigqueueinfo', VICTIM, VICTIM, 0, buffer('iiiiQ100x', 0, 0, -1, 0, 0))",
    "pidfd": "call('pidfd_send_signal', call('pidfd_open', VICTIM, 0), 0, 0, 0)",
    "ptrace": "call('ptrace', 0x4206, VICTIM, 0, 0)",
    "process_vm_readv": "reached('process_vm_readv', VICTIM, *vectors())",
    "process_vm_writev": "reached('process_vm_writev', VICTIM, *vectors())",
    "process_madvise": "reached('process_madvise', -1, 0, 0, 0, 0)",
    "process_mrelease": "reached('process_mrelease', -1, 0)",
    "kcmp": "call('kcmp', os.getpid(), os.getpid(), 2, 0, 0)",
    "prlimit64, read another's": "call('prlimit64', VICTIM, 7, 0, buffer('QQ', 0, 0))",
    "prlimit64, set another's": "call('prlimit64', VICTIM, 7, buffer('QQ', 64, 64), 0)",
    "prlimit64, set its own": "call('prlimit64', 0, 4, buffer('QQ', 0, 0), 0)",
    "prlimit64, a low half of 0": "reached('prlimit64', 0, 4, 1 << 32, 0)",
    "sched_setaffinity": "call('sched_setaffinity', VICTIM, 128, buffer('Q120x', 1))",
    "sched_getaffinity": "call('sched_getaffinity', VICTIM, 128, buffer('Q120x', 0))",
    "sched_setscheduler": "call('sched_setscheduler', VICTIM, 5, buffer('i', 0))",
    "sched_getscheduler": "call('sched_getscheduler', VICTIM)",
    "sched_setparam": "call('sched_setparam', VICTIM, buffer('i', 0))",
    "sched_getattr": "call('sched_getattr', VICTIM, buffer('56x'), 56, 0)",
    "sched_rr_get_interval": "call('sched_rr_get_interval', VICTIM, buffer('QQ', 0, 0))",
    "setpriority": "call('setpriority', 0, VICTIM, 5)",
    "getpriority": "call('getpriority', 0, VICTIM)",
    "ioprio_set": "call('ioprio_set', 1, VICTIM, 0x4007)",
    "ioprio_get": "call('ioprio_get', 1, VICTIM)",
    "migrate_pages": "reached('migrate_pages', VICTIM, 0, 0, 0)",
    "move_pages": "reached('move_pages', VICTIM, 0, 0, 0, 0, 0)",
    "get_robust_list": "call('get_robust_list', VICTIM, buffer('Q', 0), buffer('Q', 0))",
    "another's CPU clock": "call('clock_gettime', (~VICTIM << 3) | 2, buffer('QQ', 0, 0))",
    "getpgid": "call('getpgid', VICTIM)",
    "getsid": "call('getsid', VICTIM)",
    "membarrier": "call('membarrier', 1, 0, 0)",
}
TRACES = {
    "flock": "call('flock', file(), 5)",
    "sync": "call('sync')",
    "syncfs": "call('syncfs', file())",
    "inotify": "call('inotify_init1', 0)",
    "fanotify": "reached('fanotify_init', 0x200, 0)",
    "a key in a keyring": "call('keyctl', 0, -3, 1)",
    "SysV shared memory": "call('shmget', 0, 4096, 0o1600)",
    "a SysV semaphore": "call('semget', 0, 1, 0o1600)",
    "a SysV queue": "call('msgget', 0, 0o1600)",
    "a POSIX queue": "reached('mq_open', b'/', 0x42, 0o600, 0)",
    "a named memory file": "call('memfd_create', b's3cret', 0)",
    "mlock": "call('mlock', pages(), 4096)",
    "MADV_PAGEOUT": "call('madvise', pages(), 4096, 21)",
    "MADV_COLD": "call('madvise', pages(), 4096, 20)",
    "MADV_REMOVE": "call('madvise', pages(), 4096, 9)",
    "mincore": "call('mincore', pages(), 4096, buffer('Q', 0))",
    "locked pages": "mmap.mmap(-1, 4096, flags=0x2022)",
    "an ioctl": "call('ioctl', file(), 0x541B, buffer('i', 0))",
    "umask": "call('umask', 0o22)",
    "access time": "call('utimensat', -100, FILE.encode(), 0, 0)",
    "fadvise": "call('fadvise64', file(), 0, 0, 4)",
    "readahead": "call('readahead', file(), 0, 1)",
    "sendfile": "call('sendfile', pipe()[1], file(), 0, 1)",
    "splice": "call('splice', file(), 0, pipe()[1], 0, 1, 0)",
    "vmsplice": "call('vmsplice', pipe()[1], buffer('QQ', pages(), 1), 1, 0)",
    "a pipe": "pipe()",
    "O_PATH": "call('openat', -100, FILE.encode(), 0o10000000, 0)",
    "O_NOATIME": "call('openat', -100, FILE.encode(), 0o1000000, 0)",
    "openat2": "reached('openat2', -100, FILE.encode(), buffer('QQQ', 0, 0, 0), 24)",
    "open by handle": "reached('name_to_handle_at', -100, FILE.encode(), pages(), pages(), 0)",
    "statfs": "call('statfs', FILE.encode(), buffer('256x'))",
    "priority inheritance": "reached('futex', buffer('i', 0), 7, 0, 0, 0, 0)",
}
KERNEL = {
    "asynchronous I/O": "call('io_setup', 8, buffer('Q', 0))",
    "seccomp": "reached('seccomp', 1, 0, 0)",
    "prctl PR_SET_SECCOMP": "reached('seccomp', 0, 0, 1)",
    "Landlock": "call('landlock_create_ruleset', 0, 0, 1)",
    "personality": "call('personality', 0xFFFFFFFF)",
    "capset": "reached('capset', buffer('Ii', 0, 0), 0)",
    "clone, a process": "call('clone', 17, 0, 0, 0, 0) or os._exit(0)",
    "clone, another thread": "reached('clone', 0x10000, 0, 0, 0, 0)",
    "clone3": "reached('clone3', 0, 0)",
    "fork": "os.fork() or os._exit(0)",
    "execve": "reached('execve', b'/', 0, 0)",
    "execveat": "reached('execveat', -100, b'/', 0, 0, 0)",
    "setns": "reached('setns', -1, 0)",
    "chroot": "reached('chroot', b'/proc/self/status')",
    "mount": "reached('mount', 0, b'/none', 0, 0x1000, 0)",
    "setuid": "call('setresuid', -1, -1, -1)",
    "setrlimit": "call('setrlimit', 4, buffer('QQ', 0, 0))",
    "setitimer": "call('setitimer', 0, buffer('4Q', 0, 0, 9, 0), 0)",
    "timer_create": "call('timer_create', 1, 0, buffer('Q', 0))",
    "timerfd": "call('timerfd_create', 1, 0)",
    "signalfd": "call('signalfd4', -1, buffer('Q', 0), 8, 0)",
    "an event": "call('eventfd2', 0, 0)",
    "adjtimex": "call('adjtimex', buffer('256x'))",
    "socket": "call('socket', 1, 1, 0)",
    "socketpair": "call('socketpair', 1, 1, 0, buffer('ii', 0, 0))",
    "connect": "reached('connect', 0, 0, 0)",
    "sendmsg": "reached('sendmsg', -1, 0, 0)",
    "sendto": "reached('sendto', -1, 0, 0, 0, 0, 0)",
    "setsockopt": "reached('setsockopt', -1, 1, 8, 0, 0)",
    "shutdown": "reached('shutdown', -1, 0)",
    "getrusage": "call('getrusage', 0, buffer('256x'))",
}
FILES = {
    "a file of the machine": "os.read(os.open('/etc/passwd', os.O_RDONLY), 1)",
    "the list of a folder": "os.listdir('/')",
    "another list": "os.listdir('/proc')",
    "a file of its own": "file()",
    "a file's size": "os.stat(FILE)",
    "a size by AT_EMPTY_PATH": "call('newfstatat', -100, FILE.encode(), buffer('256x'), 0x1000)",
    "statx": "call('statx', -100, FILE.encode(), 0, 0xFFF, buffer('256x'))",
    "whether a file is there": "call('faccessat', -100, FILE.encode(), 0)",
    "where a link leads": "os.readlink('/proc/self/exe')",
    "another folder": "call('chdir', b'/')",
    "its descriptors' paths": "os.open('/proc/self/fd/0', os.O_RDONLY)",
    "its memory map": "os.open('/proc/self/maps', os.O_RDONLY)",
    "its memory as a file": "os.open('/proc/self/mem', os.O_RDWR)",
    "the custodian's command line": "os.open(f'/proc/{CUSTODIAN}/cmdline', os.O_RDONLY)",
    "the custodian's environment": "os.open(f'/proc/{CUSTODIAN}/environ', os.O_RDONLY)",
    "the custodian's memory": "os.open(f'/proc/{CUSTODIAN}/mem', os.O_RDONLY)",
    "the custodian's state": "os.open(f'/proc/{CUSTODIAN}/stat', os.O_RDONLY)",
    "the machine's load": "os.open('/proc/stat', os.O_RDONLY)",
    "all locks": "os.open('/proc/locks', os.O_RDONLY)",
    "the kernel's log": "os.open('/dev/kmsg', os.O_RDONLY)",
    "the log by a call": "call('syslog', 3, buffer('99x'), 99)",
    "a new file": "os.open('/tmp/sealroom-attack', os.O_CREAT | os.O_RDWR)",
    "a file in shared memory": "os.open('/dev/shm/sealroom-attack', os.O_CREAT | os.O_RDWR)",
    "a file without a name": "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)",
    "the null device, to write": "os.open('/dev/null', os.O_WRONLY)",
    "a folder": "os.mkdir('/tmp/sealroom-attack-folder')",
    "a device": "os.mkfifo('/tmp/sealroom-attack-fifo')",
    "a link": "os.symlink('/', '/tmp/sealroom-attack-link')",
    "another name": "os.rename('/tmp/sealroom-attack', '/tmp/sealroom-attack-2')",
    "a shorter file": "call('ftruncate', 1, 0)",
    "another mode": "call('fchmod', 1, 0o600)",
}
CODE = {
    "memory to write and run": "mmap.mmap(-1, 4096, prot=7)",
    "memory to run": "mmap.mmap(-1, 4096, prot=5)",
    "memory to run afterwards": "call('mprotect', pages() & ~4095, 4096, 5)",
    "a callback": "ctypes.CFUNCTYPE(ctypes.c_long)(lambda: 1)",
    "a call of the x32 ABI": "numbered(0x40000000 | 39)",
    "a call of the future": "any_of(range(470, 520))",
    "another filter": "call('seccomp', 1, 1, buffer('HxxxxxxQ', 0, 0))",
}
LIMITS = {
    "fifteen hundred threads": "threads(1500)",
    "all of the memory": "mmap.mmap(-1, 1 << 45, flags=0x4022)",
    "a thousand descriptors": "[os.dup(0) for _ in range(1000)]",
    "huge pages": "mmap.mmap(-1, 1 << 21, flags=0x40022)",
    "a core": "call('prlimit64', 0, 4, buffer('QQ', 1 << 30, 1 << 30), 0)",
    "a network": "socket.create_connection(('127.0.0.1', PORT), 2)",
    "the custodian's socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + f'sealroom-{PORT}')",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "netlink": "socket.socket(16, socket.SOCK_RAW)",
    "descriptors into the custodian": "reached('sendmsg', CHANNEL, buffer('7Q', 0, 0, 0, 0, 0, 0, 0), 0)",
    "a send to the custodian": "call('sendto', CHANNEL, b'x', 1, 0, 0, 0)",
    "an option of the channel": "call('setsockopt', CHANNEL, 1, 8, buffer('i', 4096), 4)",
    "the channel's peer": "call('getpeername', CHANNEL, buffer('128x'), buffer('i', 128))",
    "a signal by the channel": "call('fcntl', CHANNEL, 8, VICTIM)",
    "a signal's number": "call('fcntl', CHANNEL, 10, 9)",
    "FIOASYNC": "call('ioctl', CHANNEL, 0x5452, buffer('i', 1))",
    "FIOSETOWN": "call('ioctl', CHANNEL, 0x8901, buffer('i', VICTIM))",
    "a handler for crashes": "handler_of(11)",
    "a frame of another signal": "reached('rt_sigreturn')",
}
DATASET = {
    "a dataset, written to": "os.write(DATASET, b'x')",
    "a dataset, mapped to be written to": "mmap.mmap(DATASET, 4096, flags=1, prot=3)",
    "a dataset, cut": "call('ftruncate', DATASET, 0)",
    "a dataset, opened anew": "os.open(f'/proc/self/fd/{DATASET}', os.O_RDONLY)",
    "a dataset's seals": "call('fcntl', DATASET, 1033, 0)",
    "DuckDB reads a file": "DUCKDB.execute(\"SELECT * FROM read_text('/etc/passwd')\").fetchall()",
    "DuckDB writes a file": "DUCKDB.execute(\"COPY (SELECT 1) TO '/tmp/sealroom-attack'\")",
    "DuckDB lists a folder": "DUCKDB.execute(\"SELECT * FROM glob('/*')\").fetchall()",
}
"""What a job of a relation has besides."""

GROUPS = {
    "fcntl": FCNTL, "other processes": OTHERS, "traces": TRACES, "kernel": KERNEL,
    "files": FILES, "code": CODE, "limits": LIMITS,
}  # fmt: skip
"""By what they are after."""

SEEN = {
    "its name": ("libc.prctl(15, b's3cret', 0, 0, 0)", "comm"),
    "its command line": (
        "ctypes.memmove(ctypes.c_void_p.in_dll(libc, 'program_invocation_name').value, b's3cret', 6)",
        "cmdline",
    ),
    "an open, seen by inotify": ("os.close(file())", "inotify"),
    "a time of access": ("os.read(file(), 1)", "atime"),
    "an address in the kernel's log": ("ctypes.string_at(0x5EA15EC3E7)", "log"),
    "a stack without end in the kernel's log": ("endless()", "log"),
    "registers in the kernel's log": ("jump(0xFFFFFFFFFF600010)", "log"),
    "its size in memory": ("kept.append(bytearray(300 << 20))", "size"),
    "its processor time": ("spin(0.3)", "time"),
    "a precise clock": ("precise()", ""),
}
"""What somebody outside would see; the second word says who looks."""

REMAIN = {"its size in memory", "its processor time", "a precise clock", "registers in the kernel's log"}
"""What a sealed job can do all the same, everywhere: no wall of software ends it, and the threat model says
so. The last one needs x86-64 and a kernel with the vsyscall page."""

REMAIN_IN_LOAD = REMAIN | {
    "a file of its own", "a file's size", "a size by AT_EMPTY_PATH", "statx", "whether a file is there",
    "where a link leads", "its descriptors' paths", "its memory map", "an open, seen by inotify",
    "a time of access", "the list of a folder", "another list", "memory to write and run", "memory to run",
    "memory to run afterwards", "a callback", "another filter",
}  # fmt: skip
"""What measured code can do while it loads, in an empty root or under Landlock."""

MORE = """
def numbered(number):
    if libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def any_of(numbers):
    for number in numbers:
        ctypes.set_errno(0)
        libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
            return
    raise OSError(errno.ENOSYS, "none is there")
def threads(count):
    threading.stack_size(65536)
    for _ in range(count):
        try:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no more") from error
def handler_of(signal):
    old = buffer("152x")
    call("rt_sigaction", signal, 0, old, 8)
    call("rt_sigaction", signal, buffer("QQQQ", 1, 0, 0, 0), 0, 8)
    new = buffer("152x")
    new.raw = b"x" * 152
    call("rt_sigaction", signal, 0, new, 8)
    if new.raw[:152] in (b"x" * 152, old.raw[:152]):
        raise OSError(errno.EPERM, "said to be done, and not done")
def jump(place):
    mark = 0x5EA15EC3E7
    ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_long)(place)(mark, mark)
def endless():
    sys.setrecursionlimit(10**9)
    inner = []
    for _ in range(10**6):
        inner = [inner]
    repr(inner)
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
def precise():
    least = min(-time.perf_counter_ns() + time.perf_counter_ns() for _ in range(99))
    if least > 10_000:
        raise OSError(errno.EPERM, "no precise clock")
"""

MARK = "5ea15ec3e7"
SECONDS = 120.0
"""Longest wait for a job's word, on a machine however busy."""


def run(channel: Channel, walls: Walls) -> None:
    """The job's program."""
    channel.send({"op": "ready", "walls": asdict(walls)})
    task = channel.receive(head_limit=2**20)
    assert task is not None
    if task.head["phase"] != "load":
        seal(Phase.SEALED)
    here: dict[str, Any] = {
        "CHANNEL": 3,
        "PORT": task.head["port"],
        "ctypes": ctypes,
        "errno": errno,
        "mmap": mmap,
        "os": os,
    }
    here |= {
        "sys": sys,
        "struct": struct,
        "socket": socket,
        "threading": threading,
        "time": time,
        "resource": resource,
    }
    if task.head["phase"] == "relation":
        here |= relation(channel)
    exec(task.head["prelude"], here)
    channel.send({"told": "began"})
    channel.receive()  # until its walls are verified: the line may be its end
    try:
        exec(task.head["line"], here)
    except (OSError, ValueError, MemoryError, duckdb.Error):
        channel.send({"told": False})
    else:
        channel.send({"told": True})
    channel.receive()


def relation(channel: Channel) -> dict[str, Any]:
    """DuckDB over a dataset, as a sealed job of a relation has it."""
    frame = channel.receive()
    assert frame is not None and frame.descriptor is not None
    engine = Engine({"t": [frame.descriptor]}, threads=2)
    assert engine.run('SELECT "n" AS c1 FROM "t"').num_rows == 3
    return {"DATASET": frame.descriptor, "DUCKDB": engine._connection, "kept_engine": engine}


def dataset() -> int:
    """A Parquet file in sealed memory."""
    descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        pq.write_table(pa.table({"n": [1, 2, 3]}), file)
    seal_memory(descriptor)
    return descriptor


class Forks:
    """A launcher for each job, forked from this process: it has loaded all that the lines need."""

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            try:
                launcher.start_one(theirs.detach())
            finally:
                os._exit(0)
        theirs.close()
        return ours


class Place:
    """This machine around a job: a victim, sockets, and who looks."""

    def __init__(self) -> None:
        self.victim = subprocess.Popen(["sleep", "3600"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0sealroom-{self.port}")
        self.abstract.listen()
        self.file = json.__file__  # where a job may read
        libc = ctypes.CDLL(None)
        self.dataset = dataset()
        self._watch = libc.inotify_init1(0x800)
        libc.inotify_add_watch(self._watch, self.file.encode(), 0x20)

    def prelude(self) -> str:
        arm = int(os.uname().machine != "x86_64")
        text = PRELUDE.format(
            calls=CALLS, arm=arm, file=self.file, victim=self.victim.pid, custodian=os.getpid(), attempts={}
        )
        return text + MORE

    def attack(self, line: str, looks: str | None, *, phase: str) -> bool:
        """Whether one line gets through, in a fresh job. Raises when it never began."""
        with suppress(OSError):
            os.utime(self.file, (1, 2))
        with suppress(BlockingIOError):
            os.read(self._watch, 4096)
        before = len(kernel_log()) if looks == "log" else 0
        with Sandbox.start("attack", service=Forks()) as job:  # type: ignore[arg-type]
            job.ready()
            channel = Channel(job.channel)
            job.channel.settimeout(SECONDS)
            channel.send({"prelude": self.prelude(), "line": line, "phase": phase, "port": self.port})
            if phase == "relation":
                channel.send({}, descriptor=self.dataset)
            first = channel.receive()
            if first is None or first.head != {"told": "began"}:
                raise RuntimeError(f"{line!r} did not begin: a refusal would mean nothing")
            job.verify(filters=1 if phase == "load" else 2)
            channel.send({"verified": True})
            try:
                frame = channel.receive()
            except JobError:
                frame = None
            told = frame is not None and frame.head["told"] is True
            seen = self.look(looks, job.pid, before) if looks else told
        if self.victim.poll() is not None:
            raise RuntimeError(f"{line!r} ended another process")
        return seen

    def look(self, where: str, pid: int, before: int) -> bool:
        """Whether this shows what a line left."""
        here = Path(f"/proc/{pid}")
        looks: dict[str, Callable[[], bool]] = {
            "comm": lambda: b"s3cret" in (here / "comm").read_bytes(),
            "cmdline": lambda: b"s3cret" in (here / "cmdline").read_bytes(),
            "inotify": lambda: len(os.read(self._watch, 4096)) > 0,
            "atime": lambda: os.stat(self.file).st_atime > 1,
            "log": lambda: any(MARK in each or f"[{pid}]" in each for each in kernel_log()[before:]),
            "size": lambda: int((here / "statm").read_text().split()[1]) * 4096 > 250 << 20,
            "time": lambda: int((here / "stat").read_text().rpartition(")")[2].split()[11]) >= 25,
        }
        time.sleep(0.2)
        try:
            return looks[where]()
        except OSError:
            return False

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        self.listener.close()
        self.abstract.close()


def kernel_log() -> list[str]:
    """Nothing where it cannot be read."""
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout.splitlines()


def main(phase: str) -> dict[str, Any]:
    launcher.PROGRAMS["attack"] = "tests.enclave.attacks"
    sys.modules["tests.enclave.attacks"] = sys.modules[__name__]  # a job cannot read this file
    hide_memory()
    place = Place()
    groups = [*GROUPS.values(), *([DATASET] if phase == "relation" else [])]
    lines = {name: (line, None) for group in groups for name, line in group.items()}
    attacks: dict[str, tuple[str, str | None]] = {
        **lines,
        **{n: (a, b or None) for n, (a, b) in SEEN.items()},
    }
    try:
        found = [
            name for name, (line, looks) in attacks.items()
            if place.attack(line, looks, phase=phase)
        ]  # fmt: skip
    finally:
        place.close()
    return {"attacks": len(attacks), "through": found}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
