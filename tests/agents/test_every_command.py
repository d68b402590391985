# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: JSON for programs, and the statuses with which they end."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import sealroom_agents
from sealroom.encoding import canonical
from sealroom_agents.cli import main
from sealroom_agents.errors import CommandExit
from sealroom_agents.store import Store

SERVES = "it serves, and its log is JSON where that is configured"
GIVES = "what it prints is what was asked for, and is JSON or a script already"
NARRATES = "it tells steps to a person who rehearses; its files say the rest"
WITHOUT_JSON = {
    "gate": SERVES,
    "kms-webhook": SERVES,
    "runner": SERVES,
    "watcher": SERVES,
    "console": SERVES,
    "simulate guest": SERVES,
    "key export": "it prints the plain key, for a pipe, and nothing else",
    "policy image": GIVES,
    "call": GIVES,
    "config schema": GIVES,
    "completion": GIVES,
    "man": "it writes pages for people",
    "study try": NARRATES,
    "room approve": NARRATES,
    "room revoke": NARRATES,
    "demo": NARRATES,
}
"""Commands without `--json`, each with its reason."""
STATUSES = re.compile(r"Exit status.*?(?=\n\n|\Z)|with status \d+", re.DOTALL)
STATUS = re.compile(r"(?:status |^ *|: |, |; )(\d+)\b", re.MULTILINE)
ENDS = ("Exit", "exit", "_exit", "SystemExit")


@cache
def commands() -> dict[str, click.Command]:
    """Every command that does something, by what is typed after `sealroom`."""
    return dict(_below(main, ""))


def _below(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _below(found, f"{path} {name}".strip())


def test_every_command_has_json_or_a_reason_to_have_none() -> None:
    without = {
        path for path, one in commands().items() if not any("--json" in each.opts for each in one.params)
    }
    assert without == WITHOUT_JSON.keys()


def test_a_help_names_no_status_but_those_of_the_table() -> None:
    told = {
        path: {int(number) for said in STATUSES.findall(one.help or "") for number in STATUS.findall(said)}
        for path, one in commands().items()
    }
    assert {3, 4, 5, 78} <= set().union(*told.values()), "the pattern finds them"
    assert not {path: some for path, some in told.items() if not some <= {*map(int, CommandExit)}}


def test_no_command_ends_with_a_status_that_the_table_lacks() -> None:
    """A number in a call that ends a command is 0, or stands in `CommandExit` and is written by its name."""
    found = []
    for path in sorted(Path(sealroom_agents.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in ENDS:
                continue
            if any(isinstance(one, ast.Constant) and one.value not in (0, None) for one in node.args):
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(
    ("typed", "status", "code", "said"),
    [
        ("verify", 2, "usage", "name a file to verify"),
        ("attestation", 2, "usage", "missing argument"),
        ("key rotaet", 2, "usage", "no such command"),
        ("verify nothing.json", 1, "file-unusable", "nothing.json: no such file"),
        ("study diff nothing other", 2, "usage", "does not exist"),
        ("token end 0x12 --database sqlite:///none.db", 1, None, "there is no database"),
    ],
)
def test_with_json_every_refusal_is_one_object(
    typed: str, status: int, code: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*typed.split(), "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (status, False), done.output
    assert set(told) == {"ok", "code", "error", "hint"} and code in (told["code"], None)
    assert said in told["error"] and f"error: {told['error']}" in done.stderr


def test_a_list_and_a_document_are_in_an_object_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chain = f'[chain]\nid = 31337\nrpc = ["http://127.0.0.1:1"]\nfactory = "0x{40 * "1"}"\n'
    (tmp_path / "sealroom.toml").write_text(f'{chain}[database]\nurl = "sqlite:///a.db"\n')
    Store("sqlite:///a.db").close()
    runs = {}
    for typed in ("token list", "config show"):
        done = CliRunner().invoke(main, [*typed.split(), "--json"])
        assert done.exit_code == 0, done.output
        runs[typed] = json.loads(done.stdout)
    assert runs["token list"] == {"ok": True, "tokens": []}
    assert runs["config show"]["ok"] is True and "url" in runs["config show"]["database"]


def test_a_release_is_told_as_the_very_file_that_a_digest_is_held_against(tmp_path: Path) -> None:
    """`image digest --release` reads no other; so it has no `ok`."""
    image = {"name": "ghcr.io/sealroom/x", "digest": "sha256:" + 64 * "1", "sbom": "sha256:" + 64 * "2"}
    release = {
        "version": 1,
        "release": "0.1.0",
        "commit": 40 * "a",
        "epoch": 1_790_000_000,
        "builder": "buildah 1.28.2",
        "base": "python:3.11-slim-bookworm@sha256:" + 64 * "3",
        "images": {"agents": image, "enclave": image},
    }
    file = tmp_path / "release.json"
    file.write_bytes(canonical(release))
    done = CliRunner().invoke(main, ["image", "release", str(file), "--json"])
    assert (done.exit_code, done.stdout.encode()) == (0, file.read_bytes() + b"\n")


def test_with_json_what_was_written_is_told_as_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["study", "new", "kidneys", "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (0, True)
    assert set(told["written"]) == {str(path) for path in Path("kidneys").iterdir()}
