# SPDX-License-Identifier: Apache-2.0
"""A small network, trained with a noisy integer sum of clipped gradients a step, and tested on people held
out.

The layers stand in the recipe, and no code of the researcher runs. `sealroom.training.exact` sums the
gradients; its head has the proof that a row adds a vector of whole numbers that is a function of this row and
of the weights, and no longer than the clip. The weights are made of what was released before, so that all
steps are one adaptive sequence of Gaussian draws. The loss curve sums one clamped loss a row, at some of the
steps. A row counts either in training or, where its held-out column says so, in what is summed once training
is done: one cell of 1 in each table of `sealroom.privacy.evaluation`, and a clamped loss with its square. No
row moves parts of the one and of the other, so that both have the whole of μ² (`Part.apart`).

Features and the numbers of lists are scaled by bounds that the recipe has, groups become one input a declared
label, and rows without all of them count nowhere (`sealroom.training.table`). Gradients are averaged over a
noisy number of people, times the chance to be in a step, where steps are over a random part of the people:
the kernel throws the coins, and no number of people in a step is ever used.

Intervals of the loss curve include noise alone. Those of the people held out include the noise and who was
held out: for the AUC, the variance of placements (DeLong, DeLong, Clarke-Pearson 1988) from the noisy table,
with noise by the delta method; for the loss, its noisy second moment. Weights have no interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.encoding import from_base64, to_base64
from sealroom.privacy import evaluation
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.features import Feature
from sealroom.privacy.intervals import NOISE, NOISE_AND_SAMPLING, Z, around, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises, Noisy
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import EVERYBODY, Law, Part, rate_of
from sealroom.privacy.shape import Base64, Label, Number, Row, Rows, Whole, with_interval
from sealroom.safetensors import Tensor
from sealroom.training.checkpoints import Checkpoints, first_head
from sealroom.training.graph import Graph
from sealroom.training.grids import LOSS_LIMIT, LOSS_MOST, LOSS_STEPS, MAX_CLIP, MIN_CLIP, Clip
from sealroom.training.inputs import Inputs
from sealroom.training.optimiser import Checkpoint, packed
from sealroom.training.task import Loss, Training

if TYPE_CHECKING:
    from sealroom.privacy.people import Booleans, Integers, People
    from sealroom.training.table import Tables

Value = dict[str, Any]
MAX_STEPS = 10_000
MAX_CURVE = 64
MAX_CLASSES = 32
MAX_SEED = 2**53 - 1
_OTHER = Fraction(1, 40)
"""Share of μ² of the number of people and of the loss curve, each, where everybody is in each step."""
_SAMPLED = Fraction(4, 5)
"""Share of μ² of gradients over some of the people. What they leave is the most that parts of people held
out may have: it is all that the accountant counts beside them."""
_HELD = {"held_people": Fraction(1, 20), "held_loss": Fraction(1, 10), "held_scores": Fraction(1, 20)}
"""Shares of the parts of people held out, of what these have; the table has the rest."""
_SCORES = {"binary": "auc", "classes": "accuracy", "squared": None}
"""What the table of people held out gives, by loss."""
_LOSSES: tuple[Loss, ...] = ("binary", "classes", "squared")
_LOSS = re.compile("|".join(_LOSSES))
_ONE_TO_ZERO = {"lower": Decimal(0), "upper": Decimal(1)}
_LOSS_BOUNDS = {"lower": Decimal(0), "upper": Decimal(LOSS_LIMIT)}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is released so far."""

    people: Fraction
    checkpoint: Checkpoint
    losses: tuple[Fraction, ...]
    ends: tuple[float, ...] = ()
    """Of the bins of the score, once they are placed."""
    held: Noisy | None = None
    """The sums over people held out."""


