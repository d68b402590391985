# SPDX-License-Identifier: Apache-2.0
"""A run of a study on made-up data, or on plain files that a person names: all of it but gate and chain.

Each dataset is sealed under a key that is thrown away, and opened as in the enclave. The relation, compiled,
or the script runs in the sandbox; the measured custodian answers it, clips, adds real noise and checks the
output. What is different: nobody grants a key, no statement is signed, and by blocks the clock does not wait
out a slot in which nothing runs. A script that fails runs a second time outside the sandbox, on the same
data, for its whole traceback: in production, an owner reads its line and the type of its exception.
"""

from __future__ import annotations

import io
import math
import resource
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import JobError, SealError, SealroomError
from sealroom.failure import ScriptFailed
from sealroom.members import FOLDER
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.blocks import BlockCustodian, Numbers
from sealroom.runtime.clock import Clock, margin
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.datasets import parquet_memory
from sealroom.runtime.sandbox import Sandbox, Service
from sealroom.schema import misfits
from sealroom.sealed import SealedFile, open_sealed, seal
from sealroom.sealed.header import PARQUET
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.folder import listing, pack
from sealroom_agents.studies.plain_job import PlainJobs
from sealroom_agents.studies.synthetic import PEOPLE, members, synthetic

ACCOUNT = "0x" + 40 * "1"
"""Of nobody: a header names an account."""


SANDBOXED = 4
"""Blocks that run in the sandbox, unless told otherwise; the others start faster without."""
IN_THE_SANDBOX_ALONE = (
    "it fails in the sandbox alone, where no file can be opened and no module loaded once data are there:"
    " write import statements, and read data by unwrap\n"
)
TOO_LATE = (
    "outside the sandbox this block gives its number: it was late, or needs what the sandbox has not (files,"
    " modules that no import statement names, threads)\n"
)


class WouldFail(ToolError):
    """The study is a recipe, and its run fails on these data."""

    def __init__(self, error: SealroomError, printed: str = "") -> None:
        super().__init__(error.code, error.message, error.hint)
        self.printed = printed
        """What the script printed, and its traceback, outside the sandbox."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One dataset, as it was read."""

    path: str
    made_up: bool
    rows: int | None
    """Of a table."""
    people: int | None
    files: int | None
    """Members of a dataset of files."""
    size: int
    """Bytes of the plain file."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """What was handed over for one field."""

    rows: int
    """Rows of the table of people."""
    size: int
    """Bytes of its columns."""
    seconds: float
    """For the sums and their noise."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A dry run that ended with a result."""

    recipe: Recipe
    result: dict[str, Any]
    """What would be signed and leave."""
    read: tuple[Read, ...]
    people: int
    """Different people in all tables."""
    shared: int
    """Those of them who are in tables of several owners."""
    released: Mapping[str, Released]
    """By field."""
    blocks: Mapping[str, int]
    """By field: the blocks that gave a number; empty but by blocks."""
    seconds: Mapping[str, float]
    """By step."""
    job_bytes: int
    """Most memory of a process that analyses."""
    custodian_bytes: int
    """Most memory of this process, which is the custodian."""
    printed: str
    """Why a block gave no number, outside the sandbox."""

    @property
    def result_bytes(self) -> int:
        """Of the canonical result."""
        return len(canonical(self.result["fields"]))

    @property
    def allowed(self) -> float:
        """Seconds that the recipe gives the analysis."""
        after = self.recipe.privacy.release_after_seconds
        return after - margin(after)


@dataclass
class _Times:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, step: str) -> _Timer:
        return _Timer(self, step)


class _Timer:
    def __init__(self, times: _Times, step: str) -> None:
        self._times, self._step = times, step

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        spent = time.monotonic() - self._began
        self._times.seconds[self._step] = self._times.seconds.get(self._step, 0.0) + spent


class _Watched(Releases):
    """The kernel, and what was handed to it."""

    seen: dict[str, Released]

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        began = time.monotonic()
        value = super().release(kind, name, rows)
        columns = [rows.units, *rows.numbers.values(), *rows.groups.values()]
        self.seen[name] = Released(
            rows=len(rows), size=sum(each.nbytes for each in columns), seconds=time.monotonic() - began
        )
        return value


