# SPDX-License-Identifier: Apache-2.0
"""The leaves of a query: what stands in the files, and the recipe's own constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sealroom.codes import Code
from sealroom.relation.inputs import Input, InputColumn
from sealroom.relation.making import Maker
from sealroom.relation.relations import OWNER, Relation, identifier, names
from sealroom.relation.terms import Term, cast, common_type, literal, refuse, text_type

MAX_PUBLIC_ROWS = 20_000


class Leaves(Maker):
    """The rules that read no relation. Each says why it keeps (L) of `calculus`."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        """`inputs` are the tables by name, in lower case."""
        super().__init__()
        self._inputs = inputs

    def scan(self, table: str, wanted: frozenset[str] | None = None) -> tuple[Relation, tuple[str, ...]]:
        """The rows of all owners' datasets of one schema, and the names of its columns.

        `wanted` are the columns to read, all if `None`; the person's is always read.

        (L): row by row. A row without a person is dropped. Every column is brought to a type of the calculus:
        whole numbers to 64 bits, decimals to 18 digits, texts cut to 4,096 characters, reals that are not
        finite to NULL and −0 to 0, instants to UTC. What does not fit is NULL. A person's id that is cut may
        become another's: both are then one person, and (L) says more than is needed. `owner` is a constant of
        a dataset.
        Reals go through CASE, so that no statistics of a file decide about a row with NaN.
        """
        given = self._inputs[table]
        read = [each for each in given.columns if wanted is None or each.unit or each.name in wanted]
        columns = [self._column(each.type, unit=each.unit, nullable=_nullable(each)) for each in read]
        labels = [each.name for each in read]
        owner = None
        if not any(each.name.lower() == OWNER for each in given.columns) and (
            wanted is None or OWNER in wanted
        ):
            owner = self._column(text_type(64), nullable=False)
            labels.append(OWNER)

        def one(source: str, whose: str) -> str:
            items = [
                f'{_read(each).safe} AS "{column.id}"' for each, column in zip(read, columns, strict=True)
            ]
            if owner is not None:
                items.append(f'{literal(whose).sql} AS "{owner.id}"')
            # A blank is no column's name: so no struct can be taken for the table.
            return f'SELECT {", ".join(items)} FROM {identifier(source)} AS " "'

        union = " UNION ALL ".join(one(source, whose) for source, whose in given.sources)
        everything = [*columns, *([owner] if owner is not None else [])]
        who = next(column.id for column in columns if column.unit)
        body = f'SELECT * FROM ({union}) WHERE "{who}" IS NOT NULL'
        scans = tuple(source for source, _ in given.sources)
        return self._relation("scan", body, everything, [], None, scans=scans), tuple(labels)

    def public(self, rows: Sequence[Sequence[Term]]) -> Relation:
        """VALUES of the recipe. Public: it reads no data, and what fails in it fails for every D alike."""
        width = len(rows[0]) if rows else 0
        if not 0 < len(rows) <= MAX_PUBLIC_ROWS or not width or any(len(row) != width for row in rows):
            refuse(
                Code.RELATION_PUBLIC,
                f"VALUES has {len(rows)} rows",
                f"1 to {MAX_PUBLIC_ROWS} rows of the same number of constants",
            )
        if any(term.columns for row in rows for term in row):
            refuse(Code.RELATION_PUBLIC, "VALUES holds a column", "write constants alone")
        types = [common_type(values, "a column of VALUES") for values in zip(*rows, strict=True)]
        columns = [self._column(type) for type in types]
        written = ", ".join(
            "(" + ", ".join(cast(term, type).safe for term, type in zip(row, types, strict=True)) + ")"
            for row in rows
        )
        body = f"SELECT * FROM (VALUES {written}) v({names(columns)})"
        return self._relation("public", body, columns, [], len(rows), private=False)


def _nullable(each: InputColumn) -> bool:
    return each.nullable or each.lossy


def _read(each: InputColumn) -> Term:
    """A column of a file, brought to its type. `TRY_CAST` where a value may not fit."""
    raw = ".".join(identifier(part) for part in each.path)
    type = each.type
    match each.how:
        case "as-is":
            return Term(raw, type, total=True, nullable=each.nullable)
        case "widen":
            return Term(f"CAST({raw} AS {type.sql})", type, total=True, nullable=each.nullable)
        case "fit":
            return Term(f"TRY_CAST({raw} AS {type.sql})", type, total=True)
        case "text":
            # Bytes are counted in no time, characters are not.
            sql = f"(CASE WHEN strlen({raw}) <= {type.size} THEN {raw} ELSE left({raw}, {type.size}) END)"
            return Term(sql, type, total=True, nullable=each.nullable)
        case "labels":
            labels = ", ".join(literal(label).sql for label in each.labels)
            return Term(f"(CASE WHEN {raw} IN ({labels}) THEN {raw} END)", type, total=True)
        case "list":
            return Term(f"(CASE WHEN length({raw}) <= {type.size} THEN {raw} END)", type, total=True)
        case "instant":
            # Not by a cast to TIMESTAMP: that one asks the setting TimeZone. Infinities become NULL.
            return Term(f"make_timestamp(epoch_us(CAST({raw} AS TIMESTAMPTZ)))", type)
        case _:
            raise AssertionError(each.how)
