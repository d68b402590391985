# SPDX-License-Identifier: Apache-2.0
"""The links that ask the chain about an envelope without proofs: gate adopted, study approved, run booked,
receipt anchored, by whom approved.

State is read at the block that the grant names, so the answer is the same years later, but only from a node
that keeps old state and logs. The ledger's own records do not change: logs say where a run was opened and its
receipt anchored, and `Ledger.verify` at the latest block of every node says whether that is so. An envelope
with proofs needs no such node: `sealroom_agents.verification.proven`.

That a receipt is anchored says nothing about who made it: whoever holds a gate's key can open runs and anchor
receipts that no enclave made. So these links come after those that prove the enclave, and `verdict` never
shows the one without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import StatementDataset
from sealroom.errors import EnvelopeError
from sealroom.model import Platform, Study
from sealroom.model.units import time_text
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.verification.of_run import (
    CLOCK_SKEW_S,
    MAX_BLOCK_AGE_S,
    chain_id,
    chain_of,
    device_check,
    gate_checks,
    opening_checks,
    stands,
    study_checks,
)
from sealroom_agents.verification.since import since_step, told_since, words_of_revocation
from sealroom_agents.verification.state import NODES, Check, Findings, Step, TrustedBlock, equal


def _block(found: Findings) -> None:
    number = found.envelope.grant.block_number
    found.view = chain_of(found).view_at(found.envelope.statement.consortium, number)
    if found.view.block_hash != found.envelope.grant.block_hash:
        raise EnvelopeError(Code.WRONG_CHAIN, f"this chain has another block {number}")


def _time(found: Findings) -> None:
    issued, block_time = found.envelope.grant.issued, found.view.block_time
    if not block_time - CLOCK_SKEW_S <= issued <= block_time + MAX_BLOCK_AGE_S:
        raise EnvelopeError(Code.GRANT_MISMATCH, "the grant is not of the time of its block")


def _platform(found: Findings) -> Platform:
    if found.view.platform is None:
        raise EnvelopeError(Code.GATE_NOT_REGISTERED, "the owners had adopted no gate")
    return found.view.platform


# --- approved ----------------------------------------------------------------------------------------


def _study(found: Findings) -> Study:
    if found.view.study is None:
        raise EnvelopeError(Code.NOT_APPROVED, f"no study was live at block {found.view.block_number}")
    return found.view.study


def _live(found: Findings) -> None:
    _study(found)
    if not found.view.live:
        raise EnvelopeError(Code.NOT_APPROVED, f"no study was live at block {found.view.block_number}")


def _voters(view: ChainView) -> set[str]:
    return set(view.approvals) & {owner.account for owner in view.owners}


def _quorum(found: Findings) -> None:
    voters = len(_voters(found.view))
    if voters < found.view.threshold:
        raise EnvelopeError(
            Code.NOT_APPROVED, f"{voters} of {found.view.threshold} needed owners had approved"
        )


def _each_dataset(
    name: str, code: Code, message: str, holds: Callable[[ChainView, DatasetRecord, StatementDataset], bool]
) -> Check:
    def run(found: Findings) -> None:
        for record, used in zip(found.view.datasets, found.envelope.statement.datasets, strict=True):
            if not holds(found.view, record, used):
                raise EnvelopeError(code, message.format(f"{used.owner}/{used.name}"))

    return Check(name, run)


# --- opened and anchored -----------------------------------------------------------------------------


def _opening(found: Findings) -> None:
    envelope = found.envelope
    grant, receipt = envelope.grant, envelope.receipt
    seen = chain_of(found).receipt(
        grant.ledger, receipt, envelope.receipt_signature, from_block=grant.block_number
    )
    if seen is None:
        raise EnvelopeError(Code.RUN_NOT_OPENED, "the ledger never opened this run")
    found.receipt = seen


def _opened_after_grant(found: Findings) -> None:
    if found.receipt.opening.opened_at < found.view.block_time:
        raise EnvelopeError(Code.RUN_MISMATCH, "the ledger opened this run before it was granted")


def _is_anchored(found: Findings) -> None:
    if found.receipt.anchoring is None:
        opened = time_text(found.receipt.opening.opened_at)
        raise EnvelopeError(
            Code.RECEIPT_NOT_ANCHORED,
            f"the ledger holds no receipt of this run, which it opened on {opened}; {_since(found)}",
        )


def _this_receipt(found: Findings) -> None:
    if not found.receipt.verdict.anchored:
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "the ledger holds another receipt of this run")


def _anchoring_tx(found: Findings) -> str | None:
    return None if found.receipt.anchoring is None else found.receipt.anchoring.tx


def _anchoring_block(found: Findings) -> int | None:
    return None if found.receipt.anchoring is None else found.receipt.anchoring.block


# --- approvals ---------------------------------------------------------------------------------------


def _listed_voters(found: Findings) -> None:
    voters = _voters(found.view)
    if not voters.issuperset(approval.owner for approval in _approvals(found)):
        voters |= _pinned_by(found)
    for approval in _approvals(found):
        if approval.owner not in voters:
            raise EnvelopeError(
                Code.APPROVAL_MISMATCH, f"{approval.owner} is listed, and had not approved as an owner"
            )


def _pinned_by(found: Findings) -> frozenset[str]:
    """Accounts with whose approval the study was pinned, as they were then: a seat may have moved since."""
    stated, found_by = found.envelope.statement, chain_of(found).approvals_in
    txs = {approval.tx for approval in _approvals(found)}
    return frozenset().union(
        *(found_by(stated.consortium, stated.study, tx, counted=True) for tx in sorted(txs))
    )


def _listed_quorum(found: Findings) -> None:
    count = len({approval.owner for approval in _approvals(found)})
    if found.envelope.anchor is not None and count < found.view.threshold:
        raise EnvelopeError(
            Code.APPROVAL_MISMATCH, f"{count} approvals are listed, {found.view.threshold} were needed"
        )


def _listed_transactions(found: Findings) -> None:
    statement = found.envelope.statement
    for approval in _approvals(found):
        brought = chain_of(found).approvals_in(statement.consortium, statement.study, approval.tx)
        if approval.owner not in brought:
            raise EnvelopeError(
                Code.APPROVAL_MISMATCH,
                f"transaction {to_hex(approval.tx)} did not bring the approval of {approval.owner}",
            )


def _approvals(found: Findings) -> tuple[Any, ...]:
    return () if found.envelope.anchor is None else found.envelope.anchor.approvals


# --- what was found ----------------------------------------------------------------------------------


def _trusted(found: Findings) -> tuple[TrustedBlock, ...]:
    view = found.view
    block = TrustedBlock(view.block_number, view.block_hash, shows=("state",), vouchers=(NODES,))
    return (block,)


def _tell_block(found: Findings) -> str:
    view = found.view
    return (
        f"block {view.block_number}, {to_hex(view.block_hash)}, where the gate decided: the nodes have it, "
        "and its state"
    )


def _names(found: Findings) -> dict[str, str]:
    return {owner.account: owner.id for owner in found.view.owners}


def _tell_approved(found: Findings) -> str:
    view = found.view
    return f"{len(_voters(view))} owners approved, as many as were needed, block {view.block_number}"


def _tell_anchored(found: Findings) -> str:
    verdict, anchoring, names = found.receipt.verdict, found.receipt.anchoring, _names(found)
    how = f" in batch {anchoring.batch}" if anchoring is not None and anchoring.batch else ""
    who = ", ".join(names.get(account, account) for account in verdict.approved_by)
    return (
        f"receipt {verdict.sequence} of the consortium{how}, on {time_text(verdict.anchored_at)}, "
        f"tx {_anchoring_tx(found)}; approved by {who} on {time_text(verdict.approved_at)}"
    )


def _tell_approvals(found: Findings) -> str:
    if found.envelope.anchor is None:
        return "the envelope lists none"
    names = _names(found)
    who = ", ".join(names.get(approval.owner, approval.owner) for approval in _approvals(found))
    return f"each listed transaction brought its owner's approval: {who}"


def _since(found: Findings) -> str:
    verdict, stated = found.receipt.verdict, found.envelope.statement
    reason = ""
    if verdict.revoked_at:
        reason = words_of_revocation(chain_of(found), stated.consortium, stated.study)
    return told_since(verdict, _names(found), reason)


ON_CHAIN: tuple[Step, ...] = (
    Step(
        "blocks",
        (
            Check("chain.id", chain_id),
            Check("chain.block", _block),
            Check("chain.time", _time),
        ),
        _tell_block,
        _trusted,
    ),
    Step(
        "gate-registered",
        (
            equal(
                "chain.app",
                lambda found: found.envelope.statement.app,
                lambda found: found.view.app,
                Code.APP_ID_MISMATCH,
                "the consortium has another app",
            ),
            equal(
                "chain.ledger",
                lambda found: found.envelope.statement.ledger,
                lambda found: found.view.ledger,
                Code.LEDGER_MISMATCH,
                "the consortium has another ledger",
            ),
            *gate_checks(_platform),
            device_check(_platform, any_=lambda found: found.view.allow_any_device),
        ),
        lambda found: f"gate, OS image and machine adopted by the owners, block {found.view.block_number}",
    ),
    Step(
        "approved",
        (
            Check("study.live", _live),
            equal(
                "study.id",
                lambda found: found.envelope.statement.study,
                lambda found: _study(found).id,
                Code.NOT_APPROVED,
                lambda found: f"the live study was {to_hex(_study(found).id)}",
            ),
            equal(
                "study.standing",
                lambda found: found.envelope.statement.standing,
                lambda found: found.view.standing,
                Code.STANDING_MISMATCH,
                "the consortium stood otherwise at that block",
            ),
            *study_checks(_study),
            Check("study.quorum", _quorum),
            _each_dataset(
                "dataset.owner",
                Code.DATASET_MISMATCH,
                "{} is held by another owner",
                lambda view, record, used: record.holder_id == used.owner,
            ),
            _each_dataset(
                "dataset.name",
                Code.DATASET_MISMATCH,
                "{} is registered under another name",
                lambda view, record, used: record.name == used.name,
            ),
            _each_dataset(
                "dataset.header",
                Code.DATASET_MISMATCH,
                "{} is another version than the study's",
                lambda view, record, used: record.version.header == used.header,
            ),
            _each_dataset(
                "dataset.index",
                Code.DATASET_MISMATCH,
                "{} is not what its owner registered",
                lambda view, record, used: record.version.index == used.index_digest,
            ),
            _each_dataset(
                "dataset.approved",
                Code.OWNER_NOT_APPROVED,
                "the owner of {} had not approved its use",
                lambda view, record, used: record.holder in _voters(view),
            ),
        ),
        _tell_approved,
    ),
    Step(
        "opened",
        (
            Check("run.opened", _opening),
            *opening_checks(lambda found: found.receipt.opening),
            Check("run.after-grant", _opened_after_grant),
        ),
        lambda found: (
            f"ε and δ booked before any key was released, on {time_text(found.receipt.opening.opened_at)}"
        ),
    ),
    Step(
        "anchored",
        (
            Check("receipt.anchored", _is_anchored),
            Check("receipt.this", _this_receipt),
            stands("anchor.tx", lambda anchor: to_hex(anchor.tx), _anchoring_tx),
            stands("anchor.block", lambda anchor: anchor.block, _anchoring_block),
            stands("anchor.sequence", lambda anchor: anchor.sequence, lambda f: f.receipt.verdict.sequence),
        ),
        _tell_anchored,
    ),
    Step(
        "approvals",
        (
            Check("approvals.owners", _listed_voters),
            Check("approvals.quorum", _listed_quorum),
            Check("approvals.transactions", _listed_transactions),
        ),
        _tell_approvals,
    ),
    since_step(_since),
)
"""Links that ask the chain."""
