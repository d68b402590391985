# SPDX-License-Identifier: Apache-2.0
"""Signatures of approvals that owners hand in here, and the one transaction that hands all of them on.

An owner's account has a key, or is a contract that says which signatures are its own (EIP-1271). What a
contract says may change, so it is asked when a signature comes, and again whenever it is shown: one that it
takes no more would make the whole transaction fail.
"""

from __future__ import annotations

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import from_hex, to_hex
from sealroom.errors import KeyMaterialError
from sealroom.model import ApproveStudy, Study
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.wallets import Claim
from sealroom_agents.console import models
from sealroom_agents.console.pictures import Picture, StudyPicture
from sealroom_agents.console.studies import Studies
from sealroom_agents.errors import RequestError
from sealroom_agents.store import Store


def waiting_study(studies: Studies, consortium: str, study: str) -> tuple[Picture, StudyPicture]:
    """A study that waits. Raises `RequestError` `unknown-study`."""
    picture = studies.chosen(consortium, from_hex(study, 32))
    current = picture.current
    if current is None or current.state != "pending":
        raise RequestError(Code.UNKNOWN_STUDY, "no such study waits for approval here")
    return picture, current


def require_vote(studies: Studies, picture: Picture, study: Study, owner: str, signature: bytes) -> None:
    """Raises `RequestError`: `researcher-unknown` for one without a seat, `request-forged`; `ChainError`
    where no node says what a contract takes."""
    if owner not in {one.account for one in picture.view.owners}:
        raise RequestError(Code.RESEARCHER_UNKNOWN, f"{owner} is no owner of this consortium")
    signer = _signer(picture, study, owner, signature)
    if signer == owner or all(studies.confirmed(*_claims(picture, study, {owner: signature}))):
        return
    raise RequestError(
        Code.REQUEST_FORGED,
        f"{signer or 'no key'} signed, and not {owner}; nor does a contract at {owner} take it for its own",
        "sign the approval of exactly this study; of a Safe, as many of its owners as it needs",
    )


def gathered(store: Store, studies: Studies, picture: Picture, current: StudyPicture) -> models.Signatures:
    """What was handed in, is good now, and counts nowhere yet. Raises `ChainError` where no node says what a
    contract takes."""
    study = to_hex(current.study.id)
    found = store.gathered(picture.view.consortium, [study])[study]
    names = {one.account: one.id for one in picture.view.owners}
    approved = {vote.owner.account for vote in current.votes if vote.approved}
    barred = {vote.owner.account for vote in current.votes if vote.withdrawn}
    handed_in = {
        account: from_hex(signature)
        for account, signature in sorted(found.items())
        if account in names and account not in approved | barred
    }
    keys = {
        account
        for account, signature in handed_in.items()
        if _signer(picture, current.study, account, signature) == account
    }
    others = {account: signature for account, signature in handed_in.items() if account not in keys}
    taken = studies.confirmed(*_claims(picture, current.study, others))
    contracts = {account for account, good in zip(others, taken, strict=True) if good}
    by = [(account, signature) for account, signature in handed_in.items() if account in keys | contracts]
    together = approved | keys | contracts
    required = {vote.owner.account for vote in current.votes if vote.required}
    contract = interface("Consortium")
    call = models.Call(
        chain_id=picture.chain_id,
        to=picture.view.consortium,
        function=contract.signature("approve"),
        data=to_hex(contract.encode("approve", current.study.solidity(), by)),
    )
    return models.Signatures(
        study=study,
        approved=[names[account] for account in sorted(approved)],
        signatures=[
            models.Signature(
                owner=names[account],
                account=account,
                signature=to_hex(signature),
                by="key" if account in keys else "contract",
            )
            for account, signature in by
        ],
        threshold=picture.view.threshold,
        enough=len(together) >= picture.view.threshold and required <= together,
        call=call if by else None,
    )


def _message(picture: Picture, study: Study, owner: str) -> typed.Signable:
    return typed.vote(
        ApproveStudy(owner=owner, study=study),
        chain_id=picture.chain_id,
        consortium=picture.view.consortium,
    )


def _signer(picture: Picture, study: Study, owner: str, signature: bytes) -> str | None:
    """Whose key signed; `None` where that is no signature of a key."""
    try:
        return typed.recover(_message(picture, study, owner), signature)
    except KeyMaterialError:
        return None


def _claims(picture: Picture, study: Study, signatures: dict[str, bytes]) -> tuple[str, list[Claim]]:
    """What contracts are asked, in the same order."""
    claims = [
        Claim(owner, typed.digest(_message(picture, study, owner)), signature)
        for owner, signature in signatures.items()
    ]
    return picture.view.consortium, claims
