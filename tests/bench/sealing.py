# SPDX-License-Identifier: Apache-2.0
"""Sealing, opening and reading a table of 1.2 GB, against ``age``, ``rclone crypt``, ``cp`` and pyarrow.

What is measured is the command as owners run it: with its key, its registration and, of a table, the look at
all its values. Sealed as opaque, the same file shows the cryptography alone. Start-up counts for all. Those
that are compared run one after the other in each round, in an order drawn anew, and a ratio is the median of
the rounds' ratios: what else the machine does then falls on both. Peak memory is that of a command and all
its processes together, sampled in a run that is not timed (Pss: what several share counts once). Not more
than 5 GB of memory are filled.

Before each run, as much memory is filled and let go as it will take: a virtual machine may have given back
what the last run let go, and whoever comes next would pay for it.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.sealing_process import OWNER
from tests.bench.sealing_reads import drop

ROUNDS = 5
"""Rounds that count; one before them warms up."""
LARGE_BYTES = 10_000_000_000
"""Size of the file whose sealing only shows that memory stays constant. It has holes only."""
SPARE_BYTES = 25_000_000_000
"""Free bytes on the disk without which the large file is left out."""
SAMPLE_S = 0.01
"""Seconds between two looks at how much memory is in use."""
SHM = Path("/dev/shm")
"""A file system in memory, so that the disk does not hide the work."""

FILL_BYTES = 3_000_000_000
"""Memory that is filled before a run: more than the run itself will fill."""

SEALROOM = str(Path(sys.executable).with_name("sealroom"))
OPAQUE = ["--as", "opaque"]

Command = list[str]


@dataclass
class Runs:
    """What one command took, in each round that counts."""

    wall: list[float] = field(default_factory=list)
    """Seconds."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of all processors."""
    peak: int = 0
    """Most kilobytes of memory, of all its processes together."""


def run() -> Iterator[str]:
    memory = Path(tempfile.mkdtemp(prefix="sealroom-bench-", dir=SHM if SHM.is_dir() else None))
    disk = Path(tempfile.mkdtemp(prefix="sealroom-bench-", dir="/var/tmp"))
    try:
        source = memory / "cohort.parquet"
        _check([sys.executable, "-m", "tests.bench.cohort", str(source)])
        gigabytes, load = source.stat().st_size / 1e9, os.getloadavg()[0]
        yield f"{gigabytes:.2f} GB of Parquet, 5.8 M rows of 30 columns; medians of {ROUNDS} rounds"
        yield f"{os.cpu_count()} cores, load {load:.1f} at the start: what else runs falls on both of a pair"
        yield ""
        yield from _in_memory(memory, source)
        yield from _reads(memory, source)
        yield from _on_disk(disk, source)
        yield from _reseals(disk, memory)
        yield from _large(disk)
    finally:
        shutil.rmtree(memory)
        shutil.rmtree(disk)


def _in_memory(folder: Path, source: Path) -> Iterator[str]:
    """Source and target in memory."""
    sealed, aged, out = folder / "kept" / "sealed.tar", folder / "age.bin", folder / "out.bin"
    small, key = folder / "small.bin", folder / "kept-keys" / "data.key"
    small.write_bytes(bytes(1000))
    _check([*_seal(source, sealed, key), *OPAQUE])
    made, made_key = folder / "made" / "out.tar", folder / "made-keys" / "data.key"
    steps = {
        "sealroom --version": [SEALROOM, "--version"],
        "sealroom seal, 1 kB": [*_seal(small, made, made_key), *OPAQUE],
        "sealroom seal": _seal(source, made, made_key),
        "sealroom seal --as opaque": [*_seal(source, made, made_key), *OPAQUE],
        "sealroom unseal": [SEALROOM, "unseal", str(sealed), "--key", str(key), "--out", str(out)],
        "sealroom check --key": [SEALROOM, "check", str(sealed), "--key", str(key), "--json"],
        "cp": ["cp", str(source), str(out)],
    }
    if shutil.which("rclone") is None:
        yield "rclone is not installed (Debian: `apt-get install rclone`): its rows are missing"
        yield ""
    else:
        crypt = ["rclone", "--config", str(_rclone_config(folder)), "copyto"]
        _check([*crypt, str(source), "crypt:kept"])
        steps["rclone crypt"] = [*crypt, str(source), "crypt:out"]
        steps["rclone crypt, back"] = [*crypt, "crypt:kept", str(out)]
    age = shutil.which("age")
    if age is None:
        yield "age is not installed (Debian: `apt-get install age`): its rows are missing"
        yield ""
    else:
        identity, public = _age_key(folder)
        _check([age, "-r", public, "-o", str(aged), str(source)])
        steps["age -r"] = [age, "-r", public, "-o", str(out), str(source)]
        steps["age -d"] = [age, "-d", "-i", str(identity), "-o", str(out), str(aged)]
    crypted = folder / "rclone"
    runs = _rounds(steps, out, made.parent, made_key.parent, crypted / "out.bin")
    peers = ["age -r", "rclone crypt", "cp"]
    yield from _table(
        "in memory",
        runs,
        {
            "sealroom seal": peers,
            "sealroom seal --as opaque": peers,
            "sealroom unseal": ["age -d", "rclone crypt, back", "cp"],
        },
    )
    aged.unlink(missing_ok=True)
    for each in (sealed.parent, crypted):
        shutil.rmtree(each, ignore_errors=True)


def _reads(folder: Path, source: Path) -> Iterator[str]:
    sealed = folder / "sealed.tar"
    _check(_ours("seal", source, sealed))
    yield from _reads_table("read, file in memory", source, sealed, "warm")
    sealed.unlink()


