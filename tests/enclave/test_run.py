# SPDX-License-Identifier: Apache-2.0
"""Whole runs of `python -m sealroom`, as its own process with a guest agent, a gate and sealed datasets."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.enclave.conftest import GOOD, READ, STUDY, small_table
from tests.enclave.local_gate import (
    APP_ID,
    CHAIN,
    CONSORTIUM,
    LocalGate,
    for_another_run,
    for_other_evidence,
    refuse,
    stranger,
    with_a_long_lease,
    with_less_delta,
    with_more_epsilon,
    with_no_lease,
)
from tests.patience import PATIENCE_S, until

from sealroom.envelope import parse_envelope, verify_receipt, verify_statement
from sealroom.envelope.noise import mechanisms
from sealroom.errors import FailureError, GuestError
from sealroom.failure import Details, Failure, parse_failure
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import gpu_nonce, report_data, transcript_0
from sealroom.keys import KemPrivateKey, Secret
from sealroom.members import FOLDER
from sealroom.recipe import Recipe, parse, render
from sealroom.recipe.result import check_result
from sealroom.runtime.clock import margin
from sealroom.runtime.guest_agent import REDIRECTING_VARIABLES, Guest
from sealroom.safetensors import Tensor, write
from sealroom.sealed import WrapContext, reseal, seal
from sealroom_agents.attestation.gpu import gpu_trust, walk_gpus
from sealroom_agents.owner.folder import listing, pack
from sealroom_agents.simulator import GuestAgent, Interfaces, SimulatedPlatform
from sealroom_agents.simulator.socket_server import AgentServer

ACCOUNTS = {"A": "0x" + "a1" * 20, "B": "0x" + "b2" * 20}
"""Accounts of the owners."""
EPSILON_MICRO = 3_000_000
DELTA_PICO = 1_000_000
REPORT_KEYS = {letter: KemPrivateKey.from_seed(letter.encode() * 32) for letter in "AB"}
LEAPING = Path(__file__).with_name("leaping.py")
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
    gpus: int = 0
    """How many the machine has."""
    interfaces: Interfaces = Interfaces.BOTH
    """Versions of dstack's interface that its guest agent serves."""
    analysis_seconds: float = 10 * PATIENCE_S
    """After so many, the clock leaps although the analysis goes on."""
    report_keys: dict[str, KemPrivateKey] = field(default_factory=lambda: dict(REPORT_KEYS))
    """The owners' report keys; an owner who is not in it seals without."""
    table: Callable[[str], pa.Table] | None = None
    """What an owner seals; the small table when not given."""

    def prepare(self, analysis: str) -> list[str]:
        """Seal the datasets for this analysis, boot a machine with it; returns the command line."""
        recipe = self.make_recipe(analysis)
        for letter in "AB":
            self.seal(recipe, letter)
        socket = self.folder / "guest.sock"
        gpus = self.platform.machine_gpus(self.gpus)
        agent = GuestAgent(self.platform, recipe.compose, APP_ID, gpus=gpus, interfaces=self.interfaces)
        self.agents.append(agent.serve(socket))
        return [
            *(
                sys.executable,
                "-I",
                str(LEAPING),
                str(self.analysis_seconds),
                "--run-id",
                "0x" + secrets.token_hex(32),
            ),
            *("--consortium", CONSORTIUM, "--chain-id", str(CHAIN), "--gate", self.url),
            *("--datasets", str(self.folder / "sealed"), "--out", str(self.folder / "out")),
            *("--guest-agent", str(socket)),
        ]

    def seal(self, recipe: Recipe, letter: str, *, place: str | None = None) -> None:
        """Seal one owner's table; `place` puts it under another owner's name."""
        target = self.folder / "sealed" / f"hospital-{place or letter}" / "cohort.tar"
        target.parent.mkdir(parents=True, exist_ok=True)
        key = self.report_keys.get(letter)
        source = self.folder / f"{letter}.parquet"
        pq.write_table((self.table or small_table)(letter), source)
        summary = seal(
            source,
            target,
            recipient=self.recipient(recipe),
            owner=ACCOUNTS[letter],
            name="cohort",
            report_key=None if key is None else key.public,
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
        """Exit status, phases without renewals of the lease, and everything that was printed."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=environment,
            cwd=self.folder,
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        phases = [line for line in said if not (isinstance(line, dict) and line["phase"] == "renewed")]
        return done.returncode, phases, done.stdout + done.stderr

    @property
    def envelope(self) -> Path:
        return self.folder / "out" / "envelope.json"

    def failure(self) -> Failure:
        """The failure file that the run left, and nothing else with it."""
        (place,) = (self.folder / "out").iterdir()
        assert place.name == "failure.json" and oct(place.stat().st_mode & 0o777) == "0o600"
        return parse_failure(place.read_bytes())

    def why(self, done: tuple[int, list[dict[str, Any]], str]) -> Details:
        """Why a run failed, as both owners read it; in public each run says the same."""
        status, phases, _ = done
        assert (status, phases[-1]) == (
            5,
            {
                "phase": "failed",
                "code": "run-failed",
                "message": "the run failed; the owners of its datasets read why: sealroom explain-failure "
                "failure.json --key report-key.secret",
            },
        )
        first, second = (self.failure().open(key) for key in self.report_keys.values())
        assert first == second
        return first


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


@pytest.mark.parametrize("interfaces", Interfaces)
def test_a_run_ends_in_an_envelope_that_holds(room: Room, interfaces: Interfaces) -> None:
    room.interfaces = interfaces
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
    assert abs(fields["risk"]["people"][0]["people"] - 600) < 400  # of scale 20


def test_two_runs_on_the_same_data_differ(room: Room) -> None:
    """DP-09."""
    command = room.prepare(GOOD)
    files = []
    for _ in range(2):
        assert room.run(command)[0] == 0
        files.append(room.envelope.read_bytes())
    assert parse_envelope(files[0]).result != parse_envelope(files[1]).result
    # DP-11: white space makes up for the digits.
    assert len(files[0]) == len(files[1])


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
        (lambda gate: setattr(gate, "change_grant", with_a_long_lease), "grant-mismatch"),
        (lambda gate: setattr(gate, "change_grant", with_no_lease), "grant-mismatch"),
        (lambda gate: setattr(gate, "grant_signer", stranger()), "grant-forged"),
        (lambda gate: setattr(gate, "signer_key", stranger()), "challenge-forged"),
    ],
    ids=[
        "a grant for another run",
        "a grant of another ε",
        "a grant for other evidence",
        "a grant of another δ",
        "a grant with a lease of two minutes",
        "a grant without a lease",
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
    content[content.index(b"parts/00000") + 1000] ^= 1
    sealed.write_bytes(content)
    assert room.why(room.run(command)).code == "part-altered"


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
    gone. Without a margin none is gone in time, and the run ends as it would have all the same."""
    refused = "try:\n    unwrap('nobody/nothing.tar')\nexcept Exception:\n    while True: pass\n"
    _, _, leaping, *options = room.prepare(READ + refused)
    no_margin = (
        "import runpy; from sealroom.runtime import run; run.margin = lambda after: 0.0;"
        f"runpy.run_path({leaping!r}, run_name='__main__')"
    )
    done = room.run([sys.executable, "-I", "-c", no_margin, *options])
    assert room.why(done).code == "undeclared-dataset"


FAILURES = {
    "an exception": READ + "raise SystemExit\n",
    "a refused output": GOOD.replace("emit_signed(result)", "emit_signed({})"),
    "a refused request": GOOD.replace("hospital-B/cohort.tar", "hospital-C/cohort.tar"),
}


@pytest.mark.parametrize("analysis", [GOOD, *FAILURES.values()], ids=["a result", *FAILURES])
def test_the_outcome_waits_for_its_instant(room: Room, analysis: str) -> None:
    """DP-10, DP-11, OU-06: a script may choose when to end, and by that tell a value. Nothing leaves in the
    hour that this recipe declares: the lease ends first, and a lease that ends waits for nothing."""
    room = replace(room, make_recipe=partial(room.make_recipe, release_after=3600))
    _, _, _, _, *options = room.prepare(analysis)
    room.gate.before_lease = lambda: refuse("revoked") if room.gate.leases else None
    status, phases, _ = room.run([sys.executable, "-I", "-m", "sealroom", *options])
    assert [phase["phase"] for phase in phases] == [
        "attesting",
        "granted",
        "computing",
        "final",
        "lease-ended",
    ]
    assert (status, phases[-1]["code"]) == (4, "revoked")


def test_an_analysis_that_does_not_end_is_killed(room: Room) -> None:
    room.analysis_seconds = 1.0
    assert room.why(room.run(room.prepare(ENDLESS))).code == "job-timeout"


def test_an_analysis_that_breaks_the_contract_is_refused_by_name_to_its_owners(room: Room) -> None:
    command = room.prepare(GOOD.replace("emit_signed(result)", 'emit_signed(result | {"rows": 600})'))
    assert room.why(room.run(command)).code == "undeclared-field"


def test_what_an_exception_says_reaches_nobody(room: Room) -> None:
    """OU-03, OU-04: a value from the data in an exception, on standard output and on standard error."""
    canary = "71.5309"
    leaks = (
        f'import sys\nprint("{canary}")\nprint("{canary}", file=sys.stderr)\nraise ValueError("{canary}")\n'
    )
    command = room.prepare(READ + leaks)
    done = room.run(command)
    why = room.why(done)
    script = room.make_recipe(READ + leaks).analysis
    line = script[: script.index("raise")].count("\n") + 1
    assert (why.code, why.exception, why.line) == ("job-failed", "ValueError", line)
    assert canary not in str(why) and canary not in done[2]
    found = [
        path for path in room.folder.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()
    ]
    assert found == []


OWN_TYPE = "class Patient4711(ValueError): pass\nraise Patient4711('4711')\n"
KINDS = {
    "an exception": (READ + "1 / 0\n", "job-failed"),
    "an exception of the script's own": (READ + OWN_TYPE, "job-failed"),
    "an exit": (READ + "raise SystemExit(0)\n", "job-failed"),
    "a crash": (READ + "import os\nos._exit(7)\n", "job-failed"),
    "a refused output": (FAILURES["a refused output"], "missing-field"),
    "a refused request": (FAILURES["a refused request"], "undeclared-dataset"),
    "over time": (ENDLESS, "job-timeout"),
}


def test_every_failure_looks_the_same(room: Room) -> None:
    """OU-06, A7: whatever ends an analysis, what is printed and the public part of the file are the same but
    for the run's id and key, and the file has one size. Owners read the difference."""
    files, printed, patient = {}, {}, room.analysis_seconds
    for name, (analysis, code) in KINDS.items():
        room.analysis_seconds = 1.0 if analysis == ENDLESS else patient
        done = room.run(room.prepare(analysis))
        why = room.why(done)
        assert why.code == code, name
        files[name] = (room.folder / "out" / "failure.json").read_bytes()
        printed[name] = [
            {key: value for key, value in phase.items() if key not in ("composeHash", "block", "opened")}
            for phase in done[1]
        ]
        assert "4711" not in str(why)
        for agent in room.agents:
            agent.close()
        room.agents.clear()
    assert len({len(data) for data in files.values()}) == 1
    assert all(each == printed["a crash"] for each in printed.values())
    for data in files.values():
        plain = json.loads(data)
        assert plain["code"] == "run-failed"
        assert plain.keys() == json.loads(files["a crash"]).keys()
        assert [each["key"] for each in plain["reports"]] == [
            each["key"] for each in json.loads(files["a crash"])["reports"]
        ]


INSTANTS = """
import json, runpy, sys
from pathlib import Path
leaping, seconds, *options = sys.argv[1:]
out = Path(options[options.index("--out") + 1])
class Watched(runpy.run_path(leaping)["LeapingClock"]):
    start, waits = None, []
    def now(self):
        self.start = self.start or super().now()
        return super().now()
    def wait(self, until, event):
        super().wait(until, event)
        self.waits.append([round(until - self.start, 3), [each.name for each in out.glob("*")]])
from sealroom.runtime import command
status = command.main(options, clock=Watched(float(seconds)))
print(json.dumps(Watched.waits))
sys.exit(status)
"""
"""A run whose last line is the instants after the grant that it waited for, with what had left at each."""


def test_a_neighbour_changes_neither_the_instant_nor_a_size(room: Room) -> None:
    """DP-10, DP-11, OU-06: a script that fails for one person alone. With and without that person, the
    outcome leaves at the same second after the grant; a failure has one size, and a result has one."""
    spy = GOOD.replace(
        "emit_signed(result)", "if (people.person_id == 4711).any():\n    1 / 0\nemit_signed(result)"
    )
    assert spy != GOOD
    sizes: dict[str, set[int]] = {"failure.json": set(), "envelope.json": set()}
    instants = set()
    for person in (4711, 4712, 4711, 4713):

        def table(letter: str, person: int = person) -> pa.Table:
            base = small_table(letter)
            more = {"person_id": person, "age": 40.0, "sex": "F", "ill": False}
            return pa.concat_tables([base, pa.Table.from_pylist([more], schema=base.schema)])

        room.table = table
        command = room.prepare(spy)
        status, phases, told = room.run([*command[:2], "-c", INSTANTS, *command[2:]])
        assert status in (0, 5), told
        instants.add(json.dumps(phases.pop()))
        (place,) = (room.folder / "out").iterdir()
        assert (place.name, status) == (("failure.json", 5) if person == 4711 else ("envelope.json", 0)), told
        sizes[place.name].add(place.stat().st_size)
        place.unlink()
        for agent in room.agents:
            agent.close()
        room.agents.clear()
    assert [len(each) for each in sizes.values()] == [1, 1]
    after = room.make_recipe(spy).privacy.release_after_seconds
    assert instants == {json.dumps([[after - margin(after), []], [float(after), []]])}


def test_who_has_no_report_key_reads_nothing_and_is_told(room: Room) -> None:
    """OU-06: the size of the file follows from the number of keys alone, and one key of two owners is one."""
    sizes = {}
    for keys, words in (
        ({}, "no dataset has a report key, so nobody can read why"),
        ({"B": REPORT_KEYS["B"]}, "the owners of those 1 of its 2 datasets that have a report key read why"),
        ({"A": REPORT_KEYS["B"], "B": REPORT_KEYS["B"]}, "the owners of its datasets read why"),
    ):
        room.report_keys = keys
        _, phases, _ = room.run(room.prepare(READ + "1 / 0\n"))
        assert phases[-1]["code"] == "run-failed" and words in phases[-1]["message"]
        failure = room.failure()
        with pytest.raises(FailureError) as refused:
            failure.open(REPORT_KEYS["A"])
        assert refused.value.code == "no-report"
        sizes[len(keys)] = len(failure.encode())
        for agent in room.agents:
            agent.close()
        room.agents.clear()
    assert sizes[0] < sizes[1] == sizes[2]


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


def relation_recipe(folder: Path, *, rows: int) -> Recipe:
    """The small study, of women alone, computed by a relation."""
    sql = (
        "SELECT person_id, age, sex, ill FROM cohort WHERE sex = 'F'\n"
        f"QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY age) <= {rows}\n"
    )
    study = STUDY | {"guarantee": "by-construction", "relation": {"rows": rows, "sql": sql}}
    folder = folder / "relation"
    folder.mkdir()
    (folder / "study.yaml").write_text(json.dumps(study))
    return parse(render(folder))


@pytest.mark.parametrize("rows", [1, 3])
def test_a_relation_goes_the_whole_way(room: Room, rows: int) -> None:
    """DP-03: from sealed Parquet through a job with DuckDB to a signed result. Everybody is in the files five
    times; where a person may have three rows, three count, and noise is three times as wide."""
    recipe = relation_recipe(room.folder, rows=rows)
    room.make_recipe = lambda analysis: recipe
    room.table = lambda letter: pa.concat_tables([small_table(letter)] * 5)
    status, _, told = room.run(room.prepare(""))
    assert status == 0, told
    envelope = parse_envelope(room.envelope.read_bytes())
    verify_statement(envelope)
    verify_receipt(envelope)
    check_result(envelope.result, recipe)
    assert envelope.statement.privacy.mechanisms == mechanisms(recipe.output, rows=rows)
    women, men = envelope.result["fields"]["people"]["groups"]
    counted = "people" if rows == 1 else "rows"
    assert abs(women[counted] - 400 * rows) < 40 * rows and men[counted] is None


BLOCK = """
import pandas as pd
from sealroom import emit_block, unwrap
people = pd.concat([unwrap("hospital-A/cohort.tar"), unwrap("hospital-B/cohort.tar")])
if len(people) % 2:
    raise ValueError(str(people.age))
emit_block({"age": people.age.mean()})
"""
"""Fails for about half of the blocks."""


def test_a_study_by_blocks_goes_the_whole_way(room: Room) -> None:
    """DP-23, OU-03: blocks that fail are not seen in the outcome, nor in anything that is printed."""
    folder = room.folder / "blocks"
    folder.mkdir()
    field = {"name": "age", "kind": "block_mean", "lower": "0", "upper": "100", "decimals": 1}
    output = {"limit_bytes": 1024, "groups": {}, "fields": [field]}
    study = STUDY | {"guarantee": "by-blocks", "blocks": 8, "output": output}
    (folder / "study.yaml").write_text(json.dumps(study))
    (folder / "analysis.py").write_text(BLOCK.strip() + "\n")
    recipe = parse(render(folder))
    room.make_recipe = lambda analysis: recipe
    status, phases, told = room.run(room.prepare(""))
    assert status == 0, told
    assert [each["phase"] for each in phases if each["phase"] != "final"][-1] == "done"
    assert "ValueError" not in told
    envelope = parse_envelope(room.envelope.read_bytes())
    verify_statement(envelope)
    verify_receipt(envelope)
    check_result(envelope.result, recipe)
    assert envelope.statement.privacy.guarantee == "by-blocks"
    assert envelope.statement.privacy.mechanisms == mechanisms(recipe.output, rows=1)
    (row,) = envelope.result["fields"]["age"]["groups"]
    assert 0 <= float(row["mean_low"]) <= float(row["mean"]) <= float(row["mean_high"]) <= 100


def demanding(room: Room, gpus: int) -> list[str]:
    """The command line of a run whose recipe demands a GPU, on a machine with so many."""
    room.gpus = gpus
    room.make_recipe = partial(room.make_recipe, gpu={"kind": "h100", "count": 1, "mode": "passthrough"})
    return room.prepare(GOOD)


def test_the_gpus_of_a_run_sign_for_it_and_the_quote_binds_what_they_signed(room: Room) -> None:
    """GP-01, GP-02: under a nonce of this exchange and of this enclave's keys."""
    status, _, told = room.run(demanding(room, 1))
    assert status == 0, told
    envelope = parse_envelope(room.envelope.read_bytes())
    assert envelope.hello.gpu == GpuDemand(kind="h100", count=1, mode="passthrough")
    transcript, signer = transcript_0(envelope.hello, envelope.challenge), envelope.grant.enclave_signer
    found = walk_gpus(
        envelope.gpu_evidence,
        nonce=gpu_nonce(transcript, kem_key=envelope.kem_key, signer=signer),
        now=int(time.time()),
        trust=gpu_trust(room.platform.trust(), room.platform.gpu_roots()),
    )
    assert (found.state, len(found.gpus)) == ("signature-verified", 1)
    bound = report_data(
        transcript, kem_key=envelope.kem_key, signer=signer, gpu_evidence=envelope.gpu_evidence
    )
    assert bound in envelope.quote
    assert envelope.gpu_material == room.gate.gpu_material


def test_a_run_that_demands_no_gpu_shows_none_where_there_are_some(room: Room) -> None:
    room.gpus = 2
    status, _, told = room.run(room.prepare(GOOD))
    assert status == 0, told
    envelope = parse_envelope(room.envelope.read_bytes())
    assert (envelope.gpu_evidence, envelope.gpu_material) == (b"", b"")


def test_a_machine_without_the_gpus_that_are_demanded_asks_for_no_key(room: Room) -> None:
    """GP-04."""
    status, phases, told = room.run(demanding(room, 0))
    assert (status, phases[-1]["code"]) == (78, "gpu-evidence-unverified"), told
    assert room.gate.enclave_signer == ""


EVIDENCE = {"vendor": "nvidia", "format": "nvidia-nvattest-collect-evidence-json-v1", "evidence": "5b5d"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"bundles": []}, "gpu-evidence-unverified"),
        ({"bundles": [EVIDENCE | {"vendor": "amd"}]}, "gpu-evidence-unverified"),
        ({"bundles": [EVIDENCE | {"format": "nvidia-nras"}]}, "gpu-evidence-unverified"),
        ({"bundles": [EVIDENCE, EVIDENCE]}, "gpu-evidence-unverified"),
        ({"bundles": [EVIDENCE | {"evidence": "00" * (256 * 1024 + 1)}]}, "guest-agent-failed"),
        ({"bundles": [EVIDENCE | {"evidence": "zz"}]}, "guest-agent-failed"),
        ({"bundles": [EVIDENCE] * 9}, "guest-agent-failed"),
        ({"bundles": EVIDENCE}, "guest-agent-failed"),
        ({}, "guest-agent-failed"),
        ({"bundles": [], "more": "x" * 700_000}, "guest-agent-failed"),
    ],
)
def test_what_a_guest_agent_shows_besides_one_bundle_of_nvidia_is_no_evidence(
    tmp_path: Path, answer: dict[str, Any], code: str
) -> None:
    """GP-01: it is read once, bounded."""
    with AgentServer(tmp_path / "g.sock", {"v1/AttestGpu": lambda request: answer}) as server:
        guest = Guest.connect(chain_id=CHAIN, environment={}, simulator=server.path)
        with pytest.raises(GuestError) as caught:
            guest.gpu_evidence(bytes(32))
    assert caught.value.code == code


