# SPDX-License-Identifier: Apache-2.0
"""`--signatures`: what owners signed is put together and handed in; the account only pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import address_bytes
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Outcome
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.requests import NOBODY, Request, SignatureFile, gather
from sealroom_agents.governance.standing import Standing
from sealroom_agents.governance.ways.contract_wallet import accepts, contract_wallet
from sealroom_agents.governance.ways.sending import send, try_call
from sealroom_agents.governance.ways.way import Way, open_wallet


def hand_in(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    if act.ballot is None:
        raise ToolError(Code.WAY_UNCLEAR, "this can only be sent, not signed", "leave --signatures out")
    found = gather(
        way.signatures,
        kind=act.ballot.kind,
        chain_id=node.chain_id,
        consortium=consortium,
        proposal=act.ballot.proposal,
    )
    by_owner: dict[str, list[SignatureFile]] = {}
    for one in found:
        by_owner.setdefault(one.owner, []).append(one)
    signed, left_out = [], []
    for owner, parts in by_owner.items():
        request = Request(vote=act.ballot.vote(owner), chain_id=node.chain_id, consortium=consortium)
        of_this = [one for one in parts if one.digest == request.digest]
        if not of_this:
            raise ToolError(
                Code.SIGNATURE_OF_ANOTHER,
                f"{owner} signed other words, or under another count of its returns",
                "hand it in with the same options with which it was asked for",
            )
        whole, used = assembled(node, owner, request.digest, of_this)
        signed.append((owner, whole))
        left_out += [one for one in parts if one not in used]
    signed.sort(key=lambda one: address_bytes(one[0]))
    call = act.ballot.handed_in(signed)
    wallet = open_wallet(way)
    try_call(call, wallet.address, node, standing, act.content)
    confirm(f"{act.title}: hand in {len(signed)} signature{'s' * (len(signed) != 1)}?")
    sent = send(call, wallet, node, standing, act.content)
    return Outcome(
        {
            **sent.json(),
            "owners": [owner for owner, _ in signed],
            "leftOut": [str(one.path) for one in left_out],
        },
        [
            ("transaction", f"{sent.tx} in block {sent.block}, {sent.gas:,} gas"),
            *(("left out", f"{one.path}: {_why_left_out(one)}") for one in left_out),
        ],
        sent=True,
    )


def _why_left_out(one: SignatureFile) -> str:
    if one.signer == NOBODY:
        return f"no signature of anybody over this vote of {one.owner}"
    if one.signer == one.owner:
        return f"another signature of {one.owner} counts"
    return f"of {one.signer}, whose signature is not needed for {one.owner}, or counts for nothing"


def assembled(
    node: Node, owner: str, digest: bytes, parts: Sequence[SignatureFile]
) -> tuple[bytes, list[SignatureFile]]:
    """One owner's signature, and the files of which it was made; what is no good is passed over.

    A key's own counts; else one that the owner's contract itself takes (EIP-1271); else those of a Safe's
    owners one after the other, by address, as its fallback handler reads them. Raises
    `signature-of-another`, `safe-signatures` where nothing of that is there.
    """
    keyed = [one for one in parts if one.signer == owner and len(one.signature) == typed.SIGNATURE_SIZE]
    if keyed:
        return keyed[0].signature, keyed[:1]
    for one in parts:
        if accepts(node, owner, digest, one.signature):
            return one.signature, [one]
    safe = contract_wallet(node, owner)
    mine = [one for one in parts if safe is not None and one.signer in safe.owners]
    mine = list({one.signer: one for one in mine}.values())
    if safe is not None and len(mine) >= safe.threshold:
        mine = sorted(mine, key=lambda one: address_bytes(one.signer))[: safe.threshold]
        return b"".join(one.signature for one in mine), mine
    whole = [one for one in parts if one.signer == owner]
    if whole:  # the contract says in its own words why it does not take it
        return whole[0].signature, whole[:1]
    signers = ", ".join("nobody" if one.signer == NOBODY else one.signer for one in parts)
    if safe is None:
        raise ToolError(
            Code.SIGNATURE_OF_ANOTHER,
            f"{signers} signed, and {owner} is the owner",
            "sign with the owner's own account",
        )
    strangers = [one.signer for one in parts if one not in mine and one.signer not in safe.owners]
    no_owner = f"; {', '.join(strangers)} is no owner of it" if strangers else ""
    lacking = [one for one in safe.owners if one not in {part.signer for part in mine}]
    raise ToolError(
        Code.SAFE_SIGNATURES,
        f"the Safe {owner} signs with {safe.threshold} of its owners, and {len(mine)} signed{no_owner}",
        f"lacking are {safe.threshold - len(mine)} of {', '.join(lacking)}",
    )
