# SPDX-License-Identifier: Apache-2.0
"""What the README and the folders' pages claim, held against the code."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click
import pytest

from sealroom.recipe import parse, render
from sealroom_agents.cli import main

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
PAGES = [
    ROOT / name
    for name in ("README.md", "SECURITY.md", "contracts/README.md", "enclave/README.md", "agents/README.md")
]


LEAST = {"README.md": 9, "agents/README.md": 12, "enclave/README.md": 1, "contracts/README.md": 2}
"""Command lines that these pages show."""
OPTIONS = ("$CHAIN", "$AT")
"""Variables of the README that stand for options, which `make room` writes."""
COMMAND = re.compile(r"(?:^|do )((?:sealroom|ape run|python -m sealroom) .*?)(?:; done)?$")


@dataclass(frozen=True)
class Line:
    """A command line that a page shows."""

    page: str
    words: tuple[str, ...]
    whole: bool
    """Of a block, and thus all that has to be typed; in a sentence a command may be named in part."""


def lines(page: Path) -> list[Line]:
    """The lines of `sealroom`, `ape run` and `python -m sealroom` in a page's blocks and sentences."""
    name = str(page.relative_to(ROOT))
    text = page.read_text().replace("\\\n", " ")
    shown = [(line, True) for line in re.findall(r"^(?: {2,4})?(?! )(.+)$", text, re.MULTILINE)]
    named = [(span, False) for span in re.findall(r"`([^`\n]+)`", text)]
    found = [
        (command[1], whole)
        for line, whole in [*shown, *named]
        if (command := COMMAND.search(line.split("  #")[0].strip().removesuffix("`")))
    ]
    return [Line(name, tuple(shlex.split(line, comments=True)), whole) for line, whole in found]


SHOWN = [line for page in PAGES for line in lines(page)]


def title(line: Line) -> str:
    return " ".join((line.page, *line.words[:4]))


@pytest.mark.parametrize("line", [line for line in SHOWN if line.words[0] == "sealroom"], ids=title)
def test_each_line_of_sealroom_is_understood(line: Line) -> None:
    """The command's own parser takes its options, and, of a block, all that it requires is there."""
    command: click.Command = main
    words = [word for word in line.words if word not in OPTIONS]
    while isinstance(command, click.Group) and words[1:]:
        words = words[1:]
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]}"
        command = found
    context = click.Context(command, resilient_parsing=not line.whole)
    given, rest, _ = command.make_parser(context).parse_args(words[1:])
    assert not rest
    if line.whole:
        missing = [each.name for each in command.params if each.required and not given.get(each.name or "")]
        assert not missing


@pytest.mark.parametrize("line", [line for line in SHOWN if line.words[0] != "sealroom"], ids=title)
def test_each_option_of_ape_and_of_the_enclave_exists(line: Line) -> None:
    program = line.words[:2] if line.words[0] == "ape" else line.words[:3]
    path = [BIN / program[0], *program[1:]]
    for word in line.words[len(program) :]:
        if re.fullmatch(r"[a-z-]+", word) is None or word.startswith("-"):
            break
        path.append(word)
    done = subprocess.run([*path, "--help"], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for option in (word for word in line.words if word.startswith("--")):
        assert re.search(rf"{option}\b", done.stdout), f"{path} has no {option}"


def test_the_caps_of_the_readme_allow_a_run_of_its_study() -> None:
    words = next(line.words for line in SHOWN if line.words[:4] == ("ape", "run", "govern", "register"))
    caps = {option: Decimal(words[words.index(option) + 1]) for option in ("--cap", "--delta")}
    study = parse(render(ROOT / "enclave" / "studies" / "cardio-renal")).privacy
    assert caps["--cap"] >= study.epsilon and caps["--delta"] >= study.delta


def test_the_pages_show_commands_at_all() -> None:
    shown = [line.page for line in SHOWN]
    assert {page: shown.count(page) >= least for page, least in LEAST.items()} == dict.fromkeys(LEAST, True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_map_of_folders_is_the_folders() -> None:
    text = (ROOT / "README.md").read_text()
    for folder in ("contracts", "scripts", "enclave", "agents", "tests"):
        assert re.search(rf"^{folder}/ ", text, re.MULTILINE)
        assert (ROOT / folder).is_dir()


def test_the_first_code_block_is_short() -> None:
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    assert len(first[1].strip().splitlines()) <= 24


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
