# SPDX-License-Identifier: Apache-2.0
"""The model for the page: `static/model.js`, written from `sealroom.model`, the guarantees of recipes and the
contract's ABI.

The page makes calls, messages and ids by itself and asks no server what they are made of. So the file is part
of the package; a test compares it with what this writes.

    python -m sealroom_agents.console.model_script      # writes the file
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.encoding import to_hex
from sealroom.guarantee import GUARANTEES, Guarantee
from sealroom.model import MAX_OWNERS, ApproveStudy, Record, Revoke, Study, Withdraw
from sealroom.model.consortium import MAX_REASON_BYTES
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.gas import MAX_GAS, SLOT_GAS, VOTES

PATH = Path(__file__).with_name("static") / "model.js"
ACTS = ("approve", "withdraw", "revoke")
"""Functions of the consortium that owners call."""
VIEWS = ("owners", "basis", "state", "votes", "accountsAt", "returnsOf", "ledger")
"""Functions of the consortium that the page asks the wallet's node for."""
BOOKS = ("datasetOf", "versionOf", "accountOf", "allowanceOf")
"""Functions of the ledger that it asks for."""
EVENTS = ("StudyProposed", "Approved", "StudyPinned", "Withdrawn", "Revoked")
"""Events of the consortium that the page reads."""
SIGNED: tuple[type[Record], ...] = (Study, ApproveStudy, Withdraw, Revoke)
"""Structures of the messages that the page has signed."""


def text() -> str:
    """The whole file."""
    contract = interface("Consortium")
    functions = {name: contract.signature(name) for name in ACTS}
    asked = {name: contract for name in (*ACTS, *VIEWS)} | {name: interface("Ledger") for name in BOOKS}
    selectors = {name: to_hex(keccak(text=of.signature(name))[:4]) for name, of in asked.items()}
    voting = [selectors[name] for name in ACTS if name in VOTES]
    events = {name: to_hex(contract.topic(name)) for name in EVENTS}
    structs = "".join(f"    {record.struct}: {_list(_field(record), 4)},\n" for record in SIGNED)
    guarantees = "".join(f"    {_guarantee(one)},\n" for one in GUARANTEES.values())
    return f"""// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it, and what recipes promise.
// Written by `make abi`; never by hand.
"use strict";

const Model = Object.freeze({{
  domain: Object.freeze({json.dumps({"name": typed.CONSORTIUM, "version": typed.VERSION})}),
  domainFields: {_list((json.dumps(field) for field in typed.DOMAIN_FIELDS), 2)},

  // The fields of each structure in order: name, type, what people read beside it, unit.
  structs: Object.freeze({{
{structs}  }}),
  functions: {_map(functions)},
  selectors: {_map(selectors)},
  events: {_map(events)},

  // What recipes promise, whether a script computes, and whether all rests on reading that script.
  guarantees: Object.freeze({{
{guarantees}  }}),
  // Of a transaction: the most gas, what a vote may need for each word of its call, and calls that are votes.
  gas: Object.freeze({{ most: {MAX_GAS}n, slot: {SLOT_GAS}n, votes: Object.freeze({json.dumps(voting)}) }}),
  maxOwners: {MAX_OWNERS},
  maxReasonBytes: {MAX_REASON_BYTES},
}});
"""


def _guarantee(one: Guarantee) -> str:
    told = {"name": one.name, "sentence": one.sentence, "byScript": one.by_script, "mustRead": one.must_read}
    return f"{json.dumps(one.name)}: Object.freeze({json.dumps(told, ensure_ascii=False)})"


def _field(record: type[Record]) -> Iterable[str]:
    for part in record.parts():
        yield json.dumps([part.name, part.kind.solidity, part.label, part.kind.unit])


def _list(items: Iterable[str], indent: int) -> str:
    """A frozen array, an item a line."""
    space = " " * indent
    return "Object.freeze([\n" + "".join(f"{space}  {item},\n" for item in items) + space + "])"


def _map(items: dict[str, str]) -> str:
    """A frozen object of texts, a line each."""
    lines = "".join(f"    {name}: {json.dumps(value)},\n" for name, value in items.items())
    return "Object.freeze({\n" + lines + "  })"


if __name__ == "__main__":
    PATH.write_text(text())
