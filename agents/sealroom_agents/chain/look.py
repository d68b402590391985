# SPDX-License-Identifier: Apache-2.0
"""One node's look at the chain: its finalized and its newest block, and at both all consortia that are
followed.

One exchange, however many consortia and runs: the lens answers for all of them, and names the block of which
it speaks, so that a header and an answer that were asked for by a tag are known to belong together. Where the
chain moved between the two, the look is taken again.

A row is cut in two. What the ledger keeps of the runs stands at its end, and changes with the runs that are
asked for; all before it is the *core*, which is the same from every honest node at one block. So two cores
are compared as bytes, and decoded once.

The consortia of one lens share an exchange, and those of another lens never do: a ledger that somebody made
names a lens of its own, which may answer with anything, without end or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.views import Place
from sealroom_agents.errors import ChainError

LOOK_GAS = 50_000_000
"""Gas of one call of the lens: what nodes commonly allow at most."""
TOGETHER = 4
"""Consortia in one call of the lens: even where each burns its share, 10 million gas, the call has enough."""
TRIES = 3
"""Looks that are taken where the chain moves under them."""
WORD = 32
"""Bytes of a word of the ABI."""
ROW_BYTES = 25_600
"""Most bytes of a row without datasets and runs, and of what stands around it; the lens allows 24,576."""
DATASET_BYTES = 2_048
"""Most bytes of a dataset in a row, as the lens has it."""
HEAD_BYTES = 1_024
"""More than an answer has before its rows."""
ROWS_MEMBER = 5
"""Place of the rows among the members of `ILens.Seen`."""

Question = bytes | int
"""A block that is asked for besides: by its hash, or by its number."""


@dataclass(frozen=True)
class Ask:
    """What is asked of one consortium."""

    consortium: str
    """Its address."""
    datasets: tuple[bytes, ...] = ()
    """Datasets that are wanted, strictly increasing."""
    runs: tuple[bytes, ...] = ()
    """Runs whose commitments are wanted."""


@dataclass(frozen=True)
class Sight:
    """What one node shows of one consortium at one block."""

    core: bytes | None
    """The encoded row without commitments; `None` where no consortium answers."""
    datasets: tuple[bytes, ...]
    """Datasets that are in it."""
    place: Place | None
    """Ledger and lens by which it was read."""
    commitments: Mapping[bytes, bytes]
    """What the ledger keeps of each run that was asked for; zeros for one that it has not opened."""


@dataclass(frozen=True)
class Block:
    """One block, as one node shows it."""

    head: Head
    """Which it is."""
    parent: bytes
    """Hash of the block before it."""
    sights: Mapping[str, Sight]
    """What it shows there, by consortium."""


@dataclass(frozen=True)
class Look:
    """What one node answers."""

    tags: Mapping[str, Block]
    """By tag: `latest`, `finalized` and, where it was asked for, `safe`."""
    asked: Mapping[Question, Block | None]
    """By question; `None` where the node does not have that block on its chain."""


def nothing(ask: Ask) -> Sight:
    """The sight of an address where no consortium answers."""
    return Sight(None, ask.datasets, None, {})


def look(
    rpc: Rpc,
    place: Place | None,
    asks: Sequence[Ask],
    *,
    tags: Sequence[str],
    questions: Sequence[Question] = (),
    chain_id: int,
    timeout_s: float | None = None,
) -> Look:
    """Ask one node about consortia of one place's lens; `place` is `None` where there are none. `timeout_s`:
    seconds that each try may take, where that is less than for any exchange.

    A consortium of which the lens speaks at another block, three times, is left out. Raises `ChainError`:
    `chain-unreachable`, `answer-too-large`, and `chain-disagrees` for a node of another chain.
    """
    together, points = TOGETHER, (*tags, *questions)
    for left in range(TRIES, 0, -1):
        pages = [asks[start : start + together] for start in range(0, len(asks), together)]
        calls: list[tuple[str, list[Any]]] = []
        called = [] if place is None else [_look_call(place, page) for page in pages]
        for point in points:
            calls.append(_header_call(point))
            calls += [("eth_call", [call, _at(point)]) for call in called]
        answers = iter(rpc.batch(calls, timeout_s=timeout_s))
        given = [(next(answers), [next(answers) for _ in pages]) for _ in points]
        if together > 1 and any(
            isinstance(row, RpcFailure) and row.reverted for _, rows in given for row in rows
        ):
            together = 1  # one of them is no consortium, or this node's calls have less gas
            continue
        found = {
            point: _block(rpc, point, header, rows, pages, place, chain_id)
            for point, (header, rows) in zip(points, given, strict=True)
        }
        there = all(len(block.sights) == len(asks) for block in found.values() if block is not None)
        if there or left == 1:
            seen = {tag: block for tag in tags if (block := found[tag]) is not None}
            return Look(seen, {question: found[question] for question in questions})
    raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} does not answer for one consortium at a time")


def _header_call(point: str | Question) -> tuple[str, list[Any]]:
    if isinstance(point, bytes):
        return "eth_getBlockByHash", ["0x" + point.hex(), False]
    return "eth_getBlockByNumber", [hex(point) if isinstance(point, int) else point, False]


def _look_call(place: Place, page: Sequence[Ask]) -> dict[str, str]:
    return {"to": place.lens, "data": "0x" + _encoded(page).hex(), "gas": hex(LOOK_GAS)}


def _encoded(page: Sequence[Ask]) -> bytes:
    """The call `look((address,bytes32[],bytes32[])[])`. The general encoder looks at each of a thousand runs
    for itself, and takes ten times as long."""
    parts = [
        b"".join(
            (
                bytes.fromhex(ask.consortium[2:]).rjust(WORD, b"\0"),
                _word(3 * WORD),
                _word((4 + len(ask.runs)) * WORD),
                _word(len(ask.runs)),
                *ask.runs,
                _word(len(ask.datasets)),
                *ask.datasets,
            )
        )
        for ask in page
    ]
    offsets, end = [], len(page) * WORD
    for part in parts:
        offsets.append(_word(end))
        end += len(part)
    head = interface("Lens").encode("look", [])[:4] + _word(WORD) + _word(len(page))
    return head + b"".join((*offsets, *parts))


def _word(number: int) -> bytes:
    return number.to_bytes(WORD, "big")


def _at(point: str | Question) -> Any:
    if isinstance(point, bytes):
        return {"blockHash": "0x" + point.hex(), "requireCanonical": True}
    return hex(point) if isinstance(point, int) else point


def _block(
    rpc: Rpc,
    point: str | Question,
    header: Any,
    rows: Sequence[Any],
    pages: Sequence[Sequence[Ask]],
    place: Place | None,
    chain_id: int,
) -> Block | None:
    """The block of one point, without what the lens says of another one; `None` where the node does not have
    it. Raises `ChainError`."""
    if isinstance(header, RpcFailure) or header is None:
        if not isinstance(point, str):
            return None
        what = header.message if isinstance(header, RpcFailure) else "nothing"
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} answers {what} for block {point}")
    if not isinstance(header, dict):
        raise rpc.malformed("a block that is none")
    head = Head(
        number=rpc.quantity(header.get("number")),
        hash=rpc.data(header.get("hash"), 32),
        timestamp=rpc.quantity(header.get("timestamp")),
    )
    parent = rpc.data(header.get("parentHash"), 32)
    if point not in (head.number, head.hash) and not isinstance(point, str):
        raise rpc.malformed("another block than was asked for")
    sights: dict[str, Sight] = {}
    for page, row in zip(pages, rows, strict=True):
        if isinstance(row, RpcFailure):
            if not row.reverted:
                if not isinstance(point, str):
                    return None  # a block that is not, or not yet, on its chain
                raise ChainError(
                    Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses a call of the lens: {row.message}"
                )
            sights |= {ask.consortium: nothing(ask) for ask in page}
            continue
        read = _page(rpc.data(row), page, place)
        if read is None:
            sights |= {ask.consortium: nothing(ask) for ask in page}
            continue
        said, rows_there = read
        if said[0] != chain_id:
            require_chain(rpc, chain_id)  # or else it is the lens that lies
        if said == (chain_id, head.number, head.timestamp, parent):
            sights |= rows_there
    return Block(head, parent, sights)


def require_chain(rpc: Rpc, chain_id: int) -> None:
    """Raises `ChainError` `chain-disagrees` for a node of another chain (CH-07)."""
    if (told := rpc.chain_id()) != chain_id:
        raise ChainError(
            Code.CHAIN_DISAGREES,
            f"{rpc.shown_url} is on chain {told}, not {chain_id}",
            "it is the endpoint of another chain: replace it",
        )


def _page(
    data: bytes, page: Sequence[Ask], place: Place | None
) -> tuple[tuple[int, int, int, bytes], dict[str, Sight]] | None:
    """What one call of the lens answers: of which chain and block, and the rows; `None` for what no lens
    says."""
    # Before it is decoded: many rows may point at the same bytes, and each would be a copy of them.
    most = HEAD_BYTES + sum(
        ROW_BYTES + DATASET_BYTES * len(ask.datasets) + WORD * len(ask.runs) for ask in page
    )
    if len(data) > most or _rows_said(data) != len(page):
        return None
    try:
        seen = interface("Lens").decode("look", data)
    except ChainError:
        return None
    if len(seen["rows"]) != len(page):
        return None
    sights: dict[str, Sight] = {}
    for ask, row in zip(page, seen["rows"], strict=True):
        parts = split(row, len(ask.runs))
        if parts is None:
            sights[ask.consortium] = nothing(ask)
        else:
            kept = dict(zip(ask.runs, parts[1], strict=True))
            sights[ask.consortium] = Sight(parts[0], ask.datasets, place, kept)
    return (seen["chainId"], seen["number"], seen["time"], seen["parent"]), sights


def _rows_said(data: bytes) -> int:
    """How many rows an encoded answer says that it has; -1 for no such answer."""

    def word(at: int) -> int:
        return int.from_bytes(data[at : at + WORD], "big") if at + WORD <= len(data) else -1

    start = word(0)
    rows = word(start + ROWS_MEMBER * WORD) if start >= 0 else -1
    return word(start + rows) if rows >= 0 else -1


def split(row: bytes, runs: int) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Core and commitments of an encoded row; `None` for one that does not end in so many commitments."""
    cut = len(row) - WORD * (runs + 1)
    if cut < WORD or int.from_bytes(row[cut : cut + WORD], "big") != runs:
        return None
    kept = row[cut + WORD :]
    return row[:cut], tuple(kept[start : start + WORD] for start in range(0, len(kept), WORD))


def whole(core: bytes) -> bytes:
    """The encoded row of a core, without any commitment."""
    return core + bytes(WORD)
