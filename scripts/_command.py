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

from sealroom.encoding import normal_address, strict_json
from sealroom.errors import FormatError, SealroomError
from sealroom.files import PUBLIC, write_atomic
from sealroom_agents.cli.terminal import shown

MAX_FILE_BYTES = 256 * 1024
"""Largest configuration, proposal or signature file."""

HINTS = {
    "ConsortiumNotOwner": "`ape run govern status` lists the owners; is --account the right one?",
    "ConsortiumAlreadyApproved": "nothing is left to do for this owner",
    "ConsortiumEpochMismatch": "the epoch advanced since: propose, and sign, again",
    "ConsortiumNonceMismatch": "a study was pinned since: propose it again, and have it approved again",
    "ConsortiumWithdrawn": "propose it again with another expiry, which makes it another proposal",
    "ConsortiumNothingToWithdraw": "it took effect: `ape run govern revoke` stops it",
    "ConsortiumNothingToUnpin": "the app allows nothing that it should not",
    "ConsortiumThreshold": "the threshold is at least 1, and at most the number of owners",
    "ConsortiumOwnerDuplicate": "each owner has an account and an id of its own",
    "ConsortiumDatasetUnknown": "its owner must first `ape run govern register` it",
    "ConsortiumDatasetExists": "a sealed file is registered once",
    "ConsortiumDatasetNameTaken": "seal the data under a new name",
    "ConsortiumExpiryOutOfRange": "an expiry lies in the future, at most 400 days ahead",
    "ConsortiumBadSignature": "sign again: the owner's key, or what was signed, is another",
    "ConsortiumGasTooLow": "let your wallet estimate the gas",
    "LedgerNotDatasetOwner": "register the dataset first, with the same account",
    "LedgerCapBelowSpent": "what is spent stays spent",
}
"""What to do about a refusal of the contracts."""


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
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        click.echo(f"{label.ljust(width)}  {shown(value)}".rstrip())


class AddressType(click.ParamType):
    """An address in any case; becomes lower case."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return normal_address(value)
        except FormatError:
            self.fail(f"{value!r} is not an address: 0x and 40 hex digits", param, ctx)


class HashType(click.ParamType):
    """32 bytes in hex."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        text = str(value).lower().removeprefix("0x")
        if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
            self.fail(f"{value!r} is not a hash: 0x and 64 hex digits", param, ctx)
        return bytes.fromhex(text)
