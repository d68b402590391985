# SPDX-License-Identifier: Apache-2.0
"""Sums of clipped gradients over rows, exact to the last bit on any number of threads, and on CUDA.

**Why what a row adds is bounded, and is a function of this row and of the weights alone.** A row's
activations and errors are whole numbers of steps that follow from its own inputs by exact sums over features
and by operations on single numbers (`grids`), so that nothing of them depends on the rows beside it, on where
a chunk ends, or on the machine's vectors. The length of its gradient needs no gradient: for a linear layer it
is the length of the row's errors times that of its inputs, 1 for the bias among them (Goodfellow 2015), and
these squares are exact. The row's errors are multiplied by clip / length, where that is below 1, and cut
towards zero to the grid of the sum; the row adds cut errors × inputs, entry by entry no larger than the
clipped gradient. Its squared length is computed again from these very whole numbers, and compared with the
squared clip, less what that comparison's own rounding may be; a row that fails it adds zeros. So no row adds
a vector longer than the clip, whatever rounding did before. Kernels of convolutions have gradients of their
own for each row, cut in the same way, and their squares, of whole numbers of 26 bits, are exact wherever they
are within the clip.

The sum over a chunk's rows is one matrix product of whole numbers, and chunks add up in 64-bit integers.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sealroom.training import grids
from sealroom.training.graph import ACTIVATIONS, Graph, Layer
from sealroom.training.rows import Lists, Rows

if TYPE_CHECKING:
    import torch

    from sealroom.privacy.people import Floats, Integers

T = TypeVar("T")
_CHUNK_NUMBERS = 1 << 17
"""About so many numbers of the widest layer are computed at a time on a CPU: they stay in its cache."""
_CHUNK_NUMBERS_CUDA = 1 << 25
_CHUNK_ROWS = 16
"""Fewer rows at a time only where they would take more than so many numbers:"""
_CHUNK_MOST = 1 << 22
_AHEAD = 16
"""Chunks a thread whose sums are awaited at a time."""
_UNDER = 1 - 2.0**-40
"""Less than one by more than all rounding of a length: a few dozen operations, each by 2⁻⁵³."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What rows add up to."""

    gradient: Integers
    """One number for each weight, on the grid of the clip."""
    loss: int
    """Their losses, in steps."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What the network says of the rows of one chunk."""

    scores: Floats
    """Rows × outputs, in steps of 2⁻¹⁶ and parts of them."""
    losses: Integers
    """Each row's loss, in steps."""
    targets: Integers
    """As they were given."""


