# SPDX-License-Identifier: Apache-2.0
"""The trusted part: the only ways to make a relation, each of which keeps it person-local.

A relation is made by the rules below and by nothing else. The front end, which reads a researcher's SQL, is
trusted with nothing: all that it can do is ask for rules. Each rule writes its own SQL, with made-up names
(`r7`, `c12`), explicit types and constants encoded anew. No byte of a researcher's SQL reaches DuckDB; of a
recipe, the names of datasets and of their columns do, as quoted identifiers.

For all data D and all persons p let D|p be the rows of p in D. A private relation R keeps the property

    (L)   R(D)|p = R(D|p) as multisets, bit for bit; no person of R is NULL; computing R(D) never fails.

So adding or removing a person changes that person's rows alone. Each rule states why it keeps (L), given that
its inputs do. A *public* relation is the same table for every D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sealroom.codes import Code
from sealroom.relation.functions import Order, total_order
from sealroom.relation.leaves import Leaves
from sealroom.relation.making import check_over, items
from sealroom.relation.pairs import Pairs
from sealroom.relation.relations import Relation, names
from sealroom.relation.terms import Aggregate, Term, Type, Window, check_key, need, refuse

MAX_ROWS_A_PERSON = 100_000
"""Most rows that a person can have in a result, or be kept with by a row number."""


class Calculus(Leaves, Pairs):
    """The rules, over the tables of one recipe; those of one relation stand here."""

    def renamed(self, relation: Relation) -> Relation:
        """The same rows under columns of their own, so that a relation can be joined with itself.

        (L): by substitution; nothing is changed but names.
        """
        return self.project(relation, [column.term for column in relation.columns])

    def where(self, relation: Relation, condition: Term) -> Relation:
        """The rows for which a condition is true.

        (L): row by row, since the condition is total, deterministic, and a function of one row.
        """
        self._check(relation, condition)
        test = need(condition, "bool", "WHERE").safe
        body = f"SELECT {names(relation.columns)} FROM {relation.name} WHERE {test}"
        return self._relation(
            "filter", body, relation.columns, [relation], relation.rows, private=relation.private
        )

    def project(self, relation: Relation, terms: Sequence[Term]) -> Relation:
        """A column for each term.

        (L): row by row. A column is the person's only if its term *is* that column: a term over it is not.
        """
        self._check(relation, *terms)
        terms = [self._typed(term) for term in terms]
        columns = [self._of(term) for term in terms]
        body = f"SELECT {items(columns, [term.safe for term in terms])} FROM {relation.name}"
        return self._relation("project", body, columns, [relation], relation.rows, private=relation.private)

    def group(self, relation: Relation, keys: Sequence[Term], aggregates: Sequence[Aggregate]) -> Relation:
        """GROUP BY: the keys, then the aggregates.

        Side condition: a key is the person's column. (L): then no group holds rows of two people, and each
        aggregate is a function of the multiset of one group's rows. With the person's column as the only key,
        a person has one row; else no more than before.
        """
        if not relation.private:
            refuse(
                Code.RELATION_PUBLIC,
                "GROUP BY of a table of constants",
                "aggregate it by hand before it goes into the recipe",
            )
        if not any(key.unit for key in keys):
            refuse(
                Code.RELATION_NO_UNIT,
                "GROUP BY makes groups of several people",
                f"add the column of the person to GROUP BY{'; a term over it is not enough' if keys else ''}",
            )
        self._check(relation, *keys)
        for key in keys:
            check_key(key, "a term of GROUP BY")
        for each in aggregates:
            check_over(relation, each)
        columns = [*(self._of(key) for key in keys), *(self._made(each) for each in aggregates)]
        written = items(columns, [*(key.safe for key in keys), *(each.sql for each in aggregates)])
        body = f"SELECT {written} FROM {relation.name} GROUP BY {', '.join(key.safe for key in keys)}"
        rows = 1 if all(key.unit for key in keys) else relation.rows
        width = sum(key.type.width for key in keys)
        keeps = tuple(width + each.keeps for each in aggregates if each.keeps)
        return self._relation("group", body, columns, [relation], rows, keeps=keeps)

    def distinct(self, relation: Relation) -> Relation:
        """DISTINCT. (L): GROUP BY all columns, one of which is the person's. A public table stays public."""
        if relation.private:
            return self.group(relation, [column.term for column in relation.columns], [])
        body = f"SELECT DISTINCT * FROM {relation.name}"
        return self._relation("distinct", body, relation.columns, [relation], relation.rows, private=False)

    def window(self, relation: Relation, windows: Sequence[Window]) -> Relation:
        """All columns, and one more for each window.

        Side condition, checked where a window is made: PARTITION BY holds the person's column. (L): then a
        window is a function of one person's rows; rows that its completed order cannot tell apart are equal
        bit for bit, so that it does not matter which comes first. Of two windows it would: equal rows could
        come in one order in the first, and in another in the second, and which values stand in one row would
        depend on that. So if there is more than one of these, the relation has a column of places.
        """
        if not relation.private:
            refuse(Code.RELATION_PUBLIC, "a window over constants", "write the values into the recipe")
        if sum(each.by_place for each in windows) > 1 and not any(each.place for each in relation.columns):
            raise AssertionError("two windows that tell equal rows apart, each in its own way")
        for each in windows:
            check_over(relation, each)
        columns = [self._made(each) for each in windows]
        written = items(columns, [each.sql for each in windows])
        body = f"SELECT {names(relation.columns)}, {written} FROM {relation.name}"
        return self._relation("window", body, [*relation.columns, *columns], [relation], relation.rows)

    def placed(self, relation: Relation) -> Relation:
        """All columns, and each row's place among the rows of its person, in the order of all columns.

        (L): as a window; rows of the same bits get the places that they have together.
        """
        by = f'PARTITION BY "{relation.unit.id}" ORDER BY {total_order(relation)}'
        place = replace(self._column(Type("int"), nullable=False), place=True)
        body = (
            f'SELECT {names(relation.columns)}, row_number() OVER ({by}) AS "{place.id}" FROM {relation.name}'
        )
        return self._relation("number", body, [*relation.columns, place], [relation], relation.rows)

    def first_rows(self, relation: Relation, most: int, order: Order = ()) -> Relation:
        """The first rows of each person, at most `most`, by an order that ends in all columns.

        (L): a row number within one person's rows, and a condition on it; rows of the same bits are as good
        as each other.
        """
        if not 1 <= most <= MAX_ROWS_A_PERSON:
            refuse(Code.RELATION_ROWS, f"{most} rows a person", f"1 to {MAX_ROWS_A_PERSON}")
        if relation.rows is not None and relation.rows <= most:
            return relation
        self._check(relation, *(term for _, term in order))
        by = f'PARTITION BY "{relation.unit.id}" ORDER BY {total_order(relation, order)}'
        place = self._column(Type("int"), nullable=False)
        body = (
            f'SELECT {names(relation.columns)}, row_number() OVER ({by}) AS "{place.id}" FROM {relation.name}'
        )
        numbered = self._relation("number", body, [*relation.columns, place], [relation], relation.rows)
        body = f'SELECT {names(relation.columns)} FROM {numbered.name} WHERE "{place.id}" <= {most}'
        return self._relation("first", body, relation.columns, [numbered], most)
