# SPDX-License-Identifier: Apache-2.0
"""One look at a consortium: its state at one block of one node, with what its events are asked about.

What a hash of the state is the hash of comes from the events that the index has. State is the proof: content
counts by its hash, and whether events are missing shows by the number that the state has of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom.model import Books, Row, State
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.events import accounts_at, unnamed
from sealroom_agents.chain.history import History
from sealroom_agents.chain.owner_events import Proposed, Revocation
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.views import (
    MAX_CANDIDATES,
    MAX_LISTED,
    STATE_GAS,
    ZERO_HASH,
    Places,
    active_study,
    decode_state,
    read,
    read_candidates,
    read_datasets,
    read_offered,
    read_study_datasets,
    revoker,
    view_of,
)
from sealroom_agents.chain.waiting import read_handovers, read_pending
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView
from sealroom_agents.index.facts import Facts, Seated, StudyDatasets, newest_of_each, waiting
from sealroom_agents.index.listing import Misplaced, counted, counting, misplaced
from sealroom_agents.index.rows import votes
from sealroom_agents.store.index import Index
from sealroom_agents.store.index_records import MAX_RECORDS, Look

LACKING = "the index lacks events that the state says there are; sealroom db rebuild reads them again"
MAX_STUDIES = 8
"""Waiting studies of one consortium whose datasets are read ahead."""


def look_at(
    rpc: Rpc,
    places: Places,
    index: Index,
    consortium: str,
    head: Head,
    *,
    chain_id: int,
    factory: str,
    number: int,
) -> Look:
    """One consortium, which the index has up to `head`. What cannot be read is a fault of this one alone.

    Raises `Misplaced` where the factory has another one at that number, and `ChainError` where the node,
    rather than the consortium, does not answer.
    """
    try:
        history = votes(index, consortium)
        row, facts = facts_at(rpc, places, consortium, head, history, chain_id=chain_id)
        (line,) = lines(rpc, factory, head, number, [consortium])
    except Misplaced:
        raise
    except ChainError as error:
        if error.code not in (Code.NOT_A_CONSORTIUM, Code.EVENTS_MISSING):
            raise
        return Look(consortium, head.number, fault=error.message)
    used = {to_hex(one.id) for one in (*facts.offered, *facts.view.datasets)}
    used |= {to_hex(one.id) for study in facts.datasets for one in study.datasets}
    fault = None if has_all(index, consortium, row.state, row.books) else LACKING
    columns = line.line | {
        "expiry": row.state.expiry,
        "names": "\n" + "\n".join(owner.id for owner in row.state.owners) + "\n",
    }
    return Look(
        consortium, head.number, facts=facts.encode(), fault=fault, line=columns, datasets=sorted(used),
        accounts=_accounts(facts),
    )  # fmt: skip


def _accounts(facts: Facts) -> dict[str, bool]:
    """Accounts that a consortium names, and whether each did something there itself: who is offered a seat or
    a dataset has not."""
    named = [*(one.account for one in facts.view.owners), *(one.to for one in facts.handovers)]
    return {account: account in facts.view.confirmed for account in named}


def facts_at(
    rpc: Rpc, places: Places, consortium: str, head: Head, history: History, *, chain_id: int
) -> tuple[Row, Facts]:
    """All of one consortium that pages show, at one block of one node. history: its events up to there.
    Raises `ChainError`."""
    pins = {pin.content.id: pin.content for pin in history.pins}
    last = history.pins[-1].content if history.pins else None
    seen = read(rpc, places, consortium, head, study=last)
    state = seen.row.state
    if state.study != ZERO_HASH and state.study not in pins:
        raise _missing(f"the pin of study {to_hex(state.study)}")
    if last is not None and state.study != last.id:
        last = pins.get(state.study)
        seen = read(rpc, places, consortium, head, study=last)
        state = seen.row.state
    active = last if active_study(state) is not None else None
    shown = seen if active is not None else replace(seen, row=replace(seen.row, datasets=()), pinned=())
    view = view_of(consortium, head, shown, chain_id=chain_id, study=active, reason=_reason(history, state))
    studies = newest_of_each(waiting(view, history, now=head.timestamp), history)[:MAX_CANDIDATES]
    candidates = tuple(read_candidates(rpc, places, consortium, head, studies)) if studies else ()
    told = [one.study for one in candidates[:MAX_STUDIES]]
    if active is None and last is not None:
        told.append(last)
    datasets = tuple(
        StudyDatasets(study.id, read_study_datasets(rpc, places, consortium, head, study)) for study in told
    )
    ids = read_offered(rpc, places, consortium, head)
    offered = tuple(
        record
        for start in range(0, len(ids), MAX_LISTED)
        for record in read_datasets(rpc, places, consortium, head, ids[start : start + MAX_LISTED])
    )
    asked = [one.proposal for one in reversed(history.of(Proposed))]
    wanted = unnamed(history.events, complete=history.complete)
    accounts = accounts_at(rpc, consortium, head, sorted(set(wanted.values())))
    return seen.row, Facts(
        view=view,
        spending=seen.row.spending,
        books=seen.row.books,
        candidates=candidates,
        pending=tuple(read_pending(rpc, places, consortium, head, asked)) if asked else (),
        handovers=read_handovers(rpc, places, consortium, head, _each(view, offered, datasets)),
        offered=offered,
        datasets=datasets,
        seated=tuple(Seated(*seats, accounts=found) for seats, found in accounts.items()),
    )


def _each(view: ChainView, offered: Sequence[Any], datasets: Sequence[StudyDatasets]) -> list[bytes]:
    found = [*view.datasets, *offered, *(one for study in datasets for one in study.datasets)]
    return list(dict.fromkeys(one.id for one in found))


def _reason(history: History, state: State) -> str:
    """The words of the revocation that stands."""
    owner = revoker(state)
    said = [one.reason for one in history.of(Revocation) if one.owner == owner]
    return said[-1] if said else ""


def has_all(index: Index, consortium: str, state: State, books: Books) -> bool:
    """Whether the index has as many events as the state says that there are, and those of the last run."""
    return index.tallies([consortium]).get(consortium, (0, 0)) == (state.events, books.last_block)


def differing(
    rpc: Rpc, places: Places, index: Index, factory: str, consortia: Sequence[str], head: Head
) -> tuple[list[str], int]:
    """Those of some consortia of which the index lacks events, and how many consortia the factory has: so a
    node that hides a log, such as that of a revocation, is found out by the state. Raises `ChainError` where
    the node does not answer."""
    lens, ledger = interface("Lens"), interface("Ledger")
    named = places.many(rpc, consortia, head)
    calls = [(place.lens, lens.encode("state", one)) for one, place in named.items()]
    calls += [(place.ledger, ledger.encode("books", one)) for one, place in named.items()]
    *answers, number = rpc.calls_at(head.hash, [*calls, counting(factory)], gas=STATE_GAS)
    kept = index.tallies(consortia)
    found = []
    pairs = zip(named.items(), answers[: len(named)], answers[len(named) :], strict=True)
    for (consortium, place), state, books in pairs:
        if isinstance(state, RpcFailure) or isinstance(books, RpcFailure):
            continue
        try:
            told = decode_state(state, place).events, Books.of_abi(ledger.decode("books", books)).last_block
        except (ChainError, FormatError):
            continue
        if told != kept.get(consortium, (0, 0)):
            found.append(consortium)
    return found, counted(rpc, number)


def _missing(what: str) -> ChainError:
    return ChainError(
        Code.EVENTS_MISSING,
        f"the index lacks {what}",
        "the node that was read hides or falsifies logs: read through another one, then sealroom db rebuild",
    )


def lines(rpc: Rpc, factory: str, head: Head, first: int, consortia: Sequence[str]) -> list[Look]:
    """Lines of the factory's board at one block, of these consortia from number `first` on: fewer where the
    node has not the gas for that many, since anyone can fill the lines of consortia of its own.

    Raises `Misplaced` where the factory has others there; `ChainError`.
    """
    contract, most = interface("Factory"), len(consortia)
    while True:
        (answer,) = rpc.calls_at(head.hash, [(factory, contract.encode("board", first, most))])
        if not isinstance(answer, RpcFailure):
            break
        if most == 1:
            raise ChainError(Code.NOT_A_CONSORTIUM, f"the factory does not show its line: {answer.message}")
        most = max(1, most // 2)
    told = contract.decode("board", answer)
    if len(told) != most:
        raise misplaced(consortia[min(len(told), most - 1)], first + len(told))
    found = []
    for place, (consortium, line) in enumerate(zip(consortia, told, strict=False), first):
        if str(line["consortium"]).lower() != consortium:
            raise misplaced(consortium, place)
        found.append(Look(consortium, head.number, line=_columns(line)))
    return found


def _columns(line: Any) -> dict[str, Any]:
    return {
        "owners": int(line["owners"]),
        "confirmed": int(line["confirmed"]),
        "records": min(int(line["records"]), MAX_RECORDS),
        "criteria": "".join(str(min(int(grade), 2)) for grade in line["criteria"]),
        "status": int(line["status"]),
        "declared": int(line["status"]) not in (1, 2, 3),
    }
