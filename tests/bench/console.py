# SPDX-License-Identifier: Apache-2.0
"""GET requests a second at the console with many runs and consortia, on SQLite and PostgreSQL.

The console is a process of its own, asked over real HTTP by `CLIENTS` connections that stay open. Meanwhile
its index follows a chain with a block every `BLOCK_S` seconds, and runs are submitted and claimed every 50
ms. What is asked for is drawn evenly among all runs, consortia and pages of the board: no page is a favourite
that is kept for everybody.
PostgreSQL is a server of the bench's own, where its programs are installed; it writes to disk as any does.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert
from tests.bench import many
from tests.local_chain import LocalChain, Room
from tests.outside import HOLDER, Lab
from tests.patience import PATIENCE_S, until
from tests.postgres import Postgres, missing

from sealroom_agents import child_processes
from sealroom_agents.index import Follower
from sealroom_agents.store import Store
from sealroom_agents.store.index import Index
from sealroom_agents.store.tables import EventRow, RunRow

RUNS = 10_000
CONSORTIA = 500
CLIENTS = 8
SECONDS = 15.0
BLOCK_S = 2
"""Seconds between blocks, as on Base."""
BUSY = 1_000
"""Runs of the one consortium that has most."""
MIX = {
    "run, JSON": 6,
    "run, page": 4,
    "consortium, JSON": 2,
    "consortium, page": 3,
    "history": 1,
    "board, JSON": 2,
    "board, page": 2,
}
"""Of twenty requests, how many are of a kind: most come from those who wait for a run."""
MIXED = 4_000
"""Requests among which those of the mix are drawn."""


def run() -> Iterator[str]:
    load = os.getloadavg()[0]
    yield f"{RUNS:,} runs, {CONSORTIA} consortia, {CLIENTS} clients, {SECONDS:g} s each"
    yield f"{os.cpu_count()} CPUs, load average {load:.1f} before; all processes share them"
    yield ""
    yield (
        "| database | what | GET/s | p50 ms | p99 ms | largest ms "
        "| console's CPU ms each | client's CPU ms each | load |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    with (
        tempfile.TemporaryDirectory(prefix="sealroom-bench-") as name,
        LocalChain.start(kept_states=many.KEPT_STATES) as chain,
    ):
        folder = Path(name)
        lab = Lab.on(chain, folder)
        rooms = _studies(lab)
        chain.mine_every(BLOCK_S)
        yield from _measured("SQLite", f"sqlite:///{folder / 'sealroom.db'}", lab, rooms, folder / "SQLite")
        if missing():
            yield f"| PostgreSQL | not measured: {missing()} | | | | | | | |"
        else:
            with Postgres.start(fsync="on", shared_buffers="128MB") as server:
                yield from _measured("PostgreSQL", server.create(), lab, rooms, folder / "PostgreSQL")


def _studies(lab: Lab) -> list[Room]:
    """A consortium whose live study has runs, among as many as there are to be that each have one."""
    study = lab.live(runs=CONSORTIA, max_runs=50)
    for _ in range(5):
        lab.open_run(study, secrets.token_bytes(32), epsilon_micro=1000)
    return [lab.room, *many.live(lab, CONSORTIA - 1)]


def _measured(kind: str, url: str, lab: Lab, rooms: Sequence[Room], folder: Path) -> Iterator[str]:
    content = folder / "content"
    lab.store = store = Store(url, str(content))
    store.add_recipe(lab.compose_hash, lab.recipe.compose)
    follower = Follower(lab.reader, store, factory=lab.room.factory)
    follower.catch_up()
    follower.release()
    runs = _fill(store, lab, rooms)
    with _console(lab, url, content) as (address, pid):
        there = [room.consortium for room in rooms]
        kinds = {
            "run, JSON": [f"/v1/runs/{one}" for one in runs],
            "run, page": [f"/runs/{one}" for one in runs],
            "consortium, JSON": [f"/v1/studies/{one}" for one in there],
            "consortium, page": [f"/studies/{one}" for one in there],
            "busiest consortium, page": [f"/studies/{lab.room.consortium}"],
            "history": [f"/v1/studies/{one}/history" for one in there],
            "board, JSON": [f"/v1/studies?from={25 * page}" for page in range(CONSORTIA // 25)],
            "board, page": [f"/?from={20 * page}" for page in range(CONSORTIA // 20)],
        }
        dice = random.Random(1)
        drawn = dice.choices(list(MIX), weights=list(MIX.values()), k=MIXED)
        kinds["mixed"] = [dice.choice(kinds[what]) for what in drawn]
        for what, paths in kinds.items():
            yield _line(kind, what, _asked(address, pid, paths, store, lab))
    index = Index(store, lab.room.factory)
    began = time.process_time()
    took = [
        _timed(lambda start=25 * (page % 20): index.board(most=25, start=start, now=0.0))  # type: ignore[misc]
        for page in range(200)
    ]
    used = (time.process_time() - began) / len(took)
    yield _line(kind, f"the board's query alone, 25 of {CONSORTIA}", Asked(took, sum(took), used, 0.0))
    store.close()


@dataclass(frozen=True)
class Asked:
    """What asking came to."""

    took: list[float]
    """Seconds of each answer."""
    seconds: float
    """Of all."""
    console_s: float
    """CPU seconds of the console for each."""
    client_s: float
    """The same of who asks."""


def _line(kind: str, what: str, asked: Asked) -> str:
    took = sorted(asked.took)
    middle, high, top = statistics.median(took), took[int(len(took) * 0.99)], took[-1]
    rate, load = len(took) / asked.seconds, os.getloadavg()[0]
    times = " | ".join(f"{one * 1000:.1f}" for one in (middle, high, top))
    cpu = f"{asked.console_s * 1000:.2f} | {asked.client_s * 1000:.2f}"
    return f"| {kind} | {what} | {rate:.0f} | {times} | {cpu} | {load:.1f} |"


def _cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _console(lab: Lab, url: str, content: Path) -> Iterator[tuple[str, int]]:
    """`sealroom console` of this database; gives its address and process id."""
    ready = content.with_name("console.json")
    command = [sys.executable, "-m", "sealroom_agents.console", "--rpc", lab.chain.url]
    command += ["--factory", lab.room.factory, "--database", url, "--content", str(content)]
    process = child_processes.start([*command, "--port", "0", "--ready-file", str(ready)])
    try:
        until(lambda: ready.exists())
        yield json.loads(ready.read_text())["url"], _child_of(process.pid)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _child_of(guard: int) -> int:
    """The process that a guard of children has started."""
    found = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    return int(found[0]) if found else guard


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _fill(store: Store, lab: Lab, rooms: Sequence[Room]) -> list[str]:
    """Rows of runs that ended: `BUSY` of the lab's consortium, the others spread over all."""
    ids = ["0x" + secrets.token_hex(32) for _ in range(RUNS)]
    now = time.time()
    with store.writing() as session:
        session.execute(
            insert(RunRow),
            [
                {
                    "id": one, "compose_hash": lab.compose_hash,
                    "consortium": rooms[0 if number < BUSY else number % len(rooms)].consortium,
                    "state": "failed", "code": "run-failed", "message": "the run failed", "missing": "[]",
                    "fence": 1, "created": now - number, "updated": now - number,
                }
                for number, one in enumerate(ids)
            ],
        )  # fmt: skip
        session.execute(
            insert(EventRow),
            [
                {"run": one, "time": now, "phase": phase, "message": phase}
                for one in ids
                for phase in ("queued", "starting", "failed")
            ],
        )
    return ids


