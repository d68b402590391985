# SPDX-License-Identifier: Apache-2.0
"""Sealing and opening 1 GB, against ``age`` and ``cp`` on the same file and file system.

Each command is a process of its own, so start-up counts for all. Peak memory is the process's own maximum
resident set, as the kernel accounts it.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FILE_BYTES = 1_000_000_000
"""Size of the opaque file: random bytes, so that nothing compresses."""
ROUNDS = 3
"""Interleaved rounds; the median is printed."""
SHM = Path("/dev/shm")
"""A file system in memory, so that the disk does not hide the work."""


def run() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="sealroom-bench-", dir=SHM if SHM.is_dir() else None))
    try:
        yield from _run(folder)
    finally:
        shutil.rmtree(folder)


def _run(folder: Path) -> Iterator[str]:
    source = folder / "plain.bin"
    with source.open("wb") as file:
        for _ in range(FILE_BYTES // 10_000_000):
            file.write(os.urandom(10_000_000))
    peers: dict[str, list[str]] = {"cp": ["cp", str(source), str(folder / "copy.bin")]}
    here = [sys.executable, "-m", "tests.bench.sealing_process"]
    ours = {
        "sealroom seal": [*here, "seal", str(folder)],
        "sealroom open": [*here, "open", str(folder)],
    }
    age = shutil.which("age")
    if age is None:
        yield "age is not installed (Debian: `apt-get install age`): its rows are missing"
    else:
        identity = folder / "age.key"
        subprocess.run(["age-keygen", "-o", str(identity)], check=True, capture_output=True)
        public = next(
            line.split(": ")[1]
            for line in identity.read_text().splitlines()
            if line.startswith("# public key")
        )
        peers["age -r"] = [age, "-r", public, "-o", str(folder / "age.bin"), str(source)]
        peers["age -d"] = [
            age,
            "-d",
            "-i",
            str(identity),
            "-o",
            str(folder / "age.out"),
            str(folder / "age.bin"),
        ]
    order = ["cp", "age -r", "sealroom seal", "age -d", "sealroom open"]
    commands = {name: (peers | ours)[name] for name in order if name in peers | ours}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            for output in ("copy.bin", "age.out", "opened.bin"):
                (folder / output).unlink(missing_ok=True)
            taken, peak = _measure(command)
            seconds[name].append(taken)
            memory[name] = max(memory.get(name, 0), peak)
    place = f"{folder.parent}, {os.cpu_count()} cores"
    yield f"{FILE_BYTES / 1e9:.0f} GB of random bytes in {place}, median of {ROUNDS}"
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    yield f"(a peak of {floor:.0f} MB or less is this process' own, which each child begins with)"
    yield ""
    yield "| command | seconds | GB/s | peak MB | against its peer |"
    yield "|---|---|---|---|---|"
    median = {name: statistics.median(values) for name, values in seconds.items()}
    against = {"sealroom seal": "age -r", "sealroom open": "age -d"}
    for name, value in median.items():
        ratios = [
            f"{value / median[peer]:.2f} × {peer}"
            for peer in (against.get(name), "cp")
            if peer in median and peer != name
        ]
        speed = f"{value:.2f} | {FILE_BYTES / 1e9 / value:.2f} | {memory[name] / 1000:.0f}"
        yield f"| {name} | {speed} | {', '.join(ratios)} |"


def _measure(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident kB of one command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return taken, _peak_kilobytes(usage)


def _peak_kilobytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss
