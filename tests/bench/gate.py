# SPDX-License-Identifier: Apache-2.0
"""The gate as a process, beside bare ``dcap_qvl`` verification of the same quotes: CPU, time and memory of
releases and leases.

Chain, contracts, quotes, wraps and the gate are real; the platform is simulated. The clients and the chain
run on the same machine, so that wall times are also theirs: what each of the three used is shown. What the
gate itself costs is its CPU time.

    python -m tests.bench gate            all parts, one after the other
    python -m tests.bench gate/releases   one of them: releases, blocks, leases

`SEALROOM_BENCH_LEASE_SECONDS` says how long 500 leases are renewed, 60 s by default.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import dcap_qvl
import httpx
from tests.gate_world import GATE_APP, GATE_RECIPE, PLATFORM, RECIPE, SEED, TOKEN, Clock, Enclave, World
from tests.local_chain import LocalChain
from tests.patience import until

from sealroom.encoding import sha256
from sealroom.key_release import Challenge, Hello, verify_challenge
from sealroom_agents import child_guard
from sealroom_agents.simulator import GuestAgent, SimulatedPlatform

ALONE = 100
"""Releases one after the other."""
TOGETHER = 64
"""Enclaves at once."""
RELEASES = 512
"""Releases of these."""
LEASES = 500
"""Leases that are held."""
LEASE_SECONDS = 60
"""How long the gate grants; each is renewed three times in it."""
HELD_S = float(os.environ.get("SEALROOM_BENCH_LEASE_SECONDS", "60"))
"""How long the leases are held."""
BLOCK_S = 4
"""Block time of the slow chain."""
HEARTBEAT_S = 2.0
"""Between two reports of the watcher."""
PLENTY = 65_535
"""Of runs."""
TICKS = os.sysconf("SC_CLK_TCK")

Evidence = tuple[Enclave, bytes]
T = TypeVar("T")


class Room(World):
    """A world whose gate is a process of its own."""

    process: subprocess.Popen[bytes]

    def start(self, folder: Path, log: Path) -> None:
        platform = SimulatedPlatform.create(folder / "platform", seed=SEED)
        policy = folder / "policy.json"
        policy.write_bytes(platform.policy(lease_seconds=LEASE_SECONDS).encode())
        token, ready = folder / "token", folder / "ready.json"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        options = {
            "--rpc": self.chain.url,
            "--chain-id": "31337",
            "--guest-agent": str(self.socket),
            "--platform": str(folder / "platform"),
            "--platform-policy": str(policy),
            "--watch-token-file": str(token),
            "--state": str(self.state),
            "--port": "0",
            "--ready-file": str(ready),
        }
        command = [sys.executable, "-m", "sealroom_agents.gate"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *(word for pair in options.items() for word in pair)], stdout=out, stderr=out
            )
        try:
            until(ready.exists, self.process)
        except AssertionError:
            raise RuntimeError(log.read_text()[-2000:]) from None
        url = json.loads(ready.read_text())["url"]
        self.http = httpx.Client(base_url=url, timeout=120.0)
        self.plain = Plain(url)
        self.clock = _Now(0)
        self.open_room()
        for one in self.sealed:
            self.allow(one, cap_micro=4_500_000, runs_per_day=PLENTY)
        self.study = self.chain.draft(
            self.room,
            compose_hash=sha256(RECIPE),
            datasets=[one.id for one in self.sealed],
            max_runs=PLENTY,
        )
        self.approve(0, 1)
        self.heartbeat()
        self.offers = [self.offer(one) for one in self.sealed]
        self.gate_signer = self.identity().signer
        # It looks at its money every ten seconds, and had none when it started.
        until(self.ready, self.process)

    def ready(self) -> bool:
        self.heartbeat()
        return self.http.get("/v1/readyz").status_code == 200

    def evidences(self, count: int) -> list[Evidence]:
        """Messages that are ready to be sent, each after a hello of its own."""
        return [self._evidence() for _ in range(count)]

    def _evidence(self) -> Evidence:
        enclave = Enclave(self, epsilon_micro=1, delta_pico=1)
        hello = Hello(
            run_id=enclave.run_id,
            chain_id=31337,
            consortium=self.room.consortium,
            compose_hash=sha256(RECIPE),
            epsilon_micro=1,
            delta_pico=1,
            guarantee=enclave.guarantee,
        )
        status, answer = self.plain.post("/v1/hello", hello.encode())
        if status != 200:
            raise RuntimeError(answer.decode())
        challenge = Challenge.parse(answer)
        transcript = verify_challenge(hello, challenge, signer=self.gate_signer)
        return enclave, enclave.evidence(transcript, challenge, offers=self.offers).encode()

    def send_evidence(self, one: Evidence) -> tuple[float, str]:
        """Seconds that the answer took, and what it was."""
        return self._timed("/v1/evidence", one[1])

    def renewed(self, enclave: Enclave, counter: int) -> tuple[float, str]:
        """The same of a renewal."""
        return self._timed("/v1/lease", enclave.renewal(counter).encode())

    def _timed(self, path: str, body: bytes) -> tuple[float, str]:
        began = time.perf_counter()
        status, answer = self.plain.post(path, body)
        took = time.perf_counter() - began
        return took, "ok" if status == 200 else str(json.loads(answer).get("code"))

    def cpu(self) -> Used:
        """CPU seconds of all three so far."""
        nodes = child_guard.descendants(self.chain.pid)
        return Used(_cpu(self.process.pid), time.process_time(), sum(map(_cpu, nodes)))

    def memory(self) -> float:
        """MiB that the gate holds."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """A watcher that reports; yields how long each of its reports took."""
        over, took = threading.Event(), list[float]()

        def report() -> None:
            while not over.wait(HEARTBEAT_S):
                began = time.perf_counter()
                self.heartbeat()
                took.append(time.perf_counter() - began)

        thread = threading.Thread(target=report)
        thread.start()
        try:
            yield took
        finally:
            over.set()
            thread.join()


@dataclass(frozen=True)
class Used:
    """CPU seconds."""

    gate: float
    """Of the gate."""
    clients: float
    """Of this process, which plays the enclaves and the watcher."""
    chain: float
    """Of the node."""

    def __add__(self, other: Used) -> Used:
        return Used(self.gate + other.gate, self.clients + other.clients, self.chain + other.chain)

    def __sub__(self, other: Used) -> Used:
        return Used(self.gate - other.gate, self.clients - other.clients, self.chain - other.chain)

    def __str__(self) -> str:
        return f"CPU of gate, clients, chain: {self.gate:.1f}, {self.clients:.1f}, {self.chain:.1f} s"


class Plain:
    """Posts, at a tenth of what an HTTP client with all comforts costs; a connection for each thread."""

    def __init__(self, url: str) -> None:
        self._host = str(urlsplit(url).netloc)
        self._kept = threading.local()

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = http.client.HTTPConnection(self._host, timeout=120.0)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            # The gate keeps an idle connection for a while only.
            connection.close()
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()


class _Now(Clock):
    """The clock of a world in which time passes."""

    def __call__(self) -> int:
        return int(time.time())


def run(part: str | None = None) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as name, LocalChain.start() as chain:
        folder = Path(name)
        with ExitStack() as stack:
            stack.enter_context(GuestAgent(PLATFORM, GATE_RECIPE, GATE_APP).serve(folder / "gate.sock"))
            room = Room(chain=chain, platform=PLATFORM, state=folder / "state", socket=folder / "gate.sock")
            chain.keep_real_time()
            room.start(folder, folder / "gate.log")
            stack.callback(room.process.wait)
            stack.callback(room.process.terminate)
            yield f"{os.cpu_count()} cores; CPU is the gate's process alone where nothing else is said"
            yield ""
            bare = _bare(room)
            yield f"bare dcap_qvl verification of one of these quotes: {bare * 1e3:.2f} ms CPU"
            yield ""
            for name, measure in PARTS.items():
                if part in (None, name):
                    yield f"load {os.getloadavg()[0]:.1f} before {name}"
                    yield from measure(room, bare)
                    yield ""


def _bare(room: Room) -> float:
    """CPU seconds of one verification."""
    enclave, _ = room._evidence()
    quote, _, _ = enclave.machine.evidence(bytes(64))
    now = int(time.time())
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(room.platform.collateral(now)))
    began = time.process_time()
    for _ in range(ALONE):
        dcap_qvl.verify_with_root_ca(quote, collateral, room.platform.root_der, now)
    return (time.process_time() - began) / ALONE


def _releases(room: Room, bare: float) -> Iterator[str]:
    yield "| enclaves | releases | p50 ms | p99 ms | a second | gate CPU ms each | × bare | all CPU |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, count, width in (("one by one", ALONE, 1), (f"{TOGETHER} at once", RELEASES, TOGETHER)):
        took, busy, wall = list[float](), Used(0, 0, 0), 0.0
        with room.watched():
            for part in range(0, count, 2 * TOGETHER):
                ready = room.evidences(min(2 * TOGETHER, count - part))
                cpu, began = room.cpu(), time.perf_counter()
                took += _good(_at_once(room.send_evidence, ready, width))
                wall += time.perf_counter() - began
                busy += room.cpu() - cpu
        p50, p99 = _percentiles(took)
        each = busy.gate / count
        yield (
            f"| {name} | {count} | {p50:.1f} | {p99:.1f} | {count / wall:.0f} | {each * 1e3:.1f} "
            f"| {each / bare:.1f} | {busy} in {wall:.1f} s |"
        )


def _slow_blocks(room: Room, bare: float) -> Iterator[str]:
    """A flood of enclaves while older leases are renewed."""
    old = [enclave for enclave, _ in _granted(room, 8)]
    room.chain.rpc("evm_setAutomine", False)
    room.chain.rpc("evm_setIntervalMining", BLOCK_S)
    ready = room.evidences(TOGETHER)
    over, renewals = threading.Event(), list[tuple[float, str]]()

    def renew() -> None:
        counter = 0
        while not over.wait(0.2):
            counter += 1
            renewals.extend(room.renewed(enclave, counter) for enclave in old)

    with room.watched() as reports, ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        first = room.chain.block_number()
        answers = _at_once(room.send_evidence, ready, TOGETHER)
        blocks = room.chain.block_number() - first
        over.set()
        renewing.result()
    words = Counter(word for _, word in answers)
    lost = Counter(word for _, word in renewals if word != "ok")
    p50, p99 = _percentiles([seconds for seconds, _ in renewals])
    yield f"blocks of {BLOCK_S} s, {TOGETHER} enclaves at once: {words['ok']} of {TOGETHER} granted"
    yield f"within {blocks} blocks; others: {_shown(words)}"
    yield (
        f"meanwhile {len(renewals)} renewals of {len(old)} leases: p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"failed: {_shown(lost)}; the watcher waited {max(reports, default=0.0) * 1e3:.0f} ms at most"
    )


def _leases(room: Room, bare: float) -> Iterator[str]:
    """Many leases for long; the chain goes on meanwhile."""
    room.chain.rpc("evm_setIntervalMining", 0)
    room.chain.rpc("evm_setAutomine", True)
    held: list[Enclave] = []
    with room.watched():
        while len(held) < LEASES:
            held += [enclave for enclave, _ in _granted(room, min(2 * TOGETHER, LEASES - len(held)))]
            _good(_at_once(partial(room.renewed, counter=len(held)), held, 8))
    room.chain.rpc("evm_setAutomine", False)
    room.chain.rpc("evm_setIntervalMining", BLOCK_S)
    memory, renewals, rounds = [room.memory()], list[tuple[float, str]](), 0
    cpu, began = room.cpu(), time.perf_counter()
    with room.watched() as reports:
        while time.perf_counter() - began < HELD_S:
            rounds += 1
            due = began + rounds * LEASE_SECONDS / 3
            counter = LEASES + rounds
            renewals += _at_once(partial(room.renewed, counter=counter), held, 8)
            memory.append(room.memory())
            time.sleep(max(0.0, due - time.perf_counter()))
    wall, used = time.perf_counter() - began, room.cpu() - cpu
    busy = used.gate
    p50, p99 = _percentiles([seconds for seconds, _ in renewals])
    failed = Counter(word for _, word in renewals if word != "ok")
    yield f"{LEASES} leases for {wall:.0f} s, blocks of {BLOCK_S} s: {len(renewals)} renewals"
    yield f"failed: {_shown(failed)}"
    yield (
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms; gate CPU {busy / len(renewals) * 1e3:.2f} ms each, "
        f"{busy / wall:.0%} of a core; the watcher waited {max(reports, default=0.0) * 1e3:.0f} ms at most"
    )
    half = memory[len(memory) // 2]
    yield f"memory {memory[0]:.0f} MiB before, {half:.0f} half way, {memory[-1]:.0f} at the end"


def _granted(room: Room, count: int) -> list[Evidence]:
    """So many enclaves with their keys."""
    ready = room.evidences(count)
    _good(_at_once(room.send_evidence, ready, TOGETHER))
    return ready


def _at_once(act: Callable[[T], tuple[float, str]], of: Sequence[T], width: int) -> list[tuple[float, str]]:
    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(act, of))


def _good(answers: Sequence[tuple[float, str]]) -> list[float]:
    bad = Counter(word for _, word in answers if word != "ok")
    if bad:
        raise RuntimeError(f"refused: {_shown(bad)}")
    return [seconds for seconds, _ in answers]


def _shown(words: Counter[str]) -> str:
    others = {word: count for word, count in words.items() if word != "ok"}
    return ", ".join(f"{count} {word}" for word, count in others.items()) or "none"


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, ms."""
    points = statistics.quantiles([*seconds, *seconds], n=100)
    return points[49] * 1e3, points[98] * 1e3


def _cpu(process: int) -> float:
    """CPU seconds of a process so far; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


PARTS = {"releases": _releases, "blocks": _slow_blocks, "leases": _leases}
"""What is measured, by name."""
