# SPDX-License-Identifier: Apache-2.0
"""The `local` backend: the simulated platform and the real enclave program, as two processes on this machine.

Each run gets a fresh folder (0700), a guest agent that measures the run's recipe, and one `python -m
sealroom`. Both start with an empty environment and in sessions of their own, so that one signal ends each
with all its children. It proves nothing to anyone: the gate takes its quotes on a local chain only.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealroom.encoding import strict_json
from sealroom.envelope import MAX_ENVELOPE_BYTES
from sealroom.errors import FormatError
from sealroom_agents.errors import RunnerError
from sealroom_agents.runner.backend import Assignment

GUEST_READY_S = 20.0
"""How long the guest agent may take to listen, seconds."""
DEATH_S = 5.0
"""How long a killed process may take to be gone, seconds."""
MAX_LINE_BYTES = 64 * 1024
"""Longest line that an enclave may print."""
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class LocalBackend:
    """Starts enclaves on this machine."""

    platform: Path
    """Folder of the simulated platform."""
    datasets: Path
    """Folder with the owners' sealed datasets, `OWNER/NAME.tar`."""
    state: Path
    """Folder in which each run gets its own."""
    gate: str
    """URL of the gate."""

    def start(self, assignment: Assignment) -> LocalEnclave:
        """Boot the guest agent with the recipe, then start the enclave program."""
        folder = self._folder(assignment.run_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "out").mkdir(mode=0o700)
        compose = folder / "app-compose.json"
        compose.write_bytes(assignment.compose)
        # The path of a unix socket has about a hundred bytes, so it lives apart from the run's folder.
        socket = Path(tempfile.mkdtemp(prefix="sealroom-")) / "guest.sock"
        enclave = LocalEnclave(folder=folder, socket=socket)
        try:
            ready = folder / "guest.ready"
            enclave.guest = _spawn(
                folder,
                "guest",
                ["-m", "sealroom_agents.simulator", "guest"],
                ["--platform", str(self.platform.absolute()), "--compose", str(compose)],
                ["--app-id", assignment.app, "--socket", str(socket), "--ready-file", str(ready)],
            )
            _wait_for(ready, enclave.guest)
            enclave.program = _spawn(
                folder,
                "enclave",
                ["-m", "sealroom", "--run-id", assignment.run_id, "--consortium", assignment.consortium],
                ["--chain-id", str(assignment.chain_id), "--gate", self.gate],
                ["--datasets", str(self.datasets.absolute()), "--out", str(folder / "out")],
                ["--guest-agent", str(socket)],
            )
            pids = {"guest": enclave.guest.pid, "enclave": enclave.program.pid}
            (folder / "pids.json").write_text(json.dumps(pids))
        except (OSError, RunnerError) as error:
            enclave.clean()
            if isinstance(error, RunnerError):
                raise
            raise RunnerError("backend", f"the enclave cannot be started: {error.strerror}") from error
        return enclave

    def orphaned(self, run_id: str) -> None:
        """Kill what an earlier runner process left of a run, after a look at what those processes are."""
        folder = self._folder(run_id)
        try:
            pids = json.loads((folder / "pids.json").read_text())
        except (OSError, ValueError):
            return
        for pid in pids.values():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if run_id.removeprefix("0x").encode() in command:
                _kill_tree(int(pid))
        shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, run_id: str) -> Path:
        return self.state.absolute() / run_id.removeprefix("0x")


