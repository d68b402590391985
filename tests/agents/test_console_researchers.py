# SPDX-License-Identifier: Apache-2.0
"""Who may ask for runs and take them back, and what owners sign through the console, on a real chain."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from tests.agents.described import described
from tests.agents.following import console
from tests.agents.serving import served
from tests.local_chain import LocalChain, account, private_key
from tests.outside import OWNERS, Lab, make_recipe

from sealroom import typed
from sealroom.encoding import from_hex, to_hex
from sealroom.model import ApproveStudy
from sealroom.recipe import parse, render
from sealroom_agents.cli import main
from sealroom_agents.cli.run_told import going_on
from sealroom_agents.client import Connection, Console, Pinned
from sealroom_agents.console import submission
from sealroom_agents.errors import ToolError
from sealroom_agents.researcher import RunCancellation, RunRequest, listed, signable, typed_data
from sealroom_agents.store import ENDS

pytestmark = pytest.mark.anvil

RESEARCHER, STRANGER = 7, 9
"""anvil's accounts."""


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    """A study of which the recipe names one researcher."""
    snapshot = chain.snapshot()
    recipe = make_recipe(tmp_path / "study", researchers=f'["{account(RESEARCHER)}"]')
    yield Lab.on(chain, tmp_path, recipe=recipe)
    chain.restore(snapshot)


@pytest.fixture
def web(lab: Lab) -> TestClient:
    web = TestClient(console(lab.store, lab.reader, lab.room.factory), raise_server_exceptions=False)
    return described(web, web.get("/openapi.json").json())


def asked(lab: Lab, signer: int = RESEARCHER, *, named: int | None = None, **changes: Any) -> dict[str, Any]:
    """A signed request; `changes` are of what is signed, and not of what is sent."""
    salt, expires = secrets.token_bytes(32), int(time.time()) + 600
    content = {"recipe": lab.recipe.compose_hash, "owners": listed(OWNERS), "salt": salt, "expires": expires}
    consortium = changes.pop("consortium", lab.room.consortium)
    chain_id = changes.pop("chain_id", lab.chain.chain_id)
    message = signable(RunRequest(**content | changes), chain_id=chain_id, consortium=consortium)
    return {
        "compose": base64.b64encode(lab.recipe.compose).decode(),
        "owners": list(OWNERS),
        "consortium": lab.room.consortium,
        "signed": {
            "account": account(signer if named is None else named),
            "salt": to_hex(salt),
            "expires": changes.get("expires", expires),
            "signature": to_hex(typed.sign(message, private_key(signer))),
        },
    }


def refused(web: TestClient, body: dict[str, Any], path: str = "/v1/runs", **options: Any) -> tuple[int, str]:
    answer = web.post(path, json=body, **options)
    return answer.status_code, answer.json()["code"]


def test_whom_the_recipe_names_asks_by_signature_and_nobody_else(lab: Lab, web: TestClient) -> None:
    """RE-03, RE-06: the digest is the run's id, so a signed request makes one run however often it comes."""
    body = asked(lab)
    first = web.post("/v1/runs", json=body)
    assert (first.status_code, first.json()["researcher"]) == (202, account(RESEARCHER))
    assert web.post("/v1/runs", json=body).json()["id"] == first.json()["id"]
    content = RunRequest(
        recipe=lab.recipe.compose_hash, owners=listed(OWNERS),
        salt=from_hex(body["signed"]["salt"], 32), expires=body["signed"]["expires"],
    )  # fmt: skip
    shown = {"chain_id": lab.chain.chain_id, "consortium": lab.room.consortium}
    assert first.json()["id"] == to_hex(typed.digest(signable(content, **shown)))
    assert typed_data(content, **shown)["message"]["owners"] == "hospital-A, hospital-B, hospital-C"
    assert web.post("/v1/runs", json=asked(lab, 2)).status_code == 202, "an owner may"

    anonymous = {name: value for name, value in asked(lab).items() if name != "signed"}
    now = int(time.time())
    for wrong, status, code in [
        (anonymous, 401, "researcher-needed"),
        (asked(lab, STRANGER), 403, "researcher-unknown"),
        (asked(lab, STRANGER, named=RESEARCHER), 403, "request-forged"),
        (asked(lab, recipe=bytes(32)), 403, "request-forged"),
        (asked(lab, owners="hospital-A"), 403, "request-forged"),
        (asked(lab, salt=bytes(32)), 403, "request-forged"),
        (asked(lab, consortium="0x" + "c0" * 20), 403, "request-forged"),
        (asked(lab, chain_id=1), 403, "request-forged"),
        (asked(lab, expires=now - 1), 403, "request-expired"),
        (asked(lab, expires=now + 7200), 403, "request-expired"),
        ({name: value for name, value in asked(lab).items() if name != "consortium"}, 400, "malformed"),
        (
            {**asked(lab), "signed": {**asked(lab)["signed"], "signature": "0x" + "00" * 65}},
            403,
            "request-forged",
        ),
    ]:
        assert refused(web, wrong) == (status, code), wrong
    assert len(lab.store.runs()) == 2


