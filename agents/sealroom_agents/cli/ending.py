# SPDX-License-Identifier: Apache-2.0
"""How a program ends: every error as lines on the terminal and an exit status, one of `CommandExit`.

With ``--json`` a command prints one JSON object on stdout, whose ``ok`` says whether it did what it was asked
to. A refusal is ``{"ok": false, "code", "error", "hint"}``: its code is stable, its words are not. ``seal``
adds what the chain answered, as ``asked``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.cli.terminal import complain, one_object
from sealroom_agents.errors import CommandExit, ConfigurationError, ToolError, UndecidedError


@dataclass(frozen=True)
class Program:
    """What was started."""

    name: str
    """Of the command, and of the package that brings it."""
    extras: Mapping[str, str]
    """Which extra of that package brings a module."""
    without_package: CommandExit = CommandExit.FAILED
    """Its status where a package is missing."""


def status_of(run: Callable[[], Any], program: Program, *, given: Sequence[str]) -> int:
    """The exit status of a command line, once its errors are told. given: its arguments. Raises what is a
    bug."""
    as_json = "--json" in given
    try:
        status = run()
        # Output to a closed pipe must fail here, not in the interpreter's exit.
        sys.stdout.flush()
        return status if isinstance(status, int) else CommandExit.DONE
    except SealroomError as failed:
        error = _of_room(failed, given)
        more = failed.facts if isinstance(failed, ToolError) else {}
        status = refuse(error.code, error.message, error.hint, as_json=as_json, more=more)
        if isinstance(failed, UndecidedError):
            return CommandExit.UNDECIDED
        return CommandExit.CONFIGURATION if isinstance(error, ConfigurationError) else status
    except ModuleNotFoundError as missing:
        package, hint = _package(missing, program)
        refuse(Code.PACKAGE_MISSING, f"this needs the Python package {package}", hint, as_json=as_json)
        return program.without_package
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return CommandExit.USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else program.name
        message = _lower(" ".join(error.format_message().split()))
        refuse(Code.USAGE, message, f"see '{path} --help'", as_json=as_json)
        return CommandExit.USAGE
    except click.ClickException as error:
        return refuse(Code.FILE_UNUSABLE, _lower(error.format_message()), None, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        complain("stopped", None)
        return CommandExit.INTERRUPTED
    except BrokenPipeError:
        # `sealroom … | head` is no error; point stdout elsewhere so that the exit's flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CommandExit.DONE
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        message = f"{name}{_lower(error.strerror or str(error))}"
        return refuse(Code.FILE_UNUSABLE, message, None, as_json=as_json)


def _of_room(error: SealroomError, given: Sequence[str]) -> SealroomError:
    """An error of a chain or console that does not answer says so where it is that of a room that stopped."""
    if error.code not in (Code.CHAIN_UNREACHABLE, Code.CONSOLE_UNREACHABLE):
        return error
    from sealroom_agents.local.room import Places, Room
    from sealroom_agents.storage_options import ROOM

    named = [Path(after) for option, after in pairwise(given) if option == "--room"]
    folder = (named or [ROOM])[-1]
    return Room.read(folder).away(error) if Places(folder).room.exists() else error


def refuse(
    code: Code, message: str, hint: str | None, *, as_json: bool, more: Mapping[str, object] | None = None
) -> int:
    """Tell a refusal, with `--json` also as an object with `more`. Returns the status of most refusals."""
    if as_json:
        refusal = {"code": code, "error": message, "hint": hint, **(more or {})}
        click.echo(one_object(refusal, ok=False))
    complain(message, hint)
    return CommandExit.FAILED


def _package(missing: ModuleNotFoundError, program: Program) -> tuple[str, str]:
    """The package that was not found, and how to get it. Raises `missing` when it is one of ours: a bug."""
    package = (missing.name or "").partition(".")[0]
    if package in ("", "sealroom", "sealroom_agents"):
        raise missing
    extra = program.extras.get(package)
    return package, f'pip install "{program.name}[{extra}]"' if extra else f"pip install {package}"


def _lower(message: str) -> str:
    """First letter lower, unless the first word is a name in capitals."""
    if len(message) > 1 and message[1].isupper():
        return message
    return (message[:1].lower() + message[1:]).rstrip(".")
