# SPDX-License-Identifier: Apache-2.0
"""From a sent revocation until the last key is gone: `sealroom drill revoke`, in a room of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sealroom_agents import child_processes

TIMES = 20
STUDY = Path(__file__).resolve().parents[2] / "enclave" / "studies" / "cardio-renal"
SEALROOM = str(Path(sys.executable).parent / "sealroom")
READY_S = 600.0


def run() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as temporary:
        room, ready = Path(temporary) / "room", Path(temporary) / "ready.json"
        command = [SEALROOM, "up", "--local", str(STUDY), "--dir", str(room), "--ready-file", str(ready)]
        up = child_processes.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + READY_S
            while not ready.exists():
                if up.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the room did not start")
                time.sleep(0.2)
            for owner in json.loads((room / "room.json").read_text())["owners"]:
                _sealroom("room", "join", owner, "--runs", str(TIMES), "--room", str(room))
            drill = json.loads(
                _sealroom("drill", "revoke", "--times", str(TIMES), "--json", "--room", str(room))
            )
        finally:
            up.terminate()
            up.wait()
    yield f"| part, of {len(drill['times'])} revocations | p50 s | p99 s |"
    yield "|---|---|---|"
    for name, took in drill["parts"].items():
        yield f"| {name} | {took['p50']:.2f} | {took['p99']:.2f} |"
    yield f"| last key gone | {drill['p50']:.2f} | {drill['p99']:.2f} |"
    yield ""
    yield f"limit: one block and one second, {drill['limit']:.2f} s: {'held' if drill['ok'] else 'MISSED'}"


def _sealroom(*arguments: str) -> str:
    """A command; a drill that misses its limit ends with 1, and has its say."""
    done = subprocess.run([SEALROOM, *arguments], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout
