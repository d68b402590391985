# SPDX-License-Identifier: Apache-2.0
"""Read a dstack event log, replay it into RTMR0 to RTMR3, and take the claims from it.

The log is untrusted: only its replay counts, and only when it equals the four registers of the quote. For
RTMR3 the digests that the log carries are never used; each is recomputed from name and payload (AT-15).
dstack has two versions of runtime events, which differ in what is hashed; a log has one of them throughout,
and the platform policy says which are accepted (AT-18).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, strict_json
from sealroom.errors import FormatError
from sealroom_agents.errors import AttestationError

MAX_LOG_BYTES = 1024 * 1024
"""Largest event log, UTF-8."""
MAX_EVENTS = 512
"""Most events in a log; real ones have about 30."""
MAX_KEY_PROVIDER_BYTES = 4096
"""Largest payload of the `key-provider` event."""

RUNTIME_EVENT = 0x08000001
"""Event type of everything that the dstack guest extends into RTMR3."""
ACPI_EVENT = 10
"""Event type of ACPI tables in RTMR0."""
REGISTER_BYTES = 48
"""SHA-384."""

BOOT_DONE = "boot-mr-done"
READY = "system-ready"

_LENGTHS = {
    "system-preparing": (0,),
    "app-id": (20,),
    "compose-hash": (32,),
    "instance-id": (0, 20),
    BOOT_DONE: (0,),
    "init-script-hash": (32,),
    "gpu-policy-hash": (32,),
    "mr-kms": (32,),
    "os-image-hash": (32,),
    READY: (0,),
}
"""Payload lengths, bytes. Fixed, so that a name and its payload can be split in one way only (AT-17)."""

_BEFORE_BOOT_DONE = ("app-id", "compose-hash", "instance-id")
_BEFORE_READY = ("os-image-hash", "key-provider")
_MAYBE_BEFORE_BOOT_DONE = ("init-script-hash", "gpu-policy-hash", "gpu-attestation")
_MAYBE_BEFORE_READY = ("mr-kms", "storage-fs")
_RESERVED = frozenset({*_LENGTHS, *_BEFORE_READY, *_MAYBE_BEFORE_BOOT_DONE, *_MAYBE_BEFORE_READY})
"""Names that may stand once in a log, before or after `system-ready` (AT-16)."""
_REPEATED = "init-script-hash"
"""The one name that stands as often as there are scripts, before `boot-mr-done`."""
MAX_INIT_SCRIPTS = 5

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_EVENT_FIELDS = frozenset({"imr", "event_type", "digest", "event", "event_payload"})
_VERSION_FIELDS = frozenset({"version", "preimage"})
"""Besides these, in a runtime event of version 2."""
VERSIONS = frozenset({1, 2})
"""Versions of the log that are known."""


@dataclass(frozen=True)
class LoggedEvent:
    """One event as the log tells it."""

    imr: int
    """Register, 0 to 3."""
    type: int
    """Event type, 32 bits."""
    name: str
    """Name of a runtime event."""
    payload: bytes
    """What was measured; for RTMR0 to RTMR2 only a description."""
    digest: bytes
    """What was extended, 48 bytes: recomputed for RTMR3, as listed for the others."""
    version: int = 1
    """By which rule a runtime event is hashed."""


@dataclass(frozen=True)
class Claims:
    """What the guest measured of itself before anything of the app could run."""

    app_id: bytes
    """20 bytes."""
    compose_hash: bytes
    """SHA-256 of the raw app-compose bytes."""
    instance_id: bytes
    """20 bytes, or empty."""
    os_image_hash: bytes
    """Digest of the OS image, 32 bytes."""
    key_provider: str
    """Name of the key provider, such as `kms`."""
    key_provider_id: bytes
    """Its id: for `kms` the SubjectPublicKeyInfo of its root CA."""
    key_provider_info: bytes
    """The payload of the event as it was measured."""
    init_script_hashes: tuple[bytes, ...] = ()
    """SHA-256 of each script that runs before the app, in their order; only newer guests measure them."""
    gpu_policy_hash: bytes = b""
    """SHA-256 of the app's GPU policy, 32 bytes, or empty where the guest measured none."""
    gpu_attestation: bytes = b""
    """What the guest says of its check of the GPUs at boot, JSON, or empty."""


