# SPDX-License-Identifier: Apache-2.0
"""Leases end on time, whatever the gate or the network between does.

The gates here implement the seam's interface.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.patience import PATIENCE_S

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError
from sealroom.key_release import GrantReply, LeaseReply, LeaseRequest, sign_renewal, verify_lease
from sealroom.key_release.messages import Challenge, EvidenceMessage, GateIdentity, Hello
from sealroom.key_release.replies import Refusal
from sealroom.keys import Secret, address_of, generate_signer
from sealroom.runtime import lease as leases
from sealroom.runtime.clock import Clock, boot_seconds
from sealroom.runtime.gate_client import GateRefused
from sealroom.runtime.lease import FIRST_SECONDS, RETRY_SECONDS, Lease, LeaseEnd, LeaseEnded

RUN, CHAIN, CONSORTIUM = b"r" * 32, 31337, "0x" + "c0" * 20
SECONDS = 2
"""Lease that a gate gives, seconds."""


class Now:
    """The clock of leases: time passes where a test says so, and nowhere else."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def passes(self, lease: Lease, seconds: float) -> None:
        """So much time passes, and who waits for it under the lease wakes up."""
        self.seconds += seconds
        with lease._change:
            lease._change.notify_all()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """The clock; and leases are renewed soon."""
    now = Now()
    monkeypatch.setattr("sealroom.runtime.lease.FIRST_SECONDS", 0.05)
    monkeypatch.setattr("sealroom.runtime.lease.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("sealroom.runtime.lease.boot_seconds", now)
    return now


class LeasingGate:
    """A gate that does nothing but leases: `answer` decides about each renewal, by its counter."""

    def __init__(self, signer: str, answer: Callable[[int], None] = lambda counter: None) -> None:
        self.signer = signer
        self.key = generate_signer().reveal()
        self.address = address_of(self.key)
        self.answer = answer
        self.counters: list[int] = []
        self.final = True
        self.answered = threading.Semaphore(0)

    def lease(self, message: LeaseRequest, *, timeout: float) -> LeaseReply:
        verify_lease(message, signer=self.signer, chain_id=CHAIN, consortium=CONSORTIUM)
        self.counters.append(message.counter)
        self.answered.release()
        self.answer(message.counter)
        return self.signed(message, final=self.final)

    def signed(self, message: LeaseRequest, *, final: bool) -> LeaseReply:
        return sign_renewal(
            message,
            lease_seconds=SECONDS,
            until=int(time.time()) + SECONDS,
            opening_final=final,
            chain_id=CHAIN,
            consortium=CONSORTIUM,
            private_key=self.key,
        )

    def asked(self, number: int) -> bool:
        """Wait until so many renewals were asked for that no call has counted yet."""
        return all(self.answered.acquire(timeout=PATIENCE_S) for _ in range(number))

    def renewals(self, number: int) -> bool:
        """Wait until so many more were asked for."""
        while self.answered.acquire(blocking=False):
            pass
        return self.asked(number)

    def identity(self) -> GateIdentity:
        raise NotImplementedError

    def hello(self, message: Hello) -> Challenge:
        raise NotImplementedError

    def evidence(self, message: EvidenceMessage) -> GrantReply:
        raise NotImplementedError


class Ends(list[LeaseEnd]):
    """What `on_end` was called with, by a thread of the lease."""

    def __init__(self) -> None:
        super().__init__()
        self._called = threading.Event()

    def add(self, end: LeaseEnd) -> None:
        self.append(end)
        self._called.set()

    def causes(self) -> list[str]:
        """Why the lease ended, once it was told."""
        assert self._called.wait(PATIENCE_S)
        return [end.cause for end in self]


@contextmanager
def leased(
    answer: Callable[[int], None] = lambda counter: None,
    *,
    before: float = 0.0,
    final: bool = True,
    seconds: int = SECONDS,
    on_final: Callable[[], None] = lambda: None,
    on_renewal: Callable[[float, int], None] = lambda left, seconds: None,
) -> Iterator[tuple[Lease, LeasingGate, Ends]]:
    signer: Secret = generate_signer()
    gate = LeasingGate(address_of(signer.reveal()), answer)
    gate.final = final
    ends = Ends()
    lease = Lease(
        gate,
        run_id=RUN,
        chain_id=CHAIN,
        consortium=CONSORTIUM,
        signer=signer,
        gate_signer=gate.address,
        granted=leases.boot_seconds() - before,
        seconds=seconds,
        on_end=ends.add,
        on_final=on_final,
        on_renewal=on_renewal,
    )
    lease.start()
    try:
        yield lease, gate, ends
    finally:
        lease.stop()


def wait(lease: Lease) -> None:
    """Wait for a moment that is far away."""
    lease.wait_until(boot_seconds() + 2 * PATIENCE_S, Clock())


def refuse(code: str) -> None:
    raise GateRefused(Refusal(Code.parse(code), f"refused: {code}"))


def test_a_lease_lives_as_long_as_it_is_renewed(now: Now) -> None:
    with leased() as (lease, gate, ends):
        for _ in range(2):
            assert gate.renewals(3), "the last is asked for once one from now counts"
            now.passes(lease, 0.75 * SECONDS)
            lease.check()
        assert gate.counters[:3] == [1, 2, 3] and ends == []


def test_a_lease_that_the_gate_will_not_renew_ends_at_once() -> None:
    """OP-10: a revocation ends the lease at the next renewal, long before it would lapse."""
    with leased(lambda counter: refuse("revoked"), seconds=3600) as (lease, _, ends):
        with pytest.raises(LeaseEnded) as caught:
            wait(lease)
        assert caught.value.code == "lease-ended" and caught.value.end.cause == "revoked"
        assert ends.causes() == ["revoked"]


def test_a_lease_that_nobody_answers_ends_on_time(now: Now) -> None:
    def unreachable(counter: int) -> None:
        raise KeyReleaseError(Code.GATE_UNREACHABLE, "no answer")

    with leased(unreachable) as (lease, gate, ends):
        assert gate.asked(2)
        now.passes(lease, SECONDS - 0.5)
        lease.check()
        now.passes(lease, 0.5)
        with pytest.raises(LeaseEnded):
            wait(lease)
        assert ends.causes() == ["gate-unreachable"]


def test_a_renewal_that_hangs_cannot_stretch_a_lease(now: Now) -> None:
    hung = threading.Event()
    with leased(lambda counter: (hung.wait(2 * PATIENCE_S), None)[1]) as (lease, gate, ends):
        assert gate.asked(1)
        now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded):
            wait(lease)
        assert ends.causes() == ["lease-expired"]
    hung.set()


