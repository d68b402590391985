# SPDX-License-Identifier: Apache-2.0
"""Messages of the release protocol: what gate, enclave and watcher say to each other over HTTP.

Each message has `parse(bytes)`, which raises only `KeyReleaseError` (`malformed`, `too-large`,
`unsupported-version`), and `encode() -> bytes`, which writes canonical JSON. Addresses are `0x` + 40
lower-case hex digits; hashes, keys and evidence are raw bytes. Spec: `enclave/spec/key-release.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.encoding import Fields, canonical, sha256, strict_json, to_base64, to_hex
from sealroom.errors import FormatError, KeyMaterialError, KeyReleaseError
from sealroom.keys import KEM_PUBLIC_SIZE, SIGNATURE_SIZE, address_of_public

MAX_EVIDENCE_BODY = 2 * 1024 * 1024
"""Most bytes of an evidence message."""
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
MAX_DATASETS = 16
"""Most datasets of a study."""
MAX_HEADER = 64 * 1024
"""Most bytes of a sealed dataset's header."""
MAX_WRAP = 16 * 1024
"""Most bytes of a wrap."""
MAX_LEASE_SECONDS = 60
MAX_CONSORTIA = 256
"""Most consortia that a watcher reports in one message."""
WATCH_VERSION = 2
"""Version of the watcher's heartbeat; no other is read."""


class Message(Protocol):
    """What all messages can do."""

    def to_json(self) -> dict[str, Any]: ...


def encode(message: Message) -> bytes:
    """The message as canonical JSON."""
    return canonical(message.to_json())


def read_body(body: bytes, what: str, limit: int = MAX_BODY) -> Fields:
    """Decode a message body into a field reader whose errors are `KeyReleaseError`."""
    try:
        value = strict_json(body, limit)
    except FormatError as error:
        raise KeyReleaseError(error.code, f"{what}: {error.message}") from None
    return Fields(value, what, error=KeyReleaseError)


@dataclass(frozen=True, kw_only=True)
class GateIdentity:
    """Who the gate is, with the proof: `GET /v1/gate`."""

    chain_id: int
    """The chain it reads."""
    app_id: bytes
    """dstack app id of the gate's own CVM, 20 bytes."""
    compose_hash: bytes
    """Compose hash of the gate's own app, 32 bytes."""
    root_public_key: bytes
    """X-Wing public key to which owners wrap data keys, 1216 bytes."""
    signer_key: bytes
    """Compressed secp256k1 public key that signs challenges and grants, 33 bytes."""
    kms_root_key: bytes
    """Compressed secp256k1 root key of the dstack KMS, 33 bytes."""
    signature_chain: tuple[bytes, bytes]
    """dstack's signatures over the signer key: by the app key, then by the KMS root key; 65 bytes each."""
    quote: bytes
    """TDX quote of the gate's CVM, whose report data is `release.gate_report_data`."""
    event_log: str
    """dstack's event log, JSON text."""
    collateral: Mapping[str, Any]
    """Intel's collateral for the quote, in dcap-qvl's JSON form."""
    issued: int
    """When the quote was made, unix seconds."""

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

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "chainId": self.chain_id,
            "appId": to_hex(self.app_id),
            "composeHash": to_hex(self.compose_hash),
            "rootPublicKey": to_base64(self.root_public_key),
            "gateRoot": to_hex(self.gate_root),
            "signer": self.signer,
            "signerKey": to_hex(self.signer_key),
            "kmsRootKey": to_hex(self.kms_root_key),
            "signatureChain": [to_hex(signature) for signature in self.signature_chain],
            "quote": to_base64(self.quote),
            "eventLog": self.event_log,
            "collateral": dict(self.collateral),
            "issued": self.issued,
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> GateIdentity:
        return cls.read(read_body(body, "gate identity", MAX_IDENTITY_BODY))

    @classmethod
    def from_json(cls, value: Any) -> GateIdentity:
        return cls.read(Fields(value, "gate identity", error=KeyReleaseError))

    @classmethod
    def read(cls, fields: Fields) -> GateIdentity:
        """Read from a decoded object. Derived fields must equal what they derive from."""
        fields.version()
        chain = fields.array("signatureChain", limit=2)
        if len(chain) != 2:
            fields.fail("has signatureChain without two signatures")
        pair = Fields(
            {"app": chain[0], "kms": chain[1]}, "gate identity's signatureChain", error=KeyReleaseError
        )
        stated_root, stated_signer = fields.hex("gateRoot", 32), fields.address("signer")
        identity = cls(
            chain_id=fields.integer("chainId", 1),
            app_id=fields.hex("appId", 20),
            compose_hash=fields.hex("composeHash", 32),
            root_public_key=fields.base64("rootPublicKey", limit=KEM_PUBLIC_SIZE, size=KEM_PUBLIC_SIZE),
            signer_key=fields.hex("signerKey", 33),
            kms_root_key=fields.hex("kmsRootKey", 33),
            signature_chain=(pair.hex("app", SIGNATURE_SIZE), pair.hex("kms", SIGNATURE_SIZE)),
            quote=fields.base64("quote", limit=MAX_QUOTE),
            event_log=fields.text("eventLog", limit=MAX_EVENT_LOG),
            collateral=fields.object("collateral"),
            issued=fields.integer("issued"),
        )
        fields.done()
        if identity.gate_root != stated_root:
            fields.fail("has a gateRoot that is not the digest of rootPublicKey")
        try:
            derived = identity.signer
        except KeyMaterialError as error:
            fields.fail(f"has signerKey that is {error}")
        if derived != stated_signer:
            fields.fail("has a signer that is not the address of signerKey")
        return identity


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The enclave opens: which run, of which recipe."""

    run_id: bytes
    """Id of the run, 32 bytes."""
    chain_id: int
    """Chain of the consortium."""
    consortium: str
    """Address of the consortium."""
    compose_hash: bytes
    """Compose hash that the enclave booted, 32 bytes."""
    epsilon_micro: int
    """What one run of the recipe spends, micro-epsilon. The gate, which has no recipe, books it."""
    delta_pico: int
    """The same for δ, parts of 10^12; zero when all mechanisms are pure."""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "runId": to_hex(self.run_id),
            "chainId": self.chain_id,
            "consortium": self.consortium,
            "composeHash": to_hex(self.compose_hash),
            "epsilonMicro": self.epsilon_micro,
            "deltaPico": self.delta_pico,
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> Hello:
        return cls.read(read_body(body, "hello"))

    @classmethod
    def read(cls, fields: Fields) -> Hello:
        fields.version()
        hello = cls(
            run_id=fields.hex("runId", 32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            compose_hash=fields.hex("composeHash", 32),
            epsilon_micro=fields.integer("epsilonMicro", 1),
            delta_pico=fields.integer("deltaPico"),
        )
        fields.done()
        return hello


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """The gate's nonce, signed, good once and for at most 60 seconds."""

    nonce: bytes
    """32 random bytes."""
    issued: int
    """Unix seconds."""
    expires: int
    """Unix seconds, at most 60 after `issued`."""
    signature: bytes
    """The gate's signature over SHA-256(T0), 65 bytes."""

    def unsigned_json(self) -> dict[str, Any]:
        """The fields that T0 covers: all but the signature."""
        return {
            "version": 1,
            "nonce": to_hex(self.nonce),
            "issued": self.issued,
            "expires": self.expires,
        }

    def to_json(self) -> dict[str, Any]:
        return {**self.unsigned_json(), "signature": to_hex(self.signature)}

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> Challenge:
        return cls.read(read_body(body, "challenge"))

    @classmethod
    def read(cls, fields: Fields) -> Challenge:
        fields.version()
        nonce, issued = fields.hex("nonce", 32), fields.integer("issued")
        challenge = cls(
            nonce=nonce,
            issued=issued,
            expires=fields.integer("expires", issued, issued + MAX_LEASE_SECONDS),
            signature=fields.hex("signature", SIGNATURE_SIZE),
        )
        fields.done()
        return challenge


