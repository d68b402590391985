# SPDX-License-Identifier: Apache-2.0
"""Writes that come at the same time share one wait for the disk; nonces are kept in memory, bounded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.patience import PATIENCE_S, until

from sealroom.key_release import Challenge, Hello
from sealroom_agents.errors import Refused
from sealroom_agents.gate import nonces as nonces_module
from sealroom_agents.gate.nonces import KEEP_EXPIRED_S, Nonces
from sealroom_agents.gate.together import NoTurn, Together

LIFE_S = 60


class Slow:
    """Doubles numbers, once it is let; what is odd fails alone, and what is zero fails all."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.came: list[list[int]] = []
        self.together = Together(self.act)

    def act(self, numbers: Sequence[int]) -> list[int | BaseException]:
        self.came.append(list(numbers))
        assert self.go.wait(PATIENCE_S)
        if 0 in numbers:
            raise ZeroDivisionError
        return [KeyError(number) if number % 2 else 2 * number for number in numbers]

    def waiting(self) -> int:
        return len(self.together._waiting)


def test_what_comes_while_some_is_done_is_done_together_and_each_is_told_its_own() -> None:
    slow = Slow()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(slow.together, 2)
        until(lambda: slow.came)
        others = [pool.submit(slow.together, number) for number in (4, 5, 6)]
        until(lambda: slow.waiting() == 3)
        slow.go.set()
        assert first.result(PATIENCE_S) == 4
        assert [type(each.exception(PATIENCE_S)) for each in others] == [type(None), KeyError, type(None)]
        assert [others[0].result(), others[2].result()] == [8, 12]
    assert [sorted(came) for came in slow.came] == [[2], [4, 5, 6]]


def test_what_fails_as_a_whole_fails_for_all_and_for_nobody_after_them() -> None:
    slow = Slow()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(slow.together, 2)
        until(lambda: slow.came)
        others = [pool.submit(slow.together, number) for number in (0, 4)]
        until(lambda: slow.waiting() == 2)
        slow.go.set()
        assert first.result(PATIENCE_S) == 4
        assert {type(each.exception(PATIENCE_S)) for each in others} == {ZeroDivisionError}
    assert slow.together(8) == 16


def test_equal_work_of_two_threads_is_done_for_each() -> None:
    """One of them that gives up must not take the other's away."""
    slow = Slow()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow.together, 2)
        until(lambda: slow.came)
        patient = pool.submit(slow.together, 4)
        until(lambda: slow.waiting() == 1)
        with pytest.raises(NoTurn):
            slow.together(4, timeout_s=0.01)
        slow.go.set()
        assert (first.result(PATIENCE_S), patient.result(PATIENCE_S)) == (4, 8)
    assert slow.came == [[2], [4]]


def test_who_gets_no_turn_has_nothing_done() -> None:
    slow = Slow()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow.together, 2)
        until(lambda: slow.came)
        with pytest.raises(NoTurn):
            slow.together(4, timeout_s=0.01)
        slow.go.set()
        first.result(PATIENCE_S)
    assert slow.came == [[2]] and not slow.waiting()


# --- nonces -------------------------------------------------------------------------------------


def pair(number: int, *, now: int = 1000, consortium: str = "0x" + "c0" * 20) -> tuple[Hello, Challenge]:
    hello = Hello(
        run_id=bytes(32),
        chain_id=31337,
        consortium=consortium,
        compose_hash=bytes(32),
        epsilon_micro=1,
        delta_pico=0,
        guarantee="by-reading",
    )
    nonce = number.to_bytes(32, "big")
    return hello, Challenge(nonce=nonce, issued=now, expires=now + LIFE_S, signature=bytes(65))


def told(nonces: Nonces, number: int, *, now: int = 1000) -> str:
    try:
        nonces.use(number.to_bytes(32, "big"), now=now)
    except Refused as no:
        return str(no.code)
    return "ok"


def test_a_nonce_is_used_by_one_of_those_who_bring_it_at_the_same_time() -> None:
    """AT-01."""
    nonces = Nonces()
    nonces.remember(*pair(1), now=1000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: told(nonces, 1), range(8)))
    assert sorted(answers) == ["nonce-replayed"] * 7 + ["ok"]


def test_nobody_is_refused_a_nonce_because_others_said_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: a stranger names any consortium, also that of an honest enclave, whose nonce stays until as many
    came after it as there is room for."""
    monkeypatch.setattr(nonces_module, "MAX_OPEN", 5)
    nonces = Nonces()
    for number in range(100):
        nonces.remember(*pair(number, consortium=f"0x{number % 4:040x}"), now=1000)
    nonces.remember(*pair(100), now=1000)
    for number in range(101, 105):
        nonces.remember(*pair(number), now=1000)
    assert told(nonces, 100) == "ok"
    nonces.remember(*pair(105), now=1000)
    nonces.remember(*pair(106), now=1000)
    assert [told(nonces, number) for number in (99, 101, 102)] == ["nonce-unknown", "nonce-unknown", "ok"]
    assert len(nonces._open) <= nonces_module.MAX_OPEN


def test_what_is_forgotten_is_refused_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """AT-01, OP-11: nothing that is dropped comes back, and a clock that jumped leaves nothing behind."""
    monkeypatch.setattr(nonces_module, "MAX_USED", 2)
    nonces = Nonces()
    for number in range(3):
        nonces.remember(*pair(number), now=1000)
        assert told(nonces, number) == "ok"
    assert [told(nonces, number) for number in range(3)] == ["nonce-unknown"] + ["nonce-replayed"] * 2
    hello, challenge = pair(7, now=9000)
    nonces.remember(hello, challenge, now=9000)
    nonces.remember(*pair(8), now=1000)
    assert told(nonces, 7) == "nonce-unknown"
    late = 1000 + LIFE_S + KEEP_EXPIRED_S
    nonces.remember(*pair(9, now=late), now=late)
    assert told(nonces, 8, now=late) == "nonce-expired"
    nonces.remember(hello, replace(challenge, issued=late, expires=late + LIFE_S), now=late)
    assert told(nonces, 7, now=late) == "ok"
