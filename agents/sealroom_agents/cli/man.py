# SPDX-License-Identifier: Apache-2.0
"""``sealroom man``: the commands' help as manual pages.

The source is what `--help` prints, so neither can say something else. click-man, the library for this,
escapes nothing, leaves out examples, and sees no command that is imported only when it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from sealroom_agents.errors import CommandExit


@click.command()
@click.argument(
    "folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False, writable=True), required=True
)
def man(folder: Path) -> None:
    """Write a manual page for each command into FOLDER, which is made where it is missing.

    The program man finds them in a folder man1 of a place that it searches: `man sealroom-seal` shows one. It
    searches ~/.local/share/man where ~/.local/bin is on the path; elsewhere say `man -M FOLDER`.

    \b
    Example:
      sealroom man ~/.local/share/man/man1
    """
    from sealroom import __version__
    from sealroom.files import PUBLIC, write_atomic
    from sealroom_agents.cli import ENTRIES, main
    from sealroom_agents.cli.terminal import plural

    folder.mkdir(parents=True, exist_ok=True)
    root = click.Context(main, info_name="sealroom", **main.context_settings)
    summaries = {name: entry.summary for name, entry in ENTRIES.items()}
    pages = list(_walk(main, root, "studies on private data of several owners", summaries))
    for context, summary, below in pages:
        name = context.command_path.replace(" ", "-")
        page = roff(context, summary, below, f"sealroom {__version__}")
        write_atomic(folder / f"{name}.1", page.encode(), mode=PUBLIC, replace=True)
    click.echo(f"{plural(len(pages), 'page')} in {folder}")


def _walk(
    command: click.Command, context: click.Context, summary: str, summaries: dict[str, str]
) -> Iterator[tuple[click.Context, str, dict[str, str]]]:
    """Each command: its context, its summary, and the summaries of the commands below it."""
    if not isinstance(command, click.Group):
        yield context, summary, {}
        return
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    inner = {name: one for name, one in found.items() if one is not None and not one.hidden}
    below = {name: summaries.get(name) or one.get_short_help_str(limit=100) for name, one in inner.items()}
    yield context, summary, below
    for name, one in inner.items():
        yield from _walk(one, click.Context(one, info_name=name, parent=context), below[name], {})


def roff(context: click.Context, summary: str, below: dict[str, str], source: str) -> str:
    """The manual page of one command, for man(7) of groff or mandoc."""
    command, path = context.command, context.command_path
    name = path.replace(" ", "-")
    lines = [
        f'.TH "{_text(name.upper())}" 1 "" "{_text(source)}" "Sealroom"',
        ".ad l",  # long choices leave lines of one word, which cannot be adjusted
        *(".SH NAME", f"{_text(name)} \\- {_text(summary)}", ".SH SYNOPSIS"),
        f"\\fB{_text(path)}\\fR {_text(' '.join(command.collect_usage_pieces(context)))}",
        *(".SH DESCRIPTION", *_paragraphs(command.help)),
    ]
    records = [one.get_help_record(context) for one in command.get_params(context)]
    lines.append(".SH OPTIONS")
    for option, told in filter(None, records):
        choices = _text(option).replace("|", "|\\:")  # a line may break behind each
        lines += [".TP", f"\\fB{choices}\\fR", *map(_line, told.split("\n"))]
    if below:
        lines.append(".SH COMMANDS")
        for one, told in below.items():
            lines += [".TP", f"\\fB{_text(name)}\\-{_text(one)}\\fR(1)", _line(told)]
    lines += _paragraphs(command.epilog)
    lines.append(".SH EXIT STATUS")
    for status in CommandExit:
        lines += [".TP", str(int(status)), _line(status.about)]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str | None) -> Iterator[str]:
    """Help: click's mark `\\b` keeps a paragraph's lines, and one that begins "Example:" is a section."""
    for paragraph in cleandoc(text or "").split("\n\n"):
        kept = paragraph.lstrip().startswith("\b")
        lines = paragraph.replace("\b", "").strip("\n").split("\n")
        if lines[0].strip() == "Example:":
            yield ".SH EXAMPLE"
            lines = cleandoc("\n".join(["", *lines[1:]])).split("\n")
        else:
            yield ".PP"
        if kept:
            yield ".nf"
        yield from map(_line, lines)
        if kept:
            yield ".fi"


def _line(text: str) -> str:
    """A line of text, which is no request even where it begins like one."""
    return "\\&" + _text(text) if re.match(r"\s*[.']", text) else _text(text)


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").strip("\f")
