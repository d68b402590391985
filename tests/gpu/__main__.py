# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.gpu``: exact training on CUDA beside plain torch and DP-SGD, and equal sums on the CPU.

On a machine without CUDA everything runs on the CPU, on fewer rows. A peer that is not installed is said to
be missing, never guessed.

    python -m tests.gpu [ROWS]
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

import numpy as np
import torch
from tests.bench.training import CHUNK, Fraud, seconds

ON_CUDA, ON_CPU = 8_000_000, 20_000
COMPARED = 200_000
"""Rows whose sums are computed on both."""


def lines(rows: int | None = None) -> Iterator[str]:
    cuda = torch.cuda.is_available()
    device, rows = ("cuda" if cuda else "cpu"), rows or (ON_CUDA if cuda else ON_CPU)
    chunk = 2**18 if cuda else CHUNK
    fraud = Fraud(rows, device)
    trainer, held = fraud.exact()
    ways = {
        "plain torch, 32 bits": fraud.plain(torch.float32, chunk),
        "plain torch, 64 bits": fraud.plain(torch.float64, chunk),
        "DP-SGD by sample, 32 bits": fraud.by_sample(torch.float32, min(chunk, 2**16)),
        "exact, clipped": lambda: trainer.sums(fraud.weights, held),
    }
    memory = {}
    for name, way in ways.items():
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        way()
        memory[name] = torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0
    found = seconds(ways, rounds=3, cuda=cuda)
    where = torch.cuda.get_device_name() if cuda else "no CUDA here; CPU"
    yield f"{where}: {rows:,} rows, {fraud.graph.weights:,} weights; seconds a step"
    base = found["DP-SGD by sample, 32 bits"]
    for name, value in found.items():
        peak = f", peak {memory[name]:,.0f} MiB" if cuda else ""
        yield f"{name}: {value:.4f} s, {value / base:.2f} of DP-SGD by sample{peak}"
    if importlib.util.find_spec("opacus") is None:
        yield "Opacus is not installed: not compared"
    yield _equal(min(rows, COMPARED), device)


def _equal(rows: int, device: str) -> str:
    """Sums of gradients and losses on this device and on the CPU, as integers, over some steps."""
    fraud = Fraud(rows, device, seed=2)
    here, there = fraud.exact(), fraud.exact("cpu")
    weights = fraud.weights
    for step in range(5):
        one, other = (trainer.sums(weights, held) for trainer, held in (here, there))
        if not (one.gradient == other.gradient).all() or one.loss != other.loss:
            raise SystemExit(f"step {step}: sums on {device} and on the CPU differ")
        weights = weights - one.gradient / 2.0 ** here[0].clip.bits / rows
    total = int(np.abs(one.gradient).sum())
    sums = f"{fraud.graph.weights:,} sums equal as integers on {device} and CPU"
    return f"5 steps over {rows:,} rows: {sums} ({total} in magnitude)"


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(line, flush=True)
