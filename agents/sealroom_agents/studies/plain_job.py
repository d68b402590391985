# SPDX-License-Identifier: Apache-2.0
"""A script's process without a sandbox, for made-up data: what it prints, and its whole traceback, come out.

The custodian that answers it is the measured one. A job in production is made by the launcher, which knows
nothing of this module: no recipe and no environment leads here. Jobs are forks of one process that has loaded
pandas, so that each starts at once.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from typing import Any

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime.channel import SCRIPT_BYTES, Channel
from sealroom.runtime.confine import Walls
from sealroom.runtime.job import SCRIPT, run_script
from sealroom.runtime.sandbox import STOP_SECONDS, Sandbox

PRINTED_BYTES = 64 * 1024
"""Most bytes of what a script prints that are kept, the last ones."""
_NONE = Walls(
    namespaces="none", root="machine", uid="shared", landlock=0, command_line="kept",
    memory_bytes=resource.RLIM_INFINITY, threads=0,
)  # fmt: skip


class PlainJobs:
    """Starts jobs without walls, one at a time. A context manager."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        self.printed = ""
        """What the last job printed, and the traceback that ended it."""

    def start(self) -> Sandbox:
        """Start a job. It has no more rights than this process, and no fewer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output = tempfile.TemporaryFile()  # noqa: SIM115 — read once the job has ended
        with theirs:
            socket.send_fds(self._control, [b"start"], [theirs.fileno(), output.fileno()])
        return _PlainJob(self, ours, self._control, int(self._control.recv(64)), output)

    def __enter__(self) -> PlainJobs:
        return self

    def __exit__(self, *exception: object) -> None:
        self._control.close()
        self._process.wait()


class _PlainJob(Sandbox):
    """A process that runs a script as a sandbox's job does, with no wall around it."""

    def __init__(
        self, jobs: PlainJobs, channel: socket.socket, control: socket.socket, pid: int, output: Any
    ) -> None:
        super().__init__(channel, control, None)
        self._jobs = jobs
        self._pid = pid
        self._output = output
        self._status: int | None = None

    def ready(self) -> Walls:
        return _NONE

    def begin(self, task: dict[str, Any]) -> None:
        Channel(self.channel).send(task)

    def verify(self, *, filters: int) -> None:
        raise JobError(Code.SANDBOX_UNAVAILABLE, "a job without a sandbox has no walls")

    def ended(self, *, within: float) -> int | None:
        if self._status is None:
            self._control.settimeout(within)
            with contextlib.suppress(TimeoutError):
                self._status = int(self._control.recv(64))
            self._control.settimeout(None)
        return self._status

    def kill(self, *, within: float = STOP_SECONDS) -> float:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return 0.0

    def close(self) -> None:
        self.channel.close()

    def __exit__(self, *exception: object) -> None:
        if self.ended(within=1) is None:
            self.kill()
            self.ended(within=STOP_SECONDS)
        with self._output as output:
            size = output.seek(0, io.SEEK_END)
            output.seek(max(0, size - PRINTED_BYTES))
            self._jobs.printed = output.read().decode(errors="replace")
        self.close()


def serve(control: socket.socket) -> None:
    """The process: fork a job for each request, tell its id, wait for it, tell its status."""
    import pandas  # noqa: F401

    while True:
        word, descriptors, *_ = socket.recv_fds(control, 64, 2)
        if not word:
            return
        job = os.fork()
        if job == 0:
            control.close()
            os.dup2(descriptors[1], 1)
            os.dup2(descriptors[1], 2)
            status = 1
            try:
                status = run(descriptors[0])
            finally:
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(str(job).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
        control.send(str(status).encode())


def run(descriptor: int) -> int:
    """The job: take the script, run it, print how it failed. Returns the exit status."""
    with socket.socket(fileno=descriptor) as end:
        channel = Channel(end)
        begin = channel.receive(head_limit=SCRIPT_BYTES)
        if begin is None:
            return 1
        text = begin.head["analysis"]
        # So that a traceback shows the script's own lines.
        linecache.cache[SCRIPT] = (len(text), None, text.splitlines(keepends=True), SCRIPT)
        try:
            run_script(channel, begin.head)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException as error:
            _print(error)
            return 1
    return 0


def _print(error: BaseException) -> None:
    """The traceback from the script's first line on."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != SCRIPT:
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame or error.__traceback__)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end, contextlib.suppress(KeyboardInterrupt, OSError):
        serve(end)
