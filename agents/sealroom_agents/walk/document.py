# SPDX-License-Identifier: Apache-2.0
"""The recording of one run: a JSON document of version 1, its texts and lists bounded.

It holds the run's envelope with what it takes to verify it, and what no envelope says: what was sealed, when
who approved, what was refused, and what a central pipeline makes of the same files. Numbers that are not
counts are text, as they were released or computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from sealroom.codes import Code
from sealroom.encoding import canonical, from_base64, strict_json, to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import FormatError, SealroomError
from sealroom.recipe import Recipe, parse

VERSION = 1
MAX_BYTES = 2 * 2**20
SAMPLE = 4
"""Rows of a table that are kept, at most."""
HEAD_BYTES = 96
"""Bytes of a ciphertext that are kept."""
MAX_OWNERS = 16

Text = Annotated[str, Field(max_length=400)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Count = Annotated[int, Field(ge=0, le=2**53)]
LAST_SECOND = 253_402_300_799
"""Of the year 9999: what comes later has no date."""
Time = Annotated[int, Field(ge=0, le=LAST_SECOND)]
"""Unix seconds."""
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Cells = Annotated[list[Text | None], Field(max_length=64)]


class Part(BaseModel):
    """A part of the document: camelCase, the declared fields only."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Place(Part):
    """Where the chain has it."""

    block: Count
    tx: Hash


class Sealed(Part):
    """One sealed file, as it lies where the operator can read it."""

    owner: Name
    name: Name
    rows: Count
    plain_bytes: Count
    sealed_bytes: Count
    dataset: Hash
    head: Annotated[str, Field(pattern=r"^[0-9a-f]*$", max_length=2 * HEAD_BYTES)]
    """The first bytes of its first part."""
    at: Place


class Approval(Part):
    """One owner's approval of the study."""

    owner: Name
    by: Literal["transaction", "signature"]
    """Its own transaction, or a signature that another account handed in."""
    at: Place


class Approved(Part):
    """Who approved, and when the recipe was pinned."""

    threshold: Count
    owners: Count
    approvals: Annotated[list[Approval], Field(min_length=1, max_length=MAX_OWNERS)]
    pinned: Place


class Refused(Part):
    """What was refused, by its stable code."""

    code: Name
    message: Text

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Refused:
        """From what a process or the console said."""
        return cls.model_validate({name: said[name] for name in cls.model_fields})


class Phase(Part):
    """One event of a run."""

    phase: Name
    time_ms: Annotated[int, Field(ge=0, le=1000 * LAST_SECOND)]
    """Unix milliseconds."""
    message: Text


class Revoked(Part):
    """What came of a second run when one owner revoked."""

    owner: Name
    reason: Text
    at: Place
    time: Time
    """Of that block."""
    run: Hash
    events: Annotated[list[Phase], Field(max_length=8)]
    """What happened to the run after it."""
    third: Refused
    """What a run got that was asked for later."""


class Table(Part):
    """A table of plain rows, of which the first ones are kept."""

    query: Annotated[str, Field(max_length=1000)]
    """What gave these rows, as it was run."""
    rows: Count
    """How many the table has."""
    columns: Annotated[list[Name], Field(max_length=64)]
    sample: Annotated[list[Cells], Field(max_length=SAMPLE)]


class PlainFile(Part):
    """One owner's file in the central store."""

    owner: Name
    name: Name
    sha256: Hash
    table: Table


class Answer(Part):
    """One number of the result, with noise as it left the enclave, and exact."""

    field: Name
    of: Annotated[list[Text], Field(max_length=8)]
    released: Text
    exact: Text


class Subtraction(Part):
    """Two exact answers that differ in one person, and the person's value that follows from them."""

    person: Text
    group: Annotated[list[Text], Field(max_length=8)]
    column: Name
    count: Count
    mean: Text
    count_without: Count
    mean_without: Text
    found: Text
    true: Text


class Central(Part):
    """What the same job is as a central pipeline."""

    files: Annotated[list[PlainFile], Field(max_length=MAX_OWNERS)]
    changed: Table
    """The recipe's relation with one byte changed, which runs as well as any other."""
    joined: Table
    """The recipe's relation."""
    answers: Annotated[list[Answer], Field(min_length=1, max_length=256)]
    subtraction: Subtraction


