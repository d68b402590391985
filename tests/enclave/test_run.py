# SPDX-License-Identifier: Apache-2.0
"""Whole runs of `python -m sealroom`, as its own process with a guest agent, a gate and sealed datasets."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.enclave.conftest import GOOD, READ, small_table
from tests.enclave.local_gate import (
    APP_ID,
    CHAIN,
    CONSORTIUM,
    LocalGate,
    for_another_run,
    for_other_evidence,
    refuse,
    stranger,
    with_less_delta,
    with_more_epsilon,
)
from tests.patience import PATIENCE_S, until

from sealroom.encoding import canonical
from sealroom.envelope import parse_envelope, verify_receipt, verify_statement
from sealroom.envelope.noise import mechanisms
from sealroom.keys import Secret
from sealroom.recipe import Recipe
from sealroom.recipe.result import check_result
from sealroom.runtime.guest_agent import REDIRECTING_VARIABLES
from sealroom.sealed import WrapContext, reseal, seal
from sealroom_agents.simulator import GuestAgent, SimulatedPlatform

ACCOUNTS = {"A": "0x" + "a1" * 20, "B": "0x" + "b2" * 20}
"""Accounts of the owners."""
EPSILON_MICRO = 3_000_000
DELTA_PICO = 1_000_000
ENDLESS = READ + "while True: pass"


@dataclass
class Room:
    """What a run needs around it."""

    folder: Path
    platform: SimulatedPlatform
    gate: LocalGate
    url: str
    make_recipe: Callable[..., Recipe]
    agents: list[Any] = field(default_factory=list)
    table: Callable[[str], pa.Table] | None = None
    """What an owner seals; the small table when not given."""

    def prepare(self, analysis: str) -> list[str]:
        """Seal the datasets for this analysis, boot a machine with it; returns the command line."""
        recipe = self.make_recipe(analysis)
        for letter in "AB":
            self.seal(recipe, letter)
        socket = self.folder / "guest.sock"
        self.agents.append(GuestAgent(self.platform, recipe.compose, APP_ID).serve(socket))
        return [
            *(sys.executable, "-I", "-m", "sealroom", "--run-id", "0x" + secrets.token_hex(32)),
            *("--consortium", CONSORTIUM, "--chain-id", str(CHAIN), "--gate", self.url),
            *("--datasets", str(self.folder / "sealed"), "--out", str(self.folder / "out")),
            *("--guest-agent", str(socket)),
        ]

    def seal(self, recipe: Recipe, letter: str, *, place: str | None = None) -> None:
        """Seal one owner's table; `place` puts it under another owner's name."""
        target = self.folder / "sealed" / f"hospital-{place or letter}" / "cohort.tar"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self.folder / f"{letter}.parquet"
        pq.write_table((self.table or small_table)(letter), source)
        summary = seal(
            source,
            target,
            recipient=self.recipient(recipe),
            owner=ACCOUNTS[letter],
            name="cohort",
            overwrite=True,
        )
        self.gate.sealed[summary.dataset_id] = summary
        self.gate.owners[summary.dataset_id] = f"hospital-{letter}"

    def recipient(self, recipe: Recipe) -> WrapContext:
        """For whom owners wrap."""
        return WrapContext(
            chain_id=CHAIN,
            consortium=CONSORTIUM,
            kms_root=self.gate.identity().kms_root,
            gate_public_key=self.gate.root.public,
            app="0x" + APP_ID.hex(),
            compose_hash=recipe.compose_hash,
        )

    def run(self, command: list[str], **environment: str) -> tuple[int, list[dict[str, Any]], str]:
        """Exit status, phases, and everything that was printed."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=environment,
            cwd=self.folder,
        )
        phases = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, phases, done.stdout + done.stderr

    @property
    def envelope(self) -> Path:
        return self.folder / "out" / "envelope.json"


