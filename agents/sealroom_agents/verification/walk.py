# SPDX-License-Identifier: Apache-2.0
"""The walk itself: the links in order, and the stop at the first broken one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.envelope import Envelope
from sealroom.errors import SealroomError
from sealroom.platform_policy import PlatformPolicy
from sealroom_agents.attestation import TrustRoot, require_local_chain
from sealroom_agents.errors import CHAIN_CODES, ChainError
from sealroom_agents.verification import pinned
from sealroom_agents.verification.offline import OFFLINE
from sealroom_agents.verification.onchain import ON_CHAIN
from sealroom_agents.verification.pin import NOTHING, Pin
from sealroom_agents.verification.proven import PROVEN, SINCE
from sealroom_agents.verification.state import Chain, Findings, Step, TrustedBlock

UNKNOWN = frozenset({*CHAIN_CODES, Code.CONFIGURATION})
"""Codes of a `ChainError` that say nothing about the envelope: the chain could not be asked."""


@dataclass(frozen=True)
class Link:
    """One link of the walk."""

    name: str
    """Stable word."""
    ok: bool
    """Whether it holds."""
    detail: str
    """What was found, in one line."""
    code: Code | None = None
    """Stable code of what is broken."""
    check: str | None = None
    """The single check that broke."""
    blocks: tuple[TrustedBlock, ...] = ()
    """The blocks on whose hashes it and the links behind it rest."""
    unsaid: tuple[str, ...] = ()
    """Questions that it leaves open though it holds."""


def steps(*, pin: Pin = NOTHING, on_chain: bool = False, proofs: bool = False) -> tuple[Step, ...]:
    """The links to walk: all offline ones, one for each pinned origin, and those of the chain: from proofs
    where the envelope has them, else where it is asked."""
    chained: tuple[Step, ...] = PROVEN if proofs else ()
    if on_chain:
        chained = (*PROVEN, SINCE) if proofs else ON_CHAIN
    return (*OFFLINE, *pinned.steps(pin), *chained)


def verify(
    envelope: Envelope,
    *,
    trust: TrustRoot,
    pin: Pin = NOTHING,
    chain: Chain | None = None,
    now: int,
    hashes: Mapping[int, bytes] | None = None,
    links: Sequence[Step] | None = None,
    policy: PlatformPolicy | None = None,
) -> list[Link]:
    """All links up to the first broken one; `verdict_of` says what they amount to.

    trust: the root of trust for hardware. pin: what is known from elsewhere. chain: a `ChainReader`, to walk
    the links on chain too. now: unix seconds, against which nothing may lie in the future. hashes: those of
    blocks, by number, that are known from elsewhere. links: what to walk, when it is not what `steps` gives.
    policy: as in `walk`.

    Raises `ChainError` when the chain can't be asked: that is no verdict.
    """
    walked = walk(
        envelope, trust=trust, pin=pin, chain=chain, now=now, hashes=hashes, links=links, policy=policy
    )
    return list(walked)


def walk(
    envelope: Envelope,
    *,
    trust: TrustRoot,
    pin: Pin = NOTHING,
    chain: Chain | None = None,
    now: int,
    hashes: Mapping[int, bytes] | None = None,
    links: Sequence[Step] | None = None,
    policy: PlatformPolicy | None = None,
) -> Iterator[Link]:
    """`verify`, link by link as they are walked. `policy`: by which the gate judged, where it is known;
    `trust` has its rules.

    Raises `AttestationError` for a simulated root off local chains.
    """
    require_local_chain(trust, envelope.statement.chain_id)
    findings = Findings(
        envelope=envelope,
        trust=trust,
        now=now,
        pin=pin,
        chain=chain,
        policy=policy,
        hashes=dict(hashes or {}),
    )
    proofs = envelope.anchor is not None and bool(envelope.anchor.proofs)
    for step in steps(pin=pin, on_chain=chain is not None, proofs=proofs) if links is None else links:
        link = _walked(step, findings)
        yield link
        if not link.ok:
            return


def first_broken(links: Sequence[Link]) -> Link | None:
    """The link that broke, or `None`."""
    return next((link for link in links if not link.ok), None)


def _walked(step: Step, findings: Findings) -> Link:
    for check in step.checks:
        try:
            check.run(findings)
        except SealroomError as error:
            if isinstance(error, ChainError) and error.code in UNKNOWN:
                raise
            return Link(step.name, ok=False, detail=error.message, code=error.code, check=check.name)
    return Link(
        step.name,
        ok=True,
        detail=step.tell(findings),
        blocks=step.blocks(findings),
        unsaid=step.unsaid(findings),
    )