class _Hurried(Clock):
    """Does not wait where nothing works."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self.working: Callable[[], bool] = lambda: False

    def now(self) -> float:
        return super().now() + self._skipped

    def wait(self, until: float, event: threading.Event) -> None:
        while (left := until - self.now()) > 0 and not event.is_set():
            if self.working():
                event.wait(min(left, 0.02))
            else:
                self._skipped += left


def dry_run(
    recipe: Recipe,
    *,
    people: int = PEOPLE,
    seed: int = 0,
    data: Mapping[str, Path] | None = None,
    sandboxed: int | None = SANDBOXED,
    told: Callable[[str], None] = lambda step: None,
) -> DryRun:
    """Run the study once. `data` are plain files, or folders of datasets of files, by OWNER/NAME.
    Of a study by blocks, so many run in the sandbox; with `None`, no line of a script runs outside it, and
    none has its traceback. `told` hears of each step. Raises `WouldFail`;
    `SealError` for a file that the recipe does not fit; `ToolError` for one that it does not name.
    """
    given = _given(recipe, data or {})
    times = _Times()
    with tempfile.TemporaryDirectory(prefix="sealroom-dry-run-") as place:
        told("making data up" if len(given) < len(recipe.datasets) else "sealing the files")
        with times.of("data"):
            made = synthetic(recipe, people=people, seed=seed) if len(given) < len(recipe.datasets) else {}
            datasets = _Datasets(Path(place))
            for spec in recipe.datasets:
                datasets.add(spec, given.get(spec.path), made.get(spec.path), seed)
        told("running it")
        return _run(recipe, datasets, times, sandboxed)


def _given(recipe: Recipe, data: Mapping[str, Path]) -> dict[str, Path]:
    known = {f"{spec.owner}/{spec.name}": spec.path for spec in recipe.datasets}
    for name in data:
        if name not in known:
            raise ToolError(
                Code.DATASET_NOT_IN_RECIPE,
                f"the recipe reads no dataset {name}",
                f"it reads {', '.join(known)}",
            )
    return {known[name]: path for name, path in data.items()}


class _Datasets:
    """The datasets of one dry run, sealed under keys that go with this object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opening: dict[str, Callable[[], SealedFile]] = {}
        self.read: list[Read] = []
        self._ids: list[tuple[str, pa.Array]] = []

    def add(self, spec: DatasetSpec, source: Path | None, table: pa.Table | None, seed: int) -> None:
        """Seal one dataset: a file or folder, or what is made up. Raises `SealError`."""
        plain, made_up, files = source, source is None, None
        if spec.schema is None:
            plain = self._folder / "plain"
            with plain.open("wb") as stream:
                if source is None:
                    content = members(spec, seed=seed)
                    _pack(content, stream)
                    files = len(content)
                else:
                    entries = listing(source)
                    pack(entries, stream)
                    files = sum(each.size is not None for each in entries)
        elif table is not None and source is None:
            plain = self._folder / "plain"
            pq.write_table(table, plain)
        assert plain is not None
        target = self._folder / f"{len(self._opening)}.tar"
        done = seal(
            plain, target, recipient=None, owner=ACCOUNT, name=spec.name, processes=1,
            media_type=FOLDER if spec.schema is None else PARQUET,
        )  # fmt: skip
        self._opening[spec.path] = partial(
            open_sealed, target, dek=done.data_key, header_digest=done.header_digest,
            index_digest=done.index_digest, key_commitment=done.key_commitment,
        )  # fmt: skip
        rows, people = None, None
        if spec.schema is not None:
            with self._opening[spec.path]() as file:
                for wrong in misfits(spec.columns, file.info.header.columns or ()):
                    raise SealError(
                        Code.DATASET_MISMATCH,
                        f"{plain if source else spec.path} is not what the recipe declares: it {wrong.what}",
                        wrong.remedy,
                    )
                ids = file.to_arrow([spec.schema.unit]).column(0)
            unique = pc.unique(ids.combine_chunks()).drop_null()
            self._ids.append((spec.owner, unique))
            rows, people = len(ids), len(unique)
        size = plain.stat().st_size
        self.read.append(
            Read(path=spec.path, made_up=made_up, rows=rows, people=people, files=files, size=size)
        )

    def people(self) -> tuple[int, int]:
        """Different people, and those of several owners. Ids of numbers and of text are different."""
        owners: dict[Any, set[str]] = {}
        for owner, ids in self._ids:
            for one in ids.to_pylist():
                owners.setdefault(one, set()).add(owner)
        return len(owners), sum(len(each) > 1 for each in owners.values())

    def open(self, spec: DatasetSpec) -> pa.Table | SealedFile:
        """As the enclave opens it."""
        file = self._opening[spec.path]()
        if spec.schema is None:
            return file
        with file:
            return file.to_arrow([name for name, _ in spec.columns])

    def open_parquet(self, spec: DatasetSpec, columns: Sequence[str]) -> int:
        with self._opening[spec.path]() as file:
            return parquet_memory(file, columns)


