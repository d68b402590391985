# SPDX-License-Identifier: Apache-2.0
"""What the database forgets, on SQLite and PostgreSQL: what nothing rests on, once it is old."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sealroom.encoding import sha256, to_hex
from sealroom_agents.console.submission import submit_with_recipe
from sealroom_agents.store import Notice, Run, Store
from sealroom_agents.store.retention import DAY_S, RECIPE_DAYS, Forgotten, Retention
from sealroom_agents.upkeep.command import command

CONSORTIUM = "0x" + "c0" * 20
USED, UNUSED = (to_hex(sha256(data)) for data in (b"used", b"unused"))


def filled(url: str, content: str) -> Store:
    store = Store(url, content)
    store.add_recipe(USED, b"used")
    store.add_recipe(UNUSED, b"unused")
    store.submit("0x" + "aa" * 32, compose_hash=USED, consortium=CONSORTIUM, missing=[], waiting=False)
    store.add_notice(CONSORTIUM, Notice(kind="seat", about="0x" + "11" * 20, block=1, text="offered"))
    return store


def test_what_is_old_and_rests_on_nothing_goes(database: str) -> None:
    store = filled(database, "memory://retention-" + to_hex(sha256(database.encode())))

    def after(days: float) -> Retention:
        return Retention(store, keep_days=30, clock=lambda: time.time() + days * DAY_S)

    assert after(RECIPE_DAYS - 1).forget() == Forgotten(0, 0)
    assert after(RECIPE_DAYS + 1).due() == Forgotten(1, 0)
    assert after(31).due() == Forgotten(1, 1)
    assert after(31).forget() == Forgotten(1, 1)
    assert after(3100).forget() == Forgotten(0, 0)
    assert list(store.content.digests()) == [USED] and store.recipe(USED) == b"used"
    assert [run.state for run in store.runs()] == ["queued"] and not store.notices(CONSORTIUM)
    store.close()


def test_a_recipe_that_is_handed_in_again_is_new_again(database: str) -> None:
    """RE-07: who forgets what was old by a look before does not forget it, and its bytes are there."""
    store = filled(database, "memory://again-" + to_hex(sha256(database.encode())))
    before = time.time()
    assert store.old_recipes(before=before, limit=9) == [UNUSED]
    assert not store.add_recipe(UNUSED, b"unused")
    assert store.forget_recipes(before=before, limit=9) == 0
    assert store.recipe(UNUSED) == b"unused"
    assert store.forget_recipes(before=time.time() + 1, limit=9) == 1
    assert store.add_recipe(UNUSED, b"unused") and store.recipe(UNUSED) == b"unused"
    store.close()


def test_a_run_has_its_recipe_whoever_forgets_recipes_meanwhile(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-07: between its upload and its run a recipe is nobody's; a flood of others pushes it out then."""
    store = filled(database, "memory://meanwhile-" + to_hex(sha256(database.encode())))
    submit, tries = store.submit, list[str]()

    def forgotten_first(run_id: str, **options: Any) -> Run:
        tries.append(run_id)
        if len(tries) == 1:
            assert store.forget_recipes(before=time.time() + 1, limit=9) == 1
        try:
            return submit(run_id, **options)
        finally:  # as one who was killed between the bytes and the row leaves it
            store.content.discard(UNUSED)

    monkeypatch.setattr(store, "submit", forgotten_first)
    run = submit_with_recipe(
        store, b"unused", compose_hash=UNUSED, consortium=CONSORTIUM, missing=[], waiting=False
    )
    assert run.id == tries[1] and len(tries) == 2
    assert store.recipe(UNUSED) == b"unused"
    assert store.forget_recipes(before=time.time() + 1, limit=9) == 0
    store.close()


def test_a_command_says_what_would_go_and_lets_it_go(database: str, tmp_path: Path) -> None:
    place = f"{tmp_path}/content"
    filled(database, place).close()
    call = ["forget", "--database", database, "--content", place, "--json"]
    for arguments in (["--dry-run"], []):
        done = CliRunner().invoke(command, [*call, *arguments])
        assert (done.exit_code, json.loads(done.stdout)) == (0, {"ok": True, "recipes": 0, "notices": 0})
