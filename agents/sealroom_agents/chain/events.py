# SPDX-License-Identifier: Apache-2.0
"""What happened, from logs: each event with its transaction, as the records of
`sealroom_agents.chain.history`.

Logs are for people to follow and for finding things; state is the truth, and no decision rests on a log
(CH-29).
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
    History,
    OwnersChange,
    Pin,
    PlatformAdoption,
    Proposal,
    ReceiptAnchoring,
    Registration,
    Revocation,
    RunOpening,
    UnpinFailure,
    Withdrawal,
)
from sealroom_agents.chain.logs import Log, address_topic, logs, parsed, topics
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.views import decode_owner, decode_study

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
                if name == "StudyPinned":
                    fields["owners"] = _accounts(rpc, consortium, fields["roster"], fields["approvals"])
                found[name].append(_EVENTS[name](log, fields))
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
    """Accounts of a bitmap. Rosters are kept for good, so the answer never changes."""
    return tuple(str(account).lower() for account in _ask(rpc, consortium, "accounts", roster, bitmap))


def _ask(rpc: Rpc, consortium: str, view: str, *arguments: Any) -> Any:
    contract = interface("Consortium")
    return contract.decode(view, rpc.call_latest(consortium, contract.encode(view, *arguments)))


def _proposal(log: Log, fields: dict[str, Any]) -> Proposal:
    study = decode_study(fields["content"])
    return Proposal(at=log.where, study=study, proposer=fields["proposer"].lower())


def _approval(log: Log, fields: dict[str, Any]) -> Approval:
    return Approval(at=log.where, study=bytes(fields["study"]), owner=fields["owner"].lower())


def _withdrawal(log: Log, fields: dict[str, Any]) -> Withdrawal:
    return Withdrawal(at=log.where, proposal=bytes(fields["proposal"]), owner=fields["owner"].lower())


def _pin(log: Log, fields: dict[str, Any]) -> Pin:
    return Pin(at=log.where, study=decode_study(fields["content"]), owners=fields["owners"])


def _revocation(log: Log, fields: dict[str, Any]) -> Revocation:
    return Revocation(
        at=log.where,
        owner=fields["owner"].lower(),
        compose_hash=bytes(fields["composeHash"]),
        epoch=fields["epoch"],
        reason=fields["reason"],
    )


def _unpin_failure(log: Log, fields: dict[str, Any]) -> UnpinFailure:
    return UnpinFailure(at=log.where, compose_hash=bytes(fields["composeHash"]))


def _platform(log: Log, fields: dict[str, Any]) -> PlatformAdoption:
    return PlatformAdoption(
        at=log.where,
        gate_root=bytes(fields["gateRoot"]),
        gate_signer=fields["gateSigner"].lower(),
        epoch=fields["epoch"],
    )


def _roster(log: Log, fields: dict[str, Any]) -> OwnersChange:
    return OwnersChange(
        at=log.where,
        roster=fields["roster"],
        threshold=fields["threshold"],
        epoch=fields["epoch"],
        owners=tuple(decode_owner(owner) for owner in fields["owners"]),
    )


def _registration(log: Log, fields: dict[str, Any]) -> Registration:
    return Registration(
        at=log.where,
        dataset=bytes(fields["dataset"]),
        owner=fields["owner"].lower(),
        rows=fields["rows"],
        index_digest=bytes(fields["indexDigest"]),
        name=fields["name"],
    )


def _cap(log: Log, fields: dict[str, Any]) -> CapSetting:
    return CapSetting(
        at=log.where,
        dataset=bytes(fields["dataset"]),
        owner=fields["owner"].lower(),
        epsilon_micro=fields["epsilonMicro"],
        delta_pico=fields["deltaPico"],
        runs=fields["runs"],
    )


def _run(log: Log, fields: dict[str, Any]) -> RunOpening:
    opening = fields["opening"]
    run = opening["run"]
    return RunOpening(
        at=log.where,
        run_id=bytes(fields["runId"]),
        study=bytes(fields["study"]),
        number=opening["number"],
        epsilon_micro=run["epsilonMicro"],
        delta_pico=run["deltaPico"],
        epoch=run["epoch"],
        enclave_signer=run["enclaveSigner"].lower(),
        grant_hash=bytes(run["grantHash"]),
    )


def _receipt(log: Log, fields: dict[str, Any]) -> ReceiptAnchoring:
    receipt = fields["receipt"]
    return ReceiptAnchoring(
        at=log.where,
        run_id=bytes(fields["runId"]),
        study=bytes(fields["study"]),
        sequence=fields["sequence"],
        compose_hash=bytes(receipt["composeHash"]),
        result_digest=bytes(receipt["resultDigest"]),
        statement_digest=bytes(receipt["statementDigest"]),
        epsilon_micro=receipt["epsilonMicro"],
        delta_pico=receipt["deltaPico"],
    )


def _batch(log: Log, fields: dict[str, Any]) -> BatchAnchoring:
    return BatchAnchoring(
        at=log.where,
        batch=fields["batch"],
        root=bytes(fields["root"]),
        first=fields["first"],
        count=fields["count"],
        epoch=fields["epoch"],
    )


_EVENTS: dict[str, Callable[[Log, dict[str, Any]], Any]] = {
    "StudyProposed": _proposal,
    "StudyApproved": _approval,
    "ApprovalWithdrawn": _withdrawal,
    "StudyPinned": _pin,
    "Revoked": _revocation,
    "UnpinFailed": _unpin_failure,
    "PlatformAdopted": _platform,
    "OwnersChanged": _roster,
    "DatasetRegistered": _registration,
    "CapSet": _cap,
    "RunOpened": _run,
    "ReceiptAnchored": _receipt,
    "BatchAnchored": _batch,
}
"""How each event is read; all others are passed over."""
