# SPDX-License-Identifier: Apache-2.0
"""The console: what it takes, what it refuses, and what it shows, over HTTP against a real chain."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.crypto import keccak
from fastapi.testclient import TestClient
from sqlalchemy import update
from tests.agents.described import described
from tests.agents.emitted import failure_of
from tests.agents.following import console
from tests.agents.staged import make_stage
from tests.formats.test_recipe_blocks import by_blocks
from tests.formats.test_recipe_relation import STUDY
from tests.local_chain import YEAR_S, Dataset, LocalChain, account
from tests.outside import CAP_MICRO, HOLDER, OWNERS, Lab, make_recipe
from tests.patience import until
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.model import Machines, Roster, Study, Validity
from sealroom.recipe import parse, render
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console import display, model_script
from sealroom_agents.console.app import create_app
from sealroom_agents.console.assets import STATIC
from sealroom_agents.console.middleware import MAX_BODY_BYTES
from sealroom_agents.console.results import table
from sealroom_agents.console.routes import recipes as of_recipes
from sealroom_agents.errors import ChainError
from sealroom_agents.index import Follower, Indexed
from sealroom_agents.notices import SHOWN_OF_EACH_OWNER
from sealroom_agents.store import Store
from sealroom_agents.store.tables import ConsortiumRow

pytestmark = pytest.mark.anvil

XSS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}{%print(1)%}",
    "</textarea></script><iframe src=//x>",
)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    yield Lab.on(chain, tmp_path)
    chain.restore(snapshot)


@pytest.fixture
def web(lab: Lab) -> TestClient:
    """Each answer is held against OpenAPI."""
    app = console(lab.store, lab.reader, lab.room.factory)
    web = TestClient(app, raise_server_exceptions=False)
    return described(web, web.get("/openapi.json").json())


def body_of(lab: Lab, **changes: Any) -> dict[str, Any]:
    """A request that is taken; tests change one field."""
    return {"compose": base64.b64encode(lab.recipe.compose).decode(), "owners": list(OWNERS)} | changes


def codes(answer: Any) -> list[str]:
    return [item["code"] for item in answer.json()["missing"]]


# --- submitting: 202 and what is missing ---------------------------------------------------------


def test_a_run_says_what_is_missing_until_nothing_is(lab: Lab, web: TestClient) -> None:
    """The researcher sees each step arrive: registered and allowed, approved, which proposes it, final."""
    answer = web.post("/v1/runs", json=body_of(lab))
    assert answer.status_code == 202
    run = answer.json()
    assert run["composeHash"] == lab.compose_hash
    assert run["consortium"] == lab.room.consortium
    assert run["state"] == "waiting"
    assert codes(answer) == ["not-registered", "not-registered", "not-proposed"]

    def missing() -> list[tuple[str, str | None]]:
        found = web.get(f"/v1/runs/{run['id']}").json()["missing"]
        return [(item["code"], item["owner"]) for item in found]

    lab.register()
    assert missing() == [("not-proposed", None)]
    study = lab.propose()
    assert missing() == [
        ("data-owner-approval-missing", "hospital-B"),
        ("approval-missing", "hospital-C"),
    ]
    lab.chain.approve(lab.room, study, 2)
    assert missing() == [("data-owner-approval-missing", "hospital-B")]
    lab.chain.approve(lab.room, study, 1)
    assert missing() == [("not-finalized", None)]
    lab.chain.finalize()
    assert missing() == []


def test_a_run_of_a_live_study_is_queued_at_once(lab: Lab, web: TestClient) -> None:
    lab.live()
    answer = web.post("/v1/runs", json=body_of(lab))
    assert (answer.status_code, answer.json()["state"], codes(answer)) == (202, "queued", [])


def test_a_run_of_a_revoked_study_is_queued_so_that_the_gate_refuses(lab: Lab, web: TestClient) -> None:
    lab.live()
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    answer = web.post("/v1/runs", json=body_of(lab))
    assert (answer.json()["state"], codes(answer)) == ("queued", ["revoked"])
    assert answer.json()["missing"][0]["message"] == 'revoked by hospital-C: "consent withdrawn"'


def test_after_a_revocation_a_new_proposal_waits_for_the_revoker(lab: Lab, web: TestClient) -> None:
    lab.live()
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    study = lab.propose()
    lab.chain.approve(lab.room, study, 1)
    answer = web.post("/v1/runs", json=body_of(lab))
    assert (answer.json()["state"], codes(answer)) == ("waiting", ["approval-missing"])
    assert answer.json()["missing"][0]["owner"] == "hospital-C"


def test_who_revoked_is_shown_with_the_transaction_of_the_revocation(lab: Lab, web: TestClient) -> None:
    lab.live()
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    address = f"/studies/{lab.room.consortium}"
    told = web.get(f"/v1{address}/history?kind=revocations").json()["activities"]
    page = web.get(address).text
    row = next(one for one in page.split("<tr ") if 'class="vote no">revoked' in one)
    shown = row.split('data-cell="transaction">')[1].split("</td>")[0]
    assert re.sub("<[^>]*>", "", shown).split() == [told[0]["tx"], "block", str(told[0]["block"])]


def test_a_run_over_the_budget_is_queued_so_that_the_gate_refuses(lab: Lab, web: TestClient) -> None:
    study = lab.live(epsilon_micro=2_000_000)
    assert codes(web.post("/v1/runs", json=body_of(lab))) == []
    lab.open_run(study, secrets.token_bytes(32))
    answer = web.post("/v1/runs", json=body_of(lab))
    assert (answer.json()["state"], codes(answer)) == ("queued", ["budget"])
    assert "0.5 left" in answer.json()["missing"][0]["message"]


def test_a_run_of_an_expired_study_is_queued_so_that_the_gate_refuses(lab: Lab, web: TestClient) -> None:
    expiry = lab.chain.head_time() + YEAR_S
    lab.live(expiry=expiry)
    assert codes(web.post("/v1/runs", json=body_of(lab))) == []
    app = console(lab.store, lab.reader, lab.room.factory, clock=lambda: expiry)
    answer = TestClient(app).post("/v1/runs", json=body_of(lab))
    assert (answer.json()["state"], codes(answer)) == ("queued", ["expired"])


def test_the_recipe_may_come_as_text(lab: Lab, web: TestClient) -> None:
    answer = web.post("/v1/runs", json=body_of(lab, compose=lab.recipe.compose.decode()))
    assert answer.json()["composeHash"] == lab.compose_hash


def test_recipe_bytes_come_back_exactly(lab: Lab, web: TestClient) -> None:
    web.post("/v1/runs", json=body_of(lab))
    shown = web.get(f"/v1/recipes/{lab.compose_hash}")
    assert shown.content == lab.recipe.compose
    assert shown.headers["etag"] == f'"{lab.compose_hash[2:]}"'
    assert "immutable" in shown.headers["cache-control"]
    assert web.get("/v1/recipes/0x" + "00" * 32).json()["code"] == "unknown-recipe"


def test_what_a_recipe_promises_and_computes_is_told(lab: Lab, web: TestClient, tmp_path: Path) -> None:
    """DP-03: the guarantee by name and in one sentence, tables and files, the SQL and what it compiles to."""
    (tmp_path / "relation").mkdir()
    (tmp_path / "relation" / "study.yaml").write_text(STUDY)
    relation = parse(render(tmp_path / "relation"))
    for recipe in (lab.recipe, relation):
        lab.store.add_recipe("0x" + recipe.compose_hash.hex(), recipe.compose)
    script, sql = (
        web.get(f"/v1/recipes/0x{recipe.compose_hash.hex()}/content").json()
        for recipe in (lab.recipe, relation)
    )
    assert (script["guarantee"]["name"], script["guarantee"]["mustRead"]) == ("by-reading", True)
    assert "reading the script" in script["guarantee"]["sentence"]
    assert script["analysis"] == lab.recipe.analysis and script["relation"] is None
    assert script["reads"][0] == {
        "owner": "hospital-A", "name": "cohort-A", "kind": "table", "table": "cohort",
    }  # fmt: skip
    assert (script["guarantee"]["rows"], script["guarantee"]["blocks"]) == (1, None)
    assert sql["guarantee"] == {**sql["guarantee"], "name": "by-construction", "mustRead": False}
    assert relation.relation is not None and relation.compiled is not None
    told = sql["relation"]
    assert (told["sql"], told["compiled"]) == (relation.relation.sql, relation.compiled.sql)
    assert (told["rows"], told["people"]) == (1, None) and sql["analysis"] is None
    assert told["columns"][1]["type"] == "binary fraction (64 bits)"
    columns = {column["name"]: column["type"] for column in sql["tables"][0]["columns"]}
    assert (columns["sex"], columns["scans"]) == ("category of F, M", "list of int64")
    lab.register()
    lab.propose()
    study = web.get(f"/v1/studies/{lab.room.consortium}").json()
    assert study["guarantee"] == study["proposals"][0]["guarantee"] == script["guarantee"]
    assert web.get(f"/v1/recipes/0x{'00' * 32}/content").json()["code"] == "unknown-recipe"


# --- submitting: refusals, each beside the request that is taken ---------------------------------


def test_changed_requests_are_refused_with_their_code(lab: Lab, web: TestClient) -> None:
    """RE-07, RE-11: unknown fields, values of other types and other spellings are refused."""
    assert web.post("/v1/runs", json=body_of(lab)).status_code == 202
    mutable = lab.recipe.compose.replace(b"@sha256:" + b"1" * 64, b":latest")
    for change, status, code in [
        ({"owners": ["hospital-A", "hospital-B", "hospital-X"]}, 404, "unknown-consortium"),
        ({"owners": ["hospital-A"]}, 422, "owners-mismatch"),
        ({"owners": ["hospital-A", "hospital-A"]}, 400, "malformed"),
        ({"owners": []}, 400, "malformed"),
        ({"owners": "hospital-A"}, 400, "malformed"),
        ({"owners": [1, 2]}, 400, "malformed"),
        ({"consortium": lab.room.consortium.upper().replace("0X", "0x")}, 400, "malformed"),
        ({"consortium": "0x" + "ab" * 20}, 404, "unknown-consortium"),
        ({"approved": True}, 400, "malformed"),
        ({"state": "done"}, 400, "malformed"),
        ({"compose": "not base64!"}, 400, "malformed"),
        ({"compose": 7}, 400, "malformed"),
        ({"compose": base64.b64encode(mutable).decode()}, 422, "recipe-mutable-image"),
    ]:
        answer = web.post("/v1/runs", json=body_of(lab, **change))
        assert (answer.status_code, answer.json()["code"]) == (status, code), change
        assert "traceback" not in answer.text.lower()
    told = web.post("/v1/runs", json=body_of(lab, owners=[])).json()
    assert told["field"] == "owners", "a program puts the reason where it was typed"
    other = web.put(
        f"/v1/recipes/0x{'00' * 32}",
        content=lab.recipe.compose,
        headers={"Content-Type": "application/json"},
    )
    assert (other.status_code, other.json()["field"]) == (422, "compose_hash")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"nul", 400),
        (b'{"owners":["a"],"owners":["b"],"compose":"{"}', 400),
        (b'{"compose":"{","owners":[1e400]}', 400),
        (b'{"compose":"{","owners":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"compose":"\xff","owners":["a"]}', 400),
        (b'{"compose":"\\ud800","owners":["a"]}', 400),
        (b'{"compose":"' + b"A" * 400_000 + b'","owners":["a"]}', 413),
    ],
    ids=["empty", "array", "word", "twice", "huge-number", "deep", "not-utf8", "half-surrogate", "large"],
)
def test_hostile_bodies_are_refused(web: TestClient, raw: bytes, status: int) -> None:
    """RE-02, RE-09: never a 5xx, never an echo."""
    answer = web.post("/v1/runs", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert set(answer.json()) <= {"type", "title", "status", "detail", "code", "hint", "field"}
    assert len(answer.text) < 500


def test_bodies_that_are_no_plain_json_are_refused(lab: Lab, web: TestClient) -> None:
    """RE-02, WE-05: no content encoding, and no type that another site's form can send."""
    body = json.dumps(body_of(lab)).encode()
    assert web.post("/v1/runs", content=body, headers={"Content-Type": "application/json"}).status_code == 202
    plain = web.post("/v1/runs", content=body, headers={"Content-Type": "text/plain"})
    assert (plain.status_code, plain.json()["code"]) == (415, "unsupported-media-type")
    encoded = web.post(
        "/v1/runs", content=body, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert (encoded.status_code, encoded.json()["code"]) == (415, "content-encoded")


def test_a_small_route_takes_less(web: TestClient) -> None:
    """RE-02: 64 KiB everywhere but for a recipe."""
    answer = web.post(
        "/v1/calls", content=b" " * (MAX_BODY_BYTES + 1), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")

    def chunks() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    answer = web.post("/v1/calls", content=chunks(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_another_host_name_is_refused(web: TestClient) -> None:
    """A name of another site that was pointed at this process."""
    assert web.get("/v1/healthz").status_code == 200
    answer = web.get("/v1/healthz", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (421, "unknown-host")


def test_an_idempotency_key_makes_one_run(lab: Lab, web: TestClient) -> None:
    """RE-06: a retry is the same run; the same key with another body is a conflict."""
    key = {"Idempotency-Key": "monday-1"}
    first = web.post("/v1/runs", json=body_of(lab), headers=key).json()["id"]
    assert web.post("/v1/runs", json=body_of(lab), headers=key).json()["id"] == first
    assert web.post("/v1/runs", json=body_of(lab)).json()["id"] != first
    other = web.post("/v1/runs", json=body_of(lab, compose=lab.recipe.compose.decode()), headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")


def test_two_consortia_of_the_same_owners_need_an_address(lab: Lab, web: TestClient) -> None:
    """RE-04: a run never lands at a consortium that was not meant."""
    assert web.post("/v1/runs", json=body_of(lab)).json()["consortium"] == lab.room.consortium
    twin = lab.chain.create_consortium(list(lab.room.owners), threshold=1)
    declared = web.post("/v1/runs", json=body_of(lab)).json()
    assert declared["consortium"] == lab.room.consortium, "what a stranger declares is not meant"
    lab.chain.send(2, twin.consortium, interface("Consortium").encode("confirm"))
    answer = web.post("/v1/runs", json=body_of(lab))
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous-consortium")
    named = web.post("/v1/runs", json=body_of(lab, consortium=twin.consortium))
    assert named.json()["consortium"] == twin.consortium
    lab.register()
    lab.propose()
    assert web.post("/v1/runs", json=body_of(lab)).json()["consortium"] == lab.room.consortium


def test_unknown_things_are_named(web: TestClient) -> None:
    for path, status, code in [
        ("/v1/runs/0x" + "11" * 32, 404, "unknown-run"),
        ("/v1/runs/0x" + "11" * 32 + "/events", 404, "unknown-run"),
        ("/v1/runs/0x" + "11" * 32 + "/envelope", 404, "unknown-run"),
        ("/v1/runs/0X" + "11" * 32, 400, "malformed"),
        ("/v1/runs/7", 400, "malformed"),
        ("/v1/studies/0x" + "11" * 20, 404, "unknown-consortium"),
        ("/v1/studies?from=-1", 400, "malformed"),
        ("/v1/nothing", 404, "not-found"),
        ("/v1/calls", 405, "method-not-allowed"),
    ]:
        answer = web.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path


def quiet(lab: Lab, proxy: RpcProxy) -> TestClient:
    """The application of an index that has caught up, whose own questions go through a proxy."""
    follower = Follower(lab.reader, lab.store, factory=lab.room.factory)
    follower.catch_up()
    follower.release()
    indexed = Indexed(lab.store, lab.room.factory)
    app = create_app(lab.store, lab.chain.reader(proxy.url), indexed, allowed_hosts=["testserver"])
    return TestClient(app, raise_server_exceptions=False)


def test_pages_ask_no_node_however_old_the_chain_is(lab: Lab) -> None:
    """RE-02: nor does it matter who asks how often. A proposal that the index has no votes of costs four
    questions at most."""
    study = lab.live()
    lab.chain.mine(300)
    run = lab.submit(waiting=True)
    with RpcProxy(lab.chain.url) as proxy:
        web = quiet(lab, proxy)
        address = lab.room.consortium
        pages = ["/", f"/studies/{address}", f"/runs/{run}", f"/v1/runs/{run}"]
        pages += ["/v1/studies", f"/v1/studies/{address}", f"/v1/studies/{address}/history"]
        pages += [f"/studies/{address}?study=0x{study.hex()}"]
        for path in [*pages, *pages]:
            assert web.get(path).status_code == 200, path
        assert proxy.calls == 0
        lab.chain.revoke(lab.room, 2, "consent withdrawn")
        first = web.get(f"/v1/studies/{address}").json()
        assert first["status"] == "live" and first["block"] < lab.chain.block_number()
        assert proxy.calls == 0


def test_before_the_chain_is_read_pages_say_how_far_it_is(lab: Lab) -> None:
    """Never a board that lacks a consortium, or a study that lacks its revocation."""
    lab.live()
    lab.chain.mine(100)
    follower = Follower(lab.reader, lab.store, factory=lab.room.factory)
    app = create_app(
        lab.store, lab.reader, Indexed(lab.store, lab.room.factory), allowed_hosts=["testserver"]
    )
    web = TestClient(app)
    seen = set()
    while True:
        answer = web.get(f"/v1/studies/{lab.room.consortium}")
        if answer.status_code == 200:
            break
        assert (answer.status_code, answer.json()["code"]) == (503, "index-behind")
        assert web.get("/").status_code == 503 == web.get("/v1/studies").status_code
        seen.add(answer.json()["detail"])
        follower.step()
    assert any("is read up to block" in message for message in seen)


def test_a_strangers_consortium_that_cannot_be_drawn_takes_no_other_off_the_board(lab: Lab) -> None:
    """Anyone may create one, and make a node refuse to answer about it."""
    stranger = lab.chain.create_consortium(["x"], threshold=1, salt=secrets.token_bytes(32)).consortium
    lab.chain.send(0, stranger, interface("Consortium").encode("confirm"))

    def refused(method: str, params: list[Any]) -> bool:
        return method == "eth_call" and stranger[2:] in json.dumps(params)

    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = refused
        reader = lab.chain.reader(proxy.url)
        app = console(lab.store, reader, lab.room.factory)
        web = TestClient(app, raise_server_exceptions=False)
        listed = [one["consortium"] for one in web.get("/v1/studies").json()["studies"]]
        assert lab.room.consortium in listed and stranger not in listed
        page = web.get("/")
        assert page.status_code == 200 and lab.room.consortium[2:8] in page.text
        reader.close()


def test_a_chain_that_is_away_is_said_so(tmp_path: Path) -> None:
    """A new run is not taken; pages show what was read, and how long ago."""
    with Lab.start(tmp_path) as lab:
        ahead = 0.0
        app = console(lab.store, lab.reader, lab.room.factory, clock=lambda: time.time() + ahead)
        web = TestClient(app)
        assert web.post("/v1/runs", json=body_of(lab)).status_code == 202
        assert "Behind the chain" not in web.get("/").text
        lab.chain.stop()
        answer = web.post("/v1/runs", json=body_of(lab))
        assert (answer.status_code, answer.json()["code"]) == (503, "chain-unreachable")
        ahead = 60.0
        page = web.get("/")
        assert page.status_code == 200 and "no node has answered since" in page.text
        assert "no node has answered since" in web.get("/v1/studies").json()["late"]


# --- a run's life over HTTP ----------------------------------------------------------------------


def test_the_envelope_shows_only_once_it_is_anchored(lab: Lab, web: TestClient) -> None:
    """No anchor, no output."""
    run = lab.submit()
    held = lab.take()
    lab.store.emitted(held, '{"result":{"fields":{}},"secret":"draft"}')
    state = web.get(f"/v1/runs/{run}")
    assert (state.json()["state"], state.json()["envelope"], state.json()["payload"]) == (
        "anchoring",
        None,
        None,
    )
    assert "draft" not in state.text
    assert web.get(f"/v1/runs/{run}/envelope").status_code == 404

    lab.store.anchored(held, '{"result":{"fields":{}},"anchor":{}}', message="anchored")
    state = web.get(f"/v1/runs/{run}").json()
    assert (state["state"], state["payload"]) == ("done", {"fields": {}})
    download = web.get(f"/v1/runs/{run}/envelope")
    assert download.json() == state["envelope"]
    assert "attachment" in download.headers["content-disposition"]
    digest = "0x" + sha256(download.content).hex()
    assert state["envelopeDigest"] == digest
    by_digest = web.get(f"/v1/envelopes/{digest}")
    assert by_digest.content == download.content
    assert "immutable" in by_digest.headers["cache-control"]
    known = web.get(f"/v1/envelopes/{digest}", headers={"If-None-Match": by_digest.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    for other in (lab.compose_hash, "0x" + "00" * 32):
        assert web.get(f"/v1/envelopes/{other}").json()["code"] == "unknown-envelope"


def test_a_recipe_is_handed_in_once_and_named_by_its_hash(
    lab: Lab, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-02, RE-07: bounded, parsed strictly, and kept under no other hash than its own."""
    lab.live()
    here = f"/v1/recipes/{lab.compose_hash}"
    named = {"composeHash": lab.compose_hash, "owners": list(OWNERS)}
    json_type = {"Content-Type": "application/json"}

    def put(path: str, data: bytes, **headers: str) -> tuple[int, str | None]:
        answer = web.put(path, content=data, headers=json_type | headers)
        return answer.status_code, answer.json().get("code")

    assert web.post("/v1/runs", json=named).json()["code"] == "unknown-recipe"
    assert put(f"/v1/recipes/0x{'00' * 32}", lab.recipe.compose) == (422, "recipe-hash-mismatch")
    assert put(f"/v1/recipes/0x{sha256(b'{}').hex()}", b"{}")[0] == 422
    assert put(here, b"x" * (256 * 1024 + 1)) == (413, "too-large")
    assert put(here, lab.recipe.compose, **{"Content-Type": "text/plain"}) == (415, "unsupported-media-type")
    assert web.get(here).status_code == 404
    monkeypatch.setattr("sealroom_agents.console.submission.MAX_UNUSED_RECIPES", 0)
    junk = "0x" + sha256(b"{}").hex()
    lab.store.add_recipe(junk, b"{}")
    assert [put(here, lab.recipe.compose) for _ in range(2)] == [(201, None), (200, None)]
    assert not lab.store.knows_recipe(junk), "what nobody needs goes, and keeps nobody out"
    answer = web.post("/v1/runs", json=named)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    for both in (named | {"compose": lab.recipe.compose.decode()}, {"owners": list(OWNERS)}):
        assert web.post("/v1/runs", json=both).json()["code"] == "malformed"


def test_no_flood_pushes_out_the_recipe_of_a_study_that_waits_or_is_live(
    lab: Lab, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-05: no run names it yet; what nobody proposed goes instead. Where only its creator speaks for the
    consortium, a stranger may have proposed it."""
    monkeypatch.setattr("sealroom_agents.console.submission.MAX_UNUSED_RECIPES", 1)
    others = [lab.recipe.compose.replace(b"How many people are there", b"How many %d" % n) for n in range(4)]

    def put(data: bytes) -> int:
        path = f"/v1/recipes/0x{sha256(data).hex()}"
        return web.put(path, content=data, headers={"Content-Type": "application/json"}).status_code

    def kept() -> list[bool]:
        return [lab.store.knows_recipe("0x" + sha256(one).hex()) for one in (lab.recipe.compose, *others)]

    lab.register()
    assert put(lab.recipe.compose) == put(others[0]) == 201
    assert kept() == [False, True, False, False, False], "nobody has proposed it"
    study = lab.propose()
    assert put(lab.recipe.compose) == put(others[1]) == 201
    assert kept() == [True, False, True, False, False], "it waits"
    lab.chain.approve(lab.room, study, 1)
    assert put(others[2]) == 201
    assert kept() == [True, False, False, True, False], "it is live"
    with lab.store._write() as session:
        session.execute(update(ConsortiumRow).values(declared=True))
    assert put(others[3]) == 201
    assert kept() == [False, False, False, False, True], "nobody has confirmed the consortium"


def test_a_client_hands_in_so_many_recipes_in_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: the next one is told when to come back, whatever it brings."""
    monkeypatch.setattr(of_recipes, "RECIPES_EACH", 3)
    monkeypatch.setattr(of_recipes, "RECIPES_WITHIN_S", 3e6)  # nothing comes back while the test runs
    web = TestClient(console(lab.store, lab.reader, lab.room.factory))
    path = f"/v1/recipes/{lab.compose_hash}"

    def put(data: bytes = lab.recipe.compose) -> Any:
        return web.put(path, content=data, headers={"Content-Type": "application/json"})

    assert [put().status_code, put(b"{}").status_code, put().status_code] == [201, 422, 200]
    refused = put()
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
    assert 0 < int(refused.headers["retry-after"]) <= 1_000_001
    assert web.get(path).status_code == 200, "reading is free"


def test_the_result_of_a_study_by_blocks_names_their_number(chain: LocalChain, tmp_path: Path) -> None:
    """DP-03."""
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path, recipe=parse(by_blocks()))
    web = TestClient(console(lab.store, lab.reader, lab.room.factory))
    run = lab.submit()
    told = web.get(f"/v1/recipes/{lab.compose_hash}/content").json()["guarantee"]
    assert (told["name"], told["blocks"]) == ("by-blocks", 50)
    held = lab.take()
    lab.store.emitted(held, "{}")
    anchor = {"sequence": 1, "tx": "0x" + "00" * 32, "block": 7}
    envelope = {"result": {"fields": {}, "epsilon": "1.5", "delta": "0"}, "anchor": anchor}
    lab.store.anchored(held, json.dumps(envelope), message="anchored")
    shown = web.get(f"/runs/{run}").text
    assert ">by-blocks</strong>, 50 blocks of people. Each person is in one block" in shown
    chain.restore(snapshot)


def test_a_failure_file_is_there_for_whoever_asks(lab: Lab, web: TestClient) -> None:
    run = lab.submit()
    assert web.get(f"/v1/runs/{run}/failure").json()["code"] == "no-failure"
    assert "explain-failure" not in web.get(f"/runs/{run}").text
    held = lab.take()
    written = failure_of(held).decode()
    lab.store.end(held, "failed", code=Code.RUN_FAILED, message="the run failed", failure=written)
    download = web.get(f"/v1/runs/{run}/failure")
    assert download.text == written
    assert "attachment" in download.headers["content-disposition"]
    assert "sealroom explain-failure failure.json" in web.get(f"/runs/{run}").text
    assert "job-timeout" not in written + web.get(f"/v1/runs/{run}").text


def test_a_runs_page_tells_the_chain_and_the_enclave_apart(chain: LocalChain, tmp_path: Path) -> None:
    """What a stolen gate key could anchor is not shown as proven; what happened since is told in words."""
    snapshot = chain.snapshot()
    stage = make_stage(chain, tmp_path)
    store = Store(f"sqlite:///{tmp_path / 'runs.db'}")
    web = TestClient(console(store, stage.reader, stage.room.factory))
    shown = [stage.done(), stage.granted().envelope(), stage.done()]
    shown[2] = replace(shown[2], result={**shown[2].result, "epsilon": "0.1"})
    assert shown[0].anchor is not None
    shown[1] = shown[1].with_anchor(shown[0].anchor)
    runs = []
    for envelope in shown:
        compose_hash = "0x" + envelope.receipt.compose_hash.hex()
        store.add_recipe(compose_hash, stage.recipe)
        submitted = store.submit(
            "0x" + envelope.receipt.run_id.hex(),
            compose_hash=compose_hash,
            consortium=stage.room.consortium,
            missing=[],
            waiting=False,
        )
        held = store.claim(HOLDER)
        assert held is not None
        store.emitted(held, "{}")
        store.anchored(held, envelope.encode().decode(), message="anchored")
        runs.append(f"/runs/{submitted.id}")

    def says(path: str, id: str) -> str:
        (found,) = re.findall(rf'<dd id="{id}">(.*?)</dd>', web.get(path).text)
        return re.sub(r"<[^>]+>", "", found)

    anchored, invented, altered = runs
    assert says(anchored, "anchored").startswith("Yes, by the ledger: receipt #1, on ")
    assert "approved by hospital-A, hospital-B. Since then: nobody has revoked since" in says(
        anchored, "anchored"
    )
    assert says(anchored, "proven").startswith("Not by this page.")
    for lie in (invented, altered):
        assert says(lie, "anchored") == "No. The ledger has no receipt of this result."
    chain.revoke(stage.room, 2, "consent withdrawn")
    assert "its study was revoked on " in says(anchored, "anchored")
    chain.change_roster(stage.room, remove=["hospital-C"], threshold=2)
    assert "another roster or platform governs now, which says nothing against it" in says(
        anchored, "anchored"
    )
    chain.restore(snapshot)


def test_events_stream_until_the_run_ends(lab: Lab, web: TestClient) -> None:
    run = lab.submit()

    def live() -> None:
        time.sleep(0.4)
        held = lab.take()
        lab.store.advance(held, "attesting", message="shows its quote")
        time.sleep(0.4)
        lab.store.end(held, "refused", code=Code.NOT_APPROVED, message="2 of 3")

    worker = threading.Thread(target=live)
    worker.start()
    text = web.get(f"/v1/runs/{run}/events").text
    worker.join()
    phases = [json.loads(line[6:])["phase"] for line in text.splitlines() if line.startswith('data: {"')]
    assert phases == ["queued", "starting", "attesting", "refused"]
    assert "event: end" in text
    second = int(re.findall(r"id: (\d+)", text)[1])
    resumed = web.get(f"/v1/runs/{run}/events", headers={"Last-Event-ID": str(second)}).text
    assert '"attesting"' in resumed
    assert '"starting"' not in resumed


# --- pages ---------------------------------------------------------------------------------------


def test_every_answer_carries_the_security_headers(lab: Lab, web: TestClient) -> None:
    """WE-06, WE-07, RE-08: pages, JSON, errors and static files alike; no cookie, no CORS."""
    for path in [
        "/",
        f"/studies/{lab.room.consortium}",
        "/docs",
        "/v1/studies",
        "/nothing",
        "/static/seal.svg",
    ]:
        headers = web.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'; base-uri 'none'; form-action 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert not {"set-cookie", "access-control-allow-origin", "server"} & set(headers)


class _Addresses(HTMLParser):
    """Collects what a page loads or points to, and inline code."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            if name in ("src", "href", "action", "formaction", "data", "poster", "srcset"):
                self.addresses.append(value or "")
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


NAMES_NOT_ADDRESSES = (
    "http://www.w3.org/2000/svg",
    "https://in-toto.io/Statement/v1",
    "https://sealroom.dev/result/v2",
    "https://mainnet.base.org",
    "https://basescan.org",
    "https://sepolia.base.org",
    "https://sepolia.basescan.org",
)
"""What a source says in quotes to name a format, or a chain to a wallet; no page ever asks them anything."""


def test_pages_load_nothing_from_elsewhere_and_nothing_inline(lab: Lab, web: TestClient) -> None:
    """WE-08: no third-party script, style or font; nothing that the policy would have to excuse."""
    lab.live()
    web.post("/v1/runs", json=body_of(lab))
    for path in [
        "/",
        f"/studies/{lab.room.consortium}",
        "/build",
        "/docs",
        f"/runs/{lab.submit()}",
        "/nothing",
    ]:
        page = _Addresses()
        page.feed(web.get(path).text)
        assert page.inline == [], path
        assert all(
            address.startswith(("/", "#")) and not address.startswith("//") for address in page.addresses
        )
    sources = [STATIC.parent / "face", STATIC]
    for file in [
        path for folder in sources for path in folder.rglob("*.[tjcs]*s*") if "built" not in path.parts
    ]:
        text = file.read_text()
        for name in NAMES_NOT_ADDRESSES:
            text = text.replace(f'{name}"', "").replace(f"{name}'", "")
        assert not re.search(
            r"https?://|url\((?!\"(?:data:|@fontsource))|(?:inner|outer)HTML|eval\(|document\.write", text
        ), file


def test_browsers_keep_bundles_and_ask_again_for_the_rest(lab: Lab, web: TestClient) -> None:
    names = json.loads((STATIC / "built" / "manifest.json").read_text())
    page = web.get(f"/runs/{lab.submit()}").text
    assert f'src="/static/built/{names["run.js"]}" type="module"' in page
    bundle = web.get(f"/static/built/{names['run.js']}")
    assert (bundle.status_code, bundle.headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    assert bundle.headers["cache-control"] == "public, max-age=31536000, immutable"
    mark = web.get("/static/seal.svg")
    assert mark.headers["cache-control"] == "no-cache"
    again = web.get("/static/seal.svg", headers={"If-None-Match": mark.headers["etag"]})
    assert again.status_code == 304


def test_the_board_promises_of_refusals_what_the_chain_has(web: TestClient) -> None:
    page = web.get("/").text
    assert "A refused run is on chain only where others of its transaction were opened." in page
    assert "every run, refusal and result" not in page


def test_the_board_reads_studies_from_chain(lab: Lab, web: TestClient) -> None:
    """Owners, jurisdictions, records, criteria, approved and pending, quorum, runs, revocation."""
    lab.register()
    study = lab.propose()
    web.post("/v1/runs", json=body_of(lab))
    board = web.get("/v1/studies").json()
    (row,) = [one for one in board["studies"] if one["consortium"] == lab.room.consortium]
    assert row["status"] == "forming"
    assert row["state"] == "pending"
    assert row["records"] == 2001
    assert row["name"] == "small-study"
    told = [(one["id"], one["approved"], one["required"], one["confirmed"]) for one in row["owners"]]
    assert told == [
        ("hospital-A", True, True, True),
        ("hospital-B", False, True, True),
        ("hospital-C", False, False, False),
    ]
    assert row["criteria"]["more than one jurisdiction"] == "match"
    page = web.get("/").text
    for shown in (
        "small-study",
        "hospital-C",
        "1 of 3 approved",
        "needs 2, and each whose data is read: 2",
        "2 of 3 accounts acted",
        "waits for approval",
        "2\u202f001",
    ):
        assert shown in page

    lab.chain.approve(lab.room, study, 1)
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    row = web.get(f"/v1/studies/{lab.room.consortium}").json()
    assert (row["status"], row["revokedBy"], row["revocationReason"]) == (
        "revoked",
        "hospital-C",
        "consent withdrawn",
    )
    assert "hospital-C revoked." in web.get("/").text


def test_the_study_page_shows_all_that_is_agreed(lab: Lab, web: TestClient) -> None:
    study = lab.live()
    web.post("/v1/runs", json=body_of(lab))
    run = secrets.token_bytes(32)
    lab.open_run(study, run)
    page = web.get(f"/studies/{lab.room.consortium}").text
    for shown in (
        lab.compose_hash,
        "0x" + study.hex(),
        "How many people are there by sex",
        "person_id",
        "column: age; decimals: 1; lower: 0; upper: 120",
        "ε 0.5",
        "people in a group ±",
        "unwrap(&#34;hospital-A/cohort-A.tar&#34;)",
        "1.5 of 4.5",
        "ε 1.5 of 4.5, δ 0 of 1e-6",
        "ε 4.5 and 100 runs",
        "1, the newest",
        "δ 1e-6 for at most 3 runs",
        "submitted elsewhere",
        lab.room.app,
    ):
        assert shown in page, shown


def test_another_proposal_is_read_before_it_is_approved(lab: Lab, web: TestClient, tmp_path: Path) -> None:
    """WE-09: the page with the button is always the page with the text."""
    lab.live()
    other = make_recipe(tmp_path / "other", question="Something else?", analysis="x = 1  # \u00e9\n")
    lab.store.add_recipe("0x" + other.compose_hash.hex(), other.compose)
    study = lab.chain.draft(
        lab.room, compose_hash=other.compose_hash, datasets=[dataset.id for dataset in lab.datasets]
    )
    lab.chain.approve(lab.room, study, 2)
    address = f"/studies/{lab.room.consortium}"
    page = web.get(address).text
    assert "Proposals that wait for approval" in page
    assert "Approve this recipe" not in page
    chosen = web.get(f"{address}?study=0x{study.hex()}").text
    assert "Approve this recipe" in chosen
    assert "Something else?" in chosen
    assert "1 unusual character." in chosen
    assert "\\u{e9}" in chosen
    assert web.get(f"{address}?study=0x{'00' * 32}").status_code == 404
    assert web.get(f"{address}?study=1").status_code == 400


def test_a_page_without_the_recipe_says_so_and_where_it_is_read(
    lab: Lab, web: TestClient, tmp_path: Path
) -> None:
    """WE-09: of a proposal whose bytes nobody submitted a page has hashes alone, and says how to read it."""
    lab.register()
    other = make_recipe(tmp_path / "other", question="Something else?")
    study = lab.chain.draft(
        lab.room,
        compose_hash=other.compose_hash,
        datasets=[dataset.id for dataset in lab.datasets],
        max_runs=1,
    )
    lab.chain.approve(lab.room, study, 0)
    address = f"/studies/{lab.room.consortium}?study=0x{study.hex()}"
    page = web.get(address).text
    assert "This console does not have the recipe" in page
    assert "sealroom govern approve --recipe app-compose.json" in page
    assert f'<a href="/studies/{lab.room.consortium}/change">choose' in page
    assert "for at most 1 run, until" in page
    lab.store.add_recipe("0x" + other.compose_hash.hex(), other.compose)
    until(lambda: "Something else?" in web.get(address).text)
    assert "This console does not have the recipe" not in web.get(address).text


def test_no_proposal_hides_another(lab: Lab, web: TestClient) -> None:
    """WE-09, WE-12: an owner proposes the same recipe with ten times the budget, after the honest one.

    Both are there, each by its own id, with who proposed it; neither takes the other's place by being later.
    """
    lab.register()
    honest = lab.propose()
    address = f"/studies/{lab.room.consortium}"
    alone = web.get(address).text
    assert "Approve this recipe" in alone
    greedy = lab.propose(owner=2, epsilon_micro=45_000_000, max_runs=30)
    body = web.get(f"/v1{address}").json()
    assert body["study"] == "0x" + honest.hex(), "what came first stays what the page speaks of"
    told = [
        (one["study"], one["proposedBy"], one["epsilonMicro"], one["maxRuns"]) for one in body["proposals"]
    ]
    assert told == [
        ("0x" + greedy.hex(), "hospital-C", 45_000_000, 30),
        ("0x" + honest.hex(), "hospital-A", 4_500_000, 3),
    ]
    page = web.get(address).text
    for study in (honest, greedy):
        assert f'data-proposal="0x{study.hex()}"' in page
    assert page.count("same recipe as another proposal") == 2
    assert "Approve this recipe" not in page, "whoever approves has chosen one"
    for study, terms in ((honest, "ε 4.5 and"), (greedy, "ε 45 and")):
        chosen = web.get(f"{address}?study=0x{study.hex()}").text
        assert f'data-study="0x{study.hex()}"' in chosen
        assert terms in chosen
        call = web.post(
            "/v1/calls",
            json={"consortium": lab.room.consortium, "action": "approve", "study": "0x" + study.hex()},
        ).json()
        content = lab.chain.study(study).solidity()
        assert call["data"] == "0x" + interface("Consortium").encode("approve", content, []).hex()
    lab.chain.approve(lab.room, greedy, 0)
    assert web.get(f"/v1{address}").json()["study"] == "0x" + greedy.hex(), "approvals lead, not dates"


def test_whoever_proposes_much_crowds_out_only_its_own(lab: Lab, web: TestClient) -> None:
    """RE-02: the list stays short, the honest proposal stays on it, and any other is read by its id."""
    lab.register()
    honest = lab.propose()
    flood = [lab.propose(owner=2, max_runs=10 + n) for n in range(SHOWN_OF_EACH_OWNER + 3)]
    address = f"/studies/{lab.room.consortium}"
    body = web.get(f"/v1{address}").json()
    listed = [one["study"] for one in body["proposals"]]
    newest = ["0x" + study.hex() for study in reversed(flood[3:])]
    assert listed == [*newest, "0x" + honest.hex()]
    assert body["waiting"] == len(flood) + 1
    oldest = web.get(f"{address}?study=0x{flood[0].hex()}")
    assert (oldest.status_code, "Approve this recipe" in oldest.text) == (200, True)


def test_the_first_approval_proposes_and_a_second_is_an_approval(lab: Lab, web: TestClient) -> None:
    """One content is one proposal, whoever approves it and in which order."""
    lab.register()
    study = lab.propose()
    lab.chain.approve(lab.room, study, 2)
    address = f"/studies/{lab.room.consortium}"
    (one,) = web.get(f"/v1{address}").json()["proposals"]
    assert (one["study"], one["proposedBy"]) == ("0x" + study.hex(), "hospital-A")
    assert one["approved"] == ["hospital-A", "hospital-C"]
    kinds = [item["kind"] for item in web.get(f"/v1{address}/history").json()["activities"]]
    assert kinds[:3] == ["approved", "study-proposed", "approved"]
    assert "First approved, and so proposed, by" in web.get(address).text


def test_a_no_that_counts_closes_the_headline(lab: Lab, web: TestClient) -> None:
    """An owner whose data is used said no, or too few others are left: no vote is asked for any more, and a
    proposal that can be pinned goes before one that cannot."""
    lab.register()
    study = lab.propose()
    lab.chain.withdraw(lab.room, study, 2)
    address = f"/studies/{lab.room.consortium}"
    page = web.get(address).text
    assert "waits for approval</span></h1>" in page and 'id="closed"' not in page, "two of three are enough"
    assert web.get(f"/v1{address}").json()["proposals"][0]["closedBy"] == []
    lab.chain.withdraw(lab.room, study, 1)
    page = web.get(address).text
    assert "turned down</span></h1>" in page and "hospital-B said no" in page
    assert "Approve this recipe" not in page and "Say no to this proposal" not in page
    assert "Revoke everything…" in page, "stopping never goes away"
    assert web.get(f"/v1{address}").json()["proposals"][0]["closedBy"] == ["hospital-B"]
    assert "turned down" in web.get("/").text
    other = lab.propose(owner=1, max_runs=9)
    body = web.get(f"/v1{address}").json()
    assert body["study"] == "0x" + other.hex() and body["waiting"] == 2
    assert "turned down by hospital-B" in web.get(address).text


def test_a_proposal_that_waits_no_more_says_what_became_of_it(lab: Lab, web: TestClient) -> None:
    """Whoever votes last reloads the page, and whoever was sent a link comes late: no error meets them."""
    lab.register()
    address = f"/studies/{lab.room.consortium}"
    overtaken, pinned = lab.propose(owner=2, max_runs=9), lab.draft()
    lab.chain.approve(lab.room, pinned, 0, 1)
    page = web.get(f"{address}?study=0x{overtaken.hex()}").text
    assert "It can take effect no more" in page and "Another study was pinned meanwhile" in page
    assert "live</span></h1>" in web.get(f"{address}?study=0x{pinned.hex()}").text
    roster = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    late = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    late = replace(late, expiry=late.expiry + 1)
    for owner, terms in ((2, late), (0, validity), (1, validity)):
        lab.chain.vote(lab.room, owner, "changeRoster", roster.solidity(), terms.solidity())
    page = web.get(f"{address}/change?proposal=0x{roster.under(validity).id.hex()}").text
    assert "It took effect" in page and "change of owners" in page and f"{address}/history" in page
    page = web.get(f"{address}/change?proposal=0x{roster.under(late).id.hex()}").text
    assert "It can take effect no more" in page and "Owners have changed since" in page


def test_too_many_noes_close_what_governs(lab: Lab, web: TestClient) -> None:
    """Two of three must approve other owners; of two who said no, neither alone was needed. That an owner
    would be removed is loud no more then."""
    lab.live()
    roster = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    about = roster.under(validity).id
    lab.chain.vote(lab.room, 0, "changeRoster", roster.solidity(), validity.solidity())
    lab.chain.withdraw(lab.room, about, 2)
    address = f"/studies/{lab.room.consortium}"
    change = f"{address}/change?proposal=0x{about.hex()}"
    assert "Said no: hospital-C. Missing: hospital-B." in web.get(address).text
    assert "data-send" in web.get(change).text
    assert [one["kind"] for one in web.get(f"/v1{address}").json()["notices"]] == ["removal-pending"]
    lab.chain.withdraw(lab.room, about, 1)
    body = web.get(f"/v1{address}").json()
    (one,) = body["governing"]
    assert body["notices"] == []
    assert one["closedBy"] == ["hospital-B", "hospital-C"]
    assert "hospital-B, hospital-C said no: it cannot take effect any more" in web.get(address).text
    page = web.get(change).text
    assert "too few others are left: nothing comes of it" in page and "data-send" not in page


def test_a_version_that_a_study_pins_is_told_from_the_newest(lab: Lab, web: TestClient) -> None:
    """A corrected extract is another version of the same dataset, and shares its lifetime account."""
    lab.register()
    first = lab.datasets[0]
    corrected = Dataset(owner=0, name=first.name, rows=5000, schema_hash=first.schema_hash)
    data = interface("Ledger").encode("addVersion", first.id, corrected.version.solidity())
    lab.chain.send(0, lab.room.ledger, data)
    address = f"/v1/studies/{lab.room.consortium}"
    lab.propose()
    told = {one["name"]: one for one in web.get(address).json()["datasets"]}
    assert (told["cohort-A"]["version"], told["cohort-A"]["pinned"], told["cohort-A"]["rows"]) == (
        2,
        False,
        5000,
    )
    assert told["cohort-A"]["lifetime"]["epsilonCap"] == CAP_MICRO
    pinned = lab.chain.draft(
        lab.room,
        compose_hash=lab.recipe.compose_hash,
        datasets=[one.id for one in lab.datasets],
        versions=[1, 0],
    )
    lab.chain.approve(lab.room, pinned, 0, 2)
    told = {one["name"]: one for one in web.get(address).json()["datasets"]}
    assert (told["cohort-A"]["version"], told["cohort-A"]["pinned"], told["cohort-A"]["rows"]) == (
        1,
        True,
        1000,
    )
    assert told["cohort-B"]["pinned"] is False
    assert "1, pinned" in web.get(f"/studies/{lab.room.consortium}").text


def test_what_governs_waits_beside_the_studies(lab: Lab, web: TestClient) -> None:
    """Content, who signed, who is missing; a roster that removes an owner is loud."""
    lab.live()
    state = lab.chain.state(lab.room)
    roster = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = lab.chain.validity(state.roster_digest)
    lab.chain.vote(lab.room, 0, "changeRoster", roster.solidity(), validity.solidity())
    machines = Machines(os_images=(), devices=(b"\x77" * 32,))
    added = lab.chain.validity(state.charter)
    lab.chain.vote(lab.room, 1, "addMachines", machines.solidity(), added.solidity())
    address = f"/studies/{lab.room.consortium}"
    body = web.get(f"/v1{address}").json()
    told = [(one["kind"], one["id"], one["approved"], one["missing"]) for one in body["governing"]]
    assert told == [
        ("machines", "0x" + machines.under(added).id.hex(), ["hospital-B"], ["hospital-A", "hospital-C"]),
        ("roster", "0x" + roster.under(validity).id.hex(), ["hospital-A"], ["hospital-B", "hospital-C"]),
    ]
    assert ["Device", "0x" + "77" * 32] in body["governing"][0]["content"]
    (notice,) = body["notices"]
    assert (notice["kind"], notice["about"]) == ("removal-pending", told[1][1])
    assert "removes hospital-C is signed by hospital-A: 1 of the 2" in notice["text"]
    page = web.get(address).text
    assert "A roster that removes an owner waits for votes" in page
    assert "Missing: hospital-A, hospital-C." in page
    assert "A roster that removes an owner waits for votes." in web.get("/").text
    assert body["state"] == "live", "votes end nothing"
    lab.chain.vote(lab.room, 0, "addMachines", machines.solidity(), added.solidity())
    lab.chain.withdraw(lab.room, roster.under(validity).id, 0)
    body = web.get(f"/v1{address}").json()
    assert (body["state"], len(body["governing"])) == ("live", 1), "machines end no study"
    assert body["governing"][0]["approved"] == []
    kinds = {item["kind"] for item in web.get(f"/v1{address}/history").json()["activities"]}
    assert kinds >= {"roster-proposed", "machines-proposed", "machines-added", "withdrawn"}


def test_whoever_proposes_many_rosters_hides_none_of_others(lab: Lab, web: TestClient) -> None:
    """An owner cannot bury the roster that removes another one under its own."""
    follows = lab.chain.state(lab.room).roster_digest
    removal = Roster(remove=("hospital-C",), add=(), threshold=2)
    honest = lab.chain.validity(follows)
    lab.chain.vote(lab.room, 0, "changeRoster", removal.solidity(), honest.solidity())
    flood = [Roster(remove=("hospital-B",), add=(), threshold=1) for _ in range(SHOWN_OF_EACH_OWNER + 2)]
    for n, roster in enumerate(flood):
        validity = Validity(expiry=honest.expiry + 1 + n, follows=follows)
        lab.chain.vote(lab.room, 2, "changeRoster", roster.solidity(), validity.solidity())
    body = web.get(f"/v1/studies/{lab.room.consortium}").json()
    listed = [(one["id"], one["approved"]) for one in body["governing"]]
    assert len(listed) == SHOWN_OF_EACH_OWNER + 1
    assert listed[-1] == ("0x" + removal.under(honest).id.hex(), ["hospital-A"])
    assert body["notices"][-1]["about"] == listed[-1][0]


def test_seats_and_datasets_that_are_offered_are_loud(lab: Lab, web: TestClient) -> None:
    """Whoever stole a key offers them to itself; the true owner has two days to see this and to stop it."""
    lab.live()
    consortium, ledger = interface("Consortium"), interface("Ledger")
    address = f"/studies/{lab.room.consortium}"
    assert web.get(f"/v1{address}").json()["notices"] == []
    lab.chain.send(0, lab.room.consortium, consortium.encode("offerSeat", account(9)))
    lab.chain.send(1, lab.room.ledger, ledger.encode("offer", [lab.datasets[1].id], account(9)))
    seat, dataset = web.get(f"/v1{address}").json()["notices"]
    assert (seat["kind"], seat["about"]) == ("seat-offered", account(0))
    assert (dataset["kind"], dataset["about"]) == ("dataset-offered", "0x" + lab.datasets[1].id.hex())
    assert (
        f"hospital-A offered its seat, with its votes and its veto, to account {account(9)}" in seat["text"]
    )
    assert "hospital-B offered dataset cohort-B" in dataset["text"]
    page = web.get(address).text
    assert "A seat is offered to another account" in page and "A dataset is offered to" in page
    lab.chain.send(0, lab.room.consortium, consortium.encode("offerSeat", "0x" + "00" * 20))
    lab.chain.send(1, lab.room.ledger, ledger.encode("offer", [lab.datasets[1].id], "0x" + "00" * 20))
    assert web.get(f"/v1{address}").json()["notices"] == []
    told = [item["what"] for item in web.get(f"/v1{address}/history").json()["activities"][:4]]
    assert told[0].startswith("offered dataset 0x") and told[0].endswith(" to nobody any more")
    assert told[1] == "offered its seat to nobody any more"
    assert f" to account {account(9)}, which may take it from " in told[2]
    assert told[3].startswith(f"offered its seat to account {account(9)}, which may take it from ")


def test_what_strangers_declare_comes_last_and_is_not_read(lab: Lab) -> None:
    """Anyone may create any number of consortia under any names: they take no place and cost no reads."""
    strangers = [
        lab.chain.create_consortium(list(lab.room.owners), threshold=2, salt=secrets.token_bytes(32))
        for _ in range(2)
    ]
    with RpcProxy(lab.chain.url) as proxy:
        page = quiet(lab, proxy).get("/").text
        assert proxy.calls == 0
    first = page.index(lab.room.consortium)
    assert first < page.index("2 more are declared by their creators only")
    whole = re.sub(r'<span class="mid">|</span>', "", page)
    assert all(first < whole.index(one.consortium) for one in strangers)
    board = web_of(lab).get("/v1/studies").json()["studies"]
    assert (board[0]["consortium"], board[0]["status"]) == (lab.room.consortium, "forming")
    assert board[1]["status"] == "declared"
    declared = web_of(lab).get(f"/studies/{strangers[0].consortium}").text
    assert "Declared by its creator only" in declared and "0 of 3 accounts acted" in declared


def test_a_row_that_costs_a_node_much_takes_no_other_off_the_board(lab: Lab) -> None:
    """A stranger offers its own consortium all that it may: the board is then read in smaller pages."""
    other = lab.chain.create_consortium(["x"], threshold=1, salt=secrets.token_bytes(32))
    most = 1

    def without_gas(method: str, params: list[Any]) -> bool:
        asked = "0x" + interface("Factory").encode("board", 0, 1)[:4].hex()
        call = params[0]["data"] if method == "eth_call" else ""
        return call.startswith(asked) and int(call[-64:], 16) > most

    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = without_gas
        reader = lab.chain.reader(proxy.url)
        found = {row.consortium for row in reader.board(lab.room.factory)}
        assert {lab.room.consortium, other.consortium} <= found
        assert len(found) == lab.chain.call("Factory", lab.room.factory, "consortiumCount")
        assert len(reader.listed(lab.room.factory, first=0, most=100)) == 1
        most = 0
        with pytest.raises(ChainError) as refused:
            reader.board(lab.room.factory)
        assert refused.value.code == "chain-unreachable"
        reader.close()


def web_of(lab: Lab) -> TestClient:
    """The application for one question."""
    return TestClient(console(lab.store, lab.reader, lab.room.factory))


@pytest.mark.parametrize("attack", XSS)
def test_hostile_text_is_shown_as_text(chain: LocalChain, tmp_path: Path, attack: str) -> None:
    """WE-06: in the question and a reason. The contracts refuse such names of owners and datasets."""
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    lab.recipe = make_recipe(tmp_path / "hostile", question=json.dumps(attack))
    lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
    lab.live()
    app = console(lab.store, lab.reader, lab.room.factory)
    web = TestClient(app)
    live = web.get(f"/studies/{lab.room.consortium}").text
    lab.chain.revoke(lab.room, 2, attack)
    for page in (live, web.get("/").text, web.get(f"/studies/{lab.room.consortium}").text):
        assert attack not in page or not re.search(r"[<>\"']", attack)
        parsed = _Addresses()
        parsed.feed(page)
        assert parsed.inline == []
        assert not re.search(r"<(img src=x|svg/|iframe)", page)
        assert "49" not in re.findall(r">([^<]*print[^<]*)<", page)
    chain.restore(snapshot)


def test_hidden_characters_are_shown_by_their_number() -> None:
    """WE-09: bidi overrides, zero-width and look-alike characters cannot hide in what is read."""
    assert str(display.source("x = 1  # ok\n")) == "x = 1  # ok\n"
    for character in (
        "\u202e",
        "\u2066",
        "\u200b",
        "\u00a0",
        "\u0430",
        "\ufeff",
        "\t",
        "\x00",
        "\U000e0041",
        "\u3164",
        "\ufe0f",
    ):
        shown = str(display.source(f"a{character}b"))
        assert character not in shown
        assert f"\\u{{{ord(character):x}}}" in shown
        assert display.oddities(f"a{character}b") == 1
    assert str(display.prose("Überleben α")) == "Überleben α"
    assert not {"\u202e", "\u3164", "\ufe0f"} & set(display.prose("a\u202eb\u3164c\ufe0f"))
    assert str(display.source("<b>")) == "&lt;b&gt;"
    assert display.plain("\u202e<") == "\\u{202e}<"


def test_the_reference_is_our_own_page(web: TestClient) -> None:
    """RE-03's list of routes, drawn without anybody's script."""
    document = web.get("/openapi.json").json()
    page = web.get("/docs").text
    for path, operations in document["paths"].items():
        assert path in page
        for operation in operations.values():
            assert "HTTPValidationError" not in json.dumps(operation)
    assert "swagger" not in page.lower()
    assert web.get("/redoc").status_code == 404


# --- what a wallet is asked to sign --------------------------------------------------------------


def test_calls_are_built_for_the_consortium_alone(lab: Lab, web: TestClient) -> None:
    """WE-01, WE-02: exactly approve, withdraw or revoke, at an address that the factory made."""
    lab.register()
    proposal = lab.propose()
    contract = interface("Consortium")
    content = lab.chain.study(proposal).solidity()
    study = "0x" + proposal.hex()
    wanted = {"consortium": lab.room.consortium, "action": "approve", "study": study}
    call = web.post("/v1/calls", json=wanted).json()
    assert call == {
        "chainId": 31337,
        "to": lab.room.consortium,
        "function": contract.signature("approve"),
        "data": "0x" + contract.encode("approve", content, []).hex(),
    }
    call = web.post("/v1/calls", json=wanted | {"action": "withdraw"}).json()
    assert (call["function"], call["data"]) == (
        "withdraw(bytes32)",
        "0x" + contract.encode("withdraw", proposal).hex(),
    )
    revoke = {"consortium": lab.room.consortium, "action": "revoke", "reason": "Einwilligung zurück"}
    data = web.post("/v1/calls", json=revoke).json()["data"]
    assert data == "0x" + contract.encode("revoke", "Einwilligung zurück").hex()
    for change, status in [
        ({"consortium": account(5)}, 404),
        ({"study": "0x" + "5e" * 32}, 404),
        ({"study": None}, 400),
        ({"study": study.upper()}, 400),
        ({"action": "transferOwnership"}, 400),
        ({"reason": "and"}, 400),
    ]:
        assert web.post("/v1/calls", json=wanted | change).status_code == status, change
    assert web.post("/v1/calls", json=revoke | {"reason": "ü" * 129}).status_code == 400


def test_the_page_knows_the_selectors_the_fields_and_the_events_by_itself() -> None:
    """WE-01: what the page builds, reads back and asks its wallet's node is right."""
    model = model_script.PATH.read_text()
    assert model == model_script.text(), "run `make abi`, and commit"
    contract = interface("Consortium")

    for name in ("approve", "withdraw", "revoke"):
        assert f'{name}: "{contract.signature(name)}"' in model
    for name in (*model_script.ACTS, *model_script.VIEWS):
        (line,) = [line for line in model.splitlines() if f'"name": "{name}", "outputs"' in line]
        item = json.loads(line.strip(" ,"))
        assert function_abi_to_4byte_selector(item) == keccak(text=contract.signature(name))[:4]
    for name in ("StudyProposed", "Approved", "StudyPinned", "Withdrawn", "Revoked"):
        assert f'{name}: "0x{bytes(contract.topic(name)).hex()}"' in model
    study = model[model.index("Study: [") : model.index("ApproveStudy: [")]
    assert (
        tuple(re.findall(r'^    \["(\w+)", "(\S+)", ".+", "\w*"\],$', study, re.MULTILINE)) == Study.table()
    )


def test_the_history_is_told_in_words(lab: Lab, web: TestClient) -> None:
    """Withdrawals, owner changes and words of a revocation, by page and by JSON."""
    study = lab.live()
    lab.open_run(study, secrets.token_bytes(32))
    other = lab.propose(max_runs=2)
    lab.chain.withdraw(lab.room, other, 2)
    address = f"/studies/{lab.room.consortium}"
    chosen = web.get(f"{address}?study=0x{other.hex()}").text
    assert "withdrew" in chosen
    owners = web.get(f"/v1{address}").json()["owners"]
    assert not any(one["withdrawn"] for one in owners), "it speaks of the live study"
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    lab.chain.change_roster(lab.room, threshold=3)
    page = web.get(address).text
    told = web.get(f"/v1{address}/history").json()
    newest = [(one["kind"], one["who"], one["reason"]) for one in told["activities"]]
    assert newest[:5] == [
        ("roster-changed", "hospital-B", ""),
        ("roster-proposed", "", ""),
        ("approved", "hospital-A", ""),
        ("revoked", "hospital-C", "consent withdrawn"),
        ("withdrawn", "hospital-C", ""),
    ]
    assert told["total"] == len(newest)
    for words in (
        "the owners changed: 3 approve from then on",
        "approvals of studies given before count no more",
        "withdrew from study ",
        "ε 1.5 and δ 0 booked",
        "the owners adopted gate ",
        "registered dataset cohort-A, ",
        "has version 1, 1000 rows",
        "may be spent, ever: ε 4.5, δ 1e-6",
        "ε 4.5, δ 1e-6, ε 4.5 and 100 runs a day",
    ):
        assert any(words in one["what"] for one in told["activities"]), words
        assert words in page


def test_a_change_of_owners_names_the_study_that_it_ended(lab: Lab, web: TestClient) -> None:
    """A new gate in a room without any study ended none; nor did a change after a revocation."""
    study = lab.live()
    lab.chain.change_roster(lab.room, threshold=3)
    told = web.get(f"/v1/studies/{lab.room.consortium}/history").json()["activities"]
    changed, adopted = (
        [one["what"] for one in told if one["kind"] == kind]
        for kind in ("roster-changed", "platform-adopted")
    )
    ended = f"the owners changed: 3 approve from then on; study 0x{study.hex()} ended"
    assert [one.endswith(ended) for one in changed] == [True]
    assert adopted and not any("ended" in one for one in adopted)


def test_the_reference_shows_code_as_code(web: TestClient) -> None:
    page = re.sub(r"<pre.*?</pre>", "", web.get("/docs").text, flags=re.DOTALL)
    left = re.findall(r".{40}`.{30}", page)
    assert left == []


def test_results_become_tables() -> None:
    groups = {
        "groups": [{"sex": "F", "band": "50-59", "mean": "1.20"}, {"sex": "M", "band": "50-59", "mean": None}]
    }
    means = table(groups, ("band", "sex"))
    assert (means.head, means.labels) == (["band", "sex", "mean"], 2)
    assert means.rows == [["50-59", "F", "1.20"], ["50-59", "M", "not released"]]
    once = {"lower": "0", "upper": "500", "outside": 90, "outside_low": 34, "outside_high": 146}
    found = table({**groups, "interval": "noise", "bounds": [once]}, ("band", "sex"))
    assert found.note.startswith("lower 0, upper 500, outside 90 (34 to 146); in brackets:")
    model = table({"coefficients": {"age": "0.128"}, "people": 7856}, ())
    assert (model.head, model.rows, model.note) == (["", "coefficients"], [["age", "0.128"]], "people: 7856")
