# SPDX-License-Identifier: Apache-2.0
"""Messages of the release protocol: what gate, enclave and watcher say to each other over HTTP.

Each message has `parse(bytes)`, which raises only `KeyReleaseError` (`malformed`, `too-large`,
`unsupported-version`), and `encode() -> bytes`, which writes canonical JSON. Addresses are `0x` + 40
lower-case hex digits; hashes, keys and evidence are raw bytes. Spec: `enclave/spec/key-release.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json, to_hex
from sealroom.errors import FormatError, KeyMaterialError, KeyReleaseError, SealroomError
from sealroom.gpu_demand import DemandMember, GpuDemand
from sealroom.gpu_rules import NO_GPU
from sealroom.guarantee import GUARANTEE
from sealroom.keys import KEM_PUBLIC_SIZE, SIGNATURE_SIZE, KeyInterface, address_of_public
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import (
    B32,
    Address,
    Base64,
    Epsilon,
    Hex,
    JsonObject,
    Pico,
    Seconds,
    Text,
    UInt,
)

MAX_EVIDENCE_BODY = 12 * 1024 * 1024
"""Most bytes of an evidence message: room for the headers of wide tables."""
MAX_IDENTITY_BODY = 2 * 1024 * 1024
"""Most bytes of a gate identity: it carries an event log and collateral."""
MAX_REPLY_BODY = 1024 * 1024
"""Most bytes of a grant reply: it carries collateral."""
MAX_BODY = 64 * 1024
"""Most bytes of every other message."""
MAX_QUOTE = 16 * 1024
"""Most bytes of a quote (AT-31)."""
MAX_EVENT_LOG = 1024 * 1024
"""Most characters of an event log (AT-31)."""
MAX_GPU_EVIDENCE = 256 * 1024
"""Most bytes of GPU evidence."""
MAX_GPU_MATERIAL = 512 * 1024
"""Most bytes of what a gate judged GPU evidence by; a machine of one kind of GPU takes some 60 KiB."""
MAX_POLICY = 64 * 1024
"""Most bytes of a platform policy, as canonical JSON."""
MAX_COMPOSE = 256 * 1024
"""Most bytes of an app-compose.json: what dstack takes."""
MAX_DATASETS = 16
"""Most datasets of a study."""
MAX_HEADER = 1024 * 1024
"""Most bytes of a sealed dataset's header."""
MAX_WRAP = 16 * 1024
"""Most bytes of a wrap."""
MAX_LEASE_SECONDS = 60
MAX_CONSORTIA = 256
"""Most consortia that a watcher reports in one message."""
WATCH_VERSION = 2
"""Version of the watcher's heartbeat; no other is read."""

KEY_INTERFACE = re.compile("|".join(KeyInterface))

ChainId = Annotated[int, UInt(64, low=1)]
KemKey = Annotated[bytes, Base64(KEM_PUBLIC_SIZE, KEM_PUBLIC_SIZE)]
"""An X-Wing public key, 1216 bytes."""
Signature = Annotated[bytes, Hex(SIGNATURE_SIZE)]
"""A secp256k1 signature, 65 bytes."""


def read_body(body: bytes, what: str, limit: int = MAX_BODY) -> dict[str, Any]:
    """Decode a message's body, one JSON object. Raises `KeyReleaseError`."""
    try:
        return strict_json(body, limit)
    except FormatError as error:
        raise KeyReleaseError(error.code, f"{what}: {error.message}") from None


@dataclass(frozen=True, kw_only=True)
class Message(Record):
    """What all messages can do. `version` stands in the JSON of each, unless it is 0."""

    version: ClassVar[int] = 2
    limit: ClassVar[int] = MAX_BODY
    """Most bytes of its body."""

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON, with the version."""
        return ({"version": self.version} if self.version else {}) | super().to_json()

    def encode(self) -> bytes:
        """The message as canonical JSON."""
        return canonical(self.to_json())

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a body. Raises `KeyReleaseError`."""
        return cls.from_json(read_body(body, cls.what, cls.limit))

    @classmethod
    def from_json(
        cls,
        value: Any,
        *,
        error: type[SealroomError] = KeyReleaseError,
        code: Code = Code.MALFORMED,
        what: str | None = None,
    ) -> Self:
        """Read strictly what `to_json` writes; another version is `unsupported-version`."""
        what = what or cls.what
        if cls.version and isinstance(value, dict):
            value = dict(value)
            if "version" not in value:
                raise error(code, f"{what} lacks version")
            if (found := value.pop("version")) != cls.version or isinstance(found, bool):
                raise error(Code.UNSUPPORTED_VERSION, f"{what} has a version other than {cls.version}")
        return super().from_json(value, error=error, code=code, what=what)


