# SPDX-License-Identifier: Apache-2.0
"""The `local` backend: the simulated platform and the two real enclave programs, on this machine.

Each run gets a fresh folder (0700), a guest agent that measures the run's recipe, and the two services of the
recipe, `python -m sealroom job` and `python -m sealroom`. All start with an empty environment, each behind a
guard, so that it ends with all its children when the runner does, however the runner ends. An envelope on the
disk outlives them all. It proves nothing to anyone: the gate takes its quotes on a local chain only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait  # by poll: select knows no descriptor beyond 1,023
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, RecipeError
from sealroom.recipe import parse
from sealroom_agents import child_processes
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.config import Config
from sealroom_agents.errors import ConfigurationError, RunnerError
from sealroom_agents.runner.backend import Assignment, Leftovers, Options, Place
from sealroom_agents.runner.run_folder import folder_of, known, read_envelope, read_failure

GUEST_READY_S = 120.0
"""How long the guest agent may take to listen, seconds."""
DEATH_S = 30.0
"""How long a killed process may take to be gone, seconds."""
MAX_LINE_BYTES = 64 * 1024
"""Longest line that an enclave may print."""
CHUNK_BYTES = 64 * 1024
SOCKET_PREFIX = "sealroom-"
SOCKET_FILE = "socket"
"""Names the guest agent's socket, for its removal."""


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
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise RunnerError(
                Code.BACKEND, f"{folder} is there already: this run was started before"
            ) from None
        except OSError as error:
            raise RunnerError(Code.BACKEND, f"the run's folder cannot be made: {error.strerror}") from error
        enclave = LocalEnclave(folder=folder, socket=folder / "none" / "guest.sock")
        try:
            (folder / "out").mkdir(mode=0o700)
            compose = folder / "app-compose.json"
            compose.write_bytes(assignment.compose)
            # The path of a unix socket has about a hundred bytes, so it lives apart from the run's folder.
            socket = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX)) / "guest.sock"
            enclave.socket = socket
            (folder / SOCKET_FILE).write_text(str(socket))
            ready = folder / "guest.ready"
            enclave.guest = _spawn(
                folder,
                "guest",
                ["-m", "sealroom_agents.simulator", "guest"],
                ["--platform", str(self.platform.absolute()), "--compose", str(compose)],
                ["--app-id", assignment.app, "--socket", str(socket), "--ready-file", str(ready)],
                ["--gpus", str(_gpus(assignment.compose))],
            )
            _wait_for(ready, enclave.guest)
            enclave.job = _spawn(folder, "job", ["-B", "-m", "sealroom", "job", str(socket.parent)])
            enclave.program = _spawn(
                folder,
                "enclave",
                ["-m", "sealroom", "--run-id", assignment.run_id, "--consortium", assignment.consortium],
                ["--chain-id", str(assignment.chain_id), "--gate", self.gate],
                ["--datasets", str(self.datasets.absolute()), "--out", str(folder / "out")],
                ["--guest-agent", str(socket), "--channel", str(socket.parent)],
            )
        except (OSError, RunnerError) as error:
            enclave.clean()
            if isinstance(error, RunnerError):
                raise
            raise RunnerError(Code.BACKEND, f"the enclave cannot be started: {error.strerror}") from error
        return enclave

    def leftovers(self, run_id: str) -> Leftovers:
        """Kill what may still run, and look whether the envelope is there: it appears whole or not at all."""
        folder = self._folder(run_id)
        for pid in _programs_of(run_id):
            if not child_processes.kill(pid):
                raise RunnerError(Code.BACKEND, f"process {pid} does not die")
        try:
            envelope = read_envelope(folder)
        except RunnerError:
            envelope = None
        return Leftovers(started=folder.is_dir(), envelope=envelope, failure=read_failure(folder))

    def forget(self, run_id: str) -> None:
        """Remove all but the logs."""
        _clean(self._folder(run_id))

    def known(self) -> list[str]:
        """Folders that are named as run ids are."""
        return known(self.state)

    def close(self) -> None:
        """Nothing is held open."""

    def _folder(self, run_id: str) -> Path:
        return folder_of(self.state, run_id)