class Model(Kind[Training]):
    """`vectors` is there where a column of lists is an input; `lower` and `upper` are of the label, for the
    loss `squared`."""

    name = "model"
    units: ClassVar[Mapping[str, str]] = dict.fromkeys(("auc", "accuracy"), "share, 0 to 1")
    member_names = (
        "features",
        "vectors",
        "groups",
        "layers",
        "loss",
        "label",
        "lower",
        "upper",
        "held_out",
        "batch",
        "clip",
        "steps",
        "learning_rate",
        "momentum",
        "seed",
        "curve",
        "decimals",
    )
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)
    trains = True

    def read(self, members: Members, groups: Groups) -> Training:
        inputs = Inputs.read(members, groups)
        loss: Loss = _known_loss(members.text("loss", limit=16, pattern=_LOSS, words=", ".join(_LOSSES)))
        label, target = members.column("label"), None
        classes: tuple[str, ...] = ()
        if loss == "classes":
            if label not in groups or not 2 <= len(groups[label]) <= MAX_CLASSES:
                members.fail(f"is told by a label that is no group of 2 to {MAX_CLASSES} labels")
            classes = groups[label]
        elif loss == "squared":
            bounds = {"name": label, "lower": members.raw("lower"), "upper": members.raw("upper")}
            target = Feature.read(bounds, loose=members.loose)
        held_out = members.column("held_out")
        if label in inputs.names or held_out in inputs.names or label == held_out:
            members.fail("has a label or a held-out column that is an input too")
        clip, learning_rate = members.decimal("clip"), members.decimal("learning_rate")
        if not MIN_CLIP <= clip <= MAX_CLIP or not 0 < learning_rate <= 1000:
            bounds_error(
                f"a model needs a clip from {MIN_CLIP} to {MAX_CLIP}, and a learning rate above 0 and at most"
                " 1000"
            )
        batch = members.decimal("batch")
        if not 0 < batch <= 1 or rate_of(batch) < 1:
            bounds_error("the batch of a model is the chance to be in a step, above 0 and at most 1")
        momentum = members.decimal("momentum")
        if not 0 <= momentum < 1:
            bounds_error("the momentum of a model is from 0 to less than 1")
        return Training(
            features=inputs.features,
            vectors=inputs.vectors,
            groups=inputs.groups,
            layers=Graph.read(
                members.raw("layers"), inputs=inputs.inputs, outputs=max(len(classes), 1),
                loose=members.loose,
            ),
            loss=loss,
            label=label,
            classes=classes,
            target=target,
            held_out=held_out,
            batch=batch,
            clip=clip,
            steps=members.integer("steps", 1, MAX_STEPS),
            learning_rate=learning_rate,
            momentum=momentum,
            seed=members.integer("seed", 0, MAX_SEED),
            curve=members.integer("curve", 1, MAX_CURVE),
            decimals=members.decimals(),
        )  # fmt: skip

    def plain(self, spec: Training) -> Value:
        bounds = {} if spec.target is None else spec.target.plain()
        bounds.pop("name", None)
        return {
            "batch": decimal_text(spec.batch),
            "clip": decimal_text(spec.clip),
            "curve": spec.curve,
            "decimals": spec.decimals,
            "held_out": spec.held_out,
            "label": spec.label,
            "layers": spec.layers.plain(),
            "learning_rate": decimal_text(spec.learning_rate),
            "loss": spec.loss,
            "momentum": decimal_text(spec.momentum),
            "seed": spec.seed,
            "steps": spec.steps,
            **spec.written(),
            **bounds,
        }

    def columns(self, spec: Training) -> Columns:
        of = spec.taken()
        numbers = (*of.numbers, spec.held_out)
        if spec.loss == "classes":
            return replace(of, numbers=numbers, groups=(*of.groups, spec.label))
        return replace(of, numbers=(*numbers, spec.label))

    def parts(self, spec: Training, law: Law) -> tuple[Part, ...]:
        length, squared = spec.layers.weights, Clip(value=spec.clip).reach ** 2
        everybody = rate_of(spec.batch) == EVERYBODY
        share = _OTHER if everybody else (1 - _SAMPLED) / 2
        trained = (
            Part(
                name="gradient", length=length, l1=math.isqrt(length * squared) + 1, l2_squared=squared,
                share=1 - 2 * share, draws=spec.steps, rate=rate_of(spec.batch),
            ),
            Part(name="people", length=1, l1=1, l2_squared=1, share=share),
            Part(
                name="loss", length=1, l1=LOSS_MOST, l2_squared=LOSS_MOST**2, share=share,
                draws=len(spec.measured),
            ),
        )  # fmt: skip
        one = (1, 1)
        sizes = {"held_people": (1, *one), "held_loss": (2, 2 * LOSS_MOST, 2 * LOSS_MOST**2)}
        if spec.placed:
            sizes["held_scores"] = (evaluation.CELLS, *one)
        shares = {name: _HELD[name] for name in sizes}
        rest = 1 - sum(shares.values(), Fraction(0))
        if spec.cells:
            sizes["held_table"], shares["held_table"] = (spec.cells, *one), rest
        else:
            shares["held_loss"] += rest
        whole = Fraction(1) if everybody else 1 - _SAMPLED
        tested = (
            Part(name=name, length=length, l1=l1, l2_squared=squared, share=shares[name] * whole, apart=True)
            for name, (length, l1, squared) in sizes.items()
        )
        return (*trained, *tested)

    def tensors(self, spec: Training, value: Mapping[str, Any]) -> tuple[Tensor, ...]:
        [held] = value["model"]
        if held["weights"] is None:
            return ()
        weights = from_base64(held["weights"])
        found, at = [], 0
        for name, shape in spec.layers.tensors():
            end = at + 4 * math.prod(shape)
            found.append(Tensor(name=name, shape=shape, data=weights[at:end]))
            at = end
        return tuple(found)

    def checkpoints(self, spec: Training, value: Mapping[str, Any]) -> Checkpoints | None:
        [held] = value["model"]
        if held["weights"] is None:
            return None
        return Checkpoints(
            first=first_head(spec.layers, spec.seed),
            steps=spec.steps,
            previous=from_base64(held["previous"]),
            head=from_base64(held["checkpoints"]),
        )

    def rounds(self, spec: Training) -> int:
        return spec.steps + (2 if spec.placed else 1)

    def multiplications(self, spec: Training) -> int:
        # a step goes forward once, and twice as much back: to errors, and to gradients
        passes = 3 * spec.steps * Fraction(spec.batch) + len(spec.measured) * (spec.batch < 1) + 2
        return math.ceil(passes * spec.layers.multiplications)

    def warm_up(self) -> None:
        import torch  # noqa: F401

    def prepare(self, spec: Training, law: Law, people: People) -> Tables:
        from sealroom.training.table import Tables

        return Tables(spec, people)

    def of_sample(self, spec: Training, law: Law, prepared: Tables, kept: Mapping[str, Booleans]) -> Tables:
        return prepared.of(kept["gradient"])

    def aggregate(
        self, spec: Training, law: Law, people: Tables, state: Trained | None
    ) -> dict[str, Integers]:
        import numpy as np

        checkpoint = Checkpoint.first(spec.layers, spec.seed) if state is None else state.checkpoint
        step = checkpoint.step
        if step == spec.steps:
            ends = () if state is None else state.ends
            if spec.placed and not ends:
                return {"held_scores": people.placed(checkpoint.weights)}
            return people.tested(checkpoint.weights, ends)
        sums = people.trainer.sums(checkpoint.weights, people.batch)
        found = {"gradient": sums.gradient}
        if step in spec.measured:
            everybody = people.batch is people.train
            loss = sums.loss if everybody else people.lost(checkpoint.weights)
            found["loss"] = np.array([loss], dtype=np.int64)
        if state is None:
            found["people"] = np.array([people.train.count], dtype=np.int64)
        return found

    def advance(
        self, spec: Training, law: Law, state: Trained | None, noisy: Noisy, noise: Noises
    ) -> Trained:
        if state is None:
            state = Trained(
                people=noisy["people"][0], checkpoint=Checkpoint.first(spec.layers, spec.seed), losses=()
            )
        step = state.checkpoint.step
        if step == spec.steps:
            if spec.placed and not state.ends:
                counts = [float(each) for each in noisy["held_scores"]]
                return replace(state, ends=evaluation.ends(counts, noise["held_scores"].sd))
            return replace(state, held=noisy)
        unit = Fraction(1, 2 ** Clip(value=spec.clip).bits)
        checkpoint = state.checkpoint.moved(
            noisy["gradient"],
            step=unit / max(state.people * rate_of(spec.batch) / EVERYBODY, Fraction(1)),
            learning_rate=float(spec.learning_rate),
            momentum=float(spec.momentum),
        )
        losses = (*state.losses, noisy["loss"][0]) if step in spec.measured else state.losses
        return replace(state, checkpoint=checkpoint, losses=losses)

    def least(self, spec: Training, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        found = {"to train on": noise["people"].sd, "held out": noise["held_people"].sd}
        if spec.loss == "binary":
            found["held out of either label"] = noise["held_table"].sd * math.sqrt(evaluation.BINS)
        return tuple(
            Least(of=f"{of.many} {what}", count=ENOUGH * deviation) for what, deviation in found.items()
        )

    def finish(self, spec: Training, law: Law, state: Trained, noise: Noises, cohort: int) -> Value:
        people = people_around(state.people, half_width(noise["people"]))
        few = people["people"] < cohort or state.people < ENOUGH * noise["people"].sd
        rows = []
        for step, total in zip(spec.measured, _padded(state.losses, len(spec.measured)), strict=True):
            mean, wide = _mean_loss(total, state.people, noise["loss"].sd, noise["people"].sd)
            numbers = around("loss", mean, wide, decimals=spec.decimals, **_LOSS_BOUNDS)
            rows.append({"step": str(step), **(dict.fromkeys(numbers) if few else numbers)})
        checkpoint = state.checkpoint
        model = {
            "checkpoints": to_base64(checkpoint.head),
            "previous": to_base64(checkpoint.previous),
            "weights": to_base64(packed(checkpoint.weights)),
        }
        return {
            "groups": rows,
            "held_out": [self._held(spec, state.held, noise, cohort)],
            "interval": NOISE,
            "model": [dict.fromkeys(model) if few else model],
            "people": [dict.fromkeys(people) if few else people],
        }

    def _held(self, spec: Training, held: Noisy | None, noise: Noises, cohort: int) -> Value:
        """The numbers of the people held out; of none where the noise is not drawn yet."""
        held = held or {
            name: [Fraction(0)] * max(spec.cells, 2) for name in ("held_people", "held_loss", "held_table")
        }
        count = held["held_people"][0]
        shown: Value = people_around(count, half_width(noise["held_people"]))
        few = shown["people"] < cohort or count < ENOUGH * noise["held_people"].sd
        sd, people_sd = noise["held_loss"].sd, noise["held_people"].sd
        mean, wide = _mean_loss(held["held_loss"][0], count, sd, people_sd)
        second, _ = _mean_loss(held["held_loss"][1] * LOSS_LIMIT, count, sd, people_sd)
        spread = max(float(second - mean * mean), 0.0) / max(float(count), 1.0)
        shown.update(
            around(
                "loss", mean, math.hypot(wide, Z * math.sqrt(spread)), decimals=spec.decimals, **_LOSS_BOUNDS
            )
        )
        told = _SCORES[spec.loss]
        if told is not None:
            found = evaluation.area if spec.loss == "binary" else evaluation.accuracy
            table = [float(each) for each in held["held_table"]]
            score, deviation, enough = found(table, noise["held_table"].sd)
            few = few or not enough
            shown.update(around(told, Fraction(score), Z * deviation, decimals=spec.decimals, **_ONE_TO_ZERO))
        return {**(dict.fromkeys(shown) if few else shown), "interval": NOISE_AND_SAMPLING}

    def rows(self, spec: Training) -> int:
        return len(spec.measured) + 3

    def shape(self, spec: Training) -> Row:
        loss = with_interval("loss", Number(decimals=spec.decimals, **_LOSS_BOUNDS))
        people = with_interval("people", Whole())
        held = {**people, **loss, "interval": Label(NOISE_AND_SAMPLING)}
        name = _SCORES[spec.loss]
        if name is not None:
            held.update(with_interval(name, Number(decimals=spec.decimals, **_ONE_TO_ZERO)))
        model = {
            "checkpoints": Base64(32), "previous": Base64(32), "weights": Base64(4 * spec.layers.weights)
        }  # fmt: skip
        curve = [Row({"step": Label(str(step)), **loss}, hides=True) for step in spec.measured]
        return Row(
            {
                "groups": Rows(curve),
                "held_out": Rows([Row(held, hides=True)]),
                "interval": Label(NOISE),
                "model": Rows([Row(model, hides=True)]),
                "people": Rows([Row(people, hides=True)]),
            }
        )

    def preview(self, spec: Training, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        gradient = half_width(noise["gradient"]) / Clip(value=spec.clip).reach
        return (
            Bar(about=f"one step's sum, in {of.many} that pull with full length", half_width=gradient),
            Bar(about=f"{of.many} that the model is of", half_width=half_width(noise["people"])),
            Bar(about=f"{of.many} held out", half_width=half_width(noise["held_people"])),
        )

    def sentence(self, spec: Training, of: Counted) -> str:
        over = "" if spec.batch == 1 else f" over {100 * spec.batch:f} % of {of.many} each"
        bounds = "" if spec.target is None else f" ({spec.target.lower:f} to {spec.target.upper:f})"
        return (
            f"Network that tells {spec.label}{bounds} from {spec.words()}, trained in {spec.steps}"
            f" steps{over}. All of its {spec.layers.weights:,} weights are released, and its loss at"
            f" {len(spec.measured)} of the steps. In each step, one {of.one} moves the sum by a vector no"
            f" longer than {spec.clip:f}. It is tested on {of.many} with {spec.held_out}."
            f" {of.many.capitalize()} without all values count nowhere."
        )


def _known_loss(text: str) -> Loss:
    return next(loss for loss in _LOSSES if loss == text)


def _padded(losses: Sequence[Fraction], length: int) -> list[Fraction]:
    """As many losses as the shape has, where not all steps were made."""
    return [*losses, *[Fraction(0)] * (length - len(losses))]


def _mean_loss(total: Fraction, people: Fraction, sd: float, people_sd: float) -> tuple[Fraction, float]:
    """The mean loss, and half of the width that the noise of the sum and of the people gives it."""
    count = max(people, Fraction(1))
    mean = max(min(total / LOSS_STEPS / count, Fraction(LOSS_LIMIT)), Fraction(0))
    return mean, Z * math.hypot(sd / LOSS_STEPS, float(mean) * people_sd) / float(count)


KIND = Model()