@dataclass(frozen=True)
class EventLog:
    """A log that is well formed and consistent in itself."""

    events: tuple[LoggedEvent, ...]
    """In the order of measuring."""

    def replay(self, imr: int) -> bytes:
        """The register that these events make: zeros, then SHA-384(register ‖ digest) for each."""
        register = bytes(REGISTER_BYTES)
        for event in self.events:
            if event.imr == imr:
                register = hashlib.sha384(register + event.digest).digest()
        return register

    def registers(self) -> tuple[bytes, bytes, bytes, bytes]:
        """RTMR0 to RTMR3 after all events."""
        return self.replay(0), self.replay(1), self.replay(2), self.replay(3)

    @property
    def is_stripped(self) -> bool:
        """Whether firmware's events are left out, but for those of ACPI tables."""
        return all(event.imr == 3 or (event.imr, event.type) == (0, ACPI_EVENT) for event in self.events)

    def acpi(self) -> tuple[bytes, ...]:
        """Digests of the ACPI tables that the host made, as they were extended into RTMR0."""
        return tuple(event.digest for event in self.events if (event.imr, event.type) == (0, ACPI_EVENT))

    def claims(self) -> Claims:
        """The guest's claims, each measured exactly once and in its place.

        Raises `AttestationError` `event-log-duplicate` when a name is there twice,
        `event-log-mismatch` for everything else.
        """
        position, scripts = self._positions()
        for name in (BOOT_DONE, READY, *_BEFORE_BOOT_DONE, *_BEFORE_READY):
            if name not in position:
                _mismatch(f"the event {name} is missing")
        for bound, names in (
            (BOOT_DONE, (*_BEFORE_BOOT_DONE, *_MAYBE_BEFORE_BOOT_DONE)),
            (READY, (BOOT_DONE, *_BEFORE_READY, *_MAYBE_BEFORE_READY)),
        ):
            for name in names:
                if position.get(name, -1) > position[bound]:
                    _mismatch(f"the event {name} comes after {bound}")
        payload = {name: self.events[index].payload for name, index in position.items()}
        provider, provider_id = _key_provider(payload["key-provider"])
        return Claims(
            app_id=payload["app-id"],
            compose_hash=payload["compose-hash"],
            instance_id=payload["instance-id"],
            os_image_hash=payload["os-image-hash"],
            key_provider=provider,
            key_provider_id=provider_id,
            key_provider_info=payload["key-provider"],
            init_script_hashes=scripts,
            gpu_policy_hash=payload.get("gpu-policy-hash", b""),
            gpu_attestation=payload.get("gpu-attestation", b""),
        )

    def _positions(self) -> tuple[dict[str, int], tuple[bytes, ...]]:
        """Position of the first event of each name, and the hashes of all scripts. A name that comes twice
        before `system-ready` is refused (AT-16), but for scripts before the boot is done."""
        position: dict[str, int] = {}
        scripts: list[bytes] = []
        for index, event in enumerate(self.events):
            if event.imr != 3:
                continue
            if event.name == _REPEATED and BOOT_DONE not in position:
                scripts.append(event.payload)
                position.setdefault(event.name, index)
                continue
            # After system-ready the app may extend what it likes, as often as it
            # likes, under names of its own.
            if event.name in position and (READY not in position or event.name in _RESERVED):
                raise AttestationError(Code.EVENT_LOG_DUPLICATE, f"the event {event.name} was measured twice")
            position.setdefault(event.name, index)
        if len(scripts) > MAX_INIT_SCRIPTS:
            _mismatch(f"{len(scripts)} scripts ran before the app, at most {MAX_INIT_SCRIPTS}")
        return position, tuple(scripts)


