# SPDX-License-Identifier: Apache-2.0
"""`sealroom room join`: an owner seals, registers and sends in one command, whatever its input is, and once
more for a corrected extract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import forked
from tests.agents.worked import fresh_platform, make_card, make_gate, render_recipe, write_cohort
from tests.local_chain import LocalChain, account
from tests.local_chain import Room as OnChain

from sealroom.keccak import dataset_id
from sealroom.sealed import inspect
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.local.owners import private_key, write_keystore
from sealroom_agents.local.room import Places, Room
from sealroom_agents.simulator import SIMULATED_OS_IMAGE

pytestmark = pytest.mark.anvil
OWNERS = ("hospital-A", "hospital-B", "hospital-C")
JOIN = "sealroom room join hospital-A --room room"
UNREADABLE = "unreadable.parquet"
"""No Parquet reader takes it: a command that ends with another code did not open it."""
EXPORT = "Nr;Alter;Geschlecht;Name\n1;40;w;X\n2;50.5;m;Y\n3;61;w;Z\n"
DECLARED = """\
version = 1
[input]
form = "csv"
delimiter = ";"
[columns.person_id]
from = "Nr"
type = "int64"
[columns.age]
from = "Alter"
type = "float64"
[columns.sex]
from = "Geschlecht"
type = "string"
values = { w = "F", m = "M" }
"""
PREPARED = f"{JOIN} --in export.csv --prepare cohort-A.prepare.toml"
OFFICER = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"


@dataclass(frozen=True)
class Joining:
    """A folder with a room in it, whose owners have yet to join."""

    chain: LocalChain
    at: OnChain
    folder: Path

    @property
    def places(self) -> Places:
        return Places(self.folder / "room")

    def run(self, command: str, status: int = 0) -> str:
        """Run a command; what it prints on stdout and stderr."""
        self.chain.finalize()
        self.chain.mine()  # a head of now
        done = forked(command, self.folder)
        assert done.returncode == status, done.stdout
        return done.stdout

    def json(self, command: str, status: int = 0) -> dict[str, Any]:
        """The same with --json."""
        return dict(json.loads(self.run(f"{command} --json 2> errors", status)))

    def refused(self, command: str, code: str) -> dict[str, Any]:
        """A refusal that seals, registers and sends nothing."""
        before = self.state()
        told = self.json(command, 2 if code == "usage" else 1)
        assert told["code"] == code, told
        assert self.state() == before
        return told

    def state(self) -> dict[str, Any]:
        """What lies there of hospital-A, and the newest version on chain."""
        files = [path for path in sorted(self.places.folder.rglob("*")) if path.is_file()]
        return {
            "files": {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files},
            "chain": self.known().number,
        }

    def known(self, name: str = "cohort-A", owner: int = 0) -> DatasetRecord:
        """A dataset as the chain has it."""
        with closing(self.chain.reader()) as reader:
            ((found,),) = reader.datasets_newest(self.at.consortium, [dataset_id(account(owner), name)])
        return found

    def received(self) -> tuple[int, int | None]:
        """Version and rows of what the runner has; it is what is registered."""
        info = inspect(self.places.received / "hospital-A" / "cohort-A.tar")
        assert info.header.digest == self.known().version.header
        return info.header.dataset_version, info.header.rows


@pytest.fixture
def room(chain: LocalChain, tmp_path: Path) -> Iterator[Joining]:
    """The small study's owners have adopted a gate, and nothing else is done."""
    snapshot = chain.snapshot()
    platform = fresh_platform()
    gate, recipe = make_gate(platform), render_recipe(tmp_path / "recipe")
    at = chain.create_consortium(OWNERS, threshold=2)
    chain.adopt_platform(
        at, gate_root=gate.identity.gate_root, gate_signer=gate.identity.signer,
        gate_compose=gate.identity.compose_hash, policy_hash=gate.identity.policy_hash,
        os_images=[SIMULATED_OS_IMAGE], devices=[platform.machine().device_id],
    )  # fmt: skip
    places = Places(tmp_path / "room")
    places.platform.mkdir(parents=True)
    places.root.write_bytes(platform.root_der)
    places.recipe.write_bytes(recipe)
    card = make_card(gate, recipe)
    owners = tuple(replace(card.owners[0], id=one.id, account=one.account) for one in at.owners)
    card = replace(card, owners=owners, consortium=at.consortium, app=at.app, ledger=at.ledger)
    places.card.write_bytes(card.encode())
    Room(
        folder=places.folder, study=str(tmp_path / "recipe"), rpc=chain.url, gate="http://127.0.0.1:9",
        console="http://127.0.0.1:9", consortium=at.consortium, app=at.app, ledger=at.ledger,
        factory=at.factory, owners={one.id: one.account for one in at.owners}, threshold=2,
    ).write()  # fmt: skip
    for number, owner in enumerate(OWNERS):
        write_keystore(places.keystore(owner), private_key(number))
    write_cohort(tmp_path / "cohort-A.parquet")
    write_cohort(tmp_path / "fixed.parquet", rows=220)
    (tmp_path / UNREADABLE).write_bytes(b"PAR1 and no more of it")
    (tmp_path / "export.csv").write_text(EXPORT)
    (tmp_path / "fixed.csv").write_text(EXPORT + "4;70;m;W\n")
    (tmp_path / "cohort-A.prepare.toml").write_text(DECLARED)
    yield Joining(chain, at, tmp_path)
    chain.restore(snapshot)


