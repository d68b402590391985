# SPDX-License-Identifier: Apache-2.0
"""The custodian, between the data and the analysis: opens datasets, adds noise, checks the output.

The custodian is the measured process that holds the keys. It answers three requests of the sandboxed
analysis, and there is no fourth:

=======  ======================================================================================
unwrap   a declared dataset, decrypted, checked against its declared columns, in a sealed memfd
release  one declared field over rows handed in: clipped, noised, booked, remembered (`sealroom.privacy`)
emit     the result: declared fields only, each exactly as it was released, once
=======  ======================================================================================

The first request that is refused ends the run, so that an analysis cannot probe the rules. The message of a
refusal is a fixed sentence with at most names from the recipe in it, and nothing from the analysis (OU-03).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, JobError, SealroomError
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import parse_rows
from sealroom.recipe import Recipe
from sealroom.recipe.column_use import field_columns
from sealroom.recipe.contract import DatasetSpec
from sealroom.recipe.result import check_output
from sealroom.runtime.channel import Channel, Frame
from sealroom.runtime.sandbox import Sandbox

JOB_SECONDS = 900.0
"""Longest that an analysis may run, whatever its lease says (OU-06)."""

READY_SECONDS = 60.0
"""Longest that the sandbox may take to start and import pandas."""

TABLE_BYTES = 2**32
"""Largest table of one release, on a machine however large."""

TABLE_SHARE = 1 / 16
"""The part of the machine's memory that such a table may take. A model takes seven times its table; were that
too much, the kernel would end the custodian, at a time that the analysis chose."""

ENCODING_SLACK = 4
"""How much longer than canonical JSON the analysis' own encoding of its result may be."""

_ARROW_TYPES = {"int64": pa.int64(), "float64": pa.float64(), "string": pa.string(), "bool": pa.bool_()}


class Custodian:
    """Serves one analysis, once."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        open_dataset: Callable[[DatasetSpec], pa.Table],
        releases: Releases,
        check_lease: Callable[[], None],
        job_seconds: float = JOB_SECONDS,
    ) -> None:
        """`open_dataset` decrypts one declared dataset; `check_lease` raises when the lease has ended."""
        self._recipe = recipe
        self._open_dataset = open_dataset
        self._releases = releases
        self._check_lease = check_lease
        self._job_seconds = job_seconds
        self._emitted: dict[str, Any] | None = None

    def serve(self, sandbox: Sandbox) -> dict[str, Any]:
        """Run the recipe's analysis in the sandbox; returns the fields it emitted.

        Raises the refusal that ended it, or `JobError`: "job-failed" (it stopped without a result, or
        crashed), "job-timeout", "sandbox-unavailable"; `KeyReleaseError` ("lease-ended").
        """
        channel = Channel(sandbox.channel)
        await_ready(sandbox)
        over_time = threading.Event()
        alarm = threading.Timer(self._job_seconds, _end_over_time, (sandbox, over_time))
        alarm.daemon = True
        alarm.start()
        try:
            channel.send(self._begin())
            while (frame := channel.receive(check=self._check)) is not None:
                self._answer(channel, frame)
            if sandbox.ended(within=READY_SECONDS) != 0 or self._emitted is None:
                raise JobError(Code.JOB_FAILED, "the analysis ended without a result")
        except JobError as error:
            self._check_lease()  # a lease that ended killed the job: that is the reason then
            if over_time.is_set():
                raise JobError(
                    Code.JOB_TIMEOUT, f"the analysis took longer than {self._job_seconds:.0f} s"
                ) from None
            if error.code == Code.CHANNEL_CLOSED:
                raise JobError(Code.JOB_FAILED, "the analysis ended without a result") from None
            raise
        finally:
            alarm.cancel()
        return self._emitted

    def _begin(self) -> dict[str, Any]:
        """What the analysis' process is told: the script, the columns of each field, the labels."""
        output = self._recipe.output
        return {
            "analysis": self._recipe.analysis,
            "unit": self._recipe.privacy.unit,
            "fields": {field.name: field_columns(field) for field in output.fields},
            "groups": output.groups,
        }

    def _check(self, head: dict[str, Any], payload_bytes: int) -> None:
        """Refuse a payload before a byte of it is read."""
        if head.get("op") == "emit":
            if payload_bytes > self._recipe.output.limit_bytes * ENCODING_SLACK:
                raise self._too_large()
        elif payload_bytes > (table_limit() if head.get("op") == "release" else 0):
            raise JobError(Code.REQUEST_TOO_LARGE, "the analysis sent more than any request may hold")

    def _too_large(self) -> JobError:
        return JobError(
            Code.OUTPUT_TOO_LARGE,
            f"the result is larger than the {self._recipe.output.limit_bytes} bytes declared",
        )

    def _answer(self, channel: Channel, frame: Frame) -> None:
        handlers = {"unwrap": self._unwrap, "release": self._release, "emit": self._emit}
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
        table = declared_columns(self._open_dataset(spec), spec)
        descriptor, size = sealed_memory(table)
        try:
            channel.send({"ok": True, "size": size}, descriptor=descriptor)
        finally:
            os.close(descriptor)

    def _release(self, channel: Channel, frame: Frame) -> None:
        kind, field = frame.head.get("kind"), frame.head.get("field")
        if not isinstance(kind, str) or not isinstance(field, str):
            raise JobError(Code.REQUEST_MALFORMED, "a request of the analysis cannot be read")
        rows = parse_rows(frame.head, frame.payload, unit=self._recipe.privacy.unit)
        channel.send({"ok": True, "value": self._releases.release(kind, field, rows)})

    def _emit(self, channel: Channel, frame: Frame) -> None:
        if self._emitted is not None:
            self._emitted = None
            raise JobError(Code.ALREADY_EMITTED, "the analysis emitted a second result; a run has one")
        try:
            fields = strict_json(bytes(frame.payload), frame.payload.nbytes, allow_floats=True)
        except FormatError:
            raise JobError(Code.WRONG_TYPE, "the result is not a mapping from field to value") from None
        checked = check_output(fields, self._recipe.output)
        if not self._releases.is_released(checked):
            raise JobError(
                Code.NOT_RELEASED, "the result holds a value that was not released with noise in this run"
            )
        self._emitted = checked
        channel.send({"ok": True})


