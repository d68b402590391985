# SPDX-License-Identifier: Apache-2.0
"""The board: consortia with their criteria, as a table filtered, sorted and searched by query parameters.

All rows of a page are drawn, and those that do not match are hidden. So it works without scripts, and with
one it filters at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sealroom.model import Owner
from sealroom_agents.console.pictures import Picture
from sealroom_agents.console.pins import Pinned, Pins, Spoof

CRITERIA = (
    ("owners", "three or more owners"),
    ("jurisdictions", "more than one jurisdiction"),
    ("grade", "HIPAA / GDPR grade"),
)
"""Name in the query and words of each criterion, in the contract's order."""
STATUSES = ("live", "forming", "revoked")
SORTS = ("name", "owners", "records", "newest")
SOURCES_SHOWN = 5
"""Owners in the drawing at the head."""
RECEIPTS_SHOWN = 4
MAX_QUERY = 100
"""Longest search, characters."""


@dataclass(frozen=True)
class Filters:
    """What a reader asked to see."""

    criteria: frozenset[str] = frozenset()
    """Names of criteria that must match."""
    status: str = ""
    """One of `STATUSES`, or empty for all."""
    sort: str = "newest"
    """One of `SORTS`."""
    search: str = ""

    def url(self, **changes: str) -> str:
        """The board's address with these filters."""
        told = [("with", name) for name, _ in CRITERIA if name in self.criteria]
        other = {"status": self.status, "q": self.search, "sort": self.sort} | changes
        return "/?" + urlencode([*told, *((name, value) for name, value in other.items() if value)])


@dataclass(frozen=True)
class Row:
    """One consortium of the table."""

    picture: Picture
    pinned: Pinned | None
    vouched: bool
    """Whether the operator's file has each owner's name."""
    spoofs: tuple[Spoof, ...]
    shown: bool
    """Whether it matches the filters."""

    @property
    def name(self) -> str:
        """The study's name, or the pinned one."""
        current = self.picture.current
        if current is not None and current.recipe is not None:
            return current.recipe.name
        if current is not None:
            return f"Recipe 0x{current.study.compose_hash.hex()[:8]}…"
        return "New consortium"

    @property
    def status(self) -> str:
        """`live`, `forming` or `revoked`."""
        return self.picture.status

    @property
    def grades(self) -> str:
        """Grade of each criterion by name, for scripts: `match partial miss`."""
        return " ".join(grade for _, grade in self.picture.grades)

    @property
    def text(self) -> str:
        """What a search looks through, in lower case."""
        view = self.picture.view
        parts = [self.name, view.consortium, *(owner.id for owner in view.owners), *regions(view.owners)]
        return " ".join(parts).lower()


@dataclass(frozen=True)
class Source:
    """One owner in the drawing at the head."""

    name: str
    region: str
    rows: int
    """Registered rows of its datasets in the study."""
    approved: bool


def rows(pictures: Sequence[Picture], pins: Pins, filters: Filters) -> list[Row]:
    """The table, in the order that was asked for; pinned ones keep no place of their own in it."""
    made = [_row(picture, pins, filters) for picture in pictures]
    orders: dict[str, Callable[[Row], Any]] = {
        "name": lambda one: one.name.lower(),
        "owners": lambda one: -len(one.picture.view.owners),
        "records": lambda one: -one.picture.records,
    }
    return sorted(made, key=orders[filters.sort]) if filters.sort in orders else made


def _row(picture: Picture, pins: Pins, filters: Filters) -> Row:
    view = picture.view
    pinned = pins.of(picture.chain_id, view.consortium)
    row = Row(
        picture=picture,
        pinned=pinned,
        vouched=pins.vouched(picture.chain_id, view.consortium, view.owners),
        spoofs=(),
        shown=True,
    )
    spoofs = pins.spoofs(view.consortium, row.name, view.owners)
    wanted = all(
        grade == "match"
        for (name, _), (_, grade) in zip(CRITERIA, picture.grades, strict=True)
        if name in filters.criteria
    )
    shown = wanted and filters.status in ("", row.status) and filters.search.lower() in row.text
    return Row(picture=picture, pinned=pinned, vouched=row.vouched, spoofs=spoofs, shown=shown)


def leading(made: Sequence[Row]) -> Row | None:
    """The cohort of the drawing: pinned before others, live before forming."""
    order = {status: place for place, status in enumerate(STATUSES)}
    return min(
        made, key=lambda one: (one.pinned is None, bool(one.spoofs), order.get(one.status, 9)), default=None
    )


def sources(picture: Picture) -> list[Source]:
    """Its owners with what they sealed, by region."""
    held: Counter[str] = Counter()
    for data in picture.datasets:
        held[data.holder] += data.version.rows
    found = []
    for owner in picture.view.owners:
        vote = picture.vote(owner.account)
        approved = vote is not None and vote.approved
        found.append(Source(owner.id, owner.jurisdiction, held[owner.account], approved))
    return sorted(found, key=lambda one: one.region)


def regions(owners: Sequence[Owner]) -> list[str]:
    """Jurisdictions, each once."""
    return sorted({owner.jurisdiction for owner in owners})
