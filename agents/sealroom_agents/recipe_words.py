# SPDX-License-Identifier: Apache-2.0
"""A recipe in words, the same on the command line, in the REST interface and on the pages.

What the recipe's own bytes say (guarantee, tables, SQL), and what is compiled from them. The page's script
writes the words for tables again (`face/recipe/draw.ts`), from the bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sealroom.schema import Category, ColumnType, List, Struct

if TYPE_CHECKING:
    from sealroom.recipe import DatasetSpec, Field, Recipe


def type_words(kind: ColumnType) -> str:
    """A column's type with everything that it declares: `category of F, M without nulls`."""
    match kind:
        case Category():
            words = "category of " + ", ".join(kind.values)
        case List():
            words = f"list of {type_words(kind.of)}"
        case Struct():
            words = "struct of " + ", ".join(f"{name} {type_words(inner)}" for name, inner in kind.fields)
        case _:
            words = kind.name
    return words if kind.nullable else f"{words} without nulls"


def dataset_words(spec: DatasetSpec) -> str:
    """What a dataset is: a table of a schema, or files."""
    return "files" if spec.schema is None else f"table {spec.schema.name}"


def column_words(kind: object, *, nullable: bool, unit: bool) -> str:
    """The type of a column of a relation's result."""
    if unit:
        return f"{kind}, the person"
    return f"{kind}, may be missing" if nullable else str(kind)


def rows_words(rows: int) -> str:
    """How many rows of one person a table has."""
    return "one row a person" if rows == 1 else f"at most {rows:,} rows a person"


def counted_words(recipe: Recipe) -> str:
    """What of a person counts: `50 blocks of people`, or the rows that a person has."""
    return rows_words(recipe.rows) if recipe.blocks is None else f"{recipe.blocks:,} blocks of people"


def machine_words(recipe: Recipe) -> str:
    """What the recipe asks of the machine beyond what owners adopted, and what its host tells it."""
    gpu = recipe.gpu
    if gpu is None:
        said = "No GPU is demanded."
    else:
        said = (
            f"{gpu.count} {gpu.kind} {'GPU' if gpu.count == 1 else 'GPUs'} ({gpu.mode}): their evidence is"
            " verified before any key leaves."
        )
    if recipe.hints:
        said += (
            " Its host tells it which run it is and where the sealed files lie; nothing is decided by that."
        )
    if recipe.script is not None:
        said += (
            f" Phala Cloud's own script of {recipe.script.size:,} bytes runs as root in the VM before the"
            f" containers; the recipe's bytes hold it, and its SHA-256 is {recipe.script.digest}."
        )
    return said


def script_facts(recipe: Recipe) -> dict[str, Any] | None:
    """What runs as root before the containers, for a program; `None` where nothing does."""
    script = recipe.script
    return None if script is None else {"name": script.name, "bytes": script.size, "sha256": script.digest}


def withheld_words(recipe: Recipe, field: Field) -> str:
    """Of how few a number of a field does not leave: below the smallest cohort, or beside the noise."""
    cohort, of = recipe.privacy.minimum_cohort * recipe.rows, "people" if recipe.rows == 1 else "rows"
    said = [f"{cohort:,} {of}"]
    for each in field.least(recipe.rows):
        if each.of != of or each.count > cohort:
            said.append(f"{max(math.ceil(each.count), 1):,} {each.of}, for their noise")
    otherwise = f"; or {field.kind.otherwise}" if field.kind.otherwise else ""
    return "fewer than " + ", or than ".join(said) + otherwise


def people_words(people: int) -> str:
    """For how many people a run has memory."""
    return (
        f"at most {people:,} people of all owners, by which the memory of a run is estimated; nobody is left"
        " out"
    )


def relation_facts(recipe: Recipe) -> dict[str, Any] | None:
    """All that a program may want of a relation; `None` where a script computes."""
    relation, compiled = recipe.relation, recipe.compiled
    if relation is None or compiled is None:
        return None
    return {
        "sql": relation.sql,
        "compiled": compiled.sql,
        "rows": compiled.rows,
        "people": relation.people,
        "unit": compiled.unit.name,
        "columns": [
            {
                "name": each.name,
                "type": str(each.type),
                "nullable": each.nullable,
                "unit": each.unit,
                "compiled": each.id,
            }
            for each in compiled.columns
        ],
        "reads": {name: list(columns) for name, columns in compiled.reads.items()},
        "datasets": list(compiled.datasets),
    }


def inference_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """The networks whose outputs are columns, for a program."""
    return [
        {
            "name": each.name,
            "sentence": each.sentence(),
            "numbers": each.width,
            "weights": None if each.dataset is None else f"{each.dataset.owner}/{each.dataset.name}",
        }
        for each in recipe.inferences
    ]


def guarantee_facts(recipe: Recipe) -> dict[str, Any]:
    """What a recipe promises, for a program."""
    guarantee = recipe.guarantee
    return {
        "name": guarantee.name,
        "sentence": guarantee.sentence,
        "byScript": guarantee.by_script,
        "mustRead": guarantee.must_read,
        "rows": recipe.rows,
        "blocks": recipe.blocks,
    }


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """What a recipe promises, reads and computes, for a program."""
    return {
        "guarantee": guarantee_facts(recipe),
        "researchers": list(recipe.researchers),
        "gpu": None if recipe.gpu is None else recipe.gpu.to_json(),
        "hints": recipe.hints,
        "script": script_facts(recipe),
        "tables": [
            {
                "name": schema.name,
                "unit": schema.unit,
                "columns": [{"name": name, "type": type_words(kind)} for name, kind in schema.columns],
            }
            for schema in recipe.schemas
        ],
        "reads": [
            {
                "owner": spec.owner,
                "name": spec.name,
                "kind": "files" if spec.schema is None else "table",
                "table": None if spec.schema is None else spec.schema.name,
            }
            for spec in recipe.datasets
        ],
        "relation": relation_facts(recipe),
        "inference": inference_facts(recipe),
        "analysis": recipe.analysis if recipe.guarantee.by_script else None,
    }