def table_limit() -> int:
    """Most bytes of a table that the analysis hands over for one release, on this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(TABLE_BYTES, int(memory * TABLE_SHARE))


def _end_over_time(sandbox: Sandbox, over_time: threading.Event) -> None:
    over_time.set()
    sandbox.kill()


def await_ready(sandbox: Sandbox) -> dict[str, Any]:
    """Wait until the child is confined, and verify the sandbox through /proc.

    Returns the child's report, the fields of `Confinement`.
    """
    sandbox.channel.settimeout(READY_SECONDS)
    try:
        frame = Channel(sandbox.channel).receive()
    except JobError as error:
        raise JobError(Code.SANDBOX_UNAVAILABLE, f"the sandbox did not come up: {error.message}") from None
    if frame is None or frame.head.get("op") != "ready":
        raise JobError(Code.SANDBOX_UNAVAILABLE, "the sandbox did not come up")
    sandbox.verify()
    sandbox.channel.settimeout(None)
    return frame.head


def declared_columns(table: pa.Table, spec: DatasetSpec) -> pa.Table:
    """The declared columns of a dataset, in declared order. Raises `JobError` ("schema-mismatch")."""
    for name, kind in spec.columns:
        if table.column_names.count(name) != 1 or table.schema.field(name).type != _ARROW_TYPES[kind]:
            raise JobError(Code.SCHEMA_MISMATCH, f"{spec.path} has no column {name} of type {kind}")
    return table.select([name for name, _ in spec.columns])


def sealed_memory(table: pa.Table) -> tuple[int, int]:
    """The table as an Arrow stream in a memfd that is sealed against changes;
    returns descriptor and size in bytes."""
    descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with (
            os.fdopen(descriptor, "wb", closefd=False) as file,
            pa.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table)
        fcntl.fcntl(
            descriptor,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL,
        )
        return descriptor, os.fstat(descriptor).st_size
    except OSError:
        os.close(descriptor)
        raise JobError(Code.OUT_OF_MEMORY, "there is no room for a dataset in memory") from None
