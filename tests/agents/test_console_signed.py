# SPDX-License-Identifier: Apache-2.0
"""What the console answers is signed: whoever stands between it and `sealroom call` can change nothing."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.agents.serving import served
from tests.agents.worked import render_recipe
from tests.outside import HOLDER

from sealroom.codes import Code
from sealroom.encoding import sha256, to_base64, to_hex
from sealroom.runtime.guest_agent import Guest
from sealroom_agents.attestation import DirectoryCollateral
from sealroom_agents.cli import main
from sealroom_agents.client import Attested, Connection, Pinned
from sealroom_agents.client.connection import Answer
from sealroom_agents.client.trust import Unverified
from sealroom_agents.console.app import create_app
from sealroom_agents.console.identity import AttestedIdentity
from sealroom_agents.errors import AttestationError, ToolError
from sealroom_agents.index import Indexed
from sealroom_agents.signed_answers import AnswerKey, Asked, content_digest
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.simulator.guest import GuestAgent
from sealroom_agents.store import Store

COMPOSE = b'{"manifest_version":2,"name":"sealroom-console","runner":"docker-compose"}'
CHAIN_ID = 31337
FACTORY = "0x" + "fa" * 20


@dataclass
class Told:
    """An answer on its way."""

    status: int
    headers: dict[str, str]
    parts: list[bytes]


@dataclass
class MiddleMan:
    """Stands between whoever asks and the console, and does as he likes with both."""

    app: ASGIApp
    asks: Callable[[Scope, bytes], tuple[Scope, bytes]] = lambda scope, body: (scope, body)
    tells: Callable[[Told], Told] = lambda told: told
    told: list[Told] = field(default_factory=list)
    """All that the console answered."""

    def honest(self) -> None:
        """Change nothing from here on."""
        self.asks, self.tells = (lambda scope, body: (scope, body)), (lambda told: told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        scope, body = self.asks(scope, body)
        said: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def given() -> Message:
            while not said:
                await asyncio.sleep(3600)
            return said.pop()

        heard: list[Message] = []

        async def hear(message: Message) -> None:
            heard.append(message)

        await self.app(scope, given, hear)
        told = Told(
            heard[0]["status"],
            {name.decode(): value.decode("latin-1") for name, value in heard[0]["headers"]},
            [message.get("body", b"") for message in heard[1:]],
        )
        self.told.append(told)
        told = self.tells(replace(told, headers=dict(told.headers), parts=list(told.parts)))
        whole = b"".join(told.parts)
        told.headers.pop("content-length", None)
        headers = [(name.encode(), value.encode()) for name, value in told.headers.items()]
        await send({"type": "http.response.start", "status": told.status, "headers": headers})
        await send({"type": "http.response.body", "body": whole})


@dataclass(frozen=True)
class Place:
    """A console in a simulated confidential VM, over real HTTP, and who stands in between."""

    url: str
    between: MiddleMan
    identity: AttestedIdentity
    platform: SimulatedPlatform
    root: Path
    """File of the simulated root."""
    run: str
    """Id of a run that ended."""
    compose: bytes
    """The recipe that was handed in."""

    @property
    def pinned(self) -> Pinned:
        return Pinned(self.identity.key.public)

    def connection(self, trust: Attested | Pinned | None = None) -> Connection:
        return Connection(self.url, trust or self.pinned)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("signed")
    platform = SimulatedPlatform.create(folder / "platform")
    store = Store(f"sqlite:///{folder / 'db'}")
    compose = render_recipe(folder / "recipe")
    store.add_recipe(to_hex(sha256(compose)), compose)
    run = store.submit(
        "0x" + "77" * 32, compose_hash=to_hex(sha256(compose)), consortium="0x" + "c0" * 20,
        missing=[], waiting=False,
    )  # fmt: skip
    claimed = store.claim(HOLDER)
    assert claimed is not None
    store.advance(claimed, "attesting", message="shows its evidence")
    store.end(claimed, "refused", code=Code.NOT_APPROVED, message="1 of 2 approvals")
    with GuestAgent(platform, COMPOSE, b"\xc5" * 20).serve(folder / "guest.sock"):
        identity = AttestedIdentity(
            Guest(folder / "guest.sock"),
            chain_id=CHAIN_ID,
            collateral=DirectoryCollateral(folder / "platform"),
        )
        app = create_app(store, None, Indexed(store, FACTORY), identity=identity)  # type: ignore[arg-type]
        between = MiddleMan(app)
        with served(between) as url:
            yield Place(url, between, identity, platform, folder / "platform" / "root.der", run.id, compose)


@pytest.fixture
def between(place: Place) -> Iterator[MiddleMan]:
    yield place.between
    place.between.honest()


def call(place: Place, *arguments: str, key: bytes | None = None) -> Result:
    """`sealroom call` with the pinned key."""
    given = ["--console", place.url, "--key", to_hex(key or place.identity.key.public)]
    return CliRunner().invoke(main, ["call", *arguments, *given])


# --- what holds ----------------------------------------------------------------------------------


def test_call_prints_what_was_signed_whatever_the_status(place: Place, tmp_path: Path) -> None:
    """WE-01: answers, refusals, heads, uploads and streams, all of them signed."""
    done = call(place, "GET", "/v1/healthz")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"status": "ok"})
    refused = call(place, "GET", "/v1/runs/0x" + "11" * 32)
    assert refused.exit_code == 1 and json.loads(refused.stdout)["code"] == "unknown-run"
    assert "404 unknown-run" in refused.stderr
    assert call(place, "HEAD", "/v1/healthz").exit_code == 0
    assert call(place, "HEAD", f"/v1/runs/{place.run}/events").exit_code == 0
    assert json.loads(call(place, "GET", "/v1/studies/0x" + "AB" * 20).stdout)["code"] == "malformed"
    recipe = tmp_path / "app-compose.json"
    recipe.write_bytes(place.compose)
    path = f"/v1/recipes/{to_hex(sha256(place.compose))}"
    assert json.loads(call(place, "PUT", path, "--data", str(recipe)).stdout)["name"] == "small-study"
    fetched = CliRunner().invoke(
        main, ["call", "GET", path, "--console", place.url, "--key", place.identity.key.id]
    )
    assert fetched.stdout_bytes == place.compose + b"\n"
    events = call(place, "GET", f"/v1/runs/{place.run}/events")
    lines = [json.loads(line) for line in events.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["phase"] * (len(lines) - 1) + ["end"]
    assert [line["data"]["phase"] for line in lines[:-1]] == ["queued", "starting", "attesting", "refused"]
    with place.connection() as console:
        later = list(console.events(f"/v1/runs/{place.run}/events", after=lines[1]["id"]))
    assert [event.id for event in later] == [line["id"] for line in lines[2:]]


def test_the_key_is_proven_by_the_consoles_own_machine(place: Place) -> None:
    """AT-30: by a quote that binds it, of the expected app-compose, under the root that is trusted."""
    root = ["--simulated-root", str(place.root)]
    common = ["call", "GET", "/v1/healthz", "--console", place.url]
    expected = ["--compose-hash", to_hex(sha256(COMPOSE))]
    assert CliRunner().invoke(main, [*common, *expected, *root]).exit_code == 0
    other = CliRunner().invoke(main, [*common, "--compose-hash", "0x" + "11" * 32, *root])
    assert other.exit_code == 1 and "runs the app-compose 0x" in other.stderr
    for missing, said in (([], "nothing says by which key"), (expected, "error:")):
        assert said in CliRunner().invoke(main, [*common, *missing]).stderr
    with Connection(place.url, Attested(sha256(COMPOSE))) as console, pytest.raises(AttestationError):
        console.call("GET", "/v1/healthz")


@pytest.mark.parametrize("host", ["console.example", "10.0.0.7", "127.evil.example", "localhost.x.example"])
def test_a_token_crosses_no_network_in_the_clear(host: str) -> None:
    """WE-11: to another machine it goes by https alone, to this one as it is, and to no other host."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    def call(url: str, token: str | None, path: str = "/v1/healthz") -> Answer:
        carries = httpx.MockTransport(answer)
        with Connection(url, Unverified(), token=token, transport=carries) as connection:
            return connection.call("GET", path)

    private = (f"https://{host}", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080")
    assert all(call(url, "secret").ok for url in private)
    assert [one.headers["authorization"] for one in asked] == ["Bearer secret"] * len(private)
    asked.clear()
    with pytest.raises(ToolError, match="is no path of the console"):
        call(f"https://{host}", "secret", "http://evil.example/v1/runs")
    with pytest.raises(ToolError) as refused:
        call(f"http://{host}:8080", "secret")
    assert asked == []
    assert refused.value.code == "token-in-clear" and "secret" not in str(refused.value)
    assert call(f"http://{host}:8080", None).ok
    assert ["authorization" in one.headers for one in asked] == [False]


def test_a_token_for_this_machine_passes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """WE-11: the environment's proxy is another machine's, or another user's."""
    seen: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(502)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for token in (None, "secret"):
            with (
                Connection("http://localhost:1", Unverified(), token=token) as connection,
                suppress(ToolError),
            ):
                connection.call("GET", "/v1/healthz")
        proxy.shutdown()
        thread.join()
    assert len(seen) == 1  # what carries no token


def test_an_older_quote_is_replaced_and_shown_while_there_is_no_newer(tmp_path: Path) -> None:
    platform, now = SimulatedPlatform.create(tmp_path / "platform"), [1_800_000_000.0]
    away: list[AttestationError] = []

    class Source(DirectoryCollateral):
        def fetch(self, quote: bytes) -> dict[str, Any]:
            if away:
                raise away[0]
            return super().fetch(quote)

    with GuestAgent(platform, COMPOSE, b"\xc5" * 20).serve(tmp_path / "guest.sock"):
        identity = AttestedIdentity(
            Guest(tmp_path / "guest.sock"), chain_id=CHAIN_ID,
            collateral=Source(tmp_path / "platform"), clock=lambda: now[0],
        )  # fmt: skip
        first = identity.attestation()
        now[0] += 3000
        assert identity.attestation() == first
        now[0] += 3000
        second = identity.attestation()
        assert second is not None and second["issued"] == int(now[0])
        away.append(AttestationError(Code.COLLATERAL_UNAVAILABLE, "no PCCS answers"))
        now[0] += 4000
        assert identity.attestation() == second


# --- what a man in the middle may try ------------------------------------------------------------


def forged(place: Place, *arguments: str) -> str:
    """The reason why `sealroom call` prints nothing of the answer."""
    done = call(place, *arguments)
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    assert "the answer is not the console's" in done.stderr
    return done.stderr


def test_changed_answers_are_refused(place: Place, between: MiddleMan) -> None:
    """WE-01: one byte of the body, with its digest or without; the status; the kind; the signature."""

    def body(told: Told) -> Told:
        return replace(told, parts=[b'{"status":"OK"}'])

    def body_and_digest(told: Told) -> Told:
        digest = {"content-digest": content_digest(b'{"status":"OK"}')}
        return replace(told, parts=[b'{"status":"OK"}'], headers={**told.headers, **digest})

    def without(name: str) -> Callable[[Told], Told]:
        return lambda told: replace(
            told, headers={each: value for each, value in told.headers.items() if each != name}
        )

    def header(name: str, value: str) -> Callable[[Told], Told]:
        return lambda told: replace(told, headers={**told.headers, name: value})

    def twice(told: Told) -> Told:
        also = {
            name: f"{told.headers[name]}, x{told.headers[name]}" for name in ("signature", "signature-input")
        }
        return replace(told, headers={**told.headers, **also})

    lies: list[Callable[[Told], Told]] = [
        body, body_and_digest, lambda told: replace(told, parts=[]), lambda told: replace(told, status=503),
        header("content-type", "text/html"), header("etag", '"x"'), header("retry-after", "9"), twice,
        header("signature", "sealroom=:" + "A" * 86 + "==:"), header("signature", "sealroom=xyz"),
        *map(without, ("signature", "signature-input", "content-digest")),
    ]  # fmt: skip
    for lie in lies:
        between.tells = lie
        forged(place, "GET", "/v1/healthz")
    between.honest()
    assert call(place, "GET", "/v1/healthz").exit_code == 0


def test_answers_to_other_requests_are_refused(place: Place, between: MiddleMan, tmp_path: Path) -> None:
    """WE-01: another path, query, method or body is asked in place of the real one; an older answer comes."""

    def asks(**changes: Any) -> Callable[[Scope, bytes], tuple[Scope, bytes]]:
        return lambda scope, body: ({**scope, **changes}, body)

    between.asks = asks(path="/v1/readyz", raw_path=b"/v1/readyz")
    forged(place, "GET", "/v1/healthz")
    between.asks = asks(query_string=b"status=live")
    forged(place, "GET", "/v1/healthz")
    between.asks = asks(method="HEAD")
    forged(place, "GET", "/v1/healthz")
    between.honest()
    call(place, "GET", "/v1/healthz")
    old = between.told[-1]
    between.tells = lambda told: old
    assert "made for another request" in forged(place, "GET", "/v1/healthz")
    between.honest()

    recipe, other = tmp_path / "app-compose.json", place.compose.replace(b"small-study", b"other-study")
    recipe.write_bytes(place.compose)
    path = f"/v1/recipes/{to_hex(sha256(other))}"

    def swapped(scope: Scope, body: bytes) -> tuple[Scope, bytes]:
        digest = content_digest(other).encode()
        kept = [(name, digest if name == b"content-digest" else value) for name, value in scope["headers"]]
        kept = [(name, value) for name, value in kept if name != b"content-length"]
        return {**scope, "headers": kept}, other

    assert (
        json.loads(call(place, "PUT", path, "--data", str(recipe)).stdout)["code"] == "recipe-hash-mismatch"
    )
    between.asks = swapped
    forged(place, "PUT", path, "--data", str(recipe))
    between.asks = lambda scope, body: (scope, other)
    told = call(place, "PUT", path, "--data", str(recipe))
    assert json.loads(told.stdout)["code"] in ("digest-mismatch", "malformed"), "the console sees it itself"


def test_answers_signed_by_another_key_are_refused(place: Place, between: MiddleMan) -> None:
    """WE-01: under its own name, or under the console's; nor does the true attestation vouch for it."""
    thief = AnswerKey(secrets.token_bytes(32))

    def resigned(name: str | None = None, *, asked: dict[str, Asked] | None = None) -> Callable[[Told], Told]:
        def lie(told: Told) -> Told:
            nonce = re.search('nonce="([^"]+)"', told.headers["signature-input"])
            assert nonce is not None
            path = (asked or {}).get("path") or Asked("GET", "/v1/healthz", "", {}, nonce[1])
            body = b"".join(told.parts)
            plain = {n: v for n, v in told.headers.items() if "signature" not in n and n != "content-digest"}
            added = dict(thief.headers(replace(path, nonce=nonce[1]), told.status, plain, body, created=1))
            if name is not None:
                added["signature-input"] = added["signature-input"].replace(thief.id, name)
            return replace(told, headers={**plain, **added})

        return lie

    between.tells = resigned()
    forged(place, "GET", "/v1/healthz")
    between.tells = resigned(place.identity.key.id)
    forged(place, "GET", "/v1/healthz")

    def identity(of_attestation: bool) -> Callable[[Told], Told]:
        def lie(told: Told) -> Told:
            shown = json.loads(b"".join(told.parts))
            shown["key"] = thief.id
            if of_attestation:
                shown["attestation"]["key"] = thief.id
            told = replace(told, parts=[json.dumps(shown).encode()])
            return resigned(asked={"path": Asked("GET", "/v1/console", "", {}, None)})(told)

        return lie

    trust = Attested(sha256(COMPOSE), place.platform.trust())
    between.tells = identity(False)
    with place.connection(trust) as console, pytest.raises(ToolError) as unproven:
        console.call("GET", "/v1/healthz")
    assert unproven.value.code == "console-key-unknown"
    between.tells = identity(True)
    with place.connection(trust) as console, pytest.raises(AttestationError) as unbound:
        console.call("GET", "/v1/healthz")
    assert unbound.value.code == "report-data-mismatch"


def test_a_signature_that_covers_too_little_is_refused(place: Place, between: MiddleMan) -> None:
    """WE-01: even by the right key: what is not covered may have been changed."""
    key = place.identity.key

    def part_of(told: Told) -> Told:
        nonce = re.search('nonce="([^"]+)"', told.headers["signature-input"])
        assert nonce is not None
        parameters = f'("@status");created=1;keyid="{key.id}";nonce="{nonce[1]}";tag="sealroom-console"'
        base = f'"@status": {told.status}\n"@signature-params": {parameters}'
        signed = httpx.Headers(told.headers)
        signed["signature-input"] = f"sealroom={parameters}"
        signed["signature"] = f"sealroom=:{to_base64(key.sign(base.encode()))}:"
        return replace(told, headers=dict(signed))

    between.tells = part_of
    forged(place, "GET", "/v1/healthz")


def test_changed_streams_are_refused(place: Place, between: MiddleMan) -> None:
    """WE-01: an event changed, left out, moved, put in, or an end that is none."""
    path = f"/v1/runs/{place.run}/events"
    whole = [json.loads(line) for line in call(place, "GET", path).stdout.splitlines()]

    def with_blocks(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Told], Told]:
        def lie(told: Told) -> Told:
            blocks = b"".join(told.parts).removesuffix(b"\n\n").split(b"\n\n")
            return replace(told, parts=[b"".join(block + b"\n\n" for block in change(blocks))])

        return lie

    lies: list[tuple[int, Callable[[list[bytes]], list[bytes]]]] = [
        (1, lambda blocks: [blocks[0], blocks[1].replace(b"starting", b"started!"), *blocks[2:]]),
        (1, lambda blocks: [blocks[0], *blocks[2:]]),
        (0, lambda blocks: [blocks[1], blocks[0], *blocks[2:]]),
        (1, lambda blocks: [blocks[0], b"event: phase\ndata: {}", *blocks[1:]]),
        (1, lambda blocks: [blocks[0], b"event: end\ndata: {}"]),
        (1, lambda blocks: [blocks[0], blocks[0], *blocks[1:]]),
    ]
    for good, change in lies:
        between.tells = with_blocks(change)
        done = call(place, "GET", path)
        assert done.exit_code == 1 and "not the console's" in done.stderr
        assert [json.loads(line) for line in done.stdout.splitlines()] == whole[:good]
    between.tells = with_blocks(lambda blocks: blocks[:2])
    done = call(place, "GET", path)
    assert done.exit_code == 1 and "broke off" in done.stderr
    between.honest()
    between.asks = lambda scope, body: (
        {**scope, "headers": [*scope["headers"], (b"last-event-id", b"999")]}, body,
    )  # fmt: skip
    forged(place, "GET", path)


def test_a_key_of_another_console_is_refused(place: Place) -> None:
    done = call(place, "GET", "/v1/healthz", key=AnswerKey(bytes(32)).public)
    assert done.exit_code == 1 and "not the console's" in done.stderr