@pytest.fixture
def room(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> Iterator[Room]:
    platform = SimulatedPlatform(b"p" * 32)
    gate = LocalGate(platform, epsilon_micro=EPSILON_MICRO, delta_pico=DELTA_PICO)
    server = gate.serve()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    room = Room(folder=tmp_path, platform=platform, gate=gate, url=url, make_recipe=make_recipe)
    yield room
    for agent in room.agents:
        agent.close()
    server.shutdown()
    server.server_close()


def test_a_run_ends_in_an_envelope_that_holds(room: Room) -> None:
    command = room.prepare(GOOD)
    status, phases, _ = room.run(command)
    assert [phase["phase"] for phase in phases] == [
        "attesting",
        "granted",
        "computing",
        "final",
        "emitting",
        "done",
    ]
    assert status == 0
    envelope = parse_envelope(room.envelope.read_bytes())
    verify_statement(envelope)
    verify_receipt(envelope)
    check_result(envelope.result, room.make_recipe(GOOD))
    assert envelope.statement.app == "0x" + APP_ID.hex()
    assert envelope.receipt.epsilon_micro == EPSILON_MICRO
    assert envelope.receipt.delta_pico == DELTA_PICO
    assert envelope.statement.privacy.mechanisms == mechanisms(room.make_recipe(GOOD).output)
    assert oct(room.envelope.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    "more",
    [
        None,
        {"person_id": None, "age": 40.0, "sex": "F", "ill": False},
        {"person_id": 7, "age": None, "sex": None, "ill": None},
    ],
    ids=["nobody more", "a row without an id", "a person of whom nothing is known"],
)
def test_one_row_more_in_a_sealed_file_moves_nobody_elses(more: dict[str, Any] | None, room: Room) -> None:
    """DP-02: ids that a real number cannot tell apart, from the owner's file to the envelope."""

    def table(letter: str) -> pa.Table:
        base = 2**62 + (0 if letter == "A" else 2**40)
        ids = pa.array([base + number for number in range(300)], pa.int64())
        whole = small_table(letter).set_column(0, "person_id", ids)
        if more is None or letter == "B":
            return whole
        return pa.concat_tables([pa.Table.from_pylist([more], schema=whole.schema), whole])

    room.table = table
    status, _, printed = room.run(room.prepare(GOOD))
    assert status == 0, printed
    fields = parse_envelope(room.envelope.read_bytes()).result["fields"]
    # noise of scale 1 on 400 women and 200 men, of scale 2 on those with an age: never 40
    for name in ("people", "mean_age"):
        women, men = fields[name]["groups"]
        assert abs(women["people"] - 400) < 40 and abs(men["people"] - 200) < 40
    assert abs(fields["risk"]["people"] - 600) < 400  # of scale 20


def test_two_runs_on_the_same_data_differ(room: Room) -> None:
    """DP-09."""
    command = room.prepare(GOOD)
    results = []
    for _ in range(2):
        assert room.run(command)[0] == 0
        results.append(canonical(parse_envelope(room.envelope.read_bytes()).result))
    assert results[0] != results[1]
    assert abs(len(results[0]) - len(results[1])) < 16  # DP-11: the size tells nothing but digits


def test_a_gate_that_says_no_ends_the_run(room: Room) -> None:
    command = room.prepare(GOOD)
    room.gate.before_evidence = lambda: refuse("not-approved")
    status, phases, _ = room.run(command)
    assert status == 3
    assert phases[-1] == {"phase": "refused", "code": "not-approved", "message": "refused: not-approved"}
    assert not room.envelope.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda gate: setattr(gate, "change_grant", for_another_run), "grant-mismatch"),
        (lambda gate: setattr(gate, "change_grant", with_more_epsilon), "grant-mismatch"),
        (lambda gate: setattr(gate, "change_grant", for_other_evidence), "grant-mismatch"),
        (lambda gate: setattr(gate, "change_grant", with_less_delta), "grant-mismatch"),
        (lambda gate: setattr(gate, "grant_signer", stranger()), "grant-forged"),
        (lambda gate: setattr(gate, "signer_key", stranger()), "challenge-forged"),
    ],
    ids=[
        "a grant for another run",
        "a grant of another ε",
        "a grant for other evidence",
        "a grant of another δ",
        "a forged grant",
        "a forged challenge",
    ],
)
def test_a_gate_that_lies_is_refused(room: Room, change: Callable[[LocalGate], None], code: str) -> None:
    command = room.prepare(GOOD)
    change(room.gate)
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, code)


