# SPDX-License-Identifier: Apache-2.0
"""What has to hold between an envelope and what the chain has of its run, wherever that was found: in the
state at the grant's block, or in the receipts of proofs."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from sealroom.codes import Code
from sealroom.envelope import Anchor
from sealroom.errors import EnvelopeError
from sealroom.model import Opening, Platform, Study
from sealroom_agents.verification.state import Chain, Check, Findings, equal

MAX_BLOCK_AGE_S = 3600
"""How far a grant may be from its finalized block: finality takes a quarter of an hour on Ethereum."""
CLOCK_SKEW_S = 300
"""How far a grant may be before its block, by clocks that differ."""


def anchor_of(found: Findings) -> Anchor:
    """Where the envelope says that its receipt stands."""
    if found.envelope.anchor is None:
        raise EnvelopeError(Code.RECEIPT_NOT_ANCHORED, "the envelope does not say where its receipt stands")
    return found.envelope.anchor


def asked(name: str, run: Callable[[Findings], None]) -> Check:
    """A check that only nodes can make: without them it is not made."""
    return Check(name, lambda found: None if found.chain is None else run(found))


def shown(name: str, find: Callable[[Findings], object]) -> Check:
    """A check that the proofs show something."""

    def run(found: Findings) -> None:
        find(found)

    return Check(name, run)


def chain_of(found: Findings) -> Chain:
    """The chain, which the walk was told to ask."""
    if found.chain is None:
        raise EnvelopeError(Code.WRONG_CHAIN, "no chain was asked")
    return found.chain


def chain_id(found: Findings) -> None:
    """The nodes are of the envelope's chain."""
    stated = found.envelope.statement
    if chain_of(found).chain_id() != stated.chain_id:
        raise EnvelopeError(Code.WRONG_CHAIN, f"this is not chain {stated.chain_id}")


# --- platform ----------------------------------------------------------------------------------------


def gate_checks(platform: Callable[[Findings], Platform]) -> tuple[Check, ...]:
    """The gate that granted is the one that the owners had adopted."""

    def adopted(name: str, what: str, seen: Callable[[Findings], Any], field: str) -> Check:
        return equal(
            name,
            seen,
            lambda found: getattr(platform(found), field),
            Code.GATE_NOT_REGISTERED,
            f"the owners had adopted a gate with another {what}",
        )

    def os_image(found: Findings) -> None:
        if found.pin.image_of(found.evidence) not in platform(found).os_images:
            raise EnvelopeError(
                Code.OS_IMAGE_NOT_ALLOWED, "the owners had not adopted the enclave's OS image"
            )

    return (
        adopted("platform.gate-root", "root key", lambda found: found.gate.gate_root, "gate_root"),
        adopted("platform.gate-signer", "signer", lambda found: found.gate.signer, "gate_signer"),
        adopted(
            "platform.gate-compose", "compose hash", lambda found: found.gate.compose_hash, "gate_compose"
        ),
        adopted("platform.policy", "policy", lambda found: found.gate.policy_hash, "policy_hash"),
        Check("platform.os-image", os_image),
    )


def device_check(platform: Callable[[Findings], Platform], *, any_: Callable[[Findings], bool]) -> Check:
    """The enclave ran on a machine that the owners had adopted, unless `any_` may."""

    def run(found: Findings) -> None:
        names = {found.evidence.device_id, *found.evidence.other_devices}
        if not any_(found) and names.isdisjoint(platform(found).devices):
            raise EnvelopeError(Code.DEVICE_NOT_ALLOWED, "the owners had not adopted the enclave's machine")

    return Check("platform.device", run)


# --- study -------------------------------------------------------------------------------------------


def study_checks(study: Callable[[Findings], Study]) -> tuple[Check, ...]:
    """The study that the owners had approved is the statement's."""

    def pinned(name: str, what: str, stated: Callable[[Findings], Any], field: str) -> Check:
        return equal(
            name,
            stated,
            lambda found: getattr(study(found), field),
            Code.NOT_APPROVED,
            f"the owners approved another {what}",
        )

    return (
        pinned("study.recipe", "recipe", lambda found: found.envelope.statement.compose_hash, "compose_hash"),
        pinned(
            "study.output",
            "output contract",
            lambda found: found.envelope.statement.output_hash,
            "output_hash",
        ),
        pinned(
            "study.privacy",
            "privacy policy",
            lambda found: found.envelope.statement.privacy_hash,
            "privacy_hash",
        ),
        pinned(
            "study.datasets",
            "datasets",
            lambda found: tuple(dataset.id for dataset in found.envelope.statement.datasets),
            "datasets",
        ),
    )


# --- opening and anchoring ---------------------------------------------------------------------------


def opening_checks(opening: Callable[[Findings], Opening]) -> tuple[Check, ...]:
    """The ledger opened the run for what the receipt says."""

    def booked(name: str, what: str, claimed: Callable[[Findings], Any], field: str) -> Check:
        return equal(
            name,
            claimed,
            lambda found: attrgetter(field)(opening(found)),
            Code.RUN_MISMATCH,
            f"the ledger opened this run for another {what}",
        )

    return (
        booked("run.consortium", "consortium", lambda found: found.envelope.receipt.consortium, "consortium"),
        booked("run.study", "study", lambda found: found.envelope.receipt.study, "study"),
        booked("run.recipe", "recipe", lambda found: found.envelope.receipt.compose_hash, "compose_hash"),
        booked("run.epsilon", "ε", lambda found: found.envelope.receipt.epsilon_micro, "run.epsilon_micro"),
        booked("run.delta", "δ", lambda found: found.envelope.receipt.delta_pico, "run.delta_pico"),
        booked("run.standing", "standing", lambda found: found.envelope.statement.standing, "standing"),
        booked(
            "run.enclave",
            "enclave key",
            lambda found: found.envelope.grant.enclave_signer,
            "run.enclave_signer",
        ),
        booked("run.grant", "grant", lambda found: found.envelope.receipt.grant_hash, "run.grant_hash"),
    )


def stands(name: str, said: Callable[[Anchor], Any], seen: Callable[[Findings], Any]) -> Check:
    """The receipt is where the envelope says."""

    def run(found: Findings) -> None:
        anchor = found.envelope.anchor
        if anchor is not None and said(anchor) != seen(found):
            raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is not where the envelope says")

    return Check(name, run)
