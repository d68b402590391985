# SPDX-License-Identifier: Apache-2.0
"""The story in five steps, and its sixth: revoke. Each function is one step, by public commands only; what a
script tries to smuggle is run by the measured custodian itself."""

from __future__ import annotations

import json
import secrets
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from sealroom.guarantee import BY_CONSTRUCTION
from sealroom.recipe import parse
from sealroom_agents.demo.owners import in_parallel, last_object
from sealroom_agents.demo.room import CHAIN_ID, Room, open_room, sealroom
from sealroom_agents.demo.runs import (
    ENDS,
    POLL_SECONDS,
    RUN_TIMEOUT_SECONDS,
    prove,
    read_run,
    seal_at_home,
    submit,
    wait_for,
    write_card,
)
from sealroom_agents.demo.screen import Screen, result_lines, short
from sealroom_agents.demo.smuggling import SMUGGLING, smuggle
from sealroom_agents.demo.stack import Stack, rpc
from sealroom_agents.errors import DemoError

STUDY = Path("enclave/studies/cardio-renal")
"""The study, in the checkout."""
LETTERS = "ABCD"
"""hospital-A … hospital-D."""
MAX_RUNS = 3
"""Runs that the owners approve at once."""
LIFETIME = ("--lifetime", "10", "--lifetime-delta", "1e-5")
"""What each owner lets all consortia together ever spend on its dataset."""
ALLOWANCE = ("--cap", "4.5", "--delta", "3e-6", "--runs-per-day", str(MAX_RUNS))
"""What this consortium may spend of it: three runs of ε 1.5 and δ 1e-6, which is what the owners approve."""
REASON = "consent withdrawn"
"""Why hospital-C revokes."""
AFTERMATH = ("emitting", "lease-ended", "killed")
"""What may happen to a run that is revoked while it computes."""
ONE_BYTE = b"(creatinine, 1.0)", b"(creatinine, 1.1)"
"""What is other in the recipe that nobody approved."""


@dataclass(frozen=True)
class StoryResult:
    """What a caller may want to know of a demo that ran."""

    envelope: Path
    """The first run's envelope."""
    revocation: dict[str, float]
    """Seconds from the time stamp of the revocation's block to each thing that it brought about."""


def tell(stack: Stack, screen: Screen, *, keep: bool) -> StoryResult:
    """Run the whole demo; raises `DemoError` at the first unexpected outcome."""
    screen.title(
        "sealroom · cardio-renal: 4 hospitals, 3 jurisdictions, ε = 1.5 · TDX simulated, chain local"
    )
    room = open_room(stack, screen, stack.root / STUDY, guarantees=(BY_CONSTRUCTION,))
    first = submit(room)
    _seal(room, screen)
    _approve(room, screen, first)
    _attest(room, screen, first)
    _smuggle(room, screen)
    _compute(room, screen, first)
    envelope = _emit(room, screen, first)
    revocation = _revoke(room, screen)
    _closing_lines(room, screen, envelope, keep=keep)
    return StoryResult(envelope=envelope, revocation=revocation)


# --- 1 seal at source --------------------------------------------------------------------------------


def _seal(room: Room, screen: Screen) -> None:
    """Each hospital checks the study card, seals its file at home and registers what it sealed."""
    screen.step("1 seal at source")
    card = write_card(room)

    def one(letter: str) -> dict[str, Any]:
        name = f"cohort-{letter}"
        source = room.folder / "homes" / f"{name}.parquet"
        sealed, registration = seal_at_home(room, card, f"hospital-{letter}", name, source)
        registered = "--registration", str(registration)
        room.govern(f"hospital-{letter}", "register", *registered, *LIFETIME, *ALLOWANCE)
        return sealed

    for letter, sealed in zip(
        LETTERS, in_parallel(*(partial(one, letter) for letter in LETTERS)), strict=True
    ):
        screen.say(
            f"hospital-{letter}   cohort-{letter}.parquet → .tar   {sealed['rows']:,} people   "
            f"{sealed['size'] / 1000:.0f} kB   registered as {short(sealed['datasetId'])}"
        )
    recipe = parse(room.recipe)
    screen.say(
        f"each key is wrapped to the gate for recipe {short('0x' + recipe.compose_hash.hex())} and no other"
    )


# --- 2 approve by quorum -----------------------------------------------------------------------------


