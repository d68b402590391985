# SPDX-License-Identifier: Apache-2.0
"""The desk's files: proposals, requests to sign, signatures. Read strictly, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, normal_address, strict_json
from sealroom.errors import FormatError
from sealroom.files import PUBLIC, write_atomic
from sealroom.model import (
    AddMachines,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Machines,
    MachinesProposal,
    Owner,
    Platform,
    PlatformProposal,
    Roster,
    RosterProposal,
    Study,
    Terms,
    Validity,
    Vote,
)
from sealroom.model.base import Record
from sealroom.model.consortium import in_order
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.proposals import Content

MAX_FILE_BYTES = 256 * 1024
"""Largest proposal, request or signature file."""
MAX_SIGNATURE_BYTES = 16 * 1024
"""Signatures of contract wallets hold those of all their owners."""
FORMAT = 2
HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)

BALLOTS: dict[type[Record], type[Vote]] = {
    Study: ApproveStudy,
    PlatformProposal: AdoptPlatform,
    MachinesProposal: AddMachines,
    RosterProposal: ChangeRoster,
}
"""The vote for each kind of content."""
ALIASES = {"SOC2": "SOC 2", "UK-GDPR": "UK GDPR", "UKGDPR": "UK GDPR"}
"""Other ways in which people write regimes."""


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object that a person or a tool wrote. Raises `file-malformed`."""
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ToolError(Code.FILE_TOO_LARGE, f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return strict_json(data, MAX_FILE_BYTES)
    except FormatError as error:
        raise FormatError(error.code, f"{path}: {error.message}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(), mode=PUBLIC, replace=True)


# --- contents ----------------------------------------------------------------------------------------------


def load_terms(path: Path) -> Terms:
    """A study's terms, as `propose` writes them. Datasets may stand in any order."""
    return Terms.of_file(read_json(path), what=str(path))


def load_platform(path: Path) -> Platform:
    """A platform. Images and devices may stand in any order, the signer in any case."""
    given = in_order(read_json(path), "osImages", "devices", what=str(path))
    if "gateSigner" in given:
        given["gateSigner"] = normal_address(given["gateSigner"])
    return Platform.from_json(given, what=str(path))


def load_machines(path: Path) -> Machines:
    """Machines and images to be added, in any order."""
    return Machines.from_json(
        in_order(read_json(path), "osImages", "devices", what=str(path)), what=str(path)
    )


def read_owner(value: Any) -> Owner:
    """An owner as people write it: the address in any case, regimes also by their aliases."""
    given = dict(value) if isinstance(value, dict) else value
    if isinstance(given, dict):
        if "account" in given:
            given["account"] = normal_address(given["account"])
        if isinstance(regimes := given.get("regimes"), list):
            given["regimes"] = [ALIASES.get(str(regime), regime) for regime in regimes]
    name = given.get("id") if isinstance(given, dict) else None
    return Owner.from_json(given, what=None if name is None else f"the owner {str(name)[:32]!r}")


def load_owners(path: Path) -> tuple[Owner, ...]:
    """Owners to be seated: one object, or `{"owners": […]}`."""
    given = read_json(path)
    values = given["owners"] if isinstance(given.get("owners"), list) else [given]
    return tuple(read_owner(value) for value in values)


def load_content(path: Path) -> Content:
    """A proposal with what it follows, as the desk writes it with --out. Raises `FormatError`."""
    return content_in(read_json(path), str(path))


def content_in(given: dict[str, Any], what: str) -> Content:
    """The same from the object. Raises `FormatError`."""
    fields = Fields(given, what)
    fields.version(FORMAT)
    kind = fields.text("kind", limit=16)
    kinds: dict[str, type[Content]] = {
        "study": Study, "platform": PlatformProposal, "machines": MachinesProposal, "roster": RosterProposal,
    }  # fmt: skip
    if kind not in kinds:
        raise FormatError(Code.MALFORMED, f"{what} has kind that is none of {', '.join(kinds)}")
    content = kinds[kind].from_json(fields.object("content"), what=f"the content of {what}")
    fields.done()
    return content


def content_file(kind: str, content: Content) -> dict[str, Any]:
    """What `load_content` reads."""
    return {"version": FORMAT, "kind": kind, "content": content.to_json()}


def in_call(content: Content) -> tuple[Any, ...]:
    """The content as the contract's functions take it: a study alone, all else with its validity."""
    if isinstance(content, Study):
        return (content.solidity(),)
    parts: dict[type[Content], type[Record]] = {
        PlatformProposal: Platform,
        MachinesProposal: Machines,
        RosterProposal: Roster,
    }
    bare = parts[type(content)]
    validity = Validity(expiry=content.expiry, follows=content.follows)
    values = {each.attribute: getattr(content, each.attribute) for each in bare.parts()}
    return bare(**values).solidity(), validity.solidity()
