# SPDX-License-Identifier: Apache-2.0
"""What consortia say of an owner's datasets: one question each, answered at one finalized block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom_agents.owner.asked import NOBODY

if TYPE_CHECKING:
    from sealroom.model import Version
    from sealroom.sealed import SealedInfo, Wrap
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.facts import ChainView, DatasetRecord
    from sealroom_agents.owner.approval import ApprovalState

MAX_CONSORTIA = 16
"""Consortia that one overview asks about."""
MAX_STUDIES = 32
"""Recipes that one overview asks about; each is looked for among proposals."""

REGISTERED, DIFFERS, NOT_REGISTERED = "registered", "differs", str(Code.NOT_REGISTERED)


@dataclass(frozen=True)
class OfConsortium:
    """What one consortium says of an owner's datasets, at one finalized block."""

    view: ChainView
    """The consortium."""
    datasets: dict[bytes, DatasetRecord]
    """Datasets by id: lifetime account, and what may be spent here."""
    versions: dict[tuple[bytes, int], Version | None]
    """Versions by dataset and number; `None` for one that nobody registered."""
    approvals: dict[bytes, ApprovalState]
    """By compose hash, how far a recipe's approval has come."""

    def registered(self, info: SealedInfo) -> str:
        """Whether exactly this file is registered: `registered`, `differs` or `not-registered`."""
        from sealroom_agents.owner.registration import registration_of

        mine = registration_of(info)
        found = self.versions.get((mine.dataset, mine.number))
        if found is None:
            return NOT_REGISTERED
        return REGISTERED if found == mine.version else DIFFERS


@dataclass(frozen=True)
class Question:
    """What is asked of one consortium."""

    consortium: str
    """Its address."""
    files: tuple[SealedInfo, ...]
    """Sealed files whose registration is looked for; all consortia of a chain read one registry."""
    recipes: tuple[bytes, ...]
    """Compose hashes for which files are wrapped there."""
    accounts: tuple[str, ...]
    """Accounts whose datasets are looked for among those that it may use."""


def questions(
    files: Sequence[SealedInfo], *, chain_id: int, consortia: Iterable[str], accounts: Iterable[str]
) -> list[Question]:
    """One question for each consortium that a file is wrapped for on this chain, or that was named."""
    wraps = [info.wrap for info in files if info.wrap is not None and info.wrap.chain_id == chain_id]
    named = dict.fromkeys((*consortia, *(wrap.consortium for wrap in wraps)))
    who = tuple(dict.fromkeys((*accounts, *(info.header.owner for info in files))))
    return [Question(one, tuple(files), _recipes(wraps, one), who) for one in named]


def ask(reader: ChainReader, question: Question) -> OfConsortium:
    """Ask one consortium, at one finalized block. Raises `ChainError`."""
    from sealroom_agents.owner.approval import approval_in
    from sealroom_agents.owner.registration import registration_of

    first = next(iter(question.recipes), None)
    view = reader.finalized_view(question.consortium, compose_hash=first)
    latest = reader.latest_view(question.consortium)
    names = {one.account: one.id for one in view.owners}
    mine = [registration_of(info) for info in question.files]
    offered = [one.id for one in reader.offered(question.consortium) if one.holder in question.accounts]
    ids = list(dict.fromkeys((*(one.dataset for one in mine), *offered)))
    asked = list(dict.fromkeys((one.dataset, one.number) for one in mine))
    owner = next((names[account] for account in question.accounts if account in names), "")
    approvals = {}
    for recipe in question.recipes[:MAX_STUDIES]:
        seen = view if recipe == first else reader.finalized_view(question.consortium, compose_hash=recipe)
        approvals[recipe] = approval_in(seen, latest, compose_hash=recipe, owner=owner)
    return OfConsortium(
        view=view,
        datasets=dict(zip(ids, reader.datasets_at(view, ids), strict=True)),
        versions=dict(zip(asked, reader.versions_at(view, asked), strict=True)),
        approvals=approvals,
    )


def _recipes(wraps: Iterable[Wrap], consortium: str) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(wrap.compose_hash for wrap in wraps if wrap.consortium == consortium))


def is_known(found: DatasetRecord | None) -> bool:
    """Whether somebody registered it."""
    return found is not None and found.holder != NOBODY
