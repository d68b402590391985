# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with an endpoint that may be hostile: so many bytes at most, by one deadline.

The deadline counts from the first look-up of the name to the last byte of the answer, so an endpoint that
sends a byte now and then is as good as silent. Only an event loop can end an exchange at any moment, so all
exchanges of a process run in the loop of one thread, and callers wait for them in their own.
"""

from __future__ import annotations

import asyncio
import atexit
import ssl
import threading
import weakref
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import aiohttp
import httpx

from sealroom.codes import Code
from sealroom_agents.errors import ChainError, ConfigurationError

MAX_CONNECTIONS = 8
"""Connections to one endpoint; further exchanges wait their turn, inside their deadline."""
IDLE_S = 60.0
"""Seconds for which an idle connection is kept."""
TRIES = 3
"""Tries of one exchange, all inside its deadline; only a failed connection is tried again, and what came too
often."""
PAUSE_S = 0.05
"""Seconds before the second try; doubled before each further one."""
NAME_THREADS = 16
"""Threads that look names up; the resolver takes no deadline."""
TOO_LARGE = Code.ANSWER_TOO_LARGE
"""Code of an answer beyond the limit; it may be the contract's doing, and is not held against the node."""
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "sealroom",
}
TOO_MANY = 429
"""HTTP status of an endpoint that is asked too often."""
END_S = 1.0
"""Seconds that closing may take when the process ends."""
SLACK_S = 10.0
"""Seconds beyond the deadline after which a caller stops waiting for the loop itself."""

T = TypeVar("T")


class TooOften(ChainError):
    """The endpoint wants to be asked less often."""

    after_s = 1.0
    """Seconds that it wants to be left alone."""


class NoAnswer(ChainError):
    """The endpoint did not answer one exchange: not in time, not over HTTP, or not at all."""


class Endpoint:
    """One http(s) URL that takes POST requests. Thread safe."""

    def __init__(self, url: str, *, timeout_s: float, limit: int) -> None:
        """`timeout_s`: seconds that one exchange may take in all. `limit`: bytes that an answer may have."""
        try:
            parsed = httpx.URL(url)
            fine = parsed.scheme in ("http", "https") and bool(parsed.host)
        except httpx.InvalidURL:
            fine = False
        if not fine:
            raise ConfigurationError(
                Code.CONFIGURATION,
                f"{shown(url)!r} is no http(s) URL",
                "give an RPC URL such as http://127.0.0.1:8545",
            )
        self.url = url
        self._timeout_s = timeout_s
        self._limit = limit
        self._made: list[aiohttp.ClientSession] = []
        # An endpoint without references keeps no sockets.
        self._finalizer = weakref.finalize(self, _let_go, self._made)
        self._finalizer.atexit = False

    @property
    def timeout_s(self) -> float:
        """Seconds that an exchange may take."""
        return self._timeout_s

    def close(self) -> None:
        """Close its connections."""
        self._finalizer()

    def post(self, body: bytes, *, timeout_s: float | None = None) -> bytes:
        """Send `body`, return the answer's; within `timeout_s`, if that is less than any exchange may take.

        Raises `ChainError`, `chain-unreachable` or `answer-too-large`, and nothing else.
        """
        within_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            return _run(self._post(body, within_s), within_s + SLACK_S)
        except TimeoutError as error:
            reason = f"not within {within_s:g} s"
            raise self._unreachable(f"does not answer: {reason}") from error
        except (OSError, ValueError, RuntimeError, aiohttp.ClientError) as error:
            raise self._unreachable(f"does not answer: {type(error).__name__}") from error

    async def _post(self, body: bytes, within_s: float) -> bytes:
        async with asyncio.timeout(within_s):
            for tried in range(1, TRIES + 1):
                try:
                    return await self._exchange(body)
                except TooOften as error:
                    if tried == TRIES or error.after_s > within_s / TRIES:
                        raise
                    await asyncio.sleep(max(error.after_s, PAUSE_S))
                except (OSError, aiohttp.ClientError):
                    if tried == TRIES:
                        raise
                    await asyncio.sleep(PAUSE_S * 2 ** (tried - 1))
        raise AssertionError("the last try returns or raises")

    async def _exchange(self, body: bytes) -> bytes:
        async with self._session().post(self.url, data=body, allow_redirects=False) as reply:
            if reply.status == TOO_MANY:
                raise self._busy(reply.headers.get("retry-after", ""))
            if reply.status != 200:
                raise self._unreachable(f"answers with HTTP status {reply.status}")
            # It was not requested, and a small body may be unpacked to an unbounded one.
            if reply.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unreachable("sends a compressed answer that was not asked for")
            taken = bytearray()
            async for chunk in reply.content.iter_any():
                taken += chunk
                if len(taken) > self._limit:
                    raise ChainError(
                        TOO_LARGE, f"{shown(self.url)} answers with more than {self._limit} bytes"
                    )
            return bytes(taken)

    def _session(self) -> aiohttp.ClientSession:
        """For the loop's thread."""
        if not self._made:
            connector = aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S, ssl=_certificates()
            )
            # No proxy, certificate bundle or password from the environment: it isn't measured (AT-21).
            session = aiohttp.ClientSession(
                connector=connector,
                headers=HEADERS,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
            self._made.append(session)
            _open.add(session)
        return self._made[0]

    def _busy(self, after: str) -> TooOften:
        error = TooOften(
            Code.CHAIN_UNREACHABLE,
            f"{shown(self.url)} is asked too often",
            "give it a key of your own, or another endpoint",
        )
        error.after_s = float(after) if after.isascii() and after.isdecimal() and len(after) < 6 else 1.0
        return error

    def _unreachable(self, why: str) -> NoAnswer:
        return NoAnswer(
            Code.CHAIN_UNREACHABLE,
            f"{shown(self.url)} {why}",
            "check the RPC endpoint and the network to it",
        )


def shown(url: str) -> str:
    """Scheme and host: what may be logged. The path of an RPC URL is often an access token."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0].rpartition('@')[2]}"


@cache
def _certificates() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Loop:
    """The thread with the event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(NAME_THREADS, thread_name_prefix="chain-names"))
        threading.Thread(target=self.loop.run_forever, name="chain-io", daemon=True).start()


_lock = threading.Lock()
_made: _Loop | None = None


def _loop() -> asyncio.AbstractEventLoop:
    global _made
    with _lock:
        if _made is None:
            _made = _Loop()
        return _made.loop


def _run(work: Coroutine[Any, Any, T], wait_s: float) -> T:
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result(wait_s)
    except BaseException:
        future.cancel()
        raise


_open: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()


def _let_go(made: list[aiohttp.ClientSession]) -> None:
    if _made is not None and _made.loop.is_running():
        asyncio.run_coroutine_threadsafe(_close(made), _made.loop)


async def _close(made: Sequence[aiohttp.ClientSession]) -> None:
    for session in made:
        await session.close()


@atexit.register
def _end() -> None:
    """Close what is open; a session that is not complains when the process ends."""
    if _made is not None and _made.loop.is_running():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_close([*_open]), _made.loop).result(END_S)