@dataclass
class LocalEnclave:
    """The two processes of one run."""

    folder: Path
    """The run's folder."""
    socket: Path
    """The guest agent's socket, alone in its folder."""
    guest: subprocess.Popen[bytes] | None = None
    """The guest agent."""
    program: subprocess.Popen[bytes] | None = None
    """The enclave."""

    def __post_init__(self) -> None:
        self._buffer = b""
        self._ended = False

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next JSON line. Raises `RunnerError` `enclave-protocol` on anything else."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise RunnerError(
                    "enclave-protocol", f"the enclave printed a line over {MAX_LINE_BYTES} bytes"
                )
            if not self._read(max(0.0, deadline - time.monotonic())):
                return None
        raw, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return strict_json(raw, MAX_LINE_BYTES, allow_floats=True)
        except FormatError as error:
            raise RunnerError(
                "enclave-protocol", "the enclave printed a line that is no JSON object"
            ) from error

    def exit_code(self) -> int | None:
        """The exit status once the output has been read to its end."""
        if self.program is None or not self._ended:
            return None
        return self.program.poll()

    def envelope(self) -> bytes:
        """`out/envelope.json`, bounded."""
        try:
            with (self.folder / "out" / "envelope.json").open("rb") as stream:
                data = stream.read(MAX_ENVELOPE_BYTES + 1)
        except OSError as error:
            raise RunnerError("no-envelope", "the enclave ended well but left no envelope") from error
        if len(data) > MAX_ENVELOPE_BYTES:
            raise RunnerError("no-envelope", f"the envelope is larger than {MAX_ENVELOPE_BYTES} bytes")
        return data

    def terminate(self) -> None:
        """Ask the enclave to end by itself (SIGTERM)."""
        if self.program is not None and self.program.poll() is None:
            self.program.terminate()

    def kill(self) -> None:
        """Kill both processes with all their children, and wait until they are gone."""
        for process in (self.program, self.guest):
            if process is not None and process.poll() is None:
                _kill_tree(process.pid)
        for process in (self.program, self.guest):
            if process is not None:
                try:
                    process.wait(DEATH_S)
                except subprocess.TimeoutExpired as error:
                    raise RunnerError("backend", f"process {process.pid} does not die") from error

    def clean(self) -> None:
        """Kill what is left; only the logs stay, since an envelope without its anchor must not."""
        self.kill()
        for process in (self.program, self.guest):
            if process is not None and process.stdout is not None:
                process.stdout.close()
        shutil.rmtree(self.socket.parent, ignore_errors=True)
        for name in ("out", "app-compose.json", "guest.ready", "pids.json"):
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _read(self, timeout_s: float) -> bool:
        """Take what the enclave printed; false when nothing came in time or nothing will come any more."""
        if self.program is None or self.program.stdout is None or self._ended:
            return False
        # A child that outlives the program could hold the pipe open, so the program's own end counts too.
        over = self.program.poll() is not None
        readable, _, _ = select.select([self.program.stdout], [], [], 0.0 if over else timeout_s)
        if not readable:
            self._ended = over
            return False
        data = os.read(self.program.stdout.fileno(), CHUNK_BYTES)
        if not data:
            # Closed, but perhaps not gone yet: wait here, or the caller would spin.
            try:
                self.program.wait(timeout_s)
                self._ended = True
            except subprocess.TimeoutExpired:
                pass
        self._buffer += data
        return bool(data)


def _spawn(folder: Path, name: str, *arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a Python program with no environment, in a session of its own; stderr goes to `NAME.log`.

    Only the enclave's stdout is read, so only that is a pipe.
    """
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", *(part for group in arguments for part in group)],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if name == "enclave" else log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )


def _wait_for(ready: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + GUEST_READY_S
    while not ready.exists():
        if process.poll() is not None:
            raise RunnerError(
                "backend", "the simulated guest agent did not start", "its log is in the run's folder"
            )
        if time.monotonic() > deadline:
            raise RunnerError(
                "backend", f"the simulated guest agent was not ready within {GUEST_READY_S:.0f} s"
            )
        time.sleep(0.02)


def _kill_tree(pid: int) -> None:
    """Kill a process, its session, and every descendant that made a session of its own."""
    doomed = [pid, *_descendants(pid)]
    for each in doomed:
        for kill in (os.killpg, os.kill):
            try:
                kill(each, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # gone already, or no leader of a group


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; what follows the last one is fixed.
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found
