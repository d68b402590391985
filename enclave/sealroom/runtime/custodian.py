# SPDX-License-Identifier: Apache-2.0
"""The custodian, between the data and the analysis: opens datasets, adds noise, checks the output.

The custodian is the measured process that holds the keys. It answers three requests of the sandboxed
analysis, hears of one that failed, and there is no more:

=======  ======================================================================================
unwrap   a declared dataset, decrypted, checked against its declared columns, in a sealed memfd
release  one declared field over rows handed in: clipped, noised, booked, remembered (`sealroom.privacy`);
         a script's rows count under the ids alone that are in the tables it opened, one row each
emit     the result: declared fields only, each exactly as it was released, once
failed   a script's exception: its line and type, for the owners' eyes; ends the run
=======  ======================================================================================

The first request that is refused ends the run, so that an analysis cannot probe the rules. The message of a
refusal is a fixed sentence with at most names from the recipe in it, and nothing from the analysis (OU-03).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, JobError, SealError, SealroomError
from sealroom.failure import script_failed
from sealroom.members import read_members
from sealroom.privacy.kind import Columns
from sealroom.privacy.release import Releases, check_table
from sealroom.privacy.rows import parse_rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import check_output
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.channel import Channel, Frame
from sealroom.runtime.handover import table_limit
from sealroom.runtime.known_people import KnownPeople
from sealroom.runtime.memory import seal_memory
from sealroom.runtime.sandbox import READY_SECONDS, Sandbox
from sealroom.schema import Category, misfits
from sealroom.schema.arrow import columns_of
from sealroom.sealed import SealedFile
from sealroom.sealed.source import TableLimits

if TYPE_CHECKING:
    from sealroom.runtime.inference import Inferences

FOLDER_PIECE = 8 * 1024 * 1024
"""How much of a sealed folder is decrypted at once."""

ENCODING_SLACK = 4
"""How much longer than canonical JSON the analysis' own encoding of its result may be."""


OpenParquet = Callable[[DatasetSpec, Sequence[str]], int]
"""A dataset's file in sealed memory, with these columns: gives its descriptor."""


