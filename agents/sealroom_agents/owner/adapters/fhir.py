# SPDX-License-Identifier: Apache-2.0
"""FHIR NDJSON, as a server's bulk export gives it: one resource of one type a line, as a row of a table.

A line is one JSON object, strictly: no name twice, no NaN, bounded in length and depth. A number stays as it
is written. What is not declared does not leave, neither `meta` nor the narrative in `text`. A resource that
says of itself that it is wrong, or that an extension turns its meaning, is refused.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.schema import MAX_ROWS, Column, String
from sealroom_agents.owner.adapters.declared import declared_columns
from sealroom_agents.owner.adapters.fhir_columns import Taken, read_taken
from sealroom_agents.owner.adapters.fhir_paths import Number, Path, Unfit, plain
from sealroom_agents.owner.adapters.lines import Lines, lines_of
from sealroom_agents.owner.prepare.forms import Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words

MAX_LINE_BYTES = 16 * 2**20
"""Longest resource: a questionnaire's answers are some hundred kilobytes."""
MAX_DEPTH = 64
"""Deepest that objects and lists of a resource lie in one another."""
BATCH_ROWS = 8192
BATCH_BYTES = 32 * 2**20
"""Bytes of lines of which one batch is made."""
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
# A text that is not closed is taken to its end: to look again from each quote in it would take for ever.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_WRONG = "entered-in-error"
_SAYS_WRONG = (Path.parse("status"), Path.parse("verificationStatus.coding.code"))
"""Where a resource says that it is wrong."""


@dataclass(frozen=True)
class Only:
    """Which resources are taken."""

    path: Path
    """Where to look."""
    values: frozenset[str]
    """One of them must stand there."""

    def takes(self, resource: dict[str, Any]) -> bool:
        """Whether a resource is one of them. Raises `Unfit`."""
        return any(plain(value) in self.values for value, _ in self.path.find(resource))


@dataclass(frozen=True)
class Fhir(Form):
    """What `[input]` declares of a file of resources."""

    resource: str
    """Their type."""
    taken: dict[str, Taken]
    """The columns."""
    only: tuple[Only, ...]
    """All of them must hold for a resource that is taken."""
    name: str = "fhir-ndjson"

    @contextmanager
    def open(self, path: FilePath) -> Iterator[Table]:
        """Open a file. See `Form`."""
        with lines_of(path, limit=MAX_LINE_BYTES, code=Code.FHIR_UNFIT) as lines:
            yield Resources(self, lines, path.stat().st_size)


class Resources(Table):
    """An open file of resources."""

    def __init__(self, form: Fhir, lines: Lines, size: int) -> None:
        self._form, self._lines, self.size = form, lines, size
        self.columns = tuple(Column(name, String()) for name in form.taken)
        self._rows = array("I")
        self._left_out = 0

    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        import pyarrow

        from sealroom.schema.arrow import arrow_schema

        schema = arrow_schema([Column(name, String()) for name in names])
        taken = [self._form.taken[name] for name in names]
        self._lines.tell(advance)
        rows: list[list[str | None]] = []
        held = 0

        def batch() -> Any:
            columns = zip(*rows, strict=True) if rows else ((),) * len(names)
            return pyarrow.record_batch([pyarrow.array(each, pyarrow.string()) for each in columns], schema)

        for line in self._lines:
            try:
                resource = read_resource(line, self._form.resource)
                if not all(each.takes(resource) for each in self._form.only):
                    self._left_out += 1
                    continue
                _refuse_wrong(resource)
                rows.append([each.of(resource) for each in taken])
            except Unfit as error:
                raise self._lines.refused(error.reason, error.hint) from None
            self._rows.append(self._lines.number)
            if len(self._rows) > MAX_ROWS:
                raise self._lines.refused(f"is the resource behind {MAX_ROWS:,}", "make several files")
            held += len(line)
            if len(rows) >= BATCH_ROWS or held >= BATCH_BYTES:
                yield batch()
                rows.clear()
                held = 0
        if rows:
            yield batch()

    def where(self, row: int) -> str:
        return f"line {self._rows[row]:,}"

    def notes(self) -> Sequence[tuple[str, str]]:
        taken = (f"{self._form.resource} taken", f"{len(self._rows):,}")
        return (taken, ("left out by only", f"{self._left_out:,}")) if self._form.only else (taken,)


def read_resource(line: bytes, kind: str) -> dict[str, Any]:
    """The resource of a type in a line. Its numbers are `Number`. Raises `Unfit`."""
    if not line.strip():
        raise Unfit("is empty", "each line is one resource")
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH:
        _refuse_deep(line)
    try:
        resource = _DECODER.decode(line.decode("utf-8"))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are both the first
        raise Unfit(
            "is not one JSON object in UTF-8", "each line is one resource, without line breaks"
        ) from None
    if type(resource) is not dict:
        raise Unfit("is not one JSON object")
    if _SURROGATE.search(line):
        try:
            json.dumps(resource, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Unfit("has text with half of a surrogate pair") from None
    if resource.get("resourceType") != kind:
        raise Unfit(f"is no {kind}", "a file has resources of one type: name it with resource")
    return resource


def _refuse_wrong(resource: dict[str, Any]) -> None:
    for path in _SAYS_WRONG:
        if path.steps[0].name in resource and any(value == _WRONG for value, _ in path.find(resource)):
            raise Unfit(
                f"says at {path.text} that it was entered in error",
                f"choose by it with only: the values that count at {path.text}",
            )


def _refuse_deep(line: bytes) -> None:
    depth = 0
    for token in _TOKEN.finditer(line):
        if token[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Unfit(f"is nested deeper than {MAX_DEPTH} levels")
        elif token[0] in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unfit("has one name twice in an object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Unfit(f"has {name}, which is no number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_int=Number, parse_float=Number
)


def parse(words: Words, name: str | None) -> Form:
    """Read `[input]` of a file of resources. Raises `prepare-malformed`."""
    resource = words.text("resource", limit=64, pattern=_TYPE, words="a type of resource, as Patient")
    taken = {
        each: read_taken(Words(value, f"[input.columns] {each}"), path_of=_path)
        for each, value in declared_columns(words, 'born = { path = "birthDate" }').items()
    }
    only = []
    for number, each in enumerate(words.array("only", limit=16) if words.has("only") else (), 1):
        table = Words(each, f"[[input.only]] {number}")
        only.append(Only(_path(table, "path"), frozenset(table.lines("values"))))
        table.done()
        if not only[-1].values:
            table.fail("has no values, so that nothing is taken")
    return Fhir(resource, taken, tuple(only))


def _path(words: Words, name: str) -> Path:
    try:
        return Path.parse(words.text(name, limit=1024))
    except ValueError as error:
        words.fail(f"has a {name} that {error}", "code.coding[system=http://loinc.org].code")
