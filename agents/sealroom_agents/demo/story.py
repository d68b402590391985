# SPDX-License-Identifier: Apache-2.0
"""The story in five steps, and its sixth: revoke. Each function is one step, by public commands only; what a
script tries to smuggle is run by the measured custodian itself."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import httpx

from sealroom.files import PUBLIC, write_atomic
from sealroom.guarantee import BY_CONSTRUCTION, GUARANTEES
from sealroom.recipe import parse
from sealroom_agents.client.console import ENDS
from sealroom_agents.demo.commands import last_object, program
from sealroom_agents.demo.recording import ENDING, Shown
from sealroom_agents.demo.runs import ask_for, join_all, look, prove, published, registration, wait_for
from sealroom_agents.demo.screen import result_lines, short
from sealroom_agents.demo.smuggling import SMUGGLING, smuggle
from sealroom_agents.demo.stage import CHECKOUT, Stage, by_ape
from sealroom_agents.errors import DemoError
from sealroom_agents.local.chain import CHAIN_ID, READY_S, wait_until_final
from sealroom_agents.local.contracts import LocalSender
from sealroom_agents.local.owners import act
from sealroom_agents.local.room import Room
from sealroom_agents.local.steps import recipe_of
from sealroom_agents.up.children import Child
from sealroom_agents.walk.document import Refused

STUDY = CHECKOUT / "enclave" / "studies" / "cardio-renal"
"""The study."""
LETTERS = "ABCD"
"""hospital-A … hospital-D."""
MAX_RUNS = 3
"""Runs that the owners approve at once."""
MADE_UP_SCALE = "0.005"
"""As many people as in the public table, about."""
REASON = "consent withdrawn"
"""Why hospital-C revokes."""
ONE_BYTE = b"(creatinine, 1.0)", b"(creatinine, 1.1)"
"""What is other in the recipe that nobody approved."""


def tell(stage: Stage, *, keep: bool, made_up: bool = False) -> Shown:
    """Run the whole demo; raises `DemoError` at the first unexpected outcome.

    made_up: the people are nobody's, instead of those of the public table.
    """
    stage.screen.title(
        "sealroom · cardio-renal: 4 hospitals, 3 jurisdictions, ε = 1.5 · TDX simulated, chain local"
    )
    room = open_hospitals(stage, guarantees=(BY_CONSTRUCTION,), made_up=made_up)
    first = ask_for(room)
    _seal(stage, room)
    _approve(stage, room, first)
    changed = _attest(stage, room, first)
    _smuggle(stage, room)
    _compute(stage, room, first)
    envelope = _emit(stage, room, first)
    revoked, late = _revoke(stage, room)
    # By now the anchoring is final: the runner has put the proofs of it into the envelope.
    write_atomic(envelope, json.dumps(published(room, first), indent=1).encode(), mode=PUBLIC, replace=True)
    _closing_lines(stage, room, envelope, keep=keep)
    return Shown(
        room, made_up=made_up, run=first, changed=changed, one_byte=ONE_BYTE,
        revoked=revoked, late=late,
    )  # fmt: skip


def open_hospitals(
    stage: Stage, *, guarantees: tuple[str, ...] = tuple(GUARANTEES), made_up: bool = False
) -> Room:
    """The room of the four hospitals, its contracts deployed by Ape; their files are in `homes/`."""
    room = stage.open_room(STUDY, guarantees=guarantees, deploy=by_ape(stage))
    homes = stage.folder / "homes"
    scale = ("--scale", MADE_UP_SCALE) if made_up else ()
    stage.commands.run(sys.executable, str(STUDY / "cohort.py"), "--out", str(homes), *scale)
    for path in list(homes.glob("*/cohort-*.parquet")):  # those that are made up lie by owner
        path.rename(homes / path.name)
    return room


# --- 1 seal at source --------------------------------------------------------------------------------


def _seal(stage: Stage, room: Room) -> None:
    """Each hospital checks the study card, seals its file at home and registers what it sealed."""
    stage.screen.step("1 seal at source")
    hospitals = {f"hospital-{letter}": f"cohort-{letter}" for letter in LETTERS}
    homes = stage.folder / "homes"
    given = {owner: ("--in", str(homes / f"{name}.parquet")) for owner, name in hospitals.items()}
    join_all(stage, room, given, "--runs", str(MAX_RUNS))
    for owner, name in hospitals.items():
        done = registration(room, owner, name)
        size = (room.places.sealed / owner / f"{name}.tar").stat().st_size
        stage.screen.say(
            f"{owner}   {name}.parquet → .tar   {done['version']['rows']:,} people   {size / 1000:.0f} kB   "
            f"registered as {short(done['dataset'])}"
        )
    recipe = short("0x" + recipe_of(room).compose_hash.hex())
    stage.screen.say(f"each key is wrapped to the gate for recipe {recipe} and no other")


# --- 2 approve by quorum -----------------------------------------------------------------------------


def _approve(stage: Stage, room: Room, run: str) -> None:
    """Two owners by transaction, two by signature; the last one that is needed pins the recipe."""
    stage.screen.step("2 approve by quorum")
    recipe = ("--recipe", room.places.recipe)
    given = [part for letter in LETTERS for part in ("--registrations", _registered(room, letter))]
    study = act(room, "hospital-A", "propose", *recipe, *given, "--runs", str(MAX_RUNS))["proposal"]
    approve = ("approve", study, *recipe)
    signed = {letter: room.folder / f"approval-{letter}.json" for letter in "CD"}
    act(room, "hospital-B", *approve)
    for letter, path in signed.items():
        act(room, f"hospital-{letter}", *approve, "--sign", path)
    act(room, "hospital-B", *approve, "--signatures", signed["C"])
    stage.screen.say("hospital-A and -B by transaction, hospital-C by EIP-712 signature: 3 of 4, threshold 3")
    wait_until_final(room.rpc)
    for item in look(room, run)["missing"]:
        stage.screen.refused(item["code"], item["message"])
    act(room, "hospital-A", *approve, "--signatures", signed["D"])
    stage.screen.say("hospital-D by signature, handed in by hospital-A: the recipe is pinned in DstackApp")


def _registered(room: Room, letter: str) -> Path:
    return room.places.sealed / f"hospital-{letter}" / f"cohort-{letter}.registration.json"


# --- 3 attest and release ----------------------------------------------------------------------------


def _attest(stage: Stage, room: Room, run: str) -> Refused:
    """The researcher's run gets its keys; an enclave whose recipe differs by one byte does not."""
    stage.screen.step("3 attest and release")
    state = wait_for(room, run, {"computing", "anchoring", "done"})
    if not any(event["phase"] == "granted" for event in state["events"]):
        raise DemoError(f"run {short(run)} computes without a grant")
    stage.screen.say(f"run {short(run)}   quote verified, ε 1.5 and δ 1e-6 booked, four keys released to it")
    changed = room.folder / "changed.json"
    changed.write_bytes(room.places.recipe.read_bytes().replace(*ONE_BYTE, 1))
    socket = room.folder / "changed.sock"
    guest = (
        program("sealroom"), "simulate", "guest", "--platform", str(room.places.platform),
        "--compose", str(changed), "--app-id", room.app, "--socket", str(socket),
    )  # fmt: skip
    ready = room.folder / "ready" / "changed-guest.json"
    stage.children.start(Child("changed-guest", guest, ready_file=ready), within_s=READY_S)
    done = stage.commands.run(
        sys.executable, "-m", "sealroom", "--run-id", "0x" + secrets.token_hex(32),
        "--chain-id", str(CHAIN_ID), "--consortium", room.consortium, "--gate", room.gate,
        "--datasets", str(room.places.sealed),
        "--out", str(room.folder / "changed"), "--guest-agent", str(socket), check=False,
    )  # fmt: skip
    refusal = last_object(done.stdout)
    if refusal.get("phase") != "refused":
        raise DemoError(f"a changed recipe was not refused: {done.stdout}{done.stderr}")
    stage.screen.refused(refusal["code"], "one byte changed: " + refusal["message"])
    return Refused.of(refusal)


