# SPDX-License-Identifier: Apache-2.0
"""`sealroom card` and `sealroom seal` against a real chain, and a gate that answers over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.answering import answering
from tests.agents.shell import forked
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import ANALYSIS, make_gate, render_recipe, write_cohort
from tests.local_chain import LocalChain

pytestmark = pytest.mark.anvil

SECOND = "sealroom seal --owner hospital-A --in cohort-A.parquet --dataset-version 2"
"""The stage registers the first version."""


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A chain on which the study is approved; made once."""
    with LocalChain.start() as chain:
        yield make_stage(chain, tmp_path_factory.mktemp("stage"))


@pytest.fixture
def stage(settled: Stage) -> Iterator[Stage]:
    """The same for one test: what it does on chain is undone afterwards."""
    snapshot = settled.chain.snapshot()
    settled.chain.mine()
    yield replace(settled, reader=settled.chain.reader())
    settled.chain.restore(snapshot)


@pytest.fixture
def sitting(stage: Stage, tmp_path: Path) -> Path:
    """A folder with what an owner starts from."""
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    (tmp_path / "app-compose.json").write_bytes(stage.recipe)
    write_cohort(tmp_path / "cohort-A.parquet")
    return tmp_path


def card_command(stage: Stage, gate: str) -> str:
    """Write a card for the stage's consortium."""
    stage.chain.mine()  # a head of now
    return (
        f"sealroom card --rpc {stage.chain.url} --consortium {stage.room.consortium} "
        f"--recipe app-compose.json --gate {gate} --simulated-root root.der"
    )


def test_a_card_is_written_checked_and_sealed_to(stage: Stage, sitting: Path) -> None:
    with answering(stage.gate.identity.encode()) as gate:
        written = forked(card_command(stage, gate), sitting)
    assert written.returncode == 0, written.stdout
    assert "agrees at finalized block" in written.stdout
    assert "warning" not in written.stdout
    root = "--simulated-root root.der"
    stage.chain.mine()  # a head of now
    sealed = forked(
        f"{SECOND} {root} --rpc {stage.chain.url} --yes --json",
        sitting,
    )
    assert sealed.returncode == 0, sealed.stdout
    assert json.loads(sealed.stdout)["wrap"]["consortium"] == stage.room.consortium


def test_a_gate_that_the_owners_did_not_adopt_gets_no_card(stage: Stage, sitting: Path) -> None:
    """AT-30: attested, but another gate."""
    other = make_gate(stage.platform, compose=b'{"name":"another gate"}')
    with answering(other.identity.encode()) as gate:
        done = forked(card_command(stage, gate), sitting)
    assert done.returncode == 1
    assert "the owners adopted" in done.stdout
    assert not (sitting / "study.json").exists()


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 3_000_000], ids=["nothing", "no identity", "too much"])
def test_an_answer_that_is_no_identity_is_one_clear_error(stage: Stage, sitting: Path, body: bytes) -> None:
    with answering(body) as gate:
        done = forked(card_command(stage, gate), sitting)
    assert done.returncode == 1
    assert done.stdout.startswith("error: ")
    assert len(done.stdout.splitlines()) <= 2


def test_a_revocation_is_told_at_the_seal_and_takes_no_new_card(stage: Stage, sitting: Path) -> None:
    """CE-20: a wrap from before a revocation opens only once the revoker, too, has approved again."""
    with answering(stage.gate.identity.encode()) as gate:
        forked(card_command(stage, gate), sitting)
    stage.chain.revoke(stage.room, 2)
    root = "--simulated-root root.der"
    stage.chain.mine()  # a head of now
    done = forked(
        f"{SECOND} {root} --rpc {stage.chain.url} --yes",
        sitting,
    )
    assert done.returncode == 0, done.stdout
    assert "revoked: nothing runs before this owner, too, approves again" in done.stdout


def test_a_card_whose_gate_was_swapped_is_refused_at_the_seal(stage: Stage, sitting: Path) -> None:
    """AT-30: the attack on an owner: a card with another gate's key, in good evidence."""
    with answering(stage.gate.identity.encode()) as gate:
        forked(card_command(stage, gate), sitting)
    other = make_gate(stage.platform, compose=b'{"name":"another gate"}')
    card = json.loads((sitting / "study.json").read_text()) | {"gate": other.identity.to_json()}
    (sitting / "study.json").write_text(json.dumps(card))
    root = "--simulated-root root.der"
    stage.chain.mine()  # a head of now
    done = forked(
        f"{SECOND} {root} --rpc {stage.chain.url} --yes",
        sitting,
    )
    assert done.returncode == 1
    assert "the owners adopted" in done.stdout


def test_a_card_for_a_recipe_not_proposed_yet_can_be_made(stage: Stage, sitting: Path) -> None:
    """Owners seal before anything is settled: the recipe is theirs to read, the chain need not know it."""
    recipe = render_recipe(sitting / "changed", analysis=ANALYSIS + "# one line more\n")
    (sitting / "app-compose.json").write_bytes(recipe)
    with answering(stage.gate.identity.encode()) as gate:
        done = forked(card_command(stage, gate), sitting)
    assert done.returncode == 0, done.stdout
