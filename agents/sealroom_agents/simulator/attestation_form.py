# SPDX-License-Identifier: Apache-2.0
"""dstack's versioned attestation as a guest writes it: version 0 in SCALE, version 1 in MessagePack.

Written apart from `sealroom.runtime.versioned`, which reads it, and without its help: a mistake in one shows
against the other. Of the log both have RTMR3's events alone. Source: dstack
`dstack-attest/src/attestation.rs` and `v1.rs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sealroom_agents.simulator.measurement import RUNTIME_EVENT, Event


def encode_attestation(
    version: int, *, quote: bytes, events: Iterable[Event], report_data: bytes, vm_config: str
) -> bytes:
    """The attestation of that version, 0 or 1. report_data: 64 bytes."""
    measured = [event for event in events if event.imr == 3]
    runtime = [event for event in measured if event.type == RUNTIME_EVENT]
    if version == 0:
        return (
            b"\0\0"
            + _data(quote)
            + _many(
                event.imr.to_bytes(4, "little") + event.type.to_bytes(4, "little") + _data(event.digest)
                + _data(event.name.encode()) + _data(event.payload)
                for event in measured
            )
            + _many(_data(event.name.encode()) + _data(event.payload) for event in runtime)
            + report_data
            + _data(vm_config.encode())
        )  # fmt: skip
    return _packed(
        {
            "version": 1,
            "platform": {
                "kind": "tdx",
                "data": {"quote": quote, "event_log": [_logged(one) for one in measured]},
            },
            "stack": {
                "kind": "dstack",
                "data": {
                    "report_data": report_data,
                    "runtime_events": [{"event": one.name, "payload": one.payload} for one in runtime],
                    "config": vm_config,
                },
            },
        }
    )


def _logged(event: Event) -> dict[str, Any]:
    return {
        "imr": event.imr, "event_type": event.type, "digest": event.digest, "event": event.name,
        "event_payload": event.payload,
    }  # fmt: skip


# --- SCALE -------------------------------------------------------------------------------------------


def _count(size: int) -> bytes:
    """A compact number below 2^30."""
    for mode, room in ((0, 1), (1, 2), (2, 4)):
        if size < 1 << (8 * room - 2):
            return (size << 2 | mode).to_bytes(room, "little")
    raise ValueError("a part of an attestation is too long")


def _data(data: bytes) -> bytes:
    return _count(len(data)) + data


def _many(parts: Iterable[bytes]) -> bytes:
    found = list(parts)
    return _count(len(found)) + b"".join(found)


# --- MessagePack -------------------------------------------------------------------------------------


def _packed(value: Any) -> bytes:
    """Maps by name and bytes as arrays of numbers, as Rust's serde writes them where nothing else is said."""
    if isinstance(value, Mapping):
        return _head(len(value), 0x80, 15, 0xDE) + b"".join(
            _packed(part) for pair in value.items() for part in pair
        )
    if isinstance(value, list | bytes):
        return _head(len(value), 0x90, 15, 0xDC) + b"".join(map(_packed, value))
    if isinstance(value, str):
        data = value.encode()
        if len(data) < 32:
            return bytes([0xA0 | len(data)]) + data
        return b"\xdb" + len(data).to_bytes(4, "big") + data
    if value < 0x80:
        return bytes([value])
    return bytes([0xCC, value]) if value < 0x100 else b"\xce" + int(value).to_bytes(4, "big")


def _head(size: int, small: int, most: int, large: int) -> bytes:
    return bytes([small | size]) if size <= most else bytes([large + 1]) + size.to_bytes(4, "big")
