# SPDX-License-Identifier: Apache-2.0
"""The vectors of typed data hold for three makers: eth-account, viem, and the contracts themselves.

eth-account made the vectors and is asked again; viem runs in Node; the contracts are put at the addresses
that the vectors name, and take the signatures as they stand there.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from sealroom.model import Owner, Platform, Study
from sealroom_agents.chain.contracts import interface
from tests.contracts.workshop import EMPTY, Workshop, initialization
from tests.local_chain import LocalChain, Reverted, account
from tests.patience import PATIENCE_S
from tests.vectors.vector import Vector, cases, read

SCRIPT = Path(__file__).with_name("viem_typed.mjs")
NOW = 1_890_000_000
"""Some weeks before the study of the vectors expires."""
OTHER, STRANGER, DEPLOYER = 0, 16, 18
VECTORS = {path.name: read(path) for path in cases("typed")}
OWNERS = ("AdoptPlatform", "ApproveStudy", "ChangeOwners", "Revoke", "Withdraw")
"""What owners sign, and a consortium takes."""


def body(vector: Vector) -> dict[str, Any]:
    return dict(json.loads(vector.body))


@pytest.mark.parametrize("name", VECTORS)
def test_eth_account_makes_the_signature(name: str) -> None:
    vector = VECTORS[name]
    signed = Account.sign_message(encode_typed_data(full_message=body(vector)), vector.hex("private-key"))
    assert bytes(signed.message_hash) == vector.hex("digest")
    assert bytes(signed.signature) == vector.hex("signature")


@pytest.fixture(scope="module")
def viem() -> dict[str, dict[str, str]]:
    given = [
        {"typedData": body(vector), "privateKey": "0x" + vector.fields["private-key"]}
        for vector in VECTORS.values()
    ]
    done = subprocess.run(
        ["node", SCRIPT],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(VECTORS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", VECTORS)
def test_viem_makes_the_same_digest_and_signature(name: str, viem: dict[str, dict[str, str]]) -> None:
    fields, found = VECTORS[name].fields, viem[name]
    assert found["domainSeparator"] == "0x" + fields["domain-separator"]
    assert found["structHash"] == "0x" + fields["struct-hash"]
    assert found["digest"] == "0x" + fields["digest"]
    assert found["signature"] == "0x" + fields["signature"]
    assert found["signer"].lower() == fields["signer"]


class Placed:
    """A consortium, and the ledger, at the addresses of the vectors. One of two owners grants."""

    def __init__(self, chain: LocalChain) -> None:
        self.chain = chain
        shop = Workshop(chain, now=NOW)
        vector = VECTORS["ApproveStudy"]
        self.owner = vector.fields["signer"]
        self.address = body(vector)["domain"]["verifyingContract"]
        self.ledger = body(VECTORS["Receipt"])["domain"]["verifyingContract"]
        rows = [
            (member, name.ljust(32, b"\0"), b"DE", 2)
            for member, name in ((self.owner, b"hospital-A"), (account(OTHER), b"hospital-B"))
        ]
        app = shop.deploy("DstackApp", False)
        made = shop.deploy("Consortium", app, shop.ledger, rows, 1)
        chain.send(DEPLOYER, app, initialization(self.address, upgrades_disabled=True))
        self._move(made, self.address)
        self._move(shop.ledger, self.ledger)

    def _move(self, made: str, to: str) -> None:
        """Copy a contract with all that it stores."""
        self.chain.rpc("anvil_setCode", to, self.chain.rpc("eth_getCode", made, "latest"))
        dump = json.loads(gzip.decompress(bytes.fromhex(self.chain.rpc("anvil_dumpState")[2:])))
        for slot, value in dump["accounts"][made].get("storage", {}).items():
            self.chain.rpc("anvil_setStorageAt", to, word(slot), word(value))

    def send(self, sender: int, function: str, *arguments: Any) -> None:
        self.chain.send(sender, self.address, interface("Consortium").encode(function, *arguments))

    def call(self, function: str, *arguments: Any) -> Any:
        return self.chain.call("Consortium", self.address, function, *arguments)

    def reach(self, message: dict[str, Any]) -> None:
        """The other owner registers the study's data, pins studies, and revokes, up to the vector's time."""
        study_ = message.get("study", {})
        for n, dataset in enumerate(study_.get("datasets", ())):
            arguments = raw(dataset), b"\x01" * 32, b"\x02" * 32, EMPTY, 1, f"cohort-{n}"
            self.send(OTHER, "registerDataset", *arguments)
        for _ in range(study_.get("nonce", 0)):
            nonce, epoch = self.call("pinCount"), self.call("epoch")
            self.send(OTHER, "approve", study({**study_, "nonce": nonce, "epoch": epoch}))
        while self.call("epoch") < epoch_of(message):
            self.send(OTHER, "revoke", "next")


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def moved(chain: LocalChain) -> Placed:
    return Placed(chain)


@pytest.fixture
def placed(moved: Placed) -> Iterator[Placed]:
    before = moved.chain.snapshot()
    yield moved
    moved.chain.restore(before)


@pytest.mark.anvil
@pytest.mark.parametrize("name", OWNERS)
def test_the_consortium_takes_the_signature_and_no_other(name: str, placed: Placed) -> None:
    vector = VECTORS[name]
    message = body(vector)["message"]
    placed.reach(message)
    assert placed.call("domainSeparator") == vector.hex("domain-separator")
    signature = vector.hex("signature")
    with pytest.raises(Reverted) as refused:
        hand_in(placed, name, message, signature[:-2] + bytes([signature[-2] ^ 1]) + signature[-1:])
    assert refused.value.name == "ConsortiumBadSignature"
    assert not took_effect(placed, name, message, vector)

    hand_in(placed, name, message, signature)
    assert took_effect(placed, name, message, vector)


@pytest.mark.anvil
def test_the_ledger_hashes_the_receipt_to_the_digest(placed: Placed) -> None:
    vector = VECTORS["Receipt"]
    content = values(body(vector))
    answer = placed.chain.call("Ledger", placed.ledger, "hashReceipt", content)
    assert answer == vector.hex("digest")


def hand_in(placed: Placed, name: str, message: dict[str, Any], signature: bytes) -> None:
    """A stranger hands in what the owner signed."""
    arguments: tuple[Any, ...]
    signed = [placed.owner], [signature]
    match name:
        case "ApproveStudy":
            function, arguments = "approveWithSignatures", (study(message["study"]), *signed)
        case "AdoptPlatform":
            function, arguments = "adoptPlatformWithSignatures", (platform(message["platform"]), *signed)
        case "ChangeOwners":
            roster = message["roster"]
            arguments = owners(roster), roster["threshold"], *signed
            function = "changeOwnersWithSignatures"
        case "Revoke":
            words = placed.owner, message["reason"], message["epoch"]
            function, arguments = "revokeWithSignature", (*words, signature)
        case _:
            withdrawal = raw(message["proposal"]), placed.owner, message["epoch"]
            function, arguments = "withdrawWithSignature", (*withdrawal, signature)
    placed.send(STRANGER, function, *arguments)


def took_effect(placed: Placed, name: str, message: dict[str, Any], vector: Vector) -> bool:
    match name:
        case "ApproveStudy":
            # The other owner revoked, so this approval counts and does not pin alone.
            return placed.owner in lower(placed.call("approvals", vector.hex("proposal")))
        case "AdoptPlatform":
            return bool(placed.call("platform")["gateRoot"] == raw(message["platform"]["gateRoot"]))
        case "ChangeOwners":
            seated = lower([owner["account"] for owner in placed.call("owners")])
            return seated == [owner["account"] for owner in message["roster"]["owners"]]
        case "Revoke":
            return str(placed.call("revokedBy")).lower() == placed.owner
        case _:
            withdrawn = placed.chain.rpc(
                "eth_getLogs", {"address": placed.address, "fromBlock": "0x0", "toBlock": "latest"}
            )
            topic = "0x" + interface("Consortium").topic("ApprovalWithdrawn").hex()
            return any(log["topics"][:2] == [topic, message["proposal"]] for log in withdrawn)


def epoch_of(message: dict[str, Any]) -> int:
    """The epoch for which it is signed; it stands in the proposal, if there is one."""
    inside = (value for value in message.values() if isinstance(value, dict))
    return int(next(inside, message)["epoch"])


def study(message: dict[str, Any]) -> tuple[Any, ...]:
    """`IConsortium.Study`."""
    return tuple(read_json(kind, message[name]) for name, kind in Study.table())


def platform(message: dict[str, Any]) -> tuple[Any, ...]:
    """`IConsortium.Platform`, which has no epoch."""
    return tuple(read_json(kind, message[name]) for name, kind in Platform.table())


def owners(message: dict[str, Any]) -> list[tuple[Any, ...]]:
    """`IConsortium.Owner[]`."""
    return [
        tuple(read_json(kind, owner[name]) for name, kind in Owner.table()) for owner in message["owners"]
    ]


def values(data: dict[str, Any]) -> tuple[Any, ...]:
    """All fields of the typed data's structure."""
    return tuple(
        read_json(field["type"], data["message"][field["name"]])
        for field in data["types"][data["primaryType"]]
    )


def read_json(kind: str, value: Any) -> Any:
    """A value of typed data's JSON as an ABI encoder takes it."""
    if kind.endswith("[]"):
        return [read_json(kind[:-2], item) for item in value]
    return raw(value) if kind.startswith("bytes") else value


def raw(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def word(value: str) -> str:
    return "0x" + value.removeprefix("0x").rjust(64, "0")


def lower(addresses: Any) -> list[str]:
    return [str(address).lower() for address in addresses]
