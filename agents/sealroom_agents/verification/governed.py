# SPDX-License-Identifier: Apache-2.0
"""The links `gate-registered`, `approved` and `approvals` of an envelope with proofs: what the owners agreed.

The opening's `charter` chains all rosters and platforms, so that the platform in the proofs is the one that
governed, or the chain breaks. Where nodes are asked, each says at its newest block what never changes: app
and ledger of the consortium, versions of datasets, and whose accounts held the seats that approved.
"""

from __future__ import annotations

from dataclasses import replace

from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.errors import EnvelopeError
from sealroom.model import Machines, Platform, Study
from sealroom_agents.verification.of_run import (
    anchor_of,
    asked,
    chain_of,
    device_check,
    gate_checks,
    shown,
    study_checks,
)
from sealroom_agents.verification.recorded import opened, opening
from sealroom_agents.verification.shown import ShownEvent
from sealroom_agents.verification.state import Check, Findings, Step, equal

# --- gate --------------------------------------------------------------------------------------------


def _platform(found: Findings) -> Platform:
    """The platform whose charter the opening names, with the machines that were added to it."""
    place = opened(found).place
    charter = ground = b""
    platform: Platform | None = None
    for event in found.shown.events:
        if event.place >= place:
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
    if platform is None or charter != opening(found).charter:
        raise EnvelopeError(
            Code.GATE_NOT_REGISTERED, "the proofs do not show the platform under which the run was opened"
        )
    return platform


def _app(found: Findings) -> None:
    stated = found.envelope.statement
    made = {event.fields["app"].lower() for event in found.shown.of("ConsortiumCreated")}
    if not made <= {stated.app}:
        raise EnvelopeError(Code.APP_ID_MISMATCH, "the consortium was made with another app")


def _tell_gate(found: Findings) -> str:
    # Any contract can emit such an event: whether it is the factory, the reader has to know.
    made = dict.fromkeys(event.emitter for event in found.shown.of("ConsortiumCreated"))
    by = f"; made by the factory {' or '.join(made)}, as that says" if made else ""
    return f"gate, OS image and machine adopted by the owners{by}"


# --- study -------------------------------------------------------------------------------------------


def _pin(found: Findings) -> ShownEvent:
    place, study = opened(found).place, opening(found).study
    for event in reversed(found.shown.of("StudyPinned")):
        if event.place < place and event.fields["study"] == study:
            return event
    raise EnvelopeError(Code.NOT_APPROVED, "the proofs do not show that the owners approved the study")


def _study(found: Findings) -> Study:
    study = Study.of_abi(_pin(found).fields["content"])
    if study.id != opening(found).study:
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


def _tell_approved(found: Findings) -> str:
    pin = _pin(found)
    count = pin.fields["approvals"].bit_count()
    return f"{count} owners approved, as many as were needed, block {pin.header.number}"


# --- approvals ---------------------------------------------------------------------------------------


def names_of(found: Findings) -> dict[str, str]:
    """Ids of the owners by their accounts, as nodes have them now."""
    owners = chain_of(found).owners(found.envelope.statement.consortium)
    return {owner.account: owner.id for owner in owners}


def _listed(found: Findings) -> None:
    count, listed = _pin(found).fields["approvals"].bit_count(), len(anchor_of(found).approvals)
    if listed != count:
        raise EnvelopeError(Code.APPROVAL_MISMATCH, f"{listed} approvals are listed, and {count} counted")


def _listed_accounts(found: Findings) -> None:
    counted = set(found.receipt.verdict.approved_by)
    for approval in anchor_of(found).approvals:
        if approval.owner not in counted:
            raise EnvelopeError(
                Code.APPROVAL_MISMATCH, f"{approval.owner} is listed, and had not approved as an owner"
            )


def _tell_approvals(found: Findings) -> str:
    listed = anchor_of(found).approvals
    if found.chain is None:
        return f"{len(listed)} are listed, as many as counted; whose they are, only the chain can tell"
    names = names_of(found)
    who = ", ".join(names.get(approval.owner, approval.owner) for approval in listed)
    return f"those that counted were of {who}"


GATE_REGISTERED = Step(
    "gate-registered",
    (
        Check("chain.app", _app),
        asked(
            "chain.home",
            equal(
                "",
                lambda found: (found.envelope.statement.app, found.envelope.statement.ledger),
                lambda found: chain_of(found).home(found.envelope.statement.consortium),
                Code.LEDGER_MISMATCH,
                "the consortium has another app or ledger",
            ).run,
        ),
        shown("platform.charter", _platform),
        *gate_checks(_platform),
        device_check(_platform, any_=lambda found: False),
    ),
    _tell_gate,
)
"""The owners had adopted this gate."""
APPROVED = Step(
    "approved",
    (
        shown("study.pinned", _pin),
        shown("study.id", _study),
        equal(
            "study.approvals",
            _approved,
            lambda found: (opening(found).roll, opening(found).approvals, opening(found).approved_at),
            Code.NOT_APPROVED,
            "the study was approved otherwise than its opening says",
        ),
        *study_checks(_study),
        asked("study.versions", _versions),
    ),
    _tell_approved,
)
"""The owners had approved this study."""
APPROVALS = Step(
    "approvals",
    (
        Check("approvals.count", _listed),
        asked("approvals.owners", _listed_accounts),
    ),
    _tell_approvals,
)
"""The listed approvals are those that counted."""
