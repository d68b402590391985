# SPDX-License-Identifier: Apache-2.0
"""Files without a name, for plaintext that is needed while a command runs, and what comes through a pipe.

Nothing is left of them however the run ends, and no other process finds them by a path (OP-04).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

DESCRIPTORS = Path("/proc/self/fd")
"""Where Linux shows a process its open files by number."""
NAME = Path("standard input")
"""What messages call an input that has no name."""
STARTS = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
"""How the tables begin that say what they are."""
BLOCK_BYTES = 1024 * 1024


@contextmanager
def nameless(place: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file without a name in `place`, and a path for this process; it is gone when the process ends.

    Raises `scratch-unwritable`.
    """
    shown = DESCRIPTORS.is_dir()
    make = tempfile.TemporaryFile if shown else tempfile.NamedTemporaryFile
    try:
        opened = make(dir=place)
    except OSError as error:
        raise ToolError(
            Code.SCRATCH_UNWRITABLE,
            f"cannot write beside the input, in {place}: {error.strerror}",
            "what is sealed is made there first: give write access, or seal from another folder",
        ) from None
    with opened as stream:
        path = DESCRIPTORS / str(stream.fileno()) if shown else Path(stream.name)
        yield cast(BinaryIO, stream), path


def place_of(path: Path) -> Path:
    """The folder in which plaintext of an input may lie: its own, or of one without a name the current."""
    return Path.cwd() if path.parent == DESCRIPTORS else path.absolute().parent


def called(path: Path) -> Path:
    """What messages call an input."""
    return NAME if path.parent == DESCRIPTORS else path


def check_pipe() -> None:
    """Refuse a standard input that is no pipe and no file, before it is read. Raises `source-unsupported`."""
    try:
        state = os.fstat(0)
    except OSError:
        raise ToolError(Code.SOURCE_MISSING, "standard input is closed", "pipe the table into it") from None
    if stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode) or stat.S_ISDIR(state.st_mode):
        what = "a terminal" if os.isatty(0) else "a device or a folder"
        raise ToolError(
            Code.SOURCE_UNSUPPORTED,
            f"standard input is {what}, and no pipe",
            "pipe the table into it, or name a file",
        )


@contextmanager
def spooled(kind: str | None) -> Iterator[Path]:
    """All of standard input, as a file. `kind` is what its owner says that it is.

    Raises `not-a-table` from the first bytes where neither they nor `kind` say what it is; `no-space`;
    `scratch-unwritable`.
    """
    with nameless(Path.cwd()) as (stream, path):
        pipe = sys.stdin.buffer
        first = pipe.read(max(map(len, STARTS)))
        if kind is None and not first.startswith(STARTS):
            raise ToolError(
                Code.NOT_A_TABLE,
                "standard input begins like no Parquet and no Arrow file",
                "say what it is with --as, for example --as csv",
            )
        try:
            stream.write(first)
            while block := pipe.read(BLOCK_BYTES):
                stream.write(block)
            stream.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise ToolError(
                Code.NO_SPACE,
                f"no room in {Path.cwd()} for what comes through standard input",
                "run it in a folder with more room",
            ) from None
        yield path
