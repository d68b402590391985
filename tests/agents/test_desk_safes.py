# SPDX-License-Identifier: Apache-2.0
"""The desk for an owner that is a genuine Safe of either version in use: files and messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from tests.agents.office import STRANGER, Office
from tests.contracts import safes
from tests.local_chain import Dataset, LocalChain, account, private_key

from sealroom_agents.owner import safe as builder

pytestmark = pytest.mark.anvil
SIGNERS = (13, 14, 15)
"""Owners of the Safe; two of them sign."""

# A file that Safe's transaction builder 1.18.2 exported, with the checksum that it wrote; from the
# public repository 5afe/safe-cli-nodejs.
EXPORTED: dict[str, Any] = {
    "version": "1.0",
    "chainId": "1",
    "createdAt": 1761326849944,
    "meta": {
        "name": "Transactions Batch",
        "description": "",
        "txBuilderVersion": "1.18.2",
        "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        "createdFromOwnerAddress": "",
        "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989",
    },
    "transactions": [
        {
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [
                    {"internalType": "address", "name": "spender", "type": "address"},
                    {"internalType": "uint256", "name": "value", "type": "uint256"},
                ],
                "name": "approve",
                "payable": False,
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000",
            },
        }
    ],
}


def test_the_checksum_is_that_of_the_transaction_builder() -> None:
    assert builder.checksum(EXPORTED) == EXPORTED["meta"]["checksum"]
    renamed = {**EXPORTED, "meta": {**EXPORTED["meta"], "name": "another"}}
    assert builder.checksum(renamed) == EXPORTED["meta"]["checksum"]
    assert builder.checksum({**EXPORTED, "chainId": "2"}) != EXPORTED["meta"]["checksum"]


@dataclass(frozen=True)
class Ward:
    """hospital-A is a Safe; the others have keys."""

    office: Office
    safe: safes.Safe

    def execute(self, name: str) -> None:
        """Two of the Safe's owners execute what a file holds, encoded from its words."""
        content = self.office.read(name)
        assert content["meta"]["checksum"] == builder.checksum(content)
        assert set(content) == set(EXPORTED) and set(content["meta"]) == set(EXPORTED["meta"])
        for transaction in content["transactions"]:
            assert set(transaction) == set(EXPORTED["transactions"][0])
            self.safe.execute(transaction["to"].lower(), encoded(transaction), signers=SIGNERS[:2])

    def leave(self, action: str, *options: str) -> dict[str, Any]:
        """The Safe's act as a file, executed."""
        file = self.office.file("act.safe.json")
        made = self.office.govern(action, *options, "--owner", self.safe.address, "--safe", file)
        calls = [bytes.fromhex(call["data"][2:]) for call in made["calls"]]
        assert calls == [encoded(one) for one in self.office.read("act.safe.json")["transactions"]]
        self.execute("act.safe.json")
        return made


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def published(chain: LocalChain) -> dict[str, safes.Published]:
    return {package: safes.deploy(chain, package) for package in safes.VERSIONS}


@pytest.fixture(params=list(safes.VERSIONS), ids=list(safes.VERSIONS.values()))
def ward(
    request: pytest.FixtureRequest, chain: LocalChain, published: dict[str, safes.Published], tmp_path: Path
) -> Iterator[Ward]:
    before = chain.snapshot()
    safe = published[request.param].create(SIGNERS, 2)
    office = Office.open(chain, tmp_path, accounts=[safe.address])
    office.adopt_with((1, 2, 3))
    yield Ward(office, safe)
    chain.restore(before)


def encoded(transaction: dict[str, Any]) -> bytes:
    """The call as the builder makes it: from the words in the file and their types, not from ours."""
    method, values = transaction["contractMethod"], transaction["contractInputsValues"]
    kinds = [str(collapse_if_tuple(part)) for part in method["inputs"]]
    arguments = [_value(part, values[part["name"]]) for part in method["inputs"]]
    return bytes(keccak(text=f"{method['name']}({','.join(kinds)})")[:4]) + abi_encode(kinds, arguments)


