# SPDX-License-Identifier: Apache-2.0
"""The attack table: every query is refused by its rule, or its result is one person's business.

A query that is accepted runs over a world and six neighbours of it, on one thread and on four: nobody's row
may depend on others by a bit, and no person's values may fail it (DP-02, DP-03, OU-03, OU-06). Three controls
show that the test sees what the calculus prevents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.enclave.relation.attacks import ACCEPTED, ATTACKS, Attack
from tests.enclave.relation.world import TABLES, differences, engine, run, world

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation import calculus, functions, relations, terms
from sealroom.relation.compiled import Compiled, compile_relation


def compiled(attack: Attack) -> Compiled:
    return compile_relation(attack.sql, TABLES, rows=attack.rows)


@pytest.mark.parametrize(
    "attack", [each for each in ATTACKS if each.verdict != "ok"], ids=lambda each: each.sql
)
def test_it_is_refused_by_its_rule_which_says_how_to_write_it(attack: Attack) -> None:
    """DP-03, OU-03: the refusal is a function of the text alone, and names the operator and a remedy."""
    with pytest.raises(RecipeError) as raised:
        compiled(attack)
    assert raised.value.code == Code(f"relation-{attack.verdict}")
    assert raised.value.message and raised.value.hint


@pytest.mark.parametrize("attack", ACCEPTED, ids=lambda each: each.sql)
def test_no_person_changes_anothers_rows_by_a_bit(attack: Attack) -> None:
    """DP-02, DP-03, OU-06: neighbours differ in one person's rows alone, whatever these are."""
    relation = compiled(attack)
    assert [list(differences(relation, threads)) for threads in (1, 4)] == [[], []]


@pytest.mark.parametrize("attack", ACCEPTED, ids=lambda each: each.sql)
def test_a_person_has_at_most_the_declared_rows(attack: Attack) -> None:
    """DP-02: the bound on rows is enforced, and with one row a person it is one."""
    relation = compiled(attack)
    people = run(relation, engine(world(), 1))
    assert people and None not in people
    assert max(map(len, people.values())) <= relation.rows <= attack.rows


def test_every_rule_has_an_attack() -> None:
    """Each code of a relation's SQL is some query's; those with tests of their own aside."""
    elsewhere = {"parser", "too-large", "failed"}
    words = {code.removeprefix("relation-") for code in Code if code.startswith("relation-")}
    assert words - elsewhere == {attack.verdict for attack in ATTACKS} - {"ok"}
    assert len(ATTACKS) >= 109


# --- controls: without a rule's care, the neighbours differ --------------------------


def _seen(sql: str, rows: int = 1) -> bool:
    """Whether the neighbour test finds a difference, on one thread or on four."""
    relation = compile_relation(sql, TABLES, rows=rows)
    return any(list(differences(relation, threads)) for threads in (1, 4))


def test_ties_are_seen_when_no_order_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_written(relation: relations.Relation, order: functions.Order = ()) -> str:
        return ", ".join(sql for sql, _ in order) or "TRUE"

    sql = "SELECT customer, first(amount ORDER BY n), last(x ORDER BY country) FROM tx GROUP BY customer"
    assert not _seen(sql)
    monkeypatch.setattr(functions, "total_order", as_written)
    assert _seen(sql)


def test_equal_rows_are_seen_when_two_windows_order_them_each_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sql = (
        "SELECT customer, count(*) FILTER (WHERE a = b) AS c FROM (SELECT customer,"
        " row_number() OVER (PARTITION BY customer ORDER BY flag) AS a,"
        " row_number() OVER (PARTITION BY customer ORDER BY country) AS b FROM tx) GROUP BY customer"
    )
    assert not _seen(sql)
    monkeypatch.setattr(calculus.Calculus, "placed", lambda self, relation: relation)
    with pytest.raises(AssertionError, match="equal rows"):
        _seen(sql)
    monkeypatch.setattr(functions, "window", _apart)
    assert _seen(sql)


def _apart(
    *given: object, _window: Callable[..., terms.Window] = functions.window, **named: object
) -> terms.Window:
    """A window that says that equal rows get equal values."""
    return replace(_window(*given, **named), by_place=False)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT customer, sum(n * n * n) AS s FROM tx GROUP BY customer",
        "SELECT customer, sum(CAST(note AS INTEGER)) AS s FROM tx GROUP BY customer",
        "SELECT customer, max(n + 1) AS s FROM tx GROUP BY customer",
    ],
)
def test_errors_are_seen_when_terms_are_bare(sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _seen(sql)
    monkeypatch.setattr(terms.Term, "safe", property(lambda self: self.sql))
    assert _seen_or_failed(sql)


def _seen_or_failed(sql: str) -> bool:
    relation = compile_relation(sql, TABLES)
    try:
        return bool(list(differences(relation, 1)))
    except Exception:  # the world itself fails it, with the values of some person
        return True


def test_sums_of_binary_fractions_are_seen_when_they_are_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_addend", lambda name, term: term)
    assert _seen("SELECT customer, sum(x) AS s FROM tx GROUP BY customer")
