# SPDX-License-Identifier: Apache-2.0
"""The process beside the custodian that starts jobs: it shuts each one in, looks whether it is, and ends it.

It is measured, holds no key, and sees neither a script nor data: the job's own channel goes through its hands
as a descriptor. In a confidential VM it is process 1 of the service `job`, a container with neither network
nor guest agent; elsewhere the custodian, or a runner, starts it as a process. What it does is the same.

One control connection is one job. On it the custodian sends

=======  =================================================================================================
start    with the job's end of its channel: make the job
verify   read from the kernel that the job has so many filters, and no privilege, on every thread
=======  =================================================================================================

and hears "started", "verified" and "ended". The job dies with the connection, and the connection ends after
the job.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import JobError, SealroomError
from sealroom.runtime.channel import Channel
from sealroom.runtime.confine import CHANNEL, Walls, enter_namespaces, hide_memory, lock_down

SOCKET_NAME = "job.sock"
"""In the folder that custodian and launcher share."""

CHANNEL_FOLDER = Path("/run/sealroom")
"""That folder in a confidential VM, a volume of the two services."""

JOIN_SECONDS = 600.0
"""Longest that the service waits for its custodian."""

PROGRAMS = {"analysis": "sealroom.runtime.job", "relation": "sealroom.runtime.relation_job"}
"""What a job may run: modules of this package, each with a `run(channel, walls)` that starts in `LOAD` and
seals itself."""

Program = Callable[[Channel, Walls], None]

NICER = 10
"""How much lower a job's priority is than its launcher's. However many threads it keeps busy, its custodian
gets a processor at once, to kill it, sign and write at the declared instant (OU-06). Not lower still: a job
goes on where the machine has other work to do."""

_EXIT_FAILED = 1


def start_one(control: int) -> None:
    """Serve one control connection, inherited as a descriptor; the program's exit is the job's end."""
    _serve(socket.socket(fileno=control))


def serve(folder: Path) -> int:
    """Be process 1 of the service: take control connections at a socket in `folder` as long as the first one,
    which starts no job, is open. Returns the exit status."""
    hide_memory()
    place = folder / SOCKET_NAME
    with contextlib.suppress(FileNotFoundError):
        place.unlink()  # of a container before this one
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        place.chmod(0o666)  # the custodian is another user, without the right to pass over modes
        listener.listen()
        listener.settimeout(JOIN_SECONDS)
        try:
            lifeline, _ = listener.accept()
        except TimeoutError:
            return _EXIT_FAILED
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.settimeout(None)
        while True:
            readable = _readable(listener, lifeline)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if lifeline in readable:  # closed: nobody ever writes to it
                return 0
            control, _ = listener.accept()
            if os.fork() == 0:
                lifeline.close()
                listener.close()
                try:
                    _serve(control)
                finally:
                    os._exit(0)
            control.close()


def _serve(control: socket.socket) -> None:
    channel = Channel(control)
    frame = channel.receive()
    if frame is None or frame.head.get("op") != "start" or frame.descriptor is None:
        raise JobError(Code.REQUEST_MALFORMED, "the launcher was not told to start a job")
    program = PROGRAMS[frame.head["program"]]
    namespaces = enter_namespaces()
    job = os.fork()
    if job == 0:
        _become(program, frame.descriptor, namespaces=namespaces)
    os.close(frame.descriptor)
    hide_memory()
    with contextlib.suppress(SealroomError):  # the custodian is gone: all the more reason to end
        channel.send({"op": "started", "pid": job})
        _watch(channel, control, job, inner=namespaces != "none")


def _become(program: str, channel: int, *, namespaces: str) -> None:
    """Be the job. Every way out is one of two exit statuses. No text leaves, since a message could hold data
    (OU-03, OU-04)."""
    status = _EXIT_FAILED
    try:
        os.dup2(channel, CHANNEL)
        # Made before the lock-down, since a socket object asks the kernel what it is.
        end = socket.socket(fileno=CHANNEL)
        os.nice(NICER)  # its threads have it from here; no call of a job's changes it
        walls = lock_down(namespaces=namespaces)
        run: Program = importlib.import_module(program).run
        run(Channel(end), walls)
        status = 0
    except BaseException:
        status = _EXIT_FAILED
    finally:
        os._exit(status)


def _watch(channel: Channel, control: socket.socket, job: int, *, inner: bool) -> None:
    """Answer until the custodian closes the connection; tell when the job has ended; leave none behind."""
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended = False
    try:
        while True:
            if not ended:
                gone, status = os.waitpid(job, os.WNOHANG)
                if gone:
                    ended = True
                    channel.send({"op": "ended", "status": os.waitstatus_to_exitcode(status)})
            readable = _readable(control, wake)
            if wake in readable:
                wake.recv(4096)
            if control in readable:
                frame = channel.receive()
                if frame is None:
                    return
                missing = missing_walls(job, filters=int(frame.head["filters"]), inner=inner)
                channel.send({"op": "verified", "missing": missing})
    finally:
        signal.set_wakeup_fd(-1)
        if not ended:
            os.kill(job, signal.SIGKILL)
            os.waitpid(job, 0)


def _readable(*sockets: socket.socket) -> list[socket.socket]:
    """Wait until one of them has something to read or is closed. By poll: select knows no descriptor beyond
    1,023, and one that this process inherits keeps its number."""
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    return [each for each in sockets if each.fileno() in ready]


def missing_walls(pid: int, *, filters: int, inner: bool) -> list[str]:
    """What a thread of the process lacks, by the kernel's account; all is well when that is nothing.

    `filters`: how many it must have beside those of this process. `inner`: whether it is the first process of
    a pid namespace.
    """
    own = int(_facts(Path("/proc/self/status").read_text()).get("Seccomp_filters", "0"))
    none = "0" * 16
    wanted = {
        "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": str(own + filters),
        "CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none,
    }  # fmt: skip
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    except OSError:
        threads = []
    missing = {"its threads"} if not threads else set()
    for status in threads:
        facts = _facts(status)
        missing |= {name for name, value in wanted.items() if facts.get(name) != value}
        if inner and len(facts.get("NSpid", "").split()) < 2:
            missing.add("NSpid")
    return sorted(missing)


def _facts(status: str) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = (line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {name: value.strip() for name, value in lines}
