# SPDX-License-Identifier: Apache-2.0
"""What awaits an account: one thing, and the consortium that it is read off.

Names come from strangers. In texts everything in them but printable ASCII stands by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sealroom.encoding import to_hex
from sealroom.model import Owner
from sealroom_agents.console.display import plain, short
from sealroom_agents.console.pictures import Picture, StudyPicture
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index.facts import Facts
from sealroom_agents.store import Run

GROUPS = ("watch", "decide", "do", "wait", "running")
"""What tasks are sorted by: what may be taken from the account, what it decides, what it keeps in order, what
waits for others, and what runs."""
KINDS = {
    "seat-offered": "watch",
    "dataset-offered": "watch",
    "removal": "watch",
    "decide-study": "decide",
    "decide-roster": "decide",
    "decide-platform": "decide",
    "decide-machines": "decide",
    "accept-seat": "do",
    "accept-dataset": "do",
    "register-dataset": "do",
    "allow-dataset": "do",
    "budget-short": "do",
    "study-refused": "do",
    "no-platform": "do",
    "confirm-seat": "do",
    "no-machine": "do",
    "app-keeps-recipe": "do",
    "hand-in-signature": "wait",
    "study-waits": "wait",
    "proposal-waits": "wait",
    "veto-stands": "wait",
    "run": "running",
}
"""Group of each kind."""


@dataclass(frozen=True)
class Budget:
    """Whether a study fits what may be spent on the account's own datasets, in millionths of ε."""

    run: int
    """One run."""
    runs: int
    """How many it may have."""
    left: int
    """What is left of the dataset with least: of its lifetime and of what it allows here."""

    @property
    def fit(self) -> int:
        """How many of its runs fit."""
        return min(self.runs, self.left // self.run) if self.run else self.runs


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing that awaits an account."""

    kind: str
    """One of `KINDS`."""
    consortium: str
    """Address."""
    name: str
    """What the consortium is called here: by its operator's pin, or its study."""
    title: str
    says: str
    page: str
    """Path of the page where it is read and done."""
    about: str = ""
    """Id of the proposal, dataset or run, as hex; empty for the consortium itself."""
    command: str = ""
    """The command line that does the same; empty where nothing is to be done."""
    missing: tuple[str, ...] = ()
    """Ids of the owners who have not approved."""
    approved: int = 0
    needed: int = 0
    """Approvals that it takes; 0 where nothing is voted for."""
    required: bool = False
    """Whether it cannot take effect without this account."""
    budget: Budget | None = None
    """`None` where none of the account's datasets is used."""
    until: int | None = None
    """Unix seconds from which it is void, or from which on it may be taken."""

    @property
    def group(self) -> str:
        """One of `GROUPS`."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Place:
    """One consortium as an account looks at it."""

    picture: Picture
    facts: Facts
    account: str
    pinned: str = ""
    """Its name by the operator's pin file."""
    signed: frozenset[str] = frozenset()
    """Ids of studies whose signature this account handed in at the console."""
    runs: tuple[Run, ...] = ()
    """Those that are under way."""
    held: Mapping[bytes, DatasetRecord] = field(init=False)
    """The account's own datasets that are used or offered here."""

    def __post_init__(self) -> None:
        facts = self.facts
        every = [
            *facts.offered,
            *facts.view.datasets,
            *(one for use in facts.datasets for one in use.datasets),
        ]
        held = {one.id: one for one in every if one.holder == self.account}
        object.__setattr__(self, "held", held)

    @property
    def consortium(self) -> str:
        """Address."""
        return self.picture.view.consortium

    @property
    def owner(self) -> Owner | None:
        """The seat that the account holds."""
        return next((one for one in self.picture.view.owners if one.account == self.account), None)

    @property
    def name(self) -> str:
        """What it is called here."""
        current = self.picture.current
        return plain(self.pinned) or (study_name(current) if current else "New consortium")

    def command(self, what: str) -> str:
        """A command line of the governance desk."""
        return f"sealroom govern {what} --consortium {self.consortium} --rpc URL --keystore officer.json"

    @property
    def page(self) -> str:
        """Path of the consortium's page."""
        return f"/studies/{self.consortium}"


def study_name(one: StudyPicture) -> str:
    """What a study is called: by its recipe, or its compose hash."""
    return plain(one.recipe.name) if one.recipe else f"recipe {short(to_hex(one.study.compose_hash))}"


def left(data: DatasetRecord) -> int:
    """Millionths of ε that may still be spent on a dataset here."""
    life, here = data.account, data.allowance
    return max(0, min(life.epsilon_cap - life.epsilon_spent, here.epsilon_cap - here.epsilon_spent))
