# SPDX-License-Identifier: Apache-2.0
"""The files of governance, and what they say: proposals, platforms, registrations, signatures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.messages import SignableMessage
from scripts._command import Complaint, read_json, write_json

from sealroom import typed
from sealroom.decimals import parse_decimal, to_micro
from sealroom.encoding import Fields, address_bytes, from_hex, normal_address, to_hex
from sealroom.errors import FormatError

HASH_BYTES = 32
MAX_LIST = 64
"""Most datasets of a study, and most images or devices of a platform."""
MAX_UINT32 = 2**32 - 1
MAX_EXPIRY = 2**53 - 1
MAX_NAME_BYTES = 64
MAX_SIGNATURE_BYTES = 16 * 1024
"""Signatures of contract wallets hold those of all their owners."""
NO_HASH = bytes(HASH_BYTES)


@dataclass(frozen=True)
class Study:
    """A study as proposed on chain (`StudyLike` of sealroom.records)."""

    compose_hash: bytes
    """SHA-256 of the recipe's bytes."""
    output_hash: bytes
    """SHA-256 of the output contract."""
    privacy_hash: bytes
    """SHA-256 of the privacy policy."""
    datasets: tuple[bytes, ...]
    """Dataset ids, strictly increasing."""
    epsilon_micro: int
    """Millionths of ε for all runs together."""
    delta_pico: int
    """Parts of δ in 10^12 for all runs together; 0 for pure privacy."""
    max_runs: int
    """Number of runs."""
    expiry: int
    """Unix seconds."""
    epoch: int
    """Epoch in which approvals count."""
    nonce: int
    """Number of studies pinned before it."""

    @classmethod
    def load(cls, path: Path, *, epoch: int, nonce: int) -> Study:
        """Read a proposal. Datasets may stand in any order."""
        fields = Fields(read_json(path), str(path))
        study = cls(
            compose_hash=fields.hex("composeHash", HASH_BYTES),
            output_hash=fields.hex("outputHash", HASH_BYTES),
            privacy_hash=fields.hex("privacyHash", HASH_BYTES),
            datasets=_hashes(fields, "datasets"),
            epsilon_micro=epsilon_micro(fields.raw("epsilon"), what="epsilon"),
            delta_pico=delta_pico(fields.raw("delta"), what="delta") if fields.has("delta") else 0,
            max_runs=fields.integer("maxRuns", 1, MAX_UINT32),
            expiry=fields.integer("expiry", 1, MAX_EXPIRY),
            epoch=epoch,
            nonce=nonce,
        )
        fields.done()
        return study

    @classmethod
    def of_event(cls, s: dict[str, Any]) -> Study:
        """Read `IConsortium.Study`, as an event holds it."""
        return cls(
            compose_hash=bytes(s["composeHash"]),
            output_hash=bytes(s["outputHash"]),
            privacy_hash=bytes(s["privacyHash"]),
            datasets=tuple(bytes(dataset) for dataset in s["datasets"]),
            epsilon_micro=s["epsilonMicro"],
            delta_pico=s["deltaPico"],
            max_runs=s["maxRuns"],
            expiry=s["expiry"],
            epoch=s["epoch"],
            nonce=s["nonce"],
        )

    def solidity(self) -> tuple[Any, ...]:
        """`IConsortium.Study`."""
        return (
            self.compose_hash,
            self.output_hash,
            self.privacy_hash,
            list(self.datasets),
            self.epsilon_micro,
            self.delta_pico,
            self.max_runs,
            self.expiry,
            self.epoch,
            self.nonce,
        )

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "composeHash": to_hex(self.compose_hash),
            "outputHash": to_hex(self.output_hash),
            "privacyHash": to_hex(self.privacy_hash),
            "datasets": [to_hex(dataset) for dataset in self.datasets],
            "epsilonMicro": self.epsilon_micro,
            "deltaPico": self.delta_pico,
            "maxRuns": self.max_runs,
            "expiry": self.expiry,
            "epoch": self.epoch,
            "nonce": self.nonce,
        }

    def lines(self) -> list[tuple[str, str]]:
        """For people, who are about to approve it."""
        return [
            ("recipe", to_hex(self.compose_hash)),
            ("output", to_hex(self.output_hash)),
            ("privacy", to_hex(self.privacy_hash)),
            *(("dataset", to_hex(dataset)) for dataset in self.datasets),
            ("epsilon", f"{epsilon_text(self.epsilon_micro)} for at most {self.max_runs} runs"),
            ("delta", delta_text(self.delta_pico)),
            ("expires", f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(self.expiry))} UTC"),
            ("epoch", f"{self.epoch}, after {self.nonce} studies"),
        ]


