# SPDX-License-Identifier: Apache-2.0
"""What the sandbox costs: the start of a job, and one group-by in a sealed job against a plain process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.enclave.inside import Inside

ROUNDS = 5
"""Of each, in turn; the median is printed."""

WORK = """
import time
import numpy as np
import pandas as pd
dice = np.random.default_rng(1)
rows = pd.DataFrame({"key": dice.integers(0, 1000, 2_000_000), "value": dice.normal(size=2_000_000)})
began = time.process_time()
for _ in range(5):
    rows.groupby("key").value.agg(["mean", "std", "count"])
spent = time.process_time() - began
"""

IMPORTS = "import numpy, pandas, pyarrow"


def run() -> Iterator[str]:
    rounds = [_round() for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    yield f"median of {ROUNDS} rounds"
    yield ""
    yield "| | plain process | sealed job | ratio |"
    yield "|---|---|---|---|"
    for name in ("start", "group-by"):
        plain, sealed = median[f"{name}, plain"], median[f"{name}, sealed"]
        unit = "s" if name == "start" else "s of processor time"
        yield f"| {name}, {unit} | {plain:.2f} | {sealed:.2f} | {sealed / plain:.2f} × |"
    yield ""
    yield "start: until NumPy, pandas and Arrow are imported; of the job also what they import late"


def _round() -> dict[str, float]:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-B", "-c", IMPORTS], check=True)
    plain = time.perf_counter()
    with Inside(WORK + "tell(spent)\n") as job:  # which returns when the job is sealed
        ready = time.perf_counter()
        sealed = job.told()
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", WORK + "print(spent)"], capture_output=True, text=True, check=True
    )
    return {
        "start, plain": plain - began,
        "start, sealed": ready - plain,
        "group-by, plain": json.loads(done.stdout),
        "group-by, sealed": sealed,
    }
