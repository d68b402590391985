# SPDX-License-Identifier: Apache-2.0
"""What the gate answers to evidence, and the messages that follow: grant, refusal, lease, watch.

Same rules as `sealroom.key_release.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical
from sealroom.errors import KeyReleaseError
from sealroom.key_release.messages import (
    MAX_CONSORTIA,
    MAX_DATASETS,
    MAX_GPU_MATERIAL,
    MAX_LEASE_SECONDS,
    MAX_REPLY_BODY,
    WATCH_VERSION,
    Message,
    Signature,
    read_body,
)
from sealroom.model import Grant, Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, U64, Address, Base64, Flag, JsonObject, Seconds, UInt

MAX_WRITTEN = 16
"""Collaterals that are kept as they are written."""
MAX_KEY_CIPHERTEXT = 4096
"""Most bytes of one released key's HPKE ciphertext."""


@dataclass(frozen=True, kw_only=True)
class KeyRelease(Record):
    """One data key, sealed to the enclave's key of this run."""

    dataset: B32
    """Dataset id."""
    index_digest: B32
    """Digest of the sealed index as its owner registered it: the enclave opens no other."""
    key_commitment: B32
    """Commitment to the data key as its owner registered it (CE-12)."""
    ciphertext: Annotated[bytes, Base64(MAX_KEY_CIPHERTEXT)]
    """HPKE ciphertext of the data key."""


@dataclass(frozen=True, kw_only=True)
class Opened(Record):
    """Where the run was booked."""

    tx: B32
    """Hash of the transaction."""
    block: U64
    """Number of its block."""


@dataclass(frozen=True, kw_only=True)
class GrantReply(Message, what="grant reply"):
    """The gate says yes."""

    version = 0
    limit = MAX_REPLY_BODY

    grant: Grant
    """What is granted."""
    grant_signature: Signature
    """The gate's EIP-712 signature over the grant."""
    keys: Annotated[tuple[KeyRelease, ...], AtMost(MAX_DATASETS)]
    """The data keys, in the order of the offers."""
    collateral: Annotated[Mapping[str, Any], JsonObject()]
    """The collateral with which the gate verified the enclave's quote: it goes into the result envelope."""
    gpu_material: Annotated[bytes, Base64(MAX_GPU_MATERIAL)]
    """What the gate judged the GPU evidence by: it goes into the envelope; empty where there is none."""
    opened: Opened
    """The transaction that booked the run."""

    def encode(self) -> bytes:
        """As canonical JSON. The collateral, its first member and most of it, is written once for many."""
        members = self.to_json()
        collateral = members.pop("collateral")
        return b'{"collateral":%s,%s' % (_written(collateral), canonical(members)[1:])


def _written(collateral: Mapping[str, Any]) -> bytes:
    texts = tuple(collateral.items())
    return _texts(texts) if all(type(text) is str for _, text in texts) else canonical(collateral)


@lru_cache(MAX_WRITTEN)
def _texts(members: tuple[tuple[str, str], ...]) -> bytes:
    return canonical(dict(members))


@dataclass(frozen=True)
class Refusal:
    """The gate says no. A value, so that a pure decision can return it."""

    code: Code
    """Which check failed; a word of another version is kept as it is."""
    message: str
    """Why, in one line for a person."""
    seen: Mapping[str, Any] | None = None
    """What the gate saw, when a comparison failed."""
    pinned: Mapping[str, Any] | None = None
    """What it compared with."""

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.seen is not None:
            result["seen"] = dict(self.seen)
        if self.pinned is not None:
            result["pinned"] = dict(self.pinned)
        return result

    def encode(self) -> bytes:
        return canonical(self.to_json())

    @classmethod
    def parse(cls, body: bytes) -> Refusal:
        fields = Fields(read_body(body, "refusal"), "refusal", error=KeyReleaseError)
        refusal = cls(
            code=Code.parse(fields.text("code", limit=64)),
            message=fields.text("message", limit=4096),
            seen=fields.object("seen") if fields.has("seen") else None,
            pinned=fields.object("pinned") if fields.has("pinned") else None,
        )
        fields.done()
        return refusal


@dataclass(frozen=True, kw_only=True)
class LeaseRequest(Message, what="lease request"):
    """The enclave asks that its grant lives on."""

    consortium: Address
    """Address of the consortium: run ids count in it alone."""
    run_id: B32
    """Id of the run."""
    counter: Annotated[int, UInt(64, low=1)]
    """1 for the first renewal, then more each time that the enclave asks."""
    signature: Signature
    """EIP-712 `Lease` by the enclave's signing key."""


@dataclass(frozen=True, kw_only=True)
class LeaseReply(Message, what="lease reply"):
    """The gate renews the lease."""

    version = 0

    lease_seconds: Annotated[int, UInt(32, low=1, high=MAX_LEASE_SECONDS)]
    """How long from now, at most 60. The enclave counts on its own monotonic clock."""
    until: Seconds
    """The same as unix seconds of the gate's clock, for logs."""
    opening_final: Flag
    """Whether the run's opening stands in a final block: no result leaves before."""
    signature: Signature
    """EIP-712 `Renewal` by the gate's signer: the network may neither prolong a
    lease nor call an opening final."""


@dataclass(frozen=True, kw_only=True)
class SeenRevocation(Record):
    """A consortium that is revoked, and the block in which the watcher saw it."""

    consortium: Address
    """Its address."""
    block: U64
    """Number of the newest block that shows it."""
    block_hash: B32
    """Hash of that block."""


@dataclass(frozen=True, kw_only=True)
class WatchReport(Message, what="watch report"):
    """The watcher's heartbeat: which consortia it has just seen, and which of them are revoked."""

    version = WATCH_VERSION

    observed: Seconds
    """When it looked, unix seconds."""
    seen: Annotated[tuple[Address, ...], AtMost(MAX_CONSORTIA)]
    """Addresses of the consortia that it saw, each once; for all others this says nothing."""
    revoked: Annotated[tuple[SeenRevocation, ...], AtMost(MAX_CONSORTIA)]
    """Those of them that are revoked."""

    def fault(self) -> str | None:
        revoked = [one.consortium for one in self.revoked]
        if len(set(self.seen)) != len(self.seen) or len(set(revoked)) != len(revoked):
            return "has a consortium twice"
        return None if set(revoked) <= set(self.seen) else "has a consortium that is revoked and was not seen"
