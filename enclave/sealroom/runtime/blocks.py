# SPDX-License-Identifier: Apache-2.0
"""A study by blocks: one fresh sandbox for each block of people, and one number a field from each.

What one person can change is what that person's block hands in. So no block sees,
delays or outlives another:

* a person is in the one block that a hash of the id says, under a key drawn in this run, in all tables;
* each block has the same slot of time, which begins and ends when the clock says so and not when another
  block has ended, and its job is killed before the next slot begins; of when the first one begins, a grid
  leaves few choices, so that it tells little of how long the datasets took to open and to divide;
* nothing that the kernel counts over all processes shows in a block what an earlier one did (process ids,
  uids, inodes): a block starts no thread, and its data lies ready whether or not it asks for it;
* a block's number counts if its job ended well within its slot, and is held to its bounds;
* a block that crashes, breaks a rule, says something else or takes too long has no number, and the kind puts
  the fixed middle there. Nothing else is made of it: no outcome, message or time.

LIMITATIONS. A block whose job takes almost its whole slot may get there or not with what else the machine
does, an earlier block's traces in its caches included. A slot should be several times what a block takes.
A script has a precise clock. One that is written for it can leave a trace in the machine's caches or memory,
by which a later block of the same script finds its own work faster or slower, and put that into its number:
the noise is not for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, JobError, SealroomError
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom.recipe import Field, Recipe
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.channel import Channel, Frame
from sealroom.runtime.clock import Clock
from sealroom.runtime.custodian import declared_columns, sealed_memory
from sealroom.runtime.sandbox import READY_SECONDS, STOP_SECONDS, Sandbox, Service
from sealroom.sealed import SealedFile

KEY_BYTES = 32
NUMBERS_BYTES = 64 * 1024
"""Most bytes of the numbers that a block hands in."""
WORKING = 0.9
"""The part of its slot that a block's job may last. The rest is for the kernel to take its memory back."""

DIVIDING = 16
"""Into so many parts the time is cut for the one choice of when the first slot begins."""

Numbers = Mapping[str, float]
"""By field; NaN, or no entry, where there is none."""


class Start(Protocol):
    """What starts the job of a block."""

    def __call__(self, *, service: Service | None) -> Sandbox: ...


def assign(ids: pa.ChunkedArray, *, blocks: int, key: bytes) -> npt.NDArray[np.int16]:
    """The block of each row, by a keyed hash of the id alone; −1 for a row without a person.

    `ids` are whole numbers, of any width, or text, which is taken as it is.
    """
    encoded = pc.dictionary_encode(ids.combine_chunks())
    pieces = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    found = [np.empty(0, np.int16)]
    for piece in pieces:
        of = [_block(value.as_py(), blocks=blocks, key=key) for value in piece.dictionary]
        place = pc.fill_null(piece.indices.cast(pa.int64()), len(of)).to_numpy(zero_copy_only=False)
        found.append(np.array([*of, -1], np.int16)[place])
    return np.concatenate(found)


def _block(id: int | str, *, blocks: int, key: bytes) -> int:
    text = f"{type(id).__name__} {id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16, key=key).digest(), "big") % blocks


def rows_of(block: int, table: pa.Table, blocks: npt.NDArray[np.int16]) -> pa.Table:
    """The block's rows of a table, each column in one piece: where a file's own pieces begin and end follows
    from how many rows others have. Raises `JobError` for more text than one piece holds."""
    found = table.filter(pa.array(blocks == block)).combine_chunks()
    if any(column.num_chunks > 1 for column in found.columns):
        raise JobError(Code.OUT_OF_MEMORY, "a block has more text in one column than two gigabytes")
    return found