@pytest.mark.parametrize("code", ["chain-unreachable", "gate-state", "audit-unwritable"])
def test_trouble_that_passes_does_not_end_a_lease(code: str) -> None:
    """Also the gate's own: a full disk of its machine ends no run (OP-05)."""
    asked: list[int] = []

    def once(counter: int) -> None:
        asked.append(counter)
        if len(asked) == 1:
            refuse(code)

    with leased(once) as (lease, gate, ends):
        assert gate.renewals(3)
        lease.check()
        assert gate.counters[:3] == [1, 2, 3] and ends == []


def test_trouble_that_lasts_ends_a_lease_and_is_named(now: Now) -> None:
    """OP-09: with a dead watcher the lease lapses."""
    with leased(lambda counter: refuse("watcher-dead")) as (lease, gate, ends):
        assert gate.asked(2)
        now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded):
            wait(lease)
        assert ends.causes() == ["watcher-dead"]


@pytest.mark.parametrize("takes", [0.1, 6.0, 12.0, 14.0])
def test_a_gate_that_answers_late_keeps_its_lease_of_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, now: Now, takes: float
) -> None:
    """CH-04: its nodes take seconds for a question."""
    rounds = 8
    monkeypatch.setattr("sealroom.runtime.lease.FIRST_SECONDS", FIRST_SECONDS)
    monkeypatch.setattr("sealroom.runtime.lease.RETRY_SECONDS", RETRY_SECONDS)
    monkeypatch.setattr("tests.enclave.test_lease.SECONDS", 30)
    signer: Secret = generate_signer()

    class Late(LeasingGate):
        def lease(self, message: LeaseRequest, *, timeout: float) -> LeaseReply:
            now.seconds += min(takes, timeout)
            if timeout < takes:
                raise KeyReleaseError(Code.GATE_UNREACHABLE, "the gate gave no answer")
            return super().lease(message, timeout=timeout)

    gate, ends = Late(address_of(signer.reveal())), Ends()
    lease = Lease(
        gate,
        run_id=RUN,
        chain_id=CHAIN,
        consortium=CONSORTIUM,
        signer=signer,
        gate_signer=gate.address,
        granted=now(),
        seconds=SECONDS,
        on_end=ends.add,
    )

    def sleep(seconds: float) -> bool:
        now.seconds += seconds
        lease.check()
        return len(gate.counters) < rounds

    monkeypatch.setattr(lease, "_sleep", sleep)
    lease._renew()
    lease.check()
    assert gate.counters == list(range(1, rounds + 1))


def test_a_lost_answer_does_not_end_a_lease() -> None:
    def lose_the_first_answer(counter: int) -> None:
        if counter == 1:
            raise KeyReleaseError(Code.GATE_UNREACHABLE, "the answer was lost")

    with leased(lose_the_first_answer) as (lease, gate, ends):
        assert gate.renewals(3)
        lease.check()
        assert gate.counters[:3] == [1, 2, 3] and ends == []


def test_a_renewal_that_the_gate_did_not_sign_prolongs_nothing(now: Now) -> None:
    """OP-10, AT-04: the host answers in the gate's place, to keep a revoked run alive."""
    with leased() as (lease, gate, ends):
        gate.key = generate_signer().reveal()
        assert gate.renewals(3)
        now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded):
            wait(lease)
        assert ends.causes() == ["renewal-forged"]


