# SPDX-License-Identifier: Apache-2.0
"""The system-call filter of the sandbox, assembled by hand.

Two or five instructions a rule, because a library that does it would be larger than the rules. A rule denies
a call outright, or by one argument that is a plain number: `clone` unless it makes a thread, `openat` when
it would write, `tgkill` to another process. Everything else is allowed: the filter takes away what an
analysis has no use for, and the other walls of `sealroom.runtime.sandbox` stand behind it.

Source: Linux, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

from sealroom.errors import JobError

_OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Opcodes and return values of linux/filter.h and linux/seccomp.h; offsets into struct seccomp_data.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x10000

_NEWEST_KNOWN = 462
"""mseal, of Linux 6.10: the numbers are common to both architectures from 424 on."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The numbers of one machine architecture."""

    audit: int
    """AUDIT_ARCH_… of linux/audit.h; a call made under another ABI kills the process."""
    seccomp: int
    capset: int
    openat: int
    clone: int
    tgkill: int
    open: int | None
    """The old `open` call, which AArch64 never had."""
    clone3: int
    ioctl: int
    denied: dict[str, int]


# Numbers from asm/unistd_64.h (x86-64) and asm-generic/unistd.h (AArch64); None where the call does not
# exist there.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # the network, and every socket but the one inherited (which is read with recvmsg and written with write)
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206),
    "sendmsg": (46, 211), "sendmmsg": (307, 269), "recvfrom": (45, 207),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "process_madvise": (440, 440), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    # new programs and namespaces
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "unshare": (272, 97), "setns": (308, 268), "prctl": (157, 167), "personality": (135, 92),
    # kernel surface that no analysis needs
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "fanotify_init": (300, 262),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # memory and queues shared with others
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "semget": (64, 190), "semop": (65, 193), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # names, contents and attributes of files
    "openat2": (437, 437), "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46),
    "fallocate": (285, 47), "mknod": (133, None), "mknodat": (259, 33), "mkdir": (83, None),
    "mkdirat": (258, 34), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "rmdir": (84, None), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None),
    "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "flock": (73, 32),
}  # fmt: skip


def architecture() -> Architecture:
    """The numbers of this machine. Raises `JobError` ("sandbox-unavailable") where there is no filter."""
    machine = platform.machine()
    column = {"x86_64": 0, "aarch64": 1, "arm64": 1}.get(machine)
    if column is None or sys.platform != "linux" or sys.maxsize < 2**32:
        raise JobError(
            "sandbox-unavailable", f"there is no system-call filter for {sys.platform} on {machine}"
        )
    denied = {name: numbers[column] for name, numbers in _DENIED.items()}
    known = {name: number for name, number in denied.items() if number is not None}
    if column == 0:
        return Architecture(
            audit=0xC000003E, seccomp=317, capset=126, openat=257, clone=56, tgkill=234, open=2, clone3=435,
            ioctl=16,
            denied=known,
        )  # fmt: skip
    return Architecture(
        audit=0xC00000B7, seccomp=277, capset=91, openat=56, clone=220, tgkill=131, open=None, clone3=435,
        ioctl=29,
        denied=known,
    )  # fmt: skip


def filter_program(*, pid: int) -> bytes:
    """The BPF program as the kernel reads it, 8 bytes a step; `pid` may signal its own threads.

    Every rule carries its own `return`, so that no jump is longer than four instructions and none has to be
    counted when a rule is added.
    """
    machine = architecture()
    program = [
        _instruction(_LOAD, _OFFSET_ARCHITECTURE),
        _instruction(_EQUAL, machine.audit, if_true=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _OFFSET_NUMBER),
    ]
    if machine.audit == 0xC000003E:
        program += [_instruction(_AT_LEAST, _X32_BIT, if_false=1), _instruction(_RETURN, _KILL)]
    # Calls that this list is too old to know: "no such call" makes libraries go on with what there was
    # before.
    program += [
        _instruction(_AT_LEAST, _NEWEST_KNOWN + 1, if_false=1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number in machine.denied.values():
        program += _refuse(number, errno.EPERM)
    # glibc takes ENOSYS as "old kernel" and goes on with clone, whose flags a filter can read.
    program += _refuse(machine.clone3, errno.ENOSYS)
    # ioctl writes flags and project ids of a file, through a descriptor that is open for reading. ENOTTY,
    # because libraries then go on with fcntl.
    program += _refuse(machine.ioctl, errno.ENOTTY)
    program += _refuse_unless(
        machine.clone, argument=0, test=_ANY_BIT, operand=_CLONE_THREAD, error=errno.EPERM
    )
    program += _refuse_unless(machine.tgkill, argument=0, test=_EQUAL, operand=pid, error=errno.EPERM)
    program += _refuse_if_bits(machine.openat, argument=2, bits=_OPEN_TO_WRITE, error=errno.EACCES)
    if machine.open is not None:
        program += _refuse_if_bits(machine.open, argument=1, bits=_OPEN_TO_WRITE, error=errno.EACCES)
    program.append(_instruction(_RETURN, _ALLOW))
    return b"".join(program)


def _instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def _refuse(number: int, error: int) -> list[bytes]:
    return [_instruction(_EQUAL, number, if_false=1), _instruction(_RETURN, _ERRNO | error)]


def _refuse_unless(number: int, *, argument: int, test: int, operand: int, error: int) -> list[bytes]:
    return [
        _instruction(_EQUAL, number, if_false=4),
        _instruction(_LOAD, _OFFSET_ARGUMENTS + 8 * argument),
        _instruction(test, operand, if_true=1),
        _instruction(_RETURN, _ERRNO | error),
        _instruction(_RETURN, _ALLOW),
    ]


def _refuse_if_bits(number: int, *, argument: int, bits: int, error: int) -> list[bytes]:
    return [
        _instruction(_EQUAL, number, if_false=4),
        _instruction(_LOAD, _OFFSET_ARGUMENTS + 8 * argument),
        _instruction(_ANY_BIT, bits, if_false=1),
        _instruction(_RETURN, _ERRNO | error),
        _instruction(_RETURN, _ALLOW),
    ]
