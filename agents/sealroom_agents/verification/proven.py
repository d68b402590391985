# SPDX-License-Identifier: Apache-2.0
"""The links of an envelope that carries proofs: from the hashes of a few blocks to everything that the chain
had to say of its run. No archive is needed, and with hashes from elsewhere no node.

The opening shows most: the ledger opens a run only while its study is live under this very standing, and
writes down by whom it was approved. Its `charter` chains all rosters and platforms, so that the platform in
the proofs is the one that governed, or the chain breaks.

Where nodes are asked, they vouch for the hashes, and each says at its newest block what never changes: app
and ledger of the consortium, versions of datasets; and what `Ledger.verify` says of the receipt, with what
has happened since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import Anchor
from sealroom.errors import EnvelopeError, FormatError
from sealroom.model import Machines, Opening, Platform, Receipt, Study
from sealroom.model.units import time_text
from sealroom.receipt_tree import contains, leaf
from sealroom_agents.verification.of_run import (
    chain_id,
    chain_of,
    device_check,
    gate_checks,
    opening_checks,
    stands,
    study_checks,
)
from sealroom_agents.verification.onchain import CLOCK_SKEW_S, MAX_BLOCK_AGE_S, words_of_revocation
from sealroom_agents.verification.shown import ShownEvent, shown_by
from sealroom_agents.verification.since import told_since
from sealroom_agents.verification.state import (
    AUDITOR,
    GATE,
    NODES,
    Check,
    Findings,
    Step,
    TrustedBlock,
    equal,
)

if TYPE_CHECKING:
    from sealroom_agents.chain import FoundReceipt


def _anchor(found: Findings) -> Anchor:
    if found.envelope.anchor is None:
        raise EnvelopeError(Code.RECEIPT_NOT_ANCHORED, "the envelope does not say where its receipt stands")
    return found.envelope.anchor


def _asked(name: str, run: Callable[[Findings], None]) -> Check:
    """A check that only nodes can make: without them it is not made."""
    return Check(name, lambda found: None if found.chain is None else run(found))


def _shown(name: str, find: Callable[[Findings], object]) -> Check:
    """A check that the proofs show something."""

    def run(found: Findings) -> None:
        find(found)

    return Check(name, run)


# --- blocks ------------------------------------------------------------------------------------------


def _paths(found: Findings) -> None:
    found.shown = shown_by(found.envelope, _anchor(found))


def _auditor(found: Findings) -> None:
    for number, header in found.shown.headers.items():
        if found.hashes.get(number, header.hash) != header.hash:
            raise EnvelopeError(
                Code.BLOCK_MISMATCH,
                f"the proofs are of block {number} with the hash {to_hex(header.hash)}, not of the given one",
            )


def _granted(found: Findings) -> None:
    grant = found.envelope.grant
    header = found.shown.headers.get(grant.block_number)
    if header is not None and header.hash != grant.block_hash:
        raise EnvelopeError(
            Code.BLOCK_MISMATCH, f"the grant names another block {grant.block_number} than the proofs"
        )


def _nodes(found: Findings) -> None:
    grant = found.envelope.grant
    hashes = {number: header.hash for number, header in found.shown.headers.items()}
    for number, known in ((grant.block_number, grant.block_hash), *hashes.items()):
        if chain_of(found).block(number).hash != known:
            raise EnvelopeError(Code.WRONG_CHAIN, f"this chain has another block {number}")


def _trusted(found: Findings) -> tuple[TrustedBlock, ...]:
    grant = found.envelope.grant
    blocks = []
    for number, header in sorted(found.shown.headers.items()):
        vouching = {
            NODES: found.chain is not None,
            AUDITOR: number in found.hashes,
            GATE: number == grant.block_number,
        }
        vouchers = tuple(who for who, vouches in vouching.items() if vouches)
        blocks.append(TrustedBlock(number, header.hash, found.shown.words(number), vouchers))
    return tuple(blocks)


def _tell_blocks(found: Findings) -> str:
    blocks = _trusted(found)
    lacking = [block.number for block in blocks if not block.vouchers]
    told = f"{len(blocks)} blocks, from {blocks[0].number} to {blocks[-1].number}; "
    if not lacking:
        return told + "each has the hash that is vouched for"
    return told + f"nobody vouches for the hash of {', '.join(map(str, lacking))}"


# --- opening -----------------------------------------------------------------------------------------


def _opened(found: Findings) -> ShownEvent:
    events = found.shown.of("RunOpened")
    if not events:
        raise EnvelopeError(Code.RUN_NOT_OPENED, "the proofs do not show that the ledger opened this run")
    return events[-1]


def _opening(found: Findings) -> Opening:
    try:
        return Opening.of_abi(_opened(found).fields["opening"])
    except FormatError as error:
        raise EnvelopeError(Code.RUN_MISMATCH, f"the opening is none: {error.message}") from error


def _opened_after_grant(found: Findings) -> None:
    grant, header = found.envelope.grant, _opened(found).header
    early = header.number <= grant.block_number or header.time < grant.issued - CLOCK_SKEW_S
    if early or header.time > grant.issued + MAX_BLOCK_AGE_S:
        raise EnvelopeError(Code.RUN_MISMATCH, "the ledger opened this run at another time than its grant's")


# --- gate and study ----------------------------------------------------------------------------------


def _platform(found: Findings) -> Platform:
    """The platform whose charter the opening names, with the machines that were added to it."""
    opened = _opened(found)
    charter = ground = b""
    platform: Platform | None = None
    for event in found.shown.events:
        if event.place >= opened.place:
            break
        if event.name == "PlatformAdopted":
            charter = ground = event.fields["charter"]
            platform = Platform.of_abi(event.fields["platform"])
        elif platform is not None and event.name in ("MachinesAdded", "RosterChanged"):
            ground = keccak(ground + event.fields["proposal"])
            if event.name == "RosterChanged":
                charter = ground
            else:
                added = Machines.of_abi(event.fields["machines"])
                platform = replace(
                    platform,
                    os_images=platform.os_images + added.os_images,
                    devices=platform.devices + added.devices,
                )
    if platform is None or charter != _opening(found).charter:
        raise EnvelopeError(
            Code.GATE_NOT_REGISTERED, "the proofs do not show the platform under which the run was opened"
        )
    return platform


def _app(found: Findings) -> None:
    stated = found.envelope.statement
    made = {event.fields["app"].lower() for event in found.shown.of("ConsortiumCreated")}
    if not made <= {stated.app}:
        raise EnvelopeError(Code.APP_ID_MISMATCH, "the consortium was made with another app")


def _pin(found: Findings) -> ShownEvent:
    opened, study = _opened(found), _opening(found).study
    for event in reversed(found.shown.of("StudyPinned")):
        if event.place < opened.place and event.fields["study"] == study:
            return event
    raise EnvelopeError(Code.NOT_APPROVED, "the proofs do not show that the owners approved the study")


def _study(found: Findings) -> Study:
    study = Study.of_abi(_pin(found).fields["content"])
    if study.id != _opening(found).study:
        raise EnvelopeError(Code.NOT_APPROVED, "the approved study is not what its id says")
    return study


def _approved(found: Findings) -> tuple[int, int, int]:
    pin = _pin(found)
    return pin.fields["roll"], pin.fields["approvals"], pin.header.time


def _versions(found: Findings) -> None:
    study, ledger = _study(found), found.envelope.grant.ledger
    for used, number in zip(found.envelope.statement.datasets, study.versions, strict=True):
        name, version = chain_of(found).registered(ledger, used.id, number, used.header)
        if version is None or (name, version.index) != (used.name, used.index_digest):
            raise EnvelopeError(
                Code.DATASET_MISMATCH, f"{used.owner}/{used.name} is not what its owner registered"
            )


# --- anchoring and approvals -------------------------------------------------------------------------


def _anchored(found: Findings) -> ShownEvent:
    """The event that anchored the receipt, alone or in the batch that has its sequence."""
    opened, sequence = _opened(found), _anchor(found).sequence
    for event in found.shown.events:
        if event.place <= opened.place:
            continue
        if event.name == "ReceiptAnchored":
            return event
        if event.name == "BatchAnchored":
            first = event.fields["first"]
            if first <= sequence < first + event.fields["count"]:
                return event
    raise EnvelopeError(Code.RECEIPT_NOT_ANCHORED, "the proofs do not show that the receipt was anchored")


def _this_receipt(found: Findings) -> None:
    event, envelope = _anchored(found), found.envelope
    if event.name == "ReceiptAnchored":
        holds = Receipt.of_abi(event.fields["receipt"]) == envelope.receipt
    else:
        message = typed.receipt(
            envelope.receipt, chain_id=envelope.statement.chain_id, ledger=envelope.grant.ledger
        )
        anchor, number = _anchor(found), _opening(found).number
        mine = leaf(anchor.sequence, number, typed.digest(message))
        holds = contains(event.fields["root"], mine, anchor.batch_path)
    if not holds:
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "another receipt than this one was anchored there")


def _sequence(found: Findings) -> int:
    event = _anchored(found)
    return int(event.fields["sequence"]) if event.name == "ReceiptAnchored" else _anchor(found).sequence


def _ledger_says(found: Findings) -> None:
    from sealroom_agents.chain import Anchoring, FoundReceipt

    event, anchor, envelope = _anchored(found), _anchor(found), found.envelope
    opening = _opening(found)
    anchoring = Anchoring(
        tx=to_hex(anchor.tx),
        block=event.header.number,
        sequence=_sequence(found),
        anchored_at=event.header.time,
        batch=event.fields.get("batch", 0),
        path=anchor.batch_path,
    )
    verdict = chain_of(found).verdict(
        envelope.grant.ledger, envelope.receipt, envelope.receipt_signature, opening, anchoring
    )
    if not verdict.anchored:
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "the ledger itself says that it holds no such receipt")
    found.receipt = FoundReceipt(opening=opening, anchoring=anchoring, verdict=verdict)


def _listed(found: Findings) -> None:
    count, listed = _pin(found).fields["approvals"].bit_count(), len(_anchor(found).approvals)
    if listed != count:
        raise EnvelopeError(Code.APPROVAL_MISMATCH, f"{listed} approvals are listed, and {count} counted")


def _listed_accounts(found: Findings) -> None:
    counted = set(found.receipt.verdict.approved_by)
    for approval in _anchor(found).approvals:
        if approval.owner not in counted:
            raise EnvelopeError(
                Code.APPROVAL_MISMATCH, f"{approval.owner} is listed, and had not approved as an owner"
            )


# --- what was found ----------------------------------------------------------------------------------


def _names(found: Findings) -> dict[str, str]:
    owners = chain_of(found).owners(found.envelope.statement.consortium)
    return {owner.account: owner.id for owner in owners}


def _tell_gate(found: Findings) -> str:
    made = [event.emitter for event in found.shown.of("ConsortiumCreated")]
    by = f"; the factory {made[0]} made the consortium" if made else ""
    return f"gate, OS image and machine adopted by the owners{by}"


def _tell_approved(found: Findings) -> str:
    pin = _pin(found)
    count = pin.fields["approvals"].bit_count()
    return f"{count} owners approved, as many as were needed, block {pin.header.number}"


def _tell_opened(found: Findings) -> str:
    return f"ε and δ booked before any key was released, on {time_text(_opening(found).opened_at)}"


def _tell_anchored(found: Findings) -> str:
    event = _anchored(found)
    when = time_text(event.header.time)
    where = f"on {when}, block {event.header.number}"
    if event.name != "BatchAnchored":
        return f"receipt {_sequence(found)} of the consortium, {where}"
    # The ledger alone keeps the standing under which a batch was anchored.
    unsaid = "; that its standing was the run's, only the ledger tells" if found.chain is None else ""
    return f"receipt {_sequence(found)} of the consortium in batch {event.fields['batch']}, {where}{unsaid}"


def _tell_approvals(found: Findings) -> str:
    listed = _anchor(found).approvals
    if found.chain is None:
        return f"{len(listed)} are listed, as many as counted; whose they are, only the chain can tell"
    names = _names(found)
    who = ", ".join(names.get(approval.owner, approval.owner) for approval in listed)
    return f"those that counted were of {who}"


def _tell_since(found: Findings) -> str:
    seen: FoundReceipt = found.receipt
    stated = found.envelope.statement
    reason = ""
    if seen.verdict.revoked_at:
        reason = words_of_revocation(chain_of(found), stated.consortium, stated.study)
    return told_since(seen.verdict, _names(found), reason)


PROVEN: tuple[Step, ...] = (
    Step(
        "blocks",
        (
            Check("proofs.paths", _paths),
            Check("proofs.auditor", _auditor),
            Check("proofs.grant", _granted),
            _asked("chain.id", chain_id),
            _asked("proofs.nodes", _nodes),
        ),
        _tell_blocks,
        _trusted,
    ),
    Step(
        "opened",
        (
            _shown("run.opened", _opened),
            equal(
                "run.run",
                lambda found: found.envelope.receipt.run_id,
                lambda found: _opening(found).run.run_id,
                Code.RUN_MISMATCH,
                "the opening is of another run",
            ),
            *opening_checks(_opening),
            Check("run.after-grant", _opened_after_grant),
        ),
        _tell_opened,
    ),
    Step(
        "gate-registered",
        (
            Check("chain.app", _app),
            _asked(
                "chain.home",
                equal(
                    "",
                    lambda found: (found.envelope.statement.app, found.envelope.statement.ledger),
                    lambda found: chain_of(found).home(found.envelope.statement.consortium),
                    Code.LEDGER_MISMATCH,
                    "the consortium has another app or ledger",
                ).run,
            ),
            _shown("platform.charter", _platform),
            *gate_checks(_platform),
            device_check(_platform, any_=lambda found: False),
        ),
        _tell_gate,
    ),
    Step(
        "approved",
        (
            _shown("study.pinned", _pin),
            _shown("study.id", _study),
            equal(
                "study.approvals",
                _approved,
                lambda found: (
                    _opening(found).roll,
                    _opening(found).approvals,
                    _opening(found).approved_at,
                ),
                Code.NOT_APPROVED,
                "the study was approved otherwise than its opening says",
            ),
            *study_checks(_study),
            _asked("study.versions", _versions),
        ),
        _tell_approved,
    ),
    Step(
        "anchored",
        (
            _shown("receipt.anchored", _anchored),
            Check("receipt.this", _this_receipt),
            stands("anchor.block", lambda anchor: anchor.block, lambda f: _anchored(f).header.number),
            stands("anchor.sequence", lambda anchor: anchor.sequence, _sequence),
            _asked("receipt.ledger", _ledger_says),
        ),
        _tell_anchored,
    ),
    Step(
        "approvals",
        (
            Check("approvals.count", _listed),
            _asked("approvals.owners", _listed_accounts),
        ),
        _tell_approvals,
    ),
)
"""Links that rest on the hashes of blocks."""
SINCE = Step("revocation", (), _tell_since)
"""What nodes say of the time since."""