def test_a_recipe_that_names_nobody_is_for_its_owners(lab: Lab, web: TestClient, tmp_path: Path) -> None:
    """RE-03."""
    folder = tmp_path / "silent"
    make_recipe(folder)
    (folder / "study.yaml").write_text(
        "".join(
            line
            for line in (folder / "study.yaml").read_text().splitlines(keepends=True)
            if not line.startswith("researchers:")
        )
    )
    lab.recipe = parse(render(folder))
    assert lab.recipe.researchers == ()
    assert refused(web, asked(lab)) == (403, "researcher-unknown")
    assert web.post("/v1/runs", json=asked(lab, 0)).status_code == 202


def test_a_token_stands_for_the_account_until_it_ends(lab: Lab, web: TestClient, tmp_path: Path) -> None:
    """RE-03, WE-11: issued by the operator, shown once, kept as a digest."""
    database = next(iter(tmp_path.glob("*.db")))
    options = ["--database", f"sqlite:///{database}"]
    made = CliRunner().invoke(
        main, ["token", "issue", "--researcher", account(RESEARCHER), "--label", "weekly", "--json", *options]
    )
    token = json.loads(made.stdout)["token"]
    assert token.encode() not in database.read_bytes()
    bearer = {"Authorization": f"Bearer {token}"}
    body = {name: value for name, value in asked(lab).items() if name != "signed"}
    taken = web.post("/v1/runs", json=body, headers=bearer)
    assert (taken.status_code, taken.json()["researcher"]) == (202, account(RESEARCHER))
    assert refused(web, asked(lab), headers=bearer) == (400, "malformed"), "signed, too"
    for wrong in ("Bearer x", "Bearer " + token[:-1], "Basic " + token, "Bearer"):
        assert refused(web, body, headers={"Authorization": wrong}) == (401, "unauthorized")
        assert web.post("/v1/runs", json=body, headers={"Authorization": wrong}).headers["www-authenticate"]
    later = console(lab.store, lab.reader, lab.room.factory)
    lab.store._clock = lambda: time.time() + 91 * 86_400
    assert refused(TestClient(later), body, headers=bearer) == (401, "unauthorized")
    lab.store._clock = time.time
    listed_ = json.loads(CliRunner().invoke(main, ["token", "list", "--json", *options]).stdout)["tokens"]
    assert [one["label"] for one in listed_] == ["weekly"]
    assert CliRunner().invoke(main, ["token", "end", listed_[0]["digest"], *options]).exit_code == 0
    assert refused(web, body, headers=bearer) == (401, "unauthorized")
    assert CliRunner().invoke(main, ["token", "end", listed_[0]["digest"], *options]).exit_code == 1


