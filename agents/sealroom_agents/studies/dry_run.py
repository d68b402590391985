# SPDX-License-Identifier: Apache-2.0
"""A run of a study on made-up data, or on plain files that a person names: all of it but gate and chain.

Each dataset is sealed under a key that is thrown away, and opened as in the enclave. The relation, compiled,
or the script runs in the sandbox; the measured custodian answers it, clips, adds real noise and checks the
output. What is different: nobody grants a key, no statement is signed, and by blocks the clock does not wait
out a slot in which nothing runs. A script that fails runs a second time outside the sandbox, on the same
data, for its whole traceback: in production, an owner reads its line and the type of its exception.
"""

from __future__ import annotations

import math
import resource
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import JobError, SealroomError
from sealroom.failure import ScriptFailed
from sealroom.privacy.release import Releases
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.runtime.blocks import Numbers
from sealroom.runtime.clock import margin
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox
from sealroom_agents.studies.dry_blocks import by_blocks
from sealroom_agents.studies.dry_data import Datasets, Read, named_files
from sealroom_agents.studies.dry_watch import Released, Times, Watched, WouldFail
from sealroom_agents.studies.plain_job import PlainJobs
from sealroom_agents.studies.synthetic import PEOPLE, synthetic

SANDBOXED = 4
"""Blocks that run in the sandbox, unless told otherwise; the others start faster without."""
IN_THE_SANDBOX_ALONE = (
    "it fails in the sandbox alone, where no file can be opened and no module loaded once data are there:"
    " write import statements, and read data by unwrap\n"
)


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
    given = named_files(recipe, data or {})
    times = Times()
    with tempfile.TemporaryDirectory(prefix="sealroom-dry-run-") as place:
        told("making data up" if len(given) < len(recipe.datasets) else "sealing the files")
        with times.of("data"):
            made = synthetic(recipe, people=people, seed=seed) if len(given) < len(recipe.datasets) else {}
            datasets = Datasets(Path(place))
            for spec in recipe.datasets:
                datasets.add(recipe, spec, given.get(spec.path), made.get(spec.path), seed)
        told("running it")
        return _run(recipe, datasets, times, sandboxed)


def _run(recipe: Recipe, datasets: Datasets, times: Times, sandboxed: int | None) -> DryRun:
    releases = _releases(recipe)
    numbers: Sequence[Numbers] = ()
    printed = ""
    if recipe.guarantee.by_blocks:
        fields, numbers, printed = by_blocks(recipe, datasets, releases, times, sandboxed)
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


def _releases(recipe: Recipe) -> Watched:
    releases = Watched(recipe.privacy, recipe.output, epsilon_micro=recipe.epsilon_micro, rows=recipe.rows)
    releases.seen = {}
    return releases


def _at_once(
    recipe: Recipe, datasets: Datasets, releases: Watched, times: Times, *, outside: bool
) -> dict[str, Any]:
    """Relation or script over all rows; returns the fields. With `outside`, a script that fails runs again
    outside the sandbox."""
    with times.of("sandbox"):
        sandbox = Sandbox.of(recipe)
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


def _served(recipe: Recipe, datasets: Datasets, releases: Releases, sandbox: Sandbox) -> dict[str, Any]:
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


def _outside(recipe: Recipe, datasets: Datasets) -> str:
    """What the script prints outside the sandbox, on the same data."""
    with PlainJobs() as jobs:
        try:
            with jobs.start() as job:
                _served(recipe, datasets, _releases(recipe), job)
        except SealroomError:
            return jobs.printed
        return f"{jobs.printed}{IN_THE_SANDBOX_ALONE}"
