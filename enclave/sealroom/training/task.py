# SPDX-License-Identifier: Apache-2.0
"""What a network is trained for: what it is told, what it tells, and how its weights move."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from sealroom.privacy import evaluation
from sealroom.privacy.features import Feature
from sealroom.training.graph import Graph
from sealroom.training.inputs import Inputs

Loss = Literal["binary", "classes", "squared"]


@dataclass(frozen=True, kw_only=True)
class Training(Inputs):
    """What is trained, and how."""

    layers: Graph
    loss: Loss
    label: str
    """Column that is told: a truth value, a group, or a number."""
    classes: tuple[str, ...]
    """Labels of the group that is told, for the loss `classes`."""
    target: Feature | None
    """The number that is told, with its bounds, for the loss `squared`."""
    held_out: str
    """Column that is above one half for people who are tested and not trained on."""
    batch: Decimal
    """The chance of a person to be in a step; with 1 everybody is in each."""
    clip: Decimal
    """Longest gradient of one row."""
    steps: int
    learning_rate: Decimal
    momentum: Decimal
    seed: int
    """Of the initial weights."""
    curve: int
    """At how many steps the loss is measured, at most."""
    decimals: int

    @property
    def measured(self) -> tuple[int, ...]:
        """The steps before which the loss is measured: first, last, and evenly between."""
        points = min(self.curve, self.steps)
        if points == 1:
            return (0,)
        return tuple(round(Fraction(place * (self.steps - 1), points - 1)) for place in range(points))

    @property
    def cells(self) -> int:
        """Cells of the table of people held out; none for a number that is told."""
        return {"binary": 2 * evaluation.BINS, "classes": len(self.classes) ** 2, "squared": 0}[self.loss]

    @property
    def placed(self) -> bool:
        """Whether a round places the bins of the score before the table is counted."""
        return self.loss == "binary"
