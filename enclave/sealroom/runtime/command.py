# SPDX-License-Identifier: Apache-2.0
"""The command line of a run: what is asked, what is told, and how it exits. See `sealroom.__main__`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sealroom.codes import Code, Exit
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError, GuestError, SealroomError
from sealroom.failure import FAILURE_NAME
from sealroom.recipe import parse
from sealroom.recipe.appcompose import HINTS_FILE
from sealroom.recipe.wrapped import HINTS_VARIABLE
from sealroom.runtime.clock import Clock
from sealroom.runtime.confine import protect_custodian
from sealroom.runtime.gate_client import GateRefused
from sealroom.runtime.guest_agent import Guest
from sealroom.runtime.hints import Hints
from sealroom.runtime.host_link import HostLink
from sealroom.runtime.launcher import CHANNEL_FOLDER
from sealroom.runtime.lease import LeaseEnded
from sealroom.runtime.run import ENVELOPE_NAME, Order, Report, execute


def main(arguments: list[str], *, clock: Clock | None = None) -> int:
    """Run once; returns the exit status."""
    if not arguments or "--hints" in arguments:
        return _hinted(arguments, clock=clock)
    with _told(_report) as outcome:
        environment = dict(os.environ)
        order = _parse(arguments)
        protect_custodian()
        execute(order, environment=environment, report=_report, on_stop=_on_terminate, clock=clock)
    return outcome.status


def _hinted(arguments: list[str], *, clock: Clock | None) -> int:
    """The same for a run that the host's hints name: nobody reads this process's output."""
    link: HostLink | None = None
    folder: Path | None = None

    def report(phase: str, **facts: Any) -> None:
        _report(phase, **facts)
        if link is not None:
            link.report(phase, **facts)

    with _told(report) as outcome:
        environment = dict(os.environ)
        given = _parse_hinted(arguments)
        variable = environment.pop(HINTS_VARIABLE, None)
        if given.hints is None and variable is not None:
            hints = Hints.told(variable)
        else:
            hints = Hints.read(given.hints or Path(HINTS_FILE))
        protect_custodian()
        link = HostLink(hints.runner)
        link.begin()
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=given.work))
        order = Order(
            run_id=hints.run_id,
            consortium=hints.consortium,
            chain_id=hints.chain_id,
            gate_url=hints.gate,
            datasets=folder / "datasets",
            out=folder / "out",
            guest_agent=given.guest_agent,
            channel=given.channel or (None if given.guest_agent else CHANNEL_FOLDER),
        )
        link.fetch(hints.datasets, order.datasets, _dataset_paths(order, environment))
        execute(order, environment=environment, report=report, on_stop=_on_terminate, clock=clock)
    if link is not None:
        link.close(_outcome_file(folder), outcome.status)
    return outcome.status


def _dataset_paths(order: Order, environment: dict[str, str]) -> list[str]:
    """What the recipe that booted reads. The guest agent is asked again by the run itself."""
    guest = Guest.connect(chain_id=order.chain_id, environment=environment, simulator=order.guest_agent)
    return [spec.path for spec in parse(guest.info().compose).datasets]


def _outcome_file(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    written = (folder / "out" / name for name in (ENVELOPE_NAME, FAILURE_NAME))
    return next((path for path in written if path.exists()), None)


@dataclass
class _Outcome:
    status: int = Exit.DONE


@contextmanager
def _told(report: Report) -> Iterator[_Outcome]:
    """Tell how a run ended that did not end well, and with which status this process exits."""
    outcome = _Outcome()
    try:
        yield outcome
    except LeaseEnded as error:
        report("lease-ended", code=error.end.cause, message=error.end.message)
        outcome.status = Exit.LEASE_ENDED
    except SealroomError as error:
        outcome.status, phase = _outcome(error)
        report(phase, code=error.code, message=error.message)
    except Exception as error:  # outermost; what it says could hold data, so only its type is told
        report("failed", code=Code.INTERNAL_ERROR, message=f"the custodian stopped on {type(error).__name__}")
        outcome.status = Exit.JOB_FAILED


def _on_terminate(stop: Callable[[], None]) -> None:
    """SIGTERM ends the lease, so that the last thing the enclave does is to wipe."""
    # Not in the handler itself: it runs between any two instructions, and ending a lease takes its lock.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop, daemon=True).start())


def _outcome(error: SealroomError) -> tuple[Exit, str]:
    """Exit status and last phase of a run that an error ended."""
    if isinstance(error, GuestError):
        return Exit.CONFIGURATION, "failed"  # whatever is wrong with the guest agent
    if isinstance(error, GateRefused):
        return Exit.REFUSED, "refused"  # no code of the gate makes it anything else
    return error.code.exit, "refused" if error.code.exit is Exit.REFUSED else "failed"


class _UsageError(SealroomError):
    """The command line is wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(Code.USAGE, message)


def _parse(arguments: list[str]) -> Order:
    parser = _Parser(prog="python -m sealroom", description="Run one approved study inside the enclave.")
    parser.add_argument("--run-id", required=True, metavar="0x…", help="id of the run, 32 bytes")
    parser.add_argument("--consortium", required=True, metavar="0x…", help="address of the consortium")
    parser.add_argument("--chain-id", required=True, type=int, metavar="N")
    parser.add_argument("--gate", required=True, metavar="URL")
    parser.add_argument("--datasets", required=True, type=Path, metavar="DIR", help="holds OWNER/NAME.tar")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help=f"where {ENVELOPE_NAME} or {FAILURE_NAME} appears",
    )
    parser.add_argument(
        "--guest-agent", type=Path, metavar="SOCKET", help="another guest agent; local chains only"
    )
    parser.add_argument(
        "--channel",
        type=Path,
        metavar="DIR",
        help=f"where the service job listens; {CHANNEL_FOLDER} beside the real guest agent, and beside "
        "another one none: jobs are then started from here",
    )
    given = parser.parse_args(arguments)
    try:
        return Order(
            run_id=from_hex(given.run_id, 32),
            consortium=normal_address(given.consortium),
            chain_id=given.chain_id,
            gate_url=given.gate,
            datasets=given.datasets,
            out=given.out,
            guest_agent=given.guest_agent,
            channel=given.channel or (None if given.guest_agent else CHANNEL_FOLDER),
        )
    except FormatError as error:
        raise _UsageError(Code.USAGE, f"--run-id or --consortium: {error.message}") from None


def _parse_hinted(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="python -m sealroom", description="Run the study that the host's hints name.")
    parser.add_argument(
        "--hints", type=Path, nargs="?", metavar="FILE",
        help=f"instead of {HINTS_FILE} and of ${HINTS_VARIABLE}; without FILE, these",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, metavar="DIR", default=Path("/tmp"), help="for sealed files")
    parser.add_argument(
        "--guest-agent", type=Path, metavar="SOCKET", help="another guest agent; local chains only"
    )
    parser.add_argument("--channel", type=Path, metavar="DIR", help="where the service job listens")
    return parser.parse_args(arguments)


def _report(phase: str, **facts: Any) -> None:
    # One write a line: the lease's thread reports, too.
    sys.stdout.write(json.dumps({"phase": phase, **facts}) + "\n")
    sys.stdout.flush()
