# SPDX-License-Identifier: Apache-2.0
"""The model: every record that owners, ledger and gate exchange, each defined once.

A record names its fields with their kinds. Its EIP-712 type, its ABI type, its JSON and its text for people
derive from that; Solidity's structures and the console's script are compared with it in tests.

Units and shapes, everywhere: hashes are raw `bytes` of 32; account and contract addresses are `0x` + 40
lower-case hex digits; times are unix seconds; privacy budgets are whole numbers, ε in millionths ("micro",
1_000_000 is an ε of 1) and δ in parts of 10^12 ("pico").
"""

from sealroom.keccak import dataset_id
from sealroom.model.base import Record, Table, shown
from sealroom.model.consortium import (
    MAX_OWNERS,
    VOTES,
    AddMachines,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Machines,
    MachinesProposal,
    Owner,
    Platform,
    PlatformProposal,
    Revoke,
    Roster,
    RosterProposal,
    Study,
    Terms,
    Validity,
    Vote,
    Withdraw,
)
from sealroom.model.grant import Challenge, Finalized, Grant, Lease, Renewal
from sealroom.model.kinds import REGIMES
from sealroom.model.ledger import Books, Opening, Receipt, Run, Spending, Verdict
from sealroom.model.lens import DatasetView, Fate, Row, State
from sealroom.model.registry import Account, Allowance, Dataset, Limits, Version

SIGNED: tuple[type[Record], ...] = (*VOTES, Receipt, Grant, Challenge, Lease, Renewal, Finalized)
"""All that somebody signs."""

__all__ = [
    "MAX_OWNERS",
    "REGIMES",
    "SIGNED",
    "VOTES",
    "Account",
    "AddMachines",
    "AdoptPlatform",
    "Allowance",
    "ApproveStudy",
    "Books",
    "Challenge",
    "ChangeRoster",
    "Dataset",
    "DatasetView",
    "Fate",
    "Finalized",
    "Grant",
    "Lease",
    "Limits",
    "Machines",
    "MachinesProposal",
    "Opening",
    "Owner",
    "Platform",
    "PlatformProposal",
    "Receipt",
    "Record",
    "Renewal",
    "Revoke",
    "Roster",
    "RosterProposal",
    "Row",
    "Run",
    "Spending",
    "State",
    "Study",
    "Table",
    "Terms",
    "Validity",
    "Verdict",
    "Version",
    "Vote",
    "Withdraw",
    "dataset_id",
    "shown",
]
