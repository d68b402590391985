# SPDX-License-Identifier: Apache-2.0
"""`GET /v1/datasets`: what all consortia of the factory may use, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.agents.described import described
from tests.agents.following import console
from tests.agents.serving import served
from tests.local_chain import Dataset, LocalChain
from tests.outside import Lab

from sealroom.encoding import from_hex
from sealroom_agents.client import Connection, Console, Pinned
from sealroom_agents.console.routes import datasets as route

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lab]]:
    """Two consortia with owners of the same names and two datasets each, one without, and a stranger's."""
    folder = tmp_path_factory.mktemp("labs")
    with LocalChain.start() as chain:
        found = [Lab.on(chain, folder) for _ in range(3)]
        for number, lab in enumerate(found[:2]):
            for owner, name in enumerate(("cohort-A", "cohort-B", "extra")):
                chain.register(lab.room, Dataset(owner=owner, name=f"{name}-{number}"), cap_micro=9)
        other = chain.create_consortium(found[0].room.owners, threshold=2)
        chain.register(other, Dataset(owner=0, name="declared"), cap_micro=9)
        yield found


@pytest.fixture
def web(labs: list[Lab]) -> TestClient:
    app = console(labs[0].store, labs[0].reader, labs[0].room.factory)
    web = TestClient(app, raise_server_exceptions=False)
    return described(web, web.get("/openapi.json").json())


def pages(web: TestClient, query: str = "") -> list[dict[str, Any]]:
    """All pages of a list."""
    found, after = [], ""
    while True:
        answer = web.get(f"/v1/datasets?{query}&after={after}")
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        if found[-1]["next"] is None:
            return found
        after = found[-1]["next"]


def names(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["consortium"], one["dataset"]["name"]) for page in found for one in page["datasets"]]


def test_all_that_consortia_may_use_is_told_once(web: TestClient, labs: list[Lab]) -> None:
    first, second, empty = (lab.room.consortium for lab in labs)
    (page,) = pages(web)
    assert names([page]) == [
        (place, f"{name}-{number}")
        for number, place in enumerate((first, second))
        for name in ("cohort-A", "cohort-B", "extra")
    ]
    assert (page["consortia"], page["unread"], page["late"]) == (3, 0, "")
    assert empty not in {one["consortium"] for one in page["datasets"]}
    of_one = web.get(f"/v1/studies/{first}/datasets").json()["datasets"]
    assert [one["dataset"] for one in page["datasets"] if one["consortium"] == first] == of_one


def test_consortium_and_owner_choose(web: TestClient, labs: list[Lab]) -> None:
    first, second, empty = (lab.room.consortium for lab in labs)
    assert names(pages(web, "owner=hospital-C")) == [(first, "extra-0"), (second, "extra-1")]
    assert names(pages(web, f"consortium={second}&owner=hospital-A")) == [(second, "cohort-A-1")]
    assert names(pages(web, f"consortium={empty}")) == names(pages(web, "owner=nobody")) == []
    assert names(pages(web, "owner=%25")) == [], "a name, and no pattern"
    unknown = web.get("/v1/datasets?consortium=0x" + "11" * 20)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-consortium")


def test_a_cursor_stays_good_while_consortia_come(
    web: TestClient, labs: list[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = names(pages(web))
    monkeypatch.setattr(route, "PAGE", 1)
    assert names(pages(web)) == whole
    begun = web.get("/v1/datasets").json()
    chain = labs[0].chain
    before = chain.snapshot()
    chain.create_consortium(labs[0].room.owners, threshold=2)
    rest, after = [], begun["next"]
    while after is not None:
        rest.append(web.get(f"/v1/datasets?after={after}").json())
        after = rest[-1]["next"]
    assert names([begun, *rest]) == whole
    chain.restore(before)
    for wrong in ("x", "MjQ=", "LTE", "MDA", "9" * 64, "%C3%A4"):
        answer = web.get(f"/v1/datasets?after={wrong}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), wrong


def test_what_strangers_made_is_told_apart(web: TestClient, labs: list[Lab]) -> None:
    """OP-10: anybody can create a consortium with owners of any names."""
    told = {one[1] for one in names(pages(web))}
    assert "declared" not in told
    (page,) = pages(web, "declared=true")
    own = {lab.room.consortium for lab in labs}
    assert page["consortia"] and not own & {one["consortium"] for one in page["datasets"]}


def test_the_answer_is_signed_has_a_head_and_a_typed_method(labs: list[Lab]) -> None:
    app = console(labs[0].store, labs[0].reader, labs[0].room.factory)
    with served(app) as url:
        plain = TestClient(app, base_url=url)
        got, head = plain.get("/v1/datasets"), plain.head("/v1/datasets")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
        key = from_hex(plain.get("/v1/console").json()["key"], 32)
        with Connection(url, Pinned(key)) as connection:
            told = [*Console(connection).all_datasets(owner="hospital-A")]
    assert [one["dataset"]["name"] for one in told] == ["cohort-A-0", "cohort-A-1"]


def test_a_studys_page_leads_to_the_page_for_researchers(web: TestClient, labs: list[Lab]) -> None:
    consortium = labs[0].room.consortium
    (link,) = re.findall(
        r'href="(/build[^"]*)"', web.get(f"/studies/{consortium}").text.partition("<main")[2]
    )
    assert link == f"/build?consortium={consortium}"
    assert web.get(link).status_code == 200
