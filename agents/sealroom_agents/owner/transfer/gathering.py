# SPDX-License-Identifier: Apache-2.0
"""Reading parts from a store, several stretches at a time, each part compared with the index as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator

from sealroom_agents.owner.transfer.incoming import Incoming
from sealroom_agents.owner.transfer.layout import Layout, PartByPart
from sealroom_agents.owner.transfer.pace import Patience


async def read_bytes(incoming: Incoming, start: int, stop: int, patience: Patience) -> bytes:
    """The bytes from `start` up to `stop`. What came first is not asked for again."""
    if stop <= len(incoming.first):
        return incoming.first[start:stop]
    data = bytearray(incoming.first[start:])

    async def rest() -> None:
        if start + len(data) < stop:
            await incoming.read(start + len(data), stop, data.extend)

    await patience.with_tries(rest)
    return bytes(data)


async def gather(
    incoming: Incoming,
    layout: Layout,
    numbers: Iterable[int],
    *,
    parallel: int,
    patience: Patience,
    take: Callable[[int, memoryview], None],
) -> None:
    """Read these parts, in ascending order, and hand each to `take` once it was compared.

    Raises what `Incoming.read` and `Layout.check` do; what runs at that time is ended.
    """
    first = memoryview(incoming.first)

    def elsewhere() -> Iterator[int]:
        for number in numbers:
            start, stop = layout.span(number)
            if stop <= len(first):
                layout.check(number, first[start:stop])
                take(number, first[start:stop])
            else:
                yield number

    wanted = layout.stretches(elsewhere())

    async def work() -> None:
        for stretch in wanted:
            parts = PartByPart(layout, stretch, take)

            async def ask(parts: PartByPart = parts) -> None:
                await incoming.read(*parts.again(), parts)

            await patience.with_tries(ask)

    await all_of(*(work() for _ in range(parallel)))


async def all_of(*work: Coroutine[None, None, None]) -> None:
    """Do all at one time; the first error ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
