# SPDX-License-Identifier: Apache-2.0
"""What a process does again and again: APScheduler, with one set of rules and a store in memory.

Every job is due anew at each start, so none needs to be remembered. Rules for what comes late, since a
machine may sleep or starve: a job never runs twice at a time; of the times that it missed one is made up; and
it is made up however late it is. A job that fails is logged, and due again at its next time: what a condition
needs to know is kept by the job itself, with the time at which it was known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from sealroom.errors import SealroomError

THREADS = 4
"""Jobs at one time; one that waits for a silent service holds up no other."""

_log = logging.getLogger(__name__)


class Periodic:
    """The jobs of one process."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(THREADS)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )

    def every(
        self, seconds: float, work: Callable[[], object], *, jitter_s: float = 0, now: bool = False
    ) -> None:
        """Do `work` each so many seconds, give or take `jitter_s`, so that not all processes of the world ask
        a service at the same moment. `now`: the first time as soon as it starts."""
        first = {"next_run_time": datetime.now(UTC)} if now else {}
        self._scheduler.add_job(
            _logged(work), "interval", seconds=seconds, jitter=int(jitter_s) or None, **first
        )

    def start(self) -> None:
        """Begin; what is done runs in threads of its own."""
        self._scheduler.start()

    def close(self) -> None:
        """Begin nothing any more; work that is under way is not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def _logged(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except SealroomError as error:
            _log.warning("%s: %s", error.code, error.message)

    return run
