# SPDX-License-Identifier: Apache-2.0
"""What owners agree on: their roster, the platform, studies, and the votes that they sign.

The contract's twins are the structures of `IConsortium` and the types of `ConsortiumTypes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model.base import AtMost, Label, Part, Record
from sealroom.model.kinds import (
    B32,
    U8,
    U32,
    U64,
    Address,
    Ascii,
    Delta,
    Epsilon,
    Pico,
    Regimes,
    Seconds,
    Text,
    Time,
    UInt,
)
from sealroom.schema import OWNER_ID

MAX_OWNERS = 16
MAX_LIST = 64
"""Most datasets of a study, and most images or devices of a platform, that a reader takes."""
MAX_REASON_BYTES = 256
"""What the contract keeps of a revocation's reason."""

JURISDICTION = re.compile(r"[A-Z]{2}")
OwnerId = Annotated[str, Ascii(32, OWNER_ID)]
"""Name of an owner, such as `hospital-A`."""


@dataclass(frozen=True, kw_only=True)
class Content(Record):
    """The content of a proposal: what owners approve."""

    @cached_property
    def id(self) -> bytes:
        """Id of the proposal, 32 bytes: the EIP-712 struct hash of its content."""
        return self.struct_hash()


@dataclass(frozen=True, kw_only=True)
class Owner(Record, what="an owner"):
    """One owner of a consortium."""

    account: Address
    """Address that votes: an EOA or a contract wallet."""
    jurisdiction: Annotated[str, Ascii(2, JURISDICTION)]
    """ISO 3166-1 alpha-2, such as `DE`."""
    regimes: Annotated[tuple[str, ...], Regimes()]
    """Compliance regimes that the owner declared, out of `REGIMES`, such as `HIPAA`."""
    id: OwnerId
    """Name of the party: a letter, then up to 30 letters, digits or hyphens."""


@dataclass(frozen=True, kw_only=True)
class Validity(Record):
    """Until when, and under what, votes for a roster, a platform or machines count."""

    expiry: Annotated[Seconds, Label("counts until")]
    """Unix seconds from which they no longer count; at most 400 days ahead."""
    follows: Annotated[B32, Label("follows")]
    """The roster digest (for a roster) or the charter (for a platform or machines)."""


@dataclass(frozen=True, kw_only=True)
class Roster(Record, what="the roster"):
    """A change of owners: who stays keeps the seat."""

    remove: Annotated[tuple[OwnerId, ...], AtMost(MAX_OWNERS), Label("remove")]
    """Ids of the owners who lose their seats."""
    add: Annotated[tuple[Owner, ...], AtMost(MAX_OWNERS), Label("add")]
    """Owners who get one."""
    threshold: Annotated[U8, Label("approvals")]
    """How many grant afterwards, k."""

    def under(self, validity: Validity) -> RosterProposal:
        """The same, proposed."""
        return RosterProposal(**vars(self), **vars(validity))


@dataclass(frozen=True, kw_only=True)
class RosterProposal(Validity, Roster, Content, struct="Roster"):
    """A change of owners with its validity."""


@dataclass(frozen=True, kw_only=True)
class Platform(Record):
    """Which gate and which machines the owners trust (`IConsortium.Platform`)."""

    gate_root: Annotated[B32, Label("gate root")]
    """Fingerprint of the gate's root public key: SHA-256 of its bytes."""
    gate_signer: Annotated[Address, Label("gate signer")]
    """Address of the gate's signing key; it alone opens runs."""
    gate_compose: Annotated[B32, Label("gate recipe")]
    """Compose hash of the gate's own app."""
    policy_hash: Annotated[B32, Label("platform policy")]
    """SHA-256 of the platform policy: TCB rules, registers of OS images, KMS root, GPU rules."""
    os_images: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("OS image")]
    """OS images an enclave may boot; those of each addition strictly increasing."""
    devices: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("device")]
    """Machines an enclave may run on, as the images; empty allows none unless the app allows any."""

    def under(self, validity: Validity) -> PlatformProposal:
        """The same, proposed."""
        return PlatformProposal(**vars(self), **vars(validity))


@dataclass(frozen=True, kw_only=True)
class PlatformProposal(Validity, Platform, Content, struct="Platform"):
    """A platform with its validity."""


@dataclass(frozen=True, kw_only=True)
class Machines(Record, what="the machines"):
    """OS images and machines to be added to the platform (`IConsortium.Machines`)."""

    os_images: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("OS image")]
    """OS images, strictly increasing."""
    devices: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("device")]
    """Machines, strictly increasing."""

    def under(self, validity: Validity) -> MachinesProposal:
        """The same, proposed."""
        return MachinesProposal(**vars(self), **vars(validity))


@dataclass(frozen=True, kw_only=True)
class MachinesProposal(Validity, Machines, Content, struct="Machines"):
    """An addition to the platform with its validity."""


