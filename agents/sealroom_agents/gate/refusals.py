# SPDX-License-Identifier: Apache-2.0
"""From what went wrong to the one stable code that the caller gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError
from sealroom.key_release import Refusal
from sealroom_agents.errors import CHAIN_CODES, ChainError, Refused, TransactionError

LEDGER_REFUSALS: dict[str, Code] = {
    "LedgerStudyExceeds": Code.BUDGET_EXCEEDED,
    "RegistryExceeds": Code.BUDGET_EXCEEDED,
    "LedgerRunsExhausted": Code.RUNS_EXHAUSTED,
    "LedgerRunExists": Code.UNKNOWN_RUN_ID_REUSED,
    "LedgerStudyNotLive": Code.STANDING_MISMATCH,
    "LedgerStanding": Code.STANDING_MISMATCH,
    "LedgerNotGate": Code.GATE_NOT_REGISTERED,
    "LedgerRunIncomplete": Code.MALFORMED,
}
"""The ledger's custom errors as codes of refusals, which are final. Any other, such as `LedgerRunLate`, may
pass: the run was not booked this time."""
STUDY_ENDED = "LedgerStudyNotLive"
"""Error that a revocation just before the booking causes, among other things."""
KIND_RUNS = 6
"""What `RegistryExceeds` calls the runs of a day; the others are of ε and δ."""

T = TypeVar("T")


def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """Parse a message. Raises `Refused`: `malformed`, `evidence-too-large`."""
    try:
        return parse(body)
    except KeyReleaseError as error:
        code = Code.EVIDENCE_TOO_LARGE if error.code == Code.TOO_LARGE else Code.MALFORMED
        raise Refused(code, error.message) from error


def refused(refusal: Refusal) -> Refused:
    """A refusal of the policy, to be raised."""
    return Refused(refusal.code, refusal.message, seen=refusal.seen, pinned=refusal.pinned)


def chain_refused(error: ChainError) -> Refused:
    """The chain cannot be read, or the answers cannot be trusted."""
    code = Code.GATE_NOT_REGISTERED if error.code == Code.NOT_A_CONSORTIUM else error.code
    if code not in CHAIN_CODES and code != Code.GATE_NOT_REGISTERED:
        code = Code.CHAIN_UNREACHABLE
    return Refused(code, error.message, error.hint)


def booking_refused(error: ChainError, what: str = "the run could not be booked") -> Refused:
    """The ledger, or the node before it, did not take the gate's transaction."""
    if not isinstance(error, TransactionError):
        return chain_refused(error)
    code = LEDGER_REFUSALS.get(error.revert or "", Code.CHAIN_UNREACHABLE)
    if error.revert == "RegistryExceeds" and error.fields.get("kind") == KIND_RUNS:
        code = Code.RUNS_EXHAUSTED
    return Refused(code, f"{what}: {error.message}", error.hint)
