# SPDX-License-Identifier: Apache-2.0
"""The vectors of typed data hold for three makers: eth-account, viem, and the contracts themselves.

eth-account made the vectors and is asked again; viem runs in Node; the contracts are put at the addresses
that the vectors name, and take the signatures as they stand there.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from sealroom import typed
from sealroom.model import (
    VOTES,
    AddMachines,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Revoke,
    State,
    Study,
    Validity,
    Vote,
    Withdraw,
    dataset_id,
)
from sealroom_agents.chain.contracts import interface
from tests.contracts.workshop import Workshop, initialization
from tests.formats.test_typed import MACHINES, PLATFORM, ROSTER, STUDY, VALIDITY
from tests.local_chain import LocalChain, Reverted, account, member
from tests.patience import PATIENCE_S
from tests.vectors.vector import Vector, cases, read

SCRIPT = Path(__file__).with_name("viem_typed.mjs")
NOW = 1_890_000_000
"""Some weeks before the votes of the vectors expire."""
OTHER, STRANGER, DEPLOYER = 0, 16, 18
VECTORS = {path.name: read(path) for path in cases("typed")}
OWNERS = tuple(vote.struct for vote in VOTES)
"""What owners sign, and a consortium takes."""
AS_THEY_STAND = ("Withdraw", "Revoke")
"""Those whose vector names nothing that only a chain knows."""


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
        self.shop = shop = Workshop(chain, now=NOW)
        vector = VECTORS["ApproveStudy"]
        self.owner = vector.fields["signer"]
        self.key = vector.hex("private-key")
        self.address = body(vector)["domain"]["verifyingContract"]
        self.ledger = body(VECTORS["Receipt"])["domain"]["verifyingContract"]
        rows = [
            member(address, name).solidity()
            for address, name in ((self.owner, "hospital-C"), (account(OTHER), "hospital-D"))
        ]
        app = shop.deploy("DstackApp", False)
        made = shop.deploy("Consortium", app, shop.ledger, rows, 1)
        chain.send(DEPLOYER, app, initialization(self.address, upgrades_disabled=True))
        self._move(made, self.address)
        self._move(shop.ledger, self.ledger)
        given = "cohort", shop.version().solidity(), 0, 0
        chain.send(OTHER, shop.ledger, interface("Ledger").encode("register", *given))
        self.dataset = dataset_id(account(OTHER), "cohort")

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

    def state(self) -> State:
        return State.of_abi(self.chain.call("Lens", self.shop.lens, "state", self.address))

    def pending(self, proposal: bytes) -> Any:
        return self.chain.call("Lens", self.shop.lens, "pending", self.address, proposal)

    def follows(self, digest: bytes) -> Validity:
        return replace(VALIDITY, follows=digest)

    def study(self) -> Study:
        """The study of the vectors, on what this chain knows."""
        state = self.state()
        known = {"basis": state.basis, "nonce": state.nonce}
        return replace(STUDY, datasets=(self.dataset,), versions=(0,), **known)

    def signed(self, vote: Vote) -> tuple[str, bytes]:
        """`IConsortium.Signed` of the owner of the vectors."""
        message = typed.vote(vote, chain_id=self.chain.chain_id, consortium=self.address)
        return self.owner, typed.sign(message, self.key)

    def return_once(self) -> None:
        """The owner revokes, and comes back."""
        vote: Vote = Revoke(owner=self.owner, reason="", returns=0)
        self.send(STRANGER, "revokeWithSignature", "", self.signed(vote))
        study = self.study()
        vote = ApproveStudy(owner=self.owner, study=study)
        self.send(STRANGER, "approve", study.solidity(), [self.signed(vote)])
        self.send(OTHER, "approve", study.solidity(), [])
        assert self.state().live


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
    """The domain is the vectors'. So is the content, but for what only the chain knows: what it follows."""
    assert placed.call("domainSeparator") == VECTORS[name].hex("domain-separator")
    vote, hand_in, took_effect = CALLS[name](placed)
    _, signature = placed.signed(vote)
    assert (signature == VECTORS[name].hex("signature")) == (name in AS_THEY_STAND)

    flipped = signature[:-2] + bytes([signature[-2] ^ 1]) + signature[-1:]
    with pytest.raises(Reverted) as refused:
        hand_in((placed.owner, flipped))
    assert refused.value.name == "ConsortiumBadSignature"
    assert not took_effect()

    hand_in((placed.owner, signature))
    assert took_effect()


