# SPDX-License-Identifier: Apache-2.0
"""Several rows a person: DuckDB's result goes the way it goes in a run, up to what the noise is added to.

DP-02, DP-03: for every kind and law, a person who comes, goes or is exchanged moves no sum by more than the
bounds of all that person's rows, and no bit of anybody else's row.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES
from tests.enclave.relation.world import TABLES, differences, engine, kept, neighbours, world

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Law
from sealroom.privacy.people import People
from sealroom.privacy.rows import Rows, parse_rows
from sealroom.relation.compiled import Compiled, compile_relation
from sealroom.runtime.relation_job import Result

MOST = 3
"""Rows of a person."""
NUMBERS = tuple(
    dict.fromkeys(
        name
        for case in CASES.values()
        for kind in [KINDS[case.kind]]
        if not kind.of_blocks
        for name in kind.columns(kit.spec_of(kind, case.members)).numbers
    )
)
"""All that some kind reads of a person."""
TERMS = {"x": "x", "y": "n / 7.0"}
ENTRIES = ", ".join(
    f"{TERMS.get(name, f'CASE WHEN n > {place % 9} THEN x END')} AS {name}"
    for place, name in enumerate(NUMBERS)
)
SQL = f"""
    SELECT customer, {ENTRIES},
      CASE WHEN n < 2 THEN '50-59' WHEN n < 5 THEN '60-69' ELSE note END AS band,
      CASE WHEN flag THEN 'F' WHEN NOT flag THEN 'M' END AS sex,
      CASE WHEN n < 3 THEN 'new' WHEN n < 6 THEN 'usual' END AS arm
    FROM tx
"""
"""As many rows as a person has; what is beyond the bound, the compiled SQL leaves out."""
RELEASED = [
    (name, law)
    for name, case in CASES.items()
    if not KINDS[case.kind].of_blocks  # a block is exchanged, not a person
    and not kit.columns_of(case.kind, case.members).vectors  # no table of this world has lists
    for law in KINDS[case.kind].laws
]


class Handed(NamedTuple):
    """What a job hands over."""

    persons: list[object]
    """The person of each row, which does not leave the job."""
    rows: Rows

    def people(self) -> People:
        return self.rows.people(MOST)

    def bits(self, *but: object) -> dict[object, list[bytes]]:
        """The rows of each person but these, in no order."""
        columns = [*self.rows.numbers.values(), *self.rows.groups.values()]
        found: dict[object, list[bytes]] = {}
        for row, person in enumerate(self.persons):
            if person not in but:
                found.setdefault(person, []).append(b"".join(column[row].tobytes() for column in columns))
        return {person: sorted(rows) for person, rows in found.items()}


@cache
def relation() -> Compiled:
    return compile_relation(SQL, TABLES, rows=MOST)


@cache
def worlds() -> dict[str, Handed]:
    """The world; its neighbours by a person more, less or exchanged; and who differs, alone."""
    added = {what: each for what, each, _, _ in neighbours() if "with a" in what}
    found = {"all": world(), **added}
    found |= {f"without {who}": kept(world(), without=who) for who in ("p7", "hot")}
    found |= {f"only {who}": kept(world(), only=who) for who in ("p7", "hot")}
    found |= {f"only the new of {what}": kept(each, only="evil") for what, each in added.items()}
    found |= {f"p7 is {what}": kept(each, without="p7") for what, each in added.items()}
    return {what: handed(each) for what, each in found.items()}


def handed(of: Any) -> Handed:
    on = engine(of, 2)
    table = on.run(relation().sql)
    on.close()
    unit = table.column(relation().unit.id)
    ids = {each.name: each.id for each in relation().columns}
    result = Result(
        table, unit="customer", person=relation().unit.id, rows=MOST, columns=ids, groups=kit.GROUPS
    )
    head, payload = result.handed_over(numbers=NUMBERS, groups=tuple(kit.GROUPS))
    rows = parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="customer")
    return Handed(unit.to_pylist(), rows)


ADDED = ("with a person of extremes", "with a person of 4,000 rows")
CHANGES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    **{f"add: {what}": (what, (f"only the new of {what}",), ()) for what in ADDED},
    **{f"remove {who}": (f"without {who}", (), (f"only {who}",)) for who in ("p7", "hot")},
    **{f"replace: {what}": (f"p7 is {what}", (f"only the new of {what}",), ("only p7",)) for what in ADDED},
}
"""Each change: the neighbour, who came, who went."""


def test_everybody_has_several_rows_and_nobody_more_than_the_bound() -> None:
    counts = [len(rows) for rows in worlds()["all"].bits().values()]
    assert max(counts) == MOST and counts.count(MOST) > 30 and None not in worlds()["all"].persons
    for what in ADDED:
        assert len(worlds()[f"only the new of {what}"].persons) == MOST
    for each in worlds().values():
        assert each.people().count == len(each.persons)  # the kernel drops none of them


@pytest.mark.parametrize("change", CHANGES)
def test_no_bit_of_anybody_elses_rows_moves(change: str) -> None:
    after = worlds()[CHANGES[change][0]]
    assert after.bits("evil", "p7", "hot") == worlds()["all"].bits("evil", "p7", "hot") != {}
    assert not list(differences(relation(), 2))


@pytest.mark.parametrize(("name", "law"), RELEASED)
@pytest.mark.parametrize("change", CHANGES)
def test_no_sum_moves_by_more_than_the_bounds_of_a_persons_rows(change: str, name: str, law: Law) -> None:
    kind = KINDS[CASES[name].kind]
    spec = kit.spec_of(kind, CASES[name].members)
    parts, dice = kit.parts_of(kind, spec, law, MOST), np.random.default_rng(5)
    neighbour, came, went = CHANGES[change]
    for round in range(min(kind.rounds(spec), 2)):
        state = kit._some_state(kind, spec, law, dice) if round else None

        def sums(what: str, state: Any = state) -> dict[str, Any]:
            return kit._sums(kind, spec, law, worlds()[what].people(), parts, state)

        before, after = sums("all"), sums(neighbour)
        for part in before:
            step = (after[part] - before[part]).astype(object)
            own = [sums(who)[part].astype(object) for who in (*came, *went)]
            own_step = sum(own[: len(came)]) - sum(own[len(came) :])
            assert (step == own_step).all()  # what the persons themselves add, whoever else is there
            for vector in own:
                assert abs(vector).sum() <= parts[part].l1
                assert (vector * vector).sum() <= parts[part].l2_squared
            assert abs(step).sum() <= len(own) * parts[part].l1


def test_the_bounds_of_one_row_would_not_do() -> None:
    """The tests above can fail: a person of three rows is counted three times."""
    kind, law = KINDS["count"], "laplace"
    spec = kit.spec_of(kind, {"by": []})
    found = kit._sums(kind, spec, law, worlds()["only hot"].people(), kit.parts_of(kind, spec, law), None)
    assert max(abs(vector).sum() for vector in found.values()) == MOST
    assert {part.l1 for part in kind.parts(spec, law)} == {1}
