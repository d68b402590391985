# SPDX-License-Identifier: Apache-2.0
"""The links that ask the chain: gate adopted, study approved, run booked, receipt anchored.

State is read at the block that the grant names, so the answer is the same years later, from a node that keeps
old state. The ledger's own records do not change, and are read at the latest block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sealroom.encoding import to_hex
from sealroom.errors import EnvelopeError
from sealroom_agents.facts import ChainView, PlatformRecord
from sealroom_agents.verification.state import Findings, need

if TYPE_CHECKING:
    from sealroom_agents.chain import History, OpenedRun

MAX_BLOCK_AGE_S = 3600
"""How far a grant may be from its finalized block: finality takes a quarter of an hour on Ethereum."""
CLOCK_SKEW_S = 300
"""How far a grant may be before its block, by clocks that differ."""


class Chain(Protocol):
    """What the walk asks; `sealroom_agents.chain.ChainReader` answers."""

    def chain_id(self) -> int:
        """The chain id."""

    def view_at(self, consortium: str, block: int) -> ChainView:
        """A consortium at one block."""

    def run(self, ledger: str, run_id: bytes) -> OpenedRun | None:
        """A run in the ledger."""

    def study_history(self, consortium: str, *, from_block: int = 0) -> History:
        """What happened to a consortium."""


def gate_registered(found: Findings, chain: Chain) -> str:
    """At the grant's block, the owners had adopted this gate, and this machine and OS image."""
    grant, stated = found.envelope.grant, found.envelope.statement
    need(chain.chain_id(), stated.chain_id, "wrong-chain", f"this is not chain {stated.chain_id}")
    view = found.view = chain.view_at(stated.consortium, grant.block_number)
    need(
        view.block_hash, grant.block_hash, "wrong-chain", f"this chain has another block {grant.block_number}"
    )
    if not view.block_time - CLOCK_SKEW_S <= grant.issued <= view.block_time + MAX_BLOCK_AGE_S:
        raise EnvelopeError("grant-mismatch", "the grant is not of the time of its block")
    need(view.app, stated.app, "app-id-mismatch", "the consortium has another app")
    need(view.ledger, stated.ledger, "ledger-mismatch", "the consortium has another ledger")
    if view.platform is None:
        raise EnvelopeError("gate-not-registered", "the owners had adopted no gate")
    _adopted(found, view.platform, any_device=view.allow_any_device)
    return f"gate, OS image and machine adopted by the owners, block {view.block_number}"


def approved(found: Findings, chain: Chain) -> str:
    """At that block the study was live: k owners and every owner of a used dataset had approved it."""
    stated, view = found.envelope.statement, found.view
    study = view.study
    if study is None or not view.live:
        raise EnvelopeError("not-approved", f"no study was live at block {view.block_number}")
    need(study.id, stated.study, "not-approved", f"the live study was {to_hex(study.id)}")
    need(view.epoch, stated.epoch, "epoch-mismatch", f"the consortium was at epoch {view.epoch}")
    pairs = (
        ("recipe", study.compose_hash, stated.compose_hash),
        ("output contract", study.output_hash, stated.output_hash),
        ("privacy policy", study.privacy_hash, stated.privacy_hash),
        ("datasets", study.datasets, tuple(dataset.id for dataset in stated.datasets)),
    )
    for what, pinned, used in pairs:
        need(used, pinned, "not-approved", f"the owners approved another {what}")
    voters = set(view.approvals) & {owner.account for owner in view.owners}
    if len(voters) < view.threshold:
        raise EnvelopeError("not-approved", f"{len(voters)} of {view.threshold} needed owners had approved")
    for record, dataset in zip(view.datasets, stated.datasets, strict=True):
        need(
            (dataset.owner, dataset.name, dataset.index_digest),
            (record.owner_id, record.name, record.index_digest),
            "dataset-mismatch",
            f"{dataset.owner}/{dataset.name} is not what its owner registered",
        )
        if record.owner not in voters:
            raise EnvelopeError(
                "owner-not-approved", f"{dataset.owner} had not approved the use of its dataset"
            )
    return f"{len(voters)} of {len(view.owners)} owners, {view.threshold} needed, block {view.block_number}"


def opened(found: Findings, chain: Chain) -> str:
    """The gate opened the run in the ledger for this key and grant, and ε was booked."""
    receipt, grant = found.envelope.receipt, found.envelope.grant
    run = chain.run(grant.ledger, receipt.run_id)
    if run is None:
        raise EnvelopeError("run-not-opened", "the ledger never opened this run")
    pairs = (
        ("consortium", run.consortium, receipt.consortium),
        ("study", run.study, receipt.study),
        ("ε", run.epsilon_micro, receipt.epsilon_micro),
        ("epoch", run.epoch, receipt.epoch),
        ("enclave key", run.enclave_signer, grant.enclave_signer),
        ("grant", run.grant_hash, receipt.grant_hash),
    )
    for what, booked, claimed in pairs:
        need(claimed, booked, "run-mismatch", f"the ledger opened this run for another {what}")
    if run.opened_block < grant.block_number:
        raise EnvelopeError("run-mismatch", "the ledger opened this run before it was granted")
    found.run = run
    return f"ε booked before any key was released, block {run.opened_block}"


def anchored(found: Findings, chain: Chain) -> str:
    """The ledger holds this receipt, and the envelope says where."""
    receipt, anchor, run = found.envelope.receipt, found.envelope.anchor, found.run
    if run.sequence == 0:
        raise EnvelopeError("receipt-not-anchored", "the ledger holds no receipt of this run")
    found.history = chain.study_history(receipt.consortium, from_block=run.opened_block)
    event = found.history.receipt_of(receipt.run_id)
    if event is None:
        raise EnvelopeError("receipt-not-anchored", "no receipt of this run was recorded")
    pairs = (
        ("sequence", event.sequence, run.sequence),
        ("result", event.result_digest, receipt.result_digest),
        ("statement", event.statement_digest, receipt.statement_digest),
    )
    for what, held, claimed in pairs:
        need(claimed, held, "receipt-mismatch", f"the anchored receipt has another {what}")
    if anchor is not None:
        says = (anchor.chain_id, anchor.ledger, to_hex(anchor.tx), anchor.block, anchor.sequence)
        is_at = (chain.chain_id(), found.envelope.grant.ledger, event.at.tx, event.at.block, event.sequence)
        need(says, is_at, "anchor-mismatch", "the receipt is not where the envelope says")
    return f"receipt {event.sequence} of the consortium, block {event.at.block}, tx {event.at.tx}"


def revocation(found: Findings, chain: Chain) -> str:
    """Whether an owner has revoked since: for people to know, it breaks nothing that was done before."""
    later = found.history.revocations
    if not later:
        return "not revoked since"
    last = later[-1]
    return f"revoked since: by {last.owner} in block {last.at.block}: {last.reason or 'no reason given'}"


def _adopted(found: Findings, platform: PlatformRecord, *, any_device: bool) -> None:
    gate, evidence = found.gate, found.evidence
    pairs = (
        ("root key", gate.gate_root, platform.gate_root),
        ("signer", gate.signer, platform.gate_signer),
        ("compose hash", gate.compose_hash, platform.gate_compose),
    )
    for what, seen, adopted in pairs:
        need(seen, adopted, "gate-not-registered", f"the owners had adopted a gate with another {what}")
    if evidence.os_image_hash not in platform.os_images:
        raise EnvelopeError("os-image-not-allowed", "the owners had not adopted the enclave's OS image")
    if not any_device and evidence.device_id not in platform.devices:
        raise EnvelopeError("device-not-allowed", "the owners had not adopted the enclave's machine")