def _pack(content: Mapping[str, bytes], stream: Any) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(content, key=str.encode):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content[name]), 0o644
            archive.addfile(info, io.BytesIO(content[name]))


def _run(recipe: Recipe, datasets: _Datasets, times: _Times, sandboxed: int | None) -> DryRun:
    releases = _releases(recipe)
    numbers: Sequence[Numbers] = ()
    printed = ""
    if recipe.guarantee.by_blocks:
        fields, numbers, printed = _by_blocks(recipe, datasets, releases, times, sandboxed)
    else:
        fields = _at_once(recipe, datasets, releases, times, outside=sandboxed is not None)
    result = build_result(fields, recipe)
    check_result(result, recipe)
    noise = sum(each.seconds for each in releases.seen.values())
    spent = "blocks" if recipe.guarantee.by_blocks else "analysis"
    seconds = {**times.seconds, spent: max(times.seconds[spent] - noise, 0.0), "sums and noise": noise}
    people, shared = datasets.people()
    return DryRun(
        recipe=recipe,
        result=result,
        read=tuple(datasets.read),
        people=people,
        shared=shared,
        released=releases.seen,
        blocks={
            each.name: sum(not math.isnan(one.get(each.name, math.nan)) for one in numbers)
            for each in recipe.output.fields
            if recipe.guarantee.by_blocks
        },
        seconds=seconds,
        job_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        custodian_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        printed=printed,
    )


def _releases(recipe: Recipe) -> _Watched:
    releases = _Watched(recipe.privacy, recipe.output, epsilon_micro=recipe.epsilon_micro, rows=recipe.rows)
    releases.seen = {}
    return releases


def _at_once(
    recipe: Recipe, datasets: _Datasets, releases: _Watched, times: _Times, *, outside: bool
) -> dict[str, Any]:
    """Relation or script over all rows; returns the fields. With `outside`, a script that fails runs again
    outside the sandbox."""
    with times.of("sandbox"):
        sandbox = Sandbox.start()
    with sandbox:
        with times.of("sandbox"):
            sandbox.ready()
        try:
            with times.of("analysis"):
                return _served(recipe, datasets, releases, sandbox)
        except SealroomError as error:
            if recipe.relation is not None or error.code == Code.JOB_TIMEOUT:
                raise WouldFail(error) from None
            if not outside:
                raise WouldFail(error, _inside(error)) from None
            raise WouldFail(error, _outside(recipe, datasets)) from None


