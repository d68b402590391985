# SPDX-License-Identifier: Apache-2.0
"""`sealroom db`: look at the database that runner, watcher and console share, and upgrade it."""

from __future__ import annotations

import json

import click

from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.terminal import finding
from sealroom_agents.errors import CommandExit
from sealroom_agents.storage_options import database_option

WIDTH = 9
"""Characters of the longest name of a finding."""


@click.group()
def command() -> None:
    """Look at the database, and upgrade it.

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
    with database_errors():
        with engine.connect() as connection:
            before = revision(connection).found
        after = bring(engine).found
    engine.dispose()
    if as_json:
        click.echo(json.dumps({"ok": True, "from": before, "to": after}))
    elif before == after:
        click.echo(f"the database is of revision {after}, as this program needs it")
    else:
        click.echo(f"upgraded from revision {before or 'none'} to {after}")
