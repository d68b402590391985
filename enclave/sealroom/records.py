# SPDX-License-Identifier: Apache-2.0
"""The records that are signed as EIP-712 structures, and their JSON form.

The JSON form is derived from the type table, so that no field is signed and not shown, or shown and not
signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.encoding import MAX_INTEGER, Fields, to_hex
from sealroom.errors import SealroomError

Table = Sequence[tuple[str, str]]
"""Names and Solidity types of a structure's fields, in order."""

STUDY_FIELDS = (
    ("composeHash", "bytes32"),
    ("outputHash", "bytes32"),
    ("privacyHash", "bytes32"),
    ("datasets", "bytes32[]"),
    ("epsilonMicro", "uint64"),
    ("deltaPico", "uint64"),
    ("maxRuns", "uint32"),
    ("expiry", "uint64"),
    ("epoch", "uint64"),
    ("nonce", "uint64"),
)
PLATFORM_FIELDS = (
    ("gateRoot", "bytes32"),
    ("gateSigner", "address"),
    ("gateCompose", "bytes32"),
    ("osImages", "bytes32[]"),
    ("devices", "bytes32[]"),
    ("epoch", "uint64"),
)
OWNER_FIELDS = (
    ("account", "address"),
    ("id", "bytes32"),
    ("jurisdiction", "bytes2"),
    ("regimes", "uint16"),
)
ROSTER_FIELDS = (
    ("owners", "Owner[]"),
    ("threshold", "uint8"),
    ("epoch", "uint64"),
)
TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "ApproveStudy": (("owner", "address"), ("study", "Study")),
    "AdoptPlatform": (("owner", "address"), ("platform", "Platform")),
    "ChangeOwners": (("owner", "address"), ("roster", "Owners")),
    "Withdraw": (("owner", "address"), ("proposal", "bytes32"), ("epoch", "uint64")),
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
        ("deltaPico", "uint64"),
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
        ("deltaPico", "uint64"),
        ("epoch", "uint64"),
        ("blockNumber", "uint64"),
        ("blockHash", "bytes32"),
        ("issued", "uint64"),
        ("leaseSeconds", "uint32"),
        ("auditHead", "bytes32"),
    ),
    "Challenge": (("transcript", "bytes32"),),
    "Lease": (("runId", "bytes32"), ("counter", "uint64")),
    "Renewal": (
        ("runId", "bytes32"),
        ("counter", "uint64"),
        ("leaseSeconds", "uint32"),
        ("openingFinal", "bool"),
    ),
}
RUN_FIELDS = (
    ("runId", "bytes32"),
    ("consortium", "address"),
    ("study", "bytes32"),
    ("epsilonMicro", "uint64"),
    ("deltaPico", "uint64"),
    ("epoch", "uint64"),
    ("enclaveSigner", "address"),
    ("grantHash", "bytes32"),
)
"""`ILedger.Run`."""
OPENING_FIELDS = (
    ("composeHash", "bytes32"),
    ("number", "uint64"),
    ("openedBlock", "uint64"),
    ("approvedBlock", "uint64"),
    ("approvals", "uint16"),
    ("roster", "uint16"),
)
"""`ILedger.Opening`, behind its run."""
NESTED: dict[str, tuple[tuple[str, str], ...]] = {
    "Study": STUDY_FIELDS,
    "Platform": PLATFORM_FIELDS,
    "Owners": ROSTER_FIELDS,
    "Owner": OWNER_FIELDS,
}
"""Structures that stand inside others. The struct hash of one of the first three is a proposal's id."""


class StudyLike(Protocol):
    """The content of a study, as proposed to the owners."""

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
    def delta_pico(self) -> int: ...
    @property
    def max_runs(self) -> int: ...
    @property
    def expiry(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def nonce(self) -> int: ...


class OwnerLike(Protocol):
    """One owner, as a roster names it."""

    @property
    def account(self) -> str: ...
    @property
    def id_bytes(self) -> bytes: ...
    @property
    def jurisdiction_bytes(self) -> bytes: ...
    @property
    def regime_flags(self) -> int: ...


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
    delta_pico: int
    """δ booked for this run, parts in 10^12."""
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
    audit_head: bytes
    """Digest of the last entry of the gate's audit log before this grant, 32 bytes; zeros for none."""

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
    delta_pico: int
    """δ of this run, parts in 10^12."""
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


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A run as the ledger opened it. The ledger keeps only its hash (`typed.opening_hash`)."""

    run_id: bytes
    """Id of the run, 32 bytes."""
    consortium: str
    """Address of the consortium."""
    study: bytes
    """Id of the study, 32 bytes."""
    epsilon_micro: int
    """ε booked, micro-epsilon."""
    delta_pico: int
    """δ booked, parts in 10^12."""
    epoch: int
    """Epoch of the consortium."""
    enclave_signer: str
    """Address of the key that the gate attested."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""
    compose_hash: bytes
    """Compose hash of the study, 32 bytes."""
    number: int
    """Number of the run among those of the consortium, from 1."""
    opened_block: int
    """Block in which it was opened."""
    approved_block: int
    """Block in which the study was pinned."""
    approvals: int
    """Who approved the study: bit i for the owner in seat i of the roster."""
    roster: int
    """Number of the roster."""

    @classmethod
    def of_event(cls, opening: Mapping[str, Any]) -> Opening:
        """From `ILedger.Opening` as the event RunOpened holds it, decoded by field names."""
        run = opening["run"]
        found = {_attribute(name): _plain(kind, run[name]) for name, kind in RUN_FIELDS}
        found |= {_attribute(name): _plain(kind, opening[name]) for name, kind in OPENING_FIELDS}
        return cls(**found)

    def solidity(self) -> tuple[Any, ...]:
        """`ILedger.Opening`, as an ABI encoder takes it."""
        return tuple(_values(RUN_FIELDS, self).values()), *_values(OPENING_FIELDS, self).values()

    def to_json(self) -> dict[str, Any]:
        """The opening as JSON fields, nested like `ILedger.Opening`."""
        return {"run": shown(_values(RUN_FIELDS, self)), **shown(_values(OPENING_FIELDS, self))}

    @classmethod
    def from_json(cls, value: Any, *, error: type[SealroomError]) -> Opening:
        """Read strictly what `to_json` writes; errors are of class `error`."""
        fields = Fields(value, "opening", error=error)
        run = Fields(fields.object("run"), "opening's run", error=error)
        opening = cls(**_read(RUN_FIELDS, run), **_read(OPENING_FIELDS, fields))
        run.done()
        fields.done()
        return opening


def _attribute(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def raw(primary: str, content: Any) -> dict[str, Any]:
    """The fields of a record under their EIP-712 names, values as they are signed."""
    return _values(TYPES[primary], content)


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
    result = _read(TYPES[primary], fields)
    fields.done()
    return result


def _values(table: Table, content: Any) -> dict[str, Any]:
    return {name: getattr(content, _attribute(name)) for name, _ in table}


def _plain(kind: str, value: Any) -> Any:
    """A value as an ABI decoder hands it out, in our one form."""
    if kind == "bytes32":
        return bytes(value)
    return str(value).lower() if kind == "address" else int(value)


def _read(table: Table, fields: Fields) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, kind in table:
        if kind == "bytes32":
            result[_attribute(name)] = fields.hex(name, 32)
        elif kind == "address":
            result[_attribute(name)] = fields.address(name)
        else:
            result[_attribute(name)] = fields.integer(name, 0, min(2 ** int(kind[4:]) - 1, MAX_INTEGER))
    return result
