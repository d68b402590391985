# SPDX-License-Identifier: Apache-2.0
"""``sealroom explain-failure``: an owner opens the reason of a failed run with the key that `seal` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import WorkedRun
from tests.local_chain import LocalChain

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.failure import Details, FailedRun, build_failure, script_failed
from sealroom.keys import address_of
from sealroom_agents.cli import main
from sealroom_agents.owner.report_key import of_owner

SIGNER = b"\x21" * 32
RUN = FailedRun(run_id=b"\x07" * 32, chain_id=31337, consortium="0x" + "c0" * 20, compose_hash=b"\x5e" * 32)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A script's failure, and the key of an owner whom it was sealed to."""
    made = of_owner(tmp_path, None)
    made.keep()
    assert made.place is not None
    failure = tmp_path / "failure.json"
    failure.write_bytes(written(script_failed(7, "ZeroDivisionError", lines=9), made.public))
    return failure, made.place


def written(error: Exception, public: bytes, *, run: FailedRun = RUN, key: bytes = SIGNER) -> bytes:
    signer = address_of(key)
    made = build_failure(Details.of(error), run=run, report_keys=[public], private_key=key, signer=signer)
    return made.encode()


def explain(failure: Path, key: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["explain-failure", str(failure), "--key", str(key), *more])
    return done.exit_code, done.output


def test_an_owner_reads_why(files: tuple[Path, Path]) -> None:
    status, said = explain(*files)
    assert status == 0
    for words in (
        "0x" + "07" * 32,
        "job-failed",
        "line 7 of analysis.py, ZeroDivisionError",
        "the analysis ended without a result",
        "remedy",
        "not looked at",
        "warning: not checked, for it is on chain: that the consortium's ledger opened this run",
    ):
        assert words in said


def test_a_program_reads_why(files: tuple[Path, Path]) -> None:
    status, said = explain(*files, "--json")
    facts = json.loads(said)
    assert (status, facts["ok"], facts["code"]) == (0, True, "job-failed")
    assert (facts["line"], facts["exception"]) == (7, "ZeroDivisionError")
    assert facts["run"] == "0x" + "07" * 32
    assert facts["onChain"] is None


def test_what_is_not_a_scripts_names_no_line(files: tuple[Path, Path]) -> None:
    failure, key = files
    failure.write_bytes(written(JobError(Code.JOB_TIMEOUT, "too slow"), of_owner(key.parent, None).public))
    _, said = explain(failure, key)
    assert "stopped in" not in said and "release_after_seconds" in said


def test_what_does_not_open_is_refused_with_its_code(files: tuple[Path, Path], tmp_path: Path) -> None:
    failure, key = files
    (tmp_path / "other").mkdir()
    other = of_owner(tmp_path / "other", None)
    other.keep()
    assert other.place is not None
    changed = tmp_path / "changed.json"
    changed.write_bytes(failure.read_bytes().replace(b"31337", b"31338"))
    key.chmod(0o644)
    exposed = explain(failure, key, "--json")
    key.chmod(0o600)
    for (status, said), code in (
        (explain(failure, other.place, "--json"), "no-report"),
        (explain(changed, key, "--json"), "failure-forged"),
        (explain(key, key, "--json"), "malformed"),
        (explain(failure, failure, "--json"), "key-exposed"),
        (explain(failure, tmp_path / "none", "--json"), "key-missing"),
        (exposed, "key-exposed"),
    ):
        assert (status, json.loads(said.splitlines()[0])["code"]) == (1, code)


# --- with a chain ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Booked:
    """A run that the ledger has opened, and an owner's report key."""

    stage: Stage
    run: WorkedRun
    folder: Path

    def explain(
        self, *more: str, key: bytes | None = None, rpc: str | None = None, **changes: Any
    ) -> tuple[int, str]:
        """What is said of a file of this run; with changes, of one that lies, and is signed all the same."""
        self.stage.chain.mine()  # a head of now
        made = of_owner(self.folder, None)
        made.keep()
        assert made.place is not None
        run = FailedRun(
            run_id=self.run.grant.run_id,
            chain_id=self.stage.chain.chain_id,
            consortium=self.stage.room.consortium,
            compose_hash=self.run.recipe.compose_hash,
        )
        error = JobError(Code.JOB_TIMEOUT, "too slow")
        file = self.folder / "failure.json"
        file.write_bytes(
            written(error, made.public, run=replace(run, **changes), key=key or self.run.signer_key)
        )
        return explain(file, made.place, "--rpc", rpc or self.stage.chain.url, *more)


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booked]:
    with LocalChain.start() as chain:
        stage = make_stage(chain, tmp_path_factory.mktemp("stage"))
        run = stage.granted()
        stage.open(run.envelope())
        chain.finalize()
        yield Booked(stage, run, tmp_path_factory.mktemp("owner"))


@pytest.mark.anvil
def test_with_a_chain_the_run_is_the_one_that_the_ledger_opened(booked: Booked) -> None:
    """OU-09: the reason is the enclave's whose key the gate attested."""
    status, said = booked.explain()
    assert status == 0 and "opened for this signer and recipe on " in said and "job-timeout" in said
    assert "run 1 of the consortium" in said and "not checked" not in said
    status, said = booked.explain("--json")
    facts = json.loads(said)
    assert (status, facts["code"]) == (0, "job-timeout")
    opening = booked.stage.opening(booked.run.envelope())
    assert facts["onChain"] == {
        "study": "0x" + opening.study.hex(), "number": 1, "openedAt": opening.opened_at
    }  # fmt: skip


LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "signer": ("run-mismatch", {"key": b"\x33" * 32}),
    "recipe": ("run-mismatch", {"compose_hash": b"\x34" * 32}),
    "run": ("run-not-opened", {"run_id": b"\x35" * 32}),
    "chain": ("wrong-chain", {"chain_id": 1}),
}


@pytest.mark.anvil
@pytest.mark.parametrize("lie", LIES)
def test_a_reason_that_another_wrote_is_not_shown(booked: Booked, lie: str) -> None:
    """OU-09: whoever has the public half of a report key can seal a reason to it, and sign with any key."""
    code, changes = LIES[lie]
    status, said = booked.explain("--json", **changes)
    assert (status, json.loads(said.splitlines()[0])["code"]) == (1, code)
    assert "job-timeout" not in said and "too slow" not in said


@pytest.mark.anvil
def test_a_run_of_another_consortium_is_not_this_ones(booked: Booked) -> None:
    other = booked.stage.chain.create_consortium(("hospital-A", "hospital-B"), threshold=2)
    booked.stage.chain.finalize()
    status, said = booked.explain("--json", consortium=other.consortium)
    assert (status, json.loads(said.splitlines()[0])["code"]) == (1, "run-not-opened")


@pytest.mark.anvil
def test_a_run_that_is_not_final_yet_is_not_opened(booked: Booked) -> None:
    snapshot = booked.stage.chain.snapshot()
    later = booked.stage.granted()
    booked.stage.open(later.envelope())
    young = replace(booked, run=later)
    status, said = young.explain("--json")
    assert (status, json.loads(said.splitlines()[0])["code"]) == (1, "run-not-opened")
    booked.stage.chain.finalize()
    assert young.explain()[0] == 0
    booked.stage.chain.restore(snapshot)


@pytest.mark.anvil
def test_without_an_answer_nothing_is_decided(booked: Booked) -> None:
    status, said = booked.explain("--json", rpc="http://127.0.0.1:9")
    assert (status, json.loads(said.splitlines()[0])["code"]) == (3, "chain-unreachable")
    assert "not decided" in said and "too slow" not in said
