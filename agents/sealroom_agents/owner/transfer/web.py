# SPDX-License-Identifier: Apache-2.0
"""Sealed files over HTTP: in ranges or streamed, bounded in time, and led nowhere but to http(s).

A signed URL carries its permission in the query, so no message shows more of a URL than `shown`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.incoming import FIRST_BYTES, Sink, Window, changed, range_of, refused
from sealroom_agents.owner.transfer.pace import BUSY, Limits, Patience, busy, unreachable
from sealroom_agents.owner.transfer.urls import shown

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{0,200}"')
"""An entity tag that stands for these very bytes (RFC 9110, section 8.8.3)."""


class WebFile:
    """A file behind a URL; `reading` makes it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, patience: Patience) -> None:
        self._session = session
        self._url = url
        self._place = shown(url)
        self._patience = patience
        self._tag: str | None = None
        self._body: aiohttp.ClientResponse | None = None
        self.size: int | None = None
        self.first = b""
        self.ranged = False

    async def open(self, stack: AsyncExitStack) -> None:
        """Ask for the first bytes. A server without ranges begins with the whole file: `stack` ends that."""
        for _ in range(MAX_REDIRECTS + 1):
            async with AsyncExitStack() as own:
                answer = await own.enter_async_context(self._get({"Range": f"bytes=0-{FIRST_BYTES - 1}"}))
                if answer.status in REDIRECTS:
                    self._url = _next(self._url, answer.headers.get("location", ""))
                    continue
                self._require_success(answer)
                if answer.status == 206:
                    await self._begin(answer)
                else:
                    self.size, self._body = _length(answer), answer
                    stack.push_async_exit(own.pop_all())
                return
        raise ToolError(Code.REDIRECT_REFUSED, f"{self._place} leads on and on")

    async def _begin(self, answer: aiohttp.ClientResponse) -> None:
        """Take the first range, and by what others are known to be of the same file."""
        stop, self.size = self._range(answer, 0)
        if stop != min(FIRST_BYTES, self.size):
            raise refused(self._place, "answers with another range than was asked for")
        tag = answer.headers.get("etag", "")
        self._tag = tag if _STRONG_TAG.fullmatch(tag) else None
        first = bytearray()
        await self._body_of(answer, Window(self._place, stop, first.extend))
        self.first, self.ranged = bytes(first), True

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if self._tag is not None:
            headers["If-Range"] = self._tag
        async with self._get(headers) as answer:
            self._require_success(answer)
            # A server that has another file now answers with all of that (RFC 9110, section 13.1.5).
            if answer.status != 206:
                raise changed(self._place)
            if self._tag is not None and answer.headers.get("etag", self._tag) != self._tag:
                raise changed(self._place)
            end, size = self._range(answer, start)
            if size != self.size:
                raise changed(self._place)
            if end != stop:
                raise refused(self._place, "answers with another range than was asked for")
            await self._body_of(answer, Window(self._place, stop - start, sink))

    async def stream(self, sink: Sink) -> None:
        if self._body is None:
            raise AssertionError("it answered a range")
        window = None if self.size is None else Window(self._place, self.size, sink)
        await self._body_of(self._body, window or sink)

    @asynccontextmanager
    async def _get(self, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        limits = self._patience.limits
        async with _errors(self._place), AsyncExitStack() as stack:
            # A server may drip its headers too, or say without end that it goes on (100).
            async with asyncio.timeout(limits.connect_s + limits.idle_s):
                answer = await stack.enter_async_context(_asked(self._session, "GET", self._url, headers))
            yield answer

    async def _body_of(self, answer: aiohttp.ClientResponse, target: Window | Sink) -> None:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise refused(self._place, "sends a compressed body, which was not requested")
        take = target.take if isinstance(target, Window) else target
        async with _errors(self._place), self._patience.moving(self._place) as moved:
            async for chunk in answer.content.iter_any():
                take(chunk)
                moved(len(chunk))
        if isinstance(target, Window):
            target.done()

    def _range(self, answer: aiohttp.ClientResponse, start: int) -> tuple[int, int]:
        if answer.content_type == "multipart/byteranges":
            raise refused(self._place, "answers with many ranges, and one was asked for")
        return range_of(self._place, answer.headers.get("content-range", ""), start)

    def _require_success(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in BUSY:
            raise busy(self._place, answer.status, answer.headers.get("retry-after", ""))
        if answer.status == 416:
            raise changed(self._place) if self.ranged else refused(self._place, "is empty")
        if answer.status not in (200, 206):
            raise _answered(self._place, answer.status)


@asynccontextmanager
async def reading(url: str, patience: Patience, parallel: int) -> AsyncIterator[WebFile]:
    """Open a URL for reading. Raises `remote-refused`, `remote-unreachable`, `redirect-refused`."""
    async with _session(patience.limits, parallel) as session, AsyncExitStack() as stack:
        found = WebFile(session, url, patience)
        await patience.with_tries(lambda: found.open(stack))
        yield found


async def put(url: str, chunks: Callable[[], AsyncIterator[bytes]], size: int, patience: Patience) -> None:
    """PUT `size` bytes, once, to exactly this URL. Raises `remote-refused`, `remote-unreachable`."""
    place = shown(url)
    headers = {"Content-Length": str(size), "Content-Type": "application/x-tar"}
    broken: list[Exception] = []
    async with _session(patience.limits, 1) as session, patience.moving(place) as moved:

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in chunks():
                    yield chunk
                    moved(max(len(chunk), patience.limits.least_bytes))
            except Exception as error:
                broken.append(error)  # the library below only tells that the body broke off
                raise

        try:
            async with _errors(place), _asked(session, "PUT", url, headers, body()) as answer:
                if not 200 <= answer.status < 300 or answer.status == 206:
                    raise _answered(place, answer.status)
        except ToolError:
            if broken:
                raise broken[0] from None
            raise


def _answered(place: str, status: int) -> ToolError:
    return ToolError(
        Code.REMOTE_REFUSED,
        f"{place} answers {status}",
        "is the URL right, and still valid? a redirect is never followed when sending",
    )


@asynccontextmanager
async def _session(limits: Limits, parallel: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=parallel + 1),
        # No compression: what is fetched is ciphertext, and a compressed answer could be a bomb.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.idle_s),
    ) as session:
        yield session


@asynccontextmanager
async def _asked(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: dict[str, str],
    data: AsyncIterator[bytes] | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    target = _target(url)
    async with session.request(
        method,
        target,
        headers=headers,
        data=data,
        allow_redirects=False,
        proxy=_proxy(target),
        ssl=_certificates() if target.scheme == "https" else True,
    ) as answer:
        yield answer


@asynccontextmanager
async def _errors(place: str) -> AsyncIterator[None]:
    """What the library below raises, as ours."""
    try:
        yield
    except TimeoutError:
        raise unreachable(place, "no answer in time") from None
    except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as error:
        raise unreachable(place, type(error).__name__) from None


def _target(url: str) -> URL:
    try:
        # Encoded as it is: a signature covers its very characters.
        target = URL(url, encoded=True)
        fine = target.scheme in ("http", "https") and bool(target.host)
    except ValueError:
        fine = False
    if not fine:
        raise ToolError(Code.URL_UNSUPPORTED, f"{shown(url)} is no URL that can be asked")
    return target


@cache
def _certificates() -> ssl.SSLContext:
    import httpx  # its bundle, or the one that SSL_CERT_FILE names

    return httpx.create_ssl_context()


def _proxy(target: URL) -> str | None:
    """The proxy that the environment names for a URL. A password for the host itself is never looked up."""
    if urllib.request.proxy_bypass(target.host or ""):
        return None
    return urllib.request.getproxies().get(target.scheme)


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


def _length(answer: aiohttp.ClientResponse) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
