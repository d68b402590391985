# SPDX-License-Identifier: Apache-2.0
"""The links that ask the chain: gate adopted, study approved, run booked, receipt anchored.

State is read at the block that the grant names, so the answer is the same years later, from a node that keeps
old state. The ledger's own records do not change: logs say where a run was opened and its receipt anchored,
and `Ledger.verify` at the latest block of every node says whether that is so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sealroom.encoding import to_hex
from sealroom.errors import EnvelopeError
from sealroom.records import Receipt
from sealroom_agents.facts import ChainView, PlatformRecord
from sealroom_agents.verification.state import Findings, need

if TYPE_CHECKING:
    from sealroom_agents.chain import FoundReceipt, History

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

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""

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
    """The gate opened the run in the ledger for this key and grant, and ε and δ were booked."""
    envelope = found.envelope
    receipt, grant = envelope.receipt, envelope.grant
    seen = chain.receipt(grant.ledger, receipt, envelope.receipt_signature, from_block=grant.block_number)
    if seen is None:
        raise EnvelopeError("run-not-opened", "the ledger never opened this run")
    run = seen.opening
    pairs = (
        ("consortium", run.consortium, receipt.consortium),
        ("study", run.study, receipt.study),
        ("recipe", run.compose_hash, receipt.compose_hash),
        ("ε", run.epsilon_micro, receipt.epsilon_micro),
        ("δ", run.delta_pico, receipt.delta_pico),
        ("epoch", run.epoch, receipt.epoch),
        ("enclave key", run.enclave_signer, grant.enclave_signer),
        ("grant", run.grant_hash, receipt.grant_hash),
    )
    for what, booked, claimed in pairs:
        need(claimed, booked, "run-mismatch", f"the ledger opened this run for another {what}")
    if run.opened_block < grant.block_number:
        raise EnvelopeError("run-mismatch", "the ledger opened this run before it was granted")
    found.receipt = seen
    return f"ε and δ booked before any key was released, block {run.opened_block}"


def anchored(found: Findings, chain: Chain) -> str:
    """The ledger holds this receipt, and the envelope says where."""
    envelope, seen = found.envelope, found.receipt
    verdict, anchor = seen.verdict, envelope.anchor
    if seen.anchoring is None:
        raise EnvelopeError("receipt-not-anchored", "the ledger holds no receipt of this run")
    if not verdict.anchored:
        raise EnvelopeError("receipt-mismatch", "the ledger holds another receipt of this run")
    if anchor is not None:
        says = (anchor.chain_id, anchor.ledger, to_hex(anchor.tx), anchor.block, anchor.sequence)
        is_at = (
            chain.chain_id(), envelope.grant.ledger, seen.anchoring.tx, verdict.anchored_block,
            verdict.sequence,
        )  # fmt: skip
        need(says, is_at, "anchor-mismatch", "the receipt is not where the envelope says")
    how = f" in batch {seen.anchoring.batch}" if seen.anchoring.batch else ""
    names = {owner.account: owner.id for owner in found.view.owners}
    who = ", ".join(names.get(account, account) for account in verdict.approved_by)
    return (
        f"receipt {verdict.sequence} of the consortium{how}, block {verdict.anchored_block}, "
        f"tx {seen.anchoring.tx}; approved by {who} in block {verdict.approved_block}"
    )


def revocation(found: Findings, chain: Chain) -> str:
    """Whether the consortium has left the run's epoch since, and why: for people to know, it breaks nothing
    that was done before."""
    verdict = found.receipt.verdict
    if not verdict.revoked:
        return "not revoked since"
    history = chain.study_history(found.envelope.receipt.consortium, from_block=verdict.opened_block)
    if history.revocations:
        last = history.revocations[-1]
        who = next((one.id for one in found.view.owners if one.account == last.owner), last.owner)
        return f"revoked since: by {who} in block {last.at.block}: {last.reason or 'no reason given'}"
    if history.rosters:
        return f"ended since: the owners changed in block {history.rosters[-1].at.block}"
    if history.platforms:
        return f"ended since: the owners adopted another platform in block {history.platforms[-1].at.block}"
    return f"ended since: the consortium is at epoch {verdict.epoch}"


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
