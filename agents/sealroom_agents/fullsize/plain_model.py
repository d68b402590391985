# SPDX-License-Identifier: Apache-2.0
"""A model without privacy: a recipe's layers and loss in plain torch, fitted to the same people as a data
scientist would, in minibatches by Adam, with a learning rate that falls to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sealroom.privacy.features import Feature
from sealroom.recipe.outputs import Field
from sealroom.safetensors import Tensor
from sealroom.training.task import Training
from sealroom_agents.fullsize.answers import PLAIN_AUC, RELEASED_AUC, Key

if TYPE_CHECKING:
    import pandas as pd
    import torch

PASSES, ROWS, RATE = 30, 512, 0.01
"""Passes over the people, rows of a minibatch, and the learning rate of the first pass."""
MOST_LOSS = 4.0
"""What a recipe holds the loss of one row to."""
Batch = tuple[Any, Any]


@dataclass(frozen=True)
class Table:
    """People who have all values, by whether they are trained on or tested."""

    train: Batch
    """Inputs, rows × inputs, and what is told, as 32-bit floats."""
    held: Batch


def model(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    """The number of people, and the loss and the score of those held out; of a model that tells one outcome
    also the area under the curve of the released weights, from the labels themselves. Nothing of a model of
    lists."""
    import torch

    spec = field.spec
    if spec.vectors:
        return
    table = table_of(spec, people)
    torch.manual_seed(0)
    fitted = network(spec)
    fit(fitted, spec.loss, table.train)
    inputs, told = table.held
    yield ("people", "people", ()), float(len(table.train[0]))
    with torch.no_grad():
        outputs = fitted(inputs)
        losses = _LOSSES[spec.loss](outputs, told, "none")
        yield ("held_out", "loss", ()), float(losses.clamp(max=MOST_LOSS).mean())
        if spec.loss == "classes":
            yield ("held_out", "accuracy", ()), float((outputs.argmax(1) == told).double().mean())
        if spec.loss == "binary" and 0 < told.sum() < len(told):
            area = _area(outputs, told)
            yield ("held_out", "auc", ()), area
            yield PLAIN_AUC, area
            tensors = field.kind.tensors(spec, value)
            if tensors:
                yield RELEASED_AUC, _area(released(spec, tensors)(inputs), told)


def table_of(spec: Training, people: pd.DataFrame) -> Table:
    """The recipe's inputs and labels: features within ±1 by their bounds, one of 0 or 1 for each label."""
    import torch

    columns = [_scaled(_number(people, each.name), each) for each in spec.features]
    for name, labels in spec.groups:
        texts = _texts(people, name)
        known = np.isin(texts, labels)
        columns += [np.where(known, texts == label, np.nan) for label in labels]
    held = _number(people, spec.held_out)
    if spec.loss == "classes":
        texts = _texts(people, spec.label)
        told = np.full(len(people), np.nan)
        for place, label in enumerate(spec.classes):
            told[texts == label] = place
    else:
        told = _number(people, spec.label)
        known = ~np.isnan(told)
        told = _scaled(told, spec.target) if spec.target else np.where(known, told > 0.5, np.nan)
    inputs = np.stack(columns, axis=1)
    whole = ~np.isnan(inputs).any(axis=1) & ~np.isnan(told) & ~np.isnan(held)

    def rows(of: np.ndarray[Any, Any]) -> Batch:
        kind = np.int64 if spec.loss == "classes" else np.float32
        return torch.from_numpy(inputs[of].astype(np.float32)), torch.from_numpy(told[of].astype(kind))

    return Table(rows(whole & (held <= 0.5)), rows(whole & (held > 0.5)))


def network(spec: Training) -> torch.nn.Sequential:
    """The recipe's layers."""
    from torch import nn

    def made(layer: Any) -> nn.Module:
        if layer.name == "linear":
            return nn.Linear(layer.before[0], layer.after[0])
        if layer.name == "conv2d":
            return nn.Conv2d(
                layer.before[0], layer.after[0], layer.kernel, stride=layer.stride, padding=layer.padding
            )
        if layer.name == "unflatten":
            return nn.Unflatten(1, layer.after)
        pools = {"avg_pool2d": nn.AvgPool2d, "max_pool2d": nn.MaxPool2d}
        if layer.name in pools:
            return pools[layer.name](layer.kernel)
        names = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
        return {"flatten": nn.Flatten, **names}[layer.name]()

    return nn.Sequential(*map(made, spec.layers.layers))


def released(spec: Training, tensors: Sequence[Tensor]) -> torch.nn.Sequential:
    """The network with released weights."""
    import torch

    found = network(spec)
    with torch.no_grad():
        for held, tensor in zip(found.parameters(), tensors, strict=True):
            numbers = np.frombuffer(tensor.data, dtype="<f4").copy()
            held.copy_(torch.from_numpy(numbers).reshape(tensor.shape))
    return found


def fit(fitted: torch.nn.Sequential, loss: str, train: Batch) -> None:
    """Train the network in place."""
    import torch

    inputs, told = train
    optimiser = torch.optim.Adam(fitted.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, PASSES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # minibatches gain nothing by a second one, which waits at full speed
    for _ in range(PASSES):
        for batch in torch.randperm(len(inputs)).split(ROWS):
            optimiser.zero_grad()
            _LOSSES[loss](fitted(inputs[batch]), told[batch], "mean").backward()
            optimiser.step()
        falling.step()
    torch.set_num_threads(threads)


def _binary(outputs: Any, told: Any, how: str) -> Any:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(outputs[:, 0], told, reduction=how)


def _classes(outputs: Any, told: Any, how: str) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(outputs, told, reduction=how)


def _squared(outputs: Any, told: Any, how: str) -> Any:
    from torch.nn import functional

    return functional.mse_loss(outputs[:, 0], told, reduction=how) / 2


_LOSSES: dict[str, Callable[[Any, Any, str], Any]] = {
    "binary": _binary, "classes": _classes, "squared": _squared
}  # fmt: skip


def _area(outputs: Any, told: Any) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(told.numpy(), outputs.detach().numpy()[:, 0]))


def _scaled(values: np.ndarray[Any, Any], feature: Feature) -> np.ndarray[Any, Any]:
    middle, half = feature.middle_and_half
    return np.clip((values - middle) / half, -1.0, 1.0)


def _number(people: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(people[name].astype("float64"))


def _texts(people: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    """Labels as they are declared: truth values in small letters."""
    column = people[name]
    texts = np.asarray(column.astype(str), dtype=object)
    return np.array([each.lower() for each in texts]) if column.dtype == bool else texts
