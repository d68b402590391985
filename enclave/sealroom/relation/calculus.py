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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from sealroom.codes import Code
from sealroom.relation.functions import Order, total_order
from sealroom.relation.inputs import Input, InputColumn
from sealroom.relation.terms import (
    Aggregate,
    Column,
    Term,
    Type,
    Window,
    cast,
    check_key,
    common_type,
    literal,
    need,
    refuse,
    text_type,
    used,
)

MAX_FAN_OUT = 100_000
"""Most rows that one person gets in a join of two tables of many rows a person."""
MAX_PUBLIC_ROWS = 20_000
MAX_STEPS = 400
"""Most steps of a query."""
MAX_ROWS_A_PERSON = 100_000
"""Most rows that a person can have in a result, or be kept with by a row number."""
MAX_WIDTH = 20_000
"""Most columns of one step."""
MAX_WRITTEN = 8_000_000
"""Most characters of the compiled query."""
OWNER = "owner"
"""Name of the text column that says whose dataset a row is of."""


@dataclass(frozen=True)
class Step:
    """One named SELECT of the compiled query."""

    name: str
    body: str
    rule: str
    """Which rule wrote it."""
    inputs: tuple[str, ...] = ()
    """Names of the steps that it reads."""
    width: int = 8
    """About how many bytes one of its rows takes."""
    scans: tuple[str, ...] = ()
    """Datasets that it reads itself."""
    rows: int | None = None
    """As in its relation."""
    private: bool = True
    keeps: tuple[int, ...] = ()
    """About how many bytes of each row of its input it keeps beside its own rows, once an aggregate."""


@dataclass(frozen=True)
class Relation:
    """A relation that rules made."""

    name: str
    columns: tuple[Column, ...]
    steps: Mapping[str, Step]
    """All steps behind it, in order, with its own as the last."""
    rows: int | None
    """Private: most rows that a person has, `None` for any number. Public: its number of rows."""
    private: bool = True

    @property
    def sql(self) -> str:
        """The compiled query: one SELECT."""
        chain = ",\n".join(
            f"{step.name} AS {'NOT MATERIALIZED ' if step.scans else ''}({step.body})"
            for step in self.steps.values()
        )
        return f"WITH {chain}\nSELECT {names(self.columns)} FROM {self.name}"

    @property
    def unit(self) -> Column:
        """Its column of the person."""
        for column in self.columns:
            if column.unit:
                return column
        refuse(
            Code.RELATION_NO_UNIT,
            "a step has lost the column of the person",
            "keep it in every SELECT, as it is: no function, CASE or constant in its place",
        )

    def column(self, id: str) -> Column:
        """One of its columns."""
        return next(column for column in self.columns if column.id == id)


EMPTY = Relation("r0", (), {}, 0, private=False)
"""What constants are read against: it has no columns and no rows."""


def names(columns: Sequence[Column]) -> str:
    return ", ".join(f'"{column.id}"' for column in columns)


def identifier(name: str) -> str:
    """A name of a dataset or of its column, quoted."""
    return '"' + name.replace('"', '""') + '"'


class Calculus:
    """The rules, over the tables of one recipe."""

    def __init__(self, inputs: Mapping[str, Input]) -> None:
        """`inputs` are the tables by name, in lower case."""
        self._inputs = inputs
        self._columns, self._steps = count(1), count(1)
        self._written = 0

    # --- leaves ---------------------------------------------------------------------------------------------

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

    # --- rules of one relation ------------------------------------------------------------------------------

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
        body = f"SELECT {_items(columns, [term.safe for term in terms])} FROM {relation.name}"
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
            _check_over(relation, each)
        columns = [*(self._of(key) for key in keys), *(self._made(each) for each in aggregates)]
        written = _items(columns, [*(key.safe for key in keys), *(each.sql for each in aggregates)])
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
            _check_over(relation, each)
        columns = [self._made(each) for each in windows]
        written = _items(columns, [each.sql for each in windows])
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

    # --- rules of two relations -----------------------------------------------------------------------------

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
            return f"SELECT {_items(columns, [term.safe for term in terms])} FROM {relation.name}"

        rows = None if left.rows is None or right.rows is None else left.rows + right.rows
        body = f"{side(left)} UNION ALL {side(right)}"
        return self._relation("union", body, columns, [left, right], rows)

    # --- what rules share -----------------------------------------------------------------------------------

    def _column(self, type: Type, *, unit: bool = False, nullable: bool = True) -> Column:
        return Column(f"c{next(self._columns)}", type, unit, nullable and not unit)

    def _of(self, term: Term) -> Column:
        return self._column(term.type, unit=term.unit, nullable=term.safe_nullable)

    def _made(self, each: Aggregate | Window) -> Column:
        return self._column(each.type, nullable=each.nullable)

    @staticmethod
    def _typed(term: Term) -> Term:
        """A column has a type: a bare NULL is a whole number, and an interval is no column."""
        if term.type.kind == "span":
            refuse(Code.RELATION_TYPE, "an interval is no column", "add it to a date")
        return cast(term, Type("int")) if term.type.kind == "null" else term

    @staticmethod
    def _check(relation: Relation, *terms: Term) -> None:
        """Terms are over columns of this relation."""
        if not used(terms) <= {column.id for column in relation.columns}:
            raise AssertionError("a term over another relation")

    @staticmethod
    def _check_both(left: Relation, right: Relation, *terms: Term) -> None:
        if not used(terms) <= {column.id for column in (*left.columns, *right.columns)}:
            raise AssertionError("a term over another relation")

    def _relation(
        self,
        rule: str,
        body: str,
        columns: Sequence[Column],
        parents: Sequence[Relation],
        rows: int | None,
        *,
        private: bool = True,
        scans: tuple[str, ...] = (),
        keeps: tuple[int, ...] = (),
    ) -> Relation:
        number = next(self._steps)
        if number > MAX_STEPS or len(columns) > MAX_WIDTH:
            refuse(
                Code.RELATION_TOO_LARGE,
                f"the query needs more than {MAX_STEPS} steps, or {MAX_WIDTH} columns in one",
                "split the study, or select fewer columns",
            )
        steps: dict[str, Step] = {}
        for parent in parents:
            steps |= parent.steps
        self._written += len(body)
        if self._written > MAX_WRITTEN:
            refuse(
                Code.RELATION_TOO_LARGE, "the compiled query would be too long", "use CTEs instead of aliases"
            )
        name = f"r{number}"
        width = sum(column.type.width for column in columns)
        inputs = tuple(parent.name for parent in parents)
        steps[name] = Step(name, body, rule, inputs, width, scans, rows, private, keeps)
        return Relation(name, tuple(columns), steps, rows, private)


def _refuse_public_left(right: Relation) -> None:
    if right.private:
        refuse(
            Code.RELATION_PUBLIC,
            "JOIN with constants on the left and people on the right",
            "put the table of people on the left: which constants find no partner depends on everybody",
        )
    refuse(Code.RELATION_PUBLIC, "JOIN of constants with constants", "join them by hand, in the recipe")


def _check_over(relation: Relation, each: Aggregate | Window) -> None:
    if each.over != relation.name or not each.columns <= {column.id for column in relation.columns}:
        raise AssertionError("an aggregate or a window over another relation")


def _items(columns: Sequence[Column], written: Sequence[str]) -> str:
    return ", ".join(f'{sql} AS "{column.id}"' for sql, column in zip(written, columns, strict=True))


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
