# SPDX-License-Identifier: Apache-2.0
"""Sums of clipped gradients over rows, exact to the last bit on any number of threads, and on CUDA.

**Why what a row adds is bounded, and is a function of this row and of the weights alone.** A row's
activations are (`forward`), and its errors follow from them in the same way: by exact sums and by operations
on single numbers. The length of its gradient needs no gradient: for a linear layer it
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sealroom.training import grids
from sealroom.training.forward import Network, loaded, looked_up, table
from sealroom.training.graph import ACTIVATIONS, Graph, Layer
from sealroom.training.rows import Rows

if TYPE_CHECKING:
    import torch

    from sealroom.privacy.people import Floats, Integers

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


class Trainer(Network):
    """A network, its loss and its clip, ready to compute on rows with targets."""

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
        super().__init__(graph, device=device, threads=threads, chunk=chunk)
        self.loss, self.clip = loss, clip
        self._weighted = graph.weighted
        self._bits = [grids.error_bits(layer) for layer in self._weighted]

    def sums(self, weights: Floats, rows: Rows) -> Sums:
        """The exact sum of all rows' clipped gradients, and of their losses."""
        import numpy as np

        layers = self.on_grid(weights)
        found = self.over(rows, lambda inputs, targets: self._chunk_sums(layers, inputs, targets))
        total, loss = np.zeros(self.graph.weights, dtype=np.int64), 0
        for gradient, its_loss in found:
            total += gradient
            loss += its_loss
        return Sums(gradient=total, loss=loss)

    def scored(self, weights: Floats, rows: Rows) -> Iterator[Scored]:
        """What the network says of each row, and its loss, chunk by chunk."""
        import numpy as np

        layers = self.on_grid(weights)

        def scored(inputs: Any, targets: Any) -> Scored:
            score, _ = self.forward(layers, inputs, keep=False)
            return Scored(
                scores=score.cpu().numpy(),
                losses=self._losses(score, targets)[1].cpu().numpy().astype(np.int64),
                targets=targets.cpu().numpy().astype(np.int64),
            )

        return self.over(rows, scored)

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
            found, _ = looked_up(table("sigmoid", bits, self.device), score, bits)
            found.clamp_(0, unit)
            error = found - targets[:, None] * unit
            right = unit - error.abs()[:, 0]
        else:
            highest = score.max(dim=1, keepdim=True).values
            raised, _ = looked_up(_exponential(self.device), score - highest, grids.PROBABILITY_BITS)
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

        score, kept = self.forward(layers, inputs)
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


def _unwindowed(value: Any, layer: Layer) -> Any:
    channels, height, width = layer.after
    edge = layer.kernel
    split = value.reshape(-1, channels, height, width, edge, edge)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(-1, *layer.before)


@lru_cache(maxsize=4)
def _exponential(device: Any) -> tuple[Any, Any]:
    return loaded(grids.exponential(), device)


@lru_cache(maxsize=4)
def _surprise(device: Any) -> torch.Tensor:
    import torch

    return torch.tensor(grids.surprise(), dtype=torch.float64, device=device)