@pytest.mark.anvil
def test_the_ledger_hashes_the_receipt_to_the_digest(placed: Placed) -> None:
    vector = VECTORS["Receipt"]
    content = values(body(vector))
    answer = placed.chain.call("Ledger", placed.ledger, "hashReceipt", content)
    assert answer == vector.hex("digest")


Call = tuple[Vote, Callable[[tuple[str, bytes]], None], Callable[[], bool]]
"""What is signed, how a stranger hands it in, and whether it took effect."""


def _approve(placed: Placed) -> Call:
    study = placed.study()
    return (
        ApproveStudy(owner=placed.owner, study=study),
        lambda by: placed.send(STRANGER, "approve", study.solidity(), [by]),
        # The data are the other owner's, so this approval counts and does not pin alone.
        lambda: lower(placed.pending(study.id)["approved"]) == [placed.owner],
    )


def _adopt(placed: Placed) -> Call:
    terms = placed.follows(placed.state().charter)
    return (
        AdoptPlatform(owner=placed.owner, platform=PLATFORM.under(terms)),
        lambda by: placed.send(STRANGER, "adoptPlatform", PLATFORM.solidity(), terms.solidity(), [by]),
        lambda: placed.state().platform == PLATFORM,
    )


def _add(placed: Placed) -> Call:
    terms = placed.follows(placed.state().charter)
    placed.send(OTHER, "adoptPlatform", PLATFORM.solidity(), terms.solidity(), [])
    terms = placed.follows(placed.state().charter)
    return (
        AddMachines(owner=placed.owner, machines=MACHINES.under(terms)),
        lambda by: placed.send(STRANGER, "addMachines", MACHINES.solidity(), terms.solidity(), [by]),
        lambda: placed.state().platform.devices == MACHINES.devices,
    )


def _change(placed: Placed) -> Call:
    terms = placed.follows(placed.state().roster_digest)
    joined = {owner.account for owner in ROSTER.add}
    return (
        ChangeRoster(owner=placed.owner, roster=ROSTER.under(terms)),
        lambda by: placed.send(STRANGER, "changeRoster", ROSTER.solidity(), terms.solidity(), [by]),
        lambda: {owner.account for owner in placed.state().owners} == {account(OTHER), *joined},
    )


def _withdraw(placed: Placed) -> Call:
    return (
        Withdraw(owner=placed.owner, proposal=STUDY.id),
        lambda by: placed.send(STRANGER, "withdrawWithSignature", STUDY.id, by),
        lambda: lower(placed.pending(STUDY.id)["withdrawn"]) == [placed.owner],
    )


def _revoke(placed: Placed) -> Call:
    message = body(VECTORS["Revoke"])["message"]
    placed.return_once()
    return (
        Revoke(owner=placed.owner, reason=message["reason"], returns=message["returns"]),
        lambda by: placed.send(STRANGER, "revokeWithSignature", message["reason"], by),
        lambda: placed.state().revokers == (placed.owner,),
    )


CALLS: dict[str, Callable[[Placed], Call]] = {
    "ApproveStudy": _approve,
    "AdoptPlatform": _adopt,
    "AddMachines": _add,
    "ChangeRoster": _change,
    "Withdraw": _withdraw,
    "Revoke": _revoke,
}


def values(data: dict[str, Any]) -> tuple[Any, ...]:
    """All fields of the typed data's structure."""
    return tuple(
        read_json(field["type"], data["message"][field["name"]])
        for field in data["types"][data["primaryType"]]
    )


def read_json(kind: str, value: Any) -> Any:
    """A value of typed data's JSON as an ABI encoder takes it."""
    return bytes.fromhex(value.removeprefix("0x")) if kind.startswith("bytes") else value


def word(value: str) -> str:
    return "0x" + value.removeprefix("0x").rjust(64, "0")


def lower(addresses: Any) -> list[str]:
    return [str(address).lower() for address in addresses]
