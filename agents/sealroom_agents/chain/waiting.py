# SPDX-License-Identifier: Apache-2.0
"""What waits in a consortium besides studies: votes that govern, and seats and datasets that are offered.

All of it is state, read from one node at one block; no decision rests on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import MAX_BATCH, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import STATE_GAS, ZERO_ADDRESS, Places, read_state
from sealroom_agents.facts import Handover, PendingRecord

KINDS = {1: "roster", 2: "platform", 3: "machines"}
"""Kinds of proposals that govern (`ILens.Pending`)."""
MAX_PENDING = 1024
"""Proposals whose votes are asked for at once; each cost the owner who made it a transaction."""
MAX_SEATS = 16
"""Seats of a consortium."""


def read_pending(
    rpc: Rpc, places: Places, consortium: str, head: Head, proposals: Sequence[bytes]
) -> list[PendingRecord]:
    """Votes for rosters, platforms and machines at one block, for the first `MAX_PENDING` of the proposals;
    those whose votes count no more are left out."""
    lens, place = interface("Lens"), places.one(rpc, consortium, head)
    asked = proposals[:MAX_PENDING]
    answers: list[bytes | RpcFailure] = []
    for start in range(0, len(asked), MAX_BATCH):
        page = asked[start : start + MAX_BATCH]
        calls = [(place.lens, lens.encode("pending", consortium, one)) for one in page]
        answers += rpc.calls_at(head.hash, calls, gas=STATE_GAS)
    found = []
    for proposal, answer in zip(asked, answers, strict=True):
        votes = None if isinstance(answer, RpcFailure) else lens.decode("pending", answer)
        if votes is None or not votes["counts"] or votes["kind"] not in KINDS:
            continue
        found.append(
            PendingRecord(
                id=proposal,
                kind=KINDS[votes["kind"]],
                approved=tuple(account.lower() for account in votes["approved"]),
                withdrawn=tuple(account.lower() for account in votes["withdrawn"]),
                since=int(votes["since"]),
            )
        )
    return found


def read_handovers(
    rpc: Rpc, places: Places, consortium: str, head: Head, datasets: Sequence[bytes]
) -> tuple[Handover, ...]:
    """Seats of a consortium, and of `datasets` those, that are offered to another account at one block."""
    contract, ledger = interface("Consortium"), interface("Ledger")
    state = read_state(rpc, places, consortium, head)
    accounts = [owner.account for owner in state.owners]
    calls = [(consortium, contract.encode("seatOf", account)) for account in accounts]
    calls += [(consortium, contract.encode("handover", seat)) for seat in range(MAX_SEATS)]
    asked = datasets[: MAX_BATCH - len(calls)]
    calls += [(state.ledger, ledger.encode("offerOf", one)) for one in asked]
    answers = rpc.calls_at(head.hash, calls, gas=STATE_GAS)
    seats = answers[: len(accounts)]
    offers = answers[len(accounts) : len(accounts) + MAX_SEATS]
    found = []
    for account, answer in zip(accounts, seats, strict=True):
        seat = 0 if isinstance(answer, RpcFailure) else int(contract.decode("seatOf", answer))
        offer = offers[seat - 1] if 0 < seat <= MAX_SEATS else None
        if offer is not None and not isinstance(offer, RpcFailure):
            to, due = contract.decode("handover", offer)
            if to != ZERO_ADDRESS:
                found.append(Handover(kind="seat", about=account, to=to.lower(), due=int(due)))
    for dataset, answer in zip(asked, answers[len(accounts) + MAX_SEATS :], strict=True):
        if isinstance(answer, RpcFailure):
            continue
        to, due = ledger.decode("offerOf", answer)
        if to != ZERO_ADDRESS:
            found.append(Handover(kind="dataset", about="0x" + dataset.hex(), to=to.lower(), due=int(due)))
    return tuple(found)
