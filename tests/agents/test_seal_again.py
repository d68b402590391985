# SPDX-License-Identifier: Apache-2.0
"""`sealroom seal --new-version` and `--dry-run`, and `sealroom status`: what an owner does after the first
time, and sees of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.agents.deskside import SEAL, OwnersDesk, owners_desk
from tests.agents.shell import forked
from tests.agents.worked import STUDY_YAML, render_recipe, write_cohort
from tests.local_chain import LocalChain, account
from tests.rpc_proxy import RpcProxy

from sealroom_agents.chain.contracts import interface
from sealroom_agents.owner.registration import load_registration
from sealroom_agents.owner.staging import Outputs, Staging

ACCOUNT = "0x" + "0a" * 20
EARLY = f"sealroom seal --account {ACCOUNT} --yes"
PLACE = Path("sealed") / ACCOUNT
KEYS = Path("keys") / ACCOUNT
OFFICER, ESCROW = (
    "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa",
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
)


def state(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder, with mode, time of change and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def run(folder: Path, command: str, status: int = 0) -> str:
    done = forked(command, folder)
    assert done.returncode == status, done.stdout
    return done.stdout


def told(folder: Path, command: str, status: int = 0) -> dict[str, Any]:
    """What a command says with --json."""
    return dict(json.loads(run(folder, f"{command} --json 2>/dev/null", status)))


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder with one dataset that was sealed for an account, its key wrapped for two."""
    write_cohort(tmp_path / "cohort-A.parquet")
    write_cohort(tmp_path / "fixed.parquet", rows=220)
    wrapped = f"--recipient officer={OFFICER} --recipient escrow={ESCROW}"
    run(tmp_path, f"{EARLY} --in cohort-A.parquet {wrapped}")
    return tmp_path


# --- a corrected extract -----------------------------------------------------------------------------


def test_a_corrected_extract_takes_number_recipients_and_report_key(sealed: Path) -> None:
    said = run(sealed, f"{EARLY} --in fixed.parquet --name cohort-A --new-version")
    assert "before     version 1 has 200 rows: +20" in said
    assert "columns    the same 3" in said
    assert f"the key is wrapped for those of {KEYS}/cohort-A.key: officer age1" in said
    assert load_registration(sealed / PLACE / "cohort-A.v2.registration.json").number == 2
    facts = told(sealed, f"sealroom key list {KEYS}/cohort-A.v2.key")
    assert [one["recipient"] for one in facts["recipients"]] == [OFFICER, ESCROW]
    assert [path.name for path in (sealed / KEYS).glob("*.secret")] == ["report-key.secret"]
    third = told(sealed, f"{EARLY} --in fixed.parquet --name cohort-A --new-version --recipient me={ESCROW}")
    assert (third["datasetVersion"], third["recipients"]) == (3, ["me"])


def test_columns_that_differ_from_the_version_before_are_named(sealed: Path) -> None:
    columns = {"person_id": pa.array([1, 2]), "age": pa.array([3, 4]), "ward": pa.array(["a", "b"])}
    write_cohort(sealed / "other.parquet", columns=columns)
    facts = told(sealed, f"{EARLY} --in other.parquet --name cohort-A --new-version")
    assert facts["before"] == {
        "before": "version 1 has 200 rows: -198",
        "columns": "without sex (string); with ward (string); age as int64, was float64",
    }


@pytest.mark.parametrize(
    "options, status, word",
    [
        ("--name cohort-B --new-version", 1, "sealed before: cohort-A: pass --name"),
        ("--name cohort-A --new-version --dataset-version 2", 2, "leave out --dataset-version"),
    ],
)
def test_a_new_version_of_nothing_is_refused(sealed: Path, options: str, status: int, word: str) -> None:
    before = state(sealed)
    assert word in run(sealed, f"{EARLY} --in fixed.parquet {options}", status)
    assert state(sealed) == before


