# SPDX-License-Identifier: Apache-2.0
"""What an action works with: nodes, consortium, the way an act leaves, the standing, the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sealroom.codes import Code
from sealroom.model import dataset_id
from sealroom_agents.chain.logs import MAX_WALK
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Outcome
from sealroom_agents.governance.node import MAX_AGE_S, Node
from sealroom_agents.governance.standing import Standing, ambiguous
from sealroom_agents.governance.ways.leaving import perform
from sealroom_agents.governance.ways.way import Way
from sealroom_agents.governance.words import Lines

DAY_S = 86_400


@dataclass(frozen=True)
class Answer:
    """The outcome for a program, and for a person."""

    facts: dict[str, Any]
    lines: Lines
    warnings: tuple[str, ...] = ()
    failed: bool = False
    """Whether the command ends with status 1 although it did what it was asked to."""


@dataclass
class Desk:
    """One call of one action."""

    urls: Sequence[str]
    consortium: str
    way: Way
    confirm: Callable[[str], None]
    """Asks a person, or does not. Raises `not-confirmed`."""
    show: Callable[[Lines], None]
    """Shows a person what is about to be decided, before `confirm`."""
    warnings: list[str] = field(default_factory=list)
    agree: bool = True
    """Whether all nodes must agree; not for stopping."""
    private_chain: int | None = None
    """Id of a chain that is none of those listed, where its operator says that it is like them."""
    reach: int = MAX_WALK
    """Blocks with events that a walk through history goes back."""

    @cached_property
    def node(self) -> Node:
        """The chain at its newest block."""
        node = Node(self.urls, agree=self.agree, private_chain=self.private_chain, reach=self.reach)
        if node.age_s > MAX_AGE_S:
            self.warnings.append(f"the newest block is {node.age_s:.0f} s old: is the node in sync?")
        return node

    @cached_property
    def standing(self) -> Standing:
        """Where the consortium stands."""
        return Standing.read(self.node, self.consortium)

    def fresh(self) -> Standing:
        """The same after a transaction."""
        self._tell_unread()
        del self.__dict__["node"]
        self.__dict__.pop("standing", None)
        return self.standing

    def perform(self, act: Act, *, standing: Standing | None) -> Outcome:
        """Let an act leave in the way that was chosen."""
        return perform(act, self.way, self.node, standing, consortium=self.consortium, confirm=self.confirm)

    def expiry(self, days: int) -> int:
        """Unix seconds so many days from now, by the chain's own clock."""
        return self.node.head.timestamp + days * DAY_S

    def _tell_unread(self) -> None:
        node = self.__dict__.get("node")
        if node is not None and node.unread:
            told = f"history was read back to block {node.unread + 1}: what happened before is not told here"
            if told not in self.warnings:
                self.warnings.append(told)

    def answer(self, facts: dict[str, Any], lines: Lines) -> Answer:
        self._tell_unread()
        return Answer(facts, lines, tuple(self.warnings))

    def event(self, outcome: Outcome, name: str) -> dict[str, Any]:
        """The first event of that name in the transaction that was just sent. Raises `not-final`."""
        found = list(self.events(outcome, name))
        if not found:
            raise ToolError(Code.NOT_FINAL, f"the transaction {outcome.facts['tx']} has no event {name}")
        return found[0]

    def events(self, outcome: Outcome, name: str) -> Iterable[dict[str, Any]]:
        """Events of that name in the transaction that was just sent."""
        for event in self.node.events_of(self.consortium, "Consortium", outcome.facts["block"]):
            if event.name == name and event.where.tx == outcome.facts["tx"]:
                yield event.fields

    def dataset_named(self, named: str) -> bytes:
        """A dataset by its id, by `owner/name`, or by the name that the acting account registered."""
        text = named.lower().removeprefix("0x")
        if len(text) == 64 and all(one in "0123456789abcdef" for one in text):
            return bytes.fromhex(text)
        owner, _, name = named.rpartition("/")
        at = self.standing
        account = next((one.account for one in at.members if one.id == owner), None)
        if owner and account is None:
            raise ToolError(Code.OWNER_UNKNOWN, f"there is no owner {owner}")
        account = account or self.way.acting
        if account is None:
            raise ToolError(
                Code.WAY_UNCLEAR, f"{named} does not say whose dataset it is", "write owner/name, or its id"
            )
        registered = dataset_id(account, name)
        ids = {one.id for one in at.offered() if (one.dataset.holder, one.dataset.name) == (account, name)}
        ids |= {one.id for one in at.datasets([registered]) if one.dataset.holder == account}
        if len(ids) > 1:
            raise ambiguous(named, ids)
        return ids.pop() if ids else registered
