# SPDX-License-Identifier: Apache-2.0
"""The fields that a result may have: each of a kind, with what it costs.

What a kind declares, its module says (`sealroom.privacy.kinds`); what every field has, stands here. Errors:
`RecipeError` with `recipe-field`, `recipe-bounds`, `recipe-budget`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.model.units import MICRO
from sealroom.privacy.kind import PEOPLE, ROWS, Bar, Columns, Counted, Kind, Least
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import LAWS, NANO, Cost, Law, Noise, Part, noise_of, sampled_of
from sealroom.privacy.plan import Draft
from sealroom.privacy.shape import Row, counting_rows, taken, value_of_rows
from sealroom.schema import MAX_ROWS
from sealroom.schema.names import SCHEMA_NAME_WORDS
from sealroom.spelling import nearest

MAX_MU = 20
"""Largest μ of a field; far above what any ε of a recipe allows."""
MAX_SAMPLED = 8
"""Most parts of a field that are summed over a random part of the people."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LAW = re.compile("|".join(LAWS))
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_HEAD = ("name", "kind")
"""Members that each field has."""
_PLANNED = ("law", "share", "epsilon")
"""Members of a researcher's field that say what it may cost."""
_MOST = 2**62
"""Largest magnitude of an exact sum on its grid: noise then still fits 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the result."""

    name: str
    """Name in the result."""
    kind: Kind[Any]
    """What it is."""
    spec: Any
    """What its kind read."""
    cost: Cost
    """What it costs: the noise follows from this."""

    def __post_init__(self) -> None:
        if self.cost.sampled != sampled_of(self.kind.parts(self.spec, self.cost.law)):
            raise ValueError("a field that costs other draws than it makes")

    def plain(self) -> dict[str, Any]:
        """As a recipe has it: name and kind, the kind's own members by name, law and cost."""
        own = dict(sorted(self.kind.plain(self.spec).items()))
        head, cost = {"name": self.name, "kind": self.kind.name}, {"law": self.cost.law}
        sampled = [one.plain() for one in self.cost.sampled]
        draws = {"sampled": sampled} if sampled else {}
        return {**head, **own, **cost, self.cost.member: self.cost.amount, **draws}

    @property
    def columns(self) -> Columns:
        """The columns of the people's table that it reads."""
        return self.kind.columns(self.spec)

    def parts(self, rows: int) -> dict[str, Part]:
        """Its parts by name, for people of at most so many rows."""
        return {part.name: part.of_rows(rows) for part in self.kind.parts(self.spec, self.cost.law)}

    def noise(self, rows: int) -> dict[str, Noise]:
        """The noise of each part."""
        return {name: noise_of(part, self.cost) for name, part in self.parts(rows).items()}

    def preview(self, rows: int) -> tuple[Bar, ...]:
        """How wide its 95 % intervals will be."""
        return self.kind.preview(self.spec, self.cost.law, self.noise(rows), _counted(rows))

    def least(self, rows: int) -> tuple[Least, ...]:
        """What there must be enough of, beside a cohort, for a number of it to be told."""
        return self.kind.least(self.spec, self.cost.law, self.noise(rows), _counted(rows))

    def sentence(self, rows: int = 1) -> str:
        """What it is and what one person of at most so many rows can change, for owners."""
        more = f" A person may have {rows:,} rows." if rows > 1 else ""
        return self.kind.sentence(self.spec, _counted(rows)) + more

    def shape(self, rows: int) -> Row:
        """The shape of its value, of people of at most so many rows."""
        shape = self.kind.shape(self.spec)
        return shape if rows == 1 else counting_rows(shape)

    def finished(self, rows: int, value: dict[str, Any]) -> dict[str, Any]:
        """The value as a result has it, of what the kind made for people of at most so many rows."""
        return value if rows == 1 else value_of_rows(value, self.kind.shape(self.spec))


def read_field(value: Any, groups: Groups, blocks: int | None) -> Field:
    """Read one field of a recipe, of so many blocks or of none."""
    members = Members(value, _what(value), code=Code.RECIPE_FIELD, blocks=blocks)
    name, kind, spec = _read_kind(members, groups)
    law = _read_law(members)
    if law not in kind.laws:
        members.fail(f"of kind {kind.name} cannot have {law} noise")
    most = MAX_MU * NANO if law == "gaussian" else 100 * MICRO
    amount = members.integer(Cost(law=law, amount=1).member, 1, most)
    sampled = sampled_of(kind.parts(spec, law))
    stated = members.array("sampled", limit=MAX_SAMPLED) if sampled else []
    members.done()
    if stated != [one.plain() for one in sampled]:
        members.fail("states other draws over a part of the people than it makes")
    cost = Cost(law=law, amount=amount, sampled=sampled)
    return Field(name=name, kind=kind, spec=spec, cost=cost)


