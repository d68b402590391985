# SPDX-License-Identifier: Apache-2.0
"""`sealroom db`, `sealroom backup` and `sealroom restore`: the database that runner, watcher and console
share, and the envelopes and recipes beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.options import json_option, reader_for, rpc_option
from sealroom_agents.cli.terminal import finding, plural
from sealroom_agents.errors import CommandExit
from sealroom_agents.storage_options import (
    KEEP_DAYS,
    config_option,
    content_option,
    database_option,
    shared,
)

if TYPE_CHECKING:
    from sealroom_agents.config.model import Database
    from sealroom_agents.store.content import Content

WIDTH = 9
"""Characters of the longest name of a finding."""
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.group()
def command() -> None:
    """Look at the database, upgrade it, and rebuild it.

    Runner, watcher and console share one database. A new one is made by the first of them that starts. One
    that another version made is refused by all (store-version) until you upgrade it.

    \b
    Example, after a new version was installed and all processes were stopped:
      sealroom db check --config /etc/sealroom/sealroom.toml
      sealroom db upgrade --config /etc/sealroom/sealroom.toml
    """


@command.command()
@config_option
@database_option
@json_option
def check(file: Path | None, database: str | None, as_json: bool) -> int:
    """Say whether this program can use the database; changes nothing.

    Looks at the revision of its tables, at the tables themselves, and, for SQLite, at the file. Ends with
    status 0 when all is as it must be, else with 1.

    \b
    Example:
      sealroom db check
      sealroom db check --database postgresql://sealroom@db/sealroom --json
    """
    from sealroom_agents.upkeep.schema import look

    found = look(shared(file, database=database).database.clear)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        for name, detail, ok in found.findings():
            finding(name, detail, ok=ok, width=WIDTH)
    return CommandExit.DONE if found.ok else CommandExit.FAILED


@command.command()
@config_option
@database_option
@json_option
def upgrade(file: Path | None, database: str | None, as_json: bool) -> None:
    """Bring the database to the revision that this program uses.

    All or nothing: what fails half-way is rolled back. There is no way back but a backup, so make one first,
    and stop runner, watcher and console. A database that is up to date is left as it is.

    \b
    Example:
      sealroom db upgrade --database postgresql://sealroom@db/sealroom
    """
    from sealroom_agents.store.connection import database_errors
    from sealroom_agents.store.engine import open_engine
    from sealroom_agents.store.schema import revision
    from sealroom_agents.store.schema import upgrade as bring

    engine = open_engine(shared(file, database=database).database.clear, create=False)
    try:
        with database_errors():
            with engine.connect() as connection:
                before = revision(connection).found
            after = bring(engine).found
    finally:
        engine.dispose()
    if as_json:
        click.echo(json.dumps({"ok": True, "from": before, "to": after}))
    elif before == after:
        click.echo(f"the database is of revision {after}, as this program needs it")
    else:
        click.echo(f"upgraded from revision {before or 'none'} to {after}")


@command.command()
@config_option
@database_option
@content_option
@click.option(
    "--keep-days", type=click.IntRange(1), metavar="DAYS", default=KEEP_DAYS, show_default=True,
    help="Days for which notices to owners are kept.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go, and forget nothing.")
@json_option
def forget(
    file: Path | None,
    database: str | None,
    content: str | None,
    keep_days: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Forget what is old: recipes that no run has named for a week, and old notices to owners.

    A console does so each hour. Runs and their events, envelopes, what the watcher saw and what the chain
    says stay for good.

    \b
    Example:
      sealroom db forget --dry-run
    """
    from sealroom_agents.store import Store
    from sealroom_agents.store.retention import Retention

    there = shared(file, database=database, content=content)
    store = Store(there.database.clear, there.database.content, create=False)
    try:
        retention = Retention(store, keep_days=keep_days)
        gone = retention.due() if dry_run else retention.forget()
    finally:
        store.close()
    if as_json:
        click.echo(json.dumps({"ok": True, "recipes": gone.recipes, "notices": gone.notices}))
    else:
        verb = "would go" if dry_run else "went"
        click.echo(f"{plural(gone.recipes, 'recipe')} and {plural(gone.notices, 'notice')} {verb}")


