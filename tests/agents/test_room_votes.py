# SPDX-License-Identifier: Apache-2.0
"""Owners of a room on one machine vote for its study: who voted before, and what the budgets allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.local_chain import LocalChain, account
from tests.outside import CAP_MICRO, OWNERS, Lab

from sealroom_agents.cli import main
from sealroom_agents.local.owners import private_key, write_keystore
from sealroom_agents.local.room import Room
from sealroom_agents.local.steps import affordable

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LocalChain.start() as chain:
        yield Lab.on(chain, tmp_path_factory.mktemp("lab"))


def room_of(lab: Lab, folder: Path) -> Room:
    """The laboratory's consortium as `sealroom up --local` keeps one."""
    owners = {owner: account(n) for n, owner in enumerate(OWNERS)}
    room = Room(
        folder=folder, study=str(folder), rpc=lab.chain.url, gate="http://127.0.0.1:9",
        console="http://127.0.0.1:9", consortium=lab.room.consortium, app=lab.room.app,
        ledger=lab.room.ledger, factory=lab.room.factory, owners=owners, threshold=2,
    )  # fmt: skip
    room.write()
    room.places.recipe.write_bytes(lab.recipe.compose)
    for n, owner in enumerate(OWNERS):
        write_keystore(room.places.keystore(owner), private_key(n))
    return room


def test_who_voted_before_is_told_and_the_next_votes(lab: Lab, tmp_path: Path) -> None:
    """A command that was stopped between two votes is typed again."""
    room = room_of(lab, tmp_path)
    assert affordable(lab.recipe, lab.reader.offered(room.consortium)) == 0, "nothing is registered"
    lab.register(runs=2)
    fit = affordable(lab.recipe, lab.reader.offered(room.consortium))
    assert 0 < fit <= CAP_MICRO // lab.recipe.epsilon_micro
    lab.propose(owner=0, delta_pico=0)
    words = ["room", "approve", "hospital-A", "hospital-B", "--room", str(tmp_path)]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines() == ["hospital-A: had voted for it already", "hospital-B: voted for it"]
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[1] == "hospital-B: the study is approved already"


@pytest.mark.parametrize(
    "command",
    [
        "room approve hospital-A --room {}",
        "room revoke hospital-A --reason test --room {}",
    ],
)
def test_a_room_that_does_not_run_is_told(lab: Lab, tmp_path: Path, command: str) -> None:
    """What is said is how to start it, and not to look at an endpoint that nobody chose."""
    replace(room_of(lab, tmp_path), rpc="http://127.0.0.1:9").write()
    done = CliRunner().invoke(main, command.format(tmp_path).split())
    assert done.exit_code == 1, done.output
    assert "is not running" in done.stderr and "sealroom up --local" in done.stderr


def test_govern_in_the_folder_of_a_room_says_the_same(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".sealroom").mkdir()
    replace(room_of(lab, tmp_path / ".sealroom"), rpc="http://127.0.0.1:9").write()
    monkeypatch.chdir(tmp_path)
    for url, told in (("http://127.0.0.1:9", True), ("http://127.0.0.1:7", False)):
        words = ["govern", "status", "--consortium", lab.room.consortium, "--rpc", url]
        assert ("is not running" in CliRunner().invoke(main, words).stderr) is told, url
