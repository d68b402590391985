# SPDX-License-Identifier: Apache-2.0
"""Colours on a terminal, and none where somebody wants none (https://no-color.org)."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sealroom_agents.cli.terminal import Red, table

PROGRAM = (
    "from sealroom_agents.cli import ENTRIES, Entry, main\n"
    "ENTRIES['red'] = Entry('red', 'tests.agents.test_colours:red', 'a line in red')\n"
    "main(['red'])"
)
RED = b"\x1b[31mno\x1b[0m"


@click.command()
def red() -> None:
    """Print one line as the commands print what is wrong, and one as the demo prints its steps."""
    click.echo(table([("fits", Red("no"))]))
    click.secho("step", bold=True)


def printed(**surroundings: str) -> bytes:
    """What the command writes to a terminal."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=theirs,
        env=plain | {"TERM": "xterm-256color"} | surroundings,
        cwd=Path(__file__).parents[2],
    )
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 4096):
            written += piece
    except OSError:
        pass  # Linux ends a terminal that nobody holds any more with EIO
    os.close(ours)
    assert process.wait() == 0
    return written


@pytest.mark.parametrize("surroundings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_shows_no_colours_where_none_are_wanted(surroundings: dict[str, str]) -> None:
    assert RED in printed()
    shown = printed(**surroundings)
    assert b"no" in shown and b"step" in shown and b"\x1b" not in shown


def test_an_empty_no_color_says_nothing() -> None:
    assert RED in printed(NO_COLOR="")