class Custodian:
    """Serves one analysis, once."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        open_dataset: Callable[[DatasetSpec], pa.Table | SealedFile],
        releases: Releases,
        check_lease: Callable[[], None],
        open_parquet: OpenParquet | None = None,
    ) -> None:
        """`open_dataset` decrypts one declared dataset; `check_lease` raises when the lease has ended.

        `open_parquet` decrypts these columns of a dataset as the bytes of its file, for a relation.
        """
        self._recipe = recipe
        self._open_dataset = open_dataset
        self._open_parquet = open_parquet
        self._releases = releases
        self._check_lease = check_lease
        self._emitted: dict[str, Any] | None = None
        self._handed_over: set[str] = set()
        self._memories: dict[str, tuple[str, int, int]] = {}  # by path: kind, descriptor, size
        tables = any(spec.schema is not None for spec in recipe.datasets)
        self._inferences: Inferences | None = None
        self._people = KnownPeople() if recipe.guarantee.must_read and tables else None

    def serve(self, sandbox: Sandbox) -> dict[str, Any]:
        """Run the recipe's analysis in the sandbox; returns the fields it emitted. Killing the job ends this.

        Raises the refusal that ended it, or `JobError`: "job-failed" (it stopped without a result, or
        crashed), "sandbox-unavailable"; `KeyReleaseError` ("lease-ended").
        """
        channel = Channel(sandbox.channel)
        sandbox.ready()
        try:
            # Before any row is read: what is wrong with weights depends on no person.
            self._inferences = self._networks()
            sandbox.begin(self._begin())
            while (frame := channel.receive(check=self._check)) is not None:
                self._answer(channel, frame)
                del frame  # before the next one comes: its table may be as large again
            if sandbox.ended(within=READY_SECONDS) != 0 or self._emitted is None:
                raise JobError(Code.JOB_FAILED, "the analysis ended without a result")
        except JobError as error:
            self._check_lease()  # a lease that ended killed the job: that is the reason then
            if error.code == Code.CHANNEL_CLOSED:
                raise JobError(Code.JOB_FAILED, "the analysis ended without a result") from None
            raise
        finally:
            self._forget()
        return self._emitted

    def _networks(self) -> Inferences | None:
        """The recipe's networks with their weights, where it has some."""
        if not self._recipe.inferences:
            return None
        from sealroom.runtime.inference import Inferences

        def folder(spec: DatasetSpec) -> tuple[int, int]:
            opened = self._open_dataset(spec)
            assert isinstance(opened, SealedFile)  # a dataset of the kind files
            return folder_memory(opened)

        return Inferences(self._recipe, folder)

    def _forget(self) -> None:
        """Let go of the memory of what was opened. Where the job has ended, it is free."""
        while self._memories:
            os.close(self._memories.popitem()[1][1])

    def _begin(self) -> dict[str, Any]:
        """What the analysis' process is told: the script, the columns of each field, the labels."""
        output, compiled = self._recipe.output, self._recipe.compiled
        if compiled is not None:
            return {
                "relation": {
                    "sql": compiled.sql,
                    "datasets": compiled.datasets,
                    "columns": {each.name: each.id for each in compiled.columns},
                    "person": compiled.unit.id,
                    "rows": self._recipe.rows,
                },
                "unit": self._recipe.unit,
                "fields": {
                    field.name: asdict(self._recipe.handed_over(field.columns)) | {"kind": field.kind.name}
                    for field in output.fields
                },
                "groups": output.groups,
            }
        return {
            "analysis": self._recipe.analysis,
            "unit": self._recipe.unit,
            "fields": {field.name: asdict(field.columns) for field in output.fields},
            "groups": output.groups,
        }

    def _check(self, head: dict[str, Any], payload_bytes: int) -> None:
        """Refuse a payload before a byte of it is read."""
        if head.get("op") == "emit":
            if payload_bytes > self._recipe.output.limit_bytes * ENCODING_SLACK:
                raise self._too_large()
        elif payload_bytes > (self._table_limit(head.get("field")) if head.get("op") == "release" else 0):
            raise JobError(Code.REQUEST_TOO_LARGE, "the analysis sent more than any request may hold")

    def _table_limit(self, name: Any) -> int:
        field = self._recipe.output.field(name) if isinstance(name, str) else None
        return table_limit(Columns() if field is None else self._recipe.handed_over(field.columns))

    def _too_large(self) -> JobError:
        return JobError(
            Code.OUTPUT_TOO_LARGE,
            f"the result is larger than the {self._recipe.output.limit_bytes} bytes declared",
        )

    def _answer(self, channel: Channel, frame: Frame) -> None:
        opening = {"unwrap": self._unwrap} if self._recipe.compiled is None else {"parquet": self._parquet}
        handlers = {**opening, "release": self._release, "emit": self._emit, "failed": self._failed}
        try:
            self._check_lease()
            handler = handlers.get(str(frame.head.get("op")))
            if handler is None:
                raise JobError(Code.REQUEST_MALFORMED, "a request of the analysis cannot be read")
            handler(channel, frame)
        except SealroomError as error:
            with contextlib.suppress(JobError):  # the analysis may be gone; the refusal stands all the same
                channel.send({"ok": False, "code": error.code, "message": error.message})
            raise

    def _unwrap(self, channel: Channel, frame: Frame) -> None:
        path = frame.head.get("path")
        spec = next((each for each in self._recipe.datasets if each.path == path), None)
        if spec is None:
            declared = ", ".join(each.path for each in self._recipe.datasets)
            raise JobError(
                Code.UNDECLARED_DATASET, f"the recipe declares no such dataset; declared: {declared}"
            )
        if spec.path not in self._memories:
            # Once: each would be memory of this process, as often as the job asks and as long as it holds it.
            self._memories[spec.path] = self._opened(spec)
        kind, descriptor, size = self._memories[spec.path]
        channel.send({"ok": True, "kind": kind, "size": size}, descriptor=descriptor)

    def _opened(self, spec: DatasetSpec) -> tuple[str, int, int]:
        """One dataset in sealed memory: its kind, the descriptor and the size in bytes."""
        opened = self._open_dataset(spec)
        if isinstance(opened, SealedFile):
            return "files", *folder_memory(opened)
        table = declared_columns(opened, spec)
        if self._people is not None:
            self._people.add(table.column(self._recipe.unit))
        return "table", *sealed_memory(table)

    def _parquet(self, channel: Channel, frame: Frame) -> None:
        """The bytes of a dataset's file, with the columns that the relation reads."""
        path, compiled = frame.head.get("path"), self._recipe.compiled
        spec = next((each for each in self._recipe.datasets if each.path == path), None)
        if (
            spec is None
            or spec.schema is None
            or compiled is None
            or spec.path not in compiled.datasets
            or self._open_parquet is None
        ):
            raise JobError(Code.UNDECLARED_DATASET, "the relation reads no such dataset")
        if spec.path in self._handed_over:  # each is memory of this process, as long as the job holds it
            raise JobError(Code.REQUEST_MALFORMED, "the relation asks twice for a dataset")
        self._handed_over.add(spec.path)
        names = dict.fromkeys(each.split(".")[0] for each in compiled.reads[spec.schema.name])
        known = {name for name, _ in spec.columns}
        whole = [name for name in known if name in compiled.reads[spec.schema.name] or name in names]
        descriptor = self._open_parquet(spec, whole)
        try:
            channel.send({"ok": True}, descriptor=descriptor)
        finally:
            os.close(descriptor)

    def _release(self, channel: Channel, frame: Frame) -> None:
        kind, field = frame.head.get("kind"), frame.head.get("field")
        if not isinstance(kind, str) or not isinstance(field, str):
            raise JobError(Code.REQUEST_MALFORMED, "a request of the analysis cannot be read")
        rows = parse_rows(frame.head, frame.payload, unit=self._recipe.unit)
        if self._people is not None:
            rows = rows.where(self._people.holds(rows.units))
        declared = self._recipe.output.field(field)
        if self._inferences is not None and declared is not None:
            if len(rows) * self._recipe.inferred_bytes(declared.columns) > table_limit(declared.columns):
                raise JobError(
                    Code.REQUEST_TOO_LARGE, "what networks give for a field takes more than any table may"
                )
            check_table(declared.name, self._recipe.handed_over(declared.columns), rows)
            rows = self._inferences.applied(declared.columns, rows)
        channel.send({"ok": True, "value": self._releases.release(kind, field, rows)})

    def _failed(self, channel: Channel, frame: Frame) -> None:
        raise script_failed(
            frame.head.get("line"),
            frame.head.get("exception"),
            lines=self._recipe.analysis.count("\n") + 1,
        )

    def _emit(self, channel: Channel, frame: Frame) -> None:
        if self._emitted is not None:
            self._emitted = None
            raise JobError(Code.ALREADY_EMITTED, "the analysis emitted a second result; a run has one")
        try:
            fields = strict_json(bytes(frame.payload), frame.payload.nbytes, allow_floats=True)
        except FormatError:
            raise JobError(Code.WRONG_TYPE, "the result is not a mapping from field to value") from None
        checked = check_output(fields, self._recipe.output, rows=self._recipe.rows)
        if not self._releases.is_released(checked):
            raise JobError(
                Code.NOT_RELEASED, "the result holds a value that was not released with noise in this run"
            )
        self._emitted = checked
        channel.send({"ok": True})