def _approve(room: Room, screen: Screen, run: str) -> None:
    """Two owners by transaction, two by signature; the last one that is needed pins the recipe."""
    screen.step("2 approve by quorum")
    recipe = ("--recipe", str(room.folder / "app-compose.json"))
    registrations = [
        part
        for letter in LETTERS
        for part in ("--registrations", str(_sealed(room, letter, ".registration.json")))
    ]
    study = room.govern("hospital-A", "propose", *recipe, *registrations, "--runs", str(MAX_RUNS))["proposal"]
    approve = ("approve", study, *recipe)
    signed = {letter: str(room.folder / f"approval-{letter}.json") for letter in "CD"}
    in_parallel(
        partial(room.govern, "hospital-B", *approve),
        partial(room.govern, "hospital-C", *approve, "--sign", signed["C"]),
        partial(room.govern, "hospital-D", *approve, "--sign", signed["D"]),
    )
    room.govern("hospital-B", *approve, "--signatures", signed["C"])
    screen.say("hospital-A and -B by transaction, hospital-C by EIP-712 signature: 3 of 4, threshold 3")
    for item in read_run(room, run)["missing"]:
        screen.refused(item["code"], item["message"])
    room.govern("hospital-A", *approve, "--signatures", signed["D"])
    screen.say("hospital-D by signature, handed in by hospital-A: the recipe is pinned in DstackApp")


def _sealed(room: Room, letter: str, suffix: str) -> Path:
    return room.folder / "sealed" / f"hospital-{letter}" / f"cohort-{letter}{suffix}"


# --- 3 attest and release ----------------------------------------------------------------------------


def _attest(room: Room, screen: Screen, run: str) -> None:
    """The researcher's run gets its keys; an enclave whose recipe differs by one byte does not."""
    screen.step("3 attest and release")
    state = wait_for(room, run, {"computing", "anchoring", "done"})
    if not any(event["phase"] == "granted" for event in state["events"]):
        raise DemoError(f"run {short(run)} computes without a grant")
    screen.say(f"run {short(run)}   quote verified, ε 1.5 and δ 1e-6 booked, four keys released to it")
    changed = room.folder / "changed.json"
    changed.write_bytes(room.recipe.replace(*ONE_BYTE, 1))
    socket = room.folder / "changed.sock"
    room.stack.start_ready(
        "changed-guest", sealroom(), "simulate", "guest", "--platform", str(room.root.parent),
        "--compose", str(changed), "--app-id", room.app, "--socket", str(socket),
    )  # fmt: skip
    done = room.stack.run(
        sys.executable, "-m", "sealroom", "--run-id", "0x" + secrets.token_hex(32), "--chain-id", CHAIN_ID,
        "--consortium", room.consortium, "--gate", room.gate, "--datasets", str(room.folder / "sealed"),
        "--out", str(room.folder / "changed"), "--guest-agent", str(socket), check=False,
    )  # fmt: skip
    refusal = last_object(done.stdout)
    if refusal.get("phase") != "refused":
        raise DemoError(f"a changed recipe was not refused: {done.stdout}{done.stderr}")
    screen.refused(refusal["code"], "one byte changed: " + refusal["message"])


# --- what a script would smuggle, while the run waits for its instant of release ----------------------


def _smuggle(room: Room, screen: Screen) -> None:
    """A script that carries records out as people that it makes up: the owners refuse it by its guarantee.

    hospital-A runs it all the same, at home on its own file, to see what the kernel makes of it.
    """
    screen.step("  a script that smuggles")
    path = room.folder / "made-up-people.json"
    room.sealroom("recipe", str(room.stack.root / SMUGGLING), "--out", str(path))
    output = room.sealroom(
        "govern", "propose", "--draft", "--rpc", room.chain, "--consortium", room.consortium, "--json",
        "--recipe", str(path), "--policy", str(room.policy),
        "--registrations", str(_sealed(room, "A", ".registration.json")), check=False,
    )  # fmt: skip
    refusal = last_object(output)
    if refusal.get("ok") is not False:
        raise DemoError(f"a study by reading was not refused: {refusal}")
    screen.refused(refusal["code"], refusal["error"])
    found = smuggle(parse(path.read_bytes()), room.folder / "homes" / "cohort-A.parquet")
    exact = " ".join(f"{one:g}" for one in found.exact)
    left = " ".join("withheld" if one is None else f"{one:g}" for one in found.left)
    screen.say(
        f"tried at home: the people it makes up are dropped; {found.counted:,} count of {found.people:,} "
        f"real ones, and creatinine {exact} leaves as {left}"
    )
    screen.say("under ids that exist, a script can still write what it likes: by-reading means to read it")


