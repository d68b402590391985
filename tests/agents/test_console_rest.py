# SPDX-License-Identifier: Apache-2.0
"""The form of the REST interface: its description, heads, hosts, addresses, limits. No chain is needed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.agents.described import described

from sealroom.codes import Code
from sealroom_agents.console import spellings
from sealroom_agents.console.app import LOCAL_HOSTS, create_app
from sealroom_agents.console.limits import MAX_CLIENTS, Rate, Streams
from sealroom_agents.errors import RequestError
from sealroom_agents.index import Indexed
from sealroom_agents.store import Store

CHECKSUMMED = "0xC0C0c0c0C0C0c0c0c0C0c0C0C0C0C0C0C0C0c0c0"
ANY_HASH = "0x" + "11" * 32


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('rest') / 'db'}")
    app = create_app(
        store, None, Indexed(store, "0x" + "fa" * 20), allowed_hosts=(*LOCAL_HOSTS, "testserver")  # type: ignore[arg-type]
    )  # fmt: skip
    web = TestClient(app, raise_server_exceptions=False)
    return described(web, web.get("/openapi.json").json())


def test_the_description_is_whole(web: TestClient) -> None:
    """OpenAPI 3.1: each operation has a subject, words and typed answers; each refusal is a problem."""
    document = web.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    tags = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert set(operation["tags"]) <= tags and operation["description"], where
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (where, parameter["name"])
            for status, answer in operation["responses"].items():
                assert "Signature" in answer["headers"], where
                if status >= "4" and (path, status) != ("/v1/readyz", "503"):
                    content = answer["content"]
                    assert content["application/problem+json"]["schema"]["$ref"].endswith("/Problem"), where
                elif status != "304":
                    assert all(item["schema"] for item in answer["content"].values()), (where, status)
            body = operation.get("requestBody")
            if body:
                assert all(item["schema"] for item in body["content"].values()), where
    page = web.get("/docs").text
    for code in (Code.MALFORMED, Code.UNKNOWN_RUN, Code.TOO_MANY_REQUESTS):
        assert f'id="{code}"' in page, "the type of a problem leads there"


def test_a_head_is_what_get_would_say_without_a_body(web: TestClient) -> None:
    paths = ["/v1/healthz", "/v1/readyz", "/v1/console", "/openapi.json", "/docs", "/static/seal.svg"]
    paths += [f"/v1/runs/{ANY_HASH}", f"/v1/runs/{ANY_HASH}/events", f"/v1/recipes/{ANY_HASH}", "/v1/runs/7"]
    for path in paths:
        got, head = web.get(path), web.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        for name in ("content-type", "content-length", "etag", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
    assert web.head("/v1/calls").status_code == 405


def test_addresses_have_a_checksum_or_none(web: TestClient) -> None:
    """RE-11: lower case, or the capitals of EIP-55; a mistyped one is refused as such."""
    for address in (CHECKSUMMED, CHECKSUMMED.lower()):
        answer = web.get(f"/v1/studies/{address}")
        assert answer.json()["code"] == "index-behind", "it is looked for"
        assert answer.headers["retry-after"] == "2"
    for address in (CHECKSUMMED.swapcase().replace("0X", "0x"), "0x" + CHECKSUMMED[2:].upper()):
        answer = web.get(f"/v1/studies/{address}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
        assert "EIP-55" in answer.json()["detail"]
        call = {"consortium": address, "action": "revoke", "reason": "stop"}
        assert "EIP-55" in web.post("/v1/calls", json=call).json()["detail"]


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("LOCALHOST:80", True), ("localhost.", True), ("127.0.0.1:8080", True),
        ("[::1]", True), ("[::1]:8080", True), ("[0:0:0:0:0:0:0:1]:8080", True), ("::1", False),
        ("[::2]:80", False), ("[::1", False), ("[::1]x", False), ("localhost:", False), ("", False),
        ("evil.example", False), ("localhost@evil.example", False), ("localhost:80:80", False),
    ],
)  # fmt: skip
def test_hosts_are_names_or_addresses_of_either_kind(web: TestClient, host: str, known: bool) -> None:
    answer = web.get("/v1/healthz", headers={"Host": host})
    assert answer.status_code == (200 if known else 421), host
    assert spellings.host_name("[::1]") == spellings.host("[0::1]:80") == "::1"


def test_a_body_that_is_not_what_its_digest_says_is_refused(web: TestClient) -> None:
    """RE-02."""
    headers = {"Content-Type": "application/json", "Content-Digest": "sha-256=:AAAA:"}
    answer = web.post("/v1/calls", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "digest-mismatch")


def refusal(work: Any, *arguments: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        work(*arguments)
    assert refused.value.status == 429 and refused.value.retry_s
    return refused.value


def test_one_clients_streams_leave_room_for_others() -> None:
    """RE-05."""
    streams = Streams(most=5, each=2)
    mine = [streams.take("me"), streams.take("me")]
    refusal(streams.take, "me")
    given = [streams.take(f"other-{number}") for number in range(3)]
    refusal(streams.take, "another")
    mine[0]()
    mine[0]()
    streams.take("me")
    refusal(streams.take, "me")
    given[0]()


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    """RE-05: others are not, and what is kept of clients has a bound."""
    now = [0.0]
    rate = Rate(3, 60.0, clock=lambda: now[0], what="requests for runs")
    for _ in range(3):
        rate.take("me")
    wait = refusal(rate.take, "me").retry_s
    rate.take("other")
    assert wait is not None
    now[0] += wait
    rate.take("me")
    refusal(rate.take, "me")
    for number in range(MAX_CLIENTS):
        rate.take(str(number))
    rate.take("me")


@pytest.mark.parametrize("text", ["1 x", "nan 0x" + "11" * 32, "inf 0x" + "11" * 32, "1 \0", "1"])
def test_a_cursor_that_this_list_never_gave_is_refused(web: TestClient, text: str) -> None:
    """No database is asked for what none of them holds."""
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    answer = web.get(f"/v1/runs?after={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/datasets"])
def test_an_owner_that_no_database_can_have_is_refused(web: TestClient, path: str) -> None:
    for owner in ("%00", "hospital%00A", "%0a"):
        assert web.get(f"{path}?owner={owner}").json()["code"] == "malformed"
