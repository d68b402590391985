# SPDX-License-Identifier: Apache-2.0
"""Revisions of the shared database: what is refused, what an upgrade does, and what the command says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import Engine, inspect, text

from sealroom_agents.errors import StoreError
from sealroom_agents.store import Store, schema
from sealroom_agents.store.engine import open_engine
from sealroom_agents.upkeep.command import command

RUN, RECIPE, CONSORTIUM = "0x" + "11" * 32, "0x" + "5e" * 32, "0x" + "c0" * 20
NEXT = """\
import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"


def upgrade():
    with op.batch_alter_table("watched") as table:
        table.add_column(sa.Column("colour", sa.String(8)))
    {then}
"""
"""A revision that a later version might bring."""


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program with one revision more; returns the revision's file."""
    present = schema.revisions()[-1]
    new = f"{int(present) + 1:04}"
    shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    path = tmp_path / "migrations" / "versions" / f"r{new}_colour.py"
    path.write_text(NEXT.format(new=new, old=present, then=""))
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")
    schema.revisions.cache_clear()
    yield path
    schema.revisions.cache_clear()


def fill(url: str) -> None:
    store = Store(url, "memory://recipes")
    store.add_recipe(RECIPE, b"{}")
    store.submit(RUN, compose_hash=RECIPE, consortium=CONSORTIUM, missing=[], waiting=False)
    store.close()


def refused(url: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert caught.value.code == "store-version"
    assert caught.value.hint is not None
    return caught.value


def test_revisions_form_one_line_and_make_the_tables_that_the_program_uses(database: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert tuple(script.revision for script in reversed(scripts)) == schema.revisions()
    assert [int(number) for number in schema.revisions()] == list(range(1, len(scripts) + 1))
    Store(database).close()
    with engine_of(database) as engine, engine.connect() as connection:
        assert schema.differences(connection) == []


def test_a_database_from_before_revisions_is_refused_and_left_as_it_is(database: str) -> None:
    change(database, "CREATE TABLE runs (id VARCHAR(66) PRIMARY KEY, epoch INTEGER)")
    error = refused(database)
    assert "of revision unnumbered" in error.message
    assert "read from the chain again" in (error.hint or "")
    with pytest.raises(StoreError):
        upgrade(database)
    assert tables(database) == ["runs"]


def test_a_database_of_a_later_version_is_refused_until_that_version_is_back(database: str) -> None:
    fill(database)
    change(database, "UPDATE alembic_version SET version_num = '9999'")
    error = refused(database)
    assert "of revision 9999; this program uses revision" in error.message
    assert "start the version" in (error.hint or "")
    with pytest.raises(StoreError):
        upgrade(database)


def test_an_older_database_waits_for_its_operator_and_is_upgraded_whole_or_not_at_all(
    database: str, request: pytest.FixtureRequest
) -> None:
    fill(database)
    path: Path = request.getfixturevalue("later")
    good = path.read_text()
    assert "sealroom db upgrade" in (refused(database).hint or "")
    path.write_text(good + "    raise OSError\n")
    with pytest.raises(OSError):
        upgrade(database)
    assert not columns(database) & {"colour"}
    assert "sealroom db upgrade" in (refused(database).hint or "")

    path.write_text(good)
    answer = CliRunner().invoke(command, ["upgrade", "--database", database, "--json"])
    present = schema.revisions()
    assert json.loads(answer.stdout) == {"ok": True, "from": present[-2], "to": present[-1]}
    assert "colour" in columns(database)
    store = Store(database)
    assert store.run(RUN).state == "queued"
    store.close()
    again = CliRunner().invoke(command, ["upgrade", "--database", database])
    assert "as this program needs it" in again.stdout


def test_the_check_names_what_is_wrong_and_makes_no_tables(database: str) -> None:
    def check() -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(command, ["check", "--database", database, "--json"], standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.return_value, json.loads(done.stdout)

    if database.startswith("sqlite"):
        with pytest.raises(StoreError, match="there is no database"):
            check()
    else:
        assert check()[0] == 1
    assert tables(database) == []
    fill(database)
    newest = schema.revisions()[-1]
    assert check() == (
        0,
        {"ok": True, "revision": newest, "present": newest, "differences": [], "faults": []},
    )
    change(database, "ALTER TABLE watched ADD COLUMN colour VARCHAR(8)")
    status, found = check()
    assert (status, found["ok"]) == (1, False)
    assert "colour" in str(found["differences"])


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    """A database, past the store."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def change(url: str, statement: str) -> None:
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(text(statement))


def upgrade(url: str) -> None:
    with engine_of(url) as engine:
        schema.upgrade(engine)


def tables(url: str) -> list[str]:
    with engine_of(url) as engine:
        return inspect(engine).get_table_names()


def columns(url: str) -> set[str]:
    with engine_of(url) as engine:
        return {column["name"] for column in inspect(engine).get_columns("watched")}
