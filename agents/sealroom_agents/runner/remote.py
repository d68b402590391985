# SPDX-License-Identifier: Apache-2.0
"""Enclaves in confidential VMs that a host starts: what all such backends share.

A host is asked to create, look at, shut down, stop and remove VMs, each named after its run. What it shows
of a VM is shown to people, and at most ends a run: that a run did well, the enclave's signed envelope says
alone.
An enclave speaks through `sealroom_agents.runner.delivery`.

A VM does not end with the runner. One that is left is found by its name, and ended, when the runner starts
again; without a runner, its lease at the gate goes on as long as it renews, and the recipe's instant of
release ends its work.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealroom.codes import Code
from sealroom.recipe import Recipe, parse
from sealroom.recipe.recipe import PHALA
from sealroom.visible import visible
from sealroom_agents.errors import RunnerError
from sealroom_agents.runner import run_folder
from sealroom_agents.runner.backend import Assignment, Leftovers
from sealroom_agents.runner.delivery import Delivery, Inbox
from sealroom_agents.runner.run_folder import folder_of

PREFIX = "sealroom-"
"""Before the 64 hex digits of the run, in a VM's name."""
MAX_SHOWN = 200
"""Most characters that are shown of what a host says."""
_NAME = re.compile(PREFIX + r"([0-9a-f]{64})")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What a host says of one VM."""

    runs: bool
    """Whether it is up, or on its way there."""
    progress: str = ""
    """How far it booted, in the host's words."""
    error: str = ""
    """Why it did not boot, in the host's words."""


class Host(Protocol):
    """A place that makes confidential VMs. Each call has a deadline, raises `RunnerError`. Thread safe."""

    @property
    def hints(self) -> str:
        """Its recipes' `hints` in `study.yaml`: whether enclaves find them in a file or in a variable."""

    def create(self, name: str, assignment: Assignment, hints: bytes) -> str:
        """Start a VM that measures exactly the assignment's recipe and app; returns its id."""

    def look(self, machine: str) -> Seen | None:
        """What it says of a VM; `None` when there is none of this id."""

    def shutdown(self, machine: str) -> None:
        """Ask the VM to end by itself; it wipes."""

    def stop(self, machine: str) -> None:
        """End it at once; nothing when it has ended or is gone."""

    def remove(self, machine: str) -> None:
        """Have it removed, which may take its time; nothing when it is gone."""

    def named(self, prefix: str) -> list[tuple[str, str]]:
        """Name and id of each VM whose name begins so."""


@dataclass(frozen=True)
class Limits:
    """How long things may take, seconds."""

    boot_s: float
    """From the start of a VM to its enclave's first word."""
    end_s: float
    """Until a VM that is stopped or removed has ended, or is gone."""
    look_s: float = 2.0
    """Between two looks at a VM."""
    retry_s: float = 30.0
    """For how long a call is tried again that failed for a reason that passes."""


def told(text: str) -> str:
    """What a host said, safe to show: one line, and short."""
    return "".join(each if visible(each) else "�" for each in " ".join(text.split())[:MAX_SHOWN])


def check_hints(recipe: Recipe, hints: str) -> None:
    """Whether the enclave of a recipe reads such hints. Raises `RunnerError` `hints-missing`."""
    if not recipe.hints or (recipe.script is not None) != (hints == PHALA):
        raise RunnerError(
            Code.HINTS_MISSING,
            f"the recipe's enclave reads no hints as {hints} gives them, so it would not know its run there",
            f"write hints: {hints} into study.yaml, and have the owners approve that recipe",
        )


class OsImage(Protocol):
    """An OS image, as a host lists it."""

    name: str
    is_dev: bool
    """Whether whoever runs it can log in."""


def check_os_image(images: Sequence[OsImage], wanted: str, *, host: str) -> None:
    """Whether a host has the image, and it is one for production. host: what messages call it.

    Raises `RunnerError` `os-image-unknown`, `os-image-dev`.
    """
    image = next((each for each in images if each.name == wanted), None)
    if image is None:
        there = ", ".join(told(each.name) for each in images[:10]) or "none"
        raise RunnerError(Code.OS_IMAGE_UNKNOWN, f"the {host} has no image {wanted!r}; it has {there}")
    if image.is_dev:
        raise RunnerError(
            Code.OS_IMAGE_DEV,
            f"the image {wanted!r} is one for development",
            "name a production image; the owners' platform policy lists those that they accept",
        )


