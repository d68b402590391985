# SPDX-License-Identifier: Apache-2.0
"""What a run needs of its operator, looked at before its enclave starts.

The ledger books a run's ε before its keys leave, and refunds nothing. What can be known to fail later, for a
reason that is the operator's and not the run's, makes the run wait: `dataset-not-ready`, `runner-not-ready`
and `gate-not-ready`. Nothing here decides whether the run may happen.

The bytes of a sealed dataset are read whole once, and believed until the file changes.
"""

from __future__ import annotations

import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, SealError, SealroomError
from sealroom.recipe import Recipe
from sealroom.sealed import SealedArchive
from sealroom_agents.errors import StoreError
from sealroom_agents.exchange import exchange
from sealroom_agents.readiness import Missing
from sealroom_agents.store import Run
from sealroom_agents.store.content import Content
from sealroom_agents.telemetry.conditions import Conditions

GATE_TIMEOUT_S = 10.0
"""How long the gate may take to say whether it is ready."""
SHARED_S = 2.0
"""How long what was seen of disk, content store and gate serves other runs, seconds."""
MAX_ANSWER_BYTES = 64 * 1024
PROBE = b"sealroom: a probe of the content store " + secrets.token_hex(16).encode() + b"\n"
"""What is kept, and discarded, to see that an envelope could be; no two processes' are the same."""


class Preflight(Protocol):
    """What is asked before a run starts."""

    def lacks(self, run: Run, recipe: Recipe) -> tuple[Missing, ...]:
        """What the run would lack, now; empty when it can start."""


class NoPreflight:
    """Asks for nothing."""

    def lacks(self, run: Run, recipe: Recipe) -> tuple[Missing, ...]:
        """Nothing."""
        return ()


@dataclass
class LocalPreflight:
    """For enclaves on this machine. Thread safe."""

    conditions: Conditions
    """Those of this process: chain, database, disk, gas money."""
    datasets: Path
    """Folder with the owners' sealed datasets, `OWNER/NAME.tar`."""
    content: Content
    """Where envelopes go."""
    gate: str
    """URL of the gate."""
    _whole: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    """Sealed files whose parts were compared, as they were then."""
    _shared: tuple[float, tuple[Missing, ...]] = (float("-inf"), ())
    """When it was looked at what all runs need, and what was missing."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lacks(self, run: Run, recipe: Recipe) -> tuple[Missing, ...]:
        """What the run would lack, now."""
        return tuple(self._lacks(recipe))

    def _lacks(self, recipe: Recipe) -> Iterator[Missing]:
        yield from self._sealed(recipe)
        now = time.monotonic()
        if now - self._shared[0] > SHARED_S:
            self._shared = now, (*self._own(), *self._place(), *self._gate())
        yield from self._shared[1]

    def _own(self) -> Iterator[Missing]:
        for one in self.conditions.missing():
            yield Missing(Code.RUNNER_NOT_READY, f"{one.name}: {one.message}")

    def _place(self) -> Iterator[Missing]:
        try:
            self.content.discard(self.content.put(PROBE))
        except StoreError as error:
            yield Missing(Code.RUNNER_NOT_READY, f"content: {error.message}")

    def _sealed(self, recipe: Recipe) -> Iterator[Missing]:
        """Whether each file is there and whole. Whose it is, and for what it was sealed, the gate judges
        before it books."""
        for spec in recipe.datasets:
            try:
                self._compare(self.datasets / spec.owner / f"{spec.name}.tar")
            except SealroomError as error:
                yield Missing(Code.DATASET_NOT_READY, f"{spec.path}: {error.message}", spec.owner)
            except OSError as error:
                text = f"{spec.path} cannot be read by the runner: {error.strerror}"
                yield Missing(Code.DATASET_NOT_READY, text, spec.owner)

    def _compare(self, path: Path) -> None:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SealError(Code.SOURCE_UNREADABLE, "it is no file")
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        # One at a time: it takes all processors.
        with self._lock:
            if self._whole.get(path) == seen:
                return
            with SealedArchive.open(path) as archive:
                archive.check_parts()
            self._whole[path] = seen

    def _gate(self) -> Iterator[Missing]:
        try:
            answer = exchange(
                "GET",
                f"{self.gate.rstrip('/')}/v1/readyz",
                timeout_s=GATE_TIMEOUT_S,
                limit=MAX_ANSWER_BYTES,
            )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            yield Missing(Code.GATE_NOT_READY, f"the gate does not answer: {type(error).__name__}")
            return
        if answer.status == 200:
            return
        yield Missing(Code.GATE_NOT_READY, f"the gate says that it is not ready: {_named(answer.body)}")


def _named(body: bytes) -> str:
    """The conditions that do not hold."""
    try:
        told = strict_json(body, MAX_ANSWER_BYTES, allow_floats=True).get("conditions")
    except FormatError:
        return "it does not say why"
    rows: Sequence[object] = told if isinstance(told, list) else ()
    names = [str(row.get("name"))[:40] for row in rows if isinstance(row, dict) and row.get("ok") is False]
    return ", ".join(names[:10]) or "it does not say why"
