# SPDX-License-Identifier: Apache-2.0
"""The order of the gate's refusals is the published one (RE-09).

A ladder is a list of checks that can fail together. For each of its rungs, everything from that rung on is
wrong at once, and the gate must answer with the rung's own code. So each check comes before all later ones of
its ladder, on a real gate with a real chain.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.gate_world import PLATFORM, RECIPE, Enclave, World, granted
from tests.local_chain import account
from tests.refusals import CODES
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import DatasetOffer, EvidenceMessage, Hello, LeaseRequest, report_data
from sealroom.key_release.messages import MAX_BODY, MAX_EVIDENCE_BODY
from sealroom.keys import Secret
from sealroom_agents.chain import Opened
from sealroom_agents.errors import Refused
from sealroom_agents.gate import door
from sealroom_agents.gate.checks import CHECKS
from sealroom_agents.gate.service import CHALLENGE_LIFE_S
from sealroom_agents.simulator import (
    DEBUG,
    SEPT_VE_DISABLE,
    SIMULATED_OS_IMAGE,
    SimulatedPlatform,
    runtime_event,
    to_json,
)

pytestmark = pytest.mark.anvil

HEARTBEAT_S = PLATFORM.policy().heartbeat_seconds
HELLO = (1, 2, 3, 4, 5)
MESSAGE = (1, 2, 3, 6, 7, 8)
QUOTE = tuple(range(9, 21))
CHAIN = (21, 25, 26, 27, 28, 29, 30, 31, 32, 33, 36, 37, 38, 39, 40, 41)
EVIDENCE = MESSAGE + QUOTE + CHAIN
STRANGE_ADDRESS = (22, 27, 28, 29, 31, 32, 36, 40)
BOOKING = (40, 41, 42, 43, 44, 45, 46)
LEASE = (1, 2, 3, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57)
IN_POLICY = (23, 24, 34, 35)
"""Not to be had on a local chain with honest contracts; `test_policy` has them in order."""
ALONE = (47, 58, 59)
"""A run that was never granted, and a lost opening's later fate: `test_gate` and `test_gate_opening`."""


def test_every_published_check_is_on_a_ladder() -> None:
    everywhere = {*HELLO, *EVIDENCE, *STRANGE_ADDRESS, *BOOKING, *LEASE, *IN_POLICY, *ALONE}
    assert [row.number for row in CHECKS] == sorted(everywhere) == list(range(1, len(CHECKS) + 1))


def test_the_codes_of_a_check_have_one_status_which_says_whether_they_pass() -> None:
    assert all(code.http == row.status for row in CHECKS for code in row.codes)
    assert all(code.transient == (code.http == 503) for row in CHECKS for code in row.codes)


def answers(answer: httpx.Response, rung: int) -> None:
    body = json.loads(answer.content)
    row = CHECKS[rung - 1]
    assert body["code"] in CODES[rung], (row.check, body)
    assert answer.status_code == row.status
    assert "keys" not in body


def sent(world: World, path: str, message: bytes, faults: set[int], limit: int) -> httpx.Response:
    """The answer to a message with what the first three rungs ask for."""
    if 3 in faults:
        message = message.removesuffix(b"}") + b',"more":1}'
    with pytest.MonkeyPatch.context() as patch:
        if 2 in faults:
            patch.setattr(door, "FREE", 0)
            patch.setattr(door, "MAX_LARGE", 0)
        return world.http.post(path, content=message + b" " * limit if 1 in faults else message)


def rungs(ladder: tuple[int, ...]) -> Any:
    """One case a rung: its number, and all that is wrong with it."""
    return pytest.mark.parametrize(
        ("rung", "faults"),
        [(rung, set(ladder[place:])) for place, rung in enumerate(ladder)],
        ids=[f"{rung} {'+'.join(CODES.get(rung, ()))}" for rung in ladder],
    )


# --- hello --------------------------------------------------------------------------------------


@rungs(HELLO)
def test_a_hello_is_refused_in_the_published_order(approved: World, rung: int, faults: set[int]) -> None:
    enclave = Enclave(approved)
    if 5 in faults:
        granted(enclave.ask())
    if 4 in faults:
        approved.start_gate(consortia=frozenset({"0x" + "77" * 20}))
    hello = Hello(
        run_id=enclave.run_id, chain_id=31337, consortium=approved.room.consortium,
        compose_hash=sha256(RECIPE), epsilon_micro=1, delta_pico=0,
        guarantee="by-reading",
    )  # fmt: skip

    answers(sent(approved, "/v1/hello", hello.encode(), faults, MAX_BODY), rung)