@dataclass(frozen=True)
class Request:
    """What an owner is asked to sign, on a machine that need not see the chain."""

    study: Study
    owner: str
    chain_id: int
    consortium: str

    @classmethod
    def load(cls, path: Path) -> Request:
        """Read typed data as `save` writes it. All but the values is fixed, so nothing can hide in it."""
        data = read_json(path)
        fields = Fields(data, str(path))
        domain = Fields(fields.object("domain"), f"the domain of {path}")
        message = Fields(fields.object("message"), f"the message of {path}")
        study = Fields(message.object("study"), f"the study of {path}")
        request = cls(
            study=Study(
                compose_hash=study.hex("composeHash", HASH_BYTES),
                output_hash=study.hex("outputHash", HASH_BYTES),
                privacy_hash=study.hex("privacyHash", HASH_BYTES),
                datasets=_hashes(study, "datasets"),
                epsilon_micro=study.integer("epsilonMicro", 1),
                delta_pico=study.integer("deltaPico"),
                max_runs=study.integer("maxRuns", 1, MAX_UINT32),
                expiry=study.integer("expiry", 1, MAX_EXPIRY),
                epoch=study.integer("epoch", 1),
                nonce=study.integer("nonce"),
            ),
            owner=message.address("owner"),
            chain_id=domain.integer("chainId", 1),
            consortium=domain.address("verifyingContract"),
        )
        if request.json() != data:
            raise Complaint(f"{path} is not a request to approve a study", "`approve --request` writes one")
        return request

    def json(self) -> dict[str, Any]:
        """EIP-712 typed data, as any wallet takes it."""
        domain = typed.consortium_domain(self.chain_id, self.consortium)
        return typed.typed_data("ApproveStudy", domain, {"owner": self.owner, "study": self.study.json()})

    def message(self) -> SignableMessage:
        """What is signed."""
        return typed.approve_study(
            self.study, owner=self.owner, chain_id=self.chain_id, consortium=self.consortium
        )