def test_one_bundle_of_nvidia_beside_others_is_handed_on_byte_for_byte(tmp_path: Path) -> None:
    asked: list[Any] = []

    def attest(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"bundles": [EVIDENCE | {"vendor": "amd", "evidence": "00"}, EVIDENCE]}

    with AgentServer(tmp_path / "g.sock", {"v1/AttestGpu": attest}) as server:
        guest = Guest.connect(chain_id=CHAIN, environment={}, simulator=server.path)
        assert guest.gpu_evidence(b"n" * 32) == b"[]"
    assert asked == [{"nonce": "6e" * 32}]


def test_an_older_guest_agent_without_the_method_has_failed(tmp_path: Path) -> None:
    with AgentServer(tmp_path / "g.sock", {}) as server:
        guest = Guest.connect(chain_id=CHAIN, environment={}, simulator=server.path)
        with pytest.raises(GuestError, match="AttestGpu"):
            guest.gpu_evidence(bytes(32))


def test_a_machine_that_is_too_small_asks_for_no_key(room: Room) -> None:
    """DP-06: what a relation may take follows from public numbers, and is asked before any ε is booked."""
    recipe = relation_recipe(room.folder, rows=1)
    room.make_recipe = lambda analysis: recipe
    python, isolated, leaping, *options = room.prepare("")
    larger = (  # than any machine
        "import runpy, sealroom.relation.compiled as compiled; compiled.BASE_BYTES = 2**60\n"
        f"runpy.run_path({leaping!r}, run_name='__main__')"
    )
    status, phases, told = room.run([python, isolated, "-c", larger, *options])
    assert (status, phases[-1]["code"]) == (78, "machine-too-small"), told
    assert room.gate.hellos == {}


