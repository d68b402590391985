# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with a server that may be slow on purpose: so many bytes at most, by one deadline.

A client's own time limits count from one byte to the next, so a server that sends a byte now and then would
hold whoever asks it for hours. Here the deadline is for all of it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name, in any case."""
    body: bytes
    """As it was sent; of one that is larger than it may be, one byte beyond the limit."""


def exchange(
    method: str,
    url: str,
    *,
    timeout_s: float,
    limit: int,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    socket: Path | None = None,
) -> Answer:
    """Ask, and read the answer.

    timeout_s: seconds from the look-up of the name to the last byte. limit: bytes of the body. socket: a unix
    socket that is connected to, whatever the URL's host. No redirect is followed, and nothing of the
    environment counts. Blocks; must not be called on an event loop's thread. Raises `TimeoutError`,
    `httpx.HTTPError`, `httpx.InvalidURL`.
    """
    return asyncio.run(_exchange(method, url, timeout_s, limit, dict(headers or {}), content, socket))


async def _exchange(
    method: str,
    url: str,
    timeout_s: float,
    limit: int,
    headers: dict[str, str],
    content: bytes | None,
    socket: Path | None,
) -> Answer:
    secure = httpx.URL(url).scheme == "https"
    checked = _certificates() if secure else False
    async with (
        asyncio.timeout(timeout_s),
        httpx.AsyncClient(
            timeout=None,  # the deadline above is for all of it
            trust_env=False,
            follow_redirects=False,
            transport=httpx.AsyncHTTPTransport(
                uds=None if socket is None else str(socket), verify=checked, trust_env=False
            ),
            headers={"accept-encoding": "identity", **headers},
        ) as client,
        client.stream(method, url, content=content) as answer,
    ):
        body = bytearray()
        async for piece in answer.aiter_raw():
            body += piece[: limit + 1 - len(body)]
            if len(body) > limit:
                break
        return Answer(answer.status_code, answer.headers, bytes(body))


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
