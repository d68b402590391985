# SPDX-License-Identifier: Apache-2.0
"""Every way known to us out of the sandbox by a system call, made in a real sandbox: the list of what works
is empty. The twin of each line runs in an ordinary process, where it must work.
"""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.enclave.inside import Inside, inside, outside

from sealroom.runtime.seccomp import AARCH64, X86_64, Architecture, filter_program
from sealroom.runtime.syscalls import NUMBERS

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
GROUPS = {"fcntl": FCNTL, "other processes": OTHERS, "traces": TRACES, "kernel": KERNEL}

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


@pytest.mark.parametrize("group", GROUPS)
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
        assert running.sandbox.ended(within=60) == 0
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
        ended = running.sandbox.ended(within=60)
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
        if running.confinement["files"] != "landlock":
            pytest.skip("this kernel has no Landlock")
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
        "assert os.urandom(8) and open('/proc/self/status').read()"
    ),
    "reading code": "import zoneinfo, importlib; importlib.import_module('wave'); zoneinfo.ZoneInfo('UTC')",
    "signals of its own": "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)",
}


@pytest.mark.parametrize("work", NEEDED)
def test_what_an_analysis_needs_works(work: str) -> None:
    """The twin of the refusals, in a sandbox."""
    if work == "torch":
        pytest.importorskip("torch")
    script = f"""
import traceback
try:
    exec({NEEDED[work]!r}, {{}})
except BaseException:
    tell(traceback.format_exc())
else:
    tell("done")
"""
    assert inside(script) == "done"


# -- the program, interpreted ------------------------------------------------------------------------------


def answer(program: bytes, *, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a filter as the kernel would; returns what it answers."""
    words = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, *(0,) * 6)[:6])
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            accumulator = struct.unpack_from("=I", words, operand)[0]
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x15:
            at += if_true if accumulator == operand else if_false
        elif code == 0x35:
            at += if_true if accumulator >= operand else if_false
        else:
            raise AssertionError(f"a step that the assembler does not make: {code:#x}")


ALLOWED = 0x7FFF0000
HIGH = 1 << 32
MACHINES = {"x86-64": X86_64, "AArch64": AARCH64}


@pytest.mark.parametrize("name", MACHINES)
def test_the_filter_answers_by_the_whole_argument(name: str) -> None:
    machine = MACHINES[name]
    program = filter_program(pid=77, machine=machine)

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


def neighbours(machine: Architecture) -> list[tuple[int, int]]:
    """Calls under another ABI, of x32, unknown and of the future: audit, number."""
    other = AARCH64 if machine is X86_64 else X86_64
    known = {numbers[machine.column] for numbers in NUMBERS.values()}
    strange = [(other.audit, 0), (0x40000003, 1), (machine.audit, 0x40000000), (machine.audit, 0x40000001)]
    return strange + [(machine.audit, number) for number in (*range(1024), 2**31 - 1) if number not in known]


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_not_listed_does_not_exist(name: str) -> None:
    machine = MACHINES[name]
    program = filter_program(pid=77, machine=machine)
    for audit, number in neighbours(machine):
        assert answer(program, audit=audit, number=number) == 0x00050000 | 38, (audit, number)  # ENOSYS


def test_the_filter_has_no_jump_out_of_the_program() -> None:
    for machine in MACHINES.values():
        program = filter_program(pid=77, machine=machine)
        count = len(program) // 8
        assert count < 4096  # BPF_MAXINSNS
        for at in range(count):
            code, if_true, if_false, _ = struct.unpack_from("=HBBI", program, 8 * at)
            assert code == 0x06 or at + 1 + max(if_true, if_false) < count
