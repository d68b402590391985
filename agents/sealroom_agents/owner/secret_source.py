# SPDX-License-Identifier: Apache-2.0
"""Where a secret comes from: a file, a pipe, standard input, or a program that prints it.

The one module that reads secrets of owners. A secret is never an option's value: whoever lists processes
would see it. All reading is bounded, in bytes and in time, and nothing that was read is quoted in an error.
"""

from __future__ import annotations

import errno
import os
import select
import shlex
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.files import FileExposed, read_private
from sealroom_agents.errors import ToolError

STDIN = Path("-")
"""Names standard input."""
PIPE_WAIT_S = 120.0
"""How long a pipe may be silent: a person may unlock a token at its other end."""
COMMAND_WAIT_S = 300.0
"""How long a program may take, for the same reason."""
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class SecretSource:
    """One place to read a secret from: `place` or `command`, and never both."""

    place: Path | None = None
    """A file, a pipe (`/dev/fd/63`, as the shell's process substitution names it), or `-`."""
    command: str | None = None
    """A program with its arguments, as one line. No shell reads it."""

    @property
    def name(self) -> str:
        """What messages call it: of a program, its first word alone."""
        if self.place is not None:
            return "standard input" if self.place == STDIN else str(self.place)
        return f"the program {_words(self.command or '')[0]}"

    def read(self, limit: int, *, on_exposed: Callable[[str], None] | None = None) -> bytes:
        """At most `limit` + 1 bytes: a caller refuses what is longer than `limit`. `on_exposed` is told of a
        file that others can read, which is refused without it.

        Raises `key-missing`, `key-exposed`, `secret-unreadable`, `secret-command`.
        """
        if self.command is not None:
            return from_command(self.command, limit)
        assert self.place is not None
        if self.place == STDIN:
            return from_stdin(limit)
        return from_place(self.place, limit, on_exposed=on_exposed)


def from_place(
    path: Path,
    limit: int,
    *,
    wait_s: float = PIPE_WAIT_S,
    on_exposed: Callable[[str], None] | None = None,
) -> bytes:
    """What a file or a pipe holds, at most `limit` + 1 bytes.

    A file must be one that its owner alone can access, unless `on_exposed` is told that it is not. A pipe
    needs a writer. A device is refused: it gives bytes for ever, or waits for ever.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISREG(kind):
            return read_private(path, limit)
        if stat.S_ISFIFO(kind):
            return _from_pipe(path, limit, wait_s)
    except FileExposed as error:
        if on_exposed is not None:
            on_exposed(f"{error.reason}: {error.remedy}")
            with path.open("rb") as stream:
                return stream.read(limit + 1)
        raise ToolError(Code.KEY_EXPOSED, error.reason, error.remedy) from None
    except FileNotFoundError:
        raise ToolError(Code.KEY_MISSING, f"{path}: no such file") from None
    except OSError as error:
        raise ToolError(Code.SECRET_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    raise ToolError(
        Code.SECRET_UNREADABLE, f"{path} is neither a file nor a pipe", "name a file, a pipe, or - for stdin"
    )


def from_stdin(limit: int, *, wait_s: float = PIPE_WAIT_S) -> bytes:
    """What stands in standard input, at most `limit` + 1 bytes. A terminal would show what is typed."""
    descriptor = sys.stdin.fileno()
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISCHR(kind) or stat.S_ISDIR(kind):
        what = "a terminal, which would show it" if os.isatty(descriptor) else "no file and no pipe"
        raise ToolError(
            Code.SECRET_UNREADABLE, f"standard input is {what}", "send the secret through a pipe: PROGRAM | …"
        )
    if stat.S_ISREG(kind) and stat.S_IMODE(kind) & 0o077:
        raise ToolError(
            Code.KEY_EXPOSED, "others on this machine can read the file in standard input", "chmod 600 it"
        )
    return _until_end(descriptor, limit, "standard input", wait_s, wait_first=True)


def from_command(command: str, limit: int, *, wait_s: float = COMMAND_WAIT_S) -> bytes:
    """What a program prints, at most `limit` + 1 bytes. Raises `secret-command`.

    It keeps the terminal, where it may ask for a passphrase or a touch; standard input is empty.
    """
    import subprocess

    words = _words(command)
    name = words[0]
    try:
        running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except OSError as error:
        raise _failed(f"cannot start {name}: {error.strerror}") from None
    assert running.stdout is not None
    with running:
        try:
            found = _until_end(running.stdout.fileno(), limit, name, wait_s, wait_first=True)
            if len(found) > limit:
                raise _failed(f"{name} printed more than {limit:,} bytes")
            status = running.wait(wait_s)
        except subprocess.TimeoutExpired:
            raise _failed(f"{name} did not end within {wait_s:g} s") from None
        except ToolError as error:
            raise _failed(error.message) from None
        finally:
            running.kill()
    if status != 0:
        raise _failed(f"{name} ended with status {status}")
    return found


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise _failed("that is no command line: a quote is not closed, or there is nothing in it")
    return words


def _failed(message: str) -> ToolError:
    return ToolError(
        Code.SECRET_COMMAND,
        message,
        "it must print the secret and end with status 0; no shell reads the line, so name a script for more",
    )


def _from_pipe(path: Path, limit: int, wait_s: float) -> bytes:
    # Without O_NONBLOCK, opening a pipe without a writer would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it was replaced meanwhile", str(path))
        found = _until_end(descriptor, limit, str(path), wait_s, wait_first=False)
    finally:
        os.close(descriptor)
    if not found:
        raise ToolError(
            Code.SECRET_UNREADABLE,
            f"nobody writes into the pipe {path}",
            "start its writer first, or use process substitution: <(PROGRAM)",
        )
    return found


def _until_end(descriptor: int, limit: int, name: str, wait_s: float, *, wait_first: bool) -> bytes:
    """Read to the end or the limit. `wait_first` for a descriptor on which reading would block."""
    ends = time.monotonic() + wait_s
    events = select.poll()
    events.register(descriptor, select.POLLIN | select.POLLHUP)
    found = bytearray()
    waiting = wait_first
    while len(found) <= limit:
        if waiting and not events.poll(max(0.0, ends - time.monotonic()) * 1000):
            raise ToolError(Code.SECRET_UNREADABLE, f"{name} gave nothing within {wait_s:g} s")
        try:
            piece = os.read(descriptor, min(_PIECE_BYTES, limit + 1 - len(found)))
        except BlockingIOError:
            waiting = True
            continue
        if not piece:
            break
        found += piece
        waiting = wait_first
    return bytes(found)
