# SPDX-License-Identifier: Apache-2.0
"""Places in which a job may have to be shut in, made around a command on this machine.

    python surroundings.py PLACE COMMAND…

Run as root, each place takes something away from the command; the walls that are left must do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
LANDLOCK_CREATE_RULESET = (444, 444)
UNSHARE, SETNS, MOUNT, PIVOT_ROOT = (272, 97), (308, 268), (165, 40), (155, 41)
SECCOMP = (317, 277)
"""Numbers of system calls on x86-64 and AArch64."""
ARM = os.uname().machine != "x86_64"


def refuse(calls: list[tuple[int, int]], error: int) -> None:
    """A seccomp filter as a container runtime has it: these calls fail, for good."""
    step = struct.Struct("=HBBI")
    program = [step.pack(0x20, 0, 0, 0)]
    for numbers in calls:
        program += [step.pack(0x15, 0, 1, numbers[ARM]), step.pack(0x06, 0, 0, 0x00050000 | error)]
    program.append(step.pack(0x06, 0, 0, 0x7FFF0000))
    code = b"".join(program)
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    head = struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(buffer))
    assert libc.syscall(277 if ARM else 317, 1, 0, head) == 0


def as_root() -> None:
    """As it is: every wall can be had."""


def as_a_user() -> None:
    """Another uid without a privilege; of this machine's files, it sees what root sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWUSER) == 0
    for name, text in (("setgroups", "deny"), ("uid_map", "65533 0 1"), ("gid_map", "65533 0 1")):
        Path(f"/proc/self/{name}").write_text(text)


def without_landlock() -> None:
    """A kernel before Linux 5.13, or one built without it, as a dstack image's may be."""
    refuse([LANDLOCK_CREATE_RULESET], errno.ENOSYS)


def without_namespaces() -> None:
    """What Docker's profile refuses to a container without capabilities."""
    as_a_user()
    refuse([UNSHARE, SETNS, MOUNT, PIVOT_ROOT], errno.EPERM)


def with_the_filter_alone() -> None:
    """Neither."""
    as_a_user()
    refuse([UNSHARE, SETNS, MOUNT, PIVOT_ROOT], errno.EPERM)
    refuse([LANDLOCK_CREATE_RULESET], errno.ENOSYS)


PLACES: dict[str, Callable[[], None]] = {
    "root": as_root,
    "user": as_a_user,
    "no Landlock": without_landlock,
    "no namespaces": without_namespaces,
    "filter alone": with_the_filter_alone,
}


if __name__ == "__main__":
    PLACES[sys.argv[1]]()
    os.execv(sys.argv[2], sys.argv[2:])