def test_a_passphrase_is_not_taken_over(tmp_path: Path) -> None:
    """Nobody who seals the next version is asked for it, so the key would be wrapped for fewer unseen."""
    write_cohort(tmp_path / "cohort-A.parquet")
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    (tmp_path / "passphrase").chmod(0o600)
    both = f"--recipient officer={OFFICER} --new-passphrase-file passphrase"
    run(tmp_path, f"{EARLY} --in cohort-A.parquet {both}")
    said = run(tmp_path, f"{EARLY} --in cohort-A.parquet --new-version")
    assert "has a passphrase, which is not taken over: pass --new-passphrase" in said


# --- a dry run ---------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_written_and_leaves_all_bit_for_bit(sealed: Path) -> None:
    (sealed / "cohort.csv").write_text("a\n1\n")
    before = state(sealed)
    command = f"{EARLY} --in fixed.parquet --name cohort-A --new-version"
    facts = told(sealed, f"{command} --dry-run")
    assert (facts["ok"], facts["dryRun"]) == (True, True)
    assert [one["act"] for one in facts["would"]] == ["write"] * 3
    assert (facts["rows"], facts["datasetVersion"]) == (220, 2)
    assert "a dry run: nothing was written or sent" in run(sealed, f"{command} --dry-run")
    assert state(sealed) == before
    done = told(sealed, command)
    for name in ("sealed", "key", "registration", "recipients", "datasetId", "rows"):
        assert done[name] == facts[name]


def test_a_dry_run_is_refused_as_the_run_is(sealed: Path) -> None:
    before = state(sealed)
    for command in ("--in cohort-A.parquet", "--in none.parquet"):
        dry, wet = (told(sealed, f"{EARLY} {command} {more}", 1) for more in ("--dry-run", ""))
        assert dry == wet
    assert state(sealed) == before


def test_a_dry_run_leaves_what_a_killed_run_left(sealed: Path) -> None:
    """Only a run that seals starts anew over it: what that would remove is told."""
    left = sealed / PLACE / ".cohort-A.v2.tar.sealing"
    left.mkdir()
    (left / "sealed.tar").write_bytes(b"half")
    key, place = sealed / KEYS / "cohort-A.v2.key", sealed / KEYS / ".cohort-A.v2.key.sealing"
    place.mkdir()
    for path in (key, place / "data.key"):
        path.write_bytes(b"of no sealed file")
    before = state(sealed)
    command = f"{EARLY} --in fixed.parquet --name cohort-A --new-version"
    facts = told(sealed, f"{command} --dry-run")
    assert [one["what"] for one in facts["would"] if one["act"] == "remove"] == [
        f"{PLACE}/.cohort-A.v2.tar.sealing  left by a run that was killed",
        f"{KEYS}/.cohort-A.v2.key.sealing  left by a run that was killed",
        f"{KEYS}/cohort-A.v2.key  of that run: no sealed file came of it",
    ]
    assert state(sealed) == before
    assert told(sealed, command)["ok"] and not left.exists() and not place.exists()


def test_a_key_that_no_killed_run_left_is_in_the_way_of_a_dry_run_too(sealed: Path) -> None:
    place = sealed / KEYS / ".cohort-A.v2.key.sealing"
    place.mkdir()
    (place / "data.key").write_bytes(b"of no sealed file")
    (sealed / KEYS / "cohort-A.v2.key").write_bytes(b"of another")
    command = f"{EARLY} --in fixed.parquet --name cohort-A --new-version"
    for more in ("--dry-run", ""):
        assert told(sealed, f"{command} {more}", 1)["code"] == "key-exists"


def test_a_dry_run_waits_for_no_run_that_works(sealed: Path) -> None:
    out = Outputs(
        *(sealed / path for path in (PLACE / "b.tar", KEYS / "b.key", PLACE / "b.registration.json"))
    )
    with Staging(out):
        facts = told(sealed, f"{EARLY} --in fixed.parquet --name b --dry-run", 1)
    assert facts["code"] == "already-sealing"


# --- the overview, at home ---------------------------------------------------------------------------


