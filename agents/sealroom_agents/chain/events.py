# SPDX-License-Identifier: Apache-2.0
"""What happened, from logs: proposals, approvals, pins, revocations, runs, receipts, each with its
transaction.

Logs are for people to follow and for finding things; state is the truth, and no decision rests on a log
(CH-29).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import decode_study
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import StudyRecord

LOG_RANGE = 10_000
"""Blocks asked for in one `eth_getLogs`; public nodes refuse more."""
MAX_RANGES = 200
"""Ranges walked in one search, so that a search ends."""


@dataclass(frozen=True)
class Where:
    """Where an event happened."""

    block: int
    """Block number."""
    block_hash: bytes
    """Block hash, 32 bytes."""
    tx: str
    """Transaction hash, `0x` + 64 hex digits."""
    index: int
    """Position of the log in its block."""


@dataclass(frozen=True)
class Proposal:
    """A study was proposed."""

    at: Where
    study: StudyRecord
    """Its content."""
    proposer: str
    """Account that proposed it."""


@dataclass(frozen=True)
class Approval:
    """An owner approved a study."""

    at: Where
    study: bytes
    """Study id."""
    owner: str
    """Account that approved."""


@dataclass(frozen=True)
class Pin:
    """A recipe was pinned in the app (`pinned`) or unpinned."""

    at: Where
    study: bytes
    """Study id."""
    compose_hash: bytes
    """The recipe."""
    pinned: bool
    """Whether it was pinned; otherwise unpinned."""


@dataclass(frozen=True)
class Revocation:
    """An owner revoked."""

    at: Where
    owner: str
    """Account that revoked."""
    study: bytes
    """The study that was active, or zero."""
    epoch: int
    """Epoch after the revocation."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class PlatformAdoption:
    """The owners adopted a gate and its machines."""

    at: Where
    gate_root: bytes
    """Fingerprint of the gate's root key."""
    gate_signer: str
    """The gate's signing address."""
    epoch: int
    """Epoch after it."""


@dataclass(frozen=True)
class Registration:
    """An owner registered a dataset."""

    at: Where
    dataset: bytes
    """Dataset id."""
    owner: str
    """Its owner's account."""
    rows: int
    """Rows."""
    index_digest: bytes
    """Digest of the sealed index."""
    name: str
    """Its name."""


@dataclass(frozen=True)
class RunOpening:
    """A run was opened: its budget is booked."""

    at: Where
    run_id: bytes
    """Run id."""
    study: bytes
    """Study id."""
    epsilon_micro: int
    """Budget booked, micro-epsilon."""
    epoch: int
    """Epoch at which it was opened."""
    enclave_signer: str
    """Key that may sign its receipt."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""


@dataclass(frozen=True)
class ReceiptAnchoring:
    """A receipt was anchored."""

    at: Where
    run_id: bytes
    """Run id."""
    study: bytes
    """Study id."""
    sequence: int
    """Position among the consortium's receipts, from 1."""
    compose_hash: bytes
    """The recipe."""
    result_digest: bytes
    """SHA-256 of the canonical result."""
    statement_digest: bytes
    """SHA-256 of the signed statement."""
    epsilon_micro: int
    """Budget, micro-epsilon."""


@dataclass(frozen=True)
class History:
    """All of it, each kind oldest first."""

    proposals: tuple[Proposal, ...]
    approvals: tuple[Approval, ...]
    pins: tuple[Pin, ...]
    """Pins and unpins."""
    revocations: tuple[Revocation, ...]
    platforms: tuple[PlatformAdoption, ...]
    registrations: tuple[Registration, ...]
    runs: tuple[RunOpening, ...]
    receipts: tuple[ReceiptAnchoring, ...]

    def approvals_of(self, study: bytes) -> tuple[Approval, ...]:
        """Approvals of one study, oldest first."""
        return tuple(approval for approval in self.approvals if approval.study == study)

    def runs_of(self, study: bytes) -> tuple[RunOpening, ...]:
        """Runs of one study, oldest first."""
        return tuple(run for run in self.runs if run.study == study)

    def receipt_of(self, run_id: bytes) -> ReceiptAnchoring | None:
        """The anchored receipt of a run, or `None`."""
        return next((receipt for receipt in self.receipts if receipt.run_id == run_id), None)


def study_history(rpc: Rpc, consortium: str, *, from_block: int = 0) -> History:
    """Everything that one consortium and its ledger logged about it, up to the latest block."""
    head = rpc.head("latest").number
    contract, ledger = interface("Consortium"), interface("Ledger")
    found: dict[type, list[Any]] = {kind: [] for kind in _KINDS}
    for log in _logs(rpc, {"address": consortium}, from_block, head):
        decoded = contract.decode_log(log.topics, log.data)
        if decoded is not None:
            _add(found, log, *decoded)
    ledger_address = _ledger_of(rpc, consortium)
    about = "0x" + bytes(12).hex() + consortium.removeprefix("0x")
    for log in _logs(rpc, {"address": ledger_address, "topics": [None, about]}, from_block, head):
        decoded = ledger.decode_log(log.topics, log.data)
        if decoded is not None:
            _add(found, log, *decoded)
    return History(
        proposals=tuple(found[Proposal]),
        approvals=tuple(found[Approval]),
        pins=tuple(found[Pin]),
        revocations=tuple(found[Revocation]),
        platforms=tuple(found[PlatformAdoption]),
        registrations=tuple(found[Registration]),
        runs=tuple(found[RunOpening]),
        receipts=tuple(found[ReceiptAnchoring]),
    )


