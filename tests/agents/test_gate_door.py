# SPDX-License-Identifier: Apache-2.0
"""What strangers can do at the gate's door: large bodies, and ones that end never or late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from tests.patience import PATIENCE_S

from sealroom.codes import Code
from sealroom_agents.gate import door
from sealroom_agents.gate.door import Answer, Call, Door, Lane, refusal

LIMIT = 1000
TOO_LONG = refusal(Code.EVIDENCE_TOO_LARGE, "too long")


class Client:
    """One request whose body comes in pieces."""

    def __init__(self, app: Door, client: str = "10.0.0.1", **headers: str) -> None:
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.read = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": names, "client": (client, 1)}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._pieces.empty():
            self.read.set()
        return await self._pieces.get()

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def end(self, size: int) -> None:
        """The last piece."""
        self._pieces.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": False})

    async def bring(self, size: int) -> None:
        """A piece, and wait until more is asked for, or the request is over."""
        self.read.clear()
        self._pieces.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": True})
        reading = asyncio.create_task(self.read.wait())
        await asyncio.wait({reading, self.task}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])

    def hang_up(self) -> None:
        self._pieces.put_nowait({"type": "http.disconnect"})


class Clock:
    """The door's clock; a test sets it."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def app(
    act: Callable[[bytes], None] = lambda body: None,
    lane: Lane | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Door:
    async def route(call: Call) -> Answer:
        body = await call.body(LIMIT, TOO_LONG)
        if lane is None:
            act(body.take())
        else:
            await lane(lambda: act(body.take()))
        return Answer(200, b"{}")

    return Door({("POST", "/"): route}, clock=clock)


def tried(trial: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "FREE", 10)
    monkeypatch.setattr(door, "MAX_LARGE", 1500)
    monkeypatch.setattr(door, "SHARE", 500)
    asyncio.run(trial())


def test_large_bodies_have_so_much_room_together_and_small_ones_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RE-02, RE-05: strangers hold as much as they can, and drip."""

    async def trial() -> None:
        clock = Clock()
        served = app(clock=clock)
        first, second = Client(served), Client(served)
        await first.bring(800)
        clock.at = 1
        await second.bring(700)
        honest = Client(served)
        honest.end(10)
        assert await honest.status() == 200
        # One with a wide table takes the room of whoever has held most for long, which is gone at once.
        wide = Client(served)
        await wide.bring(300)
        wide.end(100)
        assert await wide.status() == 200
        assert served._intake._sum == 700
        await first.bring(1)
        assert await first.status() == 503 and b"busy" in first.sent[1]["body"]
        second.hang_up()
        await second.task
        assert not second.sent and served._intake._sum == 0

    tried(trial, monkeypatch)


def test_no_body_is_crowded_out_for_its_size_by_those_who_keep_the_room_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RE-05: bodies just below the honest one's size, from one address or from many, that never end."""

    async def trial(addresses: int) -> None:
        clock = Clock()
        served = app(clock=clock)
        flood = [Client(served, f"2001:db8:0:{n % addresses}::{n}") for n in range(15)]
        for one in flood:
            await one.bring(99)
        for _ in range(20):
            clock.at += 1
            # A whole one goes through at once, and each stranger that went comes back at once.
            wide = Client(served, "10.0.0.2")
            for _ in range(4):
                await wide.bring(100)
            wide.end(100)
            assert await wide.status() == 200
            for place, one in enumerate(flood):
                await one.bring(0)
                if one.task.done():
                    assert await one.status() == 503
                    flood[place] = Client(served, f"2001:db8:0:{place % addresses}::9")
                    await flood[place].bring(99)

    for addresses in (1, 15):
        tried(partial(trial, addresses), monkeypatch)


def test_who_holds_most_loses_before_another_client_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: a client on a slow line keeps what it has brought while another one has more."""

    async def trial() -> None:
        clock = Clock()
        served = app(clock=clock)
        slow = Client(served, "10.0.0.2")
        await slow.bring(200)
        clock.at = 10
        flood = [Client(served, "10.0.0.3") for _ in range(13)]
        for one in flood:
            await one.bring(100)
        clock.at = 12
        for _ in range(20):
            await Client(served, "10.0.0.3").bring(100)
        await slow.bring(100)
        slow.end(100)
        assert await slow.status() == 200

    tried(trial, monkeypatch)


def test_a_large_body_that_waits_for_its_turn_can_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05."""

    async def trial() -> None:
        begun, go, done = threading.Event(), threading.Event(), list[int]()

        def act(body: bytes) -> None:
            begun.set()
            assert go.wait(PATIENCE_S)
            done.append(len(body))

        served = app(act, Lane("one", 1))
        working, waiting, late = (Client(served) for _ in range(3))
        working.end(400)
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        for client, size in ((waiting, 900), (late, 500)):
            client.end(size)
            while size not in [one.size for one in served._intake._large]:
                await asyncio.sleep(0)
        go.set()
        assert [await one.status() for one in (working, waiting, late)] == [200, 503, 200]
        assert done == [400, 500] and served._intake._sum == 0

    tried(trial, monkeypatch)


def test_a_lane_that_is_full_refuses_at_once_and_fills_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05: leases go on however many ask for something else."""

    async def trial() -> None:
        begun, go = threading.Event(), threading.Event()

        def act(body: bytes) -> None:
            begun.set()
            assert go.wait(PATIENCE_S)

        served = app(act, Lane("one", 1, 2))
        working, waiting, late = (Client(served) for _ in range(3))
        working.end(1)
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        waiting.end(1)
        while not waiting.read.is_set():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        late.end(500)
        assert await late.status() == 503
        go.set()
        assert [await one.status() for one in (working, waiting)] == [200, 200]
        late = Client(served)
        late.end(500)
        assert await late.status() == 200 and served._intake._sum == 0

    tried(trial, monkeypatch)


def test_a_body_is_refused_as_soon_as_it_is_known_to_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-02, AT-31."""

    async def trial() -> None:
        served = app()
        for said in (str(LIMIT + 1), "9" * 400):
            assert await Client(served, content_length=said).status() == 413
        flood = Client(served, content_length="-1")
        for _ in range(11):
            await flood.bring(100)
        assert await flood.status() == 413
        assert await Client(served, content_encoding="br").status() == 415
        assert served._intake._sum == 0

    tried(trial, monkeypatch)