# --- evidence -----------------------------------------------------------------------------------


def decide_on_chain(world: World, faults: set[int]) -> None:
    """What the owners did, before the enclave says hello."""
    world.adopt(
        os_images=[sha256(b"another image")] if 30 in faults else [SIMULATED_OS_IMAGE],
        devices=[sha256(b"another machine")] if 31 in faults else [PLATFORM.machine().device_id],
    )
    world.clock.at = world.chain.head_time()
    expiry = {"expiry": world.clock() + 30} if 33 in faults else {}
    world.study = world.chain.draft(
        world.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in world.sealed], **expiry
    )
    world.approve(0, 1)
    world.heartbeat()


def undo_on_chain(world: World, faults: set[int]) -> None:
    """What an owner did after the enclave's evidence was made."""
    if 25 in faults:
        world.adopt(gate_root=b"\x01" * 32, gate_signer=account(9), gate_compose=b"\x02" * 32)
        world.chain.finalize()
    if 26 in faults or 53 in faults:
        world.chain.revoke(world.room, 0, "stop")


def clock_ahead(faults: set[int]) -> int:
    if 8 in faults:
        return CHALLENGE_LIFE_S + 2
    return HEARTBEAT_S + 2 if {33, 38} & faults else 0


def offers_of(world: World, faults: set[int]) -> list[DatasetOffer]:
    chosen = world.sealed[:1] if 36 in faults else world.sealed
    forged = [replace(one, key=Secret.generate(32)) if 41 in faults else one for one in chosen]
    return [world.offer(one, **({"app": "0x" + "77" * 20} if 40 in faults else {})) for one in forged]


def machine_of(platform: SimulatedPlatform, faults: set[int]) -> dict[str, Any]:
    hardware: dict[str, Any] = {}
    if 16 in faults:
        hardware["cpu_svn"] = bytes(16)
    if 17 in faults:
        hardware["dynamic_platform"] = True
    options: dict[str, Any] = {"gpus": platform.machine_gpus(1)}
    if hardware:
        options["machine"] = platform.machine("twin", **hardware)
    if 19 in faults:
        options["extra_events"] = [runtime_event("compose-hash", sha256(RECIPE))]
    if 20 in faults:
        options["os_image"] = sha256(b"an image that nobody measured")
    if 29 in faults:
        options["key_provider"] = "local-sgx"
    return options


def evidence_of(enclave: Enclave, faults: set[int]) -> EvidenceMessage:
    world = enclave.world
    transcript, challenge = enclave.hello()
    # Of GPUs that nobody demands, or of one that signed for another exchange.
    gpu_evidence = b"x" if 32 in faults else b""
    if enclave.demand is not None:
        gpu_evidence = enclave.machine.gpu_evidence(bytes(32))
    bound = report_data(
        transcript,
        kem_key=enclave.kem.public,
        signer=account(5) if 13 in faults else enclave.address,
        gpu_evidence=gpu_evidence,
    )
    good = world.room
    if 27 in faults:
        world.room = replace(good, app="0x" + "77" * 20)
    machine = enclave.machine
    world.room = good
    attributes = bytearray(SEPT_VE_DISABLE)
    if 11 in faults:
        attributes = bytearray(a | b for a, b in zip(attributes, DEBUG, strict=True))
    if 12 in faults:
        attributes[7] |= 0x80
    quote = machine.quote(bound, td_attributes=bytes(attributes), version=5 if 10 in faults else 4)
    events = machine.events
    if 18 in faults:
        events = (*events, runtime_event("later", b"1"))
    return EvidenceMessage(
        nonce=secrets.token_bytes(32) if 6 in faults else challenge.nonce,
        kem_key=enclave.kem.public,
        signer=enclave.address,
        quote=bytes(5000) if 9 in faults else quote,
        event_log=to_json(events),
        gpu_evidence=gpu_evidence,
        datasets=tuple(offers_of(world, faults)),
    )


@contextmanager
def nodes(world: World, *, down: bool) -> Iterator[Callable[[], None]]:
    """The gate reads through a second node too, which can be told to be silent."""
    with RpcProxy(world.chain.url) as proxy:
        if down:
            world.rpc_urls = [world.chain.url, proxy.url]
            world.start_gate()

        def silence() -> None:
            proxy.down = down
            if down:
                world.outlast()

        yield silence
        world.stop_gate()