def test_the_overview_tells_what_lies_here_and_what_was_not_asked(sealed: Path) -> None:
    before = state(sealed)
    said = run(sealed, "sealroom status")
    assert said.splitlines() == [
        f"{ACCOUNT}/cohort-A",
        f"  version 1  200 rows, 11.3 kB  {PLACE}/cohort-A.tar",
        f"    key     {KEYS}/cohort-A.key  for officer, escrow",
        "    opens   for nobody yet: sealroom reseal wraps its key for a study",
        "chain: not asked: --rpc URL tells what is registered, which studies are in force, budget left",
    ]
    (row,) = told(sealed, "sealroom status")["files"]
    assert (row["key"]["state"], row["key"]["recipients"]) == ("wrapped", ["officer", "escrow"])
    assert (row["registered"], row["wrap"], row["rows"]) == ("not-asked", None, 200)
    assert state(sealed) == before


def test_what_needs_its_owner_is_told_by_the_status(sealed: Path) -> None:
    assert told(sealed, "sealroom status")["ok"]
    key = sealed / KEYS / "cohort-A.key"
    key.rename(sealed / "moved.key")
    facts = told(sealed, "sealroom status", 1)
    assert (facts["ok"], facts["files"][0]["key"]["state"]) == (False, "missing")
    (sealed / "moved.key").rename(key)
    (sealed / PLACE / "broken.tar").write_bytes(b"no archive")
    facts = told(sealed, "sealroom status", 1)
    assert [one["code"] for one in facts["files"]] == ["archive-truncated", None]
    assert "broken  sealed/" in run(sealed, "sealroom status", 1)


def test_an_empty_folder_has_nothing_sealed(tmp_path: Path) -> None:
    assert run(tmp_path, "sealroom status").startswith("nothing is sealed in sealed\n")
    assert "pass --rpc" in run(tmp_path, f"sealroom status --consortium {ACCOUNT}", 2)
    assert list(tmp_path.iterdir()) == []


# --- on a chain --------------------------------------------------------------------------------------


@pytest.fixture
def desk(chain: LocalChain, tmp_path: Path) -> Iterator[OwnersDesk]:
    with owners_desk(chain, tmp_path) as desk:
        yield desk


@pytest.mark.anvil
def test_the_number_of_a_new_version_is_the_chains(desk: OwnersDesk) -> None:
    """The first version was sealed on another machine."""
    facts = desk.json(f"{SEAL} --in cohort-A.parquet --new-version", 0)
    assert (facts["datasetVersion"], facts["sealed"]) == (2, "sealed/hospital-A/cohort-A.v2.tar")
    assert facts["before"]["before"] == "version 1: its sealed file is not here to compare"
    assert desk.json(f"{SEAL} --in cohort-A.parquet --new-version", 1)["code"] == "key-exists"


@pytest.mark.anvil
def test_a_dataset_that_was_sealed_and_not_registered_takes_no_new_version_yet(desk: OwnersDesk) -> None:
    early = f"sealroom seal --account {account(0)} --yes --in cohort-A.parquet --name fresh"
    of = f"--consortium {desk.stage.room.consortium}"
    desk.run(f"{early} {of}", 0)
    assert desk.json(f"{early} {of} --new-version", 1)["code"] == "not-registered"
    assert desk.json(f"{early} --new-version --dry-run", 0, rpc=None)["datasetVersion"] == 2


