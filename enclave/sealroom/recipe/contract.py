# SPDX-License-Identifier: Apache-2.0
"""What owners agree to in a recipe: which datasets, how much privacy, and exactly which numbers may leave.

Each type reads its section of `x-sealroom` strictly (`read`) and gives it back (`plain`). Nothing that is not
declared here can leave an enclave: fields, group keys, bounds and decimals are all fixed beforehand (DP-12).
Errors: `RecipeError` with `recipe-malformed`, `recipe-unknown-field`, `recipe-bounds`, `recipe-budget`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text, exact_sum
from sealroom.encoding import canonical, sha256
from sealroom.errors import RecipeError
from sealroom.model.units import to_micro, to_pico
from sealroom.recipe.outputs import (
    MAX_OUTPUT_BYTES,
    FieldSpec,
    LogisticField,
    bounds_error,
    read_decimal,
    read_field,
    reader,
)
from sealroom.recipe.size import check_size
from sealroom.schema import COLUMN_NAME, COLUMN_TYPES, DATASET_NAME, MAX_COLUMNS, OWNER_ID, Column

MAX_EPSILON = Decimal(20)
"""Above this the word "private" would mean nothing."""
MAX_DELTA = Decimal("1e-4")
"""δ must stay far below one over the number of people."""
MAX_FIELDS = 64
MAX_CELLS = 4096
"""Most cells of one field: the product of the sizes of its groups."""
MAX_GROUP_KEYS = 256


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One dataset that the study reads."""

    owner: str
    """Owner id."""
    name: str
    """Name among the owner's datasets."""
    columns: tuple[Column, ...]
    """Its columns; a sealed dataset with others is not accepted."""

    @property
    def path(self) -> str:
        """What `unwrap` takes: `hospital-A/cohort-A.tar`."""
        return f"{self.owner}/{self.name}.tar"

    def plain(self) -> dict[str, Any]:
        return {"owner": self.owner, "name": self.name, "columns": dict(self.columns)}

    @classmethod
    def read(cls, value: Any) -> DatasetSpec:
        fields = reader(value, "dataset")
        owner = fields.text("owner", limit=31, pattern=OWNER_ID)
        name = fields.text("name", limit=64, pattern=DATASET_NAME)
        columns = fields.object("columns")
        fields.done()
        if not 0 < len(columns) <= MAX_COLUMNS:
            fields.fail(f"must have 1 to {MAX_COLUMNS} columns")
        for column, kind in columns.items():
            if not isinstance(kind, str) or kind not in COLUMN_TYPES or not COLUMN_NAME.fullmatch(column):
                fields.fail(f"has a column {column!r} that is not a name with one of {sorted(COLUMN_TYPES)}")
        return cls(owner=owner, name=name, columns=tuple(Column(*item) for item in columns.items()))


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """The privacy policy of one run."""

    unit: str
    """Column that names the person: what is protected is all rows of one person."""
    adjacency: str
    """`add-remove`: two inputs are neighbours when one has one person more."""
    epsilon: Decimal
    """Total ε of one run."""
    delta: Decimal
    """Total δ of one run; zero when all mechanisms are pure."""
    minimum_cohort: int
    """Fewest people for which anything is released."""
    release_slot_seconds: int
    """Results leave at a whole multiple of this since the grant, so that timing tells little."""

    def plain(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "adjacency": self.adjacency,
            "epsilon": decimal_text(self.epsilon),
            "delta": decimal_text(self.delta),
            "minimum_cohort": self.minimum_cohort,
            "release_slot_seconds": self.release_slot_seconds,
        }

    def digest(self) -> bytes:
        """The privacy hash: SHA-256 of the canonical section."""
        return sha256(canonical(self.plain()))

    @classmethod
    def read(cls, value: Any) -> Privacy:
        fields = reader(value, "privacy")
        privacy = cls(
            unit=fields.text("unit", limit=63, pattern=COLUMN_NAME),
            adjacency=fields.text("adjacency", limit=16, pattern=re.compile("add-remove")),
            epsilon=read_decimal(fields, "epsilon"),
            delta=read_decimal(fields, "delta"),
            minimum_cohort=fields.integer("minimum_cohort", 1, 1_000_000),
            release_slot_seconds=fields.integer("release_slot_seconds", 1, 3600),
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
    fields: tuple[FieldSpec, ...]
    """The fields of the result, each exactly once."""
    groups: dict[str, tuple[str, ...]]
    """Declared keys of each group: no other key can appear in a result (DP-12)."""

    def field(self, name: str) -> FieldSpec | None:
        """The field of this name, or `None`."""
        return next((field for field in self.fields if field.name == name), None)

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
    def read(cls, value: Any) -> OutputContract:
        fields = reader(value, "output")
        limit = fields.integer("limit_bytes", 1, MAX_OUTPUT_BYTES)
        groups = {name: _group(name, keys) for name, keys in fields.object("groups").items()}
        listed = tuple(read_field(item) for item in fields.array("fields", limit=MAX_FIELDS))
        fields.done()
        if not listed or len({field.name for field in listed}) != len(listed):
            fields.fail("must have fields, each with a name of its own")
        for field in listed:
            by = () if isinstance(field, LogisticField) else field.by
            if len(set(by)) != len(by) or not set(by) <= groups.keys():
                fields.fail(f"has the field {field.name} by a group that is not declared, or twice by one")
            if math.prod(len(groups[name]) for name in by) > MAX_CELLS:
                bounds_error(f"the field {field.name} has more than {MAX_CELLS} cells")
        check_size(limit, listed, groups)
        return cls(limit_bytes=limit, fields=listed, groups=groups)


def check_budget(privacy: Privacy, output: OutputContract) -> tuple[int, int]:
    """Check that the fields cost exactly what the policy says.

    Returns ε in micro-epsilon and δ in pico-delta, both rounded up.
    """
    epsilon = exact_sum(field.epsilon for field in output.fields)
    delta = exact_sum(field.delta for field in output.fields)
    if epsilon != privacy.epsilon or delta != privacy.delta:
        raise RecipeError(
            Code.RECIPE_BUDGET,
            f"the fields cost ε {epsilon} and δ {delta}, the policy says"
            f" {decimal_text(privacy.epsilon)} and {decimal_text(privacy.delta)}",
            "basic composition: the fields must add up to the policy exactly",
        )
    return to_micro(epsilon), to_pico(delta)


def _group(name: Any, value: Any) -> tuple[str, ...]:
    if not COLUMN_NAME.fullmatch(str(name)) or not isinstance(value, list) or len(value) > MAX_GROUP_KEYS:
        raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} is not a name with a list of keys")
    for key in value:
        if not isinstance(key, str) or not 0 < len(key) <= 64 or not key.isprintable():
            raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} has a key that is not short text")
    if not value or len(set(value)) != len(value):
        raise RecipeError(Code.RECIPE_MALFORMED, f"the group {name} must have keys, each once")
    return tuple(value)