@dataclass(frozen=True)
class RemoteBackend:
    """Starts one VM a run."""

    host: Host
    delivery: Delivery
    state: Path
    """Folder in which each run gets its own."""
    datasets: Path
    """Folder with the owners' sealed datasets, `OWNER/NAME.tar`."""
    gate: str
    """URL of the gate, as VMs reach it."""
    limits: Limits

    def start(self, assignment: Assignment) -> RemoteEnclave:
        """Have the VM made. Raises `RunnerError`; then there is none."""
        recipe = parse(assignment.compose)
        check_hints(recipe, self.host.hints)
        folder = folder_of(self.state, assignment.run_id)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise RunnerError(
                Code.BACKEND, f"the run's folder cannot be made: {error.strerror}",
                "a run whose folder is there was started before",
            ) from error  # fmt: skip
        paths = [spec.path for spec in recipe.datasets]
        inbox = self.delivery.open(folder, {path: self.datasets / path for path in paths})
        url, name = self.delivery.url_of(inbox), PREFIX + folder.name
        hints = {
            "version": 1,
            "run_id": assignment.run_id,
            "consortium": assignment.consortium,
            "chain_id": assignment.chain_id,
            "gate": self.gate,
            "runner": url,
            "datasets": {path: f"{url}/datasets/{path}" for path in paths},
        }
        try:
            machine = self.host.create(name, assignment, json.dumps(hints).encode())
        except RunnerError:
            self.delivery.shut(inbox)
            shutil.rmtree(folder, ignore_errors=True)
            # An answer may be lost whose VM is there.
            self._end_named(assignment.run_id)
            raise
        log.info("run %s has the VM %s", assignment.run_id, told(machine))
        return RemoteEnclave(self, inbox, machine)

    def leftovers(self, run_id: str) -> Leftovers:
        """End its VM, and look what it handed in."""
        self._end_named(run_id)
        folder = folder_of(self.state, run_id)
        try:
            envelope = run_folder.read_envelope(folder)
        except RunnerError:
            envelope = None
        return Leftovers(started=folder.is_dir(), envelope=envelope, failure=run_folder.read_failure(folder))

    def forget(self, run_id: str) -> None:
        """Remove its VM, and what it handed in."""
        self._end_named(run_id)
        shutil.rmtree(folder_of(self.state, run_id) / run_folder.OUT, ignore_errors=True)

    def known(self) -> list[str]:
        """Runs with a folder, or with a VM."""
        there = {match[1] for name, _ in self.host.named(PREFIX) if (match := _NAME.fullmatch(name))}
        return sorted({*run_folder.known(self.state), *("0x" + each for each in there)})

    def close(self) -> None:
        """Stop serving enclaves."""
        self.delivery.close()

    def end(self, machine: str) -> None:
        """Stop a VM, have it removed, and wait until it is gone. Raises `RunnerError` `vm-stays`."""
        self.retried(lambda: self.host.stop(machine))
        self.retried(lambda: self.host.remove(machine))
        self._wait(machine, lambda seen: seen is None, "is not removed")

    def dead(self, machine: str) -> None:
        """Stop a VM, and wait until it has ended."""
        self.retried(lambda: self.host.stop(machine))
        self._wait(machine, lambda seen: seen is None or not seen.runs, "does not stop")

    def retried(self, act: Callable[[], None]) -> None:
        """Do it; again, while it fails for a reason that passes."""
        deadline = time.monotonic() + self.limits.retry_s
        while True:
            try:
                return act()
            except RunnerError as error:
                if not error.code.transient or time.monotonic() > deadline:
                    raise
            time.sleep(min(1.0, self.limits.look_s))

    def _end_named(self, run_id: str) -> None:
        name = PREFIX + run_id.removeprefix("0x")
        for found, machine in self.host.named(name):
            if found == name:
                log.info("the VM %s of run %s is ended", told(machine), run_id)
                self.end(machine)

    def _wait(self, machine: str, over: Callable[[Seen | None], bool], what: str) -> None:
        deadline = time.monotonic() + self.limits.end_s
        while not over(self._look(machine)):
            if time.monotonic() > deadline:
                raise RunnerError(
                    Code.VM_STAYS, f"the VM {told(machine)} {what} within {self.limits.end_s:.0f} s",
                    "end it at its host; the gate's lease ends when it does not renew",
                )  # fmt: skip
            time.sleep(min(1.0, self.limits.look_s))

    def _look(self, machine: str) -> Seen | None:
        try:
            return self.host.look(machine)
        except RunnerError as error:
            if not error.code.transient:
                raise
            return Seen(runs=True)  # nobody knows


