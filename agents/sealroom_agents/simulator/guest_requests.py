# SPDX-License-Identifier: Apache-2.0
"""Members of a request to the simulated guest agent, each read once, or refused by a `BadRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealroom_agents.simulator.socket_server import BadRequest

MAX_NAME_CHARACTERS = 256
"""Longest path, purpose, domain, algorithm, subject or name of an event."""
MAX_DATA_BYTES = 16 * 1024
"""Most bytes of what is signed, verified or measured."""
MAX_NAMES = 32
"""Most names in a list."""
MAX_TIME = 2**63

Request = Mapping[str, Any]


def text(request: Request, name: str) -> str:
    """A text, empty where it is missing, as proto3 has it."""
    return _name(request.get(name, ""), name)


def texts(request: Request, name: str) -> list[str]:
    """A list of texts."""
    value = request.get(name, [])
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise BadRequest(f"{name} must be a list of at most {MAX_NAMES} texts")
    return [_name(one, name) for one in value]


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARACTERS:
        raise BadRequest(f"{name} must be a text of at most {MAX_NAME_CHARACTERS} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{name} must be Unicode") from error
    return value


def flag(request: Request, name: str) -> bool:
    """A boolean, false where it is missing."""
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false")
    return value


def seconds(request: Request, name: str) -> int | None:
    """A time, unix seconds, or none."""
    value = request.get(name)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_TIME
    ):
        raise BadRequest(f"{name} must be seconds since 1970")
    return value


def blob(request: Request, name: str, *, limit: int = MAX_DATA_BYTES) -> bytes:
    """Bytes in hex, with or without 0x."""
    value = request.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be hex")
    try:
        data = bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise BadRequest(f"{name} must be hex") from error
    if len(data) > limit:
        raise BadRequest(f"{name} is too long: {len(data)} bytes, at most {limit}")
    return data
