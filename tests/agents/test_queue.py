# SPDX-License-Identifier: Apache-2.0
"""What awaits an account, across consortia: all of it is told, and nothing that strangers make puts it off
(WE-02, WE-09, WE-12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from tests.agents.described import described
from tests.agents.following import console
from tests.local_chain import LocalChain, account, member
from tests.outside import Lab

from sealroom.encoding import to_hex
from sealroom.model import Roster
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console.app import NO_PINS, create_app
from sealroom_agents.console.models.decisions import TaskKind
from sealroom_agents.console.pins import Pinned, Pins
from sealroom_agents.console.queues import CONSORTIA
from sealroom_agents.console.tasks import GROUPS, KINDS
from sealroom_agents.index import Indexed
from sealroom_agents.store import Store

pytestmark = pytest.mark.anvil

A, B, C = (account(n) for n in range(3))
STRANGER, NEWCOMER = 8, 7


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path, database: str) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    made = Lab.on(chain, tmp_path)
    made.store = Store(database, f"file://{tmp_path / 'content'}")
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    yield made
    made.store.close()
    chain.restore(snapshot)


def web_of(lab: Lab, pins: Pins = NO_PINS) -> TestClient:
    web = TestClient(console(lab.store, lab.reader, lab.room.factory, pins=pins))
    return described(web, web.get("/openapi.json").json())


def queue(web: TestClient, account: str, **query: Any) -> dict[str, Any]:
    answer = web.get(f"/v1/accounts/{account}/tasks", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kinds(told: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in told["tasks"]]


def propose_roster(lab: Lab, owner: int, roster: Roster) -> None:
    validity = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    lab.chain.vote(lab.room, owner, "changeRoster", roster.solidity(), validity.solidity())


def test_all_that_awaits_an_account_is_told_with_what_is_missing(lab: Lab) -> None:
    """Studies with their cost, proposals that govern, seats and datasets that change hands, what waits."""
    web, chain, room = web_of(lab), lab.chain, lab.room
    lab.register()
    first = lab.propose()
    dear = lab.propose(owner=1, epsilon_micro=13_500_000, max_runs=9)
    told = queue(web, B)
    assert kinds(told) == ["decide-study", "study-waits"]
    task = told["tasks"][0]
    assert (
        task["about"] == to_hex(first)
        and task["required"]
        and task["missing"] == ["hospital-B", "hospital-C"]
    )
    assert (task["approved"], task["needed"]) == (1, 2)
    assert task["budget"] == {"run": 1_500_000, "runs": 3, "left": 4_500_000, "fit": 3}
    assert task["title"] == "May small-study run on cohort-B?"
    assert (
        "it fits, ε 4.5 of your budget is left" in task["says"] and "Without you nothing runs" in task["says"]
    )
    assert "1 other proposal waits here" in task["says"]
    assert f"approve {to_hex(first)}" in task["command"] and room.consortium in task["command"]
    (theirs,) = [one for one in queue(web, A)["tasks"] if one["kind"] == "decide-study"]
    assert theirs["about"] == to_hex(dear) and theirs["budget"]["fit"] == 3, "of nine"
    assert "3 of them fit" in theirs["says"]
    voter = queue(web, C)
    assert kinds(voter) == [], "it has never acted here: its creator alone named it"
    assert voter["strangers"] == 1 and voter["total"] == 0
    assert sorted(kinds(queue(web, C, where="strangers"))) == ["decide-study", "decide-study"]

    propose_roster(lab, 0, Roster(remove=("hospital-C",), add=(), threshold=2))
    chain.send(2, room.consortium, interface("Consortium").encode("confirm"))
    chain.send(1, room.consortium, interface("Consortium").encode("offerSeat", account(NEWCOMER)))
    offer = interface("Ledger").encode("offer", [lab.datasets[1].id], account(NEWCOMER))
    chain.send(1, room.ledger, offer)
    told = queue(web, C)
    assert kinds(told) == ["removal", "decide-study", "decide-study"]
    assert "govern withdraw" in told["tasks"][0]["command"]
    told = queue(web, B)
    assert sorted(kinds(told)[:2]) == ["dataset-offered", "seat-offered"], "what may be taken comes first"
    assert kinds(told)[2] == "decide-roster"
    assert queue(web, account(NEWCOMER))["tasks"] == []
    assert sorted(kinds(queue(web, account(NEWCOMER), where="strangers"))) == [
        "accept-dataset",
        "accept-seat",
    ]

    chain.approve(room, first, 1)
    chain.allow(room, lab.datasets[1], cap_micro=1_000_000)
    lab.store.submit(
        "0x" + "77" * 32, compose_hash=lab.compose_hash, consortium=room.consortium, missing=[], waiting=False
    )
    told = queue(web, B)
    assert "budget-short" in kinds(told) and "run" in kinds(told) and "study-waits" not in kinds(told)
    (short,) = [one for one in told["tasks"] if one["kind"] == "budget-short"]
    assert short["about"] == to_hex(lab.datasets[1].id) and "govern allow" in short["command"]
    chain.revoke(room, 1, "consent withdrawn")
    assert "veto-stands" in kinds(queue(web, B))


def test_what_a_no_closed_awaits_nobody(lab: Lab) -> None:
    """Only whoever proposed it is told, once; what governs is closed by noes, too."""
    web, chain, room = web_of(lab), lab.chain, lab.room
    lab.register()
    study = lab.propose()
    chain.send(2, room.consortium, interface("Consortium").encode("confirm"))
    assert [kinds(queue(web, one)) for one in (A, B, C)] == [
        ["study-waits"],
        ["decide-study"],
        ["decide-study"],
    ]
    chain.withdraw(room, study, 1)
    assert [kinds(queue(web, one)) for one in (A, B, C)] == [["study-refused"], [], []]
    (task,) = queue(web, A)["tasks"]
    assert (task["group"], task["title"]) == ("do", "small-study was turned down")
    assert task["says"].startswith("hospital-B said no") and task["about"] == to_hex(study)

    roster = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = chain.validity(chain.state(room).roster_digest)
    propose_roster(lab, 0, roster)
    assert kinds(queue(web, B)) == ["decide-roster"] and kinds(queue(web, C)) == ["removal"]
    chain.withdraw(room, roster.under(validity).id, 2)
    (task,) = queue(web, B)["tasks"]
    assert "1 of 3 approved, needs 2; hospital-C said no; hospital-B has not." in task["says"]
    chain.withdraw(room, roster.under(validity).id, 0)
    assert kinds(queue(web, B)) == [] and kinds(queue(web, A)) == ["study-refused"]


def test_an_app_that_lets_no_machine_boot_is_told_of(lab: Lab) -> None:
    """Owners may adopt a gate without a machine; dstack's key service refuses all then."""
    web, chain, room = web_of(lab), lab.chain, lab.room
    lab.chain.send(0, room.consortium, interface("Consortium").encode("confirm"))
    assert kinds(queue(web, A)) == []
    signer, digest = account(9), b"\x01" * 32
    chain.adopt_platform(
        room, gate_root=digest, gate_signer=signer, gate_compose=digest, os_images=[], devices=[]
    )
    (task,) = queue(web, A)["tasks"]
    assert (task["kind"], task["group"]) == ("no-machine", "do") and "govern machines" in task["command"]
    assert task["page"] == f"/studies/{room.consortium}/change#platform"


