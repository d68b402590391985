# SPDX-License-Identifier: Apache-2.0
"""The walk itself: the links in order, and the stop at the first broken one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.envelope import Envelope
from sealroom.errors import SealroomError
from sealroom_agents.attestation import TrustRoot, require_local_chain
from sealroom_agents.errors import CHAIN_CODES, ChainError
from sealroom_agents.verification import pinned
from sealroom_agents.verification.offline import OFFLINE
from sealroom_agents.verification.onchain import ON_CHAIN
from sealroom_agents.verification.pin import NOTHING, Pin
from sealroom_agents.verification.state import Chain, Findings, Step

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


def steps(*, pin: Pin = NOTHING, on_chain: bool = False) -> tuple[Step, ...]:
    """The links to walk: all offline ones, one for each pinned origin,
    and those on chain where it is asked."""
    return (*OFFLINE, *pinned.steps(pin), *(ON_CHAIN if on_chain else ()))


def verify(
    envelope: Envelope,
    *,
    trust: TrustRoot,
    pin: Pin = NOTHING,
    chain: Chain | None = None,
    now: int,
    links: Sequence[Step] | None = None,
) -> list[Link]:
    """All links up to the first broken one; `verdict_of` says what they amount to.

    trust: the root of trust for hardware. pin: what is known from elsewhere. chain: a `ChainReader`, to walk
    the links on chain too. now: unix seconds, against which nothing may lie in the future. links: what to
    walk, when it is not what `steps` gives.

    Raises `ChainError` when the chain can't be asked: that is no verdict.
    """
    return list(walk(envelope, trust=trust, pin=pin, chain=chain, now=now, links=links))


def walk(
    envelope: Envelope,
    *,
    trust: TrustRoot,
    pin: Pin = NOTHING,
    chain: Chain | None = None,
    now: int,
    links: Sequence[Step] | None = None,
) -> Iterator[Link]:
    """`verify`, link by link as they are walked.

    Raises `AttestationError` for a simulated root off local chains.
    """
    require_local_chain(trust, envelope.statement.chain_id)
    findings = Findings(envelope=envelope, trust=trust, now=now, pin=pin, chain=chain)
    for step in steps(pin=pin, on_chain=chain is not None) if links is None else links:
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
    return Link(step.name, ok=True, detail=step.tell(findings))
