# SPDX-License-Identifier: Apache-2.0
"""The custodian's side of a job: start it, see that it is shut in, end it.

A job is a process that can compute and use one socket, and nothing else. `sealroom.runtime.launcher` makes
it, `sealroom.runtime.confine` puts up the walls, and they overlap, so that one holds what another lets
through:

==============  ====================================================================================
system calls    what `sealroom.runtime.syscalls` lists, with the arguments it lists; no other exists
network         no call makes a socket; own network namespace
files           once sealed, no call takes a path; before that, an empty root or Landlock
processes       no call reaches another process; own pid namespace and uid; no capabilities; not dumpable
new programs    none; the one way to `clone` makes a thread
crashes         end in silence: a handler is set, so the kernel logs no registers
processors      a lower priority than the custodian's, which no call of the job's changes
memory          RLIMIT_AS, RLIMIT_CORE 0; first to go when the machine runs short
==============  ====================================================================================

The system-call filter is not optional: if it cannot be installed, or the machine is neither x86-64 nor
AArch64, the job dies before it sees any data. The others stand where the place grants them; `Walls` says
which.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime.channel import Channel, Frame
from sealroom.runtime.confine import PACKAGES, Walls
from sealroom.runtime.launcher import SOCKET_NAME

if TYPE_CHECKING:
    from sealroom.recipe import Recipe

ANALYSIS, RELATION = "analysis", "relation"
"""The launcher's programs: a job for a script, and one for a relation."""

READY_SECONDS = 60.0
"""Longest that a job may take to start and load pandas, and the launcher to answer."""

STOP_SECONDS = 5.0
"""How long a killed job may take to be gone."""

JOIN_SECONDS = 60.0
"""How long the service `job` may take to be there."""

_KILLED = -signal.SIGKILL.value


class Service:
    """The service `job` of this machine, which ends when this connection does. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Join it at the socket in the folder that both share. Raises `JobError` ("sandbox-unavailable")."""
        self._place = folder / SOCKET_NAME
        deadline = time.monotonic() + JOIN_SECONDS
        while True:
            try:
                self._lifeline = self.connect()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise JobError(
                        Code.SANDBOX_UNAVAILABLE, f"the service job is not there: {error.strerror}"
                    ) from None
                time.sleep(0.02)

    def connect(self) -> socket.socket:
        """One more connection. Raises `OSError`."""
        end = socket.socket(socket.AF_UNIX)
        try:
            end.connect(str(self._place))
        except BaseException:
            end.close()
            raise
        return end

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lifeline.close()


