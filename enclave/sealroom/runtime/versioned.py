# SPDX-License-Identifier: Apache-2.0
"""dstack's versioned attestation, what `Attest` returns: quote, event log, report data, `vm_config` in one.

Version 0 is SCALE and begins with a zero byte; version 1 is a MessagePack map. Of the log both hold what is
needed to replay RTMR3, and the ACPI tables, but no other event of firmware. The enclave hands on what stands
in it, and who verifies reads recordings of it. Source: dstack `dstack-attest/src/attestation.rs`, `v1.rs`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.errors import FormatError

MAX_EVENTS = 512
"""Most events of its log; real ones have about 30."""
MAX_BYTES = 2 * 1024 * 1024
"""Largest attestation; real ones have about 8 KiB."""
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Versioned:
    """What an attestation holds. Nothing of it is verified."""

    version: int
    """Its form: 0 or 1."""
    quote: bytes
    """The TDX quote."""
    event_log: str
    """The event log, in the JSON form of `GetQuote`."""
    report_data: bytes
    """What it says that the quote binds, 64 bytes."""
    vm_config: str
    """What the host says of the machine, JSON text."""


def read_attestation(data: bytes) -> Versioned:
    """Read an attestation of a TDX guest. Raises `FormatError`: `evidence-too-large`, `malformed`;
    `quote-not-tdx` for one of another platform."""
    if len(data) > MAX_BYTES:
        raise FormatError(
            Code.EVIDENCE_TOO_LARGE, f"the attestation has {len(data)} bytes, at most {MAX_BYTES}"
        )
    found = _version_0(data) if data[:1] == b"\0" else _version_1(data)
    if len(found.report_data) != 64:
        _malformed("its report data has not 64 bytes")
    return found


def _log(events: list[dict[str, Any]]) -> str:
    return json.dumps(events, separators=(",", ":"))


# --- version 0 ---------------------------------------------------------------------------------------


class _Scale:
    """The part of SCALE that an attestation has."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> bytes:
        self._place += size
        if self._place > len(self._data):
            _malformed("it is cut off")
        return self._data[self._place - size : self._place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def count(self) -> int:
        first = self.take(1)[0]
        mode = first & 3
        if mode == 0:
            return first >> 2
        if mode == 3:
            _malformed("a part of it is too long")
        return int.from_bytes(bytes([first]) + self.take(1 if mode == 1 else 3), "little") >> 2

    def data(self) -> bytes:
        return self.take(self.count())

    def text(self) -> str:
        return _text(self.data())

    def events(self) -> int:
        found = self.count()
        if found > MAX_EVENTS:
            raise FormatError(Code.EVIDENCE_TOO_LARGE, f"the event log has more than {MAX_EVENTS} events")
        return found

    def done(self) -> None:
        if self._place != len(self._data):
            _malformed("something stands behind it")


def _version_0(data: bytes) -> Versioned:
    scale = _Scale(data)
    scale.take(1)
    if scale.number(1) != 0:
        raise FormatError(Code.QUOTE_NOT_TDX, "the attestation is of another platform than TDX")
    quote = scale.data()
    events = [
        {
            "imr": scale.number(4),
            "event_type": scale.number(4),
            "digest": scale.data().hex(),
            "event": scale.text(),
            "event_payload": scale.data().hex(),
        }
        for _ in range(scale.events())
    ]
    for _ in range(scale.events()):
        # The runtime events once more; the log has them.
        scale.text()
        scale.data()
    report_data, vm_config = scale.take(64), scale.text()
    scale.done()
    return Versioned(0, quote, _log(events), report_data, vm_config)


# --- version 1 ---------------------------------------------------------------------------------------


class _Pack:
    """The part of MessagePack that an attestation has: maps, arrays, text, bytes, nil, booleans, numbers."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def whole(self) -> Any:
        found = self._item(0)
        if self._place != len(self._data):
            _malformed("something stands behind it")
        return found

    def _take(self, size: int) -> bytes:
        self._place += size
        if self._place > len(self._data):
            _malformed("it is cut off")
        return self._data[self._place - size : self._place]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _item(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            _malformed("it is nested too deeply")
        kind = self._take(1)[0]
        if kind < 0x80:
            return kind
        if kind < 0x90:
            return self._map(kind & 15, depth)
        if kind < 0xA0:
            return self._array(kind & 15, depth)
        if kind < 0xC0:
            return _text(self._take(kind & 31))
        simple = {0xC0: None, 0xC2: False, 0xC3: True}
        if kind in simple:
            return simple[kind]
        if 0xC4 <= kind <= 0xC6:
            return self._take(self._number(1 << (kind - 0xC4)))
        if 0xCC <= kind <= 0xCF:
            return self._number(1 << (kind - 0xCC))
        if 0xD9 <= kind <= 0xDB:
            return _text(self._take(self._number(1 << (kind - 0xD9))))
        if kind in (0xDC, 0xDD):
            return self._array(self._number(2 << (kind - 0xDC)), depth)
        if kind in (0xDE, 0xDF):
            return self._map(self._number(2 << (kind - 0xDE)), depth)
        _malformed("it has MessagePack of another form")

    def _array(self, size: int, depth: int) -> list[Any]:
        if size > len(self._data):
            _malformed("it is cut off")
        return [self._item(depth + 1) for _ in range(size)]

    def _map(self, size: int, depth: int) -> dict[Any, Any]:
        if size > len(self._data):
            _malformed("it is cut off")
        found: dict[Any, Any] = {}
        for _ in range(size):
            name = self._item(_MAX_DEPTH)
            if not isinstance(name, str) or name in found:
                _malformed("it has a member twice, or one without a name")
            found[name] = self._item(depth + 1)
        return found


def _version_1(data: bytes) -> Versioned:
    whole = _Pack(data).whole()
    if not isinstance(whole, dict) or whole.get("version") != 1:
        _malformed("it is of no known version")
    platform, stack = _map(whole, "platform"), _map(whole, "stack")
    if platform.get("kind") != "tdx":
        raise FormatError(Code.QUOTE_NOT_TDX, "the attestation is of another platform than TDX")
    evidence, guest = _map(platform, "data"), _map(stack, "data")
    listed, vm_config = evidence.get("event_log"), guest.get("config")
    if not isinstance(listed, list) or not isinstance(vm_config, str):
        _malformed("it lacks event log or configuration")
    if len(listed) > MAX_EVENTS:
        raise FormatError(Code.EVIDENCE_TOO_LARGE, f"the event log has more than {MAX_EVENTS} events")
    events = []
    for event in listed:
        if not isinstance(event, dict):
            _malformed("an event of it is none")
        hexed = {name: _bytes(event[name]).hex() for name in _BYTES if name in event}
        events.append({"digest": "", **event, **hexed})
    try:
        log = _log(events)
    except TypeError:
        _malformed("an event of it is none")
    return Versioned(1, _bytes(evidence.get("quote")), log, _bytes(guest.get("report_data")), vm_config)


_BYTES = ("digest", "event_payload", "preimage")


def _map(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    if not isinstance(found, dict):
        _malformed(f"it lacks {name}")
    return found


def _bytes(value: Any) -> bytes:
    """Bytes, which Rust writes as such or as an array of numbers."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(type(one) is int and one < 256 for one in value):
        return bytes(value)
    _malformed("a part of it is not bytes")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        _malformed("a text of it is not UTF-8")


def _malformed(why: str) -> NoReturn:
    raise FormatError(Code.MALFORMED, f"the attestation is malformed: {why}")