# --- what a script would smuggle, while the run waits for its instant of release ----------------------


def _smuggle(stage: Stage, room: Room) -> None:
    """A script that carries records out as people that it makes up: the owners refuse it by its guarantee.

    hospital-A runs it all the same, at home on its own file, to see what the kernel makes of it.
    """
    stage.screen.step("  a script that smuggles")
    path = room.folder / "made-up-people.json"
    stage.sealroom("recipe", str(CHECKOUT / SMUGGLING), "--out", str(path))
    refusal = stage.told(
        "govern", "propose", "--draft", "--rpc", room.rpc, "--consortium", room.consortium,
        "--recipe", str(path), "--policy", str(room.places.policy),
        "--registrations", str(_registered(room, "A")), check=False,
    )  # fmt: skip
    if refusal.get("ok") is not False:
        raise DemoError(f"a study by reading was not refused: {refusal}")
    stage.screen.refused(refusal["code"], refusal["error"])
    found = smuggle(parse(path.read_bytes()), room.folder / "homes" / "cohort-A.parquet")
    exact = ", ".join(f"{one:g}" for one in found.exact)
    left = ["withheld" if one is None else f"{one:g}" for one in found.left]
    out = "all withheld" if set(left) == {"withheld"} else f"what leaves is {', '.join(left)}"
    stage.screen.say(
        f"tried at home on a file of {found.people:,} people: those that it makes up are dropped, so the "
        f"noisy count is {found.counted:,}; it tried to carry out the creatinine values {exact}: {out}"
    )
    stage.screen.say(
        "under ids that exist, a script can still write what it likes: by-reading means to read it"
    )