@command.command()
@rpc_option
@click.option(
    "--factory", metavar="ADDRESS", help="The factory whose consortia count.  [required, here or in the file]"
)
@config_option
@database_option
@content_option
@click.option(
    "--state", "states", multiple=True, type=FOLDER, metavar="FOLDER",
    help="State folder of a runner, for envelopes that only lie there; may be repeated.",
)  # fmt: skip
@json_option
def rebuild(
    rpc: tuple[str, ...],
    factory: str | None,
    file: Path | None,
    database: str | None,
    content: str | None,
    states: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Bring back what the chain and the store of envelopes know, after a database was lost or restored.

    Stop runner, watcher and console first. A run whose receipt is on chain is done again, with its envelope.
    A run that the ledger opened, and whose envelope was kept, waits for its anchor, and the next runner
    anchors it. An envelope counts only where its enclave signed it and the ledger of a consortium of
    --factory confirms it. Runs that had not finished do not come back, nor the events of a run. What pages
    show of the chain is dropped, and read again from the factory's first block on.

    Works on a new database, and on one that a backup made. Repeated, it changes nothing. Ends with status 1
    where something is damaged, or is not confirmed; the lines say what.

    \b
    Example:
      sealroom db rebuild --rpc URL --factory 0x… --content s3://bucket/sealroom --state runs
    """
    from sealroom_agents.index import rebuild as index
    from sealroom_agents.store import Store
    from sealroom_agents.upkeep.rebuild import Rebuild

    there = shared(file, database=database, content=content, rpc=rpc, factory=factory)
    if there.chain is None:
        raise click.UsageError("a rebuild needs --rpc, or a --config: the chain says what is true")
    if there.chain.factory is None:
        raise click.UsageError("a rebuild needs --factory, or a --config with it: its consortia count")
    store = Store(there.database.clear, there.database.content)
    try:
        chain, listed = reader_for(there.chain.urls), there.chain.factory
        work = Rebuild(store, chain, factory=listed)
        collected = sum(work.collect(state) for state in states)
        found = list(work.run())
        index(chain, store, factory=listed, told=_told)
    finally:
        store.close()
    bad = [one for one in found if one.what in ("damaged", "ignored")]
    if as_json:
        items = [{"digest": one.digest, "what": one.what, "detail": one.detail} for one in found]
        click.echo(json.dumps({"ok": not bad, "collected": collected, "found": items}))
    else:
        for one in bad:
            finding(one.what, f"{one.digest}: {one.detail}", ok=False, width=WIDTH)
        count = Counter(one.what for one in found)
        click.echo(
            f"{plural(count['done'], 'run')} done again, {count['anchoring']} to be anchored, "
            f"{plural(count['recipe'], 'recipe')}; {count['known']} known before"
        )
    return CommandExit.FAILED if bad else CommandExit.DONE


@click.command()
@click.argument("target", metavar="FILE", type=FILE)
@config_option
@database_option
@content_option
@json_option
def backup(target: Path, file: Path | None, database: str | None, content: str | None, as_json: bool) -> int:
    """Write the database with all envelopes and recipes to one file.

    The processes may go on meanwhile. The file appears whole or not at all, and never in place of another.
    Keep it as you keep the database: it holds results that are not published yet. PostgreSQL needs pg_dump
    of its version. An envelope that its disk damaged is left out and named, and the command ends with status
    1: the rest is in the file, and the damaged one may be in an older backup.

    \b
    Example:
      sealroom backup sealroom-2026-11-28.tar
      sealroom backup sealroom.tar --database postgresql://sealroom@db/sealroom --content s3://bucket/sealroom
    """
    from sealroom_agents.upkeep.backup import backup as write

    kept = shared(file, database=database, content=content).database
    made = write(kept.clear, _content(kept), target)
    if as_json:
        told = {"ok": not made.damaged, "database": made.kind, "content": made.content}
        click.echo(json.dumps(told | {"damaged": list(made.damaged)}))
    else:
        for digest in made.damaged:
            finding(
                "damaged",
                f"{digest}: left out, its place holds other bytes or is unreadable",
                ok=False,
                width=WIDTH,
            )
        click.echo(f"{target}: the {made.kind} database, and {plural(made.content, 'envelope or recipe')}")
    return CommandExit.FAILED if made.damaged else CommandExit.DONE


@click.command()
@click.argument("source", metavar="FILE", type=FILE)
@config_option
@database_option
@content_option
@json_option
def restore(
    source: Path, file: Path | None, database: str | None, content: str | None, as_json: bool
) -> None:
    """Make database, envelopes and recipes from a backup.

    Nothing is overwritten: --database must be a file that is not there, or a PostgreSQL database without
    tables. Stopped half-way, run it again. A backup is older than the chain: before the processes start,
    `sealroom db rebuild` brings back what was anchored since.

    \b
    Example:
      sealroom restore sealroom-2026-11-28.tar
      sealroom db rebuild --rpc URL --factory 0x… --state runs
    """
    from sealroom_agents.upkeep.backup import restore as read

    kept = shared(file, database=database, content=content).database
    made = read(source, kept.clear, _content(kept))
    if as_json:
        click.echo(json.dumps({"ok": True, "database": made.kind, "content": made.content}))
    else:
        click.echo(f"restored the {made.kind} database, and {plural(made.content, 'envelope or recipe')}")


def _told(number: int, head: int) -> None:
    click.echo(f"read up to block {number:,} of {head:,}", err=True)


def _content(kept: Database) -> Content:
    from sealroom_agents.store.content import content_beside

    return content_beside(kept.clear, kept.content)
