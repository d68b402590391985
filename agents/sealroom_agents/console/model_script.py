# SPDX-License-Identifier: Apache-2.0
"""The model for the page: `static/model.js`, written from `sealroom.model`.

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
from sealroom.model import ApproveStudy, Record, Revoke, Study, Withdraw
from sealroom.model.consortium import MAX_REASON_BYTES

PATH = Path(__file__).with_name("static") / "model.js"
FUNCTIONS = {
    "approve": f"approve({Study.abi_type()})",
    "withdraw": "withdraw(bytes32)",
    "revoke": "revoke(string)",
    "hashStudy": f"hashStudy({Study.abi_type()})",
}
"""Functions of the consortium that the page calls."""
SIGNED: tuple[type[Record], ...] = (Study, ApproveStudy, Withdraw, Revoke)
"""Structures of the messages that the page has signed."""


def text() -> str:
    """The whole file."""
    selectors = {name: "0x" + keccak(text=signature)[:4].hex() for name, signature in FUNCTIONS.items()}
    structs = "".join(f"    {record.struct}: {_list(_field(record), 4)},\n" for record in SIGNED)
    return f"""// SPDX-License-Identifier: Apache-2.0
// What owners call and sign, as sealroom.model defines it. Written by `make abi`; never by hand.
"use strict";

const Model = Object.freeze({{
  domain: Object.freeze({json.dumps({"name": typed.CONSORTIUM, "version": typed.VERSION})}),
  domainFields: {_list((json.dumps(field) for field in typed.DOMAIN_FIELDS), 2)},

  // The fields of each structure in order: name, type, what people read beside it, unit.
  structs: Object.freeze({{
{structs}  }}),
  functions: {_map(FUNCTIONS)},
  selectors: {_map(selectors)},
  maxReasonBytes: {MAX_REASON_BYTES},
}});
"""


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
