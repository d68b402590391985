# SPDX-License-Identifier: Apache-2.0
"""What the gate answers to evidence, and the messages that follow: grant, refusal, lease, watch.

Same rules as `sealroom.key_release.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroom.encoding import Fields, to_base64, to_hex
from sealroom.errors import KeyReleaseError
from sealroom.key_release.messages import (
    MAX_CONSORTIA,
    MAX_DATASETS,
    MAX_LEASE_SECONDS,
    MAX_REPLY_BODY,
    WATCH_VERSION,
    encode,
    read_body,
)
from sealroom.keys import SIGNATURE_SIZE
from sealroom.records import Grant

MAX_KEY_CIPHERTEXT = 4096
"""Most bytes of one released key's HPKE ciphertext."""

REFUSAL_CODES = (
    "evidence-too-large",
    "malformed",
    "gate-not-registered",
    "unknown-run-id-reused",
    "busy",
    "nonce-unknown",
    "nonce-replayed",
    "nonce-expired",
    "quote-invalid",
    "quote-not-tdx",
    "debug-td",
    "td-attributes",
    "tcb-not-up-to-date",
    "device-not-allowed",
    "report-data-mismatch",
    "event-log-mismatch",
    "event-log-duplicate",
    "os-image-not-allowed",
    "chain-unreachable",
    "chain-stale",
    "chain-disagrees",
    "simulated-root-off-local-chain",
    "revoked",
    "app-id-mismatch",
    "compose-hash-mismatch",
    "not-finalized",
    "epoch-mismatch",
    "not-approved",
    "owner-not-approved",
    "study-expired",
    "key-provider-mismatch",
    "gpu-evidence-unverified",
    "dataset-mismatch",
    "runs-exhausted",
    "budget-exceeded",
    "watcher-dead",
    "wrap-does-not-open",
    "wrong-key",
    "lease-ended",
    "lease-counter",
    "opening-lost",
    "opening-replaced",
)
"""Every code of the gate's refusals, in the order in which the release protocol's page first names them."""


@dataclass(frozen=True, kw_only=True)
class KeyRelease:
    """One data key, sealed to the enclave's key of this run."""

    dataset: bytes
    """Dataset id, 32 bytes."""
    index_digest: bytes
    """Digest of the sealed index as its owner registered it: the enclave opens no other."""
    key_commitment: bytes
    """Commitment to the data key as its owner registered it (CE-12)."""
    ciphertext: bytes
    """HPKE ciphertext of the data key."""

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": to_hex(self.dataset),
            "indexDigest": to_hex(self.index_digest),
            "keyCommitment": to_hex(self.key_commitment),
            "ciphertext": to_base64(self.ciphertext),
        }

    @classmethod
    def from_json(cls, value: Any) -> KeyRelease:
        fields = Fields(value, "grant reply's key", error=KeyReleaseError)
        release = cls(
            dataset=fields.hex("dataset", 32),
            index_digest=fields.hex("indexDigest", 32),
            key_commitment=fields.hex("keyCommitment", 32),
            ciphertext=fields.base64("ciphertext", limit=MAX_KEY_CIPHERTEXT),
        )
        fields.done()
        return release


