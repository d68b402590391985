# SPDX-License-Identifier: Apache-2.0
"""`--safe`: a file that the owners of a Safe execute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Call, Outcome
from sealroom_agents.governance.files import write_json
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.ways.contract_wallet import contract_wallet
from sealroom_agents.governance.ways.way import Way


def safe_file(act: Act, way: Way, node: Node) -> Outcome:
    from sealroom_agents.owner import safe as safes

    if way.owner is None:
        raise ToolError(Code.WAY_UNCLEAR, "--safe needs the Safe's address", "pass --owner 0x…")
    safe = contract_wallet(node, way.owner)
    if safe is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            f"{way.owner} is no Safe on chain {node.chain_id}",
            "an account with a key sends by itself: --account, --keystore or --calldata",
        )
    content = safes.batch(
        chain_id=node.chain_id,
        safe=way.owner,
        calls=[
            safes.SafeCall(
                to=call.to,
                function=call.function,
                inputs=_inputs(call),
                values=call.arguments,
            )
            for call in act.calls
        ],
        name=act.title,
        description=f"Sealroom: {act.title}",
        created_ms=int(time.time() * 1000),
    )
    path = way.safe
    if path is None:
        raise ToolError(Code.WAY_UNCLEAR, "--safe names no file")
    write_json(path, content)
    facts = {
        "file": str(path),
        "safe": way.owner,
        "checksum": content["meta"]["checksum"],
        "calls": [call.json() for call in act.calls],
    }
    lines = [
        ("act", act.title),
        ("Safe", f"{way.owner}  {safe.threshold} of {len(safe.owners)}"),
        ("file", str(path)),
        (
            "next",
            "load it in the Safe's transaction builder, compare, sign and execute; nothing counts before",
        ),
    ]
    return Outcome(facts, lines, sent=False)


def _inputs(call: Call) -> Sequence[dict[str, Any]]:
    """The function's arguments, from the contract's ABI."""
    for item in interface(call.contract).abi:
        if item["type"] == "function" and item["name"] == call.function:
            return [dict(part) for part in item["inputs"]]
    raise KeyError(call.function)
