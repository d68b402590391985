# SPDX-License-Identifier: Apache-2.0
"""Output of the scripts: answers on standard output, `error:` and `hint:` on standard error, exit code 1."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
from ape.api import AccountAPI
from ape.cli import ConnectedProviderCommand
from ape.exceptions import ApeException
from ape.logging import LogLevel, logger

from sealroom.encoding import strict_json
from sealroom.errors import FormatError, SealroomError
from sealroom.files import PUBLIC, write_atomic
from sealroom_agents.cli.terminal import shown

MAX_FILE_BYTES = 256 * 1024
"""Largest configuration, proposal or signature file."""


class Complaint(click.ClickException):
    """Something is wrong that a person can mend: one line, and maybe what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.message}", err=True)
        if self.hint:
            click.echo(f"hint: {self.hint}", err=True)


@contextmanager
def complaints() -> Iterator[None]:
    """Turn what can go wrong below into a `Complaint`."""
    try:
        yield
    except SealroomError as error:
        raise Complaint(error.message, error.hint) from error
    except ApeException as error:
        raise Complaint(str(error).strip() or type(error).__name__) from error
    except OSError as error:
        raise Complaint(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


class ChainCommand(ConnectedProviderCommand):
    """A command on a network. With --json, Ape logs errors only: it logs to standard output."""

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("as_json"):
            logger.set_level(LogLevel.ERROR)
        return super().invoke(ctx)


def signer(account: AccountAPI) -> AccountAPI:
    """The account; where `APE_ACCOUNTS_<alias>_PASSPHRASE` is set, unlocked by it without a question."""
    if os.environ.get(f"APE_ACCOUNTS_{account.alias}_PASSPHRASE"):
        account.set_autosign(True)
    return account


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object from a file that a person or a tool wrote."""
    try:
        return strict_json(path.read_bytes(), MAX_FILE_BYTES)
    except FormatError as error:
        raise Complaint(f"{path}: {error.message}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(), mode=PUBLIC, replace=True)


def answer(facts: dict[str, Any], lines: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print the outcome for a program or for a person."""
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        click.echo(f"{label.ljust(width)}  {shown(value)}".rstrip())
