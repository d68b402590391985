# SPDX-License-Identifier: Apache-2.0
"""Studies that were approved before, for the comparison with one that waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sealroom.model import Study
from sealroom.model.units import delta_text, epsilon_text
from sealroom.recipe import Recipe
from sealroom_agents.chain import History
from sealroom_agents.chain.owner_events import Approval, Withdrawal
from sealroom_agents.console.display import day
from sealroom_agents.studies.diff import Change, diff

EACH = 2
"""Studies that are named of each owner, and of those that were pinned: one may be what the page is about."""


@dataclass(frozen=True)
class Earlier:
    """One study, by whom it was approved and where."""

    study: Study
    by: tuple[tuple[str, int], ...]
    """Accounts, each with the block of its approval."""
    pinned: int | None
    """Block in which it was pinned; `None` for one that never was."""

    @property
    def last(self) -> int:
        """The newest of these blocks."""
        return max([self.pinned or 0, *(block for _, block in self.by)])

    def plain(self) -> dict[str, Any]:
        """For the page's script, which believes none of it before it is checked."""
        content = {name: _text(value) for name, value in self.study.to_json().items()}
        return {
            "study": "0x" + self.study.id.hex(),
            "content": content,
            "by": {account: str(block) for account, block in self.by},
            "pinned": None if self.pinned is None else str(self.pinned),
        }


def earlier(history: History, owners: Iterable[str]) -> tuple[Earlier, ...]:
    """Those that were pinned last, and those that each of some accounts approved last, newest first: however
    much one account proposes, it takes the place of no other's."""
    pins = {pin.content.id: pin.at.block for pin in history.pins}
    known = {one.content.id: one.content for one in history.proposals}
    known |= {pin.content.id: pin.content for pin in history.pins}
    voted: dict[str, dict[bytes, int]] = {owner: {} for owner in owners}
    withdrawn = {(one.owner, one.proposal) for one in history.of(Withdrawal)}
    for one in history.of(Approval):
        if one.owner in voted and one.proposal in known and (one.owner, one.proposal) not in withdrawn:
            voted[one.owner][one.proposal] = one.at.block
    for pin in history.pins:
        for owner in voted.keys() & set(pin.owners):
            voted[owner].setdefault(pin.content.id, pin.at.block)
    named = {study for blocks in (pins, *voted.values()) for study in _newest(blocks)}
    found = [
        Earlier(
            known[study],
            tuple((one.owner, one.at.block) for one in history.approvals_of(study)),
            pins.get(study),
        )
        for study in named
    ]
    return tuple(sorted(found, key=lambda one: (one.last, one.study.id), reverse=True))


def _newest(blocks: dict[bytes, int]) -> list[bytes]:
    # Of those in one block the later events come first, as they were put in later.
    return sorted(reversed(blocks), key=lambda study: blocks[study], reverse=True)[:EACH]


def last_pinned(found: tuple[Earlier, ...], study: Study) -> Earlier | None:
    """The study that was pinned last, other than this one."""
    pinned = [one for one in found if one.pinned is not None and one.study.id != study.id]
    return max(pinned, key=lambda one: one.pinned or 0, default=None)


def changes(old: Study, new: Study, before: Recipe | None, after: Recipe | None) -> list[Change]:
    """What is different, terms first."""
    found = [
        Change(about=about, old=was, new=now)
        for (about, was), (_, now) in zip(_terms(old), _terms(new), strict=True)
        if was != now
    ]
    if old.compose_hash == new.compose_hash:
        return found
    if before is not None and after is not None:
        return found + diff(before, after)
    was, now = "0x" + old.compose_hash.hex(), "0x" + new.compose_hash.hex()
    return [*found, Change(about="recipe, of which the bytes are not here", old=was, new=now)]


def _terms(study: Study) -> list[tuple[str, str]]:
    uses = zip(study.datasets, study.versions, strict=True)
    return [
        ("ε of all runs", epsilon_text(study.epsilon_micro)),
        ("δ of all runs", delta_text(study.delta_pico)),
        ("runs", str(study.max_runs)),
        ("until", day(study.expiry)),
        (
            "datasets",
            ", ".join(
                f"0x{one.hex()} " + (f"version {version}" if version else "the newest version")
                for one, version in uses
            ),
        ),
    ]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return str(value) if isinstance(value, int) else value
