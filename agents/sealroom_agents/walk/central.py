# SPDX-License-Identifier: Apache-2.0
"""The job as a central pipeline does it: plain files in one place, the researcher's SQL over all of them in
the open, exact numbers. Nothing here is sealed, approved, attested, noisy or signed: that is the point.

It shares the recipe's text with the enclave, and no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.encoding import sha256, to_hex
from sealroom.recipe import Recipe
from sealroom_agents.walk.document import SAMPLE, Answer, Central, PlainFile, Subtraction, Table

if TYPE_CHECKING:
    import duckdb

DIGITS = 6
"""Decimals of an exact number that are shown; it has more."""
MEAN_DIGITS = 12
"""Those of the means that are subtracted, so that a reader can do it again."""


def run(
    recipe: Recipe, files: Mapping[str, Path], released: Mapping[str, Any], *, one_byte: tuple[bytes, bytes]
) -> Central:
    """Run it over the owners' plain files, by OWNER/NAME. released: the fields that left the enclave, which
    stand beside the exact ones. one_byte: what is replaced in the relation, and by what."""
    import duckdb

    with duckdb.connect() as warehouse:
        plain = [_loaded(warehouse, spec.owner, spec.name, files[spec.path]) for spec in recipe.datasets]
        for schema in recipe.schemas:
            of_schema = [one.name for one in recipe.datasets if one.schema and one.schema.name == schema.name]
            union = " UNION ALL ".join(f'SELECT * FROM store."{name}"' for name in of_schema)
            warehouse.execute(f'CREATE VIEW "{schema.name}" AS {union}')
        assert recipe.relation is not None
        sql, (was, becomes) = recipe.relation.sql, (one.decode() for one in one_byte)
        warehouse.execute(f"CREATE TABLE joined AS {sql}")
        warehouse.execute(f"CREATE TABLE changed AS {sql.replace(was, becomes, 1)}")
        return Central(
            files=plain,
            changed=_table(warehouse, "changed", "SELECT * FROM changed EXCEPT SELECT * FROM joined"),
            joined=_table(warehouse, "joined"),
            answers=_answers(recipe, files, released),
            subtraction=_subtract(warehouse, recipe),
        )


def _loaded(warehouse: duckdb.DuckDBPyConnection, owner: str, name: str, path: Path) -> PlainFile:
    """One owner's file, copied into the store as it is."""
    warehouse.execute("CREATE SCHEMA IF NOT EXISTS store")
    warehouse.execute(f'CREATE TABLE store."{name}" AS SELECT * FROM read_parquet(?)', [str(path)])
    return PlainFile(
        owner=owner,
        name=name,
        sha256=to_hex(sha256(path.read_bytes())),
        table=_table(warehouse, f'store."{name}"'),
    )


def _table(warehouse: duckdb.DuckDBPyConnection, name: str, asked: str = "") -> Table:
    """How many rows it has, and the first ones by its first column, as whoever runs the store reads them; of
    what is `asked` where that is not all of it."""
    query = f"{asked or f'SELECT * FROM {name}'} ORDER BY 1 LIMIT {SAMPLE}"
    found = warehouse.execute(query)
    columns = [one[0] for one in found.description or ()]
    sample = [[_cell(value) for value in row] for row in found.fetchall()]
    rows = _one(warehouse, f"SELECT count(*) FROM {name}")[0]
    return Table(query=query, rows=rows, columns=columns, sample=sample)


def _answers(recipe: Recipe, files: Mapping[str, Path], released: Mapping[str, Any]) -> list[Answer]:
    """Every number of the result without privacy, beside the released one."""
    from sealroom_agents.fullsize import plain
    from sealroom_agents.fullsize.compare import beside

    answers, _ = plain.run(recipe, files, released)
    return [
        Answer(field=one.field, of=list(mark.labels), released=mark.text, exact=_number(exact))
        for one in beside(recipe, released, answers)
        for mark, exact in one.pairs
        if exact is not None
    ]


def _subtract(warehouse: duckdb.DuckDBPyConnection, recipe: Recipe) -> Subtraction:
    """Ask for an exact count and mean twice, the second time without the first person who has a value."""
    spec = next(one.spec for one in recipe.output.fields if one.kind.name == "mean")
    column, by = spec.column, spec.cells.by
    unit = next(one for one in recipe.schemas).unit
    groups = ", ".join(f'"{name}"' for name in by)
    whole = " AND ".join(f'"{name}" IS NOT NULL' for name in (column, *by))
    person, true, *group = _one(
        warehouse, f'SELECT "{unit}", "{column}", {groups} FROM joined WHERE {whole} ORDER BY 1 LIMIT 1'
    )
    same = " AND ".join(f'"{name}" = ?' for name in by)
    ask = f'SELECT count("{column}"), avg("{column}") FROM joined WHERE {same}'
    count, mean = _one(warehouse, ask, group)
    fewer, other = _one(warehouse, f'{ask} AND "{unit}" <> ?', [*group, person])
    return Subtraction(
        person=str(person),
        group=[str(one) for one in group],
        column=column,
        count=count,
        mean=_number(mean, MEAN_DIGITS),
        count_without=fewer,
        mean_without=_number(other, MEAN_DIGITS),
        found=_number(count * mean - fewer * other),
        true=_number(true),
    )


def _one(warehouse: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = warehouse.execute(query, list(values)).fetchone()
    if row is None:
        raise ValueError(f"no row: {query}")
    return row


def _number(value: float, digits: int = DIGITS) -> str:
    """An exact number as text."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, float) else str(value)
