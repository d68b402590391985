# SPDX-License-Identifier: Apache-2.0
"""The processes of the demo: started one by one, stopped at the end, gone with the demo if it dies."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sealroom_agents import child_processes
from sealroom_agents.errors import DemoError

READY_TIMEOUT_SECONDS = 300.0
"""How long a process may take until it says that it listens: seconds, on an idle machine."""
COMMAND_TIMEOUT_SECONDS = 600.0
"""How long a command may take that comes to an end by itself."""
STOP_TIMEOUT_SECONDS = 5.0
"""How long a process may take to end after SIGTERM, before SIGKILL."""
RPC_TIMEOUT_SECONDS = 60.0
"""One JSON-RPC call to the local chain."""
MARK = ".sealroom-demo"
"""File that says a folder is the demo's own, to be emptied; the demo that runs in it holds it locked."""


@dataclass
class Stack:
    """Processes and their files under one folder."""

    root: Path
    """The checkout: where ape-config.yaml lies."""
    folder: Path
    """Everything that the demo writes."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Running processes by name."""
    commands: set[subprocess.Popen[str]] = field(default_factory=set)
    """Commands under way, which come to an end by themselves."""

    def __post_init__(self) -> None:
        self._lock, self._stopped = threading.Lock(), False

    @property
    def environment(self) -> dict[str, str]:
        """The parent's, with this virtual environment first and Ape's data kept inside the checkout."""
        here = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": here + os.pathsep + os.environ.get("PATH", ""),
            "APE_DATA_FOLDER": str(self.root / ".ape"),
        }

    def start(self, name: str, *command: str) -> None:
        """Start a process; its output goes to ``logs/<name>.log``."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"{name}.log").open("wb") as log, self._lock:
            self.processes[name] = self._begin(command, stdout=log, stderr=subprocess.STDOUT)

    def start_ready(self, name: str, *command: str) -> dict[str, str]:
        """Start a process that takes ``--ready-file``; returns what it wrote there once it was ready."""
        ready = self.folder / "ready" / f"{name}.json"
        ready.parent.mkdir(parents=True, exist_ok=True)
        ready.unlink(missing_ok=True)
        self.start(name, *command, "--ready-file", str(ready))
        self._wait(name, ready.exists)
        content: dict[str, str] = json.loads(ready.read_text())
        return content

    def start_chain(self) -> str:
        """Start anvil with one block a second and finality two blocks behind; returns its URL."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        # Past some hundred blocks anvil writes one file a block, into the user's home unless told otherwise,
        # and never removes any.
        states = str(self.folder / "chain")
        command = ["anvil", "--port", str(port), "--block-time", "1", "--slots-in-an-epoch", "1", "--silent"]
        self.start("chain", *command, "--cache-path", states)
        self._wait("chain", lambda: self._answers(url))
        return url

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; on failure, raise with what it printed."""
        shown = f"`{' '.join(command[:4])} …`"
        with self._lock:
            process = self._begin(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.commands.add(process)
        with process:
            try:
                out, err = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                raise DemoError(f"{shown} took longer than {COMMAND_TIMEOUT_SECONDS:.0f} s") from None
            finally:
                if process.poll() is None:
                    child_processes.kill(process.pid)
                with self._lock:
                    self.commands.discard(process)
        if check and process.returncode != 0:
            raise DemoError(f"{shown} failed: {(err or out).strip()[-2000:]}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def stop(self) -> None:
        """End every process, last started first; SIGKILL for what does not listen, and for commands under
        way. Nothing is started after that."""
        with self._lock:
            self._stopped = True
            commands = list(self.commands)
        for command in commands:
            child_processes.kill(command.pid)
        for process in reversed(self.processes.values()):
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child_processes.kill(process.pid)
                process.wait()
        self.processes.clear()

    def _begin(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        if self._stopped:
            raise DemoError("the demo was stopped")
        return child_processes.start(
            command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL, **options
        )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not ready():
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "logs" / f"{name}.log").read_text(errors="replace")
                raise DemoError(f"{name} did not start: {log.strip()[-2000:]}")
            time.sleep(0.05)

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            rpc(url, "eth_chainId")
        except httpx.HTTPError:
            return False
        return True


def rpc(url: str, method: str, *params: object) -> object:
    """One JSON-RPC call; raises ``DemoError`` with the node's own words."""
    answer = httpx.post(
        url,
        json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)},
        timeout=RPC_TIMEOUT_SECONDS,
    ).json()
    if "error" in answer:
        raise DemoError(f"{method}: {answer['error'].get('message')}")
    return answer["result"]


def wait_until_final(url: str) -> None:
    """Wait until what is in the newest block now is finalized: only then does an approval count."""
    newest = int(str(rpc(url, "eth_blockNumber")), 16)
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while _finalized(url) < newest:
        if time.monotonic() > deadline:
            raise DemoError(f"block {newest} of the local chain does not become final")
        time.sleep(0.1)


def _finalized(url: str) -> int:
    block: Any = rpc(url, "eth_getBlockByNumber", "finalized", False)
    return int(block["number"], 16)


def empty_folder(folder: Path) -> int:
    """Make `folder` one that is empty, the demo's own, and readable by this user alone.

    A new or an empty folder is marked as the demo's; one that bears the mark is emptied; any other is left as
    it is and refused, and so is one in which another demo runs. Returns what holds the folder: a descriptor
    to close at the end. Raises `DemoError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()}
        if names and MARK not in names:
            raise DemoError(
                f"{folder} holds files that no demo wrote, and would be emptied",
                hint="name another --dir, or empty it yourself",
            )
        held = os.open(folder / MARK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(
                    f"another demo runs in {folder}", hint="stop it, or name another --dir"
                ) from None
            folder.chmod(0o700)
            for entry in folder.iterdir():
                if entry.name == MARK:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except BaseException:
            os.close(held)
            raise
    except OSError as error:
        raise DemoError(
            f"the demo cannot write in {folder}: {error.strerror}", hint="name another --dir"
        ) from None
    return held