class Serving(threading.Thread):
    """A custodian at work in a thread of its own, so that what came of it can be asked for at any moment.

    What the analysis makes the custodian do takes as long as the analysis likes. The thread that waits for
    the release does none of it.
    """

    def __init__(self, serve: Callable[[], dict[str, Any]]) -> None:
        """`serve` gives the fields that left the analysis."""
        super().__init__(name="custodian", daemon=True)
        self._serve = serve
        self._outcome: dict[str, Any] | Exception = JobError(
            Code.JOB_TIMEOUT, "the analysis had not ended when the time that the recipe gives it was over"
        )

    def run(self) -> None:
        try:
            self._outcome = self._serve()
        except Exception as error:
            self._outcome = error

    def emitted(self) -> dict[str, Any]:
        """The fields that the analysis emitted. Raises what ended it, or `JobError` ("job-timeout")."""
        outcome = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def declared_columns(table: pa.Table, spec: DatasetSpec) -> pa.Table:
    """The declared columns of a dataset, in declared order. Raises `JobError` ("schema-mismatch").

    Of a category, the declared values are numbered as declared, and every other value is a missing one.
    """
    try:
        wrong = next((f"it {each.what}" for each in misfits(spec.columns, columns_of(table.schema))), None)
    except FormatError as error:
        wrong = error.message
    if wrong is not None:
        raise JobError(
            Code.SCHEMA_MISMATCH, f"{spec.path} has other columns than the recipe declares: {wrong}"
        )
    table = table.select([name for name, _ in spec.columns])
    for place, (name, kind) in enumerate(spec.columns):
        if isinstance(kind, Category):
            table = table.set_column(place, name, _numbered(table.column(place), kind))
    return table


