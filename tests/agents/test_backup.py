# SPDX-License-Identifier: Apache-2.0
"""Backups: whole, of a database in use, restored only where nothing is."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sealroom_agents.errors import StoreError, ToolError
from sealroom_agents.store import Holder, Store
from sealroom_agents.store.content import Folder
from sealroom_agents.upkeep.command import backup, restore

HOLDER = Holder(id="one", place="here", name="r")


@pytest.fixture
def another(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A place for a second database of the same kind."""
    if database.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'restored' / 'sealroom.db'}"
    return str(request.getfixturevalue("postgres").create())


def call(command: object, *words: object) -> Result:
    done = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)  # type: ignore[arg-type]
    if done.exception:
        raise done.exception
    return done


def test_a_backup_brings_back_runs_events_envelopes_and_recipes(
    database: str, another: str, tmp_path: Path
) -> None:
    store = Store(database, str(tmp_path / "content"))
    recipe = store.content.put(b"{}")
    store.add_recipe(recipe, b"{}")
    for number in range(2):
        store.submit(f"0x{number:064x}", compose_hash=recipe, consortium="0x", missing=[], waiting=False)
    first, second = store.claim(HOLDER), store.claim(HOLDER)
    assert first is not None and second is not None
    store.emitted(first, "first draft")
    store.anchored(first, "envelope", message="x")
    store.emitted(second, "second draft")
    file = tmp_path / "backup.tar"
    here = ("--database", database, "--content", tmp_path / "content")
    made = call(backup, file, *here, "--json")  # the store is open all the while
    kind = database.partition(":")[0]
    assert json.loads(made.stdout) == {"ok": True, "database": kind, "content": 3, "damaged": []}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(ToolError) as caught:
        call(backup, file, *here)
    assert (caught.value.code, file.read_bytes()) == ("output-exists", before)
    assert list(tmp_path.glob(".sealroom*")) == []

    there = ("--database", another, "--content", tmp_path / "other")
    call(restore, file, *there)
    with pytest.raises(StoreError) as refused:
        call(restore, file, *there)
    assert refused.value.code == "database-exists"
    if kind == "sqlite":  # what SQLite left beside a database that was moved away belongs to that one
        (tmp_path / "left.db-wal").write_bytes(b"log")
        with pytest.raises(StoreError) as refused:
            call(
                restore,
                file,
                "--database",
                f"sqlite:///{tmp_path / 'left.db'}",
                "--content",
                tmp_path / "left",
            )
        assert refused.value.code == "database-exists"
    found = Store(another, str(tmp_path / "other"))
    assert [run.state for run in found.runs()] == [run.state for run in store.runs()]
    assert found.events(first.id) == store.events(first.id)
    assert (found.envelope(first.id), found.draft(second.id)) == ("envelope", "second draft")
    assert found.recipe(recipe) == b"{}"
    found.anchored(second, "late", message="the fence of the holder is as it was")
    for one in (store, found):
        one.close()