def newest_proposal(rpc: Rpc, consortium: str, compose_hash: bytes, *, until: int) -> bytes | None:
    """Id of the newest proposal of a recipe, of any epoch, up to block `until`; `None` when there is none."""
    contract = interface("Consortium")
    query = {
        "address": consortium,
        "topics": ["0x" + contract.topic("StudyProposed").hex(), None, "0x" + compose_hash.hex()],
    }
    upper = until
    for _ in range(MAX_RANGES):
        lower = max(0, upper - LOG_RANGE + 1)
        for log in reversed(_logs(rpc, query, lower, upper)):
            decoded = contract.decode_log(log.topics, log.data)
            if decoded is not None:
                return bytes(decoded[1]["study"])
        if lower == 0:
            return None
        upper = lower - 1
    return None


@dataclass(frozen=True)
class _Log:
    where: Where
    topics: list[bytes]
    data: bytes


def _logs(rpc: Rpc, query: dict[str, Any], lower: int, upper: int) -> list[_Log]:
    found: list[_Log] = []
    for start in range(lower, upper + 1, LOG_RANGE):
        stop = min(upper, start + LOG_RANGE - 1)
        raw = rpc.request("eth_getLogs", [{**query, "fromBlock": hex(start), "toBlock": hex(stop)}])
        try:
            found.extend(_parse_log(item) for item in raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChainError("chain-unreachable", f"{rpc.shown_url} answers malformed logs") from error
    return found


def _parse_log(item: dict[str, Any]) -> _Log:
    return _Log(
        where=Where(
            block=int(item["blockNumber"], 16),
            block_hash=_bytes(item["blockHash"]),
            tx=str(item["transactionHash"]).lower(),
            index=int(item["logIndex"], 16),
        ),
        topics=[_bytes(topic) for topic in item["topics"]],
        data=_bytes(item["data"]),
    )


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def _ledger_of(rpc: Rpc, consortium: str) -> str:
    contract = interface("Consortium")
    call = {"to": consortium, "data": "0x" + contract.encode("ledger").hex()}
    return str(contract.decode("ledger", _bytes(rpc.request("eth_call", [call, "latest"])))).lower()


_KINDS = (Proposal, Approval, Pin, Revocation, PlatformAdoption, Registration, RunOpening, ReceiptAnchoring)


def _add(found: dict[type, list[Any]], log: _Log, name: str, fields: dict[str, Any]) -> None:
    record: Any
    match name:
        case "StudyProposed":
            study = decode_study(bytes(fields["study"]), fields["content"])
            record = Proposal(at=log.where, study=study, proposer=fields["proposer"].lower())
        case "StudyApproved":
            record = Approval(at=log.where, study=bytes(fields["study"]), owner=fields["owner"].lower())
        case "StudyPinned" | "StudyUnpinned":
            record = Pin(
                at=log.where,
                study=bytes(fields["study"]),
                compose_hash=bytes(fields["composeHash"]),
                pinned=name == "StudyPinned",
            )
        case "Revoked":
            record = Revocation(
                at=log.where,
                owner=fields["owner"].lower(),
                study=bytes(fields["study"]),
                epoch=fields["epoch"],
                reason=fields["reason"],
            )
        case "PlatformAdopted":
            record = PlatformAdoption(
                at=log.where,
                gate_root=bytes(fields["gateRoot"]),
                gate_signer=fields["gateSigner"].lower(),
                epoch=fields["epoch"],
            )
        case "DatasetRegistered":
            record = Registration(
                at=log.where,
                dataset=bytes(fields["dataset"]),
                owner=fields["owner"].lower(),
                rows=fields["rows"],
                index_digest=bytes(fields["indexDigest"]),
                name=fields["name"],
            )
        case "RunOpened":
            record = RunOpening(
                at=log.where,
                run_id=bytes(fields["runId"]),
                study=bytes(fields["study"]),
                epsilon_micro=fields["epsilonMicro"],
                epoch=fields["epoch"],
                enclave_signer=fields["enclaveSigner"].lower(),
                grant_hash=bytes(fields["grantHash"]),
            )
        case "ReceiptAnchored":
            record = ReceiptAnchoring(
                at=log.where,
                run_id=bytes(fields["runId"]),
                study=bytes(fields["study"]),
                sequence=fields["sequence"],
                compose_hash=bytes(fields["composeHash"]),
                result_digest=bytes(fields["resultDigest"]),
                statement_digest=bytes(fields["statementDigest"]),
                epsilon_micro=fields["epsilonMicro"],
            )
        case _:
            return
    found[type(record)].append(record)