def read_draft(value: Any, groups: Groups, blocks: int | None) -> Draft:
    """Read one field as a researcher writes it: with a share, or an ε of its own, or neither."""
    members = Members(value, _what(value), loose=True, code=Code.RECIPE_FIELD, blocks=blocks)
    if not (members.has("name") and members.has("kind")):
        members.only(*_HEAD, *_PLANNED, *(each for kind in KINDS.values() for each in kind.member_names))
    name, kind, spec = _read_kind(members, groups, _PLANNED)
    law = _read_law(members) if members.has("law") else None
    share, epsilon_micro = Fraction(1), None
    if members.has("epsilon"):
        epsilon = members.decimal("epsilon")
        epsilon_micro = math.floor(Fraction(epsilon) * MICRO)
        if epsilon_micro <= 0 or members.has("share"):
            raise RecipeError(
                Code.RECIPE_BUDGET, f"the field {name} must have either a share or an ε, above zero"
            )
    elif members.has("share"):
        share = Fraction(members.decimal("share"))
        if not 0 < share <= 1000:
            raise RecipeError(Code.RECIPE_BUDGET, f"the share of {name} must be above 0 and at most 1000")
    members.done()
    return Draft(name=name, kind=kind, spec=spec, share=share, epsilon_micro=epsilon_micro, law=law)


def check_names(field: Field, groups: Groups) -> None:
    """Check that no group of the field has the name of another member of its value. All rows of the value are
    looked at: whoever reads a stranger's recipe bounds them first (`check_size`)."""
    if group := taken(field.shape(1), field.columns.groups, groups):
        raise RecipeError(
            Code.RECIPE_FIELD,
            f"output field {field.name} is by {group}, which its value has another member of that name for",
        )


def check_sums(field: Field, rows: int) -> None:
    """Check that no sum over as many rows as a table may have overflows, however it is shifted."""
    for name, part in field.parts(rows).items():
        reach = min(part.l1, math.isqrt(part.l2_squared) + 1) // rows
        if reach * MAX_ROWS << noise_of(part, field.cost).bits > _MOST:
            bounds_error(f"sums of the field {field.name} ({name}) could overflow 64 bits")


def _counted(rows: int) -> Counted:
    return PEOPLE if rows == 1 else ROWS


def _what(value: Any) -> str:
    """How messages call a field: by its name, where it has one."""
    name = value.get("name") if isinstance(value, Mapping) else None
    return f"output field {name}" if isinstance(name, str) and _NAME.fullmatch(name) else "output field"


def _read_kind(members: Members, groups: Groups, planned: tuple[str, ...] = ()) -> tuple[str, Kind[Any], Any]:
    """Name, kind and what the kind reads. `planned`: what a field that a person writes may have besides."""
    name = members.text("name", limit=63, pattern=_NAME, words=SCHEMA_NAME_WORDS)
    said = members.text("kind", limit=32, pattern=_KIND, words="a kind")
    kind = KINDS.get(said)
    if kind is None:
        near = nearest(said, KINDS)
        hint = f"did you mean {near}?" if near else None
        members.fail(f"has a kind that is none of {', '.join(KINDS)}", hint)
    if kind.of_blocks != (members.blocks is not None):
        by_blocks = members.blocks is not None
        right = [one.name for one in KINDS.values() if one.of_blocks == by_blocks]
        members.fail(
            f"is of kind {kind.name}, which no recipe {'' if by_blocks else 'but those '}by blocks has",
            f"write one of {', '.join(right)}{'' if by_blocks else ', or guarantee: by-blocks'}",
        )
    if planned:
        members.only(*kind.member_names, *planned)
    try:
        spec = kind.read(members, groups)
    except RecipeError as error:
        if error.message.startswith(f"output field {name} "):
            raise
        raise RecipeError(error.code, f"field {name}: {error.message}", error.hint) from None
    return name, kind, spec


def _read_law(members: Members) -> Law:
    return (
        "laplace"
        if members.text("law", limit=16, pattern=_LAW, words=" or ".join(LAWS)) == "laplace"
        else "gaussian"
    )