class Sandbox:
    """A running, confined job. A context manager: its exit kills the job."""

    def __init__(
        self,
        channel: socket.socket,
        control: socket.socket,
        launcher: subprocess.Popen[bytes] | None,
    ) -> None:
        self.channel = channel
        """Our end of the one socket the job has."""
        self._control = control
        self._launcher = launcher
        self._pid: int | None = None
        self._walls: Walls | None = None

    @classmethod
    def of(cls, recipe: Recipe, *, service: Service | None = None) -> Sandbox:
        """Start the job that the recipe needs."""
        return cls.start(ANALYSIS if recipe.compiled is None else RELATION, service=service)

    @classmethod
    def start(cls, program: str = ANALYSIS, *, service: Service | None = None) -> Sandbox:
        """Start a job with one of the launcher's programs, in the service or else in a launcher of its own.

        It has a fresh address space: no key this process holds can be in it. Raises `JobError`
        ("sandbox-unavailable").
        """
        launcher = None
        if service is None:
            control, launcher = _own_launcher()
        else:
            try:
                control = service.connect()
            except OSError:
                raise JobError(Code.SANDBOX_UNAVAILABLE, "the service job is gone") from None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        sandbox = cls(ours, control, launcher)
        try:
            with theirs:
                Channel(control).send({"op": "start", "program": program}, descriptor=theirs.fileno())
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    @property
    def pid(self) -> int:
        """The job's process id, as its launcher sees it."""
        if self._pid is None:
            self._pid = int(self._hear("started").head["pid"])
        return self._pid

    def ready(self) -> Walls:
        """Wait until the job has locked itself down and loaded the base, and see that the kernel agrees.

        Raises `JobError` ("sandbox-unavailable").
        """
        if self._walls is None:
            frame = self._next_word("ready")
            self.verify(filters=1)
            self._walls = Walls(**frame.head["walls"])
        return self._walls

    def begin(self, task: dict[str, Any]) -> None:
        """Give a job that is ready its task; let it run once the kernel shows the second filter.

        Until then the job has seen no data, and measured code alone has run in it. Raises `JobError`:
        "sandbox-unavailable", "channel-closed".
        """
        self.ready()
        channel = Channel(self.channel)
        channel.send(task)
        self._next_word("sealed")
        self.verify(filters=2)
        channel.send({"ok": True})

    def verify(self, *, filters: int) -> None:
        """Have the launcher read from the kernel that every thread of the job is powerless and has so many
        filters of ours.

        Raises `JobError` ("sandbox-unavailable"). The job's own report is not enough: one whose lock-down
        failed half-way must get no data.
        """
        assert self.pid
        try:
            Channel(self._control).send({"op": "verify", "filters": filters})
        except JobError:
            raise _gone() from None
        missing = self._hear("verified").head["missing"]
        if missing:
            raise JobError(
                Code.SANDBOX_UNAVAILABLE, f"the sandbox does not hold: {', '.join(map(str, missing))}"
            )

    def ended(self, *, within: float) -> int | None:
        """The job's exit status if it ends within so many seconds, else None."""
        assert self.pid
        self._control.settimeout(within)
        try:
            frame = Channel(self._control).receive()
        except JobError as error:
            return None if error.code == Code.JOB_TIMEOUT else _KILLED
        return _KILLED if frame is None else int(frame.head["status"])

    def kill(self, *, within: float = STOP_SECONDS) -> float:
        """Kill the job and wait until it is gone; returns the seconds that took. Safe to call twice, and from
        another thread than the one that waits for the job.

        Raises `JobError` ("job-will-not-die") for one that is not gone within so many seconds: it is killed
        all the same, but to give back much memory takes long."""
        start = time.monotonic()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        poll = select.poll()
        try:
            # A hang-up is always told: the launcher closes after the job's end.
            poll.register(self._control, 0)
        except ValueError:  # another thread has closed it, after it had killed the job itself
            return time.monotonic() - start
        gone = poll.poll(within * 1000)
        if self._launcher is not None:
            if not gone:
                self._launcher.kill()  # the kernel then kills the job
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._launcher.wait(within)
        if not gone:
            raise JobError(Code.JOB_WILL_NOT_DIE, "the analysis process did not end after SIGKILL")
        return time.monotonic() - start

    def close(self) -> None:
        """Let go of both sockets; the job dies of it."""
        self._control.close()
        self.channel.close()

    def _next_word(self, word: str) -> Frame:
        self.channel.settimeout(READY_SECONDS)
        try:
            frame = Channel(self.channel).receive()
        except JobError as error:
            raise JobError(
                Code.SANDBOX_UNAVAILABLE, f"the sandbox did not come up: {error.message}"
            ) from None
        finally:
            self.channel.settimeout(None)
        if frame is None or frame.head.get("op") != word:
            raise JobError(Code.SANDBOX_UNAVAILABLE, "the sandbox did not come up")
        return frame

    def _hear(self, word: str) -> Frame:
        """The launcher's next word, which must be this one."""
        self._control.settimeout(READY_SECONDS)
        try:
            frame = Channel(self._control).receive()
        except JobError:
            raise _gone() from None
        if frame is None or frame.head.get("op") != word:
            raise _gone()
        return frame

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            # One that takes long to be gone must not decide how a run ends.
            with contextlib.suppress(JobError):
                self.kill()
        finally:
            self.close()


def _own_launcher() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    entry = (
        f"import sys; sys.path.insert(0, {str(PACKAGES)!r}); "
        f"from sealroom.runtime.launcher import start_one; start_one({theirs.fileno()})"
    )
    with theirs:
        process = subprocess.Popen(
            # -I: no environment, no user site, no current directory; -B: it could not write bytecode anyway.
            [sys.executable, "-I", "-B", "-c", entry],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    return ours, process


def _gone() -> JobError:
    return JobError(Code.SANDBOX_UNAVAILABLE, "the sandboxed process is gone")