# --- 4 compute in the enclave ------------------------------------------------------------------------


def _compute(room: Room, screen: Screen, run: str) -> None:
    screen.step("4 compute in the enclave")
    state = wait_for(room, run, {"done"})
    after = parse(room.recipe).privacy.release_after_seconds
    times = {event["phase"]: event["time"] for event in state["events"]}
    screen.say(
        "SQL as compiled, then DP counts, means and a logistic model; no network, plaintext in memory only; "
        f"out {after} s after the grant, whatever it did: {times['emitting'] - times['granted']:.0f} s here"
    )


# --- 5 emit the signed aggregate ---------------------------------------------------------------------


def _emit(room: Room, screen: Screen, run: str) -> Path:
    screen.step("5 emit the signed aggregate")
    envelope = read_run(room, run)["envelope"]
    path = room.folder / "envelope.json"
    path.write_text(json.dumps(envelope, indent=1))
    for line in result_lines(envelope["result"]):
        screen.say(line)
    proof = prove(room, path)
    anchor = envelope["anchor"]
    screen.say(
        f"receipt {anchor['sequence']} of this consortium anchored in block {anchor['block']}; "
        f"sealroom verify: {proof['verdict']}, {len(proof['links'])} links"
    )
    return path


# --- revoke ------------------------------------------------------------------------------------------


def _revoke(room: Room, screen: Screen) -> dict[str, float]:
    """One owner, one transaction, while a second run computes; a third is refused. Returns the seconds."""
    screen.step("revoke")
    second = submit(room)
    wait_for(room, second, {"computing"})
    mined = _revoke_in_the_console(room)
    state = wait_for(room, second, ENDS)
    if state["state"] != "revoked":
        raise DemoError(f"the second run ended as {state['state']}: {state['message']}")
    screen.say(f"hospital-C, one transaction from its wallet: {REASON!r}; run {short(second)} was computing")
    seconds = {}
    for event in state["events"]:
        if event["phase"] in AFTERMATH:
            seconds[event["phase"]] = event["time"] - mined
            screen.say(f"{seconds[event['phase']]:+.1f} s   {event['phase']}: {event['message']}")
    third = submit(room)
    state = wait_for(room, third, ENDS)
    if state["state"] != "refused":
        raise DemoError(f"the third run ended as {state['state']}: {state['message']}")
    screen.refused(state["code"], "third run: " + state["message"])
    return seconds


def _revoke_in_the_console(room: Room) -> int:
    """What the console's button does: the page asks for the call, the owner's wallet signs and sends it.

    The local chain plays the wallet. Returns the time stamp of the block, unix seconds.
    """
    call = httpx.post(
        f"{room.console}/v1/calls",
        json={"consortium": room.consortium, "action": "revoke", "reason": REASON},
        timeout=20,
    ).json()
    accounts: Any = rpc(room.chain, "eth_accounts")
    account = accounts[LETTERS.index("C")]
    sent = rpc(room.chain, "eth_sendTransaction", {"from": account, "to": call["to"], "data": call["data"]})
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    while (receipt := rpc(room.chain, "eth_getTransactionReceipt", sent)) is None:
        if time.monotonic() > deadline:
            raise DemoError("the revocation was not mined")
        time.sleep(POLL_SECONDS)
    mined: Any = receipt
    if mined["status"] != "0x1":
        raise DemoError("the revocation failed")
    block: Any = rpc(room.chain, "eth_getBlockByNumber", mined["blockNumber"], False)
    return int(block["timestamp"], 16)


def _closing_lines(room: Room, screen: Screen, envelope: Path, *, keep: bool) -> None:
    screen.step("done")
    steps = " · ".join(f"{name.strip()} {took:.0f}" for name, took in screen.times())
    screen.say(f"{screen.elapsed():.0f} s: {steps}")
    screen.say(f"the signed result is {_relative(envelope, room)}; check it yourself:")
    pin, root = _relative(room.folder / "pin.json", room), _relative(room.root, room)
    screen.plain(
        f"  .venv/bin/sealroom verify {_relative(envelope, room)} --pin {pin} --simulated-root {root}"
    )
    if keep:
        screen.plain(f"  console {room.console}   gate {room.gate}/v1/gate   chain {room.chain}")


# --- small things ------------------------------------------------------------------------------------


def _relative(path: Path, room: Room) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
