# SPDX-License-Identifier: Apache-2.0
"""Chains of the OP Stack, such as Base: deposits stand in the same blocks as ours (CH-03).

anvil makes blocks as such a chain does, with deposits in them. What anvil does not do (L1 attributes in each
block, a root of withdrawals in the header) is in a recorded block of Unichain Sepolia.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import rlp
from tests.agents.staged import Stage, make_stage
from tests.local_chain import LocalChain, account
from trie.hexary import HexaryTrie

from sealroom.envelope import Anchor, Envelope
from sealroom_agents import inclusion, verification
from sealroom_agents.chain import proofs
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc

VECTORS = Path(__file__).parents[1] / "vectors" / "opstack"
RECORDED = json.loads((VECTORS / "unichain-sepolia.json").read_text())
NODE = Rpc("http://127.0.0.1:9")
"""Nobody is asked."""


def test_a_recorded_block_has_its_hash_and_its_receipts_root() -> None:
    """The header has the fields of all forks; a deposit's receipt has its nonce and version."""
    block, receipts = RECORDED["block"], RECORDED["receipts"]
    header = inclusion.read_header(proofs.header_rlp(NODE, block))
    assert "0x" + header.hash.hex() == block["hash"]
    assert (header.number, header.time) == (int(block["number"], 16), int(block["timestamp"], 16))
    trie = HexaryTrie({})
    for index, receipt in enumerate(receipts):
        tx = bytes.fromhex(receipt["transactionHash"][2:])
        trie[inclusion.trie_key(index)] = proofs.receipt_rlp(NODE, receipt, index, tx)
    assert trie.root_hash == header.receipts_root

    nodes = trie.get_proof(inclusion.trie_key(2))  # type: ignore[no-untyped-call]
    (log,) = inclusion.read_receipt(
        header.receipts_root, 2, inclusion.pack(rlp.encode([rlp.encode(node) for node in nodes]))
    )
    (told,) = receipts[2]["logs"]
    assert ("0x" + log.address.hex(), "0x" + log.data.hex()) == (told["address"], told["data"])


def deposit(number: int) -> str:
    """A deposit as one stands in each block: source, sender, to, mint, value, gas, system, data."""
    sender = bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead") + number.to_bytes(2, "big")
    to = bytes.fromhex("4200000000000000000000000000000000000015")
    body = [number.to_bytes(32, "big"), sender, to, b"", b"", 1_000_000, b"", b"\x09\x89\x99\xbe"]
    return "0x7e" + rlp.encode(body).hex()


def crowded(stage: Stage, number: int, **sent: Any) -> int:
    """Mine a transaction in one block with two deposits and a transfer; returns the block's number."""
    chain = stage.chain
    chain.rpc("evm_setAutomine", False)
    for each in (2 * number, 2 * number + 1):
        chain.rpc("eth_sendRawTransaction", deposit(each))
    chain.rpc("eth_sendTransaction", {"from": account(17), "to": account(3), "value": "0x1"})
    chain.rpc("eth_sendTransaction", {"gas": hex(3_000_000), **sent})
    chain.mine()
    chain.rpc("evm_setAutomine", True)
    return chain.block_number()


def run_among_deposits(stage: Stage) -> Envelope:
    """Opened and anchored, each in one block with deposits."""
    chain, ledger = stage.chain, interface("Ledger")
    envelope = stage.granted().envelope()
    signer = stage.gate.identity.signer
    chain.rpc("anvil_impersonateAccount", signer)
    opening = ledger.encode(
        "open",
        stage.room.consortium,
        chain.study(stage.study).solidity(),
        [stage.run(envelope).solidity()],
        bytes(32),
    )
    crowded(stage, 0, **{"from": signer, "to": stage.room.ledger, "data": "0x" + opening.hex()})
    opened = stage.opening(envelope)
    anchoring = ledger.encode(
        "anchor", envelope.receipt.solidity(), opened.solidity(), envelope.receipt_signature
    )
    crowded(stage, 1, **{"from": account(16), "to": stage.room.ledger, "data": "0x" + anchoring.hex()})
    found = stage.reader.receipt(stage.room.ledger, envelope.receipt, envelope.receipt_signature)
    assert found is not None and found.anchoring is not None
    there = found.anchoring
    return envelope.with_anchor(
        Anchor(
            chain_id=chain.chain_id,
            ledger=stage.room.ledger,
            tx=bytes.fromhex(there.tx[2:]),
            block=there.block,
            sequence=there.sequence,
            approvals=stage.approvals(envelope),
        )
    )


@pytest.mark.anvil
def test_a_run_in_blocks_with_deposits_is_proven(tmp_path: Path) -> None:
    with LocalChain.start(network="optimism") as chain:
        stage = make_stage(chain, tmp_path)
        envelope = run_among_deposits(stage)
        chain.finalize()
        proven = stage.reader.with_proofs(envelope)
        assert proven is not None and proven.anchor is not None
        block = proven.anchor.block
        kinds = [one["type"].lower() for one in chain.rpc("eth_getBlockReceipts", hex(block))]
        assert sorted(kinds) == ["0x2", "0x2", "0x7e", "0x7e"]
        links = verification.verify(proven, trust=stage.trust, chain=stage.reader, now=int(time.time()))
        assert all(link.ok for link in links), links[-1]

        # Of the deposits themselves, too: each has its nonce and version in the trie.
        head = stage.reader.block(block)
        rpc = Rpc(chain.url)
        listed = chain.rpc("eth_getBlockByNumber", hex(head.number), False)["transactions"]
        every = proofs.prove(rpc, head, [bytes.fromhex(tx[2:]) for tx in listed])
        root = inclusion.read_header(every[0].header).receipts_root
        assert [bool(inclusion.read_receipt(root, one.index, one.path)) for one in every].count(True) == 1
        rpc.close()
