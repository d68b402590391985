# SPDX-License-Identifier: Apache-2.0
"""A table of people as a network computes on it: who is trained on, who is held out, and their inputs.

Inputs are features, then the numbers of lists column by column, then one of 0 or 1 for each label of a group.
A row counts where it has all of these and the label; of a row without, nothing is computed. What a row's
inputs are depends on this row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from sealroom.privacy import evaluation
from sealroom.privacy.features import Feature, FeatureList
from sealroom.training.exact import Scored, Trainer
from sealroom.training.grids import INPUT_BITS, LOSS_MOST, Clip
from sealroom.training.rows import Lists, Rows

if TYPE_CHECKING:
    from sealroom.privacy.people import Booleans, Floats, Integers, People
    from sealroom.training.forward import Network
    from sealroom.training.inputs import Inputs
    from sealroom.training.task import Training

_ENTRIES = 2**20
"""Numbers of lists that are looked at at a time, so that long ones take no more memory than short ones."""


class Tables:
    """The rows that have all values, as the steps compute on them."""

    def __init__(self, spec: Training, people: People) -> None:
        self._spec = spec
        held = people.numbers[spec.held_out]
        whole = complete(spec, people) & ~np.isnan(held)
        if spec.loss == "classes":
            told = people.cells([spec.label], [len(spec.classes)])
            whole &= told >= 0
            targets = told.astype(np.float64)
        else:
            number = people.numbers[spec.label]
            whole &= ~np.isnan(number)
            if spec.target is None:
                targets = (number > 0.5).astype(np.float64)
            else:
                targets = _scaled(np.where(np.isnan(number), 0.0, number), spec.target)
        self.trainer = Trainer(spec.layers, spec.loss, Clip(value=spec.clip))
        apart = held > 0.5
        self._trained = np.flatnonzero(whole & ~apart)
        lists = lists_of(self.trainer, spec, people)
        self.train, self.held = (
            rows_of(self.trainer, spec, people, places, lists=lists, targets=targets[places])
            for places in (self._trained, np.flatnonzero(whole & apart))
        )
        self.batch = self.train
        """The rows of this step."""

    def of(self, kept: Booleans) -> Tables:
        """The same with a step over those rows of the table that are kept."""
        other = copy(self)
        other.batch = self.train.taken(np.flatnonzero(kept[self._trained]))
        return other

    def lost(self, weights: Floats) -> int:
        """The losses of all rows that are trained on."""
        return sum(int(chunk.losses.sum()) for chunk in self.trainer.scored(weights, self.train))

    def placed(self, weights: Floats) -> Integers:
        """How many of the people held out have a score in each of the ranges that bins are placed by."""
        found = np.zeros(evaluation.CELLS, dtype=np.int64)
        for scored in self.trainer.scored(weights, self.held):
            found += evaluation.ranges(scored.scores[:, 0] / 2.0**INPUT_BITS)
        return found

    def tested(self, weights: Floats, ends: Sequence[float]) -> dict[str, Integers]:
        """The sums over the people held out; with the ends of the bins of the score."""
        spec = self._spec
        losses, table = np.zeros(2, dtype=np.int64), np.zeros(spec.cells, dtype=np.int64)
        for scored in self.trainer.scored(weights, self.held):
            each = scored.losses
            # a square in steps of the largest loss: no larger than the loss itself
            losses += [each.sum(), ((each * each) // LOSS_MOST).sum()]
            if spec.cells:
                table += np.bincount(_cells(spec, scored, ends), minlength=spec.cells)
        found = {"held_people": np.array([self.held.count], dtype=np.int64), "held_loss": losses}
        return {**found, "held_table": table} if spec.cells else found


def complete(inputs: Inputs, people: People) -> Booleans:
    """Of each row, whether it has all inputs."""
    whole = np.ones(people.count, dtype=np.bool_)
    for feature in inputs.features:
        whole &= ~np.isnan(people.numbers[feature.name])
    for listed in inputs.vectors:
        whole &= _complete(people, listed)
    for name, labels in inputs.groups:
        whole &= people.cells([name], [len(labels)]) >= 0
    return whole


def lists_of(network: Network, inputs: Inputs, people: People) -> tuple[Lists, ...]:
    """All lists of the table, where the network computes."""
    return tuple(Lists.on(network.device, people.vectors[each.name], each) for each in inputs.vectors)


def rows_of(
    network: Network,
    inputs: Inputs,
    people: People,
    places: Integers,
    *,
    lists: tuple[Lists, ...],
    targets: Floats | None = None,
) -> Rows:
    """Some rows of the table, all of them complete, where the network computes."""
    return network.rows(
        _features(inputs, people, places), targets, _ones(inputs, people, places),
        lists=lists, places=places if lists else None,
    )  # fmt: skip


def _features(inputs: Inputs, people: People, places: Integers) -> Any:
    """Rows × features in steps of 2⁻¹⁶, as 32-bit floats, which hold them exactly."""
    found = np.zeros((len(places), len(inputs.features)), dtype=np.float32)
    for at, feature in enumerate(inputs.features):
        found[:, at] = _scaled(people.numbers[feature.name][places], feature)
    return found


def _ones(inputs: Inputs, people: People, places: Integers) -> Any:
    """Rows × groups: the place of the input of the row's label."""
    if not inputs.groups:
        return None
    at = inputs.inputs - sum(len(labels) for _, labels in inputs.groups)
    found = np.zeros((len(places), len(inputs.groups)), dtype=np.int32)
    for number, (name, labels) in enumerate(inputs.groups):
        found[:, number] = at + people.groups[name][places]
        at += len(labels)
    return found


def _complete(people: People, listed: FeatureList) -> Booleans:
    """Of each row, whether no number of its list is missing."""
    found, block = np.ones(people.count, dtype=np.bool_), max(_ENTRIES // listed.length, 1)
    for start in range(0, people.count, block):
        stop = start + block
        found[start:stop] = ~np.isnan(people.entries(listed.name, start, stop)).any(axis=1)
    return found


def _scaled(values: Floats, feature: Feature) -> Floats:
    """Values from −1 to 1 between the feature's bounds, in steps of 2⁻¹⁶."""
    middle, half = feature.middle_and_half
    clamped = np.clip(values, float(feature.lower), float(feature.upper))
    return np.rint(np.clip((clamped - middle) / half, -1.0, 1.0) * (1 << INPUT_BITS))


def _cells(spec: Training, scored: Scored, ends: Sequence[float]) -> Integers:
    """The cell of each row: the label and the bin of the score, or the true class and the one said."""
    if spec.loss == "classes":
        return scored.targets * len(spec.classes) + np.argmax(scored.scores, axis=1)
    return evaluation.cells(scored.scores[:, 0] / 2.0**INPUT_BITS, scored.targets, ends)