def _value(part: dict[str, Any], given: Any) -> Any:
    kind = part["type"]
    if kind.endswith("[]") or kind == "tuple":
        items = json.loads(given) if isinstance(given, str) else given
        if kind == "tuple":
            return tuple(_value(one, item) for one, item in zip(part["components"], items, strict=True))
        return [_value({**part, "type": kind[:-2]}, item) for item in items]
    if kind.startswith("bytes"):
        return bytes.fromhex(given[2:])
    return int(given) if kind.startswith("uint") else given


# --- files that a Safe executes ----------------------------------------------------------------------------


def test_a_safe_registers_allows_and_lives_with_its_dataset(ward: Ward) -> None:
    one = Dataset(name="cohort-S")
    office = ward.office
    given = office.registration_of(one, ward.safe.address)
    ward.leave("register", "--registration", given, "--lifetime", "10", "--cap", "4.5", "--delta", "0")
    shown = office.govern("dataset", "hospital-A/cohort-S")
    assert shown["owner"] == "hospital-A" and shown["allowance"]["epsilonCap"] == 4_500_000
    ward.leave("lifetime", "hospital-A/cohort-S", "--epsilon", "12")
    ward.leave("allow", "hospital-A/cohort-S", "--cap", "3")
    shown = office.govern("dataset", "hospital-A/cohort-S")
    assert (shown["account"]["epsilonCap"], shown["allowance"]["epsilonCap"]) == (12_000_000, 3_000_000)
    ward.leave("offer-datasets", "hospital-A/cohort-S", "--to", account(7))
    assert office.govern("dataset", "hospital-A/cohort-S")["offered"]["to"] == account(7)


def test_a_safe_votes_withdraws_and_revokes_by_executing_files(ward: Ward) -> None:
    office = ward.office
    device = "0x" + 64 * "7"
    ward.leave("machines", "--device", device)
    (found,) = office.govern("pending")["proposals"]
    assert found["approved"] == ["hospital-A"] and found["content"]["devices"] == [device]
    ward.leave("withdraw", found["id"])
    assert office.govern("show", found["id"])["withdrawn"] == ["hospital-A"]

    roster = office.govern("roster", "--remove", "hospital-D", by=1)["proposal"]
    ward.leave("approve", roster)
    assert office.govern("approve", roster, by=2)["effective"]
    platform = office.file("platform.json", office.govern("status")["platform"])
    ward.leave("platform", "--file", platform)
    assert office.govern("pending")["proposals"][0]["kind"] == "platform"
    ward.leave("offer-seat", "--to", account(7))
    assert office.govern("status")["seatsOffered"]["hospital-A"]["to"] == account(7)
    ward.leave("revoke", "--reason", "we stop")
    assert office.govern("status")["vetoes"] == ["hospital-A"]


def test_a_safe_s_vote_that_would_be_refused_is_refused_before_its_owners_sign(ward: Ward) -> None:
    file = ward.office.file("x.safe.json")
    code, words, _ = ward.office.refused(
        "accept-seat", "--of", "hospital-B", "--owner", ward.safe.address, "--safe", file
    )
    assert code == "transaction-reverted" and "hospital-B" in words
    assert not Path(file).exists()


def test_a_file_is_written_for_a_safe_alone(ward: Ward) -> None:
    file = ward.office.file("x.safe.json")
    code, words, _ = ward.office.refused("confirm", "--owner", account(1), "--safe", file)
    assert code == "way-unclear" and "is no Safe" in words
    code, words, hint = ward.office.refused("confirm", "--safe", file)
    assert code == "way-unclear" and "--owner" in hint


# --- messages that a Safe's owners sign --------------------------------------------------------------------


def request(ward: Ward, name: str = "request.json") -> tuple[str, str]:
    """A roster that hospital-B proposed, and the request to the Safe."""
    office = ward.office
    roster = str(office.govern("roster", "--remove", "hospital-D", by=1)["proposal"])
    asked = office.govern("approve", roster, "--owner", ward.safe.address, "--request", office.file(name))
    assert asked["safeMessage"].endswith(".safe-message.json")
    return roster, office.file(name)