def test_another_gate_than_the_one_the_owners_sealed_to_is_refused(room: Room) -> None:
    """A gate with keys of its own is not the owners' gate, even when it can read what it was given."""
    command = room.prepare(GOOD)
    other = LocalGate(room.platform, epsilon_micro=EPSILON_MICRO, delta_pico=DELTA_PICO, app_id=b"o" * 20)
    room.gate.identity = other.identity  # type: ignore[method-assign]
    room.gate.signer_key = room.gate.grant_signer = other.signer_key
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, "gate-mismatch")


def test_a_dataset_in_another_owners_place_is_refused(room: Room) -> None:
    command = room.prepare(GOOD)
    room.seal(room.make_recipe(GOOD), "A", place="B")
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, "dataset-mismatch")


def test_two_datasets_in_each_others_place_are_refused(room: Room) -> None:
    """CE-08: a file does not name its owner in the consortium. The gate seals its key for that owner."""
    command = room.prepare(GOOD)
    recipe = room.make_recipe(GOOD)
    room.seal(recipe, "A", place="B")
    room.seal(recipe, "B", place="A")
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, "release-does-not-open")
    assert not room.envelope.exists()


def test_a_dataset_that_is_not_wrapped_or_for_another_consortium_is_refused(room: Room) -> None:
    command = room.prepare(GOOD)
    sealed = room.folder / "sealed" / "hospital-B" / "cohort.tar"
    source, key = room.folder / "B.parquet", Secret.generate()
    seal(source, sealed, recipient=None, owner=ACCOUNTS["B"], name="cohort", dek=key, overwrite=True)
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, "not-wrapped")

    elsewhere = replace(room.recipient(room.make_recipe(GOOD)), consortium="0x" + "c9" * 20)
    reseal(sealed, dek=key, recipient=elsewhere)
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (3, "wrap-mismatch")
    assert not room.envelope.exists()


def test_a_changed_part_is_refused(room: Room) -> None:
    command = room.prepare(GOOD)
    sealed = room.folder / "sealed" / "hospital-B" / "cohort.tar"
    content = bytearray(sealed.read_bytes())
    content[len(content) // 2] ^= 1
    sealed.write_bytes(content)
    status, phases, _ = room.run(command)
    assert status == 3 and phases[-1]["code"] in {"part-altered", "archive-malformed"}
    assert not room.envelope.exists()


def test_a_revocation_kills_the_job_and_lets_nothing_out(room: Room) -> None:
    """OP-10."""
    command = room.prepare(ENDLESS)
    room.gate.before_lease = lambda: refuse("revoked")
    status, phases, _ = room.run(command)
    assert status == 4
    assert phases[-1] == {"phase": "lease-ended", "code": "revoked", "message": "refused: revoked"}
    assert not room.envelope.exists()


@pytest.mark.parametrize("analysis", [GOOD, READ + "raise SystemExit\n"], ids=["a result", "a failure"])
def test_nothing_leaves_before_the_opening_is_final(room: Room, analysis: str) -> None:
    """CH-01, DP-06: a reorganisation may still give the ε to another run. The gate renews once, and then says
    that the opening is gone for good."""
    command = room.prepare(analysis)
    room.gate.final = lambda request: False
    room.gate.before_lease = lambda: refuse("opening-replaced") if room.gate.leases else None
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["phase"], phases[-1]["code"]) == (4, "lease-ended", "opening-replaced")
    assert [phase["phase"] for phase in phases] == ["attesting", "granted", "computing", "lease-ended"]
    assert not room.envelope.exists()


def test_a_result_leaves_once_the_opening_is_final(room: Room) -> None:
    """CH-01: the twin of the run before."""
    command = room.prepare(GOOD)
    room.gate.final = lambda request: request.counter >= 2
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["phase"]) == (0, "done")
    assert [phase["phase"] for phase in phases][-3:] == ["final", "emitting", "done"]
    assert len(room.gate.leases) >= 2
    verify_receipt(parse_envelope(room.envelope.read_bytes()))