class RemoteEnclave:
    """One VM, and what its enclave says."""

    def __init__(self, backend: RemoteBackend, inbox: Inbox, machine: str) -> None:
        self._backend = backend
        self._inbox = inbox
        self._machine = machine
        self._began = time.monotonic()
        self._progress = ""
        self._failed: RunnerError | None = None
        self._over = threading.Event()
        # Of its own, so that a host which does not answer delays no order to end a run.
        self._watch = threading.Thread(target=self._look_on, name="vm", daemon=True)
        self._watch.start()

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next line. Raises `RunnerError` for a VM that did not boot, booted again or ended unasked."""
        line = self._inbox.line(timeout_s)
        if line is not None or self._inbox.status is not None:
            return line
        if self._inbox.broken is not None:
            raise RunnerError(Code.ENCLAVE_PROTOCOL, f"the enclave broke the protocol: {self._inbox.broken}")
        if self._inbox.starts > 1:
            raise RunnerError(Code.VM_RESTARTED, "the VM booted again, and its keys are gone")
        if self._failed is not None:
            raise self._failed
        waited = time.monotonic() - self._began
        if self._inbox.starts == 0 and waited > self._backend.limits.boot_s:
            shown = f"; its host says {self._progress!r}" if self._progress else ""
            raise RunnerError(Code.BOOT_FAILED, f"its enclave said nothing within {waited:.0f} s{shown}")
        return None

    def exit_code(self) -> int | None:
        """The exit status once all lines are read."""
        return self._inbox.status if self._inbox.empty() else None

    def envelope(self) -> bytes:
        """What it handed in."""
        return run_folder.read_envelope(self._inbox.folder)

    def failure(self) -> bytes | None:
        """The failure file that it handed in."""
        return run_folder.read_failure(self._inbox.folder)

    def terminate(self) -> None:
        """Have the VM shut down, in a thread: nobody waits for a host here."""
        threading.Thread(target=self._shutdown, name="vm-shutdown", daemon=True).start()

    def kill(self) -> None:
        """Stop the VM, and wait until it has ended."""
        self._over.set()
        self._backend.dead(self._machine)

    def clean(self) -> None:
        """Have the VM removed, and remove what it handed in."""
        self._over.set()
        self._backend.delivery.shut(self._inbox)
        try:
            self._backend.end(self._machine)
        except RunnerError as error:
            # It has ended, so it holds no key; the run does not fail for what its host keeps. The runner's
            # next start tries again.
            log.warning("the VM %s is not removed: %s", told(self._machine), error.message)
        shutil.rmtree(self._inbox.folder / run_folder.OUT, ignore_errors=True)

    def _shutdown(self) -> None:
        try:
            self._backend.host.shutdown(self._machine)
        except RunnerError as error:
            log.info("the VM %s was not asked to shut down: %s", told(self._machine), error.message)

    def _look_on(self) -> None:
        while not self._over.wait(self._backend.limits.look_s):
            try:
                seen = self._backend.host.look(self._machine)
            except RunnerError as error:
                log.warning("the VM %s cannot be looked at: %s", told(self._machine), error.message)
                continue
            self._failed = self._judged(seen)
            if self._failed is not None:
                return

    def _judged(self, seen: Seen | None) -> RunnerError | None:
        if self._over.is_set():
            return None
        if seen is None:
            return RunnerError(Code.VM_ENDED, "its host has no such VM any more")
        if seen.error:
            return RunnerError(Code.BOOT_FAILED, f"its host says: {told(seen.error)}")
        if not seen.runs:
            # Its host may start it again by itself, without its keys: so the first end counts.
            return RunnerError(Code.VM_ENDED, "the VM ended before its enclave said how the run did")
        if seen.progress != self._progress:
            self._progress = told(seen.progress)
            log.info("the VM %s, by its host: %s", told(self._machine), self._progress)
        return None
