# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: results go to stdout, messages for a person to stderr.

Lower case, no full stop, one fact a line. A question is asked only where a person can answer it. What others
wrote (a revocation's reason, an owner's name) can make up no line and command no terminal: see `shown`.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.files import PUBLIC, write_atomic
from sealroom.visible import visible
from sealroom_agents.errors import ToolError

PASSPHRASE_VARIABLE = "SEALROOM_PASSPHRASE"
"""Environment variable that scripts pass a key file's passphrase in."""
Hand = Callable[[Mapping[str, object]], None]
"""A command that invokes another is handed so what that one would tell as JSON."""
PROGRESS_FROM_BYTES = 64 * 1024 * 1024
"""Files below this are done before a bar could be read."""


def shown(text: str) -> str:
    """One line of `text`: what is invisible, reorders text or commands a terminal is shown by its number."""
    return "".join(one if visible(one) else f"\\u{{{ord(one):x}}}" for one in text)


def colours() -> bool | None:
    """What click is told of colours: `False` for none, `None` where the stream decides (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return False if plain else None


class Red(str):
    """A value that `table` shows in red on a terminal that has colours."""


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Lines of `label  value`, the values in one column."""
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label.ljust(width)}  {coloured(value)}".rstrip() for label, value in rows)


def coloured(value: str) -> str:
    """One line of a value, in red where it is `Red`."""
    return click.style(shown(value), fg="red") if isinstance(value, Red) else shown(value)


def size(count: int) -> str:
    """`count` bytes for people: 913 B, 1.4 MB."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """How long something took, for people: under a second, 12.3 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 1:
        return "under a second"
    if round(seconds, 1) < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, noun: str) -> str:
    """`1 part`, `2 parts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def one_object(facts: Mapping[str, object], *, ok: bool = True) -> str:
    """What `--json` prints: one object, whose `ok` says whether the command did what it was asked to."""
    return json.dumps({"ok": ok, **facts})


def finding(name: str, detail: str, *, ok: bool, width: int) -> None:
    """A line of a walk: whether it holds, its name in `width` characters, what was found."""
    click.echo(f"{'ok    ' if ok else 'BROKEN'}  {name:<{width}}  {coloured(detail)}")


def into_file() -> bool:
    """Whether the shell sends stdout into a file, which it made before this program began."""
    return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def warn(message: str) -> None:
    """A line on stderr that stops nothing."""
    click.echo(f"warning: {shown(message)}", err=True)


def complain(message: str, hint: str | None) -> None:
    """How every refusal is told: one line of error, and maybe one that says what to do."""
    click.echo(f"error: {shown(message.rstrip('.'))}", err=True)
    if hint:
        click.echo(f"hint: {shown(hint.rstrip('.'))}", err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`. Raises `not-confirmed` for a no, and as `require_somebody`."""
    require_somebody(question, yes=yes)
    if not yes and not click.confirm(question, default=False, err=True):
        raise ToolError(Code.NOT_CONFIRMED, "nothing was done")


def require_somebody(question: str, *, yes: bool) -> None:
    """Before long work that ends in a question: refuse it where nobody could answer. Raises `nobody-to-ask`
    where there is no terminal."""
    if not yes and not _at_a_terminal():
        raise ToolError(
            Code.NOBODY_TO_ASK, f"cannot prompt, not a terminal: {question}", "in a script, pass --yes"
        )


def ask_passphrase(what: str) -> str:
    """The passphrase of a key file: from the environment, else typed unseen. Raises `passphrase-missing`."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not _at_a_terminal():
        raise ToolError(
            Code.PASSPHRASE_MISSING,
            f"cannot prompt for the passphrase of {what}: not a terminal",
            f"in a script, set {PASSPHRASE_VARIABLE}",
        )
    return str(
        click.prompt(f"passphrase of {what}", hide_input=True, err=True, default="", show_default=False)
    )


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, so that half-made files are removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and time left, on stderr, for large work on a terminal; nothing in a pipe.

    Without `total` the bytes in all show themselves on the way. Yields what to call with the bytes done and
    those in all, or `None` where no bar is shown.
    """
    if (total is not None and total < PROGRESS_FROM_BYTES) or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def refuse_stdout(path: Path) -> None:
    """A sealed dataset goes to a file that appears whole: never to a terminal, nor half of it into a pipe."""
    if str(path) == "-":
        raise click.UsageError("a sealed dataset is written to a file, not to stdout")


def write_out(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; `-` is stdout."""
    if str(path) == "-":
        sys.stdout.buffer.write(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, mode=PUBLIC, replace=True)


def write_document(
    path: Path, data: bytes, facts: Mapping[str, object] | None = None, *, about: str = "", as_json: bool
) -> None:
    """`write_out`, and say so: on stderr with what is to say about it, or as one object with its facts."""
    if as_json and str(path) == "-":
        raise click.UsageError("--out - gives nothing but the document: leave out --json")
    write_out(path, data)
    if as_json:
        click.echo(one_object({"written": str(path), **(facts or {})}))
    elif str(path) != "-":
        click.echo(f"wrote {path}{about}", err=True)


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """All bytes of a file of at most `limit` bytes; a larger one is refused before it is read."""
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ToolError(Code.FILE_TOO_LARGE, f"{path} is larger than {size(limit)}: not {what}")
    return data
