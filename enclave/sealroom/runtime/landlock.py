# SPDX-License-Identifier: Apache-2.0
"""Landlock: of the file system, the analysis may read Python, its libraries and itself, and nothing else.

The system-call filter sees flags but no names; Landlock sees names. It takes no privilege, but the kernel
must have it (Linux 5.13), and that of a dstack image may not. So no guarantee rests on it, and
`Walls.landlock` says whether it was in force.

Source: Linux, Documentation/userspace-api/landlock.rst; uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

from sealroom.codes import Code
from sealroom.errors import JobError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same on both architectures."""
_ABI_ONLY = 1
"""LANDLOCK_CREATE_RULESET_VERSION."""
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files an ABI knows; 16 from the fifth on. All that it knows are taken away."""
_TCP, _SCOPES = 0b11, 0b11
"""Bind and connect, from ABI 4; abstract sockets and signals, from ABI 6."""

_SYSTEM = ("/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/sys/devices/system/cpu")
"""Where libraries and the time lie, and how many processors there are."""
_OWN = "/proc/self"


def restrict(libc: ctypes.CDLL, paths: tuple[str, ...]) -> int:
    """Leave this thread and its later ones nothing to open but what lies in `paths`, for reading.

    Returns the version of its interface, 0 where the kernel has no Landlock. Needs NO_NEW_PRIVS.
    Raises `JobError` ("sandbox-unavailable") when the kernel has it and refuses.
    """
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ABI_ONLY)
    if abi < 1:
        return 0
    rights = (1 << _FILE_RIGHTS.get(abi, 16)) - 1
    wanted = [rights, *([_TCP] if abi >= 4 else []), *([_SCOPES] if abi >= 6 else [])]
    attributes = struct.pack(f"={len(wanted)}Q", *wanted)
    ruleset = _must(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    for path in (*paths, *_SYSTEM, _OWN):
        _allow_reading(libc, ruleset, path)
    _must(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    return int(abi)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # nothing there, nothing to read
    allowed = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
    _must(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, handle), 0))
    if path != _OWN:  # a rule on /proc lasts only as long as something holds the directory
        os.close(handle)


def _must(done: int) -> int:
    if done < 0:
        reason = os.strerror(ctypes.get_errno())
        raise JobError(
            Code.SANDBOX_UNAVAILABLE, f"the kernel has Landlock and did not take its rules: {reason}"
        )
    return done