def rewrite(file: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    """A copy of a backup whose members `change` makes anew."""
    other = file.with_name("changed.tar")
    with tarfile.open(file) as source, tarfile.open(other, "w") as target:
        for member in source:
            stream = source.extractfile(member)
            assert stream is not None
            for name, data in change(member.name, stream.read()):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                target.addfile(info, io.BytesIO(data))
    return other


@pytest.mark.parametrize("how", ["other bytes", "no file"])
def test_a_damaged_envelope_forbids_no_backup_of_the_others(how: str, tmp_path: Path) -> None:
    """A disk changed one of three, or the file system made a folder of it, which the kernel does not read:
    it is named, left out, and the rest comes back."""
    content = tmp_path / "content"
    store = Store(f"sqlite:///{tmp_path / 'first.db'}", str(content))
    digests = [store.content.put(data) for data in (b"one", b"two", b"three")]
    store.close()
    rotted = content / "sha256" / digests[1][2:4] / digests[1][2:]
    if how == "other bytes":
        rotted.chmod(0o600)
        rotted.write_bytes(b"tvo")
    else:
        rotted.unlink()
        rotted.mkdir()
    file = tmp_path / "backup.tar"
    here = ("--database", f"sqlite:///{tmp_path / 'first.db'}", "--content", content)
    made = call(backup, file, *here, "--json")
    assert (made.return_value, json.loads(made.stdout)) == (
        1, {"ok": False, "database": "sqlite", "content": 2, "damaged": [digests[1]]},
    )  # fmt: skip
    said = call(backup, tmp_path / "again.tar", *here)
    assert said.return_value == 1 and f"{digests[1]}: left out" in said.output
    back = ("--database", f"sqlite:///{tmp_path / 'second.db'}", "--content", tmp_path / "other")
    assert json.loads(call(restore, file, *back, "--json").stdout)["content"] == 2
    assert Folder(tmp_path / "other").get(digests[1]) is None
    assert Folder(tmp_path / "other").get(digests[2]) == b"three"


def test_what_is_no_whole_backup_is_refused_and_leaves_no_database(tmp_path: Path) -> None:
    """A restore that was refused, or killed, can be done again: no database is there before its end."""
    url, folder = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "restored"
    store = Store(url)
    store.add_recipe(store.content.put(b"{}"), b"{}")
    store.close()
    file = tmp_path / "backup.tar"
    call(backup, file, "--database", url)

    def drop(name: str) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
        return lambda member, data: [] if member == name else [(member, data)]

    newer = json.dumps({"version": 2, "database": "sqlite"}).encode()
    foreign = json.dumps({"version": 1, "database": "postgresql"}).encode()
    cases: list[tuple[Callable[[str, bytes], list[tuple[str, bytes]]], str]] = [
        (drop("manifest.json"), "does not begin with its manifest"),
        (drop("database"), "holds no database"),
        (lambda name, data: [(name, newer if name == "manifest.json" else data)], "of version 2"),
        (lambda name, data: [(name, foreign if name == "manifest.json" else data)], "postgresql database"),
        (lambda name, data: [(name, b"[]" if name.startswith("sha256/") else data)], "other bytes"),
        (lambda name, data: [("../" + name if name.startswith("sha256/") else name, data)], "it holds"),
        (lambda name, data: [(name, data[:-5000] if name == "database" else data)], "damaged"),
    ]
    target = ("--database", f"sqlite:///{folder / 'b.db'}", "--content", folder / "content")
    for change, says in cases:
        with pytest.raises(StoreError, match=says) as caught:
            call(restore, rewrite(file, change), *target)
        assert caught.value.code == "backup-malformed"
        assert not (folder / "b.db").exists()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(StoreError):
        call(restore, cut, *target)
    call(restore, file, *target)
    assert sorted(path.name for path in folder.iterdir()) == ["b.db", "content"]


def test_file_and_environment_say_what_no_option_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-08: who names nothing backs up what the processes use, and no empty database beside it."""
    kept = tmp_path / "kept"
    kept.mkdir()
    Store(f"sqlite:///{kept}/s.db").close()
    config = kept / "sealroom.toml"
    config.write_text('[database]\nurl = "sqlite:///s.db"\n')
    call(backup, tmp_path / "0.tar", "--config", config)
    monkeypatch.setenv("SEALROOM_DATABASE__URL", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(StoreError):
        call(backup, tmp_path / "1.tar", "--config", config)
    monkeypatch.setenv("SEALROOM_DATABASE__URL", f"sqlite:///{kept}/s.db")
    call(backup, tmp_path / "1.tar")
    monkeypatch.delenv("SEALROOM_DATABASE__URL")
    monkeypatch.chdir(kept)
    call(backup, tmp_path / "here.tar")  # sealroom.toml is there
    call(restore, tmp_path / "here.tar", "--database", f"sqlite:///{tmp_path}/again.db")
