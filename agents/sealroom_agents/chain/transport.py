# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with an endpoint that may be hostile: so many bytes at most, by one deadline.

The deadline counts from the first look-up of the name to the last byte of the answer, so an endpoint that
sends a byte now and then is as good as silent. Only an event loop can end an exchange at any moment, so all
exchanges of a process run in the loop of one thread, and callers wait for them in their own.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import httpx

from sealroom.codes import Code
from sealroom_agents.errors import ChainError

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
TOO_MANY = 429
"""HTTP status of an endpoint that is asked too often."""
SLACK_S = 10.0
"""Seconds beyond the deadline after which a caller stops waiting for the loop itself."""
READ_BYTES = 65536

T = TypeVar("T")


class TooOften(ChainError):
    """The endpoint wants to be asked less often."""

    after_s = 1.0
    """Seconds that it wants to be left alone."""


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
            raise ChainError(
                Code.CONFIGURATION,
                f"{shown(url)!r} is no http(s) URL",
                "give an RPC URL such as http://127.0.0.1:8545",
            )
        self.url = url
        self._timeout_s = timeout_s
        self._limit = limit
        self._client = httpx.AsyncClient(
            timeout=None,
            # No proxy, certificate bundle or password from the environment: it isn't measured (AT-21).
            trust_env=False,
            follow_redirects=False,
            verify=_certificates(),
            headers={"content-type": "application/json", "accept-encoding": "identity"},
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=IDLE_S,
            ),
        )
        # An endpoint without references keeps no sockets.
        self._finalizer = weakref.finalize(self, _let_go, self._client)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Close its connections."""
        self._finalizer()

    def post(self, body: bytes) -> bytes:
        """Send `body`, return the answer's.

        Raises `ChainError`, `chain-unreachable` or `answer-too-large`, and nothing else.
        """
        try:
            return _run(self._post(body), self._timeout_s + SLACK_S)
        except TimeoutError as error:
            reason = f"not within {self._timeout_s:g} s"
            raise self._unreachable(f"does not answer: {reason}") from error
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            raise self._unreachable(f"does not answer: {type(error).__name__}") from error

    async def _post(self, body: bytes) -> bytes:
        async with asyncio.timeout(self._timeout_s):
            for tried in range(1, TRIES + 1):
                try:
                    return await self._exchange(body)
                except TooOften as error:
                    if tried == TRIES or error.after_s > self._timeout_s / TRIES:
                        raise
                    await asyncio.sleep(max(error.after_s, PAUSE_S))
                except (httpx.TransportError, OSError):
                    if tried == TRIES:
                        raise
                    await asyncio.sleep(PAUSE_S * 2 ** (tried - 1))
        raise AssertionError("the last try returns or raises")

    async def _exchange(self, body: bytes) -> bytes:
        async with self._client.stream("POST", self.url, content=body) as answer:
            if answer.status_code == TOO_MANY:
                raise self._busy(answer.headers.get("retry-after", ""))
            if answer.status_code != 200:
                raise self._unreachable(f"answers with HTTP status {answer.status_code}")
            # It was not requested, and a small body may be unpacked to an unbounded one.
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unreachable("sends a compressed answer that was not asked for")
            read = bytearray()
            async for piece in answer.aiter_raw(READ_BYTES):
                read += piece
                if len(read) > self._limit:
                    raise ChainError(
                        TOO_LARGE, f"{shown(self.url)} answers with more than {self._limit} bytes"
                    )
        return bytes(read)

    def _busy(self, after: str) -> TooOften:
        error = TooOften(
            Code.CHAIN_UNREACHABLE,
            f"{shown(self.url)} is asked too often",
            "give it a key of your own, or another endpoint",
        )
        error.after_s = float(after) if after.isascii() and after.isdecimal() and len(after) < 6 else 1.0
        return error

    def _unreachable(self, why: str) -> ChainError:
        return ChainError(
            Code.CHAIN_UNREACHABLE,
            f"{shown(self.url)} {why}",
            "check the RPC endpoint and the network to it",
        )


def shown(url: str) -> str:
    """Scheme and host: what may be logged. The path of an RPC URL is often an access token."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0].rpartition('@')[2]}"


@cache
def _certificates() -> Any:
    return httpx.create_ssl_context(trust_env=False)


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


def _let_go(client: httpx.AsyncClient) -> None:
    if _made is not None and _made.loop.is_running():
        asyncio.run_coroutine_threadsafe(client.aclose(), _made.loop)