@dataclass(frozen=True, kw_only=True)
class GateIdentity(Message, what="gate identity"):
    """Who the gate is, with the proof: `GET /v1/gate`."""

    version = 3
    limit = MAX_IDENTITY_BODY

    chain_id: ChainId
    """The chain it reads."""
    app_id: Annotated[bytes, Hex(20)]
    """dstack app id of the gate's own CVM."""
    compose_hash: B32
    """Compose hash of the gate's own app."""
    compose: Annotated[bytes, Base64(MAX_COMPOSE)]
    """Bytes of the gate's own app-compose.json, of which that is the SHA-256: which images run there."""
    root_public_key: KemKey
    """X-Wing public key to which owners wrap data keys."""
    signer_key: Annotated[bytes, Hex(33)]
    """Compressed secp256k1 public key that signs challenges and grants."""
    kms_root_key: Annotated[bytes, Hex(33)]
    """Compressed secp256k1 root key of the dstack KMS."""
    signature_chain: Annotated[tuple[Signature, ...], AtMost(2)]
    """dstack's two signatures over the signer key: by the app key, then by the KMS root key."""
    policy_hash: B32
    """SHA-256 of the platform policy by which it judges, in its own canonical bytes."""
    policy: Annotated[Mapping[str, Any], JsonObject()]
    """That document. Only who judges by it reads it: an enclave hands it on, of whatever version it is."""
    quote: Annotated[bytes, Base64(MAX_QUOTE)]
    """TDX quote of the gate's CVM, whose report data is `release.gate_report_data`."""
    event_log: Annotated[str, Text(MAX_EVENT_LOG)]
    """dstack's event log, JSON text."""
    collateral: Annotated[Mapping[str, Any], JsonObject()]
    """Intel's collateral for the quote, in dcap-qvl's JSON form."""
    issued: Seconds
    """When the quote was made, unix seconds."""
    key_interface: Annotated[str, Text(2, KEY_INTERFACE)] = KeyInterface.V0.value
    """Which of dstack's guest interfaces both keys come from: in JSON only where it is `v1`. So who knows the
    other alone reads all other identities, and refuses these."""

    @property
    def gate_root(self) -> bytes:
        """Fingerprint of the root public key, as the chain names it."""
        return sha256(self.root_public_key)

    @property
    def kms_root(self) -> bytes:
        """Fingerprint of the KMS root key, as wraps name it."""
        return sha256(self.kms_root_key)

    @property
    def signer(self) -> str:
        """Address of the signer key."""
        return address_of_public(self.signer_key)

    @property
    def policy_digest(self) -> bytes:
        """SHA-256 of the document that it carries; whether that is `policy_hash`, its reader checks."""
        return sha256(canonical(self.policy))

    def fault(self) -> str | None:
        try:
            if len(canonical(self.policy)) > MAX_POLICY:
                return f"has policy of more than {MAX_POLICY} bytes"
        except FormatError as error:
            return f"has policy that is no canonical JSON: {error.message}"
        if len(self.signature_chain) != 2:
            return "has signatureChain without two signatures"
        try:
            address_of_public(self.signer_key)
        except KeyMaterialError as error:
            return f"has signerKey that is {error}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON, with the two that derive from them."""
        told = super().to_json() | {"gateRoot": to_hex(self.gate_root), "signer": self.signer}
        if self.key_interface == KeyInterface.V0:
            del told["keyInterface"]
        return told

    @classmethod
    def from_json(
        cls,
        value: Any,
        *,
        error: type[SealroomError] = KeyReleaseError,
        code: Code = Code.MALFORMED,
        what: str | None = None,
    ) -> Self:
        """Read strictly what `to_json` writes. Derived fields must equal what they derive from."""
        what = what or cls.what
        stated, needless = {}, False
        if isinstance(value, dict):
            value = dict(value)
            stated = {name: value.pop(name) for name in ("gateRoot", "signer") if name in value}
            needless = value.get("keyInterface") == KeyInterface.V0
            value = {"keyInterface": KeyInterface.V0.value} | value
        # The version is read first: one that this code does not know may lack anything.
        identity = super().from_json(value, error=error, code=code, what=what)
        for name in ("gateRoot", "signer"):
            if name not in stated:
                raise error(code, f"{what} lacks {name}")
        if needless:
            raise error(code, f"{what} has keyInterface that says what is so without it")
        if stated["gateRoot"] != to_hex(identity.gate_root):
            raise error(code, f"{what} has a gateRoot that is not the digest of rootPublicKey")
        if stated["signer"] != identity.signer:
            raise error(code, f"{what} has a signer that is not the address of signerKey")
        return identity


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """The enclave opens: which run, of which recipe."""

    run_id: B32
    """Id of the run."""
    chain_id: ChainId
    """Chain of the consortium."""
    consortium: Address
    """Address of the consortium."""
    compose_hash: B32
    """Compose hash that the enclave booted."""
    epsilon_micro: Annotated[int, Epsilon(64, low=1)]
    """What one run of the recipe spends, micro-epsilon. The gate, which has no recipe, books it."""
    delta_pico: Pico
    """The same for δ, parts of 10^12; zero when all mechanisms are pure."""
    guarantee: Annotated[str, Text(32, GUARANTEE)]
    """The recipe's guarantee: the gate asks whether the owners accept it."""
    gpu: Annotated[GpuDemand | None, DemandMember()] = None
    """The GPUs that the recipe demands: in JSON only where it demands some. So a gate that knows no GPUs
    reads all other hellos, and refuses these."""

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON."""
        return {name: value for name, value in super().to_json().items() if value != NO_GPU or name != "gpu"}

    @classmethod
    def from_json(
        cls,
        value: Any,
        *,
        error: type[SealroomError] = KeyReleaseError,
        code: Code = Code.MALFORMED,
        what: str | None = None,
    ) -> Self:
        """Read strictly what `to_json` writes."""
        what = what or cls.what
        if isinstance(value, dict):
            if value.get("gpu") == NO_GPU:
                raise error(code, f"{what} has gpu that demands nothing")
            value = {"gpu": NO_GPU} | value
        return super().from_json(value, error=error, code=code, what=what)


@dataclass(frozen=True, kw_only=True)
class Challenge(Message):
    """The gate's nonce, signed, good once and for at most 60 seconds."""

    nonce: B32
    """Random bytes."""
    issued: Seconds
    """Unix seconds."""
    expires: Seconds
    """Unix seconds, at most 60 after `issued`."""
    signature: Signature
    """The gate's signature over SHA-256(T0)."""

    def fault(self) -> str | None:
        latest = self.issued + MAX_LEASE_SECONDS
        if not self.issued <= self.expires <= latest:
            return f"has expires that is not an integer from {self.issued} to {latest}"
        return None

    def unsigned_json(self) -> dict[str, Any]:
        """The fields that T0 covers: all but the signature."""
        return {name: value for name, value in self.to_json().items() if name != "signature"}