class BlockCustodian:
    """Serves the job of each block, one after the other, and releases what came of them."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        open_dataset: Callable[[DatasetSpec], pa.Table | SealedFile],
        releases: Releases,
        check_lease: Callable[[], None],
        service: Service | None,
        clock: Clock,
        since: float,
        until: float,
        start: Start = Sandbox.start,
    ) -> None:
        """All slots lie between `since` and `until`, by `clock`. Jobs start in `service`, or else in
        launchers of their own. Only a dry run has another `start`, outside a sandbox, on made-up data."""
        if recipe.blocks is None:
            raise ValueError("the recipe has no blocks")
        self._recipe, self._blocks = recipe, recipe.blocks
        self._open_dataset = open_dataset
        self._releases = releases
        self._check_lease = check_lease
        self._service = service
        self._start = start
        self._clock = clock
        self._since = since
        self._until = until
        self._stopped = threading.Event()
        self._slot: _Slot | None = None

    def serve(self) -> dict[str, Any]:
        """Run the analysis on every block; returns the released fields.

        Raises what opening a dataset raises, and `KeyReleaseError` ("lease-ended"): nothing that a script or
        a value of a person can bring about.
        """
        rows = self._divide()
        numbers = self.numbers(rows)
        self._check_lease()
        return {
            field.name: self._releases.release(field.kind.name, field.name, _table(numbers, field))
            for field in self._recipe.output.fields
        }

    @property
    def working(self) -> bool:
        """Whether a block's job is being started or answered."""
        slot = self._slot
        return slot is not None and slot.is_alive()

    def kill(self, *, within: float = STOP_SECONDS) -> None:
        """Kill the job that runs, and start no other."""
        self._stopped.set()
        slot = self._slot
        if slot is not None:
            slot.end(within=within)

    def _divide(self) -> dict[str, tuple[pa.Table, npt.NDArray[np.int16]]]:
        """Each dataset with the blocks of its rows, by path. The key goes with this function's end."""
        key, found = secrets.token_bytes(KEY_BYTES), {}
        for spec in self._recipe.datasets:
            opened = self._open_dataset(spec)
            if isinstance(opened, SealedFile) or spec.schema is None:
                raise JobError(Code.SCHEMA_MISMATCH, f"{spec.path} is no table")
            table = declared_columns(opened, spec)
            found[spec.path] = (
                table,
                assign(table.column(spec.schema.unit), blocks=self._blocks, key=key),
            )
        return found

    def numbers(self, rows: Mapping[str, tuple[pa.Table, npt.NDArray[np.int16]]]) -> list[Numbers]:
        """What each block handed in; `rows` are the tables, with the block of each row."""
        found: list[Numbers] = []
        step = (self._until - self._since) / DIVIDING
        begin = self._since + step * math.ceil((self._clock.now() - self._since) / step)
        share = max(self._until - begin, 0.0) / self._blocks
        for block in range(self._blocks):
            self._wait(begin + block * share, self._stopped)
            self._check_lease()
            slot = self._slot = _Slot(self._recipe, rows, block, service=self._service, start=self._start)
            if self._stopped.is_set():  # asked once `kill` can see the slot
                raise JobError(Code.JOB_FAILED, "the blocks were stopped")
            slot.start()
            self._wait(begin + (block + WORKING) * share, slot.done)
            found.append(slot.end(within=share * (1 - WORKING) / 2))
        return found

    def _wait(self, until: float, event: threading.Event) -> None:
        if not event.is_set():
            self._clock.wait(until, event)


