# SPDX-License-Identifier: Apache-2.0
"""One released value a declared field, booked before the noise is drawn and remembered afterwards.

The analysis names a field and hands over rows; everything else about a release stands in the recipe
that the owners approved. `Releases.is_released` is what makes `emit_signed` safe:
only these very values may leave (DP-15).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import rounded_text
from sealroom.encoding import canonical
from sealroom.envelope.statement import StatementMechanism
from sealroom.errors import PrivacyError
from sealroom.model.units import MICRO, to_micro
from sealroom.privacy.budget import Budget
from sealroom.privacy.counts import noisy_counts
from sealroom.privacy.groups import cell_names
from sealroom.privacy.means import noisy_means
from sealroom.privacy.rows import Rows
from sealroom.recipe.column_use import field_columns
from sealroom.recipe.contract import OutputContract, Privacy
from sealroom.recipe.outputs import CountField, FieldSpec, LogisticField, MeanField


class Releases:
    """All that one run has let through the noise."""

    def __init__(self, privacy: Privacy, output: OutputContract, *, epsilon_micro: int) -> None:
        """`epsilon_micro` is what the ledger booked for this run."""
        self._privacy = privacy
        self._output = output
        self._budget = Budget(epsilon_micro=epsilon_micro, delta=privacy.delta)
        self._released: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self._mechanisms: list[StatementMechanism] = []

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        """The field's value with noise in it.

        Asked again with the same rows, it gives the same value; with others, it refuses, since the field's ε
        is spent (DP-14). Raises `PrivacyError`: "undeclared-field", "schema-mismatch", "budget-exceeded".
        """
        field = self._output.field(name)
        if field is None or field.kind != kind:
            raise PrivacyError(Code.UNDECLARED_FIELD, "the recipe declares no field of this kind and name")
        self._check_columns(field, rows)
        digest = _digest(rows)
        if name in self._released:
            earlier, value = self._released[name]
            if earlier != digest:
                raise PrivacyError(
                    Code.BUDGET_EXCEEDED, f"the ε of the field {name} is spent: it was released already"
                )
            return value
        self._budget.spend(epsilon_micro=to_micro(field.epsilon), delta=field.delta)
        people = rows.one_per_person()
        if isinstance(field, CountField):
            value = self._count(field, people)
        elif isinstance(field, MeanField):
            value = self._mean(field, people)
        else:
            value = self._logistic(field, people)
        self._released[name] = digest, value
        return value

    def is_released(self, fields: Mapping[str, Any]) -> bool:
        """Whether each of these values is exactly what was released for its field."""
        return all(
            name in self._released and canonical(value) == canonical(self._released[name][1])
            for name, value in fields.items()
        )

    def _check_columns(self, field: FieldSpec, rows: Rows) -> None:
        columns = field_columns(field)
        for names, present in ((columns["numbers"], rows.numbers), (columns["groups"], rows.groups)):
            for name in names:
                if name not in present:
                    raise PrivacyError(
                        Code.SCHEMA_MISMATCH, f"the table for the field {field.name} lacks column {name}"
                    )

    def _count(self, field: CountField, people: Rows) -> dict[str, Any]:
        names = cell_names(field.by, self._output.groups)
        cells = people.cells(field.by, self._output.groups)
        epsilon_micro = to_micro(field.epsilon)
        counts, scale = noisy_counts(cells, groups=len(names), epsilon_micro=epsilon_micro)
        self._note(field, "discrete-laplace on counts", epsilon_micro, f"{scale:.6g} people")
        return {
            "groups": [
                name | {"people": self._shown(count)} for name, count in zip(names, counts, strict=True)
            ]
        }

    def _mean(self, field: MeanField, people: Rows) -> dict[str, Any]:
        names = cell_names(field.by, self._output.groups)
        drawn = noisy_means(
            people.numbers[field.column],
            people.cells(field.by, self._output.groups),
            groups=len(names),
            lower=field.lower,
            upper=field.upper,
            decimals=field.decimals,
            epsilon_micro=to_micro(field.epsilon),
        )
        self._note(
            field, "discrete-laplace on clamped sums", drawn.sum_micro, f"{float(drawn.sum_scale):.6g}"
        )
        self._note(field, "discrete-laplace on counts", drawn.count_micro, f"{drawn.count_scale:.6g} people")
        groups: list[dict[str, Any]] = []
        for name, mean, count in zip(names, drawn.means, drawn.counts, strict=True):
            shown = self._shown(count)
            text = rounded_text(mean, decimals=field.decimals, lower=field.lower, upper=field.upper)
            groups.append({**name, "mean": None if shown is None else text, "people": shown})
        return {"groups": groups}

    def _logistic(self, field: LogisticField, people: Rows) -> dict[str, Any]:
        # torch is most of what this module would cost to import, and not every study trains a model
        from sealroom.privacy.logistic import noisy_logistic

        model = noisy_logistic(
            [people.numbers[feature.name] for feature in field.features],
            people.numbers[field.label],
            features=field.features,
            clip=field.clip,
            steps=field.steps,
            learning_rate=field.learning_rate,
            epsilon_micro=to_micro(field.epsilon),
            delta=field.delta,
        )
        self._note(
            field, "discrete-laplace on the count", model.count_micro, f"{model.count_scale:.6g} people"
        )
        self._note(
            field,
            f"discrete-gaussian on clipped gradients, {field.steps} steps, zCDP",
            model.gradient_micro,
            f"{model.gradient_scale:.6g}",
            field.delta,
        )
        shown = self._shown(model.people)
        coefficients = {
            name: rounded_text(Fraction(value), decimals=field.decimals, lower=field.lower, upper=field.upper)
            for name, value in model.coefficients.items()
        }
        return {"coefficients": None if shown is None else coefficients, "people": shown}

    def stated(self) -> tuple[StatementMechanism, ...]:
        """What was done to each field, for the signed statement.

        In the recipe's order: that of release is the analysis' own choice, and would say something (OU-01).
        """
        place = {field.name: number for number, field in enumerate(self._output.fields)}
        return tuple(sorted(self._mechanisms, key=lambda each: place[each.field]))

    def _shown(self, count: int) -> int | None:
        """A noisy count, or None when it is below the minimum cohort."""
        return count if count >= self._privacy.minimum_cohort else None

    def _note(
        self, field: FieldSpec, mechanism: str, epsilon_micro: int, scale: str, delta: Decimal = Decimal(0)
    ) -> None:
        self._mechanisms.append(
            StatementMechanism(
                field=field.name,
                mechanism=mechanism,
                epsilon=Decimal(epsilon_micro) / MICRO,
                delta=delta,
                scale=scale,
            )
        )


def _digest(rows: Rows) -> bytes:
    digest = hashlib.sha256(rows.units.tobytes())
    for name in sorted(rows.numbers):
        digest.update(name.encode() + b"\0" + rows.numbers[name].tobytes())
    for name in sorted(rows.groups):
        digest.update(name.encode() + b"\0" + rows.groups[name].tobytes())
    return digest.digest()
