# SPDX-License-Identifier: Apache-2.0
"""A dry run of a study by blocks: its blocks in the sandbox, and one of them outside for its traceback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.recipe import Recipe
from sealroom.runtime.blocks import BlockCustodian, Numbers
from sealroom.runtime.clock import Clock, margin
from sealroom.runtime.sandbox import Sandbox, Service
from sealroom_agents.studies.dry_data import Datasets
from sealroom_agents.studies.dry_watch import Times, Watched, WouldFail
from sealroom_agents.studies.plain_job import PlainJobs

TOO_LATE = (
    "outside the sandbox this block gives its number: it was late, or needs what the sandbox has not (files,"
    " modules that no import statement names, threads)\n"
)


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


def by_blocks(
    recipe: Recipe, datasets: Datasets, releases: Watched, times: Times, sandboxed: int | None
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
