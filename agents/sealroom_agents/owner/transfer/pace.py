# SPDX-License-Identifier: Apache-2.0
"""How long a store is waited for, and how often it is asked again: bounded in number and in time.

A store may be slow, busy or cut off for a moment. One that moves nothing, drips bytes or asks for ever more
patience is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential_jitter,
)

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

T = TypeVar("T")

BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass."""


@dataclass(frozen=True)
class Limits:
    """What a store may cost."""

    connect_s: float = 20.0
    """Seconds until a connection stands."""
    idle_s: float = 60.0
    """Seconds within which `least_bytes` must move."""
    least_bytes: int = 64 * 1024
    """Bytes that must move in `idle_s`: what is slower is given up."""
    tries: int = 6
    """How often one request is sent, until part of its answer came."""
    pause_s: float = 0.5
    """Seconds before the second try; each further pause is twice as long, at most `longest_pause_s`."""
    longest_pause_s: float = 60.0
    """The longest pause, also when the store asks for a longer one."""
    tries_again: int = 500
    """Most tries again of one whole transfer."""


class Transient(ToolError):
    """A store failed in a way that may pass."""

    after_s: float | None = None
    """Seconds that the store asks for."""


@dataclass
class Patience:
    """One transfer's: asks again within its limits."""

    limits: Limits
    again: int = field(default=0, init=False)
    """How often something was tried again."""

    async def with_tries(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it; again after a `Transient`. Raises the last one."""
        limits = self.limits
        backing_off = wait_exponential_jitter(
            multiplier=limits.pause_s, max=limits.longest_pause_s, jitter=limits.pause_s
        )

        def pause(state: RetryCallState) -> float:
            self.again += 1
            error = None if state.outcome is None else state.outcome.exception()
            asked = error.after_s if isinstance(error, Transient) else None
            return backing_off(state) if asked is None else asked

        def enough(state: RetryCallState) -> bool:
            error = None if state.outcome is None else state.outcome.exception()
            asked = error.after_s if isinstance(error, Transient) else None
            return (
                state.attempt_number >= limits.tries
                or self.again >= limits.tries_again
                or (asked or 0) > limits.longest_pause_s
            )

        async def once() -> T:
            return await act()

        return await AsyncRetrying(
            retry=retry_if_exception_type(Transient), stop=enough, wait=pause, reraise=True
        )(once)

    @asynccontextmanager
    async def moving(self, place: str) -> AsyncIterator[Callable[[int], None]]:
        """A block in which bytes must move: tell it how many did. Raises `Transient` when too few do."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.idle_s) as deadline:
                moved = 0

                def tell(count: int) -> None:
                    nonlocal moved
                    moved += count
                    if moved >= self.limits.least_bytes:
                        moved = 0
                        deadline.reschedule(loop.time() + self.limits.idle_s)

                yield tell
        except TimeoutError:
            why = f"less than {self.limits.least_bytes:,} bytes in {self.limits.idle_s:g} s"
            raise unreachable(place, why) from None


def unreachable(place: str, why: str) -> Transient:
    """It does not answer as it must, for now."""
    return Transient(
        Code.REMOTE_UNREACHABLE, f"{place} does not answer as it must: {why}", "run it again: it goes on"
    )


def busy(place: str, status: int, retry_after: str) -> Transient:
    """It answers with one of `BUSY`."""
    error = Transient(Code.REMOTE_REFUSED, f"{place} answers {status}", "run it again later: it goes on")
    error.after_s = _seconds(retry_after)
    return error


def _seconds(retry_after: str) -> float | None:
    """What `Retry-After` says (RFC 9110, section 10.2.3): seconds, or a date."""
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 10:
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, IndexError, TypeError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
