# SPDX-License-Identifier: Apache-2.0
"""What a process does again and again: APScheduler, with one set of rules and a store in memory.

Every job is due anew at each start, so none needs to be remembered. Rules for what comes late, since a
machine may sleep or starve: a job never runs twice at a time; of the times that it missed one is made up; and
it is made up however late it is. The scheduler goes by the system's clock: where that is set back, a job
would wait until it is as late again, so each is due at once instead. A job that fails is logged, and due
again at its next time: what a condition needs to know is kept by the job itself, with the time at which it
was known.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from sealroom.errors import SealroomError

THREADS = 4
"""Jobs at one time; one that waits for a silent service holds up no other."""
LOOK_S = 1.0
"""Pause between two looks at the system's clock, seconds."""
SET_BACK_S = 1.0
"""By how much it has to be set back for jobs not to wait for it, seconds."""

_log = logging.getLogger(__name__)


class Periodic:
    """The jobs of one process."""

    def __init__(self, *, wall: Callable[[], float] = time.time, look_s: float = LOOK_S) -> None:
        """`wall`: the system's clock, unix seconds; `look_s`: pause between two looks at it."""
        self._wall = wall
        self._look_s = look_s
        self._ended = threading.Event()
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

    def paced(self, pause: Callable[[], float], work: Callable[[], object]) -> None:
        """Do `work`, and again so many seconds after it ended as `pause` says then."""

        def run() -> None:
            try:
                _logged(work)()
            finally:
                begin()

        def begin() -> None:
            self._scheduler.add_job(run, "date", run_date=datetime.now(UTC) + timedelta(seconds=pause()))

        begin()

    def start(self) -> None:
        """Begin; what is done runs in threads of its own."""
        self._scheduler.start()
        threading.Thread(target=self._watch_clock, name="clock", daemon=True).start()

    def close(self) -> None:
        """Begin nothing any more; work that is under way is not waited for."""
        self._ended.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _watch_clock(self) -> None:
        ahead = self._wall() - time.monotonic()
        while not self._ended.wait(self._look_s):
            before, ahead = ahead, self._wall() - time.monotonic()
            if ahead < before - SET_BACK_S:
                _log.warning("the system's clock was set back by %.0f s", before - ahead)
                for job in self._scheduler.get_jobs():
                    with suppress(JobLookupError):  # it began meanwhile
                        job.modify(next_run_time=datetime.now(UTC))


def _logged(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except SealroomError as error:
            _log.warning("%s: %s", error.code, error.message)

    return run
