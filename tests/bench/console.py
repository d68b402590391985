# SPDX-License-Identifier: Apache-2.0
"""GET requests a second at the console with many runs and consortia, on SQLite and PostgreSQL.

The console is a process of its own, asked over real HTTP by `CLIENTS` connections that stay open. Meanwhile
its index follows the chain, and runs are submitted and claimed every 50 ms. PostgreSQL is measured where
`SEALROOM_BENCH_POSTGRES` names a database that may be filled.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import insert, select
from tests.local_chain import LocalChain
from tests.outside import HOLDER, Lab
from tests.patience import PATIENCE_S, until

from sealroom_agents import child_processes
from sealroom_agents.index import Follower
from sealroom_agents.store import Store
from sealroom_agents.store.index import Index
from sealroom_agents.store.tables import ConsortiumRow, EventRow, RunRow

RUNS = 10_000
CONSORTIA = 500
CLIENTS = 8
SECONDS = 15.0


def run() -> Iterator[str]:
    load = os.getloadavg()[0]
    yield f"{RUNS:,} runs, {CONSORTIA} consortia, {CLIENTS} clients, {SECONDS:g} s each"
    yield f"{os.cpu_count()} CPUs, load average {load:.1f} before; all processes share them"
    yield ""
    yield "| database | what | GET/s | p50 ms | p99 ms | largest ms | console's CPU ms each |"
    yield "|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as name:
        urls = {"SQLite": f"sqlite:///{Path(name) / 'sealroom.db'}"}
        postgres = os.environ.get("SEALROOM_BENCH_POSTGRES")
        if postgres:
            urls["PostgreSQL"] = postgres
        for kind, url in urls.items():
            with LocalChain.start() as chain:
                yield from _measured(kind, url, chain, Path(name) / kind)
        if not postgres:
            yield "| PostgreSQL | not measured: SEALROOM_BENCH_POSTGRES names no database | | | | | |"


def _measured(kind: str, url: str, chain: LocalChain, folder: Path) -> Iterator[str]:
    lab = Lab.on(chain, folder)
    lab.store.close()
    lab.store = store = Store(url)
    store.add_recipe(lab.compose_hash, lab.recipe.compose)
    study = lab.live(max_runs=50)
    for _ in range(5):
        lab.open_run(study, secrets.token_bytes(32), epsilon_micro=1000)
    follower = Follower(lab.reader, store, factory=lab.room.factory)
    follower.catch_up()
    follower.release()
    runs = _fill(store, lab)
    with _console(chain, url, lab.room.factory, folder) as (address, pid):
        kinds = {
            "run": [f"/v1/runs/{one}" for one in runs],
            "consortium": [f"/v1/studies/{lab.room.consortium}"],
            "history": [f"/v1/studies/{lab.room.consortium}/history"],
            "board, JSON": [f"/v1/studies?from={25 * page}" for page in range(20)],
            "board, page": [f"/?from={20 * page}" for page in range(25)],
        }
        some = kinds["run"][: len(runs) // 100]
        kinds["all, in equal parts"] = [
            path
            for five in zip(
                some,
                len(some) * kinds["consortium"],
                len(some) * kinds["history"],
                len(some) * kinds["board, JSON"],
                len(some) * kinds["board, page"],
                strict=False,
            )
            for path in five
        ]
        for what, paths in kinds.items():
            before = _cpu_s(pid)
            took, seconds = _asked(address, paths, store, lab)
            yield _line(kind, what, took, f"{len(took) / seconds:.0f}", (_cpu_s(pid) - before) / len(took))
    index = Index(store, lab.room.factory)
    began = time.process_time()
    took = [
        _timed(lambda start=25 * (page % 20): index.board(most=25, start=start, now=0.0))  # type: ignore[misc]
        for page in range(200)
    ]
    each = (time.process_time() - began) / len(took)
    yield _line(kind, f"the board's query alone, 25 of {CONSORTIA}", took, "–", each)
    store.close()


def _line(kind: str, what: str, took: list[float], rate: str, cpu_s: float) -> str:
    took.sort()
    middle, high, top = statistics.median(took), took[int(len(took) * 0.99)], took[-1]
    figures = " | ".join(f"{one * 1000:.1f}" for one in (middle, high, top, cpu_s))
    return f"| {kind} | {what} | {rate} | {figures} |"


def _cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _console(chain: LocalChain, url: str, factory: str, folder: Path) -> Iterator[tuple[str, int]]:
    """`sealroom console` of this database; gives its address and process id."""
    ready = folder / "console.json"
    command = [sys.executable, "-m", "sealroom_agents.console", "--rpc", chain.url, "--factory", factory]
    command += ["--database", url, "--port", "0", "--ready-file", str(ready)]
    process = child_processes.start(command)
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


def _fill(store: Store, lab: Lab) -> list[str]:
    """Rows of ended and waiting runs, and copies of the one consortium under other addresses."""
    ids = ["0x" + secrets.token_hex(32) for _ in range(RUNS)]
    now = time.time()
    with store.writing() as session:
        session.execute(
            insert(RunRow),
            [
                {
                    "id": one, "compose_hash": lab.compose_hash, "consortium": lab.room.consortium,
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
        row = session.scalars(select(ConsortiumRow)).one()
        columns = {column.key: getattr(row, column.key) for column in ConsortiumRow.__table__.columns}
        session.execute(
            insert(ConsortiumRow),
            [
                columns | {"address": f"0x{number:040x}", "number": number, "checked": now + 1e6}
                for number in range(1, CONSORTIA)
            ],
        )
    return ids


def _asked(address: str, paths: Sequence[str], store: Store, lab: Lab) -> tuple[list[float], float]:
    """Seconds of each answer, and of all; runs are submitted and claimed meanwhile."""
    url, took, stop = urlsplit(address), [], threading.Event()
    lock = threading.Lock()

    def ask(seed: int) -> None:
        dice, mine = random.Random(seed), []
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=60)
        while not stop.is_set():
            began = time.perf_counter()
            connection.request("GET", dice.choice(paths))
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status} of a page")
            mine.append(time.perf_counter() - began)
        with lock:
            took.extend(mine)

    def change() -> None:
        while not stop.wait(0.05):
            lab.submit()
            store.claim(HOLDER)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(CLIENTS)]
    threads.append(threading.Thread(target=change))
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return took, time.perf_counter() - began