class _Slot(threading.Thread):
    """The job of one block. Its thread answers the job, and cannot hold up the slots after it."""

    def __init__(
        self,
        recipe: Recipe,
        rows: Mapping[str, tuple[pa.Table, npt.NDArray[np.int16]]],
        block: int,
        *,
        service: Service | None,
        start: Start,
    ) -> None:
        super().__init__(name="block", daemon=True)
        self._start = start
        self._recipe, self._rows, self._block, self._service = recipe, rows, block, service
        self._lock = threading.Lock()
        self._over = False
        self._sandbox: Sandbox | None = None
        self._emitted: Numbers | None = None
        self._numbers: Numbers = {}
        self.done = threading.Event()

    def run(self) -> None:
        # Whatever it is that goes wrong, this block has no number.
        with contextlib.suppress(Exception):
            self._serve()
        self.done.set()

    def end(self, *, within: float) -> Numbers:
        """End the slot: kill the job, and give what was handed in by now. Safe to call twice."""
        with self._lock:
            self._over = True
            sandbox, numbers = self._sandbox, self._numbers
        if sandbox is not None and not self.done.is_set():
            with contextlib.suppress(JobError, OSError):  # how long it takes to be gone is its own choice
                sandbox.kill(within=within)
        return numbers

    def _serve(self) -> None:
        with contextlib.ExitStack() as opened:
            # All of them, before the job is there: the kernel numbers what is made for a job on demand, and
            # the next jobs see how far it has come.
            memories = {path: self._memory(path, opened) for path in self._rows}
            self._attend(memories)

    def _memory(self, path: str, opened: contextlib.ExitStack) -> tuple[int, int]:
        """The block's rows of one table in sealed memory: descriptor and size in bytes."""
        descriptor, size = sealed_memory(rows_of(self._block, *self._rows[path]))
        opened.callback(os.close, descriptor)
        return descriptor, size

    def _attend(self, memories: Mapping[str, tuple[int, int]]) -> None:
        """Start the job and answer it until it ends."""
        with self._start(service=self._service) as sandbox:
            with self._lock:
                if self._over:
                    return
                self._sandbox = sandbox
            task = {"analysis": self._recipe.analysis, "unit": self._recipe.unit, "fields": {}, "groups": {}}
            sandbox.begin(task | {"block": True})
            channel = Channel(sandbox.channel)
            while (frame := channel.receive(check=_check)) is not None:
                self._answer(channel, frame, memories)
            if sandbox.ended(within=READY_SECONDS) == 0 and self._emitted is not None:
                with self._lock:
                    if not self._over:
                        self._numbers = self._emitted

    def _answer(self, channel: Channel, frame: Frame, memories: Mapping[str, tuple[int, int]]) -> None:
        try:
            if frame.head.get("op") == "unwrap":
                path = frame.head.get("path")
                if not isinstance(path, str) or path not in memories:
                    raise JobError(Code.UNDECLARED_DATASET, "the recipe declares no such dataset")
                descriptor, size = memories[path]
                channel.send({"ok": True, "kind": "table", "size": size}, descriptor=descriptor)
            elif frame.head.get("op") == "block" and self._emitted is None:
                self._emitted = read_numbers(frame.payload, self._recipe)
                channel.send({"ok": True})
            else:
                raise JobError(Code.REQUEST_MALFORMED, "a request of the analysis cannot be read")
        except SealroomError as error:
            with contextlib.suppress(JobError):
                channel.send({"ok": False, "code": error.code, "message": error.message})
            raise


def _check(head: dict[str, Any], payload_bytes: int) -> None:
    """Refuse a payload before a byte of it is read."""
    if payload_bytes > (NUMBERS_BYTES if head.get("op") == "block" else 0):
        raise JobError(Code.REQUEST_TOO_LARGE, "the analysis sent more than any request may hold")


def read_numbers(payload: memoryview, recipe: Recipe) -> Numbers:
    """The numbers that a block handed in, of declared fields alone; of what is no number, none."""
    try:
        given = strict_json(bytes(payload), NUMBERS_BYTES, allow_floats=True)
    except FormatError:
        return {}
    return {field.name: _number(given.get(field.name)) for field in recipe.output.fields}


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _table(numbers: list[Numbers], field: Field) -> Rows:
    """The table of blocks that a field is released from."""
    values = [each.get(field.name, math.nan) for each in numbers]
    return Rows(
        units=np.arange(len(values), dtype=np.int64),
        numbers={name: np.array(values, dtype=np.float64) for name in field.columns.numbers},
        groups={},
    )
