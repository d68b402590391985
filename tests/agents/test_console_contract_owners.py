# SPDX-License-Identifier: Apache-2.0
"""Signatures of owners that are contracts, handed in at the console: genuine Safes, and others (EIP-1271)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.agents.described import described
from tests.agents.following import console
from tests.contracts import safes
from tests.local_chain import LocalChain, account, member, private_key
from tests.outside import Lab, make_room
from tests.rpc_proxy import RpcProxy

from sealroom import typed
from sealroom.encoding import from_hex, to_hex
from sealroom.model import ApproveStudy
from sealroom_agents.console.models.decisions import MAX_SIGNATURE_BYTES

pytestmark = pytest.mark.anvil

SIGNERS = (13, 14, 15)
STRANGER = 12


def wallet(runtime: str) -> bytes:
    """Creation code of a contract with this code."""
    size = len(runtime) // 2
    return bytes.fromhex(f"60{size:02x}600a5f3960{size:02x}5ff3") + bytes.fromhex(runtime)


OWN = "6004356064351463" + "1626ba7e" + "60e01b025f5260205ff3"
"""Takes one signature of a digest: the digest itself."""
HOSTILE = {
    "reverts": "5f5ffd",
    "burns all gas": "5b5f56",
    "answers nothing": "00",
    "answers with a bomb": "620186a05ff3",
    "answers too little": "631626ba7e60e01b5f5260045ff3",
    "answers another word": "63ffffffff60e01b5f5260205ff3",
    "answers a dirty word": "7f1626ba7e" + "ff" * 28 + "5f5260205ff3",
}
"""Code of contracts that do not take a signature."""


@dataclass
class Hall:
    """Owners A and B have keys, C is a Safe, D a contract of its own kind; A has proposed a study."""

    lab: Lab
    web: TestClient
    safe: safes.Safe
    own: str
    study: bytes

    @property
    def where(self) -> str:
        return f"/v1/studies/{self.lab.room.consortium}"

    def digest(self, owner: str) -> bytes:
        content = ApproveStudy(owner=owner, study=self.lab.chain.study(self.study))
        consortium = self.lab.room.consortium
        return typed.digest(typed.vote(content, chain_id=self.lab.chain.chain_id, consortium=consortium))

    def hand_in(self, owner: str, signature: bytes) -> tuple[int, str]:
        body = {"study": to_hex(self.study), "owner": owner, "signature": to_hex(signature)}
        answer = self.web.post(f"{self.where}/signatures", json=body)
        return answer.status_code, answer.json().get("code", "")

    def of_safe(self, signers: tuple[int, ...] = SIGNERS[:2]) -> bytes:
        return self.safe.sign_digest(self.digest(self.safe.address), signers)

    def shown(self) -> dict[str, str]:
        answer = self.web.get(f"{self.where}/proposals/{to_hex(self.study)}/signatures")
        assert answer.status_code == 200, answer.text
        return {one["owner"]: one["by"] for one in answer.json()["signatures"]}


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture(scope="module")
def published(chain: LocalChain) -> dict[str, safes.Published]:
    return {package: safes.deploy(chain, package) for package in safes.VERSIONS}


def opened(chain: LocalChain, folder: Path, safe: safes.Safe, code: str) -> Hall:
    own = safes.create(chain, wallet(code))
    members = [
        member(one, f"hospital-{letter}")
        for one, letter in zip((account(0), account(1), safe.address, own), "ABCD", strict=True)
    ]
    lab = replace(Lab.on(chain, folder), room=make_room(chain, members))
    lab.register()
    study = lab.propose()
    web = TestClient(console(lab.store, lab.reader, lab.room.factory))
    return Hall(lab, described(web, web.get("/openapi.json").json()), safe, own, study)


@pytest.fixture(params=list(safes.VERSIONS), ids=list(safes.VERSIONS.values()))
def hall(
    request: pytest.FixtureRequest, chain: LocalChain, published: dict[str, safes.Published], tmp_path: Path
) -> Iterator[Hall]:
    before = chain.snapshot()
    yield opened(chain, tmp_path, published[request.param].create(SIGNERS, 2), OWN)
    chain.restore(before)


def test_a_key_a_safe_and_another_contract_sign_and_one_transaction_counts_for_all(hall: Hall) -> None:
    """CH-19: each is verified when it comes, and by the contract itself in the end."""
    safe, own = hall.safe.address, hall.own
    assert hall.hand_in(safe, hall.of_safe()) == (200, "")
    assert hall.hand_in(own, hall.digest(own)) == (200, "")
    assert hall.hand_in(account(1), typed.sign_digest(hall.digest(account(1)), private_key(1))) == (200, "")
    assert hall.shown() == {"hospital-B": "key", "hospital-C": "contract", "hospital-D": "contract"}
    told = hall.web.get(f"{hall.where}/proposals/{to_hex(hall.study)}/signatures").json()
    assert told["enough"]
    (waits,) = hall.web.get(f"{hall.where}/proposals").json()["proposals"]
    assert sorted(waits["signed"]) == ["hospital-B", "hospital-C", "hospital-D"]
    hall.lab.chain.send(STRANGER, told["call"]["to"], from_hex(told["call"]["data"]))
    shown = hall.web.get(hall.where).json()
    assert (shown["status"], shown["study"]) == ("live", to_hex(hall.study))
    history = hall.lab.reader.study_history(hall.lab.room.consortium)
    counted = {one.owner for one in history.approvals_of(hall.study)}
    assert counted == {account(0), account(1), safe, own}


def test_what_a_contract_does_not_take_is_refused(hall: Hall) -> None:
    """CH-19: too few of a Safe's owners, another one's, of another message; a contract's for another."""
    safe, own = hall.safe.address, hall.own
    assert hall.hand_in(safe, hall.of_safe()) == (200, "")
    forged = (403, "request-forged")
    assert hall.hand_in(safe, hall.of_safe(SIGNERS[:1])) == forged
    assert hall.hand_in(safe, hall.of_safe((SIGNERS[0], STRANGER))) == forged
    assert hall.hand_in(safe, hall.safe.sign_digest(hall.digest(own), SIGNERS[:2])) == forged
    assert hall.hand_in(safe, b"") == forged
    assert hall.hand_in(own, hall.digest(safe)) == forged
    assert hall.hand_in(account(1), hall.digest(account(1))) == forged, "it has no code"
    assert hall.hand_in(account(STRANGER), hall.of_safe()) == (403, "researcher-unknown")
    assert hall.hand_in(safe, bytes(MAX_SIGNATURE_BYTES + 1)) == (400, "malformed")
    assert hall.shown() == {"hospital-C": "contract"}, "the good one stays"


