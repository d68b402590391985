# SPDX-License-Identifier: Apache-2.0
"""What strangers and single owners do to a console's pages: no query brings it a fault of its own, and no
owner's proposals hide what others approved (WE-01, RE-02)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import get_args

import pytest
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel
from tests.agents.following import console
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom_agents.chain import ChainReader
from sealroom_agents.console import studies
from sealroom_agents.console.app import create_app
from sealroom_agents.console.change_page import Kind, What
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.routes import decisions, history, recipes
from sealroom_agents.index import Follower, Indexed

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LocalChain.start() as chain:
        made = Lab.on(chain, tmp_path_factory.mktemp("strangers"))
        made.store.add_recipe(made.compose_hash, made.recipe.compose)
        made.register()
        yield made


HOSTILE = (
    "", "-1", "0", "²", "\u0661", "9" * 99, "nan", "1e999", "inf", "\x00", "'", "<script>", "[" * 90,
    "0x" + "z" * 64, "0x" + "\u0661" * 64, "0x" + "F" * 64, "0x" + "f" * 64, "0x" + "f" * 40, "0x12",
    "9999-12-31", "0001-01-01", "2026-02-30", "0000-00-00",
)  # fmt: skip
FEW = ("²", "9" * 99, "0x" + "z" * 64, "9999-12-31")
ACTS = ("", *get_args(Kind), *get_args(What))


def follow(lab: Lab) -> None:
    """Read what happened on the chain meanwhile."""
    lab.chain.mine()
    follower = Follower(lab.reader, lab.store, factory=lab.room.factory)
    follower.catch_up()
    follower.release()


def parameters(of: Dependant) -> list[ModelField]:
    """Of a query, those of what it depends on among them."""
    return [*of.query_params, *(one for each in of.dependencies for one in parameters(each))]


def queries(route: APIRoute) -> Iterator[dict[str, str]]:
    """Each parameter of a route with each hostile value; those of the changes in each of them."""
    for one in parameters(route.dependant):
        kind = one.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = [name for name in kind.model_fields if name != "what"]
            yield from ({"what": what, name: text} for what in ACTS for name in fields for text in FEW)
        else:
            yield from ({one.alias: text} for text in HOSTILE)


def test_no_query_of_a_stranger_is_a_fault_of_the_console(lab: Lab) -> None:
    """Of all routes that are read; what a test client does not raise was answered."""
    indexed = Indexed(lab.store, lab.room.factory)
    follow(lab)
    app = create_app(lab.store, lab.reader, indexed, allowed_hosts=("testserver",))
    names = {"consortium": lab.room.consortium, "network": "x", "name": "x"}
    tried = 0
    with TestClient(app) as web:
        for route in app.routes:
            if not isinstance(route, APIRoute) or "GET" not in route.methods or "events" in route.path:
                continue
            path = re.sub(r"{(\w+)[^}]*}", lambda found: names.get(found[1], "0x" + "ab" * 32), route.path)
            for query in queries(route):
                answer = web.get(path, params=query)
                assert answer.status_code not in (500, 503), (path, query, answer.text[-500:])
                tried += 1
    assert tried > 1000


def test_who_proposes_much_hides_nothing_that_was_approved(lab: Lab) -> None:
    pinned = lab.propose()
    lab.chain.approve(lab.room, pinned, 1)
    for runs in range(2, 12):
        last = lab.propose(owner=2, max_runs=runs)
    lab.chain.finalize()
    web = TestClient(console(lab.store, lab.reader, lab.room.factory))
    page = web.get(f"/studies/{lab.room.consortium}", params={"study": "0x" + last.hex()}).text
    (told,) = re.findall('data-earlier="([^"]*)"', page)
    named = {one["study"]: one for one in json.loads(unescape(told))}
    assert named["0x" + pinned.hex()]["pinned"] and len(named) == 3
    assert f'Since the study that was pinned last, study <code class="wrap">0x{pinned.hex()}' in page
    for owner in (0, 1):
        assert account(owner) in named["0x" + pinned.hex()]["by"]


def test_a_node_that_is_away_is_no_fault_of_the_query(lab: Lab) -> None:
    follow(lab)
    away = ChainReader(["http://127.0.0.1:1"], timeout_s=1.0)
    app = create_app(lab.store, away, Indexed(lab.store, lab.room.factory), allowed_hosts=("testserver",))
    path = f"/studies/{lab.room.consortium}/change?dataset=0x{'ab' * 32}"
    answer = TestClient(app).get(path)
    assert answer.status_code == 503 and "That cannot be read." not in answer.text


def test_an_export_has_each_event_once_while_others_come(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "EXPORT_PAGE", 3)
    follow(lab)
    indexed = Indexed(lab.store, lab.room.factory)
    shown = studies.Studies(indexed, lab.reader, lab.store, Recipes(lab.store))
    consortium = lab.room.consortium
    before, total = shown.happened(consortium, start=0, most=500)
    pages = shown.all_happened(consortium, studies.ALL)
    found = next(pages)
    lab.propose(owner=1, max_runs=77)
    follow(lab)
    found += [one for page in pages for one in page]
    assert [one.at for one in found] == [one.at for one in before] and len(found) == total > 6


def test_a_host_with_many_addresses_is_one_client(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-02: its whole IPv6 network counts together."""
    monkeypatch.setattr(recipes, "RECIPES_EACH", 3)
    monkeypatch.setattr(recipes, "RECIPES_WITHIN_S", 1e6)
    app = create_app(
        lab.store, lab.reader, Indexed(lab.store, lab.room.factory), allowed_hosts=("testserver",)
    )
    codes = []
    for n in range(4):
        web = TestClient(app, client=(f"2001:db8::{n:x}", 50_000))
        codes.append(web.put("/v1/recipes/0x" + "ab" * 32, json={}).status_code)
    assert codes == [422] * 3 + [429]


def test_one_client_asks_contracts_through_nodes_only_so_often(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-02: readers share few questions to nodes."""
    monkeypatch.setattr(decisions, "READ_EACH", 3)
    monkeypatch.setattr(decisions, "READ_WITHIN_S", 1e6)
    follow(lab)
    indexed = Indexed(lab.store, lab.room.factory)
    web = TestClient(create_app(lab.store, lab.reader, indexed, allowed_hosts=("testserver",)))
    path = f"/v1/studies/{lab.room.consortium}/proposals/0x{'ab' * 32}/signatures"
    assert [web.get(path).status_code for _ in range(4)] == [404] * 3 + [429]


def test_one_client_has_only_so_many_archives_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: all clients share few places."""
    monkeypatch.setattr(history, "ARCHIVES_EACH", 3)
    monkeypatch.setattr(history, "ARCHIVES_WITHIN_S", 1e6)
    follow(lab)
    indexed = Indexed(lab.store, lab.room.factory)
    app = create_app(lab.store, lab.reader, indexed, allowed_hosts=("testserver",))
    path = f"/v1/studies/{lab.room.consortium}/history.zip"
    mine, other = (TestClient(app, client=(f"192.0.2.{n}", 50_000)) for n in (1, 2))
    assert [mine.get(path).status_code for _ in range(4)] == [200] * 3 + [429]
    assert other.get(path).status_code == 200