def evidence_answer(world: World, faults: set[int]) -> httpx.Response:
    with ExitStack() as stack:
        silence = stack.enter_context(nodes(world, down=bool({21, 51} & faults)))
        demand = None
        if 39 in faults and 32 not in faults:
            demand = GpuDemand(kind="h100", count=1, mode="passthrough")
            world.judge_gpus()
        decide_on_chain(world, faults)
        platform = SimulatedPlatform(b"\x08" * 32) if 15 in faults else PLATFORM
        enclave = Enclave(
            world,
            recipe=RECIPE + b" " if 28 in faults else RECIPE,
            epsilon_micro=10**9 if 37 in faults else 1_500_000,
            options=machine_of(platform, faults),
            demand=demand,
            platform=platform,
        )
        if 22 in faults:
            world.room = replace(world.room, consortium="0x" + "77" * 20)
            world.sealed = sorted((world.seal(0), world.seal(1)), key=lambda one: one.id)
        message = evidence_of(enclave, faults)
        if 7 in faults:
            world.http.post("/v1/evidence", content=replace(message, quote=bytes(5000)).encode())
        undo_on_chain(world, faults)
        world.clock.ahead = clock_ahead(faults)
        if 38 not in faults:
            world.heartbeat()
        silence()
        world.collateral.out = 14 in faults
        return sent(world, "/v1/evidence", message.encode(), faults, MAX_EVIDENCE_BODY)


def test_with_nothing_wrong_the_evidence_is_granted(approved: World) -> None:
    granted(evidence_answer(approved, set()))


@rungs(EVIDENCE)
def test_evidence_is_refused_in_the_published_order(approved: World, rung: int, faults: set[int]) -> None:
    answers(evidence_answer(approved, faults), rung)


@rungs(STRANGE_ADDRESS)
def test_an_address_that_is_no_consortium_comes_before_what_the_chain_says(
    approved: World, rung: int, faults: set[int]
) -> None:
    answers(evidence_answer(approved, faults), rung)


@rungs(BOOKING)
def test_a_booking_is_refused_in_the_published_order(approved: World, rung: int, faults: set[int]) -> None:
    opener, rival = approved.gate._bookings._opener, Enclave(approved)

    class Racing:
        """Between the decision and the release, the world goes on."""

        def book(self, ledger: str, consortium: str, study: Any, runs: Any, *, note: bytes) -> Any:
            if 44 in faults:
                before = [replace(run, run_id=rival.run_id) for run in runs]
                list(opener.book(ledger, consortium, study, before, note=note))
            told = dict(opener.book(ledger, consortium, study, runs, note=note))
            if 45 in faults:
                told = {
                    run_id: replace(opened, opening=replace(opened.opening, number=9))
                    for run_id, opened in told.items()
                    if isinstance(opened, Opened)
                } or told
            if 46 in faults:
                approved.chain.revoke(approved.room, 0, "in time")
            return told.items()

    approved.gate._bookings._opener = Racing()
    for number in (43, 42):
        if number in faults:
            unready(approved, CODES[number][0])
    answers(Enclave(approved).ask(offers=offers_of(approved, faults)), rung)


def unready(world: World, code: Code) -> None:
    def ready(consortium: str, ledger: str) -> None:
        raise Refused(code, "not now")

    world.gate._releases._ready = ready


# --- lease --------------------------------------------------------------------------------------


@rungs(LEASE)
def test_a_renewal_is_refused_in_the_published_order(approved: World, rung: int, faults: set[int]) -> None:
    world = approved
    world.judge_under(lease_seconds=60)
    with nodes(world, down=51 in faults) as silence:
        world.start_gate()
        world.clock.at = world.chain.head_time()
        expiry = {"expiry": world.clock() + 35} if 55 in faults else {}
        world.study = world.chain.draft(
            world.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in world.sealed], **expiry
        )
        world.approve(0, 1)
        world.heartbeat()
        enclave = Enclave(world)
        granted(enclave.ask())
        if 50 in faults:
            assert enclave.renew(1).status_code == 200
        request: LeaseRequest = enclave.renewal(1)
        if 57 in faults:
            world.chain.reorg(1)
        if 48 in faults:
            request = replace(request, signature=Enclave(world, run_id=enclave.run_id).renewal(1).signature)
        if 54 in faults:
            world.study = world.chain.draft(
                world.room, compose_hash=sha256(b"next"), datasets=[one.id for one in world.sealed]
            )
            world.approve(0, 1)
        undo_on_chain(world, {25 if 52 in faults else 0, 26 if 53 in faults else 0})
        if {55, 56} & faults:
            world.clock.ahead = HEARTBEAT_S + 10
        if 49 in faults:
            world.clock.ahead = 62
        if 56 not in faults:
            world.heartbeat()
        silence()

        answers(sent(world, "/v1/lease", request.encode(), faults, MAX_BODY), rung)
