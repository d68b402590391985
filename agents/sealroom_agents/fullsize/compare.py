# SPDX-License-Identifier: Apache-2.0
"""Released numbers beside the non-private ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sealroom.recipe import Recipe
from sealroom_agents.fullsize.answers import PLAIN_AUC, RELEASED_AUC, Answers
from sealroom_agents.plots.chart import Mark, panels_of

MOST = 12
"""Most numbers of a field that are listed one by one."""


@dataclass(frozen=True)
class Beside:
    """One field's numbers beside their non-private answers."""

    field: str
    title: str
    pairs: tuple[tuple[Mark, float | None], ...]
    auc: tuple[float, float] | None = None
    """Area under the ROC curve of a model: as released, and without privacy."""

    @property
    def errors(self) -> list[float]:
        return [abs(mark.value - plain) for mark, plain in self.pairs if None not in (mark.value, plain)]  # type: ignore[operator]

    @property
    def held(self) -> tuple[int, int]:
        """How many intervals hold the non-private answer, and of how many."""
        judged = [
            mark.low <= plain <= mark.high
            for mark, plain in self.pairs
            if plain is not None and mark.low is not None and mark.high is not None
        ]
        return sum(judged), len(judged)

    def plain(self) -> dict[str, Any]:
        held, of = self.held
        return {
            "field": self.field,
            "title": self.title,
            "numbers": len(self.pairs),
            "not_released": sum(mark.value is None for mark, _ in self.pairs),
            "median_error": statistics.median(self.errors) if self.errors else None,
            "auc": self.auc and {"released": self.auc[0], "not_private": self.auc[1]},
            "intervals": of,
            "intervals_that_hold_it": held,
            "rows": [
                {"of": list(mark.labels), "released": mark.text, "not_private": plain}
                for mark, plain in self.pairs
            ],
        }

    def lines(self) -> Iterator[str]:
        """As a table for people."""
        held, of = self.held
        yield self.title
        for mark, plain in self.pairs if len(self.pairs) <= MOST else ():
            told = "" if plain is None else f"without privacy {plain:,.6g}"
            yield f"  {', '.join(mark.labels):<28} {mark.text:>42}   {told}".rstrip()
        if self.errors:
            withheld = sum(mark.value is None for mark, _ in self.pairs)
            yield (
                f"  {len(self.pairs):,} numbers, {withheld:,} not released; median error"
                f" {statistics.median(self.errors):,.4g}; {held:,} of {of:,} intervals hold the answer"
                " without privacy"
            )
        if self.auc:
            exactly = "area under the ROC curve of what was released"
            yield f"  {exactly} {self.auc[0]:.4f}, without privacy {self.auc[1]:.4f}"


def beside(recipe: Recipe, fields: Mapping[str, Any], answers: Mapping[str, Answers]) -> list[Beside]:
    """All fields of a result."""
    found: list[Beside] = []
    for field in recipe.output.fields:
        known = answers.get(field.name, {})
        for panel in panels_of(field, fields[field.name], rows=recipe.rows, single=True):
            pairs = tuple((mark, known.get((*panel.of, mark.labels))) for mark in panel.marks)
            auc = known.get(RELEASED_AUC), known.get(PLAIN_AUC)
            first = not any(one.field == field.name for one in found)
            both = (auc[0], auc[1]) if first and auc[0] is not None and auc[1] is not None else None
            found.append(Beside(field.name, panel.title, pairs, both))
    return found
