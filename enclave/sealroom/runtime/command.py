# SPDX-License-Identifier: Apache-2.0
"""The command line of a run: what is asked, what is told, and how it exits. See `sealroom.__main__`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sealroom.codes import Code, Exit
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError, GuestError, SealroomError
from sealroom.failure import FAILURE_NAME
from sealroom.runtime.clock import Clock
from sealroom.runtime.confine import protect_custodian
from sealroom.runtime.gate_client import GateRefused
from sealroom.runtime.launcher import CHANNEL_FOLDER
from sealroom.runtime.lease import LeaseEnded
from sealroom.runtime.run import ENVELOPE_NAME, Order, execute


def main(arguments: list[str], *, clock: Clock | None = None) -> int:
    """Run once; returns the exit status."""
    environment = dict(os.environ)
    try:
        order = _parse(arguments)
        protect_custodian()
        execute(order, environment=environment, report=_report, on_stop=_on_terminate, clock=clock)
    except LeaseEnded as error:
        _report("lease-ended", code=error.end.cause, message=error.end.message)
        return Exit.LEASE_ENDED
    except SealroomError as error:
        status, phase = _outcome(error)
        _report(phase, code=error.code, message=error.message)
        return status
    except Exception as error:  # outermost; what it says could hold data, so only its type is told
        _report(
            "failed", code=Code.INTERNAL_ERROR, message=f"the custodian stopped on {type(error).__name__}"
        )
        return Exit.JOB_FAILED
    return Exit.DONE


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


def _report(phase: str, **facts: Any) -> None:
    # One write a line: the lease's thread reports, too.
    sys.stdout.write(json.dumps({"phase": phase, **facts}) + "\n")
    sys.stdout.flush()