def test_a_safe_s_owners_sign_one_by_one_and_a_stranger_hands_it_in(ward: Ward) -> None:
    """EIP-1271: one signs with the desk, the other's wallet signs the typed data."""
    office = ward.office
    roster, file = request(ward)
    office.govern("sign", "--request", file, "--out", office.file("one.json"), by=SIGNERS[0])
    message = office.read("request.safe-message.json")
    signed = Account.sign_message(encode_typed_data(full_message=message), private_key(SIGNERS[1]))
    given = "--signature", "0x" + bytes(signed.signature).hex(), "--out", office.file("two.json")
    assert office.govern("sign", "--request", file, *given)["signer"] == account(SIGNERS[1])

    one = "--signatures", office.file("one.json")
    code, words, hint = office.refused("approve", roster, *one, by=STRANGER)
    assert code == "safe-signatures" and "signs with 2 of its owners, and 1 signed" in words
    assert account(SIGNERS[1]) in hint
    both = *one, "--signatures", office.file("two.json")
    answer = office.govern("approve", roster, *both, by=STRANGER)
    assert answer["approved"] == ["hospital-A", "hospital-B"]


def test_somebody_who_is_no_owner_of_the_safe_does_not_count(ward: Ward) -> None:
    office = ward.office
    roster, file = request(ward)
    signed: list[str] = []
    for place, signer in enumerate((SIGNERS[0], STRANGER)):
        out = office.file(f"s{place}.json")
        office.govern("sign", "--request", file, "--out", out, by=signer)
        signed += ["--signatures", out]
    code, words, hint = office.refused("approve", roster, *signed, by=STRANGER)
    assert code == "safe-signatures" and account(STRANGER) in words and account(SIGNERS[2]) in hint


def test_a_whole_signature_of_a_safe_is_taken_and_checked_on_chain(ward: Ward) -> None:
    """As Safe's own interface gives it out; a wrong one is refused by the owner's name."""
    office = ward.office
    roster, file = request(ward)
    digest = bytes.fromhex(office.read("request.safe-message.json")["message"]["message"][2:])
    for right in (False, True):
        whole = ward.safe.sign_digest(digest if right else bytes(32), SIGNERS[1:])
        given = "--signature", "0x" + whole.hex(), "--out", office.file("whole.json")
        office.govern("sign", "--request", file, *given)
        handed_in = "approve", roster, "--signatures", office.file("whole.json")
        if right:
            assert office.govern(*handed_in, by=STRANGER)["approved"] == ["hospital-A", "hospital-B"]
        else:
            code, words, _ = office.refused(*handed_in, by=STRANGER)
            assert code == "transaction-reverted" and "hospital-A" in words


def test_a_safe_s_veto_is_gathered_and_stops(ward: Ward) -> None:
    office = ward.office
    reason = "--reason", "a breach"
    office.govern("revoke", *reason, "--owner", ward.safe.address, "--request", office.file("veto.json"))
    signed: list[str] = []
    for signer in SIGNERS[:2]:
        out = office.file(f"v{signer}.json")
        office.govern("sign", "--request", office.file("veto.json"), "--out", out, by=signer)
        signed += ["--signatures", out]
    done = office.govern("revoke", *reason, *signed, by=STRANGER)
    assert (done["revoked"], done["by"]) == (True, "hospital-A")


def test_a_seat_moves_from_an_account_to_a_safe(chain: LocalChain, tmp_path: Path) -> None:
    before = chain.snapshot()
    safe = safes.deploy(chain, safes.V1_5_0).create(SIGNERS, 2)
    office = Office.open(chain, tmp_path)
    ward = Ward(office, safe)
    office.govern("offer-seat", "--to", to_checksum_address(safe.address), by=0)
    chain.advance(2 * 86_400)
    ward.leave("accept-seat", "--of", "hospital-A")
    assert office.govern("status")["owners"][0]["account"] == safe.address
    ward.leave("confirm")
    chain.restore(before)
