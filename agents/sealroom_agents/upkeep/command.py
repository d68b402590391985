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
from sealroom_agents.storage_options import content_option, database_option

if TYPE_CHECKING:
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
      sealroom db check --database postgresql://sealroom@db/sealroom
      sealroom db upgrade --database postgresql://sealroom@db/sealroom
    """


@command.command()
@database_option
@json_option
def check(database: str, as_json: bool) -> int:
    """Say whether this program can use the database; changes nothing.

    Looks at the revision of its tables, at the tables themselves, and, for SQLite, at the file. Ends with
    status 0 when all is as it must be, else with 1.

    \b
    Example:
      sealroom db check
      sealroom db check --database postgresql://sealroom@db/sealroom --json
    """
    from sealroom_agents.upkeep.schema import look

    found = look(database)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        for name, detail, ok in found.findings():
            finding(name, detail, ok=ok, width=WIDTH)
    return CommandExit.DONE if found.ok else CommandExit.FAILED


@command.command()
@database_option
@json_option
def upgrade(database: str, as_json: bool) -> None:
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

    engine = open_engine(database)
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
@rpc_option
@click.option("--factory", required=True, metavar="ADDRESS", help="The factory whose consortia count.")
@database_option
@content_option
@click.option(
    "--state", "states", multiple=True, type=FOLDER, metavar="FOLDER",
    help="State folder of a runner, for envelopes that only lie there; may be repeated.",
)  # fmt: skip
@json_option
def rebuild(
    rpc: tuple[str, ...],
    factory: str,
    database: str,
    content: str | None,
    states: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Bring back what the chain and the store of envelopes know, after a database was lost or restored.

    Stop runner, watcher and console first. A run whose receipt is on chain is done again, with its envelope.
    A run that the ledger opened, and whose envelope was kept, waits for its anchor, and the next runner
    anchors it. An envelope counts only where its enclave signed it and the ledger of a consortium of
    --factory confirms it. Runs that had not finished do not come back, nor the events of a run.

    Works on a new database, and on one that a backup made. Repeated, it changes nothing. Ends with status 1
    where something is damaged, or is not confirmed; the lines say what.

    \b
    Example:
      sealroom db rebuild --rpc URL --factory 0x… --content s3://bucket/sealroom --state runs
    """
    from sealroom_agents.host import address_option
    from sealroom_agents.store import Store
    from sealroom_agents.upkeep.rebuild import Rebuild

    if not rpc:
        raise click.UsageError("a rebuild needs --rpc: the chain says what is true")
    store = Store(database, content)
    try:
        work = Rebuild(store, reader_for(rpc), factory=address_option(factory, "factory"))
        collected = sum(work.collect(state) for state in states)
        found = list(work.run())
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
@database_option
@content_option
@json_option
def backup(target: Path, database: str, content: str | None, as_json: bool) -> None:
    """Write the database with all envelopes and recipes to one file.

    The processes may go on meanwhile. The file appears whole or not at all, and never in place of another.
    Keep it as you keep the database: it holds results that are not published yet. PostgreSQL needs pg_dump
    of its version.

    \b
    Example:
      sealroom backup sealroom-2026-11-28.tar
      sealroom backup sealroom.tar --database postgresql://sealroom@db/sealroom --content s3://bucket/sealroom
    """
    from sealroom_agents.upkeep.backup import backup as write

    made = write(database, _content(database, content), target)
    if as_json:
        click.echo(json.dumps({"ok": True, "database": made.kind, "content": made.content}))
    else:
        click.echo(f"{target}: the {made.kind} database, and {plural(made.content, 'envelope or recipe')}")


@click.command()
@click.argument("source", metavar="FILE", type=FILE)
@database_option
@content_option
@json_option
def restore(source: Path, database: str, content: str | None, as_json: bool) -> None:
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

    made = read(source, database, _content(database, content))
    if as_json:
        click.echo(json.dumps({"ok": True, "database": made.kind, "content": made.content}))
    else:
        click.echo(f"restored the {made.kind} database, and {plural(made.content, 'envelope or recipe')}")


def _content(database: str, place: str | None) -> Content:
    from sealroom_agents.store.content import content_beside

    return content_beside(database, place)