@dataclass(frozen=True)
class Platform:
    """A gate and its machines (`PlatformLike` of sealroom.records)."""

    gate_root: bytes
    """SHA-256 of the gate's root public key."""
    gate_signer: str
    """Address with which the gate opens runs."""
    gate_compose: bytes
    """Compose hash of the gate's own CVM."""
    os_images: tuple[bytes, ...]
    """Guest images, strictly increasing."""
    devices: tuple[bytes, ...]
    """Machines, strictly increasing."""

    @classmethod
    def load(cls, path: Path) -> Platform:
        """Read a platform. Images and devices may stand in any order."""
        fields = Fields(read_json(path), str(path))
        platform = cls(
            gate_root=fields.hex("gateRoot", HASH_BYTES),
            gate_signer=normal_address(fields.raw("gateSigner")),
            gate_compose=fields.hex("gateCompose", HASH_BYTES),
            os_images=_hashes(fields, "osImages"),
            devices=_hashes(fields, "devices"),
        )
        fields.done()
        return platform

    @classmethod
    def of_chain(cls, p: Any) -> Platform | None:
        """Read `IConsortium.Platform`; None before the first was adopted."""
        if bytes(p.gateRoot) == NO_HASH:
            return None
        return cls(
            gate_root=bytes(p.gateRoot),
            gate_signer=p.gateSigner.lower(),
            gate_compose=bytes(p.gateCompose),
            os_images=tuple(bytes(image) for image in p.osImages),
            devices=tuple(bytes(device) for device in p.devices),
        )

    def solidity(self) -> tuple[Any, ...]:
        """`IConsortium.Platform`."""
        return self.gate_root, self.gate_signer, self.gate_compose, list(self.os_images), list(self.devices)

    def json(self) -> dict[str, Any]:
        """The content of a platform file."""
        return {
            "gateRoot": to_hex(self.gate_root),
            "gateSigner": self.gate_signer,
            "gateCompose": to_hex(self.gate_compose),
            "osImages": [to_hex(image) for image in self.os_images],
            "devices": [to_hex(device) for device in self.devices],
        }

    def lines(self) -> list[tuple[str, str]]:
        """For people, who are about to trust it."""
        return [
            ("gate root", to_hex(self.gate_root)),
            ("gate signer", self.gate_signer),
            ("gate recipe", to_hex(self.gate_compose)),
            *(("OS image", to_hex(image)) for image in self.os_images),
            *(("device", to_hex(device)) for device in self.devices),
        ]


@dataclass(frozen=True)
class Registration:
    """What `sealroom seal` wrote for the chain."""

    dataset_id: bytes
    """SHA-256 of the sealed file's header."""
    index_digest: bytes
    """SHA-256 of its index."""
    key_commitment: bytes
    """Commitment to the data key."""
    schema_hash: bytes
    """SHA-256 of the declared columns."""
    rows: int
    """Records; 0 where the file has none to count."""
    name: str
    """Name of the dataset."""

    @classmethod
    def load(cls, path: Path) -> Registration:
        """Read a registration."""
        fields = Fields(read_json(path), str(path))
        registration = cls(
            dataset_id=fields.hex("datasetId", HASH_BYTES),
            index_digest=fields.hex("indexDigest", HASH_BYTES),
            key_commitment=fields.hex("keyCommitment", HASH_BYTES),
            schema_hash=fields.hex("schemaHash", HASH_BYTES),
            rows=_rows(fields),
            name=fields.text("name", limit=MAX_NAME_BYTES),
        )
        fields.done()
        return registration

    def solidity(self) -> tuple[Any, ...]:
        """Arguments of `registerDataset`."""
        return (
            self.dataset_id,
            self.index_digest,
            self.key_commitment,
            self.schema_hash,
            self.rows,
            self.name,
        )


@dataclass(frozen=True)
class Cap:
    """What all runs together may ever spend on a dataset (`ILedger.Cap`)."""

    epsilon_micro: int
    """Millionths of ε."""
    delta_pico: int
    """Parts of δ in 10^12."""
    runs: int
    """Number of runs."""

    @classmethod
    def parse(cls, epsilon: str, delta: str, runs: int) -> Cap:
        """Read the options of a command."""
        return cls(epsilon_micro(epsilon, what="--cap"), delta_pico(delta, what="--delta"), runs)

    def solidity(self) -> tuple[int, int, int]:
        """`ILedger.Cap`."""
        return self.epsilon_micro, self.delta_pico, self.runs

    def json(self) -> dict[str, int]:
        """For programs."""
        return {"epsilonMicro": self.epsilon_micro, "deltaPico": self.delta_pico, "runs": self.runs}

    def text(self) -> str:
        """For people."""
        return f"ε {epsilon_text(self.epsilon_micro)}, δ {delta_text(self.delta_pico)}, {self.runs} runs"


