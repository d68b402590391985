# SPDX-License-Identifier: Apache-2.0
"""How an enclave ended: what its exit status, its last line, an order to end it or its failure file say.

Pure: nothing here asks the store, the chain or the enclave.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sealroom.codes import Code, Exit
from sealroom.encoding import to_hex
from sealroom.errors import FailureError
from sealroom.failure import parse_failure
from sealroom.model import Owner
from sealroom_agents.store import Observation, Run

MAX_MESSAGE_CHARACTERS = 500
"""What is kept of a message that an enclave prints."""
REVOKED_CODES = frozenset({Code.REVOKED, Code.STANDING_MISMATCH, Code.LEASE_ENDED})
"""Codes of a lease that ended because the owners' will changed."""


@dataclass(frozen=True)
class Moment:
    """Something that happened to an enclave, and is written down once it is dead."""

    phase: str
    message: str
    code: Code | None = None
    at: float = field(default_factory=time.time)
    """Unix seconds."""


@dataclass(frozen=True)
class Ended:
    """How an enclave ended."""

    state: str
    """`done`, or the run's end."""
    code: Code | None
    """Why, unless it is `done`."""
    message: str
    failure: str | None = None
    """The failure file that the enclave wrote."""
    moments: tuple[Moment, ...] = ()
    """What happened once it was to end: while keys are there, nobody waits for the database."""


SAID = {
    "attesting": "the enclave shows its quote to the gate",
    "granted": "the gate released the data keys to the attested enclave; "
    "nothing leaves before the block that books the run is final (13 to 19 minutes on Ethereum)",
    "computing": "the analysis runs",
    "final": "the block that books the run is final",
    "emitting": "the instant that the recipe declares is there; the signed result leaves",
    "lease-ended": "the lease ended; keys are wiped",
}
"""What a phase means, where the enclave says no more."""


def with_failure(run: Run, ended: Ended, data: bytes | None) -> Ended:
    """The end of a run whose enclave wrote this failure file, which counts for its own run only."""
    if data is None:
        return ended
    try:
        found = parse_failure(data).run
    except FailureError as error:
        return Ended("failed", error.code, error.message)
    if (to_hex(found.run_id), found.consortium, to_hex(found.compose_hash)) != (
        run.id,
        run.consortium,
        run.compose_hash,
    ):
        return Ended("failed", Code.FAILURE_MISMATCH, "the enclave wrote the failure file of another run")
    message = ended.message if ended.code == Code.RUN_FAILED else Code.RUN_FAILED.line
    return Ended("failed", Code.RUN_FAILED, message, failure=data.decode("ascii"))


def by_exit(status: int, last: Mapping[str, object]) -> Ended:
    said, message = said_code(last), text_of(last, "message")
    match status:
        case Exit.DONE:
            return Ended("done", None, "")
        case Exit.REFUSED:
            return Ended("refused", said or Code.REFUSED, message or "the gate refused")
        case Exit.LEASE_ENDED:
            state = "revoked" if said in REVOKED_CODES else "failed"
            return Ended(state, said or Code.LEASE_ENDED, message or "the gate did not renew the lease")
        case Exit.JOB_FAILED:
            return Ended("failed", said or Code.JOB_FAILED, message or "the analysis failed")
        case Exit.CONFIGURATION:
            return Ended(
                "failed", said or Code.CONFIGURATION, message or "the enclave refuses its configuration"
            )
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return Ended("failed", said or Code.ENCLAVE_DIED, message or f"the enclave ended {how}")


def by_order(order: Observation, owners: tuple[Owner, ...]) -> Ended:
    if order.kind == Code.CANCELLED:
        return Ended("cancelled", Code.CANCELLED, f"taken back by {order.owner}")
    if order.kind != Code.REVOKED:
        return Ended("revoked", order.kind, "another roster or platform governs since")
    who = next((owner.id for owner in owners if owner.account == order.owner), order.owner)
    return Ended("revoked", Code.REVOKED, f'revoked by {who}: "{order.reason}"')


def said_code(line: Mapping[str, object]) -> Code | None:
    """The code that an enclave printed."""
    text = text_of(line, "code")
    return Code.parse(text) if text else None


def text_of(line: Mapping[str, object], name: str) -> str:
    value = line.get(name, "")
    return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else ""
