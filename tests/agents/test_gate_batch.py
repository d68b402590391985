# SPDX-License-Identifier: Apache-2.0
"""Receipts that the gate anchors in one transaction: what it takes, and what it leaves to nobody's chance."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.gate_world import TOKEN, Enclave, World, granted, refused

from sealroom import typed
from sealroom.encoding import to_hex
from sealroom.model import Receipt
from sealroom_agents.gate.audit import verify

pytestmark = pytest.mark.anvil


def run_one(world: World, *, final: bool = True) -> dict[str, Any]:
    """A granted run whose enclave has signed its receipt; as the message to the gate names it."""
    enclave = Enclave(world, epsilon_micro=100_000, delta_pico=1000)
    grant = granted(enclave.ask()).grant
    if final:
        world.chain.finalize()
    message = typed.grant(grant, chain_id=31337, consortium=world.room.consortium)
    receipt = Receipt(
        run_id=grant.run_id,
        consortium=world.room.consortium,
        study=grant.study,
        compose_hash=grant.compose_hash,
        datasets_root=grant.datasets_root,
        result_digest=b"\x0c" * 32,
        statement_digest=b"\x0d" * 32,
        epsilon_micro=grant.epsilon_micro,
        delta_pico=grant.delta_pico,
        grant_hash=typed.digest(message),
    )
    return signed(world, enclave, receipt)


def signed(world: World, enclave: Enclave, receipt: Receipt) -> dict[str, Any]:
    message = typed.receipt(receipt, chain_id=31337, ledger=world.room.ledger)
    signature = typed.sign(message, enclave.signer.reveal())
    return {"receipt": receipt.to_json(), "signature": to_hex(signature)}


def send(world: World, *receipts: dict[str, Any], token: str = TOKEN, **more: Any) -> httpx.Response:
    body = json.dumps({"version": 2, "receipts": list(receipts)} | more).encode()
    return world.http.post("/v1/receipts", content=body, headers={"authorization": f"Bearer {token}"})


def test_receipts_that_wait_are_anchored_together_and_only_once(approved: World) -> None:
    first, second, third = (run_one(approved) for _ in range(3))
    done = send(approved, third, first)
    assert done.status_code == 200, done.text
    anchored = done.json()["anchored"]
    # In the order of their runs, whatever the order in the message.
    assert anchored["runs"] == [first["receipt"]["runId"], third["receipt"]["runId"]]
    assert (anchored["batch"], anchored["first"]) == (1, 1)

    reader = approved.chain.reader()
    for given, sequence in ((first, 1), (third, 2), (second, 0)):
        receipt = Receipt.from_json(given["receipt"])
        signature = bytes.fromhex(given["signature"][2:])
        found = reader.receipt(approved.room.ledger, receipt, signature)
        assert found is not None
        assert (found.verdict.anchored, found.verdict.sequence) == (sequence != 0, sequence)

    assert send(approved, first).json()["anchored"] is None
    again = send(approved, first, second).json()["anchored"]
    assert (again["runs"], again["batch"], again["first"]) == ([second["receipt"]["runId"]], 2, 3)
    events = [json.loads(line)["event"] for line in (approved.state / "audit.jsonl").read_text().splitlines()]
    assert events.count("batch-anchored") == 2
    assert verify(approved.state / "audit.jsonl").sequence == len(events)


def test_runs_are_anchored_together_once_their_openings_are_final(approved: World) -> None:
    """CH-01: a batch names runs by number, and a reorganisation may give the number to another run."""
    first, second = run_one(approved), run_one(approved, final=False)
    refused(send(approved, first, second), "not-finalized")
    assert send(approved, first).json()["anchored"]["runs"] == [first["receipt"]["runId"]]
    approved.chain.finalize()
    assert send(approved, second).json()["anchored"]["runs"] == [second["receipt"]["runId"]]


@pytest.mark.parametrize(
    "change",
    [
        {"epsilonMicro": 1},
        {"deltaPico": 0},
        {"grantHash": "0x" + "66" * 32},
        {"composeHash": "0x" + "66" * 32},
        {"resultDigest": "0x" + "66" * 32},
        {"runId": "0x" + "66" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_receipt_that_would_not_hold_stops_the_batch(approved: World, change: dict[str, Any]) -> None:
    """In a batch it would take its run's one chance: the ledger looks at signatures later."""
    good, other = run_one(approved), run_one(approved)
    forged = {**other, "receipt": other["receipt"] | change}
    refused(send(approved, good, forged), "malformed", 400)
    assert (
        approved.chain.call("Ledger", approved.room.ledger, "books", approved.room.consortium)["batches"] == 0
    )
    assert len(send(approved, good, other).json()["anchored"]["runs"]) == 2


def test_a_receipt_that_another_key_signed_stops_the_batch(approved: World) -> None:
    given = run_one(approved)
    receipt = Receipt.from_json(given["receipt"])
    refused(send(approved, signed(approved, Enclave(approved), receipt)), "malformed", 400)
    assert send(approved, given).json()["anchored"]["first"] == 1


def test_what_is_no_batch_is_malformed(approved: World) -> None:
    one = run_one(approved)
    elsewhere = {
        **one,
        "receipt": one["receipt"] | {"consortium": "0x" + "77" * 20, "runId": "0x" + "66" * 32},
    }
    for receipts, more in (([], {}), ([one, one], {}), ([one, elsewhere], {}), ([one], {"admin": True})):
        refused(send(approved, *receipts, **more), "malformed", 400)
    assert send(approved, one, token="x" * 40).status_code == 401
    assert send(approved, one).status_code == 200


def test_after_a_revocation_nothing_is_anchored(approved: World) -> None:
    one = run_one(approved)
    snapshot = approved.chain.snapshot()
    assert send(approved, one).status_code == 200
    approved.chain.restore(snapshot)
    approved.chain.revoke(approved.room, 2)
    refused(send(approved, one), "standing-mismatch")
