# SPDX-License-Identifier: Apache-2.0
"""The history for auditors: by kind, owner and period, what was booked meanwhile, and as a file."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select, update
from tests.agents.following import console
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom_agents.chain.contracts import interface
from sealroom_agents.console.history import COLUMNS, KINDS, _plain
from sealroom_agents.index import Follower
from sealroom_agents.store import Store
from sealroom_agents.store.tables import ChainEventRow, CursorRow, TimeRow

pytestmark = pytest.mark.anvil

DAY_S = 86_400
FORMULA = '=HYPERLINK("http://elsewhere","seen")'


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@dataclass(frozen=True)
class Story:
    """A study that was approved and run on one day, and revoked two days later."""

    lab: Lab
    web: TestClient
    days: tuple[str, str]
    """First and last day, UTC."""

    @property
    def api(self) -> str:
        return f"/v1/studies/{self.lab.room.consortium}"

    def kinds(self, query: str = "") -> list[str]:
        answer = self.web.get(f"{self.api}/history?{query}")
        assert answer.status_code == 200, answer.text
        return [one["kind"] for one in answer.json()["activities"]]


@pytest.fixture
def story(chain: LocalChain, tmp_path: Path, database: str) -> Iterator[Story]:
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    lab.store.close()
    lab.store = Store(database)
    study = lab.live(runs=2)
    for _ in range(2):
        lab.open_run(study, secrets.token_bytes(32), epsilon_micro=700_000, delta_pico=5)
    first = _day(chain)
    chain.rpc("evm_increaseTime", 2 * DAY_S)
    chain.revoke(lab.room, 2, FORMULA)
    with TestClient(console(lab.store, lab.reader, lab.room.factory)) as web:
        yield Story(lab, web, (first, _day(chain)))
    lab.store.close()
    chain.restore(snapshot)


def _day(chain: LocalChain) -> str:
    seconds = int(chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def after(day: str, days: int) -> str:
    return (datetime.fromisoformat(day) + timedelta(days=days)).strftime("%Y-%m-%d")


def test_each_event_has_the_time_of_its_block(story: Story) -> None:
    for one in story.web.get(f"{story.api}/history").json()["activities"]:
        block = story.lab.chain.rpc("eth_getBlockByNumber", hex(one["block"]), False)
        assert one["time"] == int(block["timestamp"], 16), one


def test_kind_owner_and_period_choose(story: Story) -> None:
    everything = story.kinds()
    assert everything[0] == "revoked"
    assert sorted(one for kind in KINDS for one in story.kinds(f"kind={kind}")) == sorted(everything)
    assert story.kinds("kind=runs") == ["run-opened", "run-opened"]
    assert story.kinds("kind=revocations") == ["revoked"]
    assert set(story.kinds("owner=hospital-C")) == {"revoked"}
    assert "approved" in story.kinds("owner=hospital-A&kind=approvals")
    first, last = story.days
    assert story.kinds(f"since={after(first, 1)}") == ["revoked"]
    assert story.kinds(f"until={first}") == everything[1:]
    assert story.kinds(f"since={last}&until={last}&kind=&owner=") == ["revoked"]
    assert story.kinds(f"since={after(last, 1)}") == []


def test_the_vote_that_decides_is_its_owner_s(story: Story) -> None:
    """CH-16: no event but that of the effect tells of the last approval. It is a line of who gave it, on the
    page, in the file, and under that owner's filter."""
    lines = story.web.get(f"{story.api}/history?kind=approvals").json()["activities"]
    (pinned,) = [one for one in lines if one["kind"] == "study-pinned"]
    assert pinned["who"] == "hospital-B" and pinned["what"].startswith("approved, and by that study ")
    assert story.kinds("owner=hospital-B&kind=approvals") == ["study-pinned"]
    assert "study-pinned" not in story.kinds("owner=hospital-A")
    rows = csv.DictReader(io.StringIO(story.web.get(f"{story.api}/history.csv").text, newline=""))
    assert [row["who"] for row in rows if row["kind"] == "study-pinned"] == ["hospital-B"]
    # Of the platform, which the first owners adopted before.
    platform = story.web.get(f"{story.api}/history?kind=platform").json()["activities"]
    (adopted,) = [one for one in platform if one["kind"] == "platform-adopted"]
    assert adopted["who"] in ("hospital-A", "hospital-B", "hospital-C")
    assert story.kinds(f"owner={adopted['who']}&kind=platform").count("platform-adopted") == 1


