# SPDX-License-Identifier: Apache-2.0
"""A history that is longer than a walk goes back: every view that uses it says so."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.agents.office import STRANGER, Office
from tests.local_chain import LocalChain, account

from sealroom_agents.errors import ToolError
from sealroom_agents.governance import deciding, seeing
from sealroom_agents.governance.desk import Desk
from sealroom_agents.governance.ways.way import Way

pytestmark = pytest.mark.anvil
TOLD = "what happened before is not told here"
REACH = 6


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def long(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, str, str]:
    """hospital-D fills blocks, after a study was pinned and machines were proposed; others are, later."""
    office = Office.open(chain, tmp_path_factory.mktemp("long"))
    office.adopt()
    office.datasets()
    office.approve(office.propose(), 1, 2, 3)
    early = str(office.govern("machines", "--device", "0x" + 64 * "7", by=0)["proposal"])
    for n in range(REACH):
        office.govern("offer-seat", "--to", account(6 + n % 2), by=3)
    late = str(office.govern("machines", "--device", "0x" + 64 * "8", by=0)["proposal"])
    return office, early, late


def desk(office: Office, *, reach: int = REACH) -> Desk:
    """A desk that goes back a few blocks."""
    office.chain.mine()  # a head of now: of an old one it warns
    way = Way(wallet=None, account=account(STRANGER))
    return Desk(
        urls=[office.chain.url],
        consortium=office.room.consortium,
        way=way,
        confirm=lambda question: None,
        show=lambda lines: None,
        reach=reach,
    )


def test_what_is_open_says_how_far_it_was_read(long: tuple[Office, str, str]) -> None:
    office, early, late = long
    answer = seeing.pending_(desk(office))
    found = [one["id"] for one in answer.facts["proposals"]]
    assert late in found and early not in found
    assert any(TOLD in words for words in answer.warnings)
    whole = seeing.pending_(desk(office, reach=100))
    assert [one["id"] for one in whole.facts["proposals"]] == [early, late] and whole.warnings == ()


def test_a_history_that_was_read_in_part_says_so(long: tuple[Office, str, str]) -> None:
    office, *_ = long
    answer = seeing.history_(desk(office), limit=100)
    assert len({one["block"] for one in answer.facts["events"]}) == REACH
    assert any(TOLD in words for words in answer.warnings)
    assert seeing.history_(desk(office), limit=2).warnings == ()
    whole = seeing.history_(desk(office, reach=100), limit=100)
    assert whole.warnings == () and len(whole.facts["events"]) > REACH


def test_a_proposal_that_is_older_is_not_called_unknown(long: tuple[Office, str, str]) -> None:
    office, early, late = long
    for action in (partial(seeing.show, recipe=None), deciding.remove_silent):
        with pytest.raises(ToolError) as refused:
            action(desk(office), proposal=bytes.fromhex(early[2:]))
        assert refused.value.code == "proposal-unknown" and "read back to block" in refused.value.message
    assert seeing.show(desk(office), proposal=bytes.fromhex(late[2:]), recipe=None).warnings == ()


def test_the_study_before_is_not_called_none(long: tuple[Office, str, str]) -> None:
    office, *_ = long
    answer = deciding.propose(
        desk(office),
        recipe=Path(office.file("app-compose.json")),
        registrations=(),
        chosen=(),
        runs=1,
        days=30,
        out=None,
        draft=True,
        anew=False,
        before=None,
        policy=None,
    )
    words = [value for label, value in answer.lines if label == "differs"]
    assert words == ["not known: the study approved last is older than the history that was read"]
    assert any(TOLD in words for words in answer.warnings)


def test_the_vote_that_decides_is_told(long: tuple[Office, str, str]) -> None:
    """No event but that of the effect tells of the last approval; the earlier votes may lie behind what is
    shown."""
    office, *_ = long
    events = seeing.history_(desk(office, reach=100), limit=100).facts["events"]
    (pinned,) = [n for n, one in enumerate(events) if one["event"] == "StudyPinned"]
    assert events[pinned]["words"].startswith("hospital-D approved, and so: study ")
    (adopted,) = [one for one in events if one["event"] == "PlatformAdopted"]
    assert " approved, and so: platform " in adopted["words"]
    short = seeing.history_(desk(office, reach=100), limit=pinned + 1).facts["events"]
    assert short[-1] == events[pinned]