class Trainer:
    """A network, its loss and its clip, ready to compute on rows."""

    def __init__(
        self,
        graph: Graph,
        loss: str,
        clip: grids.Clip,
        *,
        device: str | None = None,
        threads: int | None = None,
        chunk: int | None = None,
    ) -> None:
        """`loss`: `binary`, `classes` or `squared`. What is computed depends on none of `device`, `threads`
        and `chunk`, the rows that are computed at a time."""
        import torch

        self.graph, self.loss, self.clip = graph, loss, clip
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        on_cpu = self.device.type == "cpu"
        self._threads = (threads or len(os.sched_getaffinity(0))) if on_cpu else 1
        widest = max(map(_numbers, graph.layers))
        most = (_CHUNK_NUMBERS if on_cpu else _CHUNK_NUMBERS_CUDA) // widest
        least = max(min(_CHUNK_ROWS, _CHUNK_MOST // widest), 1)
        self._chunk = min(chunk or max(most, least), grids.MAX_CHUNK)
        self._weighted = [layer for layer in graph.layers if layer.weighted]
        self._bits = [grids.error_bits(layer) for layer in self._weighted]

    def rows(
        self,
        inputs: Any,
        targets: Any,
        ones: Any = None,
        *,
        lists: tuple[Lists, ...] = (),
        places: Integers | None = None,
    ) -> Rows:
        """Rows where they are computed on, of arrays of numpy; `lists` are on this trainer's device."""
        import torch

        def held(array: Any) -> Any:
            return None if array is None else torch.from_numpy(array).to(self.device)

        return Rows(
            inputs=held(inputs),
            targets=held(targets),
            lists=lists,
            places=held(places),
            ones=held(ones),
            width=math.prod(self.graph.layers[0].before),
        )

    def sums(self, weights: Floats, rows: Rows) -> Sums:
        """The exact sum of all rows' clipped gradients, and of their losses."""
        import numpy as np

        layers = self._on_grid(weights)
        found = self._over(rows, lambda inputs, targets: self._chunk_sums(layers, inputs, targets))
        total, loss = np.zeros(self.graph.weights, dtype=np.int64), 0
        for gradient, its_loss in found:
            total += gradient
            loss += its_loss
        return Sums(gradient=total, loss=loss)

    def scored(self, weights: Floats, rows: Rows) -> Iterator[Scored]:
        """What the network says of each row, and its loss, chunk by chunk."""
        import numpy as np

        layers = self._on_grid(weights)

        def scored(inputs: Any, targets: Any) -> Scored:
            score, _ = self._forward(layers, inputs, keep=False)
            return Scored(
                scores=score.cpu().numpy(),
                losses=self._losses(score, targets)[1].cpu().numpy().astype(np.int64),
                targets=targets.cpu().numpy().astype(np.int64),
            )

        return self._over(rows, scored)

    # --- chunks ------------------------------------------------------------------------------------------

    def _over(self, rows: Rows, task: Callable[[Any, Any], T]) -> Iterator[T]:
        """The task on each chunk of rows, in order."""
        import torch

        places = range(0, rows.count, self._chunk)

        def one(start: int) -> T:
            return task(*rows.chunk(start, start + self._chunk))

        with _one_thread():
            if self._threads == 1 or len(places) < 2:
                yield from map(one, places)
                return
            # Threads that compute a chunk each: small chunks gain nothing from threads within an operation.
            workers = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
            ahead = _AHEAD * self._threads
            with workers as pool:
                for first in range(0, len(places), ahead):
                    yield from pool.map(one, places[first : first + ahead])

    def _on_grid(self, weights: Floats) -> list[tuple[Any, Any]]:
        """Weights and biases of each layer that has them, whole steps of 2⁻¹⁶: weights in units, biases in
        steps of inputs, as they add to a score."""
        import numpy as np
        import torch

        most = float(grids.WEIGHT_MOST)
        steps = torch.from_numpy(np.clip(np.rint(weights * 2.0**grids.WEIGHT_BITS), -most, most))
        layers, at = [], 0
        for layer in self._weighted:
            count = layer.fan_in * layer.after[0]
            matrix = steps[at : at + count].reshape(layer.after[0], layer.fan_in).to(self.device)
            # a power of two taken out of each product: sums are as exact, and come in steps of inputs
            matrix = matrix * 2.0**-grids.WEIGHT_BITS
            bias = steps[at + count : at + layer.weights].to(self.device)
            layers.append((matrix, bias))
            at += layer.weights
        return layers

    # --- forward ----------------------------------------------------------------------------------------

    def _forward(
        self, layers: Sequence[tuple[Any, Any]], inputs: Any, *, keep: bool = True
    ) -> tuple[Any, list[Any]]:
        """Scores, and what each layer needs for the way back."""
        import torch

        value, fine, kept = inputs, False, []
        """`fine`: the value is a sum, with 16 bits more behind the steps of 2⁻¹⁶, not yet rounded."""
        following = iter(layers)
        for layer in self.graph.layers:
            state: Any = None
            if layer.weighted:
                value, fine = _rounded(value, fine), True
                matrix, bias = next(following)
                if layer.name == "linear":
                    state = value
                    value = torch.addmm(bias, value, matrix.t())
                else:
                    state = _unfolded(value, layer)
                    value = (torch.matmul(matrix, state) + bias[:, None]).reshape(-1, *layer.after)
            elif layer.name in ACTIVATIONS:
                value, state = self._activated(layer.name, value, fine)
                fine = False
            else:
                value, fine = _rounded(value, fine), False
                if layer.name == "avg_pool2d":
                    window = _windows(value, layer)
                    value = (window.sum(-1) * (1.0 / layer.kernel**2)).round_()
                elif layer.name == "max_pool2d":
                    value, state = _largest(_windows(value, layer))
                else:
                    value = value.reshape(-1, *layer.after)
            if keep:
                kept.append(state)
        return value, kept

    def _activated(self, name: str, value: Any, fine: bool) -> tuple[Any, Any]:
        """The activation in steps of 2⁻¹⁶, and its slope in steps of 2⁻¹⁶; of `relu` the activation, above
        zero where the slope is 1."""
        if name == "relu":
            value = (value.round() if fine else value).clamp(0, float(grids.INPUT_MOST))
            return value, value
        value, slope = _looked_up(_table(name, grids.INPUT_BITS, self.device), value, grids.INPUT_BITS)
        return value.clamp_(-float(grids.INPUT_MOST), float(grids.INPUT_MOST)), slope

    # --- losses -----------------------------------------------------------------------------------------

    def _losses(self, score: Any, targets: Any) -> tuple[Any, Any]:
        """The errors of the scores, in steps of the last layer's grid, and each row's loss in steps."""
        import torch

        bits = self._bits[-1]
        unit = 2.0**bits
        if self.loss == "squared":
            error = (score[:, 0] - targets) * 2.0 ** (bits - grids.INPUT_BITS)
            error = error.round_().clamp_(-grids.ERROR_LIMIT * unit, grids.ERROR_LIMIT * unit)
            loss = (error * error) * (grids.LOSS_STEPS / 2 / unit**2)
            return error[:, None], loss.round_().clamp_(max=grids.LOSS_MOST)
        if self.loss == "binary":
            found, _ = _looked_up(_table("sigmoid", bits, self.device), score, bits)
            found.clamp_(0, unit)
            error = found - targets[:, None] * unit
            right = unit - error.abs()[:, 0]
        else:
            highest = score.max(dim=1, keepdim=True).values
            raised, _ = _looked_up(_exponential(self.device), score - highest, grids.PROBABILITY_BITS)
            raised.clamp_(min=0)
            share = raised / raised.sum(dim=1, keepdim=True)  # the largest is e⁰, so the sum is not zero
            error = (share * unit).round_()
            chosen = targets.long()[:, None]
            right = error.gather(1, chosen)[:, 0]
            error.scatter_add_(1, chosen, torch.full_like(chosen, -1, dtype=error.dtype) * unit)
        # both 2⁻ᵇⁱᵗˢ to 2⁻¹⁶
        place = (right * 2.0 ** (16 - bits)).round_().clamp_(0, 65536).to(torch.int64)
        return error, _surprise(self.device)[place]

    # --- back -------------------------------------------------------------------------------------------

    def _chunk_sums(self, layers: Sequence[tuple[Any, Any]], inputs: Any, targets: Any) -> tuple[Any, int]:
        import torch

        score, kept = self._forward(layers, inputs)
        error, loss = self._losses(score, targets)
        errors = self._propagated(layers, kept, error)
        entering = [state for layer, state in zip(self.graph.layers, kept, strict=True) if layer.weighted]
        gradients = [
            _kernels(error, state) if layer.name == "conv2d" else None
            for layer, error, state in zip(self._weighted, errors, entering, strict=True)
        ]
        # (Σ x²) + 1 of each linear layer's inputs, in steps of 2⁻³²
        squares = [
            None if gradient is not None else (state * state).sum(1) + 4.0**grids.INPUT_BITS
            for gradient, state in zip(gradients, entering, strict=True)
        ]
        factor = self._factor(errors, gradients, squares)
        bits, coarse = self.clip.bits, self.clip.bits - grids.COARSE_BITS
        cut, total = [], torch.zeros_like(factor)
        for error, gradient, square, its_bits in zip(errors, gradients, squares, self._bits, strict=True):
            if gradient is None:
                scale = factor * 2.0 ** (bits - grids.INPUT_BITS - its_bits)
                cut.append((error * scale[:, None]).trunc_())
                total = total + (cut[-1] * cut[-1]).sum(1) * square
            else:
                scale = factor * 2.0 ** (coarse - grids.INPUT_BITS - its_bits)
                cut.append((gradient * scale[:, None, None]).trunc_())
                total = total + (cut[-1] * cut[-1]).sum((1, 2)) * 4.0**grids.COARSE_BITS
        within = total <= float(self.clip.reach**2) * _UNDER
        if not bool(within.all()):
            cut = [each * within.reshape(-1, *[1] * (each.dim() - 1)) for each in cut]
        parts = []
        for each, state, gradient in zip(cut, entering, gradients, strict=True):
            if gradient is None:
                parts += [torch.mm(each.t(), state).reshape(-1), each.sum(0) * 2.0**grids.INPUT_BITS]
            else:
                whole = each.sum(0) * 2.0**grids.COARSE_BITS
                parts += [whole[:, :-1].reshape(-1), whole[:, -1]]
        return torch.cat(parts).to(torch.int64).cpu().numpy(), int(loss.sum().item())

    def _propagated(self, layers: Sequence[tuple[Any, Any]], kept: Sequence[Any], error: Any) -> list[Any]:
        """The errors of each layer that has weights, on the grid of each."""
        import torch

        errors: list[Any] = [error]
        number = len(layers) - 1
        """The layer with weights that was passed last."""
        value, scale = error, 1.0
        """An error is value × scale, in units."""
        for place in range(len(self.graph.layers) - 1, -1, -1):
            layer, state = self.graph.layers[place], kept[place]
            if layer.weighted:
                if place != len(self.graph.layers) - 1:
                    limit = grids.ERROR_LIMIT * 2.0 ** self._bits[number]
                    scale *= 2.0 ** self._bits[number]
                    value = (value if scale == 1 else value * scale).round().clamp_(-limit, limit)
                    errors.insert(0, value)
                if number == 0:
                    return errors
                matrix, _ = layers[number]
                scale = 2.0 ** -self._bits[number]
                if layer.name == "linear":
                    value = torch.mm(value, matrix)
                else:
                    value = _folded(torch.matmul(matrix.t(), value.reshape(*value.shape[:2], -1)), layer)
                number -= 1
            elif layer.name == "relu":
                value = torch.ops.aten.threshold_backward(value, state, 0)
            elif layer.name in ACTIVATIONS:
                value, scale = value * state, scale * 2.0**-grids.SLOPE_BITS
            elif layer.name == "avg_pool2d":
                shared = (value * (1.0 / layer.kernel**2))[..., None].expand(*value.shape, layer.kernel**2)
                value = _unwindowed(shared, layer)
            elif layer.name == "max_pool2d":
                slots = torch.arange(layer.kernel**2, device=value.device)
                value = _unwindowed(value[..., None] * (state[..., None] == slots), layer)
            else:
                value = value.reshape(-1, *layer.before)
        raise AssertionError("a network without weights")

    def _factor(self, errors: Sequence[Any], gradients: Sequence[Any], squares: Sequence[Any]) -> Any:
        """What each row's gradient is multiplied by, so that it is no longer than the clip."""
        import torch

        total = torch.zeros(len(errors[0]), dtype=torch.float64, device=self.device)
        for error, gradient, square, bits in zip(errors, gradients, squares, self._bits, strict=True):
            if gradient is None:
                units = 2.0 ** -(2 * bits + 2 * grids.INPUT_BITS)
                total = total + (error * error).sum(1) * square * units
            else:
                most = float(grids.KERNEL_MOST)
                scale = 2.0 ** (grids.KERNEL_BITS - grids.INPUT_BITS - bits)
                steps = (gradient * scale).round_().clamp_(-most, most)
                # each step is right to half of one
                length = (steps * steps).sum((1, 2)).sqrt() + math.sqrt(steps[0].numel()) / 2
                length = length * 2.0**-grids.KERNEL_BITS
                total = total + length * length
        return (float(self.clip.value) * _UNDER / total.sqrt()).clamp_(max=1.0)


def _numbers(layer: Layer) -> int:
    """The most numbers that a row has at a time in a layer: unfolded, or as a gradient of its own."""
    beside = max(math.prod(layer.before), math.prod(layer.after))
    if layer.name != "conv2d":
        return beside
    return max(beside, layer.fan_in * math.prod(layer.after[1:]), layer.weights)


def _rounded(value: Any, fine: bool) -> Any:
    """A value in steps of 2⁻¹⁶, within what the grid holds."""
    most = float(grids.INPUT_MOST)
    return value.round().clamp_(-most, most) if fine else value


def _looked_up(table: tuple[Any, Any], score: Any, bits: int) -> tuple[Any, Any]:
    """A function of a score in steps of 2⁻¹⁶ and parts of them, in steps of 2⁻ᵇⁱᵗˢ, and its slope in steps
    of 2⁻¹⁶.

    The value at the nearest entry, and the slope there times what is left: each of few bits, so that their
    product and their sum are exact.
    """
    import torch

    values, slopes = table
    between = float(1 << (grids.INPUT_BITS - grids.TABLE_BITS))
    reach = float(grids.TABLE_REACH << grids.TABLE_BITS)
    entry = (score * (1 / between)).round_().clamp_(-reach, reach)
    rest = (score - entry * between).clamp_(-between / 2, between / 2)
    place = (entry + reach).to(torch.int32).reshape(-1)
    slope = torch.index_select(slopes, 0, place).reshape(score.shape)
    value = torch.index_select(values, 0, place).reshape(score.shape)
    rest = rest.mul_(slope).mul_(2.0 ** (bits - grids.SLOPE_BITS - grids.INPUT_BITS))
    return rest.add_(value).round_(), slope


def _unfolded(value: Any, layer: Layer) -> Any:
    """Rows × fan-in × places: what each place of a convolution sums over."""
    from torch.nn import functional

    return functional.unfold(value, layer.kernel, padding=layer.padding, stride=layer.stride)


def _folded(value: Any, layer: Layer) -> Any:
    """The sum over all places that an input was part of: the way back of `_unfolded`."""
    from torch.nn import functional

    return functional.fold(value, layer.before[1:], layer.kernel, padding=layer.padding, stride=layer.stride)


def _kernels(error: Any, entering: Any) -> Any:
    """Each row's gradient of a convolution: rows × channels × (fan-in and the bias)."""
    import torch

    flat = error.reshape(*error.shape[:2], -1)
    weights = torch.matmul(flat, entering.transpose(1, 2))
    return torch.cat([weights, flat.sum(2, keepdim=True) * 2.0**grids.INPUT_BITS], dim=2)


def _windows(value: Any, layer: Layer) -> Any:
    """Rows × channels × height × width × the numbers of each square of a pool."""
    channels, height, width = layer.after
    edge = layer.kernel
    split = value.reshape(-1, channels, height, edge, width, edge)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(-1, channels, height, width, edge * edge)


def _unwindowed(value: Any, layer: Layer) -> Any:
    channels, height, width = layer.after
    edge = layer.kernel
    split = value.reshape(-1, channels, height, width, edge, edge)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(-1, *layer.before)


def _largest(window: Any) -> tuple[Any, Any]:
    """The largest number of each square, and its place: the first one of equal numbers."""
    import torch

    best = window[..., 0].clone()
    place = torch.zeros(best.shape, dtype=torch.int64, device=best.device)
    for slot in range(1, window.shape[-1]):
        larger = window[..., slot] > best
        best = torch.where(larger, window[..., slot], best)
        place = torch.where(larger, slot, place)
    return best, place


@lru_cache(maxsize=32)
def _table(name: str, bits: int, device: Any) -> tuple[Any, Any]:
    return _loaded(grids.table(name, bits), device)


@lru_cache(maxsize=4)
def _exponential(device: Any) -> tuple[Any, Any]:
    return _loaded(grids.exponential(), device)


def _loaded(table: grids.Table, device: Any) -> tuple[Any, Any]:
    """As 32-bit floats, which hold whole numbers up to 2²⁴."""
    import torch

    return tuple(
        torch.tensor(each, dtype=torch.float32, device=device) for each in (table.values, table.slopes)
    )


@lru_cache(maxsize=4)
def _surprise(device: Any) -> torch.Tensor:
    import torch

    return torch.tensor(grids.surprise(), dtype=torch.float64, device=device)


_lock = threading.Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes with one thread an operation meanwhile."""
    import torch

    with _lock:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
