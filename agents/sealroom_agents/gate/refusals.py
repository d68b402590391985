# SPDX-License-Identifier: Apache-2.0
"""From what went wrong to the one stable code that the caller gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sealroom.errors import KeyReleaseError
from sealroom.key_release import Refusal
from sealroom_agents.errors import ChainError, Refused, TransactionError

LEDGER_REFUSALS = {
    "LedgerStudyBudgetExceeded": "budget-exceeded",
    "LedgerDatasetBudgetExceeded": "budget-exceeded",
    "LedgerRunsExhausted": "runs-exhausted",
    "LedgerRunExists": "unknown-run-id-reused",
    "LedgerStudyNotLive": "epoch-mismatch",
    "LedgerEpochMismatch": "epoch-mismatch",
    "LedgerNotGate": "gate-not-registered",
    "LedgerRunIncomplete": "malformed",
    "LedgerStudyMismatch": "chain-disagrees",
}
"""The ledger's custom errors as codes of refusals."""
STUDY_ENDED = frozenset({"LedgerStudyNotLive", "LedgerEpochMismatch"})
"""Errors that a revocation just before the booking causes, among other things."""
KIND_RUNS = 3
"""What `LedgerDatasetBudgetExceeded` calls a cap on runs; 1 is ε and 2 is δ."""
CHAIN_CODES = frozenset({"chain-unreachable", "chain-stale", "chain-disagrees"})
PASSING_CODES = CHAIN_CODES | {"watcher-dead", "opening-lost"}
"""Refusals to renew that may pass by themselves before the lease runs out; the others never do."""

T = TypeVar("T")


def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """Parse a message. Raises `Refused`: `malformed`, `evidence-too-large`."""
    try:
        return parse(body)
    except KeyReleaseError as error:
        code = "evidence-too-large" if error.code == "too-large" else "malformed"
        raise Refused(code, error.message) from error


def refused(refusal: Refusal) -> Refused:
    """A refusal of the policy, to be raised."""
    return Refused(refusal.code, refusal.message, seen=refusal.seen, pinned=refusal.pinned)


def chain_refused(error: ChainError) -> Refused:
    """The chain cannot be read, or the answers cannot be trusted."""
    code = "gate-not-registered" if error.code == "not-a-consortium" else error.code
    if code not in CHAIN_CODES and code != "gate-not-registered":
        code = "chain-unreachable"
    return Refused(code, error.message, error.hint)


def booking_refused(error: TransactionError, what: str = "the run could not be booked") -> Refused:
    """The ledger, or the node before it, did not take the gate's transaction."""
    code = LEDGER_REFUSALS.get(error.revert or "", "chain-unreachable")
    if error.revert == "LedgerDatasetBudgetExceeded" and error.fields.get("kind") == KIND_RUNS:
        code = "runs-exhausted"
    return Refused(code, f"{what}: {error.message}", error.hint)