def test_strangers_put_nothing_off_and_cost_nothing(lab: Lab) -> None:
    """WE-12: whoever makes consortia that name an account fills a list of its own, however many they are."""
    lab.register()
    lab.propose()
    web = web_of(lab)
    before, statements = queue(web, B), asked(lab)
    hostile = [member(account(STRANGER), "hospital-A"), member(B, "hospital-B")]
    for number in range(CONSORTIA + 2):
        room = lab.chain.create_consortium(hostile, threshold=1)
        if number < 3:
            lab.chain.send(STRANGER, room.consortium, interface("Consortium").encode("confirm"))
    after = queue(web, B)
    assert after["tasks"] == before["tasks"] and after["total"] == 1
    assert after["strangers"] == CONSORTIA + 2
    assert asked(lab) == statements, "as many queries as before"
    page = queue(web, B, where="strangers")
    assert page["consortia"] == CONSORTIA and lab.room.consortium not in {
        one["consortium"] for one in page["tasks"]
    }
    rest = queue(web, B, where="strangers", **{"from": CONSORTIA})
    assert rest["consortia"] == 2
    assert set(kinds(page)) <= {"no-platform"}
    html = web.get("/needs-you", params={"account": B}).text
    assert html.count('class="task decide"') == 1 and "27 further consortia name this account" in html
    lists = web.get("/needs-you", params={"account": B, "where": "strangers"}).text
    assert "this account has never acted itself" in lists
    assert "from=25" in lists

    owners = {A: "hospital-A", C: "hospital-C"}
    pinned = Pinned(lab.chain.chain_id, lab.room.consortium, "The \u202ecohort", "", "", owners)
    vouched = queue(web_of(lab, Pins((pinned,))), C)
    assert kinds(vouched) == ["decide-study", "confirm-seat"], "its operator vouches for it"
    assert (vouched["total"], vouched["strangers"]) == (1, 0)
    assert vouched["tasks"][0]["name"] == "The \\u{202e}cohort"


def test_the_form_takes_any_account_and_keeps_none(lab: Lab) -> None:
    """RE-11: an account that is mistyped is told apart; no cookie is set, and nothing of who asks is kept."""
    lab.register()
    web = web_of(lab)
    page = web.get("/needs-you")
    assert page.status_code == 200 and 'name="account"' in page.text and "set-cookie" not in page.headers
    for given in ("0x12", "<script>", "0x" + "AB" * 20, "x" * 99):
        refused = web.get("/needs-you", params={"account": given})
        assert refused.status_code == 400 and 'role="alert"' in refused.text
        assert "<script>" not in refused.text.split("<main")[1]
    nobody = web.get("/needs-you", params={"account": "0x" + "ab" * 20})
    assert "Nothing needs you" in nobody.text and nobody.headers["cache-control"] == "no-store"
    assert web.get("/v1/accounts/0x12/tasks").status_code == 400


def test_each_kind_of_task_has_a_group_and_is_in_the_description() -> None:
    assert set(KINDS) == set(TaskKind.__args__) and set(KINDS.values()) == set(GROUPS)  # type: ignore[attr-defined]


def asked(lab: Lab) -> int:
    """How many queries an answer takes, once what it is of is drawn."""
    indexed = Indexed(lab.store, lab.room.factory)
    web = TestClient(create_app(lab.store, lab.reader, indexed, allowed_hosts=["testserver"]))
    queue(web, B)
    seen: list[Any] = []

    def note(*told: Any) -> None:
        seen.append(told)

    engines = lab.store._engine, lab.store._reads
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    queue(web, B)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    return len(seen)
