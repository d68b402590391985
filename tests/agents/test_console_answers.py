# SPDX-License-Identifier: Apache-2.0
"""Answers that the console keeps: never older than what was told before, and bounded whoever asks."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import event
from tests.local_chain import LocalChain
from tests.outside import HOLDER, OWNERS, Lab
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom_agents.console import models
from sealroom_agents.console.app import create_app
from sealroom_agents.console.routes.shared import MAX_TAKEN
from sealroom_agents.index import Follower, Indexed
from sealroom_agents.kept import LARGEST, Kept
from sealroom_agents.store import Store

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path, database: str) -> Iterator[Lab]:
    """Whose store is a database of each kind."""
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    lab.store.close()
    lab.store = Store(database, f"file://{tmp_path / 'content'}")
    yield lab
    lab.store.close()
    chain.restore(snapshot)


def follow(lab: Lab, store: Store) -> None:
    """Read the chain on, in the place of another process."""
    follower = Follower(lab.reader, store, factory=lab.room.factory)
    follower.catch_up()
    follower.release()


class Queries:
    """Counts what a store is asked."""

    def __init__(self, *stores: Store) -> None:
        self.count = 0
        for store in stores:
            for engine in (store._engine, store._reads):
                event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, *_: Any) -> None:
        self.count += 1

    def of(self, work: Any) -> int:
        """How many a piece of work takes."""
        self.count = 0
        work()
        return self.count


def kept(web: TestClient, queries: Queries, paths: dict[str, int]) -> dict[str, httpx.Response]:
    """The answers of these paths, each given again with so many queries, and by its name not at all."""
    first = {path: web.get(path) for path in [*paths, *paths]}  # a picture is drawn before a page is kept
    for path, told in first.items():
        assert told.status_code == 200, path
        again: list[httpx.Response] = []
        assert queries.of(lambda path=path, again=again: again.append(web.get(path))) == paths[path], path
        assert (again[0].content, again[0].headers["etag"]) == (told.content, told.headers["etag"])
        known = web.get(path, headers={"If-None-Match": f'"0", W/{told.headers["etag"]}'})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", told.headers["etag"])
        assert known.headers["x-frame-options"] == "DENY"
        # The back button shows what a browser keeps: a page to decide on must be loaded anew.
        caching = "no-store" if path.startswith("/studies/") else "no-cache"
        assert known.headers["cache-control"] == told.headers["cache-control"] == caching
        head = web.head(path)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", told.headers["etag"])
    return first


def test_an_answer_is_kept_while_nothing_changes_and_is_never_older_than_another(
    lab: Lab, database: str, tmp_path: Path
) -> None:
    """What another process wrote, a recipe that came, and a second that passed show in the next answer: also
    on the page of a consortium, and in what is told of a run."""
    study = lab.live()
    other = Store(database, f"file://{tmp_path / 'content'}")
    follow(lab, other)
    now = float(lab.chain.head_time())
    indexed = Indexed(lab.store, lab.room.factory, clock=lambda: now)
    app = create_app(lab.store, lab.reader, indexed, allowed_hosts=["testserver"], clock=lambda: now)
    web, queries = TestClient(app), Queries(lab.store)
    here = f"/v1/studies/{lab.room.consortium}"
    paths = {"/": 1, "/?from=0": 1, "/v1/studies": 1, "/v1/studies?sort=records": 1, here: 2}
    first = kept(web, queries, paths | {f"{here}/history": 2})
    assert first["/v1/studies"].json()["studies"] == [first[here].json()]
    assert models.Studies.model_validate_json(first["/v1/studies"].content).total == 1

    def shown() -> tuple[Any, ...]:
        """State and name of the study, in all that shows them."""
        one = web.get(here).json()
        (listed,) = web.get("/v1/studies").json()["studies"]
        assert listed == one
        assert (lab.recipe.name in web.get("/").text) == (one["name"] is not None)
        return one["state"], one["name"]

    assert shown() == ("live", None)
    hand_in = {"content": lab.recipe.compose, "headers": {"Content-Type": "application/json"}}
    assert web.put(f"/v1/recipes/{lab.compose_hash}", **hand_in).status_code == 201
    assert shown() == ("live", lab.recipe.name)
    expiry = lab.chain.study(study).expiry
    now = expiry - 0.5
    assert shown()[0] == "live"
    now = float(expiry)
    assert shown()[0] == "expired"
    now = float(lab.chain.head_time())
    assert shown()[0] == "live"
    run, page = lab.submit(), f"/studies/{lab.room.consortium}"
    kept(web, queries, {page: 4, f"/runs/{run}": 2, f"/v1/runs/{run}": 2})
    assert run[:8] in web.get(page).text and "Revoked by" not in web.get(page).text
    taken = other.claim(HOLDER)
    assert taken is not None and web.get(f"/v1/runs/{run}").json()["state"] == "starting"
    other.end(taken, "failed", code=Code.RUN_FAILED, message="it failed", failure="{}")
    assert web.get(f"/v1/runs/{run}").json()["state"] == "failed"
    assert "it failed" in web.get(f"/runs/{run}").text and "run-failed" in web.get(page).text
    another = lab.submit()
    assert another[:8] in web.get(page).text
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    follow(lab, other)
    assert shown()[0] == "stopped"
    assert "Revoked by" in web.get(page).text
    assert web.get(f"{here}/history").json()["activities"][0]["reason"] == "consent withdrawn"
    tag = {"If-None-Match": first[here].headers["etag"]}
    assert web.get(here, headers=tag).status_code == 200
    other.close()


def test_strangers_who_ask_for_anything_cost_a_bounded_number_of_queries_and_no_node(lab: Lab) -> None:
    """RE-05: of runs and consortia that are not, and of pages under any name."""
    lab.live()
    follow(lab, lab.store)
    run = lab.submit()
    with RpcProxy(lab.chain.url) as proxy:
        indexed = Indexed(lab.store, lab.room.factory)
        app = create_app(lab.store, lab.chain.reader(proxy.url), indexed, allowed_hosts=["testserver"])
        web, queries = TestClient(app), Queries(lab.store)
        for path in ("/", "/v1/studies", f"/v1/studies/{lab.room.consortium}"):
            assert web.get(path).status_code == 200
        for path, status, most in (
            ("/v1/runs/0x{hash}", 404, 3),
            ("/runs/0x{hash}", 404, 4),
            ("/v1/envelopes/0x{hash}", 404, 1),
            ("/v1/recipes/0x{hash}", 404, 1),
            ("/v1/studies/0x{address}", 404, 4),
            ("/v1/studies/0x{address}/history", 404, 4),
            ("/studies/0x{address}", 404, 5),
            ("/v1/studies?owner={hash}x", 400, 1),
            ("/v1/studies?owner={address}", 200, 3),
            ("/v1/studies?x={hash}", 200, 3),
            ("/?x={hash}{hash}{hash}", 200, 4),
            (f"/v1/runs/{run}?x={{hash}}", 200, 4),
        ):
            for _ in range(2):
                asked = path.format(hash=secrets.token_hex(32), address=secrets.token_hex(20))
                answers: list[httpx.Response] = []
                count = queries.of(lambda: answers.append(web.get(asked)))  # noqa: B023
                assert count <= most, (path, count)
                assert answers[0].status_code == status, path
        assert proxy.calls == 0


def test_what_is_kept_has_a_bound_and_displaces_what_was_asked_for_longest_ago() -> None:
    kept: Kept[int, bytes] = Kept(8000)
    kept.put(0, b"mine", 100)
    for number in range(1, 1000):
        kept.put(number, b"theirs", 100)
        assert kept.get(0) == b"mine" and kept.size <= 8000
    assert kept.get(1) is None and kept.get(999) == b"theirs"
    kept.put(0, b"longer", 8000 // LARGEST + 1)
    assert kept.get(0) is None and kept.get(999) == b"theirs", "one that is too large displaces only itself"


def test_readers_do_not_wait_for_those_whose_node_is_slow(lab: Lab) -> None:
    """RE-05: more runs are submitted at once than there are threads for them, and the node is silent."""
    lab.live()
    follow(lab, lab.store)
    run, held = lab.submit(), threading.Event()
    with RpcProxy(lab.chain.url) as proxy:
        proxy.tamper = lambda method, params, result: held.wait(PATIENCE_S) and result
        indexed = Indexed(lab.store, lab.room.factory)
        app = create_app(lab.store, lab.chain.reader(proxy.url), indexed, allowed_hosts=["testserver"])
        asyncio.run(_slow(app, lab, run, held, proxy))


async def _slow(app: FastAPI, lab: Lab, run: str, held: threading.Event, proxy: RpcProxy) -> None:
    transport = httpx.ASGITransport(app=app)
    body = {"composeHash": lab.compose_hash, "owners": list(OWNERS)}
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as web:
        try:
            posts = [asyncio.create_task(web.post("/v1/runs", json=body)) for _ in range(8 * MAX_TAKEN)]
            await asyncio.to_thread(until, lambda: proxy.calls > 0)
            for path in ("/", "/v1/studies", f"/v1/runs/{run}", f"/studies/{lab.room.consortium}"):
                assert (await web.get(path)).status_code == 200, path
            assert not any(post.done() for post in posts)
        finally:
            held.set()
        assert {(await post).status_code for post in posts} == {202}
