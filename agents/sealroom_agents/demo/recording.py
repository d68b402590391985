# SPDX-License-Identifier: Apache-2.0
"""Puts down what the demo showed, and what a central pipeline makes of the same files, for the page `/how`.

All of it is read where it was left: the files, the chain, the console, the envelope.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from sealroom.encoding import canonical, strict_json, to_base64
from sealroom.envelope import parse_envelope
from sealroom.errors import SealroomError
from sealroom.files import PUBLIC, write_atomic
from sealroom.recipe import DatasetSpec
from sealroom.sealed.archive import part_name
from sealroom_agents.attestation import load_simulated_root
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.demo.runs import look, published, registration
from sealroom_agents.errors import DemoError
from sealroom_agents.local.room import Room
from sealroom_agents.local.steps import recipe_of
from sealroom_agents.verification import PIN_LIMIT_BYTES, parse_pin, verdict_of, verify
from sealroom_agents.walk import central
from sealroom_agents.walk.document import (
    HEAD_BYTES,
    Approval,
    Approved,
    Document,
    Phase,
    Place,
    Refused,
    Revoked,
    Sealed,
    read,
)

TIMEOUT_S = 20
PAGES = 20
"""Pages of the history that are read, at most."""


@dataclass(frozen=True)
class Shown:
    """What a demo showed, where no file or chain tells it."""

    room: Room
    made_up: bool
    """Whether the people are nobody's."""
    run: str
    changed: Refused
    """What an enclave got whose recipe differs by one byte."""
    one_byte: tuple[bytes, bytes]
    """The byte's surroundings in the recipe, and what stood there instead."""
    revoked: str
    """The run that a revocation ended."""
    late: str
    """The run that was asked for after it."""


def record(shown: Shown, target: Path, *, command: str) -> None:
    """Write the recording. Raises `DemoError` where something is missing or does not hold."""
    try:
        data = _document(shown, command).encode()
        read(data)
        write_atomic(target, data + b"\n", mode=PUBLIC, replace=True)
    except (SealroomError, OSError, httpx.HTTPError) as error:
        raise DemoError(f"the run could not be recorded: {error}") from error


def _document(shown: Shown, command: str) -> Document:
    room = shown.room
    recipe, history = recipe_of(room), _History.of(room)
    envelope = published(room, shown.run)
    trust, pin = load_simulated_root(room.places.root), room.places.pin.read_bytes()
    known = parse_pin(pin)
    links = verify(parse_envelope(canonical(envelope)), trust=trust, pin=known, now=int(time.time()))
    verdict = verdict_of(links, pin=known, on_chain=False, simulated=trust.is_simulated)
    if verdict.broken is not None:
        raise DemoError(f"a run is recorded whose envelope breaks at {verdict.broken.name}")
    files = {spec.path: _plain(room, spec) for spec in recipe.datasets}
    return Document(
        version=1,
        recorded=int(time.time()),
        command=command,
        people="made-up" if shown.made_up else "public",
        simulated=trust.is_simulated,
        sealed=[_sealed(room, spec, files[spec.path], history) for spec in recipe.datasets],
        approved=_approved(room, envelope, history),
        changed=shown.changed,
        opened=history.place("run-opened"),
        phases=[one for one in _phases(room, shown.run) if one.phase in COMPUTING],
        revoked=_revoked(room, shown, history),
        central=central.run(recipe, files, envelope["result"]["fields"], one_byte=shown.one_byte),
        links=[link.name for link in links],
        verdict=str(verdict.outcome),
        envelope=envelope,
        pin=strict_json(pin, PIN_LIMIT_BYTES),
        root=to_base64(room.places.root.read_bytes()),
    )


def _plain(room: Room, spec: DatasetSpec) -> Path:
    """The file of an owner as it was before it was sealed."""
    return room.folder / "homes" / f"{spec.name}.parquet"


