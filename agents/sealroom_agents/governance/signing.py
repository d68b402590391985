# SPDX-License-Identifier: Apache-2.0
"""The action that knows no chain: a request is signed, or a wallet's signature taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.model import Vote
from sealroom.model.base import Part
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Wallet
from sealroom_agents.governance.desk import Answer
from sealroom_agents.governance.documents import Documents, Examined, examine
from sealroom_agents.governance.files import write_json
from sealroom_agents.governance.proposals import Content
from sealroom_agents.governance.requests import Request, signature_over
from sealroom_agents.governance.words import Lines


def sign(
    *,
    request: Path,
    documents: Documents,
    wallet: Callable[[], Wallet] | None,
    signature: str | None,
    out: Path,
    confirm: Callable[[str], None],
    show: Callable[[Lines], None],
) -> Answer:
    """Sign a request once it is compared with documents, or take a signature that a wallet made over it.

    Who takes a wallet's signature signs nothing: that the wallet's owner has looked, its `--request` asked.
    """
    asked = Request.load(request)
    vote = asked.vote
    if (wallet is None) == (signature is None):
        raise ToolError(
            Code.WAY_UNCLEAR,
            "either an account signs here, or a wallet's signature is given",
            "pass --keystore (with Ape --account), or --signature",
        )
    content = next((value for _, value in _parts(vote) if isinstance(value, Content)), None)
    found = Examined([])
    if content is not None:
        found = examine(content, documents, chain_id=asked.chain_id, standing=None, needed=signature is None)
    lines: Lines = [
        ("asks for", vote.struct),
        ("consortium", f"{asked.consortium} on chain {asked.chain_id}"),
        ("owner", vote.owner),
        *found.lines,
    ]
    for part, value in _parts(vote):
        lines += value.lines() if hasattr(value, "lines") else [(part.label, part.kind.text(value))]
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
    return Answer({**signed.json(), "file": str(out)}, told, found.warnings)


def _parts(vote: Vote) -> list[tuple[Part, Any]]:
    """What a vote says, besides whose it is."""
    return [(part, getattr(vote, part.attribute)) for part in vote.parts() if part.attribute != "owner"]


def read_signature(text: str) -> bytes:
    """A signature as `0x…`, or a file that holds it as text or as a wallet's JSON. Raises
    `signature-malformed`."""
    given = text.strip()
    if not given.startswith("0x"):
        try:
            given = Path(given).read_text(encoding="ascii", errors="replace")[: 2 * 16 * 1024].strip()
        except OSError as error:
            raise ToolError(Code.SIGNATURE_MALFORMED, f"cannot read {text}: {error.strerror}") from None
        if given.startswith("{"):
            try:
                given = str(json.loads(given).get("signature", ""))
            except ValueError:
                given = ""
    try:
        data = bytes.fromhex(given.removeprefix("0x"))
    except ValueError:
        data = b""
    if not given.startswith("0x") or len(data) < typed.SIGNATURE_SIZE:
        raise ToolError(
            Code.SIGNATURE_MALFORMED,
            "a signature is 0x and at least 130 hex digits, or a file that holds that",
            "`--request` wrote what is to be signed",
        )
    return data
