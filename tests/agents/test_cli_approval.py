# SPDX-License-Identifier: Apache-2.0
"""`sealroom approval`: a second machine reads a proposal from the chain, and says the page's twelve words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.agents.office import Office
from tests.local_chain import LocalChain

from sealroom_agents.cli import main
from sealroom_agents.twelve_words import twelve_words

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Four hospitals with two proposals of one recipe."""
    with LocalChain.start() as chain:
        office = Office.open(chain, tmp_path_factory.mktemp("office"))
        office.adopt()
        office.datasets()
        yield office


def asked(office: Office, *words: str) -> tuple[int, str]:
    office.chain.mine()  # a head of now
    at = "--consortium", office.room.consortium, "--rpc", office.chain.url
    done = CliRunner().invoke(main, ["approval", *words, *at])
    return done.exit_code, done.output


def test_a_second_machine_says_what_is_proposed_and_its_twelve_words(office: Office) -> None:
    """WE-01, WE-12: every study that waits is told, the oldest first, with all that its id is the hash of."""
    first, second = office.propose(by=0), office.propose("--anew", by=1, days=60)
    status, told = asked(office, "--json")
    assert status == 0, told
    found: dict[str, Any] = json.loads(told)
    assert [one["id"] for one in found["studies"]] == [first, second]
    for one in found["studies"]:
        assert tuple(one["words"]) == twelve_words(bytes.fromhex(one["id"][2:]))
    status, told = asked(office, first)
    assert status == 0, told
    flat = " ".join(told.split())
    assert " ".join(twelve_words(bytes.fromhex(first[2:]))[:4]) in flat
    for words in ("budget", "runs", "missing", "costs", "it is the first study"):
        assert words in flat
    assert second not in told


def test_an_unknown_study_is_refused(office: Office, tmp_path: Path) -> None:
    status, told = asked(office, "0x" + "66" * 32, "--json")
    assert status == 1
    assert json.loads(told.splitlines()[0])["code"] == "proposal-unknown"
    status, told = asked(office, "--expect", str(tmp_path / "study.json"))
    assert status != 0
