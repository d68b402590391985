# SPDX-License-Identifier: Apache-2.0
"""The records that are signed as EIP-712 structures, and their JSON form.

The JSON form is derived from the type table, so that no field is signed and not shown, or shown and not
signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.encoding import MAX_INTEGER, Fields, to_hex
from sealroom.errors import SealroomError

STUDY_FIELDS = (
    ("composeHash", "bytes32"),
    ("outputHash", "bytes32"),
    ("privacyHash", "bytes32"),
    ("datasets", "bytes32[]"),
    ("epsilonMicro", "uint64"),
    ("maxRuns", "uint32"),
    ("expiry", "uint64"),
    ("epoch", "uint64"),
)
TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "ApproveStudy": (("owner", "address"), *STUDY_FIELDS),
    "AdoptPlatform": (
        ("owner", "address"),
        ("gateRoot", "bytes32"),
        ("gateSigner", "address"),
        ("gateCompose", "bytes32"),
        ("osImages", "bytes32[]"),
        ("devices", "bytes32[]"),
        ("epoch", "uint64"),
    ),
    "Revoke": (("owner", "address"), ("reason", "string"), ("epoch", "uint64")),
    "Receipt": (
        ("runId", "bytes32"),
        ("consortium", "address"),
        ("study", "bytes32"),
        ("composeHash", "bytes32"),
        ("datasetsRoot", "bytes32"),
        ("resultDigest", "bytes32"),
        ("statementDigest", "bytes32"),
        ("epsilonMicro", "uint64"),
        ("epoch", "uint64"),
        ("grantHash", "bytes32"),
    ),
    "Grant": (
        ("runId", "bytes32"),
        ("study", "bytes32"),
        ("ledger", "address"),
        ("composeHash", "bytes32"),
        ("enclaveSigner", "address"),
        ("kemKeyHash", "bytes32"),
        ("transcript", "bytes32"),
        ("datasetsRoot", "bytes32"),
        ("epsilonMicro", "uint64"),
        ("epoch", "uint64"),
        ("blockNumber", "uint64"),
        ("blockHash", "bytes32"),
        ("issued", "uint64"),
        ("leaseSeconds", "uint32"),
    ),
    "Challenge": (("transcript", "bytes32"),),
    "Lease": (("runId", "bytes32"), ("counter", "uint64")),
    "Renewal": (("runId", "bytes32"), ("counter", "uint64"), ("leaseSeconds", "uint32")),
}


class StudyLike(Protocol):
    """The content of a study, as proposed on chain."""

    @property
    def compose_hash(self) -> bytes: ...
    @property
    def output_hash(self) -> bytes: ...
    @property
    def privacy_hash(self) -> bytes: ...
    @property
    def datasets(self) -> tuple[bytes, ...]: ...
    @property
    def epsilon_micro(self) -> int: ...
    @property
    def max_runs(self) -> int: ...
    @property
    def expiry(self) -> int: ...
    @property
    def epoch(self) -> int: ...


class PlatformLike(Protocol):
    """Which gate and machines owners trust."""

    @property
    def gate_root(self) -> bytes: ...
    @property
    def gate_signer(self) -> str: ...
    @property
    def gate_compose(self) -> bytes: ...
    @property
    def os_images(self) -> tuple[bytes, ...]: ...
    @property
    def devices(self) -> tuple[bytes, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A signed release of data keys to one attested enclave."""

    run_id: bytes
    """Drawn by whoever starts the run, 32 bytes; opens once in the ledger's life."""
    study: bytes
    """Id of the study, 32 bytes."""
    ledger: str
    """Address of the ledger in which the run was opened."""
    compose_hash: bytes
    """Compose hash that the enclave booted, 32 bytes."""
    enclave_signer: str
    """Address of the enclave's signing key of this run."""
    kem_key_hash: bytes
    """SHA-256 of the enclave's X-Wing public key of this run."""
    transcript: bytes
    """SHA-256 of T0: what was said before the evidence."""
    datasets_root: bytes
    """SHA-256 of the dataset ids, in the study's order."""
    epsilon_micro: int
    """ε booked for this run, micro-epsilon."""
    epoch: int
    """Epoch of the consortium at the block."""
    block_number: int
    """The finalized block at which the gate decided."""
    block_hash: bytes
    """Its hash, 32 bytes."""
    issued: int
    """When the gate decided, unix seconds."""
    lease_seconds: int
    """How long the grant lives unless renewed, at most 60."""

    def to_json(self) -> dict[str, Any]:
        """The grant as JSON fields."""
        return _to_json("Grant", self)

    @classmethod
    def from_json(cls, value: Any, *, error: type[SealroomError]) -> Grant:
        """Read strictly what `to_json` writes; errors are of class `error`."""
        return cls(**_from_json("Grant", value, error=error))


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The record of one run, which the enclave signs and the ledger anchors."""

    run_id: bytes
    """Id of the run, 32 bytes."""
    consortium: str
    """Address of the consortium."""
    study: bytes
    """Id of the study, 32 bytes."""
    compose_hash: bytes
    """Compose hash of the recipe, 32 bytes."""
    datasets_root: bytes
    """SHA-256 of the dataset ids, in the study's order."""
    result_digest: bytes
    """SHA-256 of the canonical result JSON."""
    statement_digest: bytes
    """SHA-256 of the DSSE pre-authentication encoding that the enclave signed."""
    epsilon_micro: int
    """ε of this run, micro-epsilon."""
    epoch: int
    """Epoch of the consortium when the run was opened."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""

    def to_json(self) -> dict[str, Any]:
        """The receipt as JSON fields."""
        return _to_json("Receipt", self)

    @classmethod
    def from_json(cls, value: Any, *, error: type[SealroomError]) -> Receipt:
        """Read strictly what `to_json` writes; errors are of class `error`."""
        return cls(**_from_json("Receipt", value, error=error))


def _attribute(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def raw(primary: str, content: Any) -> dict[str, Any]:
    """The fields of a record under their EIP-712 names, values as they are signed."""
    return {name: getattr(content, _attribute(name)) for name, _ in TYPES[primary]}


def shown(value: Any) -> Any:
    """The same with bytes as hex, as JSON holds them."""
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shown(item) for item in value]
    return value


def _to_json(primary: str, content: Any) -> dict[str, Any]:
    return dict(shown(raw(primary, content)))


def _from_json(primary: str, value: Any, *, error: type[SealroomError]) -> dict[str, Any]:
    fields = Fields(value, primary.lower(), error=error)
    result: dict[str, Any] = {}
    for name, kind in TYPES[primary]:
        if kind == "bytes32":
            result[_attribute(name)] = fields.hex(name, 32)
        elif kind == "address":
            result[_attribute(name)] = fields.address(name)
        else:
            result[_attribute(name)] = fields.integer(name, 0, min(2 ** int(kind[4:]) - 1, MAX_INTEGER))
    fields.done()
    return result
