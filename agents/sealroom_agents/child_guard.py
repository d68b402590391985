# SPDX-License-Identifier: Apache-2.0
"""Ends a process when its parent ends: the script that `child_processes` starts between the two.

    python -I -S child_guard.py LIFELINE COMMAND…

LIFELINE is the reading end of a pipe whose writing end only the parent holds. However the parent ends,
SIGKILL included, the pipe closes, and the guard kills the command with all that it started. If the guard
itself is killed, Linux kills the command (`prctl(2)`, PR_SET_PDEATHSIG). Signals are handed on, and the
guard ends as the command ended. It needs nothing but Python's own library.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

EXIT_NOT_STARTED = 127
"""Exit status when the command cannot be started, as a shell has it."""
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(lifeline: int, command: list[str]) -> int:
    """Run the command to its end, or to its parent's; returns its status as `os.waitpid` has it."""
    os.set_inheritable(lifeline, False)
    # What the command leaves behind becomes ours, so that it ends with the command.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Until the child has its own handlers, what is meant for it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    guard, child = os.getpid(), os.fork()
    if child == 0:
        _become(command, guard)

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    poll = select.poll()  # select itself knows no descriptor beyond 1,023
    for each in (lifeline, wake):
        poll.register(each, select.POLLIN)
    while True:
        readable = {each for each, _ in poll.poll()}
        if lifeline in readable:  # closed: nobody ever writes to it
            return end(child)
        if wake in readable:
            os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == child:
                end(child)
                return status
            if pid == 0:
                break


def end(child: int) -> int:
    """Kill the command and all that it started, until nothing is left; returns the command's status."""
    status = signal.SIGKILL.value
    while True:
        for pid in {child, *descendants(os.getpid())}:
            for kill in (os.killpg, os.kill):
                try:
                    kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue
        try:
            pid, how = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if pid == child:
            status = how


def descendants(*pids: int) -> list[int]:
    """All processes below these, as Linux lists them; elsewhere none."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; what follows the last one is fixed.
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = list(pids)
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs, as Linux tells it: one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _become(command: list[str], guard: int) -> None:
    """The child's side: a session of its own, then the command. Does not return."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*FORWARDED, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before we asked to hear of it
            os._exit(EXIT_NOT_STARTED)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        os.execvp(command[0], command)
    except BaseException as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode(errors="replace"))
    os._exit(EXIT_NOT_STARTED)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    outcome = main(int(sys.argv[1]), sys.argv[2:])
    if os.WIFSIGNALED(outcome):
        ended_by = os.WTERMSIG(outcome)
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.waitstatus_to_exitcode(outcome) if os.WIFEXITED(outcome) else 1)