def test_what_a_holder_does_with_a_dataset_is_its_own(story: Story) -> None:
    """Budgets and versions name no account; they are the holder's of then, and its filter shows them."""
    lines = story.web.get(f"{story.api}/history?kind=datasets").json()["activities"]
    mine = [one for one in lines if one["kind"] in ("lifetime-set", "allowed", "version-added")]
    assert {one["who"] for one in mine} == {"hospital-A", "hospital-B"}
    for owner in ("hospital-A", "hospital-B"):
        told = [one["kind"] for one in lines if one["who"] == owner]
        assert story.kinds(f"owner={owner}&kind=datasets") == told and "allowed" in told


def test_an_owner_is_found_by_the_account_that_it_had_before(story: Story) -> None:
    """CH-16: a seat that moved; what its former account did is its own still."""
    lab = story.lab
    before = len(story.kinds("owner=hospital-A"))
    contract = interface("Consortium")
    lab.chain.send(0, lab.room.consortium, contract.encode("offerSeat", account(7)))
    lab.chain.advance(2 * DAY_S + 1)
    lab.chain.send(7, lab.room.consortium, contract.encode("acceptSeat", account(0)))
    told = story.kinds("owner=hospital-A")
    assert told[:2] == ["seat-moved", "seat-offered"] and len(told) == before + 2


def test_what_cannot_be_asked_is_refused_by_name(story: Story) -> None:
    """RE-11: the answer names the parameter, for JSON, for the file and for the page."""
    for query, name in (
        ("kind=everything", "kind"),
        ("owner=hospital-Z", "owner"),
        ("since=yesterday", "since"),
        ("until=2026-02-30", "until"),
        ("since=2026-11-02&until=2026-11-01", "until"),
    ):
        for path in ("history", "history.csv", "spending"):
            answer = story.web.get(f"{story.api}/{path}?{query}")
            assert answer.status_code == 400 and answer.json()["code"] == "malformed", (path, query)
            assert answer.json()["detail"].startswith(name)
        assert story.web.get(f"/studies/{story.lab.room.consortium}/history?{query}").status_code == 400


def test_what_runs_booked_is_added_up_by_dataset(story: Story) -> None:
    first, last = story.days
    told = story.web.get(f"{story.api}/spending").json()
    assert told["whole"] is True
    booked = {one["name"]: (one["runs"], one["epsilonMicro"], one["deltaPico"]) for one in told["datasets"]}
    assert booked == {"cohort-A": (2, 1_400_000, 10), "cohort-B": (2, 1_400_000, 10)}
    assert {one["holder"] for one in told["datasets"]} == {"hospital-A", "hospital-B"}
    assert story.web.get(f"{story.api}/spending?since={last}").json()["datasets"] == []
    assert story.web.get(f"{story.api}/spending?until={first}").json() == told


