# SPDX-License-Identifier: Apache-2.0
"""The story in five steps, and its sixth: revoke. Each function is one step, by public commands only; what a
script tries to smuggle is run by the measured custodian itself."""

from __future__ import annotations

import base64
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
from sealroom_agents.demo.owners import LETTERS, in_parallel, last_object
from sealroom_agents.demo.room import CHAIN_ID, Room, open_room, sealroom
from sealroom_agents.demo.screen import Screen, result_lines, short
from sealroom_agents.demo.smuggling import SMUGGLING, smuggle
from sealroom_agents.demo.stack import Stack, rpc
from sealroom_agents.errors import DemoError
from sealroom_agents.simulator import OS_IMAGES_FILE

STUDY = Path("enclave/studies/cardio-renal")
"""The study, in the checkout."""
RUN_TIMEOUT_SECONDS = 900.0
"""How long the demo waits for a run to reach a state; less than a minute on an idle machine."""
POLL_SECONDS = 0.1
"""Pause between two looks at a run."""
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
ENDS = frozenset({"done", "refused", "revoked", "failed"})
"""States in which a run stays."""
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
    first = _submit(room)
    _seal(room, screen)
    _approve(room, screen, first)
    _attest(room, screen, first)
    _smuggle(room, screen)
    _compute(room, screen, first)
    envelope = _emit(room, screen, first)
    revocation = _revoke(room, screen)
    _closing_lines(room, screen, envelope, keep=keep)
    return StoryResult(envelope=envelope, revocation=revocation)


def _submit(room: Room) -> str:
    """A researcher submits the recipe by REST; returns the run's id. It starts once nothing is missing."""
    answer = httpx.post(
        f"{room.console}/v1/runs",
        json={
            "compose": base64.b64encode(room.recipe).decode(),
            "owners": [f"hospital-{letter}" for letter in LETTERS],
        },
        timeout=30,
    )
    if answer.status_code != 202:
        raise DemoError(f"POST /v1/runs answered {answer.status_code}: {answer.text[:500]}")
    return str(answer.json()["id"])


# --- 1 seal at source --------------------------------------------------------------------------------


def _seal(room: Room, screen: Screen) -> None:
    """Each hospital checks the study card, seals its file at home and registers what it sealed."""
    screen.step("1 seal at source")
    card = room.folder / "study.json"
    trust = ("--rpc", room.chain, "--simulated-root", str(room.root))
    room.sealroom(
        "card", "--consortium", room.consortium, "--recipe", str(room.folder / "app-compose.json"),
        "--gate", room.gate, "--out", str(card), *trust,
    )  # fmt: skip

    def one(letter: str) -> dict[str, Any]:
        source = room.folder / "homes" / f"cohort-{letter}.parquet"
        output = room.sealroom(
            "seal", "--study", str(card), "--owner", f"hospital-{letter}", "--in", str(source),
            "--out", str(_sealed(room, letter, ".tar")), "--key-out", str(_key(room, letter)),
            "--yes", "--json", *trust,
        )  # fmt: skip
        registration = str(_sealed(room, letter, ".registration.json"))
        room.govern(letter, "register", "--registration", registration, *LIFETIME, *ALLOWANCE)
        return last_object(output)

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
    study = room.govern("A", "propose", *recipe, *registrations, "--runs", str(MAX_RUNS))["proposal"]
    approve = ("approve", study, *recipe)
    signed = {letter: str(room.folder / f"approval-{letter}.json") for letter in "CD"}
    in_parallel(
        partial(room.govern, "B", *approve),
        partial(room.govern, "C", *approve, "--sign", signed["C"]),
        partial(room.govern, "D", *approve, "--sign", signed["D"]),
    )
    room.govern("B", *approve, "--signatures", signed["C"])
    screen.say("hospital-A and -B by transaction, hospital-C by EIP-712 signature: 3 of 4, threshold 3")
    for item in _read(room, run)["missing"]:
        screen.refused(item["code"], item["message"])
    room.govern("A", *approve, "--signatures", signed["D"])
    screen.say("hospital-D by signature, handed in by hospital-A: the recipe is pinned in DstackApp")


def _sealed(room: Room, letter: str, suffix: str) -> Path:
    return room.folder / "sealed" / f"hospital-{letter}" / f"cohort-{letter}{suffix}"


def _key(room: Room, letter: str) -> Path:
    """Where a hospital keeps its data key: at home, and not in the folder that the runner reads."""
    return room.folder / "homes" / f"hospital-{letter}" / "keys" / f"cohort-{letter}.key"


# --- 3 attest and release ----------------------------------------------------------------------------


def _attest(room: Room, screen: Screen, run: str) -> None:
    """The researcher's run gets its keys; an enclave whose recipe differs by one byte does not."""
    screen.step("3 attest and release")
    state = _wait_for(room, run, {"computing", "anchoring", "done"})
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
    state = _wait_for(room, run, {"done"})
    after = parse(room.recipe).privacy.release_after_seconds
    times = {event["phase"]: event["time"] for event in state["events"]}
    screen.say(
        "SQL as compiled, then DP counts, means and a logistic model; no network, plaintext in memory only; "
        f"out {after} s after the grant, whatever it did: {times['emitting'] - times['granted']:.0f} s here"
    )


# --- 5 emit the signed aggregate ---------------------------------------------------------------------


def _emit(room: Room, screen: Screen, run: str) -> Path:
    screen.step("5 emit the signed aggregate")
    envelope = _read(room, run)["envelope"]
    path = room.folder / "envelope.json"
    path.write_text(json.dumps(envelope, indent=1))
    for line in result_lines(envelope["result"]):
        screen.say(line)
    pin = room.folder / "pin.json"
    trust = ("--simulated-root", str(room.root), "--rpc", room.chain)
    room.sealroom(
        "pin", "--study", str(room.folder / "study.json"),
        "--os-images", str(room.root.parent / OS_IMAGES_FILE), "--out", str(pin), *trust,
    )  # fmt: skip
    proof = last_object(room.sealroom("verify", str(path), "--pin", str(pin), *trust, "--json"))
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
    second = _submit(room)
    _wait_for(room, second, {"computing"})
    mined = _revoke_in_the_console(room)
    state = _wait_for(room, second, ENDS)
    if state["state"] != "revoked":
        raise DemoError(f"the second run ended as {state['state']}: {state['message']}")
    screen.say(f"hospital-C, one transaction from its wallet: {REASON!r}; run {short(second)} was computing")
    seconds = {}
    for event in state["events"]:
        if event["phase"] in AFTERMATH:
            seconds[event["phase"]] = event["time"] - mined
            screen.say(f"{seconds[event['phase']]:+.1f} s   {event['phase']}: {event['message']}")
    third = _submit(room)
    state = _wait_for(room, third, ENDS)
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


def _read(room: Room, run: str) -> dict[str, Any]:
    state: dict[str, Any] = httpx.get(f"{room.console}/v1/runs/{run}", timeout=20).json()
    return state


def _wait_for(room: Room, run: str, wanted: set[str] | frozenset[str]) -> dict[str, Any]:
    """Look at a run until it is in one of the wanted states, or has ended otherwise."""
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    while (state := _read(room, run))["state"] not in wanted:
        if state["state"] in ENDS:
            raise DemoError(
                f"run {short(run)} ended as {state['state']}: {state['code']}: {state['message']}"
            )
        if time.monotonic() > deadline:
            raise DemoError(f"run {short(run)} is still {state['state']} after {RUN_TIMEOUT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return state


def _relative(path: Path, room: Room) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
