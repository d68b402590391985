# SPDX-License-Identifier: Apache-2.0
"""What the README and the folders' pages claim, held against the code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from itertools import takewhile
from pathlib import Path

import click
import pytest

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import dataset_id
from sealroom.recipe import compose_hash, parse, render
from sealroom_agents.cli import main
from sealroom_agents.demo.screen import short
from sealroom_agents.demo.story import ONE_BYTE, STUDY
from tests.agents.shell import environment
from tests.local_chain import account
from tests.pages import blocks
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
LEAST = {
    "README.md": 9,
    "docs/tutorial.md": 9,
    "docs/operations.md": 7,
    "agents/README.md": 9,
    "enclave/README.md": 1,
    "contracts/README.md": 2,
}
"""Command lines that these pages show."""
OPTIONS = ("$CHAIN", "$AT")
"""Variables of the README that stand for options, which `make room` writes."""
COMMAND = re.compile(r"(?:^|do )((?:sealroom|ape run|python -m sealroom) .*?)(?: \|\| true)?(?:; done)?$")


def tracked() -> list[Path]:
    """Files of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0")[:-1] if (path := ROOT / name).is_file()]


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
        if (command := COMMAND.search(re.split("  #| [<>] ", line)[0].strip().removesuffix("`")))
    ]
    return [Line(name, tuple(shlex.split(line, comments=True)), whole) for line, whole in found]


PAGES = [page for page in tracked() if page.suffix == ".md" and page.name != "CHANGELOG.md"]
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


HELP_OF_EACH = """
import io, json, sys
from contextlib import redirect_stdout
from ape._cli import cli

for path in json.load(sys.stdin):
    with redirect_stdout(io.StringIO()) as said:
        try:
            cli.main([*path, "--help"], prog_name="ape")
        except SystemExit as ended:
            assert not ended.code, path
    print(json.dumps(said.getvalue()))
"""
"""Ape takes four seconds of a core to start: it says once what each of its commands says of itself."""
OTHERS = [line for line in SHOWN if line.words[0] != "sealroom"]


def path(line: Line) -> tuple[str, ...]:
    """The command that a line names, without its options."""
    length = 2 if line.words[0] == "ape" else 3
    named = takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), line.words[length:])
    return (*line.words[:length], *named)


@cache
def told() -> dict[tuple[str, ...], str]:
    """What each of the other programs' commands says of itself."""
    paths = {path(line) for line in OTHERS}
    of_ape = sorted(each[1:] for each in paths if each[0] == "ape")
    run = partial(subprocess.run, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, cwd=ROOT, check=True)
    ape = run([ROOT / ".venv-ape" / "bin" / "python", "-c", HELP_OF_EACH], input=json.dumps(of_ape))
    said = {
        ("ape", *each): json.loads(line) for each, line in zip(of_ape, ape.stdout.splitlines(), strict=True)
    }
    for each in paths - said.keys():
        said[each] = run([BIN / each[0], *each[1:], "--help"]).stdout
    return said


@pytest.mark.parametrize("line", OTHERS, ids=title)
def test_each_option_of_ape_and_of_the_enclave_exists(line: Line) -> None:
    said = told()[path(line)]
    assert said.startswith("Usage: " + path(line)[0] if path(line)[0] == "ape" else "usage: ")
    for option in (word for word in line.words if word.startswith("--")):
        assert re.search(rf"{option}\b", said), f"{path(line)} has no {option}"


def test_the_caps_of_the_readme_allow_a_run_of_its_study() -> None:
    words = next(
        line.words
        for line in SHOWN
        if line.page == "README.md" and line.words[:4] == ("ape", "run", "govern", "register")
    )
    caps = {option: Decimal(words[words.index(option) + 1]) for option in ("--cap", "--delta")}
    study = parse(render(ROOT / "enclave" / "studies" / "cardio-renal")).privacy
    assert caps["--cap"] >= study.epsilon and caps["--delta"] >= study.delta


def test_the_pages_show_commands_at_all() -> None:
    shown = [line.page for line in SHOWN]
    assert {page: shown.count(page) >= least for page, least in LEAST.items()} == dict.fromkeys(LEAST, True)


def anchors(page: Path) -> set[str]:
    """What a link into a page may name after `#`, as GitHub makes it from the headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def test_each_page_of_docs_is_linked_from_another() -> None:
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
    }
    docs = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert [page for page in docs if page not in linked and page.parent not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_a_title_and_what_it_is_for(page: Path) -> None:
    first, blank, second, *_ = page.read_text().splitlines()
    assert re.match(r"# \S", first) and not blank
    assert re.match(r"\w", second), "one sentence first: what is the page for?"


def test_the_map_of_folders_is_the_folders() -> None:
    text = (ROOT / "README.md").read_text()
    for folder in ("contracts", "scripts", "enclave", "agents", "tests", "docs"):
        assert re.search(rf"^{folder}/ ", text, re.MULTILINE)
        assert (ROOT / folder).is_dir()


def test_the_session_of_the_readme_is_short() -> None:
    assert max(len(block.strip().splitlines()) for block in blocks("README.md", "sh")) <= 24


def test_the_readme_begins_with_one_sentence_and_one_command() -> None:
    _, _, sentence, _, *rest = (ROOT / "README.md").read_text().splitlines()
    assert sentence.count(". ") == 0 and sentence.endswith(".")
    assert rest[:3] == ["```sh", "make demo", "```"]


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^(?:.*`)?make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_generated_pages_are_current() -> None:
    done = subprocess.run(
        [BIN / "python", ROOT / ".ci" / "docs", "--check"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def test_the_codes_that_the_operations_page_explains_exist() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    explained = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", page[page.index("## What to do when") :]))
    assert len(explained) > 10
    assert explained - {str(code) for code in Code} == set()


def test_the_readme_shows_the_hashes_of_its_study() -> None:
    """Those that do not change from run to run: of the recipe, of another by one byte, and a dataset's id."""
    recipe = render(ROOT / STUDY)
    hashes = (
        compose_hash(recipe),
        compose_hash(recipe.replace(*ONE_BYTE, 1)),
        dataset_id(account(0), "cohort-A"),
    )
    (shown,) = blocks("README.md", "text")
    assert len(set(hashes)) == 3
    for each in hashes:
        assert f" {short(to_hex(each))}" in shown, to_hex(each)


def test_the_tutorial_shows_what_its_study_renders_to(tmp_path: Path) -> None:
    """To the digit: no number of it is drawn."""
    shell = blocks("docs/tutorial.md", "sh")
    typed = [each for each in shell if "> study/" in each or each.startswith("sealroom recipe study ")]
    done = subprocess.run(
        ["bash", "-e", "-c", "".join(typed)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = next(each for each in blocks("docs/tutorial.md", "text") if each.startswith("study "))
    printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in shown.splitlines():
        begin = " ".join(line.partition("…")[0].split())
        assert any(each.startswith(begin) if "…" in line else each == begin for each in printed), line