class _History:
    """What the console tells of the consortium, oldest first."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines

    @classmethod
    def of(cls, room: Room) -> _History:
        """Read page by page."""
        lines: list[dict[str, Any]] = []
        for _ in range(PAGES):
            url = f"{room.console}/v1/studies/{room.consortium}/history"
            answer = httpx.get(url, params={"from": len(lines)}, timeout=TIMEOUT_S).raise_for_status().json()
            lines += answer["activities"]
            if len(lines) >= answer["total"]:
                return cls(lines[::-1])
        raise DemoError("the consortium's history is longer than a demo's")

    def first(self, kind: str, **told: str) -> dict[str, Any]:
        """The first line of a kind whose members are as told. Raises `DemoError`."""
        for line in self._lines:
            if line["kind"] == kind and all(line[name] == value for name, value in told.items()):
                return line
        raise DemoError(f"the history has no {kind}")

    def place(self, kind: str, **told: str) -> Place:
        """Where that line stands."""
        line = self.first(kind, **told)
        return Place(block=line["block"], tx=line["tx"])

    def block(self, tx: str) -> int:
        """The block of a transaction. Raises `DemoError`."""
        for line in self._lines:
            if line["tx"] == tx:
                return int(line["block"])
        raise DemoError(f"the history has no transaction {tx}")


def _sealed(room: Room, spec: DatasetSpec, plain: Path, history: _History) -> Sealed:
    archive = room.places.sealed / spec.owner / f"{spec.name}.tar"
    with tarfile.open(archive) as members:
        part = members.extractfile(part_name(0))
        if part is None:
            raise DemoError(f"{archive} has no part")
        head = part.read(HEAD_BYTES)
    done = registration(room, spec.owner, spec.name)
    return Sealed(
        owner=spec.owner,
        name=spec.name,
        rows=done["version"]["rows"],
        plain_bytes=plain.stat().st_size,
        sealed_bytes=archive.stat().st_size,
        dataset=done["dataset"],
        head=head.hex(),
        at=history.place("dataset-registered", who=spec.owner),
    )


def _approved(room: Room, envelope: Mapping[str, Any], history: _History) -> Approved:
    """The approvals that the envelope names. Who sent its own transaction approved by it, the others by a
    signature that somebody handed in."""
    rpc = Rpc(room.rpc)
    names = {account: owner for owner, account in room.owners.items()}
    found = []
    for one in envelope["anchor"]["approvals"]:
        sender = rpc.request("eth_getTransactionByHash", [one["tx"]])["from"]
        by: Literal["transaction", "signature"] = (
            "transaction" if sender.lower() == one["owner"] else "signature"
        )
        at = Place(block=history.block(one["tx"]), tx=one["tx"])
        found.append(Approval(owner=names[one["owner"]], by=by, at=at))
    return Approved(
        threshold=room.threshold,
        owners=len(room.owners),
        approvals=sorted(found, key=lambda one: (one.at.block, one.owner)),
        pinned=history.place("study-pinned"),
    )


def _phases(room: Room, run: str) -> list[Phase]:
    events = look(room, run)["events"]
    return [
        Phase(phase=one["phase"], time_ms=round(1000 * one["time"]), message=one["message"]) for one in events
    ]


def _revoked(room: Room, shown: Shown, history: _History) -> Revoked:
    line, late = history.first("revoked"), look(room, shown.late)
    return Revoked(
        owner=line["who"],
        reason=line["reason"],
        at=Place(block=line["block"], tx=line["tx"]),
        time=line["time"],
        run=shown.revoked,
        events=[one for one in _phases(room, shown.revoked) if one.phase in ENDING],
        third=Refused.of(late),
    )


COMPUTING = ("granted", "computing", "emitting", "anchoring", "done")
"""What of the first run is put down, from the release of its keys."""
ENDING = ("emitting", "lease-ended", "killed")
"""What may happen to a run that is revoked while it computes."""
