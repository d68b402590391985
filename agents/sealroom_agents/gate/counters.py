# SPDX-License-Identifier: Apache-2.0
"""What the gate counts and measures while it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from sealroom.codes import Stage
from sealroom_agents.telemetry.metrics import at_zero, codes_of

STAGES = ("verify", "views", "gpus", "book", "still", "whole")
"""Of a release."""
GRANTS = Counter("sealroom_gate_grants", "Runs whose keys were released.")
REFUSALS = Counter("sealroom_gate_refusals", "Refusals of the gate, by code.", ["code"])
STAGE_SECONDS = Histogram(
    "sealroom_gate_stage_seconds",
    "Time of each stage of a release.",
    ["stage"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
at_zero(STAGE_SECONDS, STAGES)
at_zero(REFUSALS, codes_of(Stage.ATTESTATION, Stage.GATE, Stage.CHAIN))


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure a stage of a release, also where it ends in a refusal."""
    begun = time.perf_counter()
    try:
        yield
    finally:
        STAGE_SECONDS.labels(name).observe(time.perf_counter() - begun)
