# SPDX-License-Identifier: Apache-2.0
"""What the shell and man show of the commands: completion, manual pages, and a word for who mistypes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from tests.agents.shell import shell

from sealroom_agents.cli import ENTRIES
from sealroom_agents.cli.completion import SHELLS
from sealroom_agents.cli.man import roff

REQUESTS = {"TH", "ad", "SH", "PP", "TP", "nf", "fi"}
"""What a page may ask of man."""


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All manual pages."""
    folder = tmp_path_factory.mktemp("manual") / "man1"
    done = shell(f"sealroom man {folder}", folder.parent)
    assert done.returncode == 0, done.stdout
    assert f"{len(list(folder.iterdir()))} pages" in done.stdout
    return folder


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("sealroom ver", ["verify"]),
        ("sealroom key ro", ["rotate"]),
        ("sealroom govern rev", ["revoke"]),
        ("sealroom verify --po", ["--policy"]),
        ("sealroom completion z", ["zsh"]),
        ("sealroom verify --json --po", ["--policy"]),
    ],
)
def test_bash_completes_commands_options_and_choices(
    typed: str, completed: list[str], tmp_path: Path
) -> None:
    words = typed.split(" ")
    script = (
        "complete() { :; }; source <(sealroom completion bash)\n"
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        '_sealroom_completion sealroom; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    (tmp_path / "complete.sh").write_text(script)
    done = shell("bash complete.sh", tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, completed)


@pytest.mark.parametrize("name", SHELLS)
def test_each_shell_has_a_script_that_asks_this_program(name: str, tmp_path: Path) -> None:
    done = shell(f"sealroom completion {name}", tmp_path)
    assert done.returncode == 0 and f"_SEALROOM_COMPLETE={name}_complete" in done.stdout


def test_commands_are_completed_without_being_imported(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "import click\n"
        "from sealroom_agents.cli import main\n"
        "found = main.shell_complete(click.Context(main), '')\n"
        "ours = [name for name in sys.modules if name.startswith('sealroom_agents.')]\n"
        "print(json.dumps([[one.value for one in found], ours]))\n"
    )
    done = shell(f"python -c {shlex.quote(program)}", tmp_path)
    names, modules = json.loads(done.stdout)
    assert names == list(ENTRIES)
    assert {name.split(".")[1] for name in modules} == {"cli", "errors"}


def test_there_is_a_page_for_every_command_with_all_that_its_help_says(manual: Path) -> None:
    names = {path.stem for path in manual.iterdir()}
    assert {"sealroom", *(f"sealroom-{name}" for name in ENTRIES)} < names
    assert {"sealroom-key-rotate", "sealroom-govern-revoke"} < names
    text = (manual / "sealroom-verify.1").read_text()
    for option in re.findall(r"(?<!\S)--[a-z0-9-]+", shell("sealroom verify --help", manual).stdout):
        assert option.replace("-", "\\-") in text
    assert ".SH EXAMPLE\n.nf\nsealroom verify" in text and ".SH EXIT STATUS" in text


def test_pages_ask_nothing_of_man_but_what_they_mean_to(manual: Path) -> None:
    for path in manual.iterdir():
        lines = path.read_text().splitlines()
        asked = {line[1:].split(" ")[0] for line in lines if line[:1] in (".", "'")}
        assert asked <= REQUESTS, path.name
        assert not re.search(r"\\(?![e\-&(f:])", path.read_text()), path.name


def test_words_of_a_help_are_no_requests() -> None:
    command = click.Command("x", help=".so /etc/passwd\n'ex\n\n\\fBbold\\fR")
    page = roff(click.Context(command, info_name="x"), "a\\b", {}, "sealroom 1")
    assert "\n\\&.so /etc/passwd\n\\&'ex\n.PP\n\\efBbold\\efR\n" in page and "a\\eb" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_finds_nothing_wrong(manual: Path) -> None:
    pages = sorted(map(str, manual.iterdir()))
    done = subprocess.run(
        ["groff", "-k", "-ww", "-man", "-Tutf8", "-z", *pages], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_who_mistypes_is_told_what_there_is(tmp_path: Path) -> None:
    done = shell("sealroom verfy envelope.json", tmp_path)
    assert done.returncode == 2
    assert "no such command 'verfy'. Did you mean 'verify'?" in done.stdout
    done = shell("sealroom key rotaet", tmp_path)
    assert "Did you mean one of: 'rotate'" in done.stdout
    assert "Did you mean" not in shell("sealroom wxyz", tmp_path).stdout