class Document(Part):
    """The whole recording."""

    version: Literal[1]
    recorded: Time
    command: Text
    """What recorded it."""
    people: Literal["made-up", "public"]
    """Whose rows it shows: nobody's, or those of a public table."""
    simulated: bool
    sealed: Annotated[list[Sealed], Field(min_length=1, max_length=MAX_OWNERS)]
    approved: Approved
    changed: Refused
    """What a recipe got that differs by one byte."""
    opened: Place
    """Where the ledger booked the run's budget."""
    phases: Annotated[list[Phase], Field(max_length=64)]
    revoked: Revoked
    central: Central
    links: Annotated[list[Name], Field(max_length=64)]
    """What `sealroom verify` walked, all of which held."""
    verdict: Name
    envelope: dict[str, JsonValue]
    pin: dict[str, JsonValue]
    root: Annotated[str, Field(max_length=4096)]
    """The simulated platform's root, DER as base64."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump(by_alias=True))

    @cached_property
    def proof(self) -> Envelope:
        """The envelope. Raises `FormatError`."""
        return parse_envelope(canonical(self.envelope))

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that ran."""
        return parse(self.proof.recipe)

    @property
    def run(self) -> str:
        """The run's id."""
        return to_hex(self.proof.grant.run_id)

    @property
    def rows(self) -> int:
        """Rows of all owners' files."""
        return sum(one.rows for one in self.sealed)

    def seconds(self, phase: str) -> float:
        """From the release of the keys to the end of the waiting for this phase."""
        times = {one.phase: one.time_ms for one in self.phases}
        return (times[phase] - times["granted"]) / 1000

    @property
    def result(self) -> dict[str, Any]:
        """What left the enclave."""
        return dict(self.proof.result)


def read(data: bytes) -> Document:
    """The document, whole and of one piece. Raises `FormatError`."""
    content = strict_json(data, MAX_BYTES)
    if content.get("version") != VERSION:
        raise FormatError(Code.UNSUPPORTED_VERSION, f"the recording has a version other than {VERSION}")
    try:
        found = Document.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise FormatError(Code.MALFORMED, f"the recording: {where}: {str(first['msg'])[:120]}") from None
    try:
        _agree(found)
    except FormatError:
        raise
    except SealroomError as error:
        raise FormatError(Code.MALFORMED, f"the recording: {error}") from error
    return found


def _agree(found: Document) -> None:
    """What it says twice must be the same. Raises `FormatError`."""
    datasets = {f"{spec.owner}/{spec.name}" for spec in found.recipe.datasets}
    central = found.central
    told = {
        "the sealed files": {f"{one.owner}/{one.name}" for one in found.sealed},
        "the plain files": {f"{one.owner}/{one.name}" for one in central.files},
    }
    for what, names in told.items():
        if names != datasets:
            raise FormatError(Code.MALFORMED, f"the recording: {what} are not those of its recipe")
    for table in (central.joined, central.changed, *(one.table for one in central.files)):
        if any(len(row) != len(table.columns) for row in table.sample) or len(table.sample) > table.rows:
            raise FormatError(Code.MALFORMED, "the recording: a table's rows do not fit its columns")
    if found.recipe.relation is None:
        raise FormatError(Code.MALFORMED, "the recording: envelope: its recipe has no query to show")
    if found.revoked.owner not in {one.owner for one in found.sealed}:
        raise FormatError(Code.MALFORMED, "the recording: revoked.owner: it sealed none of the files")
    try:
        from_base64(found.root)
    except FormatError as error:
        raise FormatError(Code.MALFORMED, f"the recording: root: {error.message}") from None
    if found.proof.anchor is None:
        raise FormatError(Code.MALFORMED, "the recording: its receipt is not anchored")
    if not {"granted", "emitting"} <= {one.phase for one in found.phases}:
        raise FormatError(Code.MALFORMED, "the recording: its run was not granted, or nothing left it")