def _served(recipe: Recipe, datasets: _Datasets, releases: Releases, sandbox: Sandbox) -> dict[str, Any]:
    """What the job emits, in the time that the recipe gives it."""
    custodian = Custodian(
        recipe,
        open_dataset=datasets.open,
        open_parquet=datasets.open_parquet,
        releases=releases,
        check_lease=lambda: None,
    )
    after = recipe.privacy.release_after_seconds
    late = threading.Event()

    def stop() -> None:
        late.set()
        sandbox.kill()

    timer = threading.Timer(after - margin(after), stop)
    timer.daemon = True
    timer.start()
    try:
        return custodian.serve(sandbox)
    except SealroomError:
        if late.is_set():
            raise JobError(
                Code.JOB_TIMEOUT,
                f"the analysis had not ended after {after - margin(after):.0f} seconds, all that it has",
                "make it faster, or raise privacy.release_after_seconds",
            ) from None
        raise
    finally:
        timer.cancel()


def _inside(error: SealroomError) -> str:
    """What a sandboxed script's process tells of its failure."""
    stopped = error.stopped if isinstance(error, ScriptFailed) else None
    if stopped is None or stopped.line is None:
        return ""
    return f"line {stopped.line} of analysis.py: {stopped.exception or 'an exception of its own'}\n"


def _outside(recipe: Recipe, datasets: _Datasets) -> str:
    """What the script prints outside the sandbox, on the same data."""
    with PlainJobs() as jobs:
        try:
            with jobs.start() as job:
                _served(recipe, datasets, _releases(recipe), job)
        except SealroomError:
            return jobs.printed
        return f"{jobs.printed}{IN_THE_SANDBOX_ALONE}"


class _WatchedBlocks(BlockCustodian):
    """Tries the first block outside the sandbox, then runs all; keeps what they gave, and what the first one
    printed that gave nothing."""

    given: Sequence[Numbers] = ()
    printed = ""
    jobs: PlainJobs | None = None

    def numbers(self, rows: Any) -> list[Numbers]:
        if self.jobs is None:
            self.given = alone = super().numbers(rows)
            return alone
        first, printed = self._outside(self.jobs, rows, 0)
        if not first:
            raise WouldFail(
                JobError(Code.JOB_FAILED, "the script gives no number for the first block"), printed
            )
        self.given = found = super().numbers(rows)
        silent = [place for place, each in enumerate(found) if not each]
        if silent:
            again, self.printed = self._outside(self.jobs, rows, silent[0])
            self.printed += TOO_LATE if again else ""
        return found

    def _outside(self, jobs: PlainJobs, rows: Any, block: int) -> tuple[Numbers, str]:
        """What one block hands in outside the sandbox, in as much time as it likes, and what it prints."""
        clock = _Hurried()
        one = BlockCustodian(
            replace(self._recipe, blocks=1), open_dataset=self._open_dataset, releases=self._releases,
            check_lease=self._check_lease, service=None, clock=clock, since=clock.now(),
            until=clock.now() + self._recipe.privacy.release_after_seconds,
            start=lambda *, service: jobs.start(),
        )  # fmt: skip
        clock.working = lambda: one.working
        (found,) = one.numbers(
            {path: (table, np.where(of == block, 0, -1)) for path, (table, of) in rows.items()}
        )
        return found, jobs.printed


def _by_blocks(
    recipe: Recipe, datasets: _Datasets, releases: _Watched, times: _Times, sandboxed: int | None
) -> tuple[dict[str, Any], Sequence[Numbers], str]:
    """The fields; what each block gave; what a block printed that gave nothing."""
    clock, started = _Hurried(), 0
    after, now = recipe.privacy.release_after_seconds, clock.now()
    with nullcontext() if sandboxed is None else PlainJobs() as jobs:

        def start(*, service: Service | None) -> Sandbox:
            nonlocal started
            started += 1
            if jobs is None or sandboxed is None or started <= sandboxed:
                return Sandbox.start(service=service)
            return jobs.start()

        custodian = _WatchedBlocks(
            recipe, open_dataset=datasets.open, releases=releases, check_lease=lambda: None, service=None,
            clock=clock, since=now, until=now + after - 1.5 * margin(after), start=start,
        )  # fmt: skip
        clock.working = lambda: custodian.working
        custodian.jobs = jobs
        with times.of("blocks"):
            fields = custodian.serve()
    return fields, custodian.given, custodian.printed