def test_what_a_contract_takes_no_more_is_left_out_of_the_transaction(hall: Hall) -> None:
    """CH-19: one bad signature would make the whole transaction fail."""
    safe, own = hall.safe.address, hall.own
    assert hall.hand_in(safe, hall.of_safe()) == (200, "")
    assert hall.hand_in(own, hall.digest(own)) == (200, "")
    hall.safe.swap_owner(SIGNERS[0], STRANGER, SIGNERS[:2])
    assert hall.shown() == {"hospital-D": "contract"}
    told = hall.web.get(f"{hall.where}/proposals/{to_hex(hall.study)}/signatures").json()
    hall.lab.chain.send(STRANGER, told["call"]["to"], from_hex(told["call"]["data"]))


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_contract_costs_a_bounded_question(
    code: str, chain: LocalChain, published: dict[str, safes.Published], tmp_path: Path
) -> None:
    """OP-08: a stranger's contract may be an owner; whatever it answers but the one word means no."""
    before = chain.snapshot()
    hall = opened(chain, tmp_path, published[safes.V1_4_1].create(SIGNERS, 2), code)
    assert hall.hand_in(hall.safe.address, hall.of_safe()) == (200, "")
    assert hall.hand_in(hall.own, hall.digest(hall.own)) == (403, "request-forged")
    assert hall.shown() == {"hospital-C": "contract"}
    chain.restore(before)


def test_where_no_node_answers_nothing_is_taken_for_good(hall: Hall) -> None:
    assert hall.hand_in(account(1), typed.sign_digest(hall.digest(account(1)), private_key(1))) == (200, "")
    lab = hall.lab
    with RpcProxy(lab.chain.url) as proxy:
        reader = lab.chain.reader(proxy.url)
        web = TestClient(console(lab.store, reader, lab.room.factory))
        assert web.get(hall.where).status_code == 200
        away = replace(hall, web=web)
        proxy.down = True
        assert away.shown() == {"hospital-B": "key"}, "a key's signature needs no node"
        assert away.hand_in(hall.safe.address, hall.of_safe()) == (503, "chain-unreachable")
        proxy.down = False
        reader.close()
