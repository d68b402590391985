# SPDX-License-Identifier: Apache-2.0
"""The model of what governs for the pages: `face/model/governing.ts`, written from `sealroom.model` and the
contracts' ABIs. A test compares the file with what this writes.

    python -m sealroom_agents.console.governing_script      # writes the file
"""

from __future__ import annotations

import json
from pathlib import Path

from sealroom.encoding import to_hex
from sealroom.model import REGIMES, MachinesProposal, PlatformProposal, Record, RosterProposal
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console.model_script import _abi, _list

PATH = Path(__file__).with_name("face") / "model" / "governing.ts"
VOTES = ("approve", "changeRoster", "adoptPlatform", "addMachines")
"""Functions of the consortium with which owners vote."""
SPENDS = ("allow", "setLifetime")
"""Functions of the ledger with which a holder says what may be spent."""
VIEWS = ("ledger", "rosterDigest", "charter", "platform")
"""Functions of the consortium that the page asks the wallet's node for."""
SEATS = ("confirm", "offerSeat", "acceptSeat", "withdraw", "unpin", "seatOf", "handover", "pinned", "isLive")
"""What an owner does by itself, and what the page asks about it."""
BOOKS = ("offer", "accept", "register", "addVersion", "offerOf", "datasetOf", "versionOf")
"""What a holder does with its datasets, and what the page asks about them."""
EVENTS = (
    ("Consortium", ("Approved", "StudyPinned", "RosterChanged", "PlatformAdopted", "MachinesAdded")),
    ("Consortium", ("Confirmed", "SeatOffered", "SeatMoved", "Withdrawn")),
    ("Ledger", ("Allowed", "LifetimeSet")),
    ("Ledger", ("DatasetOffered", "DatasetMoved", "DatasetRegistered", "VersionAdded")),
    ("DstackApp", ("ComposeHashRemoved",)),
)
"""Events that show that it happened."""
CONTENTS: tuple[type[Record], ...] = (RosterProposal, PlatformProposal, MachinesProposal)
"""What is voted for besides studies."""


def text() -> str:
    """The whole file."""
    consortium, ledger = interface("Consortium"), interface("Ledger")
    topics = {name: to_hex(interface(one).topic(name)) for one, names in EVENTS for name in names}
    types = {}
    for content in CONTENTS:
        for struct, fields in content.types().items():
            types[struct] = [{"name": name, "type": kind} for name, kind in fields]
    return f"""// SPDX-License-Identifier: Apache-2.0
// What owners change besides studies, as sealroom.model and the contracts' ABIs define it.
// Written by `make abi`; never by hand.

export const votesAbi = {_list(_abi(consortium, (*VOTES, *VIEWS)), 0)} as const;

export const spendsAbi = {_list(_abi(ledger, SPENDS), 0)} as const;

export const seatsAbi = {_list(_abi(consortium, SEATS), 0)} as const;

export const booksAbi = {_list(_abi(ledger, BOOKS), 0)} as const;

/** Topics of the events that show that it happened. */
export const told = {json.dumps(topics)} as const;

/** The structures that proposals are, as EIP-712 hashes them to their ids. */
export const contents = {json.dumps(types)} as const;

/** What an owner may declare, by the bit that says so. */
export const regimes = {json.dumps(REGIMES)} as const;
"""


if __name__ == "__main__":
    PATH.write_text(text())
