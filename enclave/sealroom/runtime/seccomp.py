# SPDX-License-Identifier: Apache-2.0
"""The system-call filter of the sandbox: the table of `sealroom.runtime.syscalls` as a BPF program.

Assembled by hand, because a library that does it would be larger than this page, and has no "else this errno"
for one call.

Source: Linux, Documentation/userspace-api/seccomp_filter.rst; linux/filter.h, linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime.syscalls import NUMBERS, Case, Phase, Rule, Test, rules

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
"""Calls of the x32 ABI pass for x86-64 with this bit in their number."""
_HALF = 0xFFFF_FFFF
_SET_MODE_FILTER, _FILTER_TSYNC = 1, 1


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The numbers of one machine architecture."""

    audit: int
    """AUDIT_ARCH_… of linux/audit.h; a call made under another ABI does not exist."""
    column: int
    """Its place in `NUMBERS`."""
    seccomp: int
    capset: int
    pivot_root: int


X86_64 = Architecture(audit=0xC000003E, column=0, seccomp=317, capset=126, pivot_root=155)
AARCH64 = Architecture(audit=0xC00000B7, column=1, seccomp=277, capset=91, pivot_root=41)


def architecture() -> Architecture:
    """The numbers of this machine. Raises `JobError` ("sandbox-unavailable") where there is no filter."""
    machine = platform.machine()
    found = {"x86_64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}.get(machine)
    if found is None or sys.platform != "linux" or sys.maxsize < 2**32:
        raise JobError(
            Code.SANDBOX_UNAVAILABLE, f"there is no system-call filter for {sys.platform} on {machine}"
        )
    return found


def install(phase: Phase) -> None:
    """Put the filter of a phase on all threads of this process, for good. Needs NO_NEW_PRIVS.

    Raises `JobError` ("sandbox-unavailable") when the kernel does not take it.
    """
    machine = architecture()
    libc = ctypes.CDLL(None, use_errno=True)
    program = filter_program(phase, pid=os.getpid(), machine=machine)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    # TSYNC: a thread that a library has started already gets the filter as well.
    if libc.syscall(machine.seccomp, _SET_MODE_FILTER, _FILTER_TSYNC, head) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise JobError(Code.SANDBOX_UNAVAILABLE, f"the kernel did not take the system-call filter: {reason}")


def filter_program(phase: Phase, *, pid: int, machine: Architecture | None = None) -> bytes:
    """The BPF program as the kernel reads it, 8 bytes a step, for the process `pid`.

    Every rule ends in its own `return`, so that no jump leaves its rule and none has to be counted when a
    rule is added.
    """
    machine = machine or architecture()
    program = [
        _step(_LOAD, _OFFSET_ARCHITECTURE),
        _step(_EQUAL, machine.audit, if_true=1),
        _answer(errno.ENOSYS),
        _step(_LOAD, _OFFSET_NUMBER),
        _step(_AT_LEAST, _X32_BIT, if_false=1),
        _answer(errno.ENOSYS),
    ]
    for name, rule in rules(phase, pid=pid, column=machine.column).items():
        number = NUMBERS[name][machine.column]
        if number is not None:
            body = _rule(rule)
            program += [_step(_EQUAL, number, if_false=len(body)), *body]
    program.append(_answer(errno.ENOSYS))
    return b"".join(program)


def _rule(rule: Rule) -> list[bytes]:
    body: list[bytes] = []
    for case in rule.allowed:
        body += _case(case)
        if not case:
            return body  # always allowed: nothing can follow
    return [*body, _answer(rule.error)]


def _case(case: Case) -> list[bytes]:
    """All tests of a case and then "allowed"; the first that fails jumps behind it."""
    body = [_step(_RETURN, _ALLOW)]
    for test in reversed(case):
        body = _test(test, skip=len(body)) + body
    return body


def _test(test: Test, *, skip: int) -> list[bytes]:
    steps: list[bytes] = []
    # Little-endian: the low half of an argument comes first. Built backwards, for the distance of the jumps.
    for shift, offset in ((32, 4), (0, 0)):
        mask, value = test.mask >> shift & _HALF, test.value >> shift & _HALF
        if mask:
            steps = [
                _step(_LOAD, _OFFSET_ARGUMENTS + 8 * test.argument + offset),
                *([_step(_AND, mask)] if mask != _HALF else []),
                _step(_EQUAL, value, if_false=len(steps) + skip),
                *steps,
            ]
    return steps


def _answer(error: int) -> bytes:
    return _step(_RETURN, _ERRNO | error)


def _step(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
