# SPDX-License-Identifier: Apache-2.0
"""What owners agree to in a recipe: how much privacy, and exactly which numbers may leave.

Each type reads its section of `x-sealroom` strictly (`read`) and gives it back (`plain`). Nothing that is not
declared here can leave an enclave: fields, group keys, bounds and decimals are all fixed beforehand (DP-12).
Errors: `RecipeError` with `recipe-malformed`, `recipe-unknown-field`, `recipe-bounds`, `recipe-budget`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.encoding import canonical, sha256
from sealroom.errors import FormatError, RecipeError
from sealroom.model.units import to_micro, to_pico
from sealroom.privacy.accountant import MAX_COORDINATES, holds
from sealroom.privacy.members import Members, bounds_error
from sealroom.privacy.plan import plan
from sealroom.recipe.column_use import Use
from sealroom.recipe.outputs import Field, check_names, check_sums, read_draft, read_field
from sealroom.recipe.size import MAX_OUTPUT_BYTES, check_size
from sealroom.schema import check_column_name
from sealroom.visible import visible

MAX_EPSILON = Decimal(20)
"""Above this the word "private" would mean nothing."""
MAX_DELTA = Decimal("1e-4")
"""δ must stay far below one over the number of people."""
RELEASE_AFTER = (10, 86_400)
"""Fewest and most seconds from grant to release. In fewer, no analysis would start and end."""
_ADJACENCY = "add-remove"
MAX_FIELDS = 64
MAX_GROUP_KEYS = 256


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """The privacy policy of one run."""

    adjacency: str
    """`add-remove`: two inputs are neighbours when one has one person more."""
    epsilon: Decimal
    """Total ε of one run."""
    delta: Decimal
    """Total δ of one run; zero when all mechanisms are pure."""
    minimum_cohort: int
    """Fewest people for which anything is released."""
    release_after_seconds: int
    """Seconds after the grant at which the run's one outcome leaves, a result or a failure alike."""

    def plain(self) -> dict[str, Any]:
        return {
            "adjacency": self.adjacency,
            "epsilon": decimal_text(self.epsilon),
            "delta": decimal_text(self.delta),
            "minimum_cohort": self.minimum_cohort,
            "release_after_seconds": self.release_after_seconds,
        }

    def digest(self) -> bytes:
        """The privacy hash: SHA-256 of the canonical section."""
        return sha256(canonical(self.plain()))

    @classmethod
    def read(cls, value: Any, *, loose: bool = False) -> Privacy:
        """`loose`: numbers as a person writes them."""
        fields = Members(value, "privacy", loose=loose)
        fields.only("adjacency", "epsilon", "delta", "minimum_cohort", "release_after_seconds")
        privacy = cls(
            adjacency=fields.text("adjacency", limit=16, pattern=re.compile(_ADJACENCY), words=_ADJACENCY),
            epsilon=fields.decimal("epsilon"),
            delta=fields.decimal("delta"),
            minimum_cohort=fields.integer("minimum_cohort", 1, 1_000_000),
            release_after_seconds=fields.integer("release_after_seconds", *RELEASE_AFTER),
        )
        fields.done()
        if not 0 < privacy.epsilon <= MAX_EPSILON or not 0 <= privacy.delta <= MAX_DELTA:
            raise RecipeError(
                Code.RECIPE_BUDGET, f"ε must be above 0 and at most {MAX_EPSILON}, δ at most {MAX_DELTA}"
            )
        return privacy