def test_a_renewal_of_an_earlier_request_prolongs_nothing(now: Now) -> None:
    """AT-01: the host keeps an honest answer and gives it again."""
    with leased() as (lease, gate, ends):
        honest = gate.lease
        kept: list[LeaseReply] = []

        def replay(message: LeaseRequest, *, timeout: float) -> LeaseReply:
            kept.append(honest(message, timeout=timeout))
            return kept[0]

        gate.lease = replay  # type: ignore[method-assign]
        assert gate.renewals(4)
        now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded):
            wait(lease)
        assert ends.causes() == ["renewal-forged"]


# --- the opening's finality -----------------------------------------------------------------------


Alter = Callable[[LeaseReply, LeaseRequest, LeasingGate], LeaseReply]


def test_a_result_waits_until_a_renewal_calls_the_opening_final() -> None:
    """CH-01: and what was final once stays so, whatever later renewals say."""
    finals = threading.Semaphore(0)
    with leased(final=False) as (lease, gate, ends):
        waiter = threading.Thread(target=lambda: (lease.wait_final(), finals.release()), daemon=True)
        waiter.start()
        seen = gate.renewals(2)
        assert seen and not finals.acquire(blocking=False)
        gate.final = True
        assert finals.acquire(timeout=PATIENCE_S)
        gate.final = False
        assert gate.renewals(1)
        lease.wait_final()
        assert ends == []


def test_each_renewal_tells_what_is_left_and_never_more() -> None:
    told: list[tuple[float, int]] = []
    with leased(on_renewal=lambda *one: told.append(one)) as (_, gate, _ends):
        assert gate.renewals(3)
    assert len(told) >= 2
    assert all(0 < left <= seconds for left, seconds in told)


def test_finality_is_told_once() -> None:
    told: list[int] = []
    with leased(on_final=lambda: told.append(1)) as (lease, gate, _):
        lease.wait_final()
        assert gate.renewals(2)
    assert told == [1]


@pytest.mark.parametrize("code", ["revoked", "opening-replaced", "budget-exceeded", "opening-lost"])
def test_a_lease_that_ends_while_its_opening_is_not_final_lets_nothing_out(now: Now, code: str) -> None:
    """CH-01, OP-10: at once for a refusal that lasts, and on time for a lost opening, which may come back."""
    with leased(lambda counter: refuse(code), final=False) as (lease, gate, ends):
        if code == "opening-lost":
            assert gate.asked(3)
            now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded) as caught:
            lease.wait_final()
        assert caught.value.end.cause == code
        assert ends.causes() == [code]
        assert (len(gate.counters) > 1) is (code == "opening-lost")


def flipped(reply: LeaseReply, request: LeaseRequest, gate: LeasingGate) -> LeaseReply:
    return replace(reply, opening_final=True)


def of_another_run(reply: LeaseReply, request: LeaseRequest, gate: LeasingGate) -> LeaseReply:
    return gate.signed(replace(request, run_id=b"s" * 32), final=True)


def of_an_earlier_request(reply: LeaseReply, request: LeaseRequest, gate: LeasingGate) -> LeaseReply:
    return gate.signed(replace(request, counter=request.counter - 1), final=True)


def of_the_host(reply: LeaseReply, request: LeaseRequest, gate: LeasingGate) -> LeaseReply:
    kept, gate.key = gate.key, generate_signer().reveal()
    try:
        return gate.signed(request, final=True)
    finally:
        gate.key = kept


@pytest.mark.parametrize("alter", [flipped, of_another_run, of_an_earlier_request, of_the_host])
def test_a_word_of_finality_that_the_gate_did_not_give_counts_for_nothing(now: Now, alter: Alter) -> None:
    """CH-01, AT-01, AT-04: the host wants the result out before the ε is booked for good."""
    told: list[int] = []
    with leased(final=False, on_final=lambda: told.append(1)) as (lease, gate, ends):
        honest = gate.lease
        gate.lease = lambda message, *, timeout: alter(  # type: ignore[method-assign]
            honest(message, timeout=timeout), message, gate
        )
        assert gate.renewals(3)
        now.passes(lease, SECONDS)
        with pytest.raises(LeaseEnded):
            lease.wait_final()
        assert ends.causes() == ["renewal-forged"]
    assert told == []


def test_a_lease_can_be_ended_from_this_side() -> None:
    """OP-10: a host that stops the enclave lets it wipe first."""
    with leased() as (lease, _, ends):
        lease.end_now(LeaseEnd(cause=Code.STOPPED, message="the host stopped the enclave"))
        with pytest.raises(LeaseEnded):
            lease.check()
        assert ends.causes() == ["stopped"]


def test_a_lease_counts_from_before_the_grant_was_asked_for() -> None:
    with leased(before=SECONDS + 1) as (lease, _, _), pytest.raises(LeaseEnded):
        lease.check()


def test_a_lease_that_lapsed_is_not_revived_by_a_late_renewal() -> None:
    """OP-10: not even by an honest one, whichever of the two threads comes first."""
    for _ in range(20):
        with leased(before=SECONDS + 1) as (lease, _, ends):
            time.sleep(0.02)
            with pytest.raises(LeaseEnded):
                lease.check()
            assert ends.causes() == ["lease-expired"]
