# SPDX-License-Identifier: Apache-2.0
"""`--request` and `--sign`: a vote as EIP-712 typed data, signed elsewhere or here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Outcome
from sealroom_agents.governance.files import write_json
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.requests import Request, signature_over
from sealroom_agents.governance.standing import Standing
from sealroom_agents.governance.ways.contract_wallet import contract_wallet
from sealroom_agents.governance.ways.way import Way, open_wallet


def ask(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    if act.ballot is None:
        raise ToolError(Code.WAY_UNCLEAR, "this can only be sent, not signed", "use --safe or --calldata")
    wallet = open_wallet(way) if way.sign else None
    owner = wallet.address if wallet is not None else way.acting
    if owner is None:
        raise ToolError(Code.WAY_UNCLEAR, "nothing says who shall sign", "pass --owner 0x…")
    if standing is not None:
        standing.require_owner(owner)
    vote = act.ballot.vote(owner)
    request = Request(vote=vote, chain_id=node.chain_id, consortium=consortium)
    facts: dict[str, Any] = {
        "vote": vote.struct,
        "owner": owner,
        "proposal": to_hex(request.proposal),
        "digest": to_hex(request.digest),
    }
    lines = [("asks for", act.title), ("of", standing.name(owner) if standing else owner)]
    if wallet is not None and way.sign is not None:
        confirm(f"{act.title}: sign 1 message, send nothing?")
        signed = signature_over(request, wallet.sign(request.message()))
        write_json(way.sign, signed.json())
        return Outcome(
            {**facts, "file": str(way.sign)},
            [("signed", act.title), ("owner", owner), ("written to", str(way.sign)),
             ("next", "it counts once somebody hands it in with --signatures")],
            sent=False,
        )  # fmt: skip
    path = way.request
    if path is None:
        raise ToolError(Code.WAY_UNCLEAR, "--request names no file")
    write_json(path, request.json())
    facts["file"] = str(path)
    lines.append(("written to", str(path)))
    safe = contract_wallet(node, owner)
    if safe is not None:
        beside = path.with_suffix(".safe-message.json")
        write_json(beside, request.safe_typed_data())
        facts["safeMessage"] = str(beside)
        lines += [
            ("Safe", f"{safe.threshold} of {len(safe.owners)} of its owners sign"),
            ("for wallets", f"{beside}: what each of the Safe's owners signs"),
        ]
    lines.append(("next", "`govern sign --request FILE` signs it, or takes a signature that a wallet made"))
    return Outcome(facts, lines, sent=False)
