# SPDX-License-Identifier: Apache-2.0
"""What happened, from logs: each event with its transaction, as the
records of `sealroom_agents.chain.history`.

Logs are for people to follow and for finding things; state is the truth,
and no decision rests on a log (CH-29).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.history import (
    Approval,
    BatchAnchoring,
    CapSetting,
    DatasetRegistration,
    Event,
    History,
    OwnersChange,
    Pin,
    PlatformAdoption,
    Proposal,
    ReceiptAnchoring,
    Revocation,
    RunOpening,
    UnpinFailure,
    Withdrawal,
)
from sealroom_agents.chain.logs import address_topic, logs, parsed, topics
from sealroom_agents.chain.rpc import Head, Rpc

KEPT_S = 600.0
"""Seconds after which a history is read anew."""
MAX_KEPT = 256
"""Histories that are kept."""
Found = dict[str, tuple[Any, ...]]
"""Records by the name of their event, oldest first."""


@dataclass(frozen=True)
class _Read:
    """What was read of one consortium."""

    began: float
    """When it was begun, seconds of the clock."""
    last: Head | None
    """The last block that was read; `None` before the first."""
    found: Found
    """What the blocks up to it say."""


class Histories:
    """What finalized blocks say of consortia, read once and then from where it ended. Thread safe.

    By node, and for `KEPT_S` seconds only, so that what a node once made up does not stay. A chain that was
    put back below a block which it had called final, as development nodes allow, is read anew.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], _Read] = OrderedDict()

    def read(self, rpc: Rpc, consortium: str, *, from_block: int = 0) -> History:
        """Everything that one consortium and its ledger logged about it, up to the node's latest block."""
        key = (rpc.url, consortium, from_block)
        head, final = rpc.head("latest"), rpc.head("finalized")
        read = self._begun(key, rpc, head)
        start = from_block if read.last is None else read.last.number + 1
        if final.number >= start:
            found = _joined(read.found, _found(rpc, consortium, start, final.number))
            read, start = _Read(read.began, final, found), final.number + 1
            with self._lock:
                self._kept[key] = read
                self._kept.move_to_end(key)
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        return _history(_joined(read.found, _found(rpc, consortium, start, head.number)))

    def _begun(self, key: tuple[str, str, int], rpc: Rpc, head: Head) -> _Read:
        """What was read before, as long as it still stands."""
        with self._lock:
            read = self._kept.get(key)
        if read is None or read.last is None or self._clock() - read.began > KEPT_S:
            return _Read(self._clock(), None, {})
        if head.number >= read.last.number and rpc.head(read.last.number).hash == read.last.hash:
            return read
        return _Read(self._clock(), None, {})


def _joined(older: Found, newer: Found) -> Found:
    return {event: older.get(event, ()) + newer.get(event, ()) for event in _EVENTS}


def _found(rpc: Rpc, consortium: str, lower: int, upper: int) -> Found:
    """Records of the blocks from `lower` to `upper`."""
    if lower > upper:
        return {}
    ledger = _ledger_of(rpc, consortium)
    about = topics(None, address_topic(consortium))
    found: dict[str, list[Any]] = {event: [] for event in _EVENTS}
    for contract, query in (
        ("Consortium", {"address": consortium}),
        ("Ledger", {"address": ledger, "topics": about}),
    ):
        for log in logs(rpc, query, lower, upper):
            decoded = interface(contract).decode_log(log.topics, log.data)
            if decoded is not None and decoded[0] in found:
                name, fields = decoded
                more: dict[str, Any] = {"at": log.where}
                if name == "StudyPinned":
                    more["owners"] = _accounts(rpc, consortium, fields["roster"], fields["approvals"])
                found[name].append(_EVENTS[name].of_abi(fields, **more))
    return {event: tuple(records) for event, records in found.items()}


def _history(found: Found) -> History:
    return History(
        proposals=found["StudyProposed"],
        approvals=found["StudyApproved"],
        withdrawals=found["ApprovalWithdrawn"],
        pins=found["StudyPinned"],
        revocations=found["Revoked"],
        unpin_failures=found["UnpinFailed"],
        platforms=found["PlatformAdopted"],
        rosters=found["OwnersChanged"],
        registrations=found["DatasetRegistered"],
        caps=found["CapSet"],
        runs=found["RunOpened"],
        receipts=found["ReceiptAnchored"],
        batches=found["BatchAnchored"],
    )


def approvals_in(rpc: Rpc, consortium: str, study: bytes, tx: bytes) -> frozenset[str]:
    """The accounts whose approval of `study` one node's receipt of a transaction tells of."""
    receipt = rpc.request("eth_getTransactionReceipt", ["0x" + tx.hex()])
    if receipt is None:
        return frozenset()
    if not isinstance(receipt, dict):
        raise rpc.malformed("a malformed receipt")
    accounts: set[str] = set()
    for item, log in zip(receipt.get("logs") or (), parsed(rpc, receipt.get("logs")), strict=True):
        if rpc.data(item.get("address"), 20).hex() != consortium.removeprefix("0x"):
            continue
        decoded = interface("Consortium").decode_log(log.topics, log.data)
        if decoded is None or bytes(decoded[1].get("study", b"")) != study:
            continue
        name, fields = decoded
        if name == "StudyApproved":
            accounts.add(fields["owner"].lower())
        elif name == "StudyPinned":
            accounts.update(_accounts(rpc, consortium, fields["roster"], fields["approvals"]))
    return frozenset(accounts)


def _ledger_of(rpc: Rpc, consortium: str) -> str:
    return str(_ask(rpc, consortium, "ledger")).lower()


def _accounts(rpc: Rpc, consortium: str, roster: int, bitmap: int) -> tuple[str, ...]:
    """Accounts of a bitmap. The contract keeps all rosters, so the answer never changes."""
    return tuple(str(account).lower() for account in _ask(rpc, consortium, "accounts", roster, bitmap))


def _ask(rpc: Rpc, consortium: str, view: str, *arguments: Any) -> Any:
    contract = interface("Consortium")
    return contract.decode(view, rpc.call_latest(consortium, contract.encode(view, *arguments)))


_EVENTS: dict[str, type[Event]] = {
    "StudyProposed": Proposal,
    "StudyApproved": Approval,
    "ApprovalWithdrawn": Withdrawal,
    "StudyPinned": Pin,
    "Revoked": Revocation,
    "UnpinFailed": UnpinFailure,
    "PlatformAdopted": PlatformAdoption,
    "OwnersChanged": OwnersChange,
    "DatasetRegistered": DatasetRegistration,
    "CapSet": CapSetting,
    "RunOpened": RunOpening,
    "ReceiptAnchored": ReceiptAnchoring,
    "BatchAnchored": BatchAnchoring,
}
"""What each event is read as; all others are passed over."""
