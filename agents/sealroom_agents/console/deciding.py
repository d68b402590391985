# SPDX-License-Identifier: Apache-2.0
"""What decides an answer of the console: as long as it is the same, so is the answer.

It is read for many requests at once, and costs a few queries of single rows where the answer itself costs up
to a hundred times as much. Whatever is not told by it must not be kept: an answer that says how it is to be
cached by others is left alone, and so is one of which this module knows nothing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection
from typing import Any

from sealroom_agents.console.studies import RUNS_SHOWN, Studies
from sealroom_agents.errors import StoreError
from sealroom_agents.index import Indexed, Line, Progress
from sealroom_agents.store import ORDER, Store

_BOARD = re.compile(r"/|/v1/studies")
_CONSORTIUM = re.compile(r"(/v1/studies|/studies)/(0x[0-9a-f]{40})(/history|/spending)?")
_RUN = re.compile(r"(/v1/runs|/runs)/(0x[0-9a-f]{64})")


def known(path: str, query: bytes) -> str | None:
    """Which answers one is among: `runs` or `consortia`; `None` for one of which nothing is known here. A
    consortium's page about a proposal may ask a node, and its report names the newest block."""
    if _RUN.fullmatch(path):
        return "runs"
    if _BOARD.fullmatch(path):
        return "consortia"
    page = _CONSORTIUM.fullmatch(path)
    return "consortia" if page and (page[1] == "/v1/studies" or not (query or page[3])) else None


class Deciding:
    """Reads what decides answers. Thread safe."""

    def __init__(
        self, indexed: Indexed, studies: Studies, store: Store, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._indexed = indexed
        self._studies = studies
        self._store = store
        self._clock = clock

    def __call__(self, paths: Collection[str]) -> dict[str, Any]:
        """By path what decides its answer, to be compared; `None` for one that may not be kept. Raises
        `StoreError` where the database does not answer."""
        progress = self._indexed.progress()
        if progress is None or not progress.ready:
            return {}
        return {path: self._of(path, progress) for path in paths}

    def _of(self, path: str, progress: Progress) -> Any:
        if _BOARD.fullmatch(path):
            # Expiries are whole seconds, so within one the time changes nothing.
            return progress, int(self._clock())
        if run := _RUN.fullmatch(path):
            return self._run(run[2], progress, page=run[1] == "/runs")
        page = _CONSORTIUM.fullmatch(path)
        line = self._indexed.found(page[2]) if page else None
        return self._consortium(line, progress, path) if line is not None and line.read else None

    def _consortium(self, line: Line, progress: Progress, path: str) -> Any:
        # What is above the newest final block is marked; below it, later blocks change nothing.
        final = min(progress.final, line.moved)
        if path.endswith(("/history", "/spending")):
            return line.version, final, progress.revision  # which times of blocks raise
        drawing = self._studies.drawing(line, progress)
        if drawing is None or path.startswith("/v1/"):
            return drawing
        runs = self._store.runs(consortium=line.consortium, limit=RUNS_SHOWN)
        seen = self._store.observations(line.consortium)
        return drawing, final, progress.late, _digest(runs, seen)

    def _run(self, run_id: str, progress: Progress, *, page: bool) -> Any:
        try:
            run, events = self._store.story(run_id)
        except StoreError:
            return None  # the application says why
        if run.state == "waiting":
            return None  # what it lacks is looked up anew
        if not page:
            return _digest(run, events)
        # Before it attests, the ledger knows nothing of it.
        line = None if run.state in ORDER[:3] else self._indexed.found(run.consortium)
        return _digest(run, events), progress.late, line and line.version


def _digest(*rows: object) -> bytes:
    """Of rows, which may be long. Their representation has every field."""
    return hashlib.sha256(repr(rows).encode()).digest()