def test_an_owner_joins_before_the_study_is_proposed_and_is_warned_of_nothing(room: Joining) -> None:
    said = room.run(f"{JOIN} --in cohort-A.parquet")
    assert "warning" not in said and "doubt" not in said
    assert said.count("none yet: a study is proposed once its data are registered") == 1
    assert said.splitlines()[-1] == "hospital-A/cohort-A: sealed, registered on chain for 3 runs"
    assert room.received() == (1, 200)
    assert room.known().account.epsilon_cap == 10 * 3 * 1_500_000


def test_a_study_that_is_before_the_owners_is_told_as_ever(room: Joining) -> None:
    """The twin of the calm answer: where there is something to tell, it is told."""
    room.run(f"{JOIN} --in cohort-A.parquet")
    room.run("sealroom room join hospital-B --room room")
    room.run("sealroom room approve hospital-A --room room")
    said = room.run(f"{JOIN} --in fixed.parquet --new-version")
    assert "doubt   approval  hospital-A has approved it; not in force" in said


def test_seal_is_as_calm_where_the_owners_have_no_study_yet(room: Joining) -> None:
    """CE-20: a revocation is told by both, though no study is there that it ends."""
    seal = "sealroom seal --study room/study.json --owner hospital-A --simulated-root room/platform/root.der"
    seal += f" --in cohort-A.parquet --rpc {room.chain.url} --dry-run"
    said = room.run(seal)
    assert "warning" not in said and "ok      approval  none yet" in said
    room.chain.revoke(room.at, 2)
    for command in (seal, f"{JOIN} --in cohort-A.parquet"):
        said = room.run(command)
        assert "doubt   approval  no study with this recipe is before the owners" in said
        assert "warning: " in said and "hospital-C revoked: nothing runs" in said


def test_with_json_all_that_was_done_is_one_object(room: Joining) -> None:
    told = room.json(f"{JOIN} --in cohort-A.parquet")
    (one,) = told["datasets"]
    assert (told["ok"], told["owner"], one["name"], one["rows"]) == (True, "hospital-A", "cohort-A", 200)
    assert (one["madeUp"], one["sealedNow"], one["registeredNow"]) == (False, True, True)
    assert one["approval"]["state"] == "not-proposed" and one["asked"]["answers"][2]["verdict"] == "holds"
    assert one["sealed"] == str(room.places.sealed / "hospital-A" / "cohort-A.tar")
    again = room.json(JOIN)["datasets"][0]
    assert (again["sealedNow"], again["registeredNow"]) == (False, False)
    assert again["headerDigest"] == one["headerDigest"] and again["wrap"] == one["wrap"]
    assert room.received() == (1, 200)


# --- prepared ----------------------------------------------------------------------------------------


def test_an_export_is_prepared_sealed_and_registered_in_one_command(room: Joining) -> None:
    said = room.run(PREPARED)
    assert "prepared   by cohort-A.prepare.toml, which is kept as " in said and "left out   Name" in said
    assert room.received() == (1, 3)
    assert (room.places.keys("hospital-A") / "cohort-A.prepare.toml").read_text() == DECLARED


@pytest.mark.parametrize(
    "options, code",
    [
        ("--prepare kept", "not-prepared-before"),
        ("--prepare cohort-A.prepare.toml --delimiter ;", "usage"),
        ("--prepare other=cohort-A.prepare.toml", "usage"),
        ("--prepare cohort-A=cohort-A.prepare.toml --prepare none", "usage"),
        ("--prepare broken.toml", "prepare-malformed"),
    ],
)
def test_what_seal_refuses_of_a_preparation_joining_refuses_before_it_reads(
    room: Joining, options: str, code: str
) -> None:
    (room.folder / "broken.toml").write_text("version = 1\n[columns.x]\nfro = 'Nr'\n")
    room.refused(f"{JOIN} --in {UNREADABLE} {options.replace(';', chr(39) + ';' + chr(39))}", code)


def test_a_preparation_of_made_up_data_is_refused(room: Joining) -> None:
    assert "name that of cohort-A with --in" in room.refused(f"{JOIN} --prepare none", "usage")["error"]


# --- a corrected extract -----------------------------------------------------------------------------


