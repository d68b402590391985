# SPDX-License-Identifier: Apache-2.0
"""The action that knows no chain: a request is signed, or a wallet's signature taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.desk import Answer
from sealroom_agents.governance.files import Request, signature_over, write_json
from sealroom_agents.governance.ways import Wallet, read_signature
from sealroom_agents.governance.words import Lines


def sign(
    *, request: Path, wallet: Callable[[], Wallet] | None, signature: str | None, out: Path,
    confirm: Callable[[str], None], show: Callable[[Lines], None],
) -> Answer:  # fmt: skip
    """Sign a request, or take a signature that a wallet made over it."""
    asked = Request.load(request)
    vote = asked.vote
    lines: Lines = [
        ("asks for", vote.struct),
        ("consortium", f"{asked.consortium} on chain {asked.chain_id}"),
        ("owner", vote.owner),
    ]
    for part in vote.parts():
        value = getattr(vote, part.attribute)
        if part.attribute == "owner":
            continue
        lines += value.lines() if hasattr(value, "lines") else [(part.label, part.kind.text(value))]
    if (wallet is None) == (signature is None):
        raise ToolError(Code.WAY_UNCLEAR, "needs an account that signs, or --signature")
    show(lines)
    if signature is not None:
        signed = signature_over(asked, read_signature(signature))
    else:
        if wallet is None:
            raise ToolError(Code.WAY_UNCLEAR, "no account was named")
        opened = wallet()
        confirm("sign it?")
        message = asked.message() if opened.address == vote.owner else asked.safe_message()
        signed = signature_over(asked, opened.sign(message))
        if signed.signer != opened.address:
            raise ToolError(Code.SIGNATURE_MALFORMED, "the wallet signed something else")
    write_json(out, signed.json())
    told = [("signed by", signed.signer)]
    if signed.signer != signed.owner:
        told.append(("as", f"one of the owners of the Safe {signed.owner}, if it is one"))
    told += [("written to", str(out)), ("next", "hand it in: the same action with --signatures")]
    return Answer({**signed.json(), "file": str(out)}, told)