def test_one_consortiums_runs_leave_room_for_others(
    lab: Lab, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-05."""
    monkeypatch.setattr(submission, "MAX_OPEN_OF_CONSORTIUM", 2)
    for _ in range(2):
        assert web.post("/v1/runs", json=asked(lab)).status_code == 202
    answer = web.post("/v1/runs", json=asked(lab))
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-runs")
    assert int(answer.headers["retry-after"]) > 0


def test_a_run_is_taken_back_by_who_asked_or_by_an_owner(lab: Lab, web: TestClient) -> None:
    """RE-03: not by others; one that computes is ordered to be killed."""

    def signed(run: str, signer: int, **changes: Any) -> dict[str, Any]:
        content = RunCancellation(run=from_hex(run, 32), expires=int(time.time()) + 600)
        message = signable(content, chain_id=lab.chain.chain_id, consortium=lab.room.consortium)
        return {
            "signed": {
                "account": account(signer),
                "expires": content.expires,
                "signature": to_hex(typed.sign(message, private_key(signer))),
                **changes,
            }
        }

    def run() -> tuple[str, str]:
        found = web.post("/v1/runs", json=asked(lab)).json()["id"]
        return found, f"/v1/runs/{found}/cancel"

    mine, path = run()
    assert refused(web, {}, path) == (401, "researcher-needed")
    assert refused(web, signed(mine, STRANGER), path) == (403, "researcher-unknown")
    assert refused(web, signed(mine, STRANGER, account=account(RESEARCHER)), path) == (403, "request-forged")
    assert refused(web, signed("0x" + "11" * 32, RESEARCHER), path) == (403, "request-forged")
    done = web.post(path, json=signed(mine, RESEARCHER)).json()
    assert (done["state"], done["code"]) == ("cancelled", "cancelled") and done["state"] in ENDS
    assert refused(web, signed(mine, RESEARCHER), path) == (409, "run-state")
    assert "taken back by" in web.get(f"/v1/runs/{mine}").json()["events"][-1]["message"]
    assert web.get(f"/runs/{mine}").status_code == 200
    other, path = run()
    assert web.post(path, json=signed(other, 1)).json()["state"] == "cancelled"

    lab.live()
    running, path = run()
    held = lab.take()
    assert held.id == running and lab.store.order(held) is None
    assert web.post(path, json=signed(running, RESEARCHER)).json()["state"] == "starting"
    order = lab.store.order(held)
    assert order is not None and (order.kind, order.owner) == ("cancelled", account(RESEARCHER))
    assert web.get(f"/v1/studies/{lab.room.consortium}").status_code == 200
    assert lab.store.observations(lab.room.consortium) == [], "no owner stopped anything"


def test_runs_are_listed_page_by_page_while_new_ones_come(lab: Lab, web: TestClient) -> None:
    made = [lab.submit(waiting=True) for _ in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = web.get(
            "/v1/runs", params={"limit": 2, "after": after, "consortium": lab.room.consortium}
        ).json()
        seen += [run["id"] for run in page["runs"]]
        lab.submit(waiting=True)
        if page["next"] is None:
            break
        after = page["next"]
    assert sorted(seen) == sorted(made) and len(seen) == 5
    assert web.get("/v1/runs", params={"researcher": account(STRANGER)}).json() == {"runs": [], "next": None}
    assert web.get("/v1/runs", params={"state": "done"}).json()["runs"] == []
    for query in ({"after": "%%"}, {"after": "bm8"}, {"limit": 101}, {"state": "x"}, {"consortium": "0x1"}):
        assert web.get("/v1/runs", params=query).json()["code"] == "malformed", query


def test_owners_sign_and_somebody_else_sends(lab: Lab, web: TestClient) -> None:
    """WE-04, CH-13: a gathered approval is the owner's own, of exactly this study; a stranger hands it in."""
    lab.register()
    study = lab.propose()
    where = f"/v1/studies/{lab.room.consortium}"
    waiting = web.get(f"{where}/proposals").json()
    assert [one["proposal"]["study"] for one in waiting["proposals"]] == [to_hex(study)]
    assert waiting["proposals"][0]["missing"] == ["hospital-B", "hospital-C"]

    def vote(signer: int, owner: int | None = None) -> dict[str, str]:
        voter = account(signer if owner is None else owner)
        message = typed.vote(
            ApproveStudy(owner=account(signer), study=lab.chain.study(study)),
            chain_id=lab.chain.chain_id, consortium=lab.room.consortium,
        )  # fmt: skip
        signature = to_hex(typed.sign(message, private_key(signer)))
        return {"study": to_hex(study), "owner": voter, "signature": signature}

    path = f"{where}/signatures"
    assert refused(web, vote(STRANGER), path) == (403, "researcher-unknown")
    assert refused(web, vote(STRANGER, 1), path) == (403, "request-forged")
    assert refused(web, {**vote(1), "study": "0x" + "11" * 32}, path) == (404, "unknown-study")
    empty = web.get(f"{where}/proposals/{to_hex(study)}/signatures").json()
    assert (empty["signatures"], empty["call"], empty["approved"]) == ([], None, ["hospital-A"])
    told = web.post(path, json=vote(1)).json()
    assert told["enough"] and [one["owner"] for one in told["signatures"]] == ["hospital-B"]
    assert web.get(f"{where}/proposals").json()["proposals"][0]["signed"] == ["hospital-B"]
    lab.chain.send(STRANGER, told["call"]["to"], from_hex(told["call"]["data"]))
    shown = web.get(where).json()
    assert (shown["status"], shown["study"]) == ("live", to_hex(study))
    assert web.get(f"{where}/proposals/{to_hex(study)}/signatures").json()["code"] == "unknown-study"


def test_budgets_datasets_and_receipts_are_told(lab: Lab, web: TestClient) -> None:
    where = f"/v1/studies/{lab.room.consortium}"
    assert web.get(f"{where}/budgets").json()["study"] is None
    study = lab.live(epsilon_micro=3_000_000)
    lab.open_run(study, secrets.token_bytes(32))
    budgets = web.get(f"{where}/budgets").json()
    assert (budgets["spentMicro"], budgets["leftMicro"]) == (1_500_000, 1_500_000)
    assert [one["name"] for one in budgets["datasets"]] == ["cohort-A", "cohort-B"]
    assert web.get(f"{where}/datasets").json()["datasets"] == budgets["datasets"]
    assert web.get(f"{where}/receipts").json() == {"anchored": [], "total": 0}
    assert web.get("/v1/studies/0x" + "11" * 20 + "/budgets").json()["code"] == "unknown-consortium"


def test_the_client_signs_asks_follows_and_takes_back(lab: Lab) -> None:
    """The typed client, over real HTTP; each answer is verified."""
    app = console(lab.store, lab.reader, lab.room.factory)
    key = private_key(RESEARCHER)
    with served(app) as url:
        told = TestClient(app, base_url=url).get("/v1/console").json()
        with Connection(url, Pinned(from_hex(told["key"], 32))) as connection:
            api = Console(connection)
            assert api.about()["factory"] == lab.room.factory
            assert api.keep_recipe(lab.recipe.compose)["composeHash"] == lab.compose_hash
            assert api.recipe(lab.compose_hash) == lab.recipe.compose
            with pytest.raises(ToolError) as needed:
                api.submit(lab.recipe.compose, OWNERS, consortium=lab.room.consortium)
            assert needed.value.code == "researcher-needed"

            def signer(digest: bytes) -> bytes:
                return typed.sign_digest(digest, key)

            who = {"account": account(RESEARCHER), "signer": signer}
            run = api.submit(lab.recipe.compose, OWNERS, consortium=lab.room.consortium, **who)  # type: ignore[arg-type]
            assert [one["id"] for one in api.runs()] == [run["id"]]
            mine = (api, lab.room.consortium, lab.compose_hash)
            assert [one["id"] for one in going_on(*mine)] == [run["id"]], "one more would spend beside it"
            assert going_on(api, lab.room.consortium, "0x" + 64 * "1") == []
            assert api.cancel(run["id"], **who)["state"] == "cancelled"  # type: ignore[arg-type]
            assert going_on(*mine) == []
            assert [event["phase"] for event in api.follow(run["id"])] == ["waiting", "cancelled"]
            assert api.study(lab.room.consortium)["consortium"] == lab.room.consortium
            assert api.budgets(lab.room.consortium)["study"] is None
            assert api.history(lab.room.consortium)["total"] > 0
            assert len(api.studies()["studies"]) > 0
        with (
            Connection(url, Pinned("0x" + "ab" * 32)) as other,
            pytest.raises(ToolError, match="another key signed it"),
        ):
            Console(other).about()
