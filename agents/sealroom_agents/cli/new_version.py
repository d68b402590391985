# SPDX-License-Identifier: Apache-2.0
"""`sealroom seal --new-version`: a corrected extract of a dataset that was sealed before: its number, its
recipients, and what is different about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sealroom.codes import Code
from sealroom_agents.cli.seal_outputs import HOME, Home
from sealroom_agents.cli.sealed_here import WRAPPED, SealedHere, newest_of, sealed_here
from sealroom_agents.cli.terminal import warn
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealroom.schema.types import ColumnType
    from sealroom_agents.cli.sealing import Job
    from sealroom_agents.facts import DatasetRecord
    from sealroom_agents.owner.custody import Party
    from sealroom_agents.owner.profile import Profile

NEW_VERSION_HELP = "A corrected extract: the number after the newest version, and the recipients of its key."
"""Of `--new-version`, in each command that has it."""
MOST_TOLD = 20
"""Differing columns that are told."""


@dataclass(frozen=True)
class Before:
    """What is known of the version that a new one corrects."""

    number: int
    """Its number."""
    here: SealedHere | None
    """Its sealed file, where that still lies here."""


def version_before(
    *, place: str, account: str, name: str, chain: DatasetRecord | None, home: Home = HOME
) -> Before:
    """The newest version: on chain where that was asked, else among the sealed files of the owner.

    Raises `not-sealed-before`, and `not-registered` for one that was sealed here and that the chain does not
    know.
    """
    from sealroom_agents.owner.asked import NOBODY

    files = [
        one
        for owner in dict.fromkeys((place, account))
        for one in sealed_here(home.sealed, home.keys, owner=owner)[0]
    ]
    newest = newest_of(files, account=account, name=name)
    known = chain is not None and chain.holder != NOBODY
    if newest is None and not known:
        names = {one.info.header.dataset for one in files if one.info is not None}
        raise ToolError(
            Code.NOT_SEALED_BEFORE,
            f"nothing was sealed or registered as {name} of {place}: there is no version to correct",
            f"sealed before: {', '.join(sorted(names))}: pass --name" if names else "leave --new-version out",
        )
    if chain is None and newest is not None and newest.info is not None:
        return Before(newest.info.header.dataset_version, newest)
    if chain is None or not known:
        raise ToolError(
            Code.NOT_REGISTERED,
            f"{name} of {place} was sealed here, and nobody registered it",
            "register its first version: sealroom govern register --registration SEALED.tar",
        )
    of_number = [
        one for one in files if one.info is not None and one.info.header.dataset_version == chain.number
    ]
    return Before(chain.number, newest_of(of_number, account=account, name=name))


def recipients_of(before: Before) -> tuple[Party, ...]:
    """For whom the data key of the version before was wrapped, for the new one; told on stderr, since what a
    key's file says is proven only by opening it. A passphrase is not taken over: nobody knows it here."""
    from sealroom_agents.owner import age
    from sealroom_agents.owner.custody import Party
    from sealroom_agents.owner.key_file import PASSPHRASE

    here = before.here
    if here is None:
        warn(
            f"version {before.number} is not here, and neither is its key: name the recipients with "
            "--recipient, or the data key is plain"
        )
        return ()
    if here.key.state != WRAPPED or here.key.file is None:
        warn(
            f"{here.key.path}, of version {before.number}, is {here.key.state}, and so the new key is plain: "
            "--recipient wraps it"
        )
        return ()
    found = []
    for slot in here.key.file.slots:
        if slot.recipient == PASSPHRASE:
            warn(f"{here.key.path} has a passphrase, which is not taken over: pass --new-passphrase")
        else:
            found.append(Party(slot.name, age.recipient(slot.recipient)))
    told = ", ".join(f"{one.name} {one.recipient.short}" for one in found if one.recipient is not None)
    warn(f"the key is wrapped for those of {here.key.path}: {told or 'nobody'}; --recipient names others")
    return tuple(found)


def refuse_number() -> None:
    """Raise for `--dataset-version` beside `--new-version`, which takes the number itself."""
    given = click.get_current_context().get_parameter_source("version")
    # A command that another one invokes has no command line of its own.
    if given not in (None, ParameterSource.DEFAULT):
        raise click.UsageError("--new-version takes the next number: leave out --dataset-version")


def compared(before: Before, job: Job, seen: Profile | None) -> list[tuple[str, str]]:
    """What is different from the version before, as its header says."""
    columns = job.source.columns
    number = before.number
    header = None if before.here is None or before.here.info is None else before.here.info.header
    if header is None:
        return [("before", f"version {number}: its sealed file is not here to compare")]
    lines = []
    if seen is not None and header.rows is not None:
        more = seen.rows - header.rows
        lines.append(("before", f"version {number} has {header.rows:,} rows: {more:+,}"))
    else:
        lines.append(("before", f"version {number} is {'no table' if header.rows is None else 'a table'}"))
    if columns is not None and header.columns is not None:
        differ = list(_differences(dict(header.columns), dict(columns)))
        told = [*differ[:MOST_TOLD], *(["and more"] if len(differ) > MOST_TOLD else [])]
        lines.append(("columns", "; ".join(told) or f"the same {len(header.columns):,}"))
    if header.report_key != job.report_key.public:
        lines.append(("report key", f"another than version {number} has"))
    return lines


def _differences(was: dict[str, ColumnType], now: dict[str, ColumnType]) -> Iterator[str]:
    """In which columns a table differs from an earlier one."""
    for name in [name for name in was if name not in now]:
        yield f"without {name} ({was[name]})"
    for name in [name for name in now if name not in was]:
        yield f"with {name} ({now[name]})"
    for name in [name for name in now if name in was and now[name] != was[name]]:
        yield f"{name} as {now[name]}, was {was[name]}"
