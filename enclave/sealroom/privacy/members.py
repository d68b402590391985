# SPDX-License-Identifier: Apache-2.0
"""Reading what a recipe declares, member by member and strictly. Errors are `RecipeError`.

A researcher may write a number as they like (`0.30`, `3`); the rendered recipe has one text for each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.decimals import parse_decimal, parse_normal_decimal
from sealroom.encoding import Fields
from sealroom.errors import FormatError, RecipeError
from sealroom.schema import check_column_name
from sealroom.spelling import nearest

MAX_DECIMALS = 12
"""Most decimal places of a released number."""

HOW = {
    "version": "write version: 2",
    "question": "write question: What do owners learn from it?",
    "gpu": "write gpu: none, or gpu: {kind: h100, count: 1, mode: passthrough}",
    "schemas": "write schemas: {visits: {unit: person_id, columns: {person_id: int64}}}",
    "datasets": "write datasets: [{owner: hospital-A, name: visits, schema: visits}]",
    "privacy": "write privacy: {adjacency: add-remove, epsilon: 1, delta: 1e-6, minimum_cohort: 20,"
    " release_after_seconds: 60}",
    "output": "write output: with limit_bytes, groups and fields",
    "by": "write by: [] for all people together, or names of the section groups, as by: [sex]",
    "scale": "write scale: linear, or scale: log where values are above zero and far apart",
    "decimals": "write decimals: 2 for two decimal places",
    "edges": "write edges: [0, 10, 20]; a histogram may have bounds: private instead, with lower, upper,"
    " decimals and ranges",
    "points": "write points: [10, 20, 30]; a cdf may have bounds: private instead, with lower, upper, ranges"
    " and point_decimals",
    "time": "write time: days, the column of the time until the event, or until observation stopped",
    "event": "write event: died, the column that is true where the time ended with the event",
    "outcome": "write outcome: ill, the column that is true for those who have it",
    "events_upper": "write events_upper: 5, the most events of one row",
    "exposure": "write exposure: years, the column of the time or amount in which events could happen",
    "exposure_upper": "write exposure_upper: 1, the largest exposure of one row",
    "batch": "write batch: 1, everybody in each step, or less: the chance of a person to be in a step",
    "layers": "write layers: [{linear: 8}, relu, {linear: 1}]; sealroom layers prints a torch module so",
    "loss": "write loss: binary, classes or squared",
    "guarantee": "write by-construction and a section relation; or by-blocks, or by-reading, and a script"
    " in analysis.py",
    "blocks": "with guarantee: by-blocks, write blocks: 50, the number of blocks of people",
    "groups": "write groups: {} where no field is by groups, else their labels, as groups: {sex: [F, M]}",
    "relation": "with guarantee: by-construction, write the section relation, with rows and sql",
}
"""How a researcher writes a member that is missing."""

Groups = Mapping[str, tuple[str, ...]]
"""The groups that a recipe declares, by name, each with its labels in order."""


class Members(Fields):
    """The members of one section or field of a recipe."""

    def __init__(
        self,
        value: Any,
        what: str,
        *,
        loose: bool = False,
        code: Code | None = None,
        blocks: int | None = None,
    ) -> None:
        """`loose`: numbers as a person writes them, for a study that is about to be rendered. `code`: of what
        is wrong here, instead of `recipe-malformed` and `recipe-unknown-field`. `blocks`: of the recipe."""
        super().__init__(
            value,
            what,
            error=RecipeError,
            code=code or Code.RECIPE_MALFORMED,
            unknown=code or Code.RECIPE_UNKNOWN_FIELD,
        )
        self.loose = loose
        self.blocks = blocks

    def only(self, *known: str) -> None:
        """Refuse a member that is none of these, with the one that is meant: a misspelt one would be missed
        by its right name otherwise. Before the members are read."""
        for name in self._left:
            if name in known:
                continue
            near = nearest(str(name), (each for each in known if each not in self._left))
            raise RecipeError(
                self._unknown,
                f"{self._what} has the unknown field {str(name)[:80]!r}"
                + (f", and no {near}" if near else ""),
                f"did you mean {near}?" if near else f"it may have {', '.join(known)}",
            )

    def raw(self, name: str) -> Any:
        """Take any value; the caller judges it. A refusal says how a missing member is written."""
        if not self.has(name):
            self.fail(f"lacks {name}", HOW.get(name))
        return super().raw(name)

    def decimal(self, name: str) -> Decimal:
        """Take a number with decimals."""
        return self._decimal(name, self.raw(name))

    def decimal_list(self, name: str, *, limit: int) -> tuple[Decimal, ...]:
        """Take a list of at most so many numbers."""
        return tuple(self._decimal(name, item) for item in self.array(name, limit=limit))

    def _decimal(self, name: str, value: Any) -> Decimal:
        try:
            if not self.loose:
                return parse_normal_decimal(value)
            whole = isinstance(value, int) and not isinstance(value, bool)
            return parse_decimal(str(value) if whole else value)
        except FormatError as error:
            self.fail(f"has {name} that is wrong: {error.message}")

    def column(self, name: str) -> str:
        """Take the name of a column."""
        return self._column(name, self.raw(name))

    def column_list(self, name: str, *, limit: int) -> tuple[str, ...]:
        """Take a list of at most so many names of columns."""
        return tuple(self._column(name, item) for item in self.array(name, limit=limit))

    def _column(self, name: str, value: Any) -> str:
        try:
            return check_column_name(value)
        except FormatError as error:
            self.fail(f"has {name} that is wrong: {error.message}")

    def range(self) -> tuple[Decimal, Decimal]:
        """Take `lower` and `upper`, the one below the other."""
        lower, upper = self.decimal("lower"), self.decimal("upper")
        if lower >= upper:
            bounds_error("a lower bound is not below the upper one")
        return lower, upper

    def decimals(self) -> int:
        """Take the number of decimal places of a released number."""
        return self.integer("decimals", 0, MAX_DECIMALS)


def bounds_error(message: str, hint: str | None = None) -> NoReturn:
    """Refuse a bound or a size."""
    raise RecipeError(Code.RECIPE_BOUNDS, message, hint)
