# SPDX-License-Identifier: Apache-2.0
"""The layers of a network, as a recipe lists them: strictly read, with the shapes of one sample.

A network is a list, and each layer takes what the one before it gave::

    [{"linear": 32}, "relu", {"linear": 1}]
    [{"unflatten": [1, 8, 8]}, {"conv2d": {"channels": 8, "kernel": 3, "padding": 1, "stride": 1}}, "relu",
     {"max_pool2d": 2}, "flatten", {"linear": 10}]

Each layer computes one sample alone. What does not (batch normalisation) or what draws (dropout) is not in
the list, so that a row's gradient is a function of this row and of the weights. Errors are `RecipeError`
(`recipe-field`, `recipe-bounds`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.privacy.members import Members, bounds_error
from sealroom.spelling import nearest

MAX_LAYERS = 64
MAX_WEIGHTS = 100_000
"""Most weights of a network: each gets noise in each step, at some microseconds."""
MAX_SEALED_WEIGHTS = 4_000_000
"""Most weights of a network that is computed and not trained."""
MAX_FAN_IN = 2047
"""Most inputs of a number that a layer computes, its bias apart: sums then stay exact (`grids`)."""
MAX_VALUES = 65_536
"""Most numbers between two layers, for one sample."""
MAX_POSITIONS = 4096
"""Most places of a convolution."""
MAX_KERNELS = 8192
"""Most weights of one convolution: lengths of their gradients then stay exact."""
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu")
_SIZED = ("linear", "conv2d", "avg_pool2d", "max_pool2d", "unflatten")
_BARE = (*ACTIVATIONS, "flatten")

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with the shapes of one sample before and after it."""

    name: str
    before: Shape
    after: Shape
    kernel: int = 0
    """Edge of a convolution's or a pool's square."""
    stride: int = 1
    padding: int = 0

    @property
    def weighted(self) -> bool:
        """Whether it has weights."""
        return self.name in ("linear", "conv2d")

    @property
    def fan_in(self) -> int:
        """Inputs of one number that it computes, the bias apart."""
        return self.before[0] if self.name == "linear" else self.before[0] * self.kernel**2

    @property
    def weights(self) -> int:
        """Its weights, biases among them."""
        return self.after[0] * (self.fan_in + 1) if self.weighted else 0

    @property
    def multiplications(self) -> int:
        """Products of a weight and a number that one sample takes on its way through."""
        return math.prod(self.after) * self.fan_in if self.weighted else 0

    @property
    def weight_shape(self) -> Shape:
        """The shape of its weights, as torch has it; biases have one number for each output."""
        if self.name == "linear":
            return (self.after[0], self.before[0])
        return (self.after[0], self.before[0], self.kernel, self.kernel)

    def plain(self) -> Any:
        if self.name in _BARE:
            return self.name
        if self.name == "linear":
            return {"linear": self.after[0]}
        if self.name == "unflatten":
            return {"unflatten": list(self.after)}
        if self.name == "conv2d":
            return {
                "conv2d": {
                    "channels": self.after[0], "kernel": self.kernel, "padding": self.padding,
                    "stride": self.stride,
                }
            }  # fmt: skip
        return {self.name: self.kernel}


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A network: its layers in order."""

    layers: tuple[Layer, ...]

    @classmethod
    def read(cls, value: Any, *, inputs: int, outputs: int | None, loose: bool = False) -> Graph:
        """Read a list of layers for samples of so many inputs; the last one gives so many outputs. With
        `None`, of a network that is computed and not trained: its last layer is any, and it may be larger.

        `loose` lets a convolution leave out its padding and its stride.
        """
        if not isinstance(value, list) or not 0 < len(value) <= MAX_LAYERS:
            _fail(
                f"layers is not a list of 1 to {MAX_LAYERS} layers", "write layers: [{linear: 32}, relu, …]"
            )
        if inputs > MAX_VALUES:
            bounds_error(f"the network has {inputs} inputs, more than {MAX_VALUES}")
        shape: Shape = (inputs,)
        layers: list[Layer] = []
        for number, item in enumerate(value, 1):
            try:
                layer = _layer(item, shape, loose)
                if math.prod(layer.after) > MAX_VALUES:
                    bounds_error(f"it gives more than {MAX_VALUES} numbers")
            except RecipeError as error:
                raise RecipeError(error.code, f"layer {number}: {error.message}", error.hint) from None
            layers.append(layer)
            shape = layer.after
        graph = cls(layers=tuple(layers))
        last = layers[-1]
        if outputs is not None and (last.name != "linear" or shape != (outputs,)):
            _fail(
                f"layer {len(layers)}: the last one must be linear, with {outputs} outputs, and gives"
                f" {_text(shape)}",
                f"end the list with {{linear: {outputs}}}: the loss does the rest",
            )
        most = MAX_SEALED_WEIGHTS if outputs is None else MAX_WEIGHTS
        if graph.weights > most:
            bounds_error(
                f"the network has {graph.weights} weights, more than {most}", "declare smaller layers"
            )
        return graph

    @property
    def weights(self) -> int:
        """All weights, biases among them."""
        return sum(layer.weights for layer in self.layers)

    def first(self, count: int) -> Graph:
        """Its first layers alone."""
        return Graph(layers=self.layers[:count])

    @property
    def outputs(self) -> Shape:
        """The shape of what the last layer gives for one sample."""
        return self.layers[-1].after

    @property
    def weighted(self) -> list[Layer]:
        """Its layers that have weights, in order."""
        return [layer for layer in self.layers if layer.weighted]

    @property
    def multiplications(self) -> int:
        """Products of a weight and a number that one sample takes on its way through."""
        return sum(layer.multiplications for layer in self.layers)

    def tensors(self) -> list[tuple[str, Shape]]:
        """The tensors of the weights in order, named as torch's `nn.Sequential` names them."""
        named: list[tuple[str, Shape]] = []
        for place, layer in enumerate(self.layers):
            if layer.weighted:
                named.append((f"{place}.weight", layer.weight_shape))
                named.append((f"{place}.bias", (layer.after[0],)))
        return named

    def plain(self) -> list[Any]:
        return [layer.plain() for layer in self.layers]