def _reads_table(title: str, plain: Path, sealed: Path, cache: str) -> Iterator[str]:
    yield f"| {title} | plain | sealed | ratio | CPU ratio |"
    yield "|---|---|---|---|---|"
    reads = [sys.executable, "-m", "tests.bench.sealing_reads", str(plain), str(sealed), str(ROUNDS), cache]
    yield subprocess.run(reads, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip()
    yield ""


def _on_disk(folder: Path, source: Path) -> Iterator[str]:
    plain, sealed, out = folder / "plain.bin", folder / "sealed.tar", folder / "out.bin"
    made, made_key = folder / "made" / "out.tar", folder / "made-keys" / "data.key"
    shutil.copyfile(source, plain)
    steps = {
        "cp": ["cp", str(plain), str(out)],
        "cp, synced": ["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(plain), str(out)],
        "sealroom seal (syncs)": _seal(plain, made, made_key),
        "sealroom seal --as opaque (syncs)": [*_seal(plain, made, made_key), *OPAQUE],
    }
    runs = _rounds(steps, out, made.parent, made_key.parent, cold=plain)
    peers = ["cp", "cp, synced"]
    yield from _table(
        "on disk, source not in the cache",
        runs,
        {"sealroom seal (syncs)": peers, "sealroom seal --as opaque (syncs)": peers},
    )
    _check(_ours("seal", plain, sealed))
    yield from _reads_table("read, file on disk and not in the cache", plain, sealed, "cold")
    plain.unlink()
    sealed.unlink()


def _reseals(disk: Path, memory: Path) -> Iterator[str]:
    small, largest = disk / "small.tar", disk / "largest.tar"
    _check(_ours("seal", memory / "cohort.parquet", small))
    _check(_ours("largest", small, largest))
    yield "| reseal in place | seconds |"
    yield "|---|---|"
    for path in (small, largest):
        taken = [float(_check(_ours("reseal", path, path))) for _ in range(ROUNDS)]
        yield f"| sealed dataset of {path.stat().st_size / 1e9:.1f} GB | {statistics.median(taken):.3f} |"
        path.unlink()
    yield ""


def _large(folder: Path) -> Iterator[str]:
    if shutil.disk_usage(folder).free < SPARE_BYTES:
        yield f"less than {SPARE_BYTES / 1e9:.0f} GB are free: the file of 10 GB is left out"
        return
    large, sealed = folder / "large.bin", folder / "large.tar"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    key = folder / "large-keys" / "data.key"
    seal = [*_seal(large, sealed, key), *OPAQUE]
    check = [SEALROOM, "check", str(sealed), "--key", str(key), "--json"]
    runs = _rounds({"sealroom seal --as opaque": seal}, sealed, key.parent, rounds=1)
    yield from _table("10 GB, on disk, sealed", runs, {})
    _check(seal)
    runs = _rounds({"sealroom check --key": check}, rounds=1)
    yield from _table("10 GB, on disk, every part opened", runs, {})


def _rounds(
    steps: dict[str, Command], *outputs: Path, rounds: int = ROUNDS, cold: Path | None = None
) -> dict[str, Runs]:
    """Run all steps in each round, in an order drawn anew; after each, its outputs are removed."""
    found = {name: Runs() for name in steps}
    draw = random.Random(7)
    for number in range(rounds + 1):
        for name in draw.sample(list(steps), len(steps)):
            if cold is not None:
                drop(cold)
            _fill_memory()
            if number == 0:
                found[name].peak = _peak(steps[name])
            else:
                wall, cpu = _measure(steps[name])
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
            for each in outputs:
                if each.is_dir():
                    shutil.rmtree(each)
                else:
                    each.unlink(missing_ok=True)
    return found


def _table(title: str, runs: dict[str, Runs], peers: dict[str, list[str]]) -> Iterator[str]:
    yield f"| {title} | seconds | CPU seconds | peak MB | time against its peers | CPU against its peers |"
    yield "|---|---|---|---|---|---|"
    for name, own in runs.items():
        known = [peer for peer in peers.get(name, []) if peer in runs]
        wall = ", ".join(f"{_ratio(own.wall, runs[peer].wall):.2f} × {peer}" for peer in known)
        cpu = ", ".join(f"{_ratio(own.cpu, runs[peer].cpu):.2f} × {peer}" for peer in known)
        seconds = f"{statistics.median(own.wall):.2f} | {statistics.median(own.cpu):.2f}"
        yield f"| {name} | {seconds} | {own.peak / 1000:.0f} | {wall} | {cpu} |"
    yield ""


def _ratio(own: Sequence[float], peer: Sequence[float]) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(own, peer, strict=True))


def _seal(source: Path, target: Path, key: Path) -> Command:
    """The command as an owner's script runs it, before there is a study."""
    where = ["--in", str(source), "--out", str(target), "--key-out", str(key)]
    return [SEALROOM, "seal", "--account", OWNER, *where, "--yes", "--json"]


def _ours(action: str, source: Path, target: Path) -> Command:
    return [sys.executable, "-m", "tests.bench.sealing_process", action, str(source), str(target)]


def _age_key(folder: Path) -> tuple[Path, str]:
    key = folder / "age.key"
    _check(["age-keygen", "-o", str(key)])
    lines = key.read_text().splitlines()
    return key, next(line.split(": ")[1] for line in lines if line.startswith("# public key"))


def _rclone_config(folder: Path) -> Path:
    """A remote `crypt:` that keeps encrypted files in a folder of this machine."""
    password = _check(["rclone", "obscure", "a password of the benchmark"]).strip()
    config = folder / "rclone.conf"
    config.write_text(
        f"[crypt]\ntype = crypt\nremote = {folder / 'rclone'}\npassword = {password}\n"
        "filename_encryption = off\ndirectory_name_encryption = false\n"
    )
    return config


def _fill_memory() -> None:
    with mmap.mmap(-1, FILL_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for place in range(0, FILL_BYTES, mmap.PAGESIZE):
            memory[place] = 1


def _check(command: Command) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _as_installed() -> dict[str, str]:
    """The environment of a package that was installed: its modules are compiled once, not in each run."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _measure(command: Command) -> tuple[float, float]:
    """Wall seconds and processor seconds of one command and its processes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_as_installed())
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return taken, usage.ru_utime + usage.ru_stime


def _peak(command: Command) -> int:
    """Most kilobytes of memory that one command and its processes have at a time."""
    most = 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_as_installed())
    while process.poll() is None:
        most = max(most, sum(_pss(pid) for pid in _family(process.pid)))
        time.sleep(SAMPLE_S)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return most


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(each for child in children for each in _family(int(child)))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