@dataclass(frozen=True, kw_only=True)
class OutputContract:
    """All that may leave the enclave."""

    limit_bytes: int
    """Most bytes of the canonical result."""
    fields: tuple[Field, ...]
    """The fields of the result, each exactly once."""
    groups: dict[str, tuple[str, ...]]
    """Declared keys of each group: no other key can appear in a result (DP-12)."""

    def field(self, name: str) -> Field | None:
        """The field of this name, or `None`."""
        return next((field for field in self.fields if field.name == name), None)

    def uses(self) -> list[Use]:
        """What its fields read."""
        return [Use(f"the field {field.name}", field.columns) for field in self.fields]

    def plain(self) -> dict[str, Any]:
        return {
            "limit_bytes": self.limit_bytes,
            "fields": [field.plain() for field in self.fields],
            "groups": {name: list(keys) for name, keys in self.groups.items()},
        }

    def digest(self) -> bytes:
        """The output hash: SHA-256 of the canonical section."""
        return sha256(canonical(self.plain()))

    @classmethod
    def read(cls, value: Any, *, blocks: int | None = None) -> OutputContract:
        """Read the section of a recipe, of so many blocks or of none."""
        limit, groups, items = _output(value, loose=False)
        return cls._checked(limit, groups, tuple(read_field(item, groups, blocks) for item in items))

    @classmethod
    def planned(
        cls, value: Any, privacy: Privacy, *, rows: int = 1, blocks: int | None = None
    ) -> OutputContract:
        """Read the section of a study, whose fields have no costs yet, and plan them for this policy.

        `rows` is the most rows of one person.
        """
        limit, groups, items = _output(value, loose=True)
        drafts = [read_draft(item, groups, blocks) for item in items]
        costs = plan(drafts, epsilon=privacy.epsilon, delta=privacy.delta, rows=rows) if drafts else []
        fields = tuple(
            Field(name=draft.name, kind=draft.kind, spec=draft.spec, cost=cost)
            for draft, cost in zip(drafts, costs, strict=True)
        )
        return cls._checked(limit, groups, fields)

    @classmethod
    def _checked(
        cls, limit: int, groups: dict[str, tuple[str, ...]], fields: tuple[Field, ...]
    ) -> OutputContract:
        if not fields or len({field.name for field in fields}) != len(fields):
            raise RecipeError(Code.RECIPE_MALFORMED, "output must have fields, each with a name of its own")
        check_size(limit, fields)
        for field in fields:
            check_names(field, groups)
        return cls(limit_bytes=limit, fields=fields, groups=groups)


def check_budget(privacy: Privacy, output: OutputContract, *, rows: int = 1) -> tuple[int, int]:
    """Check that the fields together cost no more than the policy says; `rows` is the most rows of one
    person.

    Returns ε in micro-epsilon and δ in pico-delta, both rounded up.
    """
    coordinates = 0
    for field in output.fields:
        check_sums(field, rows)
        if field.cost.law == "gaussian":
            coordinates += sum(part.length * part.draws for part in field.parts(rows).values())
    if coordinates > MAX_COORDINATES:
        bounds_error(f"the fields add Gaussian noise to more than {MAX_COORDINATES} numbers")
    costs = [field.cost for field in output.fields]
    if not holds(costs, epsilon=privacy.epsilon, delta=privacy.delta):
        raise RecipeError(
            Code.RECIPE_BUDGET,
            f"the fields together cost more than ε {decimal_text(privacy.epsilon)}"
            f" and δ {decimal_text(privacy.delta)}",
            "render the study again: it solves for costs that hold",
        )
    return to_micro(privacy.epsilon), to_pico(privacy.delta)


def _output(value: Any, *, loose: bool) -> tuple[int, dict[str, tuple[str, ...]], Sequence[Any]]:
    members = Members(value, "output", loose=loose)
    members.only("limit_bytes", "groups", "fields")
    limit = members.integer("limit_bytes", 1, MAX_OUTPUT_BYTES)
    groups = {name: _group(name, keys) for name, keys in members.object("groups").items()}
    items = members.array("fields", limit=MAX_FIELDS)
    members.done()
    return limit, groups, items


def _group(name: Any, value: Any) -> tuple[str, ...]:
    try:
        check_column_name(name)
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"a group: {error.message}", error.hint) from None
    if not isinstance(value, list) or len(value) > MAX_GROUP_KEYS:
        raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} is not a name with a list of keys")
    for key in value:
        if not isinstance(key, str) or not 0 < len(key) <= 64 or not visible(key):
            raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} has a key that is not short text")
    if not value or len(set(value)) != len(value):
        raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} must have keys, each once")
    return tuple(value)