@dataclass(frozen=True)
class SignatureFile:
    """One owner's signature, gathered off chain."""

    kind: str
    """`ApproveStudy`, `AdoptPlatform`, `ChangeOwners`, `Withdraw` or `Revoke`."""
    chain_id: int
    consortium: str
    proposal: bytes
    """Id of the study, platform or roster; for a revocation, zero."""
    owner: str
    signature: bytes

    @classmethod
    def load(cls, path: Path) -> SignatureFile:
        """Read a signature."""
        fields = Fields(read_json(path), str(path))
        fields.version()
        signature = cls(
            kind=fields.text("kind", limit=32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            proposal=fields.hex("proposal", HASH_BYTES),
            owner=fields.address("owner"),
            signature=from_hex(fields.text("signature", limit=2 * MAX_SIGNATURE_BYTES + 2)),
        )
        fields.done()
        return signature

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_json(
            path,
            {
                "version": 1,
                "kind": self.kind,
                "chainId": self.chain_id,
                "consortium": self.consortium,
                "proposal": to_hex(self.proposal),
                "owner": self.owner,
                "signature": to_hex(self.signature),
            },
        )


def gather(
    paths: Sequence[Path], *, kind: str, chain_id: int, consortium: str, proposal: bytes
) -> list[SignatureFile]:
    """Read signatures over one proposal, in the contract's order: by address, each owner once."""
    by_owner: dict[str, SignatureFile] = {}
    for path in paths:
        found = SignatureFile.load(path)
        wanted = (kind, chain_id, consortium, proposal)
        if (found.kind, found.chain_id, found.consortium, found.proposal) != wanted:
            raise Complaint(
                f"{path} is a signature for something else: {found.kind} {to_hex(found.proposal)}"
                f" of {found.consortium} on chain {found.chain_id}",
                f"wanted is {kind} {to_hex(proposal)} of {consortium} on chain {chain_id}",
            )
        by_owner[found.owner] = found
    return sorted(by_owner.values(), key=lambda signature: address_bytes(signature.owner))


def epsilon_micro(value: Any, *, what: str) -> int:
    """ε written as a decimal text, in millionths. More than six decimals are refused, not rounded."""
    try:
        epsilon = parse_decimal(value)
    except FormatError as error:
        raise FormatError("malformed", f'{what} must be a decimal number as text, such as "4.5"') from error
    micro = to_micro(epsilon)
    if micro <= 0 or micro >= 2**53 or epsilon * 1_000_000 != micro:
        raise FormatError("malformed", f"{what} must be above zero, with at most six decimals")
    return micro


def delta_pico(value: Any, *, what: str) -> int:
    """δ written as a decimal text, in parts of 10^12. More than twelve decimals are refused, not rounded."""
    try:
        delta = parse_decimal(value)
    except FormatError as error:
        raise FormatError(
            "malformed", f'{what} must be a decimal number as text, such as "0.00001"'
        ) from error
    pico = int(delta * 10**12)
    if not 0 <= delta < 1 or delta * 10**12 != pico:
        raise FormatError("malformed", f"{what} must be from zero to below one, with at most 12 decimals")
    return pico


def epsilon_text(micro: int) -> str:
    """Millionths of ε for people: `4.5`."""
    return _decimal_text(micro, 6)


def delta_text(pico: int) -> str:
    """Parts of δ in 10^12 for people: `0.00001`."""
    return _decimal_text(pico, 12)


def _decimal_text(units: int, decimals: int) -> str:
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}".rstrip("0").rstrip(".")


def _hashes(fields: Fields, name: str) -> tuple[bytes, ...]:
    hashes = sorted(from_hex(item, HASH_BYTES) for item in fields.array(name, limit=MAX_LIST))
    if len(set(hashes)) != len(hashes):
        fields.fail(f"lists one of {name} twice")
    return tuple(hashes)


def _rows(fields: Fields) -> int:
    # A file that is no table has no rows to count.
    rows = fields.raw("rows")
    if rows is None:
        return 0
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        fields.fail("has rows that is not a count")
    return rows