# --- 4 compute in the enclave ------------------------------------------------------------------------


def _compute(stage: Stage, room: Room, run: str) -> None:
    stage.screen.step("4 compute in the enclave")
    state = wait_for(room, run, {"done"})
    after = recipe_of(room).privacy.release_after_seconds
    times = {event["phase"]: event["time"] for event in state["events"]}
    stage.screen.say(
        "SQL as compiled, then DP counts, means and a logistic model; no network, plaintext in memory only; "
        f"out {after} s after the grant, whatever it did: {times['emitting'] - times['granted']:.0f} s here"
    )


# --- 5 emit the signed aggregate ---------------------------------------------------------------------


def _emit(stage: Stage, room: Room, run: str) -> Path:
    stage.screen.step("5 emit the signed aggregate")
    envelope = look(room, run)["envelope"]
    path = room.folder / "envelope.json"
    path.write_text(json.dumps(envelope, indent=1))
    for line in result_lines(envelope["result"]):
        stage.screen.say(line)
    proof = prove(stage, room, path)
    anchor = envelope["anchor"]
    verdict = "holds, on a simulated machine" if proof["simulated"] else proof["verdict"]
    stage.screen.say(
        f"receipt {anchor['sequence']} of this consortium anchored in block {anchor['block']}; "
        f"sealroom verify: {verdict}, {len(proof['links'])} links"
    )
    return path


# --- revoke ------------------------------------------------------------------------------------------


def _revoke(stage: Stage, room: Room) -> tuple[str, str]:
    """One owner, one transaction, while a second run computes; a third is refused. Gives both runs."""
    stage.screen.step("revoke")
    second = ask_for(room)
    wait_for(room, second, {"computing"})
    mined = _revoke_in_the_console(room)
    state = wait_for(room, second, ENDS)
    if state["state"] != "revoked":
        raise DemoError(f"the second run ended as {state['state']}: {state['message']}")
    stage.screen.say(
        f"hospital-C, one transaction from its wallet: {REASON!r}; run {short(second)} was computing"
    )
    for event in state["events"]:
        if event["phase"] in ENDING:
            stage.screen.say(f"{event['time'] - mined:+.1f} s   {event['phase']}: {event['message']}")
    third = ask_for(room)
    state = wait_for(room, third, ENDS)
    if state["state"] != "refused":
        raise DemoError(f"the third run ended as {state['state']}: {state['message']}")
    stage.screen.refused(state["code"], "third run: " + state["message"])
    return second, third


def _revoke_in_the_console(room: Room) -> int:
    """What the console's button does: the page asks for the call, the owner's wallet signs and sends it.

    The local chain plays the wallet. Returns the time stamp of the block, unix seconds.
    """
    call = httpx.post(
        f"{room.console}/v1/calls",
        json={"consortium": room.consortium, "action": "revoke", "reason": REASON},
        timeout=20,
    ).json()
    wallet = LocalSender(room.rpc, account=LETTERS.index("C"))
    mined = wallet.send({"to": call["to"], "data": call["data"]})
    return wallet.rpc.head(int(mined["blockNumber"], 16)).timestamp


def _closing_lines(stage: Stage, room: Room, envelope: Path, *, keep: bool) -> None:
    stage.screen.step("done")
    steps = " · ".join(f"{name.strip()} {took:.0f}" for name, took in stage.screen.times())
    stage.screen.say(f"{stage.screen.elapsed():.0f} s: {steps}")
    stage.screen.say(f"the signed result is {_relative(envelope)}; check it yourself:")
    shown, pin, root = map(_relative, (envelope, room.places.pin, room.places.root))
    stage.screen.plain(f"  .venv/bin/sealroom verify {shown} --pin {pin} --simulated-root {root}")
    stage.screen.plain(
        "  fewer links than above, which asked the chain: the last line names those that --rpc URL would add"
    )
    if keep:
        stage.screen.plain(f"  console {room.console}   gate {room.gate}/v1/gate   chain {room.rpc}")


# --- small things ------------------------------------------------------------------------------------


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