def test_a_corrected_extract_is_registered_under_its_budget_and_is_what_runs_read(room: Joining) -> None:
    room.run(f"{JOIN} --in cohort-A.parquet")
    budget = room.known().account
    said = room.run(f"{JOIN} --in fixed.parquet --new-version")
    assert "version 1 has 200 rows: +20" in said
    assert said.splitlines()[-1].endswith("version 2 sealed, registered on chain under its budget")
    assert (room.received(), room.known().account) == ((2, 220), budget)
    assert room.json(f"{JOIN} --in cohort-A.parquet --new-version")["datasets"][0]["datasetVersion"] == 3
    assert room.received() == (3, 200)
    status = room.json("sealroom status --owner hospital-A --room room")
    found = [(one["key"]["state"], one["registered"]) for one in status["files"]]
    assert found == [("plain", "registered")] * 3


def test_a_corrected_extract_waits_for_no_new_vote_and_the_next_study_reads_it(room: Joining) -> None:
    room.run(f"{JOIN} --in cohort-A.parquet")
    room.run("sealroom room join hospital-B --room room")
    room.run(f"{JOIN} --in fixed.parquet --new-version")
    said = room.run("sealroom room approve hospital-A hospital-B --room room")
    assert said.splitlines()[-1] == "hospital-B: voted for it"
    said = room.run(f"{JOIN} --in cohort-A.parquet --new-version")
    assert "in force: approved by hospital-A, hospital-B" in said and room.received() == (3, 200)


def test_a_corrected_extract_of_a_prepared_one_says_how_it_is_prepared(room: Joining) -> None:
    room.run(PREPARED)
    new = f"{JOIN} --new-version --in"
    assert "--prepare kept" in room.refused(f"{new} {UNREADABLE}", "prepare-unsaid")["hint"]
    room.run(f"{new} fixed.csv --prepare kept")
    assert room.received() == (2, 4)
    assert (room.places.keys("hospital-A") / "cohort-A.v2.prepare.toml").read_text() == DECLARED
    said = room.run(f"{new} cohort-A.parquet --prepare none")
    assert "this one is sealed as it comes" in said and room.received() == (3, 200)


def test_a_corrected_extract_is_wrapped_at_home_for_those_of_the_last(room: Joining) -> None:
    room.run(f"{JOIN} --in cohort-A.parquet --recipient officer={OFFICER}")
    told = room.json(f"{JOIN} --in fixed.parquet --new-version")
    assert told["datasets"][0]["recipients"] == ["officer"]


@pytest.mark.parametrize(
    "options, code, word",
    [
        (f"--in {UNREADABLE} --new-version", "not-sealed-before", "leave --new-version out"),
        ("--new-version", "usage", "--new-version needs --in"),
        (f"--in {UNREADABLE} --new-version --runs 4", "usage", "sealroom govern allow"),
        (f"--in other={UNREADABLE} --new-version", "dataset-not-in-recipe", "it reads cohort-A"),
    ],
)
def test_a_new_version_of_nothing_is_refused_before_it_reads(
    room: Joining, options: str, code: str, word: str
) -> None:
    told = room.refused(f"{JOIN} {options}", code)
    assert word in f"{told['error']} {told['hint']}"


def test_a_file_for_what_was_sealed_is_refused_with_the_word_that_takes_it(room: Joining) -> None:
    room.run(f"{JOIN} --in cohort-A.parquet")
    told = room.refused(f"{JOIN} --in {UNREADABLE}", "output-exists")
    assert "for a corrected extract: --new-version" in told["hint"]
    told = room.refused(f"{JOIN} --recipient {OFFICER}", "key-exists")
    assert "sealroom key add" in told["hint"]


def test_what_was_sealed_and_not_registered_is_registered_by_the_next_call(room: Joining) -> None:
    """The call fails between sealing and the chain: the account has no gas."""
    room.run(f"{JOIN} --in cohort-A.parquet")
    balance = room.chain.rpc("eth_getBalance", account(0), "latest")
    room.chain.rpc("anvil_setBalance", account(0), "0x0")
    room.run(f"{JOIN} --in fixed.parquet --new-version", 1)
    assert (room.known().number, room.received()) == (1, (1, 200))
    told = room.refused(f"{JOIN} --in {UNREADABLE} --new-version", "not-registered")
    assert "without --in: sealroom room join hospital-A" in told["hint"]
    room.chain.rpc("anvil_setBalance", account(0), balance)
    said = room.run(JOIN).splitlines()[-1]
    assert said.endswith("version 2 sealed, registered on chain under its budget")
    assert room.received() == (2, 220)


def test_a_room_of_an_earlier_release_is_refused(room: Joining) -> None:
    """Its runner reads where owners seal, and so would read the first version for ever."""
    content = json.loads(room.places.room.read_text())
    room.places.room.write_text(json.dumps({**content, "version": 1}))
    told = room.refused(f"{JOIN} --in {UNREADABLE}", "room-missing")
    assert "start a new one" in told["hint"]
