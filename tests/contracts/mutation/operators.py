# SPDX-License-Identifier: Apache-2.0
"""Ways to break a contract by one small edit, each as a reader of the source would make it.

A mutant is the source with one place replaced. Places are found by patterns over the text with comments
blanked out: the contracts are formatted by `forge fmt`, so a statement has one shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    file: str
    """Path of the source below `contracts`."""
    line: int
    """Line of the place, counted from 1."""
    function: str
    """In which function it is, or `-`."""
    operator: str
    """Which operator made it."""
    begin: int
    end: int
    """The place, as offsets into the source."""
    replacement: str
    """What stands there instead."""
    original: str
    """What stood there, on one line, shortened; for people."""

    def apply(self, source: str) -> str:
        """The source with this mutant's edit."""
        return source[: self.begin] + self.replacement + source[self.end :]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.key.split(' ', 1)[1]}"

    @property
    def key(self) -> str:
        """The same without the line, which moves."""
        instead = " ".join(self.replacement.split()) or "(nothing)"
        return f"{self.file} {self.function} {self.operator}: `{self.original}` -> `{instead[:70]}`"


SWAPS = (
    ("compare", r"(?<![<>=!])<=(?!=)", "<"),
    ("compare", r"(?<![<>=!])>=(?!=)", ">"),
    ("compare", r"(?<= )<(?= )", "<="),
    ("compare", r"(?<= )>(?= )", ">="),
    ("compare", r"==", "!="),
    ("compare", r"!=", "=="),
    ("arithmetic", r"(?<= )\+(?= )", "-"),
    ("arithmetic", r"(?<= )-(?= )", "+"),
    ("arithmetic", r"\+= ", "-= "),
    ("arithmetic", r"(?<=[^+ ])\+\+(?!i\b)|(?<= )\+\+(?=_)", "--"),
    ("logic", r"&&", "||"),
    ("logic", r"\|\|", "&&"),
    ("bits", r"(?<= )&(?= )", "|"),
    ("bits", r"(?<= )\|(?= )", "&"),
    ("bits", r"&= ~", "&= "),
    ("shift", r"<<", ">>"),
    ("shift", r"(?<= )>>(?= )", "<<"),
    ("constant", r"\btrue\b", "false"),
    ("constant", r"\bfalse\b", "true"),
)
"""Operator, what it looks for, what it puts there."""

NUMBER = re.compile(r"(?<![\w.\"])(0x[0-9a-f]+|\d[\d_]*)(?![\w.\"]|\.\d)")
STATEMENT_END = re.compile(r"[;{}]\s*$")


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of one source, in the order of its places."""
    text = blank(source)
    code_from = text.index("\n", text.index("pragma"))
    found = [m for m in _all(file, source, text) if m.begin > code_from]
    yield from sorted(found, key=lambda m: (m.begin, m.operator, m.replacement))


def blank(source: str) -> str:
    """The same length, with comments, strings and imports as spaces."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|^import [^;]*;"
    return re.sub(
        pattern,
        lambda match: re.sub(r"[^\n]", " ", match.group()),
        source,
        flags=re.S | re.M,
    )


def _all(file: str, source: str, text: str) -> Iterator[Mutant]:
    def make(operator: str, begin: int, end: int, replacement: str) -> Mutant:
        original = " ".join(source[begin:end].split())[:70]
        if end - begin < 4:  # too short to say anything: show the line
            original = source[source.rfind("\n", 0, begin) + 1 : source.find("\n", end)].strip()[:100]
        line = source.count("\n", 0, begin) + 1
        functions = re.findall(r"\n    (?:function (\w+)|(constructor))\b", text[:begin])
        function = "".join(functions[-1]) if functions else "-"
        return Mutant(file, line, function, operator, begin, end, replacement, original)

    for operator, pattern, replacement in SWAPS:
        for match in re.finditer(pattern, text):
            yield make(operator, match.start(), match.end(), replacement)

    for match in NUMBER.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if "pragma" in line:
            continue
        value = int(match.group().replace("_", ""), 0)
        yield make("constant", match.start(), match.end(), str(value + 1))

    for begin, end in _statements(text):
        statement = text[begin:end].strip()
        if " constant " in statement:
            continue
        if statement.startswith("require("):
            yield make("delete require", begin, end, "")
        elif statement.startswith("emit "):
            yield make("delete emit", begin, end, "")
        elif statement.startswith("delete ") or re.match(r"[\w.\[\]() ,]+ (=|\+=|\|=|&=) ", statement):
            if not re.match(
                r"(\w+(\[\])?( memory| storage| calldata)? \w+ =|for|return|bool |bytes )", statement
            ):
                yield make("delete statement", begin, end, "")
        elif re.match(r"_?\w+\([^{}]*\);$", statement, re.S) and not statement.startswith("revert"):
            yield make("delete call", begin, end, "")
        elif re.match(r"(else )?if \(", statement) and statement.endswith(("return;", "continue;")):
            yield make("delete branch", begin, end, "")

    for match in re.finditer(r"\bif \(|\brequire\(", text):
        begin = match.end()
        end = _condition_end(text, begin, match.group().startswith("if"))
        if re.fullmatch(r"[^&|]*( [=!]= )[^&|]*", text[begin:end]):
            continue  # `compare` makes the same
        yield make("negate", begin, end, f"!({source[begin:end]})")


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each simple statement, which may span lines."""
    for match in re.finditer(r"(?<=[;{}\n])[ ]*(?=\S)([^;{}]|\{[^;{}]*\})*;", text):
        begin = match.end() - len(match.group().lstrip())
        # A statement that a head of a loop or of a function swallowed is none.
        if "function " in match.group() or match.group().lstrip().startswith(("for ", "error ", "event ")):
            continue
        yield begin, match.end()


def _condition_end(text: str, begin: int, is_if: bool) -> int:
    depth = 1
    for place in range(begin, len(text)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[place], 0)
        if depth == 0 or (depth == 1 and text[place] == "," and not is_if):
            return place
    raise ValueError("a condition has no end")
