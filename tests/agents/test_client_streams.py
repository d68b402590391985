# SPDX-License-Identifier: Apache-2.0
"""The client's streams of a run, at a console or a proxy that ends them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tests.agents.serving import served

from sealroom_agents.client import Connection, Console, Pinned, console
from sealroom_agents.console.signing import Signed
from sealroom_agents.errors import ToolError
from sealroom_agents.signed_answers import AnswerKey


def test_streams_that_end_before_the_run_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-02: each is well formed, signed and empty."""
    key, asked = AnswerKey(b"\x07" * 32), []

    async def events(request: Request) -> StreamingResponse:
        async def nothing() -> AsyncIterator[bytes]:
            asked.append(request.url.path)
            yield b": ping\n\n"

        return StreamingResponse(nothing(), media_type="text/event-stream")

    monkeypatch.setattr(console, "PATIENCE_S", 0.3)
    monkeypatch.setattr(console, "LOOK_S", 0.1)
    app = Signed(Starlette(routes=[Route("/v1/runs/{id}/events", events)]), key=key)
    with (
        served(app) as url,
        Connection(url, Pinned(key.id)) as connection,
        pytest.raises(ToolError) as ended,
    ):
        list(Console(connection).follow("0x" + "11" * 32))
    assert ended.value.code == "console-unreachable"
    assert len(asked) > 1, "it is tried anew first"
