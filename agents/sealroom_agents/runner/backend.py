# SPDX-License-Identifier: Apache-2.0
"""Where enclaves run: what the runner asks of a backend.

A backend starts one enclave for one run and hands out what it says: JSON lines, then an exit status. It knows
nothing of approvals and releases nothing; whether the enclave gets keys is between the enclave and the gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from sealroom_agents.config import Config
from sealroom_agents.config.model import Runner


@dataclass(frozen=True)
class Assignment:
    """What a backend needs to start one enclave."""

    run_id: str
    """Run id, `0x` + 64 hex digits."""
    consortium: str
    """Consortium whose study it is."""
    app: str
    """The consortium's DstackApp: the app id under which the enclave boots."""
    chain_id: int
    """Chain id."""
    compose: bytes
    """The exact bytes of the recipe."""


@dataclass(frozen=True)
class Leftovers:
    """What a runner that is gone left of a run."""

    started: bool
    """Whether an enclave was ever started for it."""
    envelope: bytes | None
    """What that enclave emitted."""
    failure: bytes | None
    """The failure file that it wrote instead."""


class Enclave(Protocol):
    """One running enclave. It ends with the runner's process. Used from one thread."""

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next JSON line it printed, `None` when none came in time or it has ended."""

    def exit_code(self) -> int | None:
        """Its exit status, `None` while it runs; asked for only when no line is left."""

    def envelope(self) -> bytes:
        """What it emitted. Raises `RunnerError` `no-envelope`."""

    def failure(self) -> bytes | None:
        """The failure file that it wrote; `None` where there is none, or one that is too large."""

    def terminate(self) -> None:
        """Ask the enclave to end its lease, wipe its keys and stop; returns at once."""

    def kill(self) -> None:
        """End everything that belongs to it, now; returns when it is dead, also when it was before."""

    def clean(self) -> None:
        """Kill what is left, and remove what must not stay on disk: its envelope too,
        so the caller keeps that first."""


class Backend(Protocol):
    """A place where enclaves run."""

    def start(self, assignment: Assignment) -> Enclave:
        """Start one. Raises `RunnerError`."""

    def leftovers(self, run_id: str) -> Leftovers:
        """What a runner that is gone left of a run; whatever of it still ran is dead when this returns."""

    def forget(self, run_id: str) -> None:
        """Remove what must not stay on disk of a run whose envelope is kept elsewhere, or has to go."""

    def known(self) -> list[str]:
        """Ids of the runs that something is left of here."""

    def close(self) -> None:
        """Give back what the backend holds open; nothing runs any more."""


class Options(BaseModel):
    """Base of a backend's own options: what it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class Place:
    """What a runner gives its backend at its start."""

    config: Config
    runner: Runner
    chain_id: int
    """The chain that the runner reads."""


class Kind(Protocol):
    """What an entry point of the group `sealroom.backends` gives."""

    options: type[Options]
    """The model of `[runner.options]`."""

    def lacks(self, config: Config) -> Iterable[tuple[str, str, str]]:
        """What a configuration lacks of it beside its options: the field, why, and what to do."""

    def open(self, options: Any, place: Place) -> Backend:
        """The backend, ready to start enclaves. Raises `ConfigurationError`."""
