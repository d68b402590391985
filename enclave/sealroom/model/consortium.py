# SPDX-License-Identifier: Apache-2.0
"""What owners agree on: their roster, the platform, studies, datasets, and the votes that they sign.

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
    U64,
    Address,
    Ascii,
    Delta,
    Epsilon,
    Pico,
    Regimes,
    Text,
    Time,
    UInt,
)
from sealroom.schema import DATASET_NAME

MAX_OWNERS = 16
MAX_LIST = 64
"""Most datasets of a study, and most images or devices of a platform, that a reader takes."""
MAX_REASON_BYTES = 256
"""What the contract keeps of a revocation's reason."""

OWNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
JURISDICTION = re.compile(r"[A-Z]{2}")


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
    id: Annotated[str, Ascii(32, OWNER_NAME)]
    """Short name, such as `hospital-A`; at most 32 ASCII characters."""
    jurisdiction: Annotated[str, Ascii(2, JURISDICTION)]
    """ISO 3166-1 alpha-2, such as `DE`."""
    regimes: Annotated[tuple[str, ...], Regimes()]
    """Compliance regimes that the owner declared, out of `REGIMES`, such as `HIPAA`."""


@dataclass(frozen=True, kw_only=True)
class Roster(Content, struct="Owners", what="the roster"):
    """Owners with their threshold, in an epoch."""

    owners: Annotated[tuple[Owner, ...], AtMost(MAX_OWNERS)]
    """1 to 16 owners, in their order on chain."""
    threshold: U8
    """How many grant, k."""
    epoch: U64
    """Epoch in which approvals count."""


@dataclass(frozen=True, kw_only=True)
class Platform(Record):
    """Which gate and which machines the owners trust (`IConsortium.Platform`)."""

    gate_root: Annotated[B32, Label("gate root")]
    """Fingerprint of the gate's root public key: SHA-256 of its bytes."""
    gate_signer: Annotated[Address, Label("gate signer")]
    """Address of the gate's signing key; it alone opens runs."""
    gate_compose: Annotated[B32, Label("gate recipe")]
    """Compose hash of the gate's own app."""
    os_images: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("OS image")]
    """OS images an enclave may boot, strictly increasing."""
    devices: Annotated[tuple[B32, ...], AtMost(MAX_LIST), Label("device")]
    """Machines an enclave may run on, strictly increasing; empty allows none unless the app allows any."""

    def at(self, epoch: int) -> PlatformProposal:
        """The same, proposed in an epoch."""
        return PlatformProposal(**vars(self), epoch=epoch)


@dataclass(frozen=True, kw_only=True)
class PlatformProposal(Platform, Content, struct="Platform"):
    """A platform in an epoch."""

    epoch: U64
    """Epoch in which approvals count."""


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
        """Read what `to_file` writes. Datasets may stand in any order, and a missing `delta` is 0.

        `what` names the file. Raises `FormatError`.
        """
        given = {"delta": "0", **in_order(value, "datasets", what=what)}
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

    def at(self, *, epoch: int, nonce: int) -> Study:
        """The study that it is, proposed in an epoch after `nonce` pinned ones."""
        return Study(**vars(self), epoch=epoch, nonce=nonce)


@dataclass(frozen=True, kw_only=True)
class Study(Terms, Content):
    """One study, as it is proposed, approved and pinned."""

    epoch: Annotated[int, UInt(64, low=1), Label("epoch")]
    """Epoch of the consortium at which it was proposed."""
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


def _in_file(part: Part) -> str:
    """Name of a field in a proposal's file."""
    if isinstance(part.kind, Epsilon | Delta):
        return part.name.removesuffix(part.kind.unit.capitalize())
    return part.name


@dataclass(frozen=True, kw_only=True)
class Registration(Record):
    """What an owner registers of a sealed dataset: the arguments of `registerDataset`, in its order."""

    dataset_id: B32
    """Dataset id: SHA-256 of the sealed header."""
    index_digest: B32
    """SHA-256 of the unsigned index."""
    key_commitment: B32
    """Commitment to the data key."""
    schema_hash: B32
    """Digest of the columns."""
    rows: U64
    """Rows, as the owner declares them; 0 for what is no table."""
    name: Annotated[str, Text(64, DATASET_NAME)]
    """Name among the owner's datasets."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Record):
    """A dataset as the consortium keeps it (`IConsortium.Dataset`)."""

    owner: Address
    """Account of its owner; zero for one that is not registered."""
    index_digest: B32
    """Digest of the sealed index."""
    key_commitment: B32
    """Commitment to the data key; all zero when the dataset is not registered."""
    schema_hash: B32
    """Digest of the schema."""
    rows: U64
    """Rows, as the owner declared them."""
    name: Annotated[str, Text(64, DATASET_NAME)]
    """Name among the owner's datasets."""


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
class ChangeOwners(Vote):
    """One owner's approval of a new roster."""

    roster: Roster


@dataclass(frozen=True, kw_only=True)
class Withdraw(Vote):
    """One owner takes back its approval."""

    proposal: B32
    """Id of the study, platform or roster."""
    epoch: U64
    """Epoch of the consortium."""


@dataclass(frozen=True, kw_only=True)
class Revoke(Vote):
    """One owner's revocation."""

    reason: Annotated[str, Text(MAX_REASON_BYTES, empty=True)]
    """Why."""
    epoch: U64
    """Epoch of the consortium."""


VOTES: tuple[type[Vote], ...] = (ApproveStudy, AdoptPlatform, ChangeOwners, Withdraw, Revoke)
"""All that an owner can sign."""