def _layer(item: Any, before: Shape, loose: bool) -> Layer:
    if isinstance(item, str):
        if item in _SIZED:
            _fail(f"{item} has no size", f"write {{{item}: …}}")
        if item not in _BARE:
            _unknown(item)
        if item == "flatten":
            return Layer(name=item, before=before, after=(math.prod(before),))
        return Layer(name=item, before=before, after=before)
    if not isinstance(item, dict) or len(item) != 1:
        _fail("it is neither a name nor one name with a size", "write relu, or {linear: 32}")
    [(name, size)] = item.items()
    if name not in _SIZED:
        _unknown(name)
    if name == "linear":
        return _linear(size, before)
    if name == "unflatten":
        return _unflatten(size, before)
    if len(before) != 3:
        _fail(
            f"{name} needs channels, height and width, and gets {_text(before)}",
            "begin with {unflatten: [channels, height, width]}",
        )
    return _conv2d(size, before, loose) if name == "conv2d" else _pool(name, size, before)


def _linear(size: Any, before: Shape) -> Layer:
    if len(before) != 1:
        _fail(f"linear needs a list of numbers, and gets {_text(before)}", "write flatten before it")
    layer = Layer(name="linear", before=before, after=(_whole(size, "linear", 1, MAX_FAN_IN),))
    _check_fan_in(layer)
    return layer


def _unflatten(size: Any, before: Shape) -> Layer:
    if not isinstance(size, list) or len(size) != 3:
        _fail("unflatten is not a list of channels, height and width", "write {unflatten: [1, 28, 28]}")
    after = tuple(_whole(each, "unflatten", 1, MAX_VALUES) for each in size)
    if math.prod(after) != math.prod(before):
        _fail(
            f"unflatten makes {_text(after)}, that is {math.prod(after)}, of {math.prod(before)} numbers",
            "its sizes multiplied are what comes in: all inputs, if it is the first layer",
        )
    return Layer(name="unflatten", before=before, after=after)


def _conv2d(size: Any, before: Shape, loose: bool) -> Layer:
    members = Members(size, "conv2d", loose=loose, code=Code.RECIPE_FIELD)
    members.only("channels", "kernel", "padding", "stride")

    def taken(name: str, least: int, usual: int | None = None) -> int:
        if usual is not None and loose and not members.has(name):
            return usual
        return members.integer(name, least, 64)

    channels, kernel = taken("channels", 1), taken("kernel", 1)
    padding, stride = taken("padding", 0, 0), taken("stride", 1, 1)
    members.done()
    height, width = ((edge + 2 * padding - kernel) // stride + 1 for edge in before[1:])
    if min(height, width) < 1 or padding >= kernel:
        _fail(f"conv2d of {kernel} by {kernel} does not fit {_text(before)} with padding {padding}")
    layer = Layer(
        name="conv2d", before=before, after=(channels, height, width), kernel=kernel, stride=stride,
        padding=padding,
    )  # fmt: skip
    _check_fan_in(layer)
    if height * width > MAX_POSITIONS or layer.weights > MAX_KERNELS:
        bounds_error(
            f"a conv2d has more than {MAX_KERNELS} weights or {MAX_POSITIONS} places",
            "use fewer channels, or a pool before it",
        )
    return layer


def _pool(name: str, size: Any, before: Shape) -> Layer:
    kernel = _whole(size, name, 2, 64)
    channels, height, width = before
    if height % kernel or width % kernel:
        _fail(f"{name} of {kernel} does not divide {_text(before)}", "pad the convolution before it")
    return Layer(name=name, before=before, after=(channels, height // kernel, width // kernel), kernel=kernel)


def _check_fan_in(layer: Layer) -> None:
    if layer.fan_in > MAX_FAN_IN:
        bounds_error(f"a number of {layer.name} has {layer.fan_in} inputs, more than {MAX_FAN_IN}")


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        _fail(f"the size of {name} is not a whole number from {low} to {high}")
    return value


def _unknown(name: Any) -> NoReturn:
    said = name if isinstance(name, str) and name.isidentifier() and len(name) < 40 else "one"
    near = nearest(str(said), (*_SIZED, *_BARE))
    _fail(
        f"{said} is none of {', '.join((*_SIZED, *_BARE))}",
        HINTS.get(str(said)) or (f"did you mean {near}?" if near else None),
    )


HINTS = {
    "dropout": "leave dropout out: noise on gradients keeps the network from learning any row by heart",
    "batch_norm": "leave batch norm out: it mixes rows, and one row would move the gradients of all others",
    "softmax": "leave softmax out: the loss classes takes the numbers before it",
    "log_softmax": "leave log_softmax out: the loss classes takes the numbers before it",
}
"""What to write instead of layers that others have."""


def _fail(message: str, hint: str | None = None) -> NoReturn:
    raise RecipeError(Code.RECIPE_FIELD, message, hint)


def _text(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
