# SPDX-License-Identifier: Apache-2.0
"""All that a page from disk is made of: facts of the chain at one block, and recipes.

The page is a function of this and of the release, so whoever has the same release makes the same page of it,
and sees by that whether a page shows something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import (
    Fields,
    canonical,
    from_base64,
    from_hex,
    normal_address,
    strict_json,
    to_base64,
    to_hex,
)
from sealroom.errors import FormatError, SealroomError
from sealroom.model import Study
from sealroom.recipe import Recipe
from sealroom.recipe import parse as parse_recipe
from sealroom_agents.chain import History
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.logs import LogPosition
from sealroom_agents.chain.owner_events import Decision
from sealroom_agents.errors import ToolError
from sealroom_agents.index.facts import Facts
from sealroom_agents.index.plain import of_plain, to_plain

VERSION = 1
MAX_RECIPES = 8
"""Recipes in one page: the study's, and those that it is compared with."""
YEAR_9999 = 253_402_300_799
"""Unix seconds beyond which no date is written."""
MAX_BYTES = 16 * 1024 * 1024
"""Most bytes of it."""
_NAMES = {kind: name for name, kind in Event.KINDS.items()}


@dataclass(frozen=True)
class Matter:
    """What one page is made of."""

    maker: str
    """Account that makes and signs it."""
    made: int
    """When, unix seconds."""
    study: bytes
    """Id of the study to decide."""
    facts: Facts
    """The consortium at one block."""
    history: History
    """What its owners did up to there."""
    composes: tuple[bytes, ...]
    """Bytes of recipes, that of the study first."""

    @cached_property
    def recipes(self) -> dict[bytes, Recipe]:
        """The recipes by their compose hash. Raises `RecipeError`."""
        found = [parse_recipe(compose) for compose in self.composes]
        return {recipe.compose_hash: recipe for recipe in found}

    @property
    def content(self) -> Study:
        """The study to decide. Raises `proposal-unknown` where no such study waits."""
        found = next((one.study for one in self.facts.candidates if one.study.id == self.study), None)
        if found is None:
            raise ToolError(
                Code.PROPOSAL_UNKNOWN,
                f"no study {to_hex(self.study)} waits for approval",
                "see: govern pending",
            )
        return found

    def encode(self) -> bytes:
        """As canonical JSON without `<`, so that it can stand in a page."""
        consortium = interface("Consortium")
        value = {
            "version": VERSION,
            "maker": self.maker,
            "made": self.made,
            "study": to_hex(self.study),
            "facts": to_plain(self.facts),
            "events": [_plain(event) for event in self.history.events],
            "unread": self.history.unread,
            "recipes": [
                {"composeHash": to_hex(digest), "bytes": to_base64(recipe.compose)}
                for digest, recipe in self.recipes.items()
            ],
            # Not believed by the page, which builds its own by other code and compares.
            "call": to_hex(consortium.encode("approve", self.content.solidity(), [])),
        }
        return canonical(value).replace(b"<", b"\\u003c")

    @classmethod
    def parse(cls, data: bytes) -> Matter:
        """Of what `encode` wrote. Raises `page-malformed` for anything else."""
        try:
            found = cls._read(data)
            if found.encode() == data:
                return found
        except (SealroomError, ValueError, TypeError, AttributeError, LookupError) as error:
            said = error.message if isinstance(error, SealroomError) else "its facts are not of their form"
            raise ToolError(Code.PAGE_MALFORMED, said) from None
        raise ToolError(Code.PAGE_MALFORMED, "its facts are not written as a release writes them")

    @classmethod
    def _read(cls, data: bytes) -> Matter:
        fields = Fields(strict_json(data, MAX_BYTES), "the page's facts")
        fields.integer("version", VERSION, VERSION)
        recipes = fields.raw("recipes")
        if len(recipes) > MAX_RECIPES:
            raise FormatError(Code.MALFORMED, f"the page holds more than {MAX_RECIPES} recipes")
        fields.raw("call")  # compared as a whole
        events = tuple(_event(one) for one in fields.raw("events"))
        found = cls(
            maker=normal_address(fields.raw("maker")),
            made=fields.integer("made", 0, YEAR_9999),
            study=from_hex(fields.raw("study"), 32),
            facts=of_plain(Facts, fields.raw("facts")),
            history=History(events, fields.integer("unread")),
            composes=tuple(from_base64(one["bytes"]) for one in recipes),
        )
        fields.done()
        return found


def _plain(event: Event) -> dict[str, Any]:
    owners = {"owners": list(event.owners)} if isinstance(event, Decision) else {}
    return {"name": _NAMES[type(event)], "at": to_plain(event.at), "content": event.to_json(), **owners}


def _event(value: Any) -> Event:
    kind = Event.KINDS[value["name"]]
    found = kind.from_json(value["content"])
    more = {"owners": tuple(str(one) for one in value["owners"])} if issubclass(kind, Decision) else {}
    content = {part.attribute: getattr(found, part.attribute) for part in kind.parts()}
    return kind(at=of_plain(LogPosition, value["at"]), **content, **more)
