# SPDX-License-Identifier: Apache-2.0
"""What a simulated dstack guest measures while it boots: event log and registers.

Written apart from `attestation.eventlog`, which reads such logs, and on purpose without its help: a mistake
in one shows against the other. Order and digests are those of dstack 0.5.11 (guest `system_setup`, event
log version 1).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sealroom_agents.simulator.pki import LABEL

RUNTIME_EVENT = 0x08000001
"""Event type of everything that dstack extends into RTMR3."""
_BOOT_EVENT = 0x80000001

SIMULATED_OS_IMAGE = hashlib.sha256(f"{LABEL}: OS image".encode()).digest()
"""Digest of the one OS image that simulated machines boot."""


@dataclass(frozen=True)
class Event:
    """One entry of the event log."""

    imr: int
    """Register it was extended into, 0 to 3."""
    type: int
    """Event type."""
    name: str
    """Name of a runtime event; empty for a boot event."""
    payload: bytes
    """What was measured, or for a boot event what describes it."""
    digest: bytes
    """The 48 bytes that were extended."""
    version: int = 1
    """Version of the event log, 1 or 2: by which rule a runtime event is hashed."""


@dataclass(frozen=True)
class Measurements:
    """The registers of one simulated TD, 48 bytes each."""

    mr_td: bytes
    """MRTD."""
    rt_mr: tuple[bytes, bytes, bytes, bytes]
    """RTMR0 to RTMR3."""
    mr_config_id: bytes
    """Version 1 of dstack's configuration id: 01 ‖ compose hash ‖ zeros."""


def runtime_event(name: str, payload: bytes = b"", *, version: int = 1) -> Event:
    """A dstack event as the guest measures it: SHA-384 over type, name and payload."""
    return Event(
        imr=3,
        type=RUNTIME_EVENT,
        name=name,
        payload=payload,
        digest=hashlib.sha384(_preimage(name, payload, version)).digest(),
        version=version,
    )


def _preimage(name: str, payload: bytes, version: int) -> bytes:
    if version == 1:
        return RUNTIME_EVENT.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
    content = {"name": name, "payload": payload.hex(), "type": RUNTIME_EVENT}
    return json.dumps(content, separators=(",", ":")).encode()


def boot_events(os_image: bytes) -> list[Event]:
    """Stand-ins for firmware, kernel and command line: one event for each of RTMR0 to RTMR2."""
    return [
        Event(
            imr=imr,
            type=_BOOT_EVENT,
            name="",
            payload=b"",
            digest=hashlib.sha384(f"{LABEL}: boot {imr}".encode() + os_image).digest(),
        )
        for imr in range(3)
    ]


def guest_events(
    *,
    app_id: bytes,
    compose_hash: bytes,
    instance_id: bytes,
    os_image: bytes,
    key_provider: str,
    key_provider_id: bytes,
) -> list[Event]:
    """What the guest extends into RTMR3, in dstack's order."""
    provider = json.dumps({"name": key_provider, "id": key_provider_id.hex()}, separators=(",", ":"))
    return [
        runtime_event("system-preparing"),
        runtime_event("app-id", app_id),
        runtime_event("compose-hash", compose_hash),
        runtime_event("instance-id", instance_id),
        runtime_event("boot-mr-done"),
        runtime_event("os-image-hash", os_image),
        runtime_event("key-provider", provider.encode()),
        runtime_event("storage-fs", b"ext4"),
        runtime_event("system-ready"),
    ]


def extend(events: Iterable[Event], imr: int) -> bytes:
    """The register after all events of `imr`: it starts as zeros, and each event appends its digest."""
    register = bytes(48)
    for event in events:
        if event.imr == imr:
            register = hashlib.sha384(register + event.digest).digest()
    return register


def firmware_measurement(os_image: bytes) -> bytes:
    """MRTD of a machine that boots `os_image`."""
    return hashlib.sha384(f"{LABEL}: firmware".encode() + os_image).digest()


def measure(events: Sequence[Event], *, os_image: bytes, compose_hash: bytes) -> Measurements:
    """The registers after all `events`."""
    return Measurements(
        mr_td=firmware_measurement(os_image),
        rt_mr=(extend(events, 0), extend(events, 1), extend(events, 2), extend(events, 3)),
        mr_config_id=b"\x01" + compose_hash + bytes(15),
    )


def edit_event(events: Sequence[Event], name: str, **changes: object) -> list[Event]:
    """The log with the event `name` changed and its digest kept: what a forger hands in."""
    return [replace(event, **changes) if event.name == name else event for event in events]  # type: ignore[arg-type]


def to_records(events: Iterable[Event], *, strip_digests: bool = False) -> list[dict[str, object]]:
    """The log in the guest agent's JSON form; newer agents leave out the digests of runtime events."""
    return [
        {
            "imr": event.imr,
            "event_type": event.type,
            "digest": "" if strip_digests and event.type == RUNTIME_EVENT else event.digest.hex(),
            "event": event.name,
            "event_payload": event.payload.hex(),
            **(
                {}
                if event.version == 1
                else {
                    "version": event.version,
                    "preimage": _preimage(event.name, event.payload, event.version).hex(),
                }
            ),
        }
        for event in events
    ]


def to_json(events: Iterable[Event], *, strip_digests: bool = False) -> str:
    """The event log as the text that GetQuote returns."""
    return json.dumps(to_records(events, strip_digests=strip_digests), separators=(",", ":"))
