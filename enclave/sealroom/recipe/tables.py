# SPDX-License-Identifier: Apache-2.0
"""What a recipe reads: schemas by name, and the owners' datasets of each.

A schema says which columns a table has, of which types, and which of them names the person. Owners seal
datasets of it; a name that is not declared here does not open in a run. Each type reads its part of
`x-sealroom` strictly (`read`) and gives it back (`plain`). Errors: `RecipeError` with `recipe-malformed`,
`recipe-unknown-field`, `recipe-unit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError, RecipeError
from sealroom.privacy.members import Members
from sealroom.schema import (
    DATASET_NAME,
    OWNER_ID,
    SCHEMA_NAME,
    Column,
    Integer,
    String,
    check_column_name,
    check_columns,
    parse_type,
    plain_type,
)
from sealroom.schema.names import DATASET_NAME_WORDS, OWNER_ID_WORDS, SCHEMA_NAME_WORDS

FILES = "files"
"""The kind of a dataset that is a folder of files, and no table."""
MAX_SCHEMAS = 16
MAX_DATASETS = 16


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns of a table, whoever owns it."""

    name: str
    """Name among the schemas of the recipe."""
    unit: str
    """Column that names the person: what is protected is all rows of one person."""
    columns: tuple[Column, ...]
    """All of them; a sealed dataset with others is not accepted."""

    def plain(self) -> dict[str, Any]:
        return {"unit": self.unit, "columns": {name: plain_type(kind) for name, kind in self.columns}}

    @classmethod
    def read(cls, name: str, value: Any) -> Schema:
        fields = Members(value, f"the schema {name}")
        fields.only("unit", "columns")
        if not SCHEMA_NAME.fullmatch(name):
            fields.fail(f"has a name that is not {SCHEMA_NAME_WORDS}")
        unit = fields.column("unit")
        written = fields.object("columns")
        fields.done()
        try:
            columns = tuple(
                Column(check_column_name(column), parse_type(kind, column=column))
                for column, kind in written.items()
            )
            check_columns(columns)
        except FormatError as error:
            raise RecipeError(
                Code.RECIPE_MALFORMED, f"the schema {name}: {error.message}", error.hint
            ) from None
        schema = cls(name=name, unit=unit, columns=columns)
        schema._check_unit()
        return schema

    def _check_unit(self) -> None:
        kind = dict(self.columns).get(self.unit)
        if kind is None:
            raise RecipeError(
                Code.RECIPE_UNIT, f"the schema {self.name} lacks {self.unit}, its column of the person"
            )
        if not isinstance(kind, Integer | String):
            raise RecipeError(
                Code.RECIPE_UNIT,
                f"{self.unit}, the column of the person in the schema {self.name}, is {kind};"
                " it must be a whole number or a string",
                "seal the ids as whole numbers or as text",
            )


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One dataset that the study reads."""

    owner: str
    """Owner id."""
    name: str
    """Name among the owner's datasets."""
    schema: Schema | None
    """What a table is; `None` for files."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns; none of files."""
        return () if self.schema is None else self.schema.columns

    @property
    def path(self) -> str:
        """What `unwrap` takes: `hospital-A/cohort-A.tar`."""
        return f"{self.owner}/{self.name}.tar"

    def plain(self) -> dict[str, Any]:
        of = {"kind": FILES} if self.schema is None else {"schema": self.schema.name}
        return {"owner": self.owner, "name": self.name, **of}

    @classmethod
    def read(cls, value: Any, schemas: Mapping[str, Schema]) -> DatasetSpec:
        fields = Members(value, "dataset")
        fields.only("owner", "name", "schema", "kind")
        owner = fields.text("owner", limit=31, pattern=OWNER_ID, words=OWNER_ID_WORDS)
        name = fields.text("name", limit=64, pattern=DATASET_NAME, words=DATASET_NAME_WORDS)
        if fields.has("kind"):
            if fields.raw("kind") != FILES:
                fields.fail(f"has a kind other than {FILES}")
            fields.done()
            return cls(owner=owner, name=name, schema=None)
        schema = fields.text("schema", limit=63)
        fields.done()
        if schema not in schemas:
            declared = ", ".join(schemas)[:200]
            fields.fail(
                f"{owner}/{name} is of the schema {schema!r}, which the recipe does not declare",
                f"schemas are: {declared}",
            )
        return cls(owner=owner, name=name, schema=schemas[schema])


def read_schemas(value: Mapping[str, Any]) -> dict[str, Schema]:
    """Read the section `schemas`."""
    if not 0 < len(value) <= MAX_SCHEMAS:
        raise RecipeError(Code.RECIPE_MALFORMED, f"a recipe has 1 to {MAX_SCHEMAS} schemas")
    return {name: Schema.read(name, schema) for name, schema in value.items()}


def read_datasets(values: Sequence[Any], schemas: Mapping[str, Schema]) -> tuple[DatasetSpec, ...]:
    """Read the section `datasets`. Each dataset is there once, and each schema is one of some dataset."""
    datasets = tuple(DatasetSpec.read(value, schemas) for value in values)
    if not datasets:
        raise RecipeError(Code.RECIPE_MALFORMED, "the recipe reads no dataset")
    seen: set[str] = set()
    for spec in datasets:
        if spec.path.lower() in seen:
            raise RecipeError(
                Code.RECIPE_MALFORMED,
                f"the recipe has the dataset {spec.owner}/{spec.name} twice, in any case of letters",
            )
        seen.add(spec.path.lower())
    for name in schemas.keys() - {spec.schema.name for spec in datasets if spec.schema is not None}:
        raise RecipeError(Code.RECIPE_MALFORMED, f"the recipe reads no dataset of the schema {name}")
    return datasets
