# SPDX-License-Identifier: Apache-2.0
"""The texts of the run page and of the pages of changes stand in the files of words, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from jinja2 import nodes

from sealroom_agents.console.templating import TEMPLATES, environment
from sealroom_agents.console.words import words

FACE = TEMPLATES.parent / "face"
PAGES = ("run.html", "run_parts.html", "change.html", "hand_over.html", "register.html", "platform.html")
"""Templates whose texts stand in `words.toml`."""
SCRIPTS = ("pages/run.ts", "pages/change.ts", "parts/lease.ts", "govern/dropped.ts")
"""Scripts whose texts stand in `face/words`."""
SEEN = ("aria-label", "alt", "title", "placeholder", "data-label")
"""Attributes that people read or hear."""
LITERAL = ("Sealroom", "events", "v runs", "x", "sealroom govern platform")
"""The name of the product, a route, the beginning of a number, and a command."""
LETTERS = re.compile(r"[A-Za-zÀ-ž]")
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`')
SENTENCE = re.compile(r"[A-Za-z][’,.:]? [A-Za-z]|^.[A-Z][a-z]+[.:…]?.$")
"""What looks like words for people: several of them, or one that begins in upper case."""
NO_WORDS = ('"notice danger"', '"Content-Type"')
"""Classes of elements, and a header."""


class Texts(HTMLParser):
    """Collects what a page would show of its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in ("pre", "code")
        self.found += [value or "" for name, value in attrs if name in SEEN]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("pre", "code")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.found.append(data)


def of_template(source: str) -> Iterator[str]:
    """Texts that a template has of its own: between its tags, in attributes that people read, and in what it
    puts out by a condition or hands to a macro."""
    made = environment(asset=str, disk=False, teller="server", frame="base.html")
    parsed = made.parse(source)
    texts = Texts()
    # What Jinja puts out stands for itself; only what is written in the template is judged.
    texts.feed("".join(text for _, kind, text in made.lex(source) if kind == "data" or kind == "raw_begin"))
    yield from texts.found
    for output in parsed.find_all(nodes.Output):
        for constant in output.find_all(nodes.Const):
            if isinstance(constant.value, str) and " " in constant.value.strip():
                yield constant.value


def of_script(source: str) -> Iterator[str]:
    """Texts for people that a script has of its own."""
    bare = re.sub(r"//.*|/\*[\s\S]*?\*/|^import .*$", "", source, flags=re.MULTILINE)
    for found in STRING.findall(bare):
        if SENTENCE.search(found) and found not in NO_WORDS:
            yield found


def stray(texts: Iterator[str]) -> list[str]:
    return [one.strip() for one in texts if LETTERS.search(one) and one.strip().strip(" ·/0…") not in LITERAL]


@pytest.mark.parametrize("name", PAGES)
def test_a_pages_texts_stand_in_the_file_of_words(name: str) -> None:
    source = (TEMPLATES / name).read_text()
    assert stray(of_template(source)) == []
    for text in ("<p>A new text</p>", '<b title="A text"></b>', '{{ mark("said", "a new text") }}'):
        assert stray(of_template(source + text)), "what is not there is found"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_scripts_texts_stand_in_the_file_of_words(name: str) -> None:
    source = (FACE / name).read_text()
    assert stray(of_script(source)) == []
    for text in ('tell("A new text.");', "tell(`some ${more} new text`);", 'tell("Done.");'):
        assert stray(of_script(source + "\n" + text)), "what is not there is found"


@pytest.mark.parametrize(("page", "templates"), [("run", PAGES[:2]), ("change", PAGES[2:])])
def test_no_text_is_there_that_no_page_shows(page: str, templates: tuple[str, ...]) -> None:
    shown = "".join((TEMPLATES / name).read_text() for name in templates)
    shown += (TEMPLATES.parent / "run_page.py").read_text()
    unused = [
        name for name in words()[page] if f"say.{page}.{name}" not in shown and f'"{name}"' not in shown
    ]
    assert unused == []