@dataclass(frozen=True, kw_only=True)
class DatasetOffer(Record):
    """What the enclave shows of one sealed dataset; the gate needs no more than this to open its wrap."""

    header: Annotated[bytes, Base64(MAX_HEADER)]
    """Bytes of `header.json`."""
    wrap: Annotated[bytes, Base64(MAX_WRAP)]
    """Bytes of `wrap.json`."""


@dataclass(frozen=True, kw_only=True)
class EvidenceMessage(Message, what="evidence"):
    """The enclave proves what it is, and asks for the keys of its datasets."""

    limit = MAX_EVIDENCE_BODY

    nonce: B32
    """Nonce of the challenge."""
    kem_key: KemKey
    """X-Wing public key made for this run."""
    signer: Address
    """Address of the signing key made for this run."""
    quote: Annotated[bytes, Base64(MAX_QUOTE)]
    """TDX quote whose report data is `release.report_data`."""
    event_log: Annotated[str, Text(MAX_EVENT_LOG)]
    """dstack's event log, JSON text."""
    gpu_evidence: Annotated[bytes, Base64(MAX_GPU_EVIDENCE)]
    """Evidence of the GPUs that the recipe demands, under `gpu_nonce`; empty where it demands none."""
    datasets: Annotated[tuple[DatasetOffer, ...], AtMost(MAX_DATASETS)]
    """Sealed datasets, in the study's order (ids strictly increasing)."""