def _numbered(column: pa.ChunkedArray, kind: Category) -> pa.ChunkedArray:
    values = pa.array(kind.values, pa.string())
    places = pc.index_in(column.combine_chunks(), value_set=values)
    pieces = places.chunks if isinstance(places, pa.ChunkedArray) else [places]
    folded = [pa.DictionaryArray.from_arrays(piece, values) for piece in pieces]
    return pa.chunked_array(folded, pa.dictionary(pa.int32(), pa.string()))


def sealed_memory(table: pa.Table) -> tuple[int, int]:
    """The table as an Arrow stream in a memfd that is sealed against changes;
    returns descriptor and size in bytes."""

    def write(descriptor: int) -> None:
        with (
            os.fdopen(descriptor, "wb", closefd=False) as file,
            pa.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table)

    return _memory(write)


def folder_memory(opened: SealedFile) -> tuple[int, int]:
    """A sealed folder's tar in a memfd that is sealed against changes, once it is seen to be one.

    Returns descriptor and size in bytes, and closes `opened`. Raises `SealError`: `folder-malformed`,
    `folder-too-large`, and those of opening parts.
    """

    def write(descriptor: int) -> None:
        os.ftruncate(descriptor, opened.size())
        with mmap.mmap(descriptor, opened.size()) as pages, memoryview(pages) as view:
            for begin in range(0, len(view), FOLDER_PIECE):
                with view[begin : begin + FOLDER_PIECE] as piece:
                    opened.read_at(begin, piece)
            with view.toreadonly() as tar:
                read_members(tar)

    with opened:
        if not 0 < opened.size() <= TableLimits.of_this_machine().table_bytes:
            raise SealError(
                Code.FOLDER_TOO_LARGE,
                f"a sealed folder has {opened.size()} bytes, and must have some and fit into memory",
                "seal the files in several folders",
            )
        return _memory(write)


def _memory(write: Callable[[int], None]) -> tuple[int, int]:
    """What `write` writes to a memfd; returns the descriptor, sealed against changes, and its size."""
    descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        write(descriptor)
        seal_memory(descriptor)
        return descriptor, os.fstat(descriptor).st_size
    except OSError:
        os.close(descriptor)
        raise JobError(Code.OUT_OF_MEMORY, "there is no room for a dataset in memory") from None
    except BaseException:
        os.close(descriptor)
        raise