def _asked(address: str, pid: int, paths: Sequence[str], store: Store, lab: Lab) -> Asked:
    """Ask for paths drawn by chance; runs are submitted and claimed meanwhile."""
    url, took, stop = urlsplit(address), [], threading.Event()
    host, port = str(url.hostname), url.port or 80
    requests = [f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() for path in paths]
    lock, spent = threading.Lock(), [0.0]

    def ask(seed: int) -> None:
        dice, mine = random.Random(seed), []
        with socket.create_connection((host, port), timeout=60) as connection:
            while not stop.is_set():
                began = time.perf_counter()
                connection.sendall(dice.choice(requests))
                _read_answer(connection)
                mine.append(time.perf_counter() - began)
        with lock:
            took.extend(mine)
            spent[0] += time.thread_time()

    def change() -> None:
        while not stop.wait(0.05):
            lab.submit()
            store.claim(HOLDER)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(CLIENTS)]
    threads.append(threading.Thread(target=change))
    began, before = time.perf_counter(), _cpu_s(pid)
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    if not took:
        raise RuntimeError("the console has answered nothing")
    used = (_cpu_s(pid) - before) / len(took)
    return Asked(took, time.perf_counter() - began, used, spent[0] / len(took))


def _read_answer(connection: socket.socket) -> None:
    """Read one answer to its end, with no more work than that takes."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise RuntimeError("the console closed the connection")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{head.splitlines()[0]!r} for a page")
    left = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]) - len(body)
    while left > 0:
        left -= len(connection.recv(left))
