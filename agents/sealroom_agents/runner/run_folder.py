# SPDX-License-Identifier: Apache-2.0
"""What an enclave leaves in its run's folder on the runner's disk: an envelope, or a failure file."""

from __future__ import annotations

import re
from pathlib import Path

from sealroom.codes import Code
from sealroom.envelope import MAX_ENVELOPE_BYTES
from sealroom.failure import FAILURE_NAME, MAX_FAILURE_BYTES
from sealroom_agents.errors import RunnerError

OUT = "out"
"""The folder in it."""
ENVELOPE_NAME = "envelope.json"
LIMITS = {ENVELOPE_NAME: MAX_ENVELOPE_BYTES, FAILURE_NAME: MAX_FAILURE_BYTES}
"""Most bytes of each outcome, by its name."""
_RUN_FOLDER = re.compile(r"[0-9a-f]{64}")


def folder_of(state: Path, run_id: str) -> Path:
    """The folder of a run."""
    return state.absolute() / run_id.removeprefix("0x")


def known(state: Path) -> list[str]:
    """Ids of the runs that have a folder: those that are named as run ids are."""
    names = sorted(path.name for path in state.glob("*") if path.is_dir())
    return ["0x" + name for name in names if _RUN_FOLDER.fullmatch(name)]


def read_envelope(folder: Path) -> bytes:
    """The envelope, which appears whole or not at all. Raises `RunnerError` `no-envelope`."""
    try:
        with (folder / OUT / ENVELOPE_NAME).open("rb") as stream:
            data = stream.read(MAX_ENVELOPE_BYTES + 1)
    except OSError as error:
        raise RunnerError(Code.NO_ENVELOPE, "the enclave left no envelope") from error
    if len(data) > MAX_ENVELOPE_BYTES:
        raise RunnerError(Code.NO_ENVELOPE, f"the envelope is larger than {MAX_ENVELOPE_BYTES} bytes")
    return data


def read_failure(folder: Path) -> bytes | None:
    """The failure file; `None` where there is none, or one that is too large."""
    try:
        with (folder / OUT / FAILURE_NAME).open("rb") as stream:
            data = stream.read(MAX_FAILURE_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_FAILURE_BYTES else None