def with_a_network(folder: Path, room: Room, weights: list[float]) -> tuple[Recipe, list[str]]:
    """The mean of what a maker's network gives for women, and the command line of its run."""
    study = STUDY | {
        "guarantee": "by-construction",
        "relation": {"rows": 1, "sql": "SELECT person_id, age, sex FROM cohort WHERE sex = 'F'\n"
                     "QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY age) = 1\n"},
        "datasets": [*STUDY["datasets"], {"owner": "maker", "name": "net", "kind": "files"}],
        "inference": [
            {
                "name": "risk", "features": [{"name": "age", "lower": 0, "upper": 100}],
                "layers": [{"linear": 1}], "weights": {"owner": "maker", "name": "net"},
            }
        ],
        "output": STUDY["output"] | {
            "fields": [
                {
                    "name": "risk", "kind": "mean", "column": "risk", "by": [], "lower": -4, "upper": 4,
                    "decimals": 2,
                }
            ]
        },
    }  # fmt: skip
    folder.mkdir()
    (folder / "study.yaml").write_text(json.dumps(study))
    recipe = parse(render(folder))
    room.make_recipe = lambda analysis: recipe
    command = room.prepare("")
    numbers = np.array(weights, "<f4")
    (folder / "net").mkdir()
    (folder / "net" / "model.safetensors").write_bytes(
        write(
            [
                Tensor(name="0.weight", shape=(1, 1), data=numbers[:1].tobytes()),
                Tensor(name="0.bias", shape=(1,), data=numbers[1:].tobytes()),
            ]
        )
    )
    with (folder / "net.tar").open("wb") as stream:
        pack(listing(folder / "net"), stream)
    target = room.folder / "sealed" / "maker" / "net.tar"
    target.parent.mkdir()
    summary = seal(
        folder / "net.tar", target, recipient=room.recipient(recipe), owner="0x" + "3c" * 20, name="net",
        media_type=FOLDER, report_key=REPORT_KEYS["A"].public,
    )  # fmt: skip
    room.gate.sealed[summary.dataset_id] = summary
    room.gate.owners[summary.dataset_id] = "maker"
    return recipe, command


