# SPDX-License-Identifier: Apache-2.0
"""One step of exact training, beside torch's own forward and backward pass over the same rows.

A fraud-like table: 1.6 million rows of 30 inputs, and a network of 30-64-32-1. Torch's pass sums gradients
and clips none, in chunks that stay in the cache, in 32 and in 64 bits; DP-SGD by gradients of single samples
(`vmap`) is the way that other libraries take. CPU seconds are those of all threads: a busy machine moves them
less than the clock.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import torch

from sealroom.training.exact import Rows, Trainer
from sealroom.training.graph import Graph
from sealroom.training.grids import Clip
from sealroom.training.optimiser import Checkpoint

ROWS, INPUTS = 1_600_000, 30
LAYERS = [{"linear": 64}, "relu", {"linear": 32}, "relu", {"linear": 1}]
CHUNK = 4096
"""Rows that torch computes at a time: fewer and more both took longer."""
ROUNDS = 3


class Fraud:
    """The table, the network, and the ways to compute one step on a device."""

    def __init__(self, rows: int, device: str, *, seed: int = 1) -> None:
        dice = np.random.default_rng(seed)
        inputs = dice.standard_normal((rows, INPUTS), dtype=np.float32)
        inputs[:, 0] = np.abs(inputs[:, 0]) ** 2 * np.sign(inputs[:, 1])
        score = inputs[:, 0] - np.abs(inputs[:, 2]) + inputs[:, 3] * inputs[:, 4] - 4
        self.targets = (dice.uniform(size=rows) < 1 / (1 + np.exp(-score))).astype(np.float64)
        self.inputs = np.rint(np.clip(inputs / 3, -1, 1) * 65536).astype(np.float32)
        self.device = device
        self.graph = Graph.read(LAYERS, inputs=INPUTS, outputs=1)
        self.weights = Checkpoint.first(self.graph, 1).weights

    def exact(self, device: str | None = None) -> tuple[Trainer, Rows]:
        trainer = Trainer(self.graph, "binary", Clip(value=Decimal(1)), device=device or self.device)
        return trainer, trainer.rows(self.inputs, self.targets)

    def plain(self, dtype: torch.dtype, chunk: int) -> Callable[[], None]:
        """A forward and a backward pass over all rows, without clipping."""
        whole = self._module(dtype)
        inputs, targets = self._tensors(dtype)

        def step() -> None:
            whole.zero_grad()
            for at in range(0, len(inputs), chunk):
                score = whole(inputs[at : at + chunk])[:, 0]
                torch.nn.functional.binary_cross_entropy_with_logits(
                    score, targets[at : at + chunk], reduction="sum"
                ).backward()

        return step

    def by_sample(self, dtype: torch.dtype, chunk: int) -> Callable[[], None]:
        """The same with each row's gradient made, clipped and summed."""
        whole = self._module(dtype)
        inputs, targets = self._tensors(dtype)
        parameters = {name: each.detach() for name, each in whole.named_parameters()}

        def loss(given: dict[str, torch.Tensor], row: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            score = torch.func.functional_call(whole, given, (row[None],))[0, 0]
            return torch.nn.functional.binary_cross_entropy_with_logits(score, target)

        gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

        def step() -> None:
            for at in range(0, len(inputs), chunk):
                made = gradients(parameters, inputs[at : at + chunk], targets[at : at + chunk])
                squared = sum(each.flatten(1).square().sum(1) for each in made.values())
                factor = (1 / torch.sqrt(squared)).clamp(max=1)  # type: ignore[arg-type]
                for each in made.values():
                    torch.einsum("n,n...->...", factor, each)

        return step

    def _module(self, dtype: torch.dtype) -> torch.nn.Module:
        torch.manual_seed(1)
        linear, relu = torch.nn.Linear, torch.nn.ReLU
        whole = torch.nn.Sequential(linear(INPUTS, 64), relu(), linear(64, 32), relu(), linear(32, 1))
        return whole.to(self.device, dtype)

    def _tensors(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.from_numpy(self.inputs).to(self.device, dtype) / 65536
        return inputs, torch.from_numpy(self.targets).to(self.device, dtype)


def seconds(ways: dict[str, Callable[[], Any]], *, rounds: int, cuda: bool) -> dict[str, float]:
    """Median seconds of each way, in interleaved rounds after one that does not count: of the device where
    there is one, of all threads' CPU else."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    clock = time.perf_counter if cuda else time.process_time
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way()
            if cuda:
                torch.cuda.synchronize()
            if round_:
                found[name].append(clock() - began)
    return {name: statistics.median(each) for name, each in found.items()}


def run(rows: int = ROWS) -> Iterator[str]:
    fraud = Fraud(rows, "cpu")
    trainer, held = fraud.exact()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting threads of an operation would count as CPU time
    try:
        few = rows // 20
        sample = Fraud(few, "cpu")
        found = seconds(
            {
                "torch, 32 bits": fraud.plain(torch.float32, CHUNK),
                "torch, 64 bits": fraud.plain(torch.float64, CHUNK),
                "exact, clipped": lambda: trainer.sums(fraud.weights, held),
                "torch, 32 bits, clipped by sample (of a twentieth, times 20)": sample.by_sample(
                    torch.float32, 1024
                ),
            },
            rounds=ROUNDS,
            cuda=False,
        )
    finally:
        torch.set_num_threads(threads)
    by_sample = list(found)[-1]
    found[by_sample] *= rows / few
    base = found["torch, 32 bits"]
    yield f"{rows:,} rows × {INPUTS} inputs, {fraud.graph.weights:,} weights; one step, CPU seconds"
    yield ""
    yield "| step | CPU s | ratio |"
    yield "|---|---|---|"
    for name, value in found.items():
        yield f"| {name} | {value:.2f} | {value / base:.2f} |"
    scale = 1 if sys.platform == "darwin" else 1024
    yield ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
    yield f"peak memory {peak:,.0f} MiB, all of them"