@pytest.mark.anvil
def test_the_overview_tells_registration_study_and_budget(desk: OwnersDesk) -> None:
    """CE-15: a file that differs from what is registered under its number."""
    desk.run(f"{SEAL} --in cohort-A.parquet", 0, rpc=None)
    room = desk.stage.room
    facts = desk.json("sealroom status", 1)
    (row,) = facts["files"]
    assert (row["registered"], row["approval"]["state"], facts["ok"]) == ("differs", "approved", False)
    desk.run(f"{SEAL} --in cohort-A.parquet --new-version", 0)
    version = load_registration(desk.folder / "sealed/hospital-A/cohort-A.v2.registration.json")
    call = interface("Ledger").encode("addVersion", version.dataset, version.version.solidity())
    assert [one["registered"] for one in desk.json("sealroom status", 1)["files"]] == [
        "differs",
        "not-registered",
    ]
    desk.chain.send(0, desk.chain.ledger, call)
    desk.chain.finalize()
    first, second = desk.run("sealroom status", 1).split("  version 2  ")
    assert "study   reads version 2, not this one; in force until" in first
    assert "study   in force until" in second
    (desk.folder / "sealed/hospital-A/cohort-A.tar").unlink()
    facts = desk.json("sealroom status", 0)
    assert [(one["registered"], one["approval"]["mine"]) for one in facts["files"]] == [("registered", True)]
    (of,) = facts["consortia"]
    assert (of["study"]["maxRuns"], of["study"]["runs"], of["study"]["live"]) == (3, 0, True)
    assert of["datasets"][0]["lifetime"]["epsilonCap"] == 4_500_000
    said = desk.run("sealroom status", 0)
    assert "chain   registered, the newest" in said
    assert "3 of 3 runs left" in said
    assert "budget  ε 4.5 of 4.5 left, δ 1e-6 of 1e-6 in its life" in said
    assert f"ε 4.5 of 4.5 left, δ 1e-6 of 1e-6 for {room.consortium}, 100 runs a day" in said
    desk.chain.revoke(room, 2)
    desk.chain.finalize()
    said = desk.run("sealroom status", 0)
    assert "opens nothing now: revoked, hospital-C revoked" in said and "; revoked by hospital-C" in said


@pytest.mark.anvil
def test_what_to_register_next_has_the_budget_without_which_the_study_could_not_run(desk: OwnersDesk) -> None:
    seal = f"{SEAL} --in cohort-A.parquet --out a.tar --key-out keys"
    assert "register --lifetime EPS --cap EPS --registration" in desk.run(f"{seal}/a.key", 0, rpc=None)
    study = STUDY_YAML.replace('delta: "0"', 'delta: "1e-6"')
    desk.write_card(recipe=render_recipe(desk.folder / "delta", study=study))
    said = desk.run(f"{seal.replace('a.tar', 'b.tar')}/b.key", 0, rpc=None)
    assert "register --lifetime EPS --cap EPS --lifetime-delta DELTA --delta DELTA --registration" in said


@pytest.mark.anvil
def test_what_an_account_registered_elsewhere_is_told_too(desk: OwnersDesk) -> None:
    named = f"sealroom status --consortium {desk.stage.room.consortium} --account {account(0)}"
    said = desk.run(named, 0)
    assert "hospital-A/cohort-A  no sealed file here" in said
    assert "hospital-B" not in said.split("chain:")[0]


@pytest.mark.anvil
def test_without_an_answer_what_lies_here_is_told(desk: OwnersDesk) -> None:
    desk.run(f"{SEAL} --in cohort-A.parquet", 0, rpc=None)
    with RpcProxy(desk.chain.url) as proxy:
        assert desk.json("sealroom status", 1, rpc=proxy.url)["code"] is None
        proxy.down = True
        facts = desk.json("sealroom status", 3, rpc=proxy.url)
    assert (facts["code"], facts["consortia"]) == ("chain-unreachable", None)
    assert [one["registered"] for one in facts["files"]] == ["not-asked"]


@pytest.mark.anvil
def test_a_wrap_that_names_no_consortium_hides_nothing(desk: OwnersDesk) -> None:
    desk.run(f"{SEAL} --in cohort-A.parquet", 0, rpc=None)
    card = json.loads((desk.folder / "study.json").read_text())
    card["consortium"] = account(5)
    (desk.folder / "study.json").write_text(json.dumps(card))
    desk.run(f"{SEAL} --in cohort-A.parquet --name cohort-A --dataset-version 2", 0, rpc=None)
    said = desk.run("sealroom status", 1)
    assert f"{account(5)}, for which a file is wrapped, is no consortium on this chain" in said
    assert "in force until" in said
