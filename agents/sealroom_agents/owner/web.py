# SPDX-License-Identifier: Apache-2.0
"""Sealed files over HTTP: streamed, bounded in time, and led nowhere but to http(s).

A signed URL carries its permission in the query, so no message shows more of a URL than `shown`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

CONNECT_TIMEOUT_S = 20.0
IDLE_TIMEOUT_S = 60.0
"""How long nothing may move."""
MAX_REDIRECTS = 5
CHUNK_BYTES = 1024 * 1024
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Incoming:
    """The body of an answer."""

    size: int | None
    """Its length, where the server says it."""
    chunks: Iterator[bytes]
    """The bytes as they come."""


def shown(url: str) -> str:
    """Scheme, host and path: what may be printed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition(':')[0]}://…"
    return f"{parts.scheme}://{(parts.netloc or '').rpartition('@')[2]}{parts.path}"


@contextmanager
def reading(url: str) -> Iterator[Incoming]:
    """Open a URL for reading. Raises `remote-refused`, `remote-unreachable`, `redirect-refused`."""
    with _client() as client:
        for _ in range(MAX_REDIRECTS + 1):
            with _asked(client, "GET", url) as answer:
                if answer.status_code not in REDIRECTS:
                    _require_success(answer, url)
                    yield Incoming(_length(answer), _chunks(answer, url))
                    return
                url = _next(url, answer.headers.get("location", ""))
        raise ToolError(Code.REDIRECT_REFUSED, f"{shown(url)} leads on and on")


def write(url: str, chunks: Iterator[bytes], size: int) -> None:
    """PUT `size` bytes, to exactly this URL. Raises `remote-refused`, `remote-unreachable`."""
    headers = {"Content-Length": str(size), "Content-Type": "application/x-tar"}
    with _client() as client, _asked(client, "PUT", url, content=chunks, headers=headers) as answer:
        _require_success(answer, url)


def _client() -> httpx.Client:
    # No compression: what is fetched is ciphertext, and a compressed answer could be a bomb.
    return httpx.Client(
        timeout=httpx.Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
    )


@contextmanager
def _asked(client: httpx.Client, method: str, url: str, **options: object) -> Iterator[httpx.Response]:
    try:
        with client.stream(method, url, **options) as answer:  # type: ignore[arg-type]
            yield answer
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ToolError(
            Code.REMOTE_UNREACHABLE,
            f"{shown(url)} does not answer as it must: {type(error).__name__}",
            "try again; nothing was kept",
        ) from None


def _chunks(answer: httpx.Response, url: str) -> Iterator[bytes]:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ToolError(Code.REMOTE_REFUSED, f"{shown(url)} sends a compressed body, which was not requested")
    yield from answer.iter_raw(CHUNK_BYTES)


def _require_success(answer: httpx.Response, url: str) -> None:
    if not 200 <= answer.status_code < 300 or answer.status_code == 206:
        raise ToolError(
            Code.REMOTE_REFUSED,
            f"{shown(url)} answers {answer.status_code}",
            "is the URL right, and still valid? a redirect is never followed when sending",
        )


def _next(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        target, scheme = location, ""
    if scheme not in {"http", "https"} or (scheme == "http" and url.startswith("https:")):
        raise ToolError(
            Code.REDIRECT_REFUSED,
            f"{shown(url)} leads to {shown(target)}",
            "only to https, or from http to http, is followed",
        )
    return target


def _length(answer: httpx.Response) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdigit() and len(text) < 19 else None