def read_event_log(text: str, *, versions: frozenset[int] = VERSIONS) -> EventLog:
    """Parse an event log, the JSON text that GetQuote returns, of one of `versions`.

    Raises `AttestationError`: `evidence-too-large`; `event-log-mismatch` for anything that isn't exactly a
    log of one known version whose listed RTMR3 digests, where present, equal the recomputed ones;
    `event-log-version` for a log of another version than `versions`.
    """
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_LOG_BYTES:
        raise AttestationError(
            Code.EVIDENCE_TOO_LARGE, f"the event log has {len(data)} bytes, at most {MAX_LOG_BYTES}"
        )
    # A log is one array of flat objects. Counting brackets first keeps nested ones away from
    # the parser, whose recursion ends in a crash where a library has raised Python's limit
    # (py-ecc, which Ape loads, does).
    if data.count(b"[") > 1:
        _mismatch("the event log is not one JSON array of events")
    if data.count(b"{") > MAX_EVENTS:
        raise AttestationError(Code.EVIDENCE_TOO_LARGE, f"the event log has more than {MAX_EVENTS} events")
    try:
        records = json.loads(data, object_pairs_hook=_no_duplicate_fields, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        _mismatch("the event log is not JSON")
    if not isinstance(records, list):
        _mismatch("the event log is not a JSON array")
    events = tuple(_event(record) for record in records)
    found = {event.version for event in events if event.imr == 3}
    if len(found) > 1:
        _mismatch("the events of RTMR3 are of two versions")
    if not found <= versions:
        accepted = " or ".join(map(str, sorted(versions)))
        raise AttestationError(
            Code.EVENT_LOG_VERSION, f"the event log is of version {min(found)}, and accepted is {accepted}"
        )
    return EventLog(events=events)


def preimage_of(name: str, payload: bytes, version: int) -> bytes:
    """What is hashed of a dstack runtime event. Version 1: type as u32 little-endian ‖ ":" ‖ name ‖ ":" ‖
    payload. Version 2: the canonical JSON of name, payload and type."""
    if version == 2:
        return canonical({"name": name, "payload": payload.hex(), "type": RUNTIME_EVENT})
    return RUNTIME_EVENT.to_bytes(4, "little") + b":" + name.encode() + b":" + payload


def _event(record: Any) -> LoggedEvent:
    if not isinstance(record, dict) or record.keys() - _VERSION_FIELDS != _EVENT_FIELDS:
        _mismatch("an event has other fields than an event log")
    version = _version(record)
    imr = _integer(record["imr"], high=3)
    type_ = _integer(record["event_type"], high=0xFFFFFFFF)
    name = record["event"]
    if not isinstance(name, str):
        _mismatch("an event's name is not text")
    payload, listed = _hex(record["event_payload"]), _hex(record["digest"])
    if imr != 3:
        if version != 1:
            _mismatch(f"an event of RTMR{imr} has a version")
        if type_ == RUNTIME_EVENT or len(listed) != REGISTER_BYTES:
            _mismatch(f"an event of RTMR{imr} is no boot event")
        return LoggedEvent(imr=imr, type=type_, name=name, payload=payload, digest=listed)
    if type_ != RUNTIME_EVENT:
        _mismatch("an event of RTMR3 is no dstack runtime event")
    if _NAME.fullmatch(name) is None:
        _mismatch("a runtime event has a name with characters that no name has")
    if name in _LENGTHS and len(payload) not in _LENGTHS[name]:
        _mismatch(f"the event {name} has a payload of {len(payload)} bytes")
    preimage = preimage_of(name, payload, version)
    if "preimage" in record and _hex(record["preimage"]) != preimage:
        _mismatch(f"the preimage of the event {name} is not that of its payload")
    digest = hashlib.sha384(preimage).digest()
    # From 0.5.6 on, dstack leaves the digests of runtime events out.
    if listed and listed != digest:
        _mismatch(f"the digest of the event {name} is not that of its payload")
    return LoggedEvent(imr=imr, type=type_, name=name, payload=payload, digest=digest, version=version)


def _version(record: dict[str, Any]) -> int:
    """Version of an event: 1 has neither the member nor a preimage."""
    if "version" not in record and "preimage" not in record:
        return 1
    if record.get("version") != 2 or isinstance(record["version"], bool):
        _mismatch("an event is of no known version")
    return 2


def _key_provider(payload: bytes) -> tuple[str, bytes]:
    try:
        fields = Fields(strict_json(payload, MAX_KEY_PROVIDER_BYTES), "key-provider")
        name, provider_id = (
            fields.text("name", limit=64),
            fields.text("id", limit=MAX_KEY_PROVIDER_BYTES, empty=True),
        )
        fields.done()
    except FormatError as error:
        raise AttestationError(
            Code.EVENT_LOG_MISMATCH, f"the event key-provider is malformed: {error}"
        ) from error
    return name, _hex(provider_id)


def _integer(value: Any, *, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        _mismatch("an event has a number out of range")
    return value


def _hex(value: Any) -> bytes:
    if not isinstance(value, str) or _HEX.fullmatch(value) is None:
        _mismatch("an event has bytes that are not lower-case hex")
    return bytes.fromhex(value)


def _no_duplicate_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        _mismatch("an event has one field twice")
    return record


def _no_constant(name: str) -> NoReturn:
    _mismatch(f"{name} is not a number")


def _mismatch(message: str) -> NoReturn:
    raise AttestationError(Code.EVENT_LOG_MISMATCH, message)