@dataclass(frozen=True, kw_only=True)
class DatasetOffer:
    """What the enclave shows of one sealed dataset; the gate needs no more than this to open its wrap."""

    header: bytes
    """Bytes of `header.json`."""
    wrap: bytes
    """Bytes of `wrap.json`."""


@dataclass(frozen=True, kw_only=True)
class EvidenceMessage:
    """The enclave proves what it is, and asks for the keys of its datasets."""

    nonce: bytes
    """Nonce of the challenge, 32 bytes."""
    kem_key: bytes
    """X-Wing public key made for this run, 1216 bytes."""
    signer: str
    """Address of the signing key made for this run."""
    quote: bytes
    """TDX quote whose report data is `release.report_data`."""
    event_log: str
    """dstack's event log, JSON text."""
    gpu_evidence: bytes
    """GPU evidence; empty without a GPU."""
    datasets: tuple[DatasetOffer, ...]
    """Sealed datasets, in the study's order (ids strictly increasing)."""

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "nonce": to_hex(self.nonce),
            "kemKey": to_base64(self.kem_key),
            "signer": self.signer,
            "quote": to_base64(self.quote),
            "eventLog": self.event_log,
            "gpuEvidence": to_base64(self.gpu_evidence),
            "datasets": [
                {"header": to_base64(offer.header), "wrap": to_base64(offer.wrap)} for offer in self.datasets
            ],
        }

    def encode(self) -> bytes:
        return encode(self)

    @classmethod
    def parse(cls, body: bytes) -> EvidenceMessage:
        fields = read_body(body, "evidence", MAX_EVIDENCE_BODY)
        fields.version()
        message = cls(
            nonce=fields.hex("nonce", 32),
            kem_key=fields.base64("kemKey", limit=KEM_PUBLIC_SIZE, size=KEM_PUBLIC_SIZE),
            signer=fields.address("signer"),
            quote=fields.base64("quote", limit=MAX_QUOTE),
            event_log=fields.text("eventLog", limit=MAX_EVENT_LOG),
            gpu_evidence=fields.base64("gpuEvidence", limit=MAX_GPU_EVIDENCE),
            datasets=tuple(_offer(item) for item in fields.array("datasets", limit=MAX_DATASETS)),
        )
        fields.done()
        return message


def _offer(value: Any) -> DatasetOffer:
    fields = Fields(value, "evidence's dataset", error=KeyReleaseError)
    offer = DatasetOffer(
        header=fields.base64("header", limit=MAX_HEADER), wrap=fields.base64("wrap", limit=MAX_WRAP)
    )
    fields.done()
    return offer