def test_an_analysis_that_is_slow_to_die_tells_nothing_by_it(room: Room) -> None:
    """CH-01, OU-06: freeing much memory takes a process long, so a script chooses how long it takes to be
    gone. That is a failure too, and waits as every other."""
    refused = "try:\n    unwrap('nobody/nothing.tar')\nexcept Exception:\n    while True: pass\n"
    _, *options = room.prepare(READ + refused)
    at_once = (
        "import sys; from sealroom.runtime import sandbox; sandbox.STOP_SECONDS = 0.0;"
        "from sealroom.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-I", "-c", at_once, *options[options.index("--run-id") :]]
    room.gate.final = lambda request: False
    room.gate.before_lease = lambda: refuse("opening-replaced") if room.gate.leases else None
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["phase"], phases[-1]["code"]) == (4, "lease-ended", "opening-replaced")


@pytest.mark.parametrize(
    "analysis",
    [
        READ + "raise SystemExit\n",
        GOOD.replace("emit_signed(result)", "emit_signed({})"),
        GOOD.replace("hospital-B/cohort.tar", "hospital-C/cohort.tar"),
    ],
    ids=["an exception", "a refused output", "a refused request"],
)
def test_a_failure_waits_for_its_slot(room: Room, analysis: str) -> None:
    """OU-06: a script may choose when to fail, and by that tell a value. In slots of an hour the lease ends
    first, and a lease that ends waits for nothing."""
    room = replace(room, make_recipe=partial(room.make_recipe, slot_seconds=3600))
    command = room.prepare(analysis)
    room.gate.before_lease = lambda: refuse("revoked")
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["phase"], phases[-1]["code"]) == (4, "lease-ended", "revoked")


def test_an_analysis_that_breaks_the_contract_is_refused_by_name(room: Room) -> None:
    command = room.prepare(GOOD.replace("emit_signed(result)", 'emit_signed(result | {"rows": 600})'))
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["phase"], phases[-1]["code"]) == (3, "refused", "undeclared-field")


def test_what_an_exception_says_reaches_nobody(room: Room) -> None:
    """OU-03, OU-04: a value from the data in an exception, on standard output and on standard error."""
    canary = "71.5309"
    leaks = (
        f'import sys\nprint("{canary}")\nprint("{canary}", file=sys.stderr)\nraise ValueError("{canary}")\n'
    )
    command = room.prepare(READ + leaks)
    status, phases, printed = room.run(command)
    assert (status, phases[-1]["phase"], phases[-1]["code"]) == (5, "failed", "job-failed")
    assert canary not in printed
    found = [
        path for path in room.folder.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()
    ]
    assert found == []


@pytest.mark.parametrize("name", REDIRECTING_VARIABLES)
def test_an_environment_that_redirects_the_guest_agent_stops_the_process(room: Room, name: str) -> None:
    """AT-22."""
    command = room.prepare(GOOD)
    status, phases, _ = room.run(command, **{name: str(room.folder / "guest.sock")})
    assert (status, phases[-1]["code"]) == (78, "simulator-endpoint-set")


def test_another_guest_agent_is_for_local_chains_only(room: Room) -> None:
    """AT-22."""
    command = room.prepare(GOOD)
    command[command.index(str(CHAIN))] = "1"
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (78, "simulator-off-local-chain")


def test_a_wrong_command_line_is_a_configuration_error(room: Room) -> None:
    command = room.prepare(GOOD)
    command[command.index("--run-id") + 1] = "0x12"
    status, phases, _ = room.run(command)
    assert (status, phases[-1]["code"]) == (78, "usage")


def test_the_job_does_not_outlive_its_custodian(room: Room) -> None:
    command = room.prepare(ENDLESS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={}, cwd=room.folder) as process:
        assert process.stdout is not None
        while '"computing"' not in process.stdout.readline():
            pass
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{children[0]}/cmdline").exists())