@dataclass(frozen=True, kw_only=True)
class Terms(Record, what="proposal"):
    """What a study's proposer asks for: all of a study but what the chain says of it."""

    compose_hash: Annotated[B32, Label("recipe")]
    """The recipe's compose hash: SHA-256 of its bytes."""
    output_hash: Annotated[B32, Label("output")]
    """SHA-256 of the canonical output contract."""
    privacy_hash: Annotated[B32, Label("privacy")]
    """SHA-256 of the canonical privacy policy."""
    datasets: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("dataset")]
    """Ids of the datasets it uses, strictly increasing."""
    versions: Annotated[tuple[U32, ...], AtMost(MAX_LIST), Label("version")]
    """Version of each dataset, in the same order; 0 for the newest when a run opens."""
    epsilon_micro: Annotated[int, Epsilon(64, low=1), Label("epsilon")]
    """Budget for all its runs together, micro-epsilon."""
    delta_pico: Annotated[Pico, Label("delta")]
    """The same for δ, pico-delta; 0 for pure differential privacy."""
    max_runs: Annotated[int, UInt(32, low=1), Label("runs")]
    """How many runs may be opened."""
    expiry: Annotated[int, Time(64, low=1), Label("expires")]
    """Unix seconds after which it is dead."""

    def to_file(self) -> dict[str, Any]:
        """The JSON of a proposal's file: as `to_json`, with ε and δ as decimal
        text under `epsilon` and `delta`."""
        found = {}
        for part in self.parts():
            value, kind = getattr(self, part.attribute), part.kind
            decimal = isinstance(kind, Epsilon | Delta)
            found[_in_file(part)] = kind.text(value) if decimal else kind.json(value)
        return found

    @classmethod
    def of_file(cls, value: Mapping[str, Any], *, what: str) -> Self:
        """Read what `to_file` writes. Datasets may stand in any order, a missing `delta` is 0, and missing
        `versions` are the newest.

        `what` names the file. Raises `FormatError`.
        """
        given = {"delta": "0", **_datasets_in_order(value, what=what)}
        for part in cls.parts():
            if not isinstance(part.kind, Epsilon | Delta):
                continue
            name = _in_file(part)
            if name not in given:
                raise FormatError(Code.MALFORMED, f"{what} lacks {name}")
            if part.name in given:
                raise FormatError(Code.MALFORMED, f"{what} has the unknown field {part.name!r}")
            given[part.name] = part.kind.of_text(given.pop(name), name)
        return cls.from_json(given, what=what)

    def fault(self) -> str | None:
        """A study names one version for each dataset."""
        if len(self.versions) != len(self.datasets):
            return f"has {len(self.versions)} versions for {len(self.datasets)} datasets"
        return None

    def at(self, *, basis: bytes, nonce: int) -> Study:
        """The study that it is, proposed on a basis after `nonce` pinned ones."""
        return Study(**vars(self), basis=basis, nonce=nonce)


@dataclass(frozen=True, kw_only=True)
class Study(Terms, Content):
    """One study, as it is proposed, approved and pinned."""

    basis: Annotated[B32, Label("basis")]
    """Digest of all rosters, platforms, machines and revocations that its approvals have seen."""
    nonce: Annotated[U64, Label("studies before")]
    """Number of studies pinned before it: an approval is good for one pin."""


def in_order(value: Mapping[str, Any], *names: str, what: str) -> dict[str, Any]:
    """JSON that a person wrote, with the hashes of some lists put in order. Raises `FormatError` for one
    that stands twice."""
    found = dict(value)
    for name in names:
        if isinstance(items := found.get(name), list) and all(isinstance(item, str) for item in items):
            if len(set(items)) != len(items):
                raise FormatError(Code.MALFORMED, f"{what} lists one of {name} twice")
            found[name] = sorted(items)
    return found


def _datasets_in_order(value: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """A proposal's file with its datasets in order, their versions beside them."""
    datasets, versions = value.get("datasets"), value.get("versions")
    if isinstance(datasets, list) and "versions" not in value:
        versions = [0] * len(datasets)
    found = {**in_order(value, "datasets", what=what), "versions": versions}
    if isinstance(datasets, list) and isinstance(versions, list) and len(datasets) == len(versions):
        places = sorted(range(len(datasets)), key=lambda place: str(datasets[place]))
        found["versions"] = [versions[place] for place in places]
    return found


def _in_file(part: Part) -> str:
    """Name of a field in a proposal's file."""
    if isinstance(part.kind, Epsilon | Delta):
        return part.name.removesuffix(part.kind.unit.capitalize())
    return part.name


# --- what owners sign --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Vote(Record):
    """What an owner signs. The account stands in front: a signature never counts for another one."""

    owner: Address
    """Account that votes."""


@dataclass(frozen=True, kw_only=True)
class ApproveStudy(Vote):
    """One owner's approval of one study."""

    study: Study


@dataclass(frozen=True, kw_only=True)
class AdoptPlatform(Vote):
    """One owner's approval of a gate and its machines."""

    platform: PlatformProposal


@dataclass(frozen=True, kw_only=True)
class AddMachines(Vote):
    """One owner's approval of machines and images to be added."""

    machines: MachinesProposal


@dataclass(frozen=True, kw_only=True)
class ChangeRoster(Vote):
    """One owner's approval of a change of owners."""

    roster: RosterProposal


@dataclass(frozen=True, kw_only=True)
class Withdraw(Vote):
    """One owner takes back its approval, or bars it."""

    proposal: B32
    """Id of the study, platform, machines or roster."""


@dataclass(frozen=True, kw_only=True)
class Revoke(Vote):
    """One owner's revocation."""

    reason: Annotated[str, Text(MAX_REASON_BYTES, empty=True)]
    """Why."""
    returns: U64
    """How often the owner's veto was lifted before: the signature works once."""


VOTES: tuple[type[Vote], ...] = (ApproveStudy, AdoptPlatform, AddMachines, ChangeRoster, Withdraw, Revoke)
"""All that an owner can sign."""
