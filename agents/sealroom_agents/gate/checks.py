# SPDX-License-Identifier: Apache-2.0
"""The gate's checks, in the order in which it makes them: what the release protocol's page publishes (RE-09).

The rows of the decision and of a renewal are the rules themselves, which `policy` walks. The others say what
`service`, `sessions`, `attestation` and `wraps` do, in the order of `service`. The page's table is written
from here, and the tests prove the order on a running gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sealroom.codes import Code
from sealroom_agents.errors import CHAIN_CODES
from sealroom_agents.gate.policy import RENEWAL, RULES


class About(StrEnum):
    """Which message a check is about."""

    ANY = "any"
    HELLO = "hello"
    EVIDENCE = "evidence"
    LEASE = "lease"


@dataclass(frozen=True)
class Check:
    """One check."""

    number: int
    """Its place, from 1."""
    about: About
    """The message."""
    check: str
    """What the gate checks, after "the gate checks that"."""
    codes: tuple[Code, ...]
    """What it answers where the check fails."""

    @property
    def status(self) -> int | None:
        """HTTP status of that answer."""
        return self.codes[0].http


BOOKING_CODES = (Code.BUDGET_EXCEEDED, Code.RUNS_EXHAUSTED, Code.STANDING_MISMATCH)
"""What the ledger says of a run that it does not book."""


def _checks() -> Iterator[tuple[About, str, tuple[Code, ...]]]:
    yield About.ANY, "the body is within its limit", (Code.EVIDENCE_TOO_LARGE,)
    yield About.ANY, "there is room for it, where it is long, beside those of others", (Code.BUSY,)
    yield About.ANY, "the message is as this page says, and for this gate's chain", (Code.MALFORMED,)
    for text, code in _HELLO:
        yield About.HELLO, text, (code,)
    for text, code in _QUOTE:
        yield About.EVIDENCE, text, (code,)
    yield About.EVIDENCE, "the nodes answer, are fresh, and agree", CHAIN_CODES
    yield About.EVIDENCE, "the address is a consortium", (Code.GATE_NOT_REGISTERED,)
    for rule in RULES:
        yield About.EVIDENCE, rule.check, rule.codes
    yield (
        About.EVIDENCE,
        "the GPUs that the recipe demands signed for this exchange, and are as the platform policy asks",
        (Code.GPU_EVIDENCE_UNVERIFIED,),
    )
    yield (
        About.EVIDENCE,
        "each file is wrapped, and its wrap opens with the gate's root key in this context",
        (Code.NOT_WRAPPED, Code.WRAP_DOES_NOT_OPEN),
    )
    yield About.EVIDENCE, "each key is the registered one", (Code.WRONG_KEY,)
    yield About.EVIDENCE, "the chain is not ahead of the gate's own state", (Code.STATE_ROLLED_BACK,)
    yield About.EVIDENCE, "the gate has gas money, room on its disk, and its log", (Code.GATE_NOT_READY,)
    yield About.EVIDENCE, "the ledger books the run", BOOKING_CODES
    yield About.EVIDENCE, "every node shows that booking", (Code.CHAIN_DISAGREES,)
    yield About.EVIDENCE, "still nobody revoked", (Code.REVOKED,)
    for text, code in _LEASE:
        yield About.LEASE, text, (code,)
    yield About.LEASE, "the nodes answer, are fresh, and agree", CHAIN_CODES
    for renewal in RENEWAL:
        yield About.LEASE, renewal.check, renewal.codes
    yield About.LEASE, "the ledger has the run's opening", (Code.OPENING_LOST,)
    yield About.LEASE, "it is this run's, and no other's under its id", (Code.OPENING_REPLACED,)
    yield About.LEASE, "the ledger takes a lost opening again", BOOKING_CODES


_HELLO = (
    ("the operator lets this gate serve the consortium", Code.GATE_NOT_REGISTERED),
    ("no keys were released under this run id", Code.UNKNOWN_RUN_ID_REUSED),
)
_QUOTE = (
    ("this gate gave the nonce out", Code.NONCE_UNKNOWN),
    ("nobody used the nonce before", Code.NONCE_REPLAYED),
    ("the nonce is at most 60 s old", Code.NONCE_EXPIRED),
    ("the quote can be read", Code.QUOTE_INVALID),
    ("it is a TDX quote of an accepted version", Code.QUOTE_NOT_TDX),
    ("the host cannot debug the TD", Code.DEBUG_TD),
    ("TD attributes and TDX module are the accepted ones", Code.TD_ATTRIBUTES),
    ("the quote says to be made for this exchange", Code.REPORT_DATA_MISMATCH),
    ("Intel's collateral for the machine is there, and valid", Code.COLLATERAL_UNAVAILABLE),
    ("certificates and signatures lead to the trusted root, and nothing is revoked", Code.QUOTE_INVALID),
    (
        "platform, TDX module and quoting enclave are up to date, as the platform policy asks",
        Code.TCB_NOT_UP_TO_DATE,
    ),
    (
        "the platform has nothing that the policy does not grant (dynamic platform, cached keys, SMT)",
        Code.DEVICE_NOT_ALLOWED,
    ),
    ("the event log can be read, and replays to the quote", Code.EVENT_LOG_MISMATCH),
    ("the log names app, recipe and key provider once each", Code.EVENT_LOG_DUPLICATE),
    ("the platform policy has the OS image, and the machine shows its registers", Code.OS_IMAGE_NOT_ALLOWED),
)
_LEASE = (
    ("this gate granted the run", Code.LEASE_ENDED),
    ("the run's enclave signed", Code.MALFORMED),
    ("the lease neither ended nor ran out", Code.LEASE_ENDED),
    ("the counter is larger than all before", Code.LEASE_COUNTER),
)

CHECKS = tuple(Check(number, *row) for number, row in enumerate(_checks(), 1))
"""All of them, in order."""
