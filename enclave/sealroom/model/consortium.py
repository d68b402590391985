# SPDX-License-Identifier: Apache-2.0
"""What owners agree on: their roster, the platform, studies, datasets, and the votes that they sign.

The contract's twins are the structures of `IConsortium` and the types of `ConsortiumTypes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from sealroom.model.base import AtMost, Record
from sealroom.model.kinds import B32, U8, U64, Address, Ascii, Regimes, Text, UInt
from sealroom.schema import DATASET_NAME

DOMAIN = "Sealroom Consortium"
"""Name of the EIP-712 domain of what owners sign."""

MAX_OWNERS = 16
MAX_LIST = 64
"""Most datasets of a study, and most images or devices of a platform, that a reader takes."""
MAX_REASON_BYTES = 256
"""What the contract keeps of a revocation's reason."""

OWNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
JURISDICTION = re.compile(r"[A-Z]{2}")


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
class Roster(Record, struct="Owners", what="the roster"):
    """Owners with their threshold, in an epoch. Its struct hash is the id of its proposal."""

    owners: Annotated[tuple[Owner, ...], AtMost(MAX_OWNERS)]
    """1 to 16 owners, in their order on chain."""
    threshold: U8
    """How many grant, k."""
    epoch: U64
    """Epoch in which approvals count."""


@dataclass(frozen=True, kw_only=True)
class Platform(Record):
    """Which gate and which machines the owners trust (`IConsortium.Platform`)."""

    gate_root: B32
    """Fingerprint of the gate's root public key: SHA-256 of its bytes."""
    gate_signer: Address
    """Address of the gate's signing key; it alone opens runs."""
    gate_compose: B32
    """Compose hash of the gate's own app."""
    os_images: Annotated[tuple[B32, ...], AtMost(MAX_LIST)]
    """OS images an enclave may boot, strictly increasing."""
    devices: Annotated[tuple[B32, ...], AtMost(MAX_LIST)]
    """Machines an enclave may run on, strictly increasing; empty allows none unless the app allows any."""

    def at(self, epoch: int) -> PlatformProposal:
        """The same, proposed in an epoch."""
        return PlatformProposal(**vars(self), epoch=epoch)


@dataclass(frozen=True, kw_only=True)
class PlatformProposal(Platform, struct="Platform", what="platform"):
    """A platform in an epoch. Its struct hash is the id of its proposal."""

    epoch: U64
    """Epoch in which approvals count."""


@dataclass(frozen=True, kw_only=True)
class Study(Record):
    """One study, as it is proposed, approved and pinned. Its struct hash is its id (`typed.study_id`)."""

    compose_hash: B32
    """The recipe's compose hash: SHA-256 of its bytes."""
    output_hash: B32
    """SHA-256 of the canonical output contract."""
    privacy_hash: B32
    """SHA-256 of the canonical privacy policy."""
    datasets: Annotated[tuple[B32, ...], AtMost(MAX_LIST)]
    """Ids of the datasets it uses, strictly increasing."""
    epsilon_micro: Annotated[int, UInt(64, low=1)]
    """Budget for all its runs together, micro-epsilon."""
    delta_pico: U64
    """The same for δ, pico-delta; 0 for pure differential privacy."""
    max_runs: Annotated[int, UInt(32, low=1)]
    """How many runs may be opened."""
    expiry: Annotated[int, UInt(64, low=1)]
    """Unix seconds after which it is dead."""
    epoch: Annotated[int, UInt(64, low=1)]
    """Epoch of the consortium at which it was proposed."""
    nonce: U64
    """Number of studies pinned before it: an approval is good for one pin."""


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
