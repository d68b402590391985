# SPDX-License-Identifier: Apache-2.0
"""Evidence of a machine as somebody recorded it: a folder, or one JSON file as a guest agent answers.

FOLDER/quote.bin            the quote
FOLDER/event_log.json       the event log
FOLDER/collateral.json      Intel's collateral of that day, JSON of `QuoteCollateralV3`; may be missing
FOLDER/app-compose.json     what booted, byte for byte; may be missing
FOLDER/app_cert_chain.pem   the app's certificates; may be missing
FOLDER/info.json            what the guest or host says of the machine, with `vm_config`; may be missing

FILE  {"quote", "event_log", "vm_config"} as `GetQuote` answers, or {"attestation"} as `Attest` does
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.attestation.eventlog import MAX_LOG_BYTES
from sealroom_agents.attestation.kms_identity import MAX_CHAIN_BYTES
from sealroom_agents.attestation.quote import MAX_COLLATERAL_BYTES, MAX_QUOTE_BYTES
from sealroom_agents.attestation.versioned import MAX_BYTES, read_attestation
from sealroom_agents.errors import ToolError

MAX_COMPOSE_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 2 * MAX_BYTES + 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was recorded; nothing of it is verified. `None` and empty are what is missing."""

    quote: bytes
    """The quote."""
    event_log: str
    """The event log, JSON text."""
    vm_config: str = ""
    """What the host says of the machine, JSON text."""
    collateral: dict[str, Any] | None = None
    """Intel's collateral."""
    app_compose: bytes | None = None
    """What booted."""
    app_chain: bytes | None = None
    """The app's certificates, PEM."""


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises `ToolError` `recording-malformed`, and `AttestationError` as
    `read_attestation` does."""
    try:
        return _folder(path) if path.is_dir() else _answer(path)
    except OSError as error:
        raise ToolError(Code.RECORDING_MALFORMED, f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, SealroomError):
            raise
        raise ToolError(Code.RECORDING_MALFORMED, f"{path} is no recording of evidence: {error}") from error


def _folder(folder: Path) -> Recording:
    def part(name: str, limit: int) -> bytes | None:
        place = folder / name
        return _bounded(place, limit) if place.is_file() else None

    quote, log = part("quote.bin", MAX_QUOTE_BYTES), part("event_log.json", MAX_LOG_BYTES)
    if quote is None or log is None:
        raise ToolError(
            Code.RECORDING_MALFORMED,
            f"{folder} is no recording of evidence: it lacks quote.bin or event_log.json",
        )
    collateral, info = part("collateral.json", MAX_COLLATERAL_BYTES), part("info.json", MAX_ANSWER_BYTES)
    said = {} if info is None else _object(info)
    return Recording(
        quote=quote,
        event_log=log.decode(),
        vm_config=_text(said, "vm_config") if "vm_config" in said else "",
        collateral=None if collateral is None else _object(collateral),
        app_compose=part("app-compose.json", MAX_COMPOSE_BYTES),
        app_chain=part("app_cert_chain.pem", MAX_CHAIN_BYTES),
    )


def _answer(path: Path) -> Recording:
    answer = _object(_bounded(path, MAX_ANSWER_BYTES))
    if "attestation" in answer:
        found = read_attestation(bytes.fromhex(_text(answer, "attestation")))
        return Recording(quote=found.quote, event_log=found.event_log, vm_config=found.vm_config)
    return Recording(
        quote=bytes.fromhex(_text(answer, "quote")),
        event_log=_text(answer, "event_log"),
        vm_config=_text(answer, "vm_config") if "vm_config" in answer else "",
    )


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ToolError(Code.RECORDING_MALFORMED, f"{path} has more than {limit} bytes")
    return data


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise ValueError(f"it lacks {name}")
    return found
