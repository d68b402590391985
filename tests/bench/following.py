# SPDX-License-Identifier: Apache-2.0
"""What it costs to follow a chain in which nothing happens here: requests a block and CPU a second, of the
console's index and of the gate's follower, with blocks every 200 ms and every 12 s.

The peer is bare: the header of the newest block, asked for once a block by the same client."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.rpc_proxy import RpcProxy

from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.index import Follower, following
from sealroom_agents.store.index import Index

Kind = Callable[[Lab, str, float], AbstractContextManager[Callable[[], int]]]
"""Follows by a node's URL, at this pace; gives the number of the block that it has come to."""
PACES = {0.2: 20.0, 12.0: 36.0}
"""Seconds between blocks, and for how many seconds each is followed."""
_MINER = (
    "import sys, time, httpx\n"
    "client, pause, due = httpx.Client(timeout=60), float(sys.argv[2]), time.monotonic()\n"
    "while True:\n"
    "    body = {'jsonrpc': '2.0', 'id': 1, 'method': 'anvil_mine', 'params': ['0x1']}\n"
    "    client.post(sys.argv[1], json=body)\n"
    "    due += pause\n"
    "    time.sleep(max(0.0, due - time.monotonic()))\n"
)
"""Mines at this pace in a process of its own: anvil itself knows whole seconds only."""


def run() -> Iterator[str]:
    load = os.getloadavg()[0]
    yield f"{os.cpu_count()} CPUs, load average {load:.1f} before; CPU is that of the follower alone"
    yield ""
    yield "| block time | what | blocks | requests a block | CPU ms a block | CPU ms a second | behind |"
    yield "|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as name, LocalChain.start() as chain:
        lab = Lab.on(chain, Path(name))
        lab.live()
        # What went before is read once, and not counted.
        before = Follower(lab.reader, lab.store, factory=lab.room.factory)
        before.catch_up()
        before.release()
        node = _Node(chain.url)
        chain.rpc("anvil_removeBlockTimestampInterval")
        for pace, seconds in PACES.items():
            with _mined(chain, pace):
                for kind in (_bare, _index, _gate):
                    yield _measured(lab, node, kind, pace, seconds)
        node.stop()
        lab.store.close()


def _measured(lab: Lab, node: _Node, kind: Kind, pace: float, seconds: float) -> str:
    with kind(lab, node.url, pace) as position:
        time.sleep(max(3.0, 2 * pace))
        first, before = lab.chain.block_number(), node.calls
        cpu, began = time.process_time(), time.monotonic()
        time.sleep(seconds)
        used, took = time.process_time() - cpu, time.monotonic() - began
        requests, last = node.calls - before, lab.chain.block_number()
        behind, blocks = last - position(), last - first
    each = f"{requests / blocks:.2f} | {used / blocks * 1e3:.1f} | {used / took * 1e3:.1f}"
    return f"| {pace:g} s | {kind.__name__.strip('_')} | {blocks} | {each} | {behind} |"


class _Node:
    """The chain's node behind a process of its own that counts what it is asked."""

    def __init__(self, upstream: str) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._count = spawned.Value("Q", 0)
        told = spawned.SimpleQueue()
        self._process = spawned.Process(target=_count, args=(upstream, self._count, told), daemon=True)
        self._process.start()
        self.url = str(told.get())

    @property
    def calls(self) -> int:
        """Requests until now."""
        return int(self._count.value)

    def stop(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.join()


def _count(upstream: str, count: Any, told: Any) -> None:
    def one() -> bool:
        with count.get_lock():
            count.value += 1
        return False

    with RpcProxy(upstream) as proxy:
        proxy.busy = one
        told.put(proxy.url)
        threading.Event().wait()


@contextmanager
def _mined(chain: LocalChain, pace: float) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _MINER, chain.url, str(pace)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _reader(lab: Lab, url: str) -> ChainReader:
    """Its clock runs on from the newest block's time, and asks nobody."""
    ahead = lab.chain.head_time() - time.time()
    return ChainReader([url], clock=lambda: time.time() + ahead)


@contextmanager
def _bare(_lab: Lab, url: str, pace: float) -> Iterator[Callable[[], int]]:
    rpc, stop, seen = Rpc(url), threading.Event(), 0

    def ask() -> None:
        nonlocal seen
        while not stop.wait(pace):
            seen = rpc.head("latest").number

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lambda: seen
    finally:
        stop.set()
        thread.join()
        rpc.close()


@contextmanager
def _index(lab: Lab, url: str, _pace: float) -> Iterator[Callable[[], int]]:
    reader, index = _reader(lab, url), Index(lab.store, lab.room.factory)

    def position() -> int:
        cursor = index.cursor()
        return 0 if cursor is None else cursor.at.number

    with following(Follower(reader, lab.store, factory=lab.room.factory)):
        yield position
    reader.close()


@contextmanager
def _gate(lab: Lab, url: str, _pace: float) -> Iterator[Callable[[], int]]:
    reader = _reader(lab, url)
    follower = reader.follow()
    try:
        follower.view(lab.room.consortium)
        yield lambda: follower.latest(lab.room.consortium).block_number
    finally:
        follower.close()
        reader.close()
