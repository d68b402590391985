# SPDX-License-Identifier: Apache-2.0
"""One released value a declared field, drawn once and remembered afterwards.

The analysis names a field and hands over rows; everything else about a release stands in the recipe that the
owners approved. `compute` is the kernel: it sums, adds noise and lets the field's kind make a value of the
noisy sums. `Releases.is_released` is what makes `emit_signed` safe: only these very values may leave (DP-15).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import PrivacyError
from sealroom.model.units import to_micro
from sealroom.privacy.accountant import holds
from sealroom.privacy.coins import coins
from sealroom.privacy.kind import Columns
from sealroom.privacy.noise import add_noise
from sealroom.privacy.people import People
from sealroom.privacy.rows import Rows
from sealroom.recipe.contract import OutputContract, Privacy
from sealroom.recipe.outputs import Field


class Releases:
    """All that one run has let through the noise."""

    def __init__(
        self, privacy: Privacy, output: OutputContract, *, epsilon_micro: int, rows: int = 1
    ) -> None:
        """`epsilon_micro` is what the ledger booked for this run, `rows` the most rows of one person.

        Raises `PrivacyError` ("budget-exceeded") when the fields together cost more: the chain has booked the
        whole ε before any key was released, and never refunds, so that no failure from here on is a free
        retry (DP-06).
        """
        costs = [field.cost for field in output.fields]
        booked = epsilon_micro >= to_micro(privacy.epsilon)
        if not booked or not holds(costs, epsilon=privacy.epsilon, delta=privacy.delta):
            raise PrivacyError(Code.BUDGET_EXCEEDED, "the fields cost more than was booked for the run")
        self._privacy = privacy
        self._output = output
        self._rows = rows
        self._released: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        """The field's value with noise in it.

        Asked again with the same rows, it gives the same value; with others, it refuses, since the field's
        cost is spent (DP-14). Raises `PrivacyError`: "undeclared-field", "schema-mismatch",
        "budget-exceeded".
        """
        field = self._output.field(name)
        if field is None or field.kind.name != kind:
            raise PrivacyError(Code.UNDECLARED_FIELD, "the recipe declares no field of this kind and name")
        check_table(field.name, field.columns, rows)
        digest = _digest(rows)
        if name in self._released:
            earlier, value = self._released[name]
            if earlier != digest:
                raise PrivacyError(
                    Code.BUDGET_EXCEEDED, f"the ε of the field {name} is spent: it was released already"
                )
            return value
        # So many rows are of as many people at least, of whom each has at most `rows`.
        cohort = self._privacy.minimum_cohort * self._rows
        people = rows.people(self._rows, told_apart=bool(field.cost.sampled))
        value = compute(field, people, cohort=cohort)
        self._released[name] = digest, value
        return value

    def is_released(self, fields: Mapping[str, Any]) -> bool:
        """Whether each of these values is exactly what was released for its field."""
        return all(
            name in self._released and canonical(value) == canonical(self._released[name][1])
            for name, value in fields.items()
        )


def compute(field: Field, people: People, *, cohort: int) -> dict[str, Any]:
    """Release a field from these people, at its whole cost. Nothing here depends on how many they are.

    Draws over a random part of the people are over those that coins say, thrown here for each draw of each
    part: nobody is told how many they are, and a draw over nobody has its noise as any other.

    Raises `PrivacyError` ("budget-exceeded") for a kind that asks for more noisy sums than it declares, and
    what `add_noise` raises.
    """
    kind, spec, law = field.kind, field.spec, field.cost.law
    parts, noise = field.parts(people.rows), field.noise(people.rows)
    prepared, state = kind.prepare(spec, law, people), None
    drawn: Counter[str] = Counter()
    for _ in range(kind.rounds(spec)):
        kept = {name: coins(people, part.rate) for name, part in parts.items() if part.sampled}
        of = kind.of_sample(spec, law, prepared, kept) if kept else prepared
        exact = kind.aggregate(spec, law, of, state)
        drawn.update(exact.keys())
        if any(name not in parts or times > parts[name].draws for name, times in drawn.items()):
            raise PrivacyError(Code.BUDGET_EXCEEDED, f"the field {field.name} asks for more than it costs")
        noisy = {name: add_noise(sums, parts[name], field.cost, noise[name]) for name, sums in exact.items()}
        state = kind.advance(spec, law, state, noisy, noise)
    return field.finished(people.rows, kind.finish(spec, law, state, noise, cohort))


def check_table(field: str, columns: Columns, rows: Rows) -> None:
    """Check that the table for a field has these columns. Raises `PrivacyError` ("schema-mismatch")."""
    for names, present in ((columns.numbers, rows.numbers), (columns.groups, rows.groups)):
        for name in names:
            if name not in present:
                raise PrivacyError(
                    Code.SCHEMA_MISMATCH, f"the table for the field {field} lacks column {name}"
                )
    for name, width in columns.vectors:
        if name not in rows.vectors or rows.vectors[name].shape[1] != width:
            raise PrivacyError(
                Code.SCHEMA_MISMATCH,
                f"the table for the field {field} lacks column {name}, of lists of {width} numbers",
            )


def _digest(rows: Rows) -> bytes:
    digest = hashlib.sha256(_bytes(rows.units))
    for columns in (rows.numbers, rows.groups, rows.vectors):
        for name in sorted(columns):
            digest.update(name.encode() + b"\0")
            digest.update(_bytes(columns[name]))
    return digest.digest()


def _bytes(values: npt.NDArray[Any]) -> memoryview:
    """The same memory: a copy would stop every other thread, for as long as the analysis chose (OU-06)."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
