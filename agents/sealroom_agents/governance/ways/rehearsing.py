# SPDX-License-Identifier: Apache-2.0
"""`--dry-run`: an act is tried on a node, and what would leave is told; no account is opened."""

from __future__ import annotations

from sealroom.encoding import to_hex
from sealroom_agents.chain.contracts import interface
from sealroom_agents.governance.acts import Act, Outcome
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.standing import Standing
from sealroom_agents.governance.ways.sending import try_call
from sealroom_agents.governance.ways.way import Way


def rehearse(act: Act, way: Way, node: Node, standing: Standing | None) -> Outcome:
    """Raises what the contract would refuse, in words; only the first call is tried, for the others count on
    it. Signatures that were collected are tried when they are handed in."""
    account = way.acting
    tried = account is not None and not (way.signatures or way.request or way.sign)
    if account is not None and tried:
        for call in act.calls[:1]:
            try_call(call, account, node, standing, act.content)
    elif account is not None and standing is not None and (way.request or way.sign):
        standing.require_owner(account)
    leaves = _leaves(act, way)
    facts = {
        "dryRun": True,
        "tried": tried,
        "chainId": node.chain_id,
        "would": [{"act": what, "what": said} for what, said in leaves],
        "calls": [call.json() for call in act.calls],
    }
    by = account or "no account was named, so it was not tried"
    lines = [
        ("act", act.title),
        ("by", by),
        *((f"would {what}", said) for what, said in leaves),
        ("a dry run", "nothing was written or sent"),
    ]
    return Outcome(facts, lines, sent=False)


def _leaves(act: Act, way: Way) -> list[tuple[str, str]]:
    for path in (way.safe, way.request, way.sign):
        if path is not None:
            return [("write", str(path))]
    if way.signatures:
        return [("send", f"{len(way.signatures)} signatures: {', '.join(map(str, way.signatures))}")]
    return [
        (
            "send",
            f"{interface(call.contract).signature(call.function)} to {call.to}: {to_hex(call.data[:4])}…",
        )
        for call in act.calls
    ]