@dataclass
class LocalEnclave:
    """The processes of one run."""

    folder: Path
    """The run's folder."""
    socket: Path
    """The guest agent's socket, alone in its folder."""
    guest: subprocess.Popen[bytes] | None = None
    """The guest agent."""
    job: subprocess.Popen[bytes] | None = None
    """The service `job`."""
    program: subprocess.Popen[bytes] | None = None
    """The custodian."""

    def __post_init__(self) -> None:
        self._buffer = b""
        self._ended = False

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next JSON line. Raises `RunnerError` `enclave-protocol` on anything else."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise RunnerError(
                    Code.ENCLAVE_PROTOCOL, f"the enclave printed a line over {MAX_LINE_BYTES} bytes"
                )
            if not self._read(max(0.0, deadline - time.monotonic())):
                return None
        raw, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return strict_json(raw, MAX_LINE_BYTES, allow_floats=True)
        except FormatError as error:
            raise RunnerError(
                Code.ENCLAVE_PROTOCOL, "the enclave printed a line that is no JSON object"
            ) from error

    def exit_code(self) -> int | None:
        """The exit status once the output has been read to its end."""
        if self.program is None or not self._ended:
            return None
        return self.program.poll()

    def envelope(self) -> bytes:
        """`out/envelope.json`, bounded."""
        return read_envelope(self.folder)

    def failure(self) -> bytes | None:
        """`out/failure.json`, bounded."""
        return read_failure(self.folder)

    def terminate(self) -> None:
        """Ask the enclave to end by itself (SIGTERM)."""
        if self.program is not None and self.program.poll() is None:
            self.program.terminate()

    def kill(self) -> None:
        """Kill all processes with all their children, and wait until they are gone."""
        there = [process for process in (self.program, self.job, self.guest) if process is not None]
        if alive := [process.pid for process in there if process.poll() is None]:
            child_processes.kill(*alive)
        for process in there:
            try:
                process.wait(DEATH_S)
            except subprocess.TimeoutExpired as error:
                raise RunnerError(Code.BACKEND, f"process {process.pid} does not die") from error

    def clean(self) -> None:
        """Kill what is left; only the logs stay, since an envelope without its anchor must not."""
        self.kill()
        for process in (self.program, self.job, self.guest):
            if process is not None and process.stdout is not None:
                process.stdout.close()
        _clean(self.folder)

    def _read(self, timeout_s: float) -> bool:
        """Take what the enclave printed; false when nothing came in time or nothing will come any more."""
        if self.program is None or self.program.stdout is None or self._ended:
            return False
        # A child that outlives the program could hold the pipe open, so the program's own end counts too.
        over = self.program.poll() is not None
        if not wait([self.program.stdout.fileno()], 0.0 if over else timeout_s):
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
    """Start a Python program with no environment; stderr goes to `NAME.log`. It ends with this process.

    Only the enclave's stdout is read, so only that is a pipe.
    """
    with (folder / f"{name}.log").open("wb") as log:
        return child_processes.start(
            [sys.executable, "-I", *(part for group in arguments for part in group)],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if name == "enclave" else log,
            stderr=log,
            umask=0o077,
        )


def _gpus(compose: bytes) -> int:
    """How many simulated GPUs the machine has: as many as the recipe demands. What can't be read demands
    none, and the enclave refuses it."""
    with suppress(RecipeError):
        demand = parse(compose).gpu
        return 0 if demand is None else demand.count
    return 0


def _wait_for(ready: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + GUEST_READY_S
    while not ready.exists():
        if process.poll() is not None:
            raise RunnerError(
                Code.BACKEND, "the simulated guest agent did not start", "its log is in the run's folder"
            )
        if time.monotonic() > deadline:
            raise RunnerError(
                Code.BACKEND, f"the simulated guest agent was not ready within {GUEST_READY_S:.0f} s"
            )
        time.sleep(0.02)


def _clean(folder: Path) -> None:
    """Leave nothing but the logs of a run's folder, and no socket."""
    try:
        place = Path((folder / SOCKET_FILE).read_text()).parent
    except OSError:
        place = None
    if place is not None and place.name.startswith(SOCKET_PREFIX):
        shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    for name in ("app-compose.json", "guest.ready", SOCKET_FILE):
        (folder / name).unlink(missing_ok=True)


def _programs_of(run_id: str) -> list[int]:
    """Processes of this Python that name the run: its guest agent, its enclave, and the guards of both."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        named = any(run_id.removeprefix("0x").encode() in word for word in words)
        if words[0] == os.fsencode(sys.executable) and words[1:2] == [b"-I"] and named:
            found.append(int(entry.parent.name))
    return found


class _Local:
    """The entry point. Its platform stands in `[simulator]`, which the gate and the console read, too."""

    options = Options

    def lacks(self, config: Config) -> Iterator[tuple[str, str, str]]:
        """The platform."""
        if config.simulator.platform is None:
            yield (
                "[simulator] platform",
                "the backend local needs a simulated platform",
                "sealroom simulate init",
            )

    def open(self, options: Options, place: Place) -> LocalBackend:
        """On a local chain only."""
        platform = place.config.simulator.platform
        if platform is None or place.chain_id not in LOCAL_CHAIN_IDS:
            raise ConfigurationError(
                Code.CONFIGURATION,
                f"the backend local needs --platform and a local chain; this is chain {place.chain_id}",
                "a simulated platform proves nothing to the owners of a real consortium",
            )
        runner = place.runner
        return LocalBackend(platform=platform, datasets=runner.datasets, state=runner.state, gate=runner.gate)


BACKEND = _Local()
