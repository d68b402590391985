# SPDX-License-Identifier: Apache-2.0
"""The model for the pages: `face/model/model.ts`, written from `sealroom.model`, the guarantees of recipes
and the contracts' ABIs.

The page makes calls, messages and ids by itself and asks no server what they are made of. So the file is part
of the package; a test compares it with what this writes.

    python -m sealroom_agents.console.model_script      # writes the file
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.encoding import to_hex
from sealroom.guarantee import GUARANTEES, Guarantee
from sealroom.model import MAX_OWNERS, ApproveStudy, Record, Revoke, Study, Withdraw
from sealroom.model.consortium import MAX_REASON_BYTES
from sealroom_agents.chain.contracts import Interface, interface
from sealroom_agents.chain.gas import MAX_GAS, SLOT_GAS, VOTES
from sealroom_agents.notices import SHOWN_OF_EACH_OWNER

PATH = Path(__file__).with_name("face") / "model" / "model.ts"
ACTS = ("approve", "withdraw", "revoke")
"""Functions of the consortium that owners call."""
VIEWS = ("owners", "basis", "state", "votes", "accountsAt", "returnsOf", "ledger", "chronicle")
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
    voting = [to_hex(keccak(text=functions[name])[:4]) for name in ACTS if name in VOTES]
    events = {name: to_hex(contract.topic(name)) for name in EVENTS}
    structs = "".join(f"  {record.struct}: {_list(_field(record), 2)},\n" for record in SIGNED)
    refusals = [*contract.abi, *interface("Ledger").abi]
    errors = {_selector(one): str(one["name"]) for one in refusals if one["type"] == "error"}
    guarantees = "".join(f"  {_guarantee(one)},\n" for one in GUARANTEES.values())
    return f"""// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it, and what recipes promise.
// Written by `make abi`; never by hand.

export const domain = {json.dumps({"name": typed.CONSORTIUM, "version": typed.VERSION})} as const;

export const domainFields = {_list((json.dumps(field) for field in typed.DOMAIN_FIELDS), 0)} as const;

/** The fields of each structure in order: name, type, what people read beside it, unit. */
export const structs = {{
{structs}}} as const;

/** What the pages call and ask, as the contracts' ABIs have it. */
export const consortiumAbi = {_list(_abi(contract, (*ACTS, *VIEWS)), 0)} as const;

/** All that a consortium tells, so that a page can walk from each event to the one before. */
export const consortiumEvents = {_list(_events(contract), 0)} as const;

export const ledgerAbi = {_list(_abi(interface("Ledger"), BOOKS), 0)} as const;

export const functions = {_map(functions)} as const;

export const events = {_map(events)} as const;

/** Why consortium or ledger refuse, by the first four bytes of the answer. */
export const errors: Readonly<Record<string, string>> = {_quoted(errors)};

export interface Guarantee {{
  readonly name: string;
  readonly sentence: string;
  /** Whether a script computes. */
  readonly byScript: boolean;
  /** Whether all rests on reading that script. */
  readonly mustRead: boolean;
}}

/** What recipes promise. */
export const guarantees: Readonly<Record<string, Guarantee>> = {{
{guarantees}}};

/** Of a transaction: the most gas, what a vote may need for each word of its call, calls that are votes. */
export const gas = {{ most: {MAX_GAS}n, slot: {SLOT_GAS}n, votes: {json.dumps(voting)} }} as const;

export const maxOwners = {MAX_OWNERS};
export const maxReasonBytes = {MAX_REASON_BYTES};
/** Proposals of one owner that a page lists, the newest. */
export const shownOfEachOwner = {SHOWN_OF_EACH_OWNER};
"""


def _guarantee(one: Guarantee) -> str:
    told = {"name": one.name, "sentence": one.sentence, "byScript": one.by_script, "mustRead": one.must_read}
    return f"{json.dumps(one.name)}: {json.dumps(told, ensure_ascii=False)}"


def _selector(error: Any) -> str:
    """The first four bytes of an error; none of them holds a structure."""
    kinds = ",".join(part["type"] for part in error["inputs"])
    return to_hex(keccak(text=f"{error['name']}({kinds})")[:4])


def _field(record: type[Record]) -> Iterable[str]:
    for part in record.parts():
        yield json.dumps([part.name, part.kind.solidity, part.label, part.kind.unit])


def _abi(contract: Interface, names: Iterable[str]) -> Iterable[str]:
    """A function's part of the ABI, a line each, without Solidity's own names of types."""
    for name in names:
        (item,) = [one for one in contract.abi if one["type"] == "function" and one["name"] == name]
        yield json.dumps(_plain(item))


def _events(contract: Interface) -> Iterable[str]:
    """All events, a line each."""
    return (json.dumps(_plain(item)) for item in contract.abi if item["type"] == "event")


def _plain(item: Any) -> Any:
    if isinstance(item, list):
        return [_plain(one) for one in item]
    if isinstance(item, dict):
        return {name: _plain(one) for name, one in item.items() if name != "internalType"}
    return item


def _list(items: Iterable[str], indent: int) -> str:
    """An array, an item a line."""
    space = " " * indent
    return "[\n" + "".join(f"{space}  {item},\n" for item in items) + space + "]"


def _map(items: dict[str, str]) -> str:
    """An object of texts, a line each."""
    lines = "".join(f"  {name}: {json.dumps(value)},\n" for name, value in items.items())
    return "{\n" + lines + "}"


def _quoted(items: dict[str, str]) -> str:
    """The same, with names that are no identifiers."""
    return _map({json.dumps(name): value for name, value in items.items()})


if __name__ == "__main__":
    PATH.write_text(text())
