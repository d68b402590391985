# SPDX-License-Identifier: Apache-2.0
"""Random chains of rules over random data: property (L) holds for what the calculus makes, not for a list of
queries. No SQL is written here, and no front end is in between."""

from __future__ import annotations

import datetime
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.enclave.relation.world import PT, TX, World, by_person, engine

from sealroom.errors import RecipeError
from sealroom.relation import functions
from sealroom.relation.calculus import Calculus
from sealroom.relation.relations import Relation
from sealroom.relation.terms import Term, literal

INPUTS = {"tx": TX, "pt": PT}
SCALARS = [name for name in functions.SCALARS if not name.startswith("to_")]
CONSTANTS = st.sampled_from(
    [0, 1, -1, 2, 2**62, Decimal("0.5"), Decimal("-99.99"), "a", "", "%", "year", "day", True, 0.5, 1e300,
     datetime.date(2024, 2, 29), datetime.datetime(1, 1, 1), None]
)  # fmt: skip


@st.composite
def terms(draw: st.DrawFn, relation: Relation, depth: int = 2) -> Term:
    """A term over a relation's columns: what the calculus refuses becomes a plain column."""
    if depth == 0 or draw(st.booleans()):
        if draw(st.integers(0, 3)) == 0:
            return literal(draw(CONSTANTS))
        return draw(st.sampled_from(relation.columns)).term
    parts = [draw(terms(relation, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    first = parts[0]
    with suppress(RecipeError):
        match draw(st.integers(0, 4)):
            case 0:
                return functions.compare(draw(st.sampled_from(functions.COMPARISONS)), first, parts[-1])
            case 1:
                return functions.is_null(first, yes=draw(st.booleans()))
            case 2:
                return functions.case([(draw(conditions(relation)), first)], parts[-1])
            case 3:
                return functions.attempt(first)
            case _:
                return functions.scalar(draw(st.sampled_from(SCALARS)), parts)
    return first


@st.composite
def conditions(draw: st.DrawFn, relation: Relation) -> Term:
    a, b = draw(terms(relation, 1)), draw(terms(relation, 1))
    with suppress(RecipeError):
        return functions.compare(draw(st.sampled_from(functions.COMPARISONS)), a, b)
    return functions.is_null(a, yes=False)


@st.composite
def aggregates(draw: st.DrawFn, relation: Relation) -> functions.Aggregate:
    name = draw(st.sampled_from(functions.AGGREGATES))
    given_terms = [draw(terms(relation, 1)) for _ in range(draw(st.integers(1, 2)))]
    order = [functions.order_item(relation.unit.term, descending=True, nulls_first=False)]
    where = draw(st.none() | conditions(relation))
    with suppress(RecipeError):
        distinct = draw(st.booleans())
        in_order = order if name in ("first", "last") else ()
        return functions.aggregate(
            name, given_terms, relation, distinct=distinct, where=where, order=in_order
        )
    return functions.aggregate("max", [draw(st.sampled_from(PLAIN))(relation)], relation)


def _a_column(place: int) -> Any:
    def pick(relation: Relation) -> Term:
        plain = [each for each in relation.columns if each.type.kind != "list"]
        return plain[place % len(plain)].term

    return pick


PLAIN = [_a_column(place) for place in range(8)]


@st.composite
def relations(draw: st.DrawFn) -> Relation:
    """A chain of rules over the two tables."""
    calculus = Calculus(INPUTS)
    relation, _ = calculus.scan(draw(st.sampled_from(["tx", "pt"])))
    for _ in range(draw(st.integers(1, 5))):
        with suppress(RecipeError):
            relation = draw(steps(calculus, relation))
    return calculus.first_rows(relation, draw(st.integers(1, 20)))


@st.composite
def steps(draw: st.DrawFn, calculus: Calculus, relation: Relation) -> Relation:
    keys = [relation.unit.term]
    match draw(st.integers(0, 7)):
        case 0:
            return calculus.where(relation, draw(conditions(relation)))
        case 1:
            more = [draw(terms(relation)) for _ in range(draw(st.integers(1, 4)))]
            return calculus.project(relation, [*keys, *more])
        case 2 | 3:
            keys += [draw(terms(relation, 1)) for _ in range(draw(st.integers(0, 2)))]
            made = [draw(aggregates(relation)) for _ in range(draw(st.integers(1, 3)))]
            return calculus.group(relation, keys, made)
        case 4:
            name = draw(st.sampled_from(functions.WINDOWS))
            arguments = [draw(terms(relation, 1))] if name not in ("row_number", "rank", "dense_rank") else []
            by = functions.order_item(
                draw(st.sampled_from(PLAIN))(relation), descending=False, nulls_first=True
            )
            rows = draw(st.none() | st.just(("1 PRECEDING", "CURRENT ROW")))
            window = functions.window(name, arguments, relation, keys, [by], rows=rows)
            return calculus.window(relation, [window])
        case 5:
            by = functions.order_item(
                draw(st.sampled_from(PLAIN))(relation), descending=True, nulls_first=False
            )
            return calculus.first_rows(relation, draw(st.integers(1, 9)), [by])
        case 6:
            return calculus.distinct(relation)
        case _:
            other, _ = calculus.scan(draw(st.sampled_from(["tx", "pt"])))
            other = calculus.first_rows(other, draw(st.integers(1, 3)))
            kind = draw(st.sampled_from(["inner", "left", "semi", "anti"]))
            return calculus.join(kind, calculus.first_rows(relation, 300), other)


NUMBERS = st.sampled_from([0, 1, -1, 3, 7, 2**63 - 1, -(2**63), None])
FRACTIONS = st.sampled_from(
    [0.1, 0.2, 0.3, 1e16, -1e16, float("nan"), float("inf"), -0.0, 0.0, None, 1.7e308]
)
AMOUNTS = st.sampled_from([Decimal("0.10"), Decimal("9999999999999999.99"), Decimal("-0.01"), None])
NOTES = st.sampled_from(["", "a", "7", "1e400", "2020-02-30", "é" * 3, "\U0001f600" * 4097, None])
TIMES = st.sampled_from([datetime.datetime(2024, 1, 31), datetime.datetime(1, 1, 1), None])
DAYS = st.sampled_from([datetime.date(1950, 5, 5), datetime.date(9999, 12, 31), None])


def a_row(person: str | None) -> st.SearchStrategy[tuple[Any, ...]]:
    flags = st.sampled_from([True, False, None])
    return st.tuples(st.just(person), AMOUNTS, TIMES, NOTES, flags, NUMBERS, FRACTIONS, NOTES)


def a_person(person: str | None) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(person), DAYS, NOTES, NUMBERS)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, World]:
    """A world, and the same with another person's rows before, behind and among it."""
    people = ["p", "q", "r", None]
    tx = [row for each in people for row in draw(st.lists(a_row(each), max_size=6))]
    pt = [row for each in people for row in draw(st.lists(a_person(each), max_size=3))]
    more_tx = draw(st.lists(a_row("z"), min_size=1, max_size=20))
    more_pt = draw(st.lists(a_person("z"), max_size=4))
    place = draw(st.integers(0, len(tx)))
    own = {"a/tx": tx, "b/tx": [], "a/pt": pt}
    return own, {"a/tx": tx[:place] + more_tx + tx[place:], "b/tx": more_tx[:3], "a/pt": more_pt + pt}


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(relations(), worlds(), st.sampled_from([1, 4]))
def test_a_person_more_changes_nobody_elses_rows(
    relation: Relation, pair: tuple[World, World], threads: int
) -> None:
    """DP-02, DP-03, OU-06: for random rules and random data, bit for bit, and nothing fails."""
    place = relation.columns.index(relation.unit)
    own, other = (by_person(engine(each, threads).run(relation.sql), place) for each in pair)
    assert {person: rows for person, rows in other.items() if person != "z"} == own
    assert all(len(rows) <= (relation.rows or 0) for rows in own.values())
    assert None not in own
