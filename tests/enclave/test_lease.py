# SPDX-License-Identifier: Apache-2.0
"""Leases end on time, whatever the gate or the network between does.

The gates here implement the seam's interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sealroom.errors import ReleaseError
from sealroom.keys import Secret, address_of, generate_signer
from sealroom.release import GrantReply, LeaseReply, LeaseRequest, sign_renewal, verify_lease
from sealroom.release.messages import Challenge, EvidenceMessage, GateIdentity, Hello
from sealroom.release.replies import Refusal
from sealroom.runtime.gate_client import GateRefused
from sealroom.runtime.lease import Lease, LeaseEnd, LeaseEnded, clock

RUN, CHAIN, CONSORTIUM = b"r" * 32, 31337, "0x" + "c0" * 20
SECONDS = 2


class LeasingGate:
    """A gate that does nothing but leases: `answer` decides about each renewal, by its counter."""

    def __init__(self, signer: str, answer: Callable[[int], None] = lambda counter: None) -> None:
        self.signer = signer
        self.key = generate_signer().reveal()
        self.address = address_of(self.key)
        self.answer = answer
        self.counters: list[int] = []

    def lease(self, message: LeaseRequest, *, timeout: float) -> LeaseReply:
        verify_lease(message, signer=self.signer, chain_id=CHAIN, consortium=CONSORTIUM)
        self.counters.append(message.counter)
        self.answer(message.counter)
        return sign_renewal(
            message,
            lease_seconds=SECONDS,
            until=int(time.time()) + SECONDS,
            chain_id=CHAIN,
            consortium=CONSORTIUM,
            private_key=self.key,
        )

    def identity(self) -> GateIdentity:
        raise NotImplementedError

    def hello(self, message: Hello) -> Challenge:
        raise NotImplementedError

    def evidence(self, message: EvidenceMessage) -> GrantReply:
        raise NotImplementedError


@contextmanager
def leased(
    answer: Callable[[int], None] = lambda counter: None, *, granted: float | None = None
) -> Iterator[tuple[Lease, LeasingGate, list[LeaseEnd]]]:
    signer: Secret = generate_signer()
    gate = LeasingGate(address_of(signer.reveal()), answer)
    ends: list[LeaseEnd] = []
    lease = Lease(
        gate,
        run_id=RUN,
        chain_id=CHAIN,
        consortium=CONSORTIUM,
        signer=signer,
        gate_signer=gate.address,
        granted=clock() if granted is None else granted,
        seconds=SECONDS,
        on_end=ends.append,
    )
    lease.start()
    try:
        yield lease, gate, ends
    finally:
        lease.stop()


def refuse(code: str) -> None:
    raise GateRefused(Refusal(code, f"refused: {code}"))


def test_a_lease_lives_as_long_as_it_is_renewed() -> None:
    with leased() as (lease, gate, ends):
        lease.wait(SECONDS + 1)
        assert gate.counters[:3] == [1, 2, 3] and ends == []


def test_a_lease_that_the_gate_will_not_renew_ends_at_once() -> None:
    """OP-10: a revocation ends the lease at the next renewal, long before it would lapse."""
    start = time.monotonic()
    with leased(lambda counter: refuse("revoked")) as (lease, _, ends):
        with pytest.raises(LeaseEnded) as caught:
            lease.wait(SECONDS + 1)
        assert time.monotonic() - start < SECONDS
        assert caught.value.code == "lease-ended" and caught.value.end.cause == "revoked"
        assert [end.cause for end in ends] == ["revoked"]


def test_a_lease_that_nobody_answers_ends_on_time() -> None:
    def unreachable(counter: int) -> None:
        raise ReleaseError("gate-unreachable", "no answer")

    start = time.monotonic()
    with leased(unreachable) as (lease, _, ends):
        with pytest.raises(LeaseEnded):
            lease.wait(SECONDS + 1)
        assert SECONDS - 0.2 < time.monotonic() - start < SECONDS + 0.5
        assert [end.cause for end in ends] == ["gate-unreachable"]


def test_a_renewal_that_hangs_cannot_stretch_a_lease() -> None:
    start = time.monotonic()
    with leased(lambda counter: time.sleep(SECONDS + 2)) as (lease, _, ends):
        with pytest.raises(LeaseEnded):
            lease.wait(SECONDS + 1)
        assert time.monotonic() - start < SECONDS + 0.5
        assert [end.cause for end in ends] == ["lease-expired"]


def test_trouble_that_passes_does_not_end_a_lease() -> None:
    asked: list[int] = []

    def once(counter: int) -> None:
        asked.append(counter)
        if len(asked) == 1:
            refuse("chain-unreachable")

    with leased(once) as (lease, gate, ends):
        lease.wait(SECONDS + 1)
        assert gate.counters[:2] == [1, 2] and ends == []


def test_trouble_that_lasts_ends_a_lease_and_is_named() -> None:
    """OP-09: with a dead watcher the lease lapses."""
    with leased(lambda counter: refuse("watcher-dead")) as (lease, _, ends):
        with pytest.raises(LeaseEnded):
            lease.wait(SECONDS + 1)
        assert [end.cause for end in ends] == ["watcher-dead"]


def test_a_lost_answer_does_not_end_a_lease() -> None:
    def lose_the_first_answer(counter: int) -> None:
        if counter == 1:
            raise ReleaseError("gate-unreachable", "the answer was lost")

    with leased(lose_the_first_answer) as (lease, gate, ends):
        lease.wait(SECONDS + 1)
        assert gate.counters[:3] == [1, 2, 3] and ends == []


def test_a_renewal_that_the_gate_did_not_sign_prolongs_nothing() -> None:
    """OP-10, AT-04: the host answers in the gate's place, to keep a revoked run alive."""
    with leased() as (lease, gate, ends):
        gate.key = generate_signer().reveal()
        with pytest.raises(LeaseEnded):
            lease.wait(SECONDS + 1)
        assert [end.cause for end in ends] == ["renewal-forged"]


def test_a_renewal_of_an_earlier_request_prolongs_nothing() -> None:
    """AT-01: the host keeps an honest answer and gives it again."""
    with leased() as (lease, gate, ends):
        honest = gate.lease
        kept: list[LeaseReply] = []

        def replay(message: LeaseRequest, *, timeout: float) -> LeaseReply:
            kept.append(honest(message, timeout=timeout))
            return kept[0]

        gate.lease = replay  # type: ignore[method-assign]
        with pytest.raises(LeaseEnded):
            lease.wait(2 * SECONDS + 1)
        assert [end.cause for end in ends] == ["renewal-forged"]


def test_a_lease_can_be_ended_from_this_side() -> None:
    """OP-10: a host that stops the enclave lets it wipe first."""
    with leased() as (lease, _, ends):
        lease.end_now(LeaseEnd(cause="stopped", message="the host stopped the enclave"))
        with pytest.raises(LeaseEnded):
            lease.check()
        assert [end.cause for end in ends] == ["stopped"]


def test_a_lease_counts_from_before_the_grant_was_asked_for() -> None:
    with leased(granted=clock() - SECONDS - 1) as (lease, _, _), pytest.raises(LeaseEnded):
        lease.check()


def test_a_lease_that_lapsed_is_not_revived_by_a_late_renewal() -> None:
    """OP-10: not even by an honest one, whichever of the two threads comes first."""
    for _ in range(20):
        with leased(granted=clock() - SECONDS - 1) as (lease, _, ends):
            time.sleep(0.02)
            with pytest.raises(LeaseEnded):
                lease.check()
            assert [end.cause for end in ends] == ["lease-expired"]
