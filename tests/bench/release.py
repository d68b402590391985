# SPDX-License-Identifier: Apache-2.0
"""The release protocol's rounds, against bare ``dcap_qvl`` verification of the same quote."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dcap_qvl
from tests.gate_world import GATE_APP, GATE_RECIPE, PLATFORM, Enclave, World, gate_world
from tests.local_chain import LocalChain

from sealroom_agents.simulator import GuestAgent

ROUNDS = 15
"""Whole releases; each opens a run on chain. The median is printed."""


def run() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as name, LocalChain.start() as chain:
        folder = Path(name)
        with (
            GuestAgent(PLATFORM, GATE_RECIPE, GATE_APP).serve(folder / "gate.sock"),
            gate_world(chain, socket=folder / "gate.sock", state=folder / "state") as world,
        ):
            yield from _run(world)


def _run(world: World) -> Iterator[str]:
    rounds = [_round(world) for _ in range(ROUNDS)]
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    bare = median["bare dcap_qvl verification"]
    yield f"median of {ROUNDS}; blocks are mined at once, so that no block time hides the work"
    yield ""
    yield "| step | ms | against bare verification |"
    yield "|---|---|---|"
    for name, seconds in median.items():
        yield f"| {name} | {seconds * 1000:.1f} | {seconds / bare:.0f} × |"


def _round(world: World) -> dict[str, float]:
    """Seconds of each step of one release."""
    # A study of its own for each round: the owners of this room approve one run at a time.
    world.open_room()
    world.approve(0, 1)
    world.heartbeat()
    enclave = Enclave(world)
    began = time.perf_counter()
    transcript, challenge = enclave.hello()
    greeted = time.perf_counter()
    message = enclave.evidence(transcript, challenge)
    now = int(time.time())
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(world.platform.collateral(now)))
    ready = time.perf_counter()
    dcap_qvl.verify_with_root_ca(message.quote, collateral, world.platform.root_der, now)
    verified = time.perf_counter()
    answer = world.http.post("/v1/evidence", content=message.encode())
    released = time.perf_counter()
    if answer.status_code != 200:
        raise RuntimeError(answer.text)
    return {
        "bare dcap_qvl verification": verified - ready,
        "hello to challenge": greeted - began,
        "evidence to keys": released - verified,
    }