def test_a_network_of_an_owner_goes_the_whole_way(room: Room) -> None:
    """DP-24: its weights are a dataset as any: the gate releases their key, and the statement names them."""
    recipe, command = with_a_network(room.folder / "network", room, [1.0, 0.5])
    status, _, told = room.run(command)
    assert status == 0, told
    envelope = parse_envelope(room.envelope.read_bytes())
    verify_statement(envelope)
    verify_receipt(envelope)
    check_result(envelope.result, recipe)
    assert {each.owner for each in envelope.statement.datasets} == {"hospital-A", "hospital-B", "maker"}
    whole = pa.concat_tables([small_table(letter) for letter in "AB"])
    ages = [each["age"] for each in whole.select(["age", "sex"]).to_pylist() if each["sex"] == "F"]
    [row] = envelope.result["fields"]["risk"]["groups"]
    assert abs(float(row["mean"]) - (np.mean(ages) / 50 - 1 + 0.5)) < 0.3


def test_weights_that_are_no_numbers_end_a_run_and_owners_read_why(room: Room) -> None:
    """OU-03, AR-13: in public it is the failure that every other is."""
    _, command = with_a_network(room.folder / "network", room, [float("nan"), 0.5])
    status, phases, told = room.run(command)
    assert (status, phases[-1]["code"]) == (5, "run-failed") and "weights" not in told
    assert room.failure().open(REPORT_KEYS["B"]).code == "weights-mismatch"
