# SPDX-License-Identifier: Apache-2.0
"""An act leaves in the way that was chosen."""

from __future__ import annotations

from collections.abc import Callable

from sealroom.encoding import to_hex
from sealroom_agents.chain.contracts import interface
from sealroom_agents.governance.acts import Act, Call, Outcome
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.standing import Standing
from sealroom_agents.governance.ways.asking import ask
from sealroom_agents.governance.ways.handing_in import hand_in
from sealroom_agents.governance.ways.rehearsing import rehearse
from sealroom_agents.governance.ways.safe_file import safe_file
from sealroom_agents.governance.ways.sending import send, try_call
from sealroom_agents.governance.ways.way import Way, open_wallet


def perform(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    """Let an act leave in the way that was chosen. Raises what the contract would refuse, in words."""
    way.check()
    if way.dry_run:
        return rehearse(act, way, node, standing)
    if way.signatures:
        return hand_in(act, way, node, standing, consortium=consortium, confirm=confirm)
    if way.request or way.sign:
        return ask(act, way, node, standing, consortium=consortium, confirm=confirm)
    account = way.acting
    if account is not None:
        for call in act.calls[:1]:  # the others count on the first
            try_call(call, account, node, standing, act.content)
    if way.safe is not None:
        return safe_file(act, way, node)
    if way.calldata:
        calls = [call.json() for call in act.calls]
        lines = [
            line
            for call in act.calls
            for line in (("to", call.to), ("function", _signature(call)), ("data", to_hex(call.data)))
        ]
        return Outcome({"chainId": node.chain_id, "calls": calls}, [("act", act.title), *lines], sent=False)
    wallet = open_wallet(way)
    confirm(f"{act.title}: send {len(act.calls)} transaction{'s' * (len(act.calls) > 1)}?")
    sent = [send(call, wallet, node, standing, act.content) for call in act.calls]
    return Outcome(
        {**sent[-1].json(), **({"transactions": [one.json() for one in sent]} if len(sent) > 1 else {})},
        [("transaction", f"{one.tx} in block {one.block}, {one.gas:,} gas") for one in sent],
        sent=True,
    )


def _signature(call: Call) -> str:
    return interface(call.contract).signature(call.function)