@dataclass(frozen=True, kw_only=True)
class GrantReply:
    """The gate says yes."""

    grant: Grant
    """What is granted."""
    grant_signature: bytes
    """The gate's EIP-712 signature over the grant, 65 bytes."""
    keys: tuple[KeyRelease, ...]
    """The data keys, in the order of the offers."""
    collateral: Mapping[str, Any]
    """The collateral with which the gate verified the enclave's quote: it goes into the result envelope."""
    opened_tx: bytes
    """Hash of the transaction that booked the run, 32 bytes."""
    opened_block: int
    """Number of its block."""

    def to_json(self) -> dict[str, Any]:
        return {
            "grant": self.grant.to_json(),
            "grantSignature": to_hex(self.grant_signature),
            "keys": [key.to_json() for key in self.keys],
            "collateral": dict(self.collateral),
            "opened": {"tx": to_hex(self.opened_tx), "block": self.opened_block},
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> GrantReply:
        fields = read_body(body, "grant reply", MAX_REPLY_BODY)
        opened = Fields(fields.object("opened"), "grant reply's opened", error=KeyReleaseError)
        reply = cls(
            grant=Grant.from_json(fields.object("grant"), error=KeyReleaseError),
            grant_signature=fields.hex("grantSignature", SIGNATURE_SIZE),
            keys=tuple(KeyRelease.from_json(key) for key in fields.array("keys", limit=MAX_DATASETS)),
            collateral=fields.object("collateral"),
            opened_tx=opened.hex("tx", 32),
            opened_block=opened.integer("block"),
        )
        opened.done()
        fields.done()
        return reply


@dataclass(frozen=True)
class Refusal:
    """The gate says no. A value, so that a pure decision can return it."""

    code: str
    """One of `REFUSAL_CODES`."""
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
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> Refusal:
        fields = read_body(body, "refusal")
        refusal = cls(
            code=fields.text("code", limit=64),
            message=fields.text("message", limit=4096),
            seen=fields.object("seen") if fields.has("seen") else None,
            pinned=fields.object("pinned") if fields.has("pinned") else None,
        )
        fields.done()
        return refusal


@dataclass(frozen=True, kw_only=True)
class LeaseRequest:
    """The enclave asks that its grant lives on."""

    run_id: bytes
    """Id of the run, 32 bytes."""
    counter: int
    """1 for the first renewal, then more each time that the enclave asks."""
    signature: bytes
    """EIP-712 `Lease` by the enclave's signing key, 65 bytes."""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "runId": to_hex(self.run_id),
            "counter": self.counter,
            "signature": to_hex(self.signature),
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> LeaseRequest:
        fields = read_body(body, "lease request")
        fields.version()
        request = cls(
            run_id=fields.hex("runId", 32),
            counter=fields.integer("counter", 1),
            signature=fields.hex("signature", SIGNATURE_SIZE),
        )
        fields.done()
        return request


@dataclass(frozen=True, kw_only=True)
class LeaseReply:
    """The gate renews the lease."""

    lease_seconds: int
    """How long from now, at most 60. The enclave counts on its own monotonic clock."""
    until: int
    """The same as unix seconds of the gate's clock, for logs."""
    opening_final: bool
    """Whether the run's opening stands in a final block: no result leaves before."""
    signature: bytes
    """EIP-712 `Renewal` by the gate's signer, 65 bytes: the network may neither prolong a lease nor call an
    opening final."""

    def to_json(self) -> dict[str, Any]:
        return {
            "leaseSeconds": self.lease_seconds,
            "until": self.until,
            "openingFinal": self.opening_final,
            "signature": to_hex(self.signature),
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> LeaseReply:
        fields = read_body(body, "lease reply")
        reply = cls(
            lease_seconds=fields.integer("leaseSeconds", 1, MAX_LEASE_SECONDS),
            until=fields.integer("until"),
            opening_final=fields.boolean("openingFinal"),
            signature=fields.hex("signature", SIGNATURE_SIZE),
        )
        fields.done()
        return reply


@dataclass(frozen=True, kw_only=True)
class SeenRevocation:
    """A consortium that is revoked, and the block in which the watcher saw it."""

    consortium: str
    """Its address."""
    block: int
    """Number of the newest block that shows it."""
    block_hash: bytes
    """Hash of that block, 32 bytes."""

    def to_json(self) -> dict[str, Any]:
        return {"consortium": self.consortium, "block": self.block, "blockHash": to_hex(self.block_hash)}

    @classmethod
    def from_json(cls, value: Any) -> SeenRevocation:
        fields = Fields(value, "watch report's revoked", error=KeyReleaseError)
        seen = cls(
            consortium=fields.address("consortium"),
            block=fields.integer("block"),
            block_hash=fields.hex("blockHash", 32),
        )
        fields.done()
        return seen


@dataclass(frozen=True, kw_only=True)
class WatchReport:
    """The watcher's heartbeat: which consortia it has just seen, and which of them are revoked."""

    observed: int
    """When it looked, unix seconds."""
    seen: tuple[str, ...]
    """Addresses of the consortia that it saw, each once; for all others this says nothing."""
    revoked: tuple[SeenRevocation, ...]
    """Those of them that are revoked."""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": WATCH_VERSION,
            "observed": self.observed,
            "seen": list(self.seen),
            "revoked": [one.to_json() for one in self.revoked],
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> WatchReport:
        fields = read_body(body, "watch report")
        if (version := fields.integer("version")) != WATCH_VERSION:
            raise KeyReleaseError(
                "unsupported-version", f"watch report of version {version}, not {WATCH_VERSION}"
            )
        report = cls(
            observed=fields.integer("observed"),
            seen=tuple(
                Fields({"address": item}, "watch report's seen", error=KeyReleaseError).address("address")
                for item in fields.array("seen", limit=MAX_CONSORTIA)
            ),
            revoked=tuple(
                SeenRevocation.from_json(item) for item in fields.array("revoked", limit=MAX_CONSORTIA)
            ),
        )
        fields.done()
        revoked = [one.consortium for one in report.revoked]
        if len(set(report.seen)) != len(report.seen) or len(set(revoked)) != len(revoked):
            raise KeyReleaseError("malformed", "watch report: a consortium stands there twice")
        if not set(revoked) <= set(report.seen):
            raise KeyReleaseError("malformed", "watch report: a consortium is revoked and was not seen")
        return report
