# SPDX-License-Identifier: Apache-2.0
"""What a network says of each row, exact to the last bit on any number of threads, and on CUDA.

**Why what comes out for a row is a function of this row and of the weights alone.** A row's activations are
whole numbers of steps that follow from its own inputs by exact sums over features and by operations on single
numbers (`grids`), so that nothing of them depends on the rows beside it, on where a chunk ends, or on the
machine's vectors.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sealroom.training import grids
from sealroom.training.graph import ACTIVATIONS, Graph, Layer
from sealroom.training.rows import Lists, Rows

if TYPE_CHECKING:
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


class Network:
    """A network, ready to compute on rows."""

    def __init__(
        self,
        graph: Graph,
        *,
        device: str | None = None,
        threads: int | None = None,
        chunk: int | None = None,
    ) -> None:
        """What is computed depends on none of `device`, `threads` and `chunk`, the rows that are computed at
        a time."""
        import torch

        self.graph = graph
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        on_cpu = self.device.type == "cpu"
        self._threads = (threads or len(os.sched_getaffinity(0))) if on_cpu else 1
        widest = max(map(_numbers, graph.layers))
        most = (_CHUNK_NUMBERS if on_cpu else _CHUNK_NUMBERS_CUDA) // widest
        least = max(min(_CHUNK_ROWS, _CHUNK_MOST // widest), 1)
        self._chunk = min(chunk or max(most, least), grids.MAX_CHUNK)

    def rows(
        self,
        inputs: Any,
        targets: Any = None,
        ones: Any = None,
        *,
        lists: tuple[Lists, ...] = (),
        places: Integers | None = None,
    ) -> Rows:
        """Rows where they are computed on, of arrays of numpy; `lists` are on this network's device."""
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

    def outputs(self, weights: Floats, rows: Rows) -> Iterator[Floats]:
        """What the last layer gives, in steps of 2⁻¹⁶ and none beyond ±16, so that 32-bit floats hold it
        exactly: rows × numbers, chunk by chunk."""
        layers = self.on_grid(weights)

        def computed(inputs: Any, _: Any) -> Floats:
            value, _ = self.forward(layers, inputs, keep=False)
            found: Floats = _rounded(value, fine=True).reshape(len(value), -1).cpu().numpy()
            return found

        return self.over(rows, computed)

    # --- chunks ------------------------------------------------------------------------------------------

    def over(self, rows: Rows, task: Callable[[Any, Any], T]) -> Iterator[T]:
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

    def on_grid(self, weights: Floats) -> list[tuple[Any, Any]]:
        """Weights and biases of each layer that has them, whole steps of 2⁻¹⁶: weights in units, biases in
        steps of inputs, as they add to a score."""
        import numpy as np
        import torch

        most = float(grids.WEIGHT_MOST)
        steps = torch.from_numpy(np.clip(np.rint(weights * 2.0**grids.WEIGHT_BITS), -most, most))
        layers, at = [], 0
        for layer in self.graph.weighted:
            count = layer.fan_in * layer.after[0]
            matrix = steps[at : at + count].reshape(layer.after[0], layer.fan_in).to(self.device)
            # a power of two taken out of each product: sums are as exact, and come in steps of inputs
            matrix = matrix * 2.0**-grids.WEIGHT_BITS
            bias = steps[at + count : at + layer.weights].to(self.device)
            layers.append((matrix, bias))
            at += layer.weights
        return layers

    # --- forward ----------------------------------------------------------------------------------------

    def forward(
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
        value, slope = looked_up(table(name, grids.INPUT_BITS, self.device), value, grids.INPUT_BITS)
        return value.clamp_(-float(grids.INPUT_MOST), float(grids.INPUT_MOST)), slope


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


def looked_up(table: tuple[Any, Any], score: Any, bits: int) -> tuple[Any, Any]:
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


def _windows(value: Any, layer: Layer) -> Any:
    """Rows × channels × height × width × the numbers of each square of a pool."""
    channels, height, width = layer.after
    edge = layer.kernel
    split = value.reshape(-1, channels, height, edge, width, edge)
    return split.permute(0, 1, 2, 4, 3, 5).reshape(-1, channels, height, width, edge * edge)


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
def table(name: str, bits: int, device: Any) -> tuple[Any, Any]:
    return loaded(grids.table(name, bits), device)


def loaded(table: grids.Table, device: Any) -> tuple[Any, Any]:
    """As 32-bit floats, which hold whole numbers up to 2²⁴."""
    import torch

    return tuple(
        torch.tensor(each, dtype=torch.float32, device=device) for each in (table.values, table.slopes)
    )


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
