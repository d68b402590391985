# SPDX-License-Identifier: Apache-2.0
"""Each refusal of the owner's commands has a code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.agents.shell import forked

from sealroom_agents.client import Pinned
from sealroom_agents.store import Store


@pytest.mark.parametrize(
    "command, code",
    [
        ("seal --owner hospital-A --in a.parquet", "source-missing"),
        ("seal --owner hospital-A --in errors", "card-missing"),  # a file that is there: stderr goes to it
        ("reseal a.tar", "source-unreadable"),
        ("inspect a.tar", "source-unreadable"),
        ("sign a.tar --show", "source-unreadable"),
        ("govern confirm --consortium 0x" + 40 * "1" + " --calldata", "configuration"),
        ("upload a.tar memory://a --yes", "source-unreadable"),
        ("fetch memory://a --sha256 0x" + 64 * "1" + " --out a.tar", "remote-missing"),
    ],
)
def test_with_json_a_refusal_is_one_object_with_its_code(tmp_path: Path, command: str, code: str) -> None:
    done = forked(f"sealroom {command} --json 2>errors", tmp_path)
    refusal = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(refusal) == {"ok", "code", "error", "hint"}
    assert (refusal["ok"], refusal["code"]) == (False, code)
    assert (tmp_path / "errors").read_text().startswith(f"error: {refusal['error']}")


@pytest.mark.parametrize("command", ["", "study", "room", "govern", "db", "token", "config"])
def test_a_group_without_a_command_prints_its_help(tmp_path: Path, command: str) -> None:
    """A page of help stays a page; the status says that nothing was done."""
    done = forked(f"sealroom {command} 2>errors", tmp_path)
    told = (tmp_path / "errors").read_text()
    assert (done.returncode, done.stdout) == (2, "")
    assert told.startswith("Usage: sealroom") and "error:" not in told and len(told.splitlines()) > 8
    assert told.strip() == forked(f"sealroom {command} --help", tmp_path).stdout.strip()


@pytest.mark.parametrize(
    "command",
    [
        "token issue --researcher 0x" + 40 * "1",
        "token list",
        "token end 0x" + 64 * "1",
        "db check",
        "db upgrade",
        "db forget",
        "backup a.tar",
    ],
)
def test_no_command_makes_a_database_that_it_would_read(tmp_path: Path, command: str) -> None:
    """A token in a new database would stand for nobody at the console that runs."""
    done = forked(f"sealroom {command} 2>&1", tmp_path)
    assert done.returncode == 1 and "there is no database" in done.stdout and "hint:" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_in_the_folder_of_a_room_its_database_is_meant(tmp_path: Path) -> None:
    """As `sealroom run` and `call` ask the room's console."""
    room = tmp_path / ".sealroom"
    room.mkdir()
    (room / "sealroom.toml").write_text('[database]\nurl = "sqlite:///sealroom.db"\n')
    assert forked("sealroom token list 2>&1", tmp_path).returncode == 1
    Store(f"sqlite:///{room / 'sealroom.db'}").close()
    done = forked("sealroom token issue --researcher 0x" + 40 * "1" + " --json 2>errors", tmp_path)
    assert done.returncode == 0, (tmp_path / "errors").read_text()
    store = Store(f"sqlite:///{room / 'sealroom.db'}")
    assert len(store.tokens()) == 1
    store.close()
    assert not (tmp_path / "sealroom.db").exists()


@pytest.mark.parametrize(
    "command, content, told",
    [
        ("explain-failure f --key k", '{"version": 1, "statement": {}, "release": {}}', "sealroom verify f"),
        ("inspect f", "id,age\n1,2\n" * 200, "sealroom seal"),
        ("upload f file:///nowhere/f --yes", "PAR1", "sealroom seal"),
        ("upload f file:///nowhere/f --yes", "# data key of A: keep it\n", "send it to nobody"),
        ("unseal f --out g", "PAR1", "sealroom seal"),
        ("reseal f --study k", "PAR1", "sealroom seal"),
        ("sign f --show", "PAR1", "sealroom seal"),
        ("key test k --of f", "PAR1", "sealroom seal"),
        ("verify f", "name: banks\noutput:\n  limit_bytes: 1\n", "sealroom study check f"),
        ("verify f", '{"recipe": "", "owners": [], "gate": {}}', "sealroom seal --study f"),
        ("verify f", "PAR1", "Parquet"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_kind(
    tmp_path: Path, command: str, content: str, told: str
) -> None:
    """What it seems to be, and the command that takes it; a file of no known kind is refused as before."""
    (tmp_path / "f").write_text(content)
    (tmp_path / "k").write_text("")
    done = forked(f"sealroom {command} 2>&1", tmp_path)
    assert done.returncode == 1 and "it seems to be" in done.stdout and told in done.stdout, done.stdout
    (tmp_path / "f").write_text("{}")
    assert "seems to be" not in forked(f"sealroom {command} 2>&1", tmp_path).stdout


def test_outside_a_room_call_asks_for_its_console(tmp_path: Path) -> None:
    done = forked("sealroom call GET /v1/studies 2>&1", tmp_path)
    assert done.returncode == 1 and "--console" in done.stdout


def test_the_key_of_a_console_is_taken_with_0x_and_without() -> None:
    digits = 32 * "ab"
    assert Pinned(digits) == Pinned("0x" + digits) == Pinned(bytes.fromhex(digits))
    with pytest.raises(ValueError, match="32 bytes"):
        Pinned("0x12")
