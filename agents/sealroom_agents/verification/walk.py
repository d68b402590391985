# SPDX-License-Identifier: Apache-2.0
"""The walk itself: the links in order, and the stop at the first broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sealroom.envelope import Envelope
from sealroom.errors import SealroomError
from sealroom_agents.attestation import TrustAnchor, require_local_chain
from sealroom_agents.errors import ChainError
from sealroom_agents.verification import offline, onchain
from sealroom_agents.verification.onchain import Chain
from sealroom_agents.verification.state import Findings

UNKNOWN = frozenset({"chain-unreachable", "chain-stale", "chain-disagrees", "configuration"})
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
    code: str | None = None
    """Stable code of what is broken."""


OFFLINE: tuple[tuple[str, Callable[[Findings], str]], ...] = (
    ("result", offline.result),
    ("statement", offline.statement),
    ("receipt", offline.receipt),
    ("grant", offline.grant),
    ("recipe", offline.recipe),
    ("output", offline.output),
    ("quote", offline.quote),
    ("report-data", offline.report_data),
    ("event-log", offline.event_log),
    ("kms-chain", offline.kms_chain),
    ("gate-quote", offline.gate_quote),
)
"""Links that need nothing but the envelope and the anchor."""

ON_CHAIN: tuple[tuple[str, Callable[[Findings, Chain], str]], ...] = (
    ("gate-registered", onchain.gate_registered),
    ("approved", onchain.approved),
    ("opened", onchain.opened),
    ("anchored", onchain.anchored),
    ("revocation", onchain.revocation),
)
"""Links that ask the chain."""


def verify(envelope: Envelope, *, anchor: TrustAnchor, chain: Chain | None = None, now: int) -> list[Link]:
    """All links up to the first broken one; `all(link.ok for link in …)` is the verdict.

    anchor: the root of trust for hardware. chain: a `ChainReader`, to walk the links on chain too. now: unix
    seconds, against which nothing may lie in the future.

    Raises `ChainError` when the chain can't be asked: that is no verdict.
    """
    return list(walk(envelope, anchor=anchor, chain=chain, now=now))


def walk(envelope: Envelope, *, anchor: TrustAnchor, chain: Chain | None = None, now: int) -> Iterator[Link]:
    """`verify`, link by link as they are walked.

    Raises `AttestationError` for a simulated anchor off local chains.
    """
    require_local_chain(anchor, envelope.statement.chain_id)
    findings = Findings(envelope=envelope, anchor=anchor, now=now)
    checks: list[tuple[str, Callable[[], str]]] = [(name, _bound(check, findings)) for name, check in OFFLINE]
    if chain is not None:
        checks += [(name, _bound(check, findings, chain)) for name, check in ON_CHAIN]
    for name, check in checks:
        link = _try(name, check)
        yield link
        if not link.ok:
            return


def first_broken(links: Sequence[Link]) -> Link | None:
    """The link that broke, or `None`."""
    return next((link for link in links if not link.ok), None)


def _bound(check: Callable[..., str], *arguments: object) -> Callable[[], str]:
    return lambda: check(*arguments)


def _try(name: str, check: Callable[[], str]) -> Link:
    try:
        return Link(name=name, ok=True, detail=check())
    except ChainError as error:
        if error.code in UNKNOWN:
            raise
        return Link(name=name, ok=False, detail=error.message, code=error.code)
    except SealroomError as error:
        return Link(name=name, ok=False, detail=error.message, code=error.code)
