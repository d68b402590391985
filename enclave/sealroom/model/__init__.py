# SPDX-License-Identifier: Apache-2.0
"""The model: every record that owners, ledger and gate exchange, each defined once.

A record names its fields with their kinds. Its EIP-712 type, its ABI type, its JSON and its text for people
derive from that; Solidity's structures and the console's script are compared with it in tests.

Units and shapes, everywhere: hashes are raw `bytes` of 32; account and contract addresses are `0x` + 40
lower-case hex digits; times are unix seconds; privacy budgets are whole numbers, ε in millionths ("micro",
1_000_000 is an ε of 1) and δ in parts of 10^12 ("pico").
"""

from sealroom.model.base import Record, Table, shown
from sealroom.model.consortium import (
    MAX_OWNERS,
    VOTES,
    AdoptPlatform,
    ApproveStudy,
    ChangeOwners,
    Dataset,
    Owner,
    Platform,
    PlatformProposal,
    Registration,
    Revoke,
    Roster,
    Study,
    Terms,
    Vote,
    Withdraw,
)
from sealroom.model.grant import Challenge, Grant, Lease, Renewal
from sealroom.model.kinds import REGIMES
from sealroom.model.ledger import Budget, Cap, Opening, Receipt, Run, Spending, Verdict

SIGNED: tuple[type[Record], ...] = (*VOTES, Receipt, Grant, Challenge, Lease, Renewal)
"""All that somebody signs."""

__all__ = [
    "MAX_OWNERS",
    "REGIMES",
    "SIGNED",
    "VOTES",
    "AdoptPlatform",
    "ApproveStudy",
    "Budget",
    "Cap",
    "Challenge",
    "ChangeOwners",
    "Dataset",
    "Grant",
    "Lease",
    "Opening",
    "Owner",
    "Platform",
    "PlatformProposal",
    "Receipt",
    "Record",
    "Registration",
    "Renewal",
    "Revoke",
    "Roster",
    "Run",
    "Spending",
    "Study",
    "Table",
    "Terms",
    "Verdict",
    "Vote",
    "Withdraw",
    "shown",
]