def test_the_file_has_every_line_and_computes_nothing(story: Story) -> None:
    """WE-09: an owner's words that are a formula stay words in a spreadsheet."""
    answer = story.web.get(f"{story.api}/history.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(head) == COLUMNS
    told = story.web.get(f"{story.api}/history").json()["activities"]
    assert [row[3] for row in rows] == [one["kind"] for one in told]
    revoked = dict(zip(COLUMNS, rows[0], strict=True))
    assert revoked["reason"] == "'" + FORMULA
    assert len(revoked["transaction"]) == len(revoked["block_hash"]) == 66
    for begin in "=+-@\t\r\uff1d":
        assert _plain(begin + "1") == "'" + begin + "1"
    # Where commas are decimal, spreadsheets split at semicolons.
    assert _plain("stop;=1; -1") == "stop;'=1;' -1"
    assert _plain("\n=1") == "'\n'=1"
    assert _plain("stop; it is over - a=1") == "stop; it is over - a=1"
    only = story.web.get(f"{story.api}/history.csv?kind=revocations").text
    assert only.count("\r\n") == 2


def test_ids_are_whole_in_the_file_and_on_paper(story: Story) -> None:
    told = story.web.get(f"{story.api}/history").json()["activities"]
    page = story.web.get(f"/studies/{story.lab.room.consortium}/history").text
    pinned = next(one["what"] for one in told if one["kind"] == "study-pinned")
    study = next(word for word in pinned.split() if word.startswith("0x"))
    assert len(study) == 66
    whole = f'{study[:8]}<span class="mid">{study[8:-4]}</span>{study[-4:]}'
    assert f'<code class="hash">{whole}</code>' in page
    assert "…" not in "".join(one["what"] for one in told)
    assert study in story.web.get(f"{story.api}/history.csv").text


def test_files_have_the_ids_to_filter_by(story: Story) -> None:
    """Of each line the study, the datasets and the accounts that acted, in columns of their own."""
    told = story.web.get(f"{story.api}/history").json()["activities"]
    rows = [*csv.DictReader(io.StringIO(story.web.get(f"{story.api}/history.csv").text, newline=""))]
    for row, one in zip(rows, told, strict=True):
        assert (row["run"], row["study"]) == (one["run"] or "", one["study"] or "")
        assert row["datasets"].split() == one["datasets"] and row["accounts"].split() == one["accounts"]
        assert len(one["accounts"]) == len([name for name in one["who"].split(", ") if name]), one
    by_kind = {one["kind"]: one for one in told}
    study = by_kind["study-pinned"]["study"]
    registered = {one["datasets"][0] for one in told if one["kind"] == "dataset-registered"}
    for kind, acted in (
        ("study-proposed", [account(0)]),
        ("study-pinned", [account(1)]),
        ("run-opened", []),
        ("revoked", [account(2)]),
    ):
        one = by_kind[kind]
        assert (one["study"], one["accounts"]) == (study, acted), kind
        assert len(one["datasets"]) == 2 and set(one["datasets"]) <= registered, kind
    assert len({one["run"] for one in told if one["kind"] == "run-opened"} - {None}) == 2
    assert by_kind["allowed"]["accounts"] and by_kind["allowed"]["study"] is None
    # A change of the platform ends the study that was live, and is none of its own.
    assert by_kind["platform-adopted"]["study"] is None and by_kind["platform-adopted"]["datasets"] == []


def test_what_was_asked_for_stands_in_the_report(story: Story) -> None:
    address = f"/studies/{story.lab.room.consortium}/history"
    page = story.web.get(f"{address}?kind=approvals&owner=hospital-C").text
    assert "events of the kind “approvals”, acts of the owner hospital-C" in page
    assert "kind and owner do not narrow this table" in page
    everything = story.web.get(address).text
    assert 'id="filter"' not in everything and 'id="unfiltered"' not in everything


def test_the_page_is_the_report(story: Story) -> None:
    page = story.web.get(f"/studies/{story.lab.room.consortium}/history?kind=runs").text
    for words in ("Privacy budget booked in this period", "1.4", "2 lines", "history.csv?kind=runs"):
        assert words in page, words
    assert (
        "evidence" in page and "revoked" not in page.lower().split('<h2 id="lines">')[1].split("</table>")[0]
    )


def test_a_block_that_is_not_the_one_of_the_event_has_no_time(story: Story) -> None:
    """CH-29: a log that names a block which the chain has not got says nothing of time; it is shown, and in
    a period it is left out by its place alone."""
    lab = story.lab
    lab.chain.mine(1)
    story.kinds()
    with lab.store.writing() as session:
        session.execute(delete(TimeRow))
        session.execute(
            update(ChainEventRow).where(ChainEventRow.name == "Revoked").values(block_hash=bytes(32))
        )
    lab.chain.mine(1)
    Follower(lab.reader, lab.store, factory=lab.room.factory).catch_up()
    with lab.store.writing() as session:
        session.execute(update(CursorRow).values(revision=CursorRow.revision + 1))
    newest, *others = story.web.get(f"{story.api}/history").json()["activities"]
    assert newest["time"] is None and all(one["time"] for one in others)
    assert story.kinds(f"since={after(story.days[0], 1)}") == ["revoked"]


def test_strangers_cost_no_header(story: Story) -> None:
    """OP-10: of consortia that only their creators declared no times are asked for."""
    lab = story.lab
    story.kinds()
    other = lab.chain.create_consortium(lab.room.owners, threshold=2)
    lab.chain.send(0, other.consortium, interface("Consortium").encode("confirm"))
    story.kinds()
    with lab.store.reading() as session:
        timed = {*session.scalars(select(TimeRow.block))}
        blocks = {
            one: {*session.scalars(select(ChainEventRow.block).where(ChainEventRow.consortium == one))}
            for one in (lab.room.consortium, other.consortium)
        }
    assert blocks[lab.room.consortium] <= timed
    assert blocks[other.consortium] and not blocks[other.consortium] & timed
