# SPDX-License-Identifier: Apache-2.0
"""An empty root for a job: a file system of its own with nothing in it but what it may read, read-only.

Needs a mount namespace of one's own, and the capability to mount in it. Folders are bound, each read-only and
without devices and set-uid; single files, which the kernel changes as it works, are copied as they are now.

Source: the manual pages mount(2), mount_setattr(2), pivot_root(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

from sealroom.runtime.seccomp import architecture

OWN_PROC = "/.proc"
"""Where the job's own processes are mounted; /proc/self leads there."""

_WORKSHOP = "/tmp"
"""Where the new root is put together; any folder does."""

_COPIES = (
    "/proc/cpuinfo", "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present", "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
"""How many processors there are, and where the loader finds libraries."""

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_MOUNT_SETATTR = 442
"""The same on both architectures."""
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000


def enter_empty_root(libc: ctypes.CDLL, readable: list[str]) -> bool:
    """Make this process's root one that holds `readable` and nothing else; false when it may not.

    Where it fails half-way, the machine's root stays, and what was mounted is this process's alone.
    """
    os.umask(0o022)  # another uid shall walk in here
    try:
        _build(libc, readable)
        os.chdir(_WORKSHOP)
        _must(libc.syscall(architecture().pivot_root, b".", b"."))
    except OSError:
        return False
    _must(libc.umount2(b".", _MNT_DETACH))  # the old root, which lies over the new one
    os.chdir("/")
    closed = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount(libc, None, "/", None, closed)
    return True


def _build(libc: ctypes.CDLL, readable: list[str]) -> None:
    copies = {}
    for name in _COPIES:
        with contextlib.suppress(OSError):
            copies[name] = Path(name).read_bytes()
    places = sorted({place for path in readable for place in (os.path.realpath(path), path)})
    sources: dict[str, int] = {}
    for place in places:
        above = any(place.startswith(other.rstrip("/") + "/") for other in sources)
        if not above and os.path.exists(place):
            sources[place] = os.open(place, os.O_PATH | os.O_CLOEXEC)
    _mount(libc, None, "/", None, _MS_PRIVATE | _MS_REC)
    _mount(libc, "job", _WORKSHOP, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=16m")
    os.makedirs(_WORKSHOP + OWN_PROC)
    with contextlib.suppress(OSError):  # without it, /proc/self leads nowhere
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount(libc, "proc", _WORKSHOP + OWN_PROC, "proc", flags, "subset=pid")
    for place, handle in sources.items():
        _bind(libc, handle, _WORKSHOP + place, device=place.startswith("/dev/"))
    for name, content in copies.items():
        if not os.path.exists(_WORKSHOP + name):
            os.makedirs(os.path.dirname(_WORKSHOP + name), exist_ok=True)
            Path(_WORKSHOP + name).write_bytes(content)
    os.makedirs(f"{_WORKSHOP}/proc", exist_ok=True)
    os.symlink(f"{OWN_PROC}/self", f"{_WORKSHOP}/proc/self")


def _bind(libc: ctypes.CDLL, handle: int, target: str, *, device: bool) -> None:
    source = f"/proc/self/fd/{handle}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _mount(libc, source, target, None, _MS_BIND | _MS_REC)
    os.close(handle)
    attributes = _MS_RDONLY | _MS_NOSUID | (_MS_NOEXEC if device else _MS_NODEV)
    _must(
        libc.syscall(
            _MOUNT_SETATTR,
            _AT_FDCWD,
            target.encode(),
            _AT_RECURSIVE,
            struct.pack("=4Q", attributes, 0, 0, 0),
            ctypes.c_size_t(32),
        )
    )


def _mount(
    libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    _must(libc.mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()))


def _must(done: int) -> None:
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
