# SPDX-License-Identifier: Apache-2.0
"""The rules of two relations: joins within a person, and UNION ALL."""

from __future__ import annotations

from dataclasses import replace

from sealroom.codes import Code
from sealroom.relation.making import Maker, items
from sealroom.relation.relations import Relation, names
from sealroom.relation.terms import Term, cast, common_type, need, refuse

MAX_FAN_OUT = 100_000
"""Most rows that one person gets in a join of two tables of many rows a person."""


class Pairs(Maker):
    """Each rule says why it keeps (L) of `calculus`."""

    def join(self, kind: str, left: Relation, right: Relation, condition: Term | None = None) -> Relation:
        """INNER, LEFT, SEMI, ANTI. The rule itself equates the columns of the person, if both are private.

        Side conditions: both name people by the same type, for a cast would merge people or fail; the rest of
        the condition is a term. (L): every pair lies within one person. With a public table on the right,
        each row meets the same rows for every D. A public table on the left is refused: which of its rows
        find no partner depends on everybody. The right side's column of the person is one after INNER alone,
        for LEFT may leave it NULL. How many rows a person gets is bounded, and with it what one person costs.
        """
        if not left.private:
            _refuse_public_left(right)
        word = {"inner": "JOIN", "left": "LEFT JOIN", "semi": "SEMI JOIN", "anti": "ANTI JOIN"}.get(kind)
        if word is None:
            refuse(
                Code.RELATION_JOIN_KIND,
                f"{kind.upper()} JOIN has no rule",
                "INNER, LEFT, SEMI and ANTI have one; write RIGHT as LEFT with the sides swapped,"
                " FULL as UNION ALL and GROUP BY",
            )
        equal, rows = self._matched(kind, left, right, rest=condition is not None)
        if condition is not None:
            self._check_both(left, right, condition)
            equal = f"{equal} AND {need(condition, 'bool', 'ON').safe}"
        columns = [replace(each, place=each.place and kind in ("semi", "anti")) for each in left.columns]
        if kind in ("semi", "anti"):
            rows = left.rows
        else:
            inner = kind == "inner"
            columns += [
                replace(each, unit=each.unit and inner, nullable=each.nullable or not inner, place=False)
                for each in right.columns
            ]
        if len({column.id for column in columns}) != len(columns):
            raise AssertionError("a relation is joined with itself under the same names")
        body = f"SELECT {names(columns)} FROM {left.name} {word} {right.name} ON {equal}"
        return self._relation("join", body, columns, [left, right], rows)

    def _matched(self, kind: str, left: Relation, right: Relation, *, rest: bool) -> tuple[str, int | None]:
        """SQL that equates people, and most rows a person afterwards."""
        if not right.private:
            assert right.rows is not None
            return "TRUE", None if left.rows is None else left.rows * right.rows
        a, b = left.unit, right.unit
        if a.type.kind != b.type.kind:
            refuse(
                Code.RELATION_UNIT_TYPE,
                f"a JOIN of people named by a {a.type} with people named by a {b.type}",
                "seal both datasets with ids of one type",
            )
        sql = f'{left.name}."{a.id}" = {right.name}."{b.id}"'
        if kind in ("semi", "anti") and not rest:
            return sql, left.rows
        if left.rows == 1 or right.rows == 1:
            return sql, right.rows if left.rows == 1 else left.rows
        rows = None if left.rows is None or right.rows is None else left.rows * right.rows
        if rows is None or rows > MAX_FAN_OUT:
            refuse(
                Code.RELATION_FAN_OUT,
                f"JOIN could give one person {'any number of' if rows is None else rows} rows",
                "aggregate one side to one row a person (GROUP BY the person's column), or keep at most m"
                " rows a person on both: QUALIFY row_number() OVER (PARTITION BY {unit} ORDER BY x) <= 300",
            )
        return sql, rows

    def union_all(self, left: Relation, right: Relation) -> Relation:
        """UNION ALL of two private relations of the same columns.

        Side condition: the person's column is in the same place on both sides, under the same type. (L): each
        row comes from one of the two.
        """
        if not (left.private and right.private):
            refuse(
                Code.RELATION_UNION,
                "UNION of a table of people with constants",
                "constants are no person's rows: join them instead",
            )
        if len(left.columns) != len(right.columns):
            refuse(
                Code.RELATION_UNION,
                f"UNION of {len(left.columns)} with {len(right.columns)} columns",
                "select the same columns on both sides, in the same order",
            )
        columns = []
        for number, (a, b) in enumerate(zip(left.columns, right.columns, strict=True), 1):
            same_list = a.type.kind == "list" and a.type == b.type
            if a.unit != b.unit or (a.type.kind != b.type.kind and (a.unit or b.unit)):
                refuse(
                    Code.RELATION_UNION,
                    f"UNION: column {number} names the person on one side alone, or by another type",
                    "put the person's column in the same place on both sides, unchanged",
                )
            type = a.type if same_list else common_type([a.term, b.term], f"column {number} of UNION")
            columns.append(self._column(type, unit=a.unit, nullable=a.nullable or b.nullable))
        if not any(column.unit for column in columns):
            refuse(
                Code.RELATION_NO_UNIT,
                "UNION of rows without the column of the person",
                "put it in the same place on both sides",
            )

        def side(relation: Relation) -> str:
            terms = [
                cast(a.term, b.type) if a.type.kind != "list" else a.term
                for a, b in zip(relation.columns, columns, strict=True)
            ]
            return f"SELECT {items(columns, [term.safe for term in terms])} FROM {relation.name}"

        rows = None if left.rows is None or right.rows is None else left.rows + right.rows
        body = f"{side(left)} UNION ALL {side(right)}"
        return self._relation("union", body, columns, [left, right], rows)


def _refuse_public_left(right: Relation) -> None:
    if right.private:
        refuse(
            Code.RELATION_PUBLIC,
            "JOIN with constants on the left and people on the right",
            "put the table of people on the left: which constants find no partner depends on everybody",
        )
    refuse(Code.RELATION_PUBLIC, "JOIN of constants with constants", "join them by hand, in the recipe")
