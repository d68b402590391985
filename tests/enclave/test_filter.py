# SPDX-License-Identifier: Apache-2.0
"""The filter as a program, against the table that it is made of: two readings that share no code, and
libseccomp as a third one where it is there.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import platform
import random
import struct
import tempfile
from collections.abc import Iterator

import pytest

from sealroom.runtime.seccomp import AARCH64, X86_64, Architecture, filter_program
from sealroom.runtime.syscalls import NUMBERS, Phase, Rule, rules

PID = 77
ALLOWED, ERRNO, ENOSYS = 0x7FFF0000, 0x00050000, 38
MACHINES = {"x86-64": X86_64, "AArch64": AARCH64}
SEED = 12
BITS = (*range(0, 30, 3), 31, 32, 33, 47, 63)
"""Those that are turned: some of each half, and the ends."""


def answer(program: bytes, *, audit: int, number: int, arguments: tuple[int, ...]) -> int:
    """Run a filter as the kernel would; returns what it answers."""
    words = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, *(0,) * 6)[:6])
    steps = parsed(program)
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        match code:
            case 0x06:
                return operand
            case 0x20:
                accumulator = struct.unpack_from("=I", words, operand)[0]
            case 0x54:
                accumulator &= operand
            case 0x05:
                at += operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x25:
                at += if_true if accumulator > operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case _:
                raise AssertionError(f"an unknown step: {code:#x}")


@functools.cache
def parsed(program: bytes) -> list[tuple[int, int, int, int]]:
    return [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]


def by_the_table(rule: Rule, arguments: tuple[int, ...]) -> int:
    """What the table says, read as a person reads it."""
    for case in rule.allowed:
        if all(arguments[test.argument] & test.mask == test.value for test in case):
            return ALLOWED
    return ERRNO | rule.error


def arguments_near(rule: Rule, dice: random.Random) -> Iterator[tuple[int, ...]]:
    """Arguments that satisfy a case, each with one bit turned, and odd ones."""
    odd = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
    for case in (*rule.allowed, ()):
        good = [dice.choice(odd) for _ in range(6)]
        for test in case:
            good[test.argument] = good[test.argument] & ~test.mask & (2**64 - 1) | test.value
        yield tuple(good)
        for place in {test.argument for test in case} or {0, 1, 2}:
            for bit in BITS:
                turned = list(good)
                turned[place] ^= 1 << bit
                yield tuple(turned)
    for _ in range(30):
        yield tuple(dice.choice((*odd, dice.getrandbits(64), dice.randrange(2048))) for _ in range(6))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("name", MACHINES)
def test_the_program_answers_as_the_table_says(name: str, phase: Phase) -> None:
    machine, dice, tried = MACHINES[name], random.Random(SEED), 0
    program = filter_program(phase, pid=PID, machine=machine)
    for call, rule in rules(phase, pid=PID, column=machine.column).items():
        number = NUMBERS[call][machine.column]
        if number is not None:
            for arguments in arguments_near(rule, dice):
                found = answer(program, audit=machine.audit, number=number, arguments=arguments)
                assert found == by_the_table(rule, arguments), (call, arguments)
                tried += 1
    assert tried > 2_000


@pytest.mark.parametrize("wide, narrow", [(Phase.LOAD, Phase.SEALED), (Phase.SEALED, Phase.BLOCK)])
def test_a_narrower_phase_allows_nothing_that_a_wider_one_refuses(wide: Phase, narrow: Phase) -> None:
    """The second filter narrows; what it would widen, the first refuses all the same."""
    dice = random.Random(SEED)
    for machine in MACHINES.values():
        table = rules(wide, pid=PID, column=machine.column)
        for call, rule in rules(narrow, pid=PID, column=machine.column).items():
            for arguments in arguments_near(rule, dice):
                if by_the_table(rule, arguments) == ALLOWED:
                    assert by_the_table(table[call], arguments) == ALLOWED, call


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def by_libseccomp(phase: Phase, machine: Architecture) -> bytes:
    """The program that libseccomp makes of the same table; it knows no "else this errno"."""
    name = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        pytest.skip("libseccomp is not there")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ERRNO | ENOSYS))
    for call, rule in rules(phase, pid=PID, column=machine.column).items():
        number = NUMBERS[call][machine.column]
        for case in rule.allowed if number is not None else ():
            tests = [_Comparison(test.argument, 7, test.mask, test.value) for test in case]
            array = (_Comparison * len(tests))(*tests)
            assert library.seccomp_rule_add_array(context, ALLOWED, number, len(tests), array) == 0, call
    with tempfile.TemporaryFile() as file:
        assert library.seccomp_export_bpf(context, file.fileno()) == 0
        library.seccomp_release(context)
        file.seek(0)
        return file.read()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="libseccomp makes a program for this machine")
@pytest.mark.parametrize("phase", Phase)
def test_libseccomp_reads_the_table_alike(phase: Phase) -> None:
    other, dice = by_libseccomp(phase, X86_64), random.Random(SEED)
    own = filter_program(phase, pid=PID, machine=X86_64)
    known = rules(phase, pid=PID, column=X86_64.column)
    for call, (number, _) in NUMBERS.items():
        for arguments in arguments_near(known.get(call, Rule(allowed=(), error=0)), dice) if number else ():
            both = [
                answer(program, audit=X86_64.audit, number=number, arguments=arguments) == ALLOWED
                for program in (own, other)
            ]
            assert both[0] == both[1], (call, arguments)
