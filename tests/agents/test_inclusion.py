# SPDX-License-Identifier: Apache-2.0
"""From a block's hash to a receipt: what is bound to the hash is read, and nothing else (CH-03, CH-07)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import rlp
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from rlp.exceptions import DecodingError
from tests.formats.worked_block import NUMBER, TIME, WorkedBlock, address
from tests.formats.worked_block import receipt as worked_receipt

from sealroom.errors import EnvelopeError
from sealroom_agents import inclusion
from sealroom_agents.chain import proofs
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import ChainError

BLOCK = WorkedBlock(300)
NODE = Rpc("http://127.0.0.1:9")
"""Nobody is asked."""
TX = b"\x07" * 32


def refused(act: Any, *arguments: Any) -> bool:
    """Whether it is refused, by the one code."""
    try:
        act(*arguments)
    except EnvelopeError as error:
        assert error.code == "proof-broken"
        return True
    return False


def test_the_header_says_what_is_read_of_it() -> None:
    header = inclusion.read_header(BLOCK.header)
    assert (header.number, header.time, header.receipts_root) == (NUMBER, TIME, BLOCK.root)


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_receipts_of_every_type_are_found_at_their_place(count: int) -> None:
    """Types 0 to 4 and deposits of the OP Stack, with none, one or both of their later fields."""
    block = WorkedBlock(count)
    for index in {*range(min(count, 24)), 127, 128, 255, 256, count - 1} & set(range(count)):
        (log,) = inclusion.read_receipt(block.root, index, block.proof(index).path)
        assert (log.address, log.data, len(log.topics)) == (address(index), b"data %d" % index, index % 5)


GENESIS = {
    "parentHash": "0x" + 64 * "0",
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + 40 * "0",
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "logsBloom": "0x" + 512 * "0",
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + 64 * "0",
    "nonce": "0x0000000000000042",
}
"""Ethereum's first block, as nodes answer."""


def test_ethereums_first_header_has_its_hash() -> None:
    known = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
    assert inclusion.read_header(proofs.header_rlp(NODE, GENESIS)).hash.hex() == known
    # A header without a base fee ends before it; each fork's field goes behind those of the fork before.
    later = {**GENESIS, "baseFeePerGas": "0x7", "requestsHash": "0x" + 64 * "e"}
    assert inclusion.decode(proofs.header_rlp(NODE, later))[15:] == [b"\x07", bytes.fromhex(64 * "e")]


def test_receipts_of_every_type_are_written_as_the_trie_has_them() -> None:
    for index in range(24):
        assert proofs.receipt_rlp(NODE, as_json(index), index, TX) == worked_receipt(index)
    for wrong in ({"type": "0x5"}, {"transactionIndex": "0x1"}, {"logsBloom": "0x00"}, {"status": "0x01"}):
        with pytest.raises(ChainError):
            proofs.receipt_rlp(NODE, {**as_json(0), **wrong}, 0, TX)


def as_json(index: int) -> dict[str, Any]:
    """A receipt of the worked block, as a node of the OP Stack answers."""
    body = inclusion.decode(worked_receipt(index)[1 if index % 6 else 0 :])
    (log,) = body[3]
    told = {
        "type": hex((0, 1, 2, 3, 4, 0x7E)[index % 6]),
        "status": "0x1",
        "cumulativeGasUsed": hex(int.from_bytes(body[1], "big")),
        "logsBloom": "0x" + body[2].hex(),
        "logs": [
            {
                "address": "0x" + log[0].hex(),
                "topics": ["0x" + one.hex() for one in log[1]],
                "data": "0x" + log[2].hex(),
            }
        ],
        "transactionIndex": hex(index),
        "transactionHash": "0x" + TX.hex(),
    }
    later = zip(("depositNonce", "depositReceiptVersion"), body[4:], strict=False)
    return told | {name: hex(int.from_bytes(value, "big")) for name, value in later}


def test_a_receipt_at_another_place_or_of_a_failed_transaction_is_refused() -> None:
    proof = BLOCK.proof(7)
    assert all(refused(inclusion.read_receipt, BLOCK.root, other, proof.path) for other in (0, 6, 8, 135))
    assert refused(inclusion.read_receipt, bytes(32), 7, proof.path)
    failed = WorkedBlock(3, status=0)
    assert refused(inclusion.read_receipt, failed.root, 1, failed.proof(1).path)


def test_every_changed_nibble_of_header_and_path_is_refused() -> None:
    """A change that a hash does not see would be a second proof of something else."""
    trusted = inclusion.read_header(BLOCK.header).hash
    for place in range(2 * len(BLOCK.header)):
        changed = flipped(BLOCK.header, place)
        assert refused(inclusion.read_header, changed) or inclusion.read_header(changed).hash != trusted
    path = BLOCK.path(130)
    for place in range(2 * len(path)):
        packed = zlib.compress(flipped(path, place), 0)
        assert refused(inclusion.read_receipt, BLOCK.root, 130, packed), place


def flipped(data: bytes, nibble: int) -> bytes:
    mask = (0x10 if nibble % 2 == 0 else 0x01) << (nibble // 2 % 4)
    return data[: nibble // 2] + bytes([data[nibble // 2] ^ mask]) + data[nibble // 2 + 1 :]


def test_a_path_with_nodes_left_out_or_put_behind_is_refused() -> None:
    nodes = BLOCK.nodes(130)
    assert len(nodes) > 2
    for wrong in (nodes[:-1], nodes[1:], [*nodes, nodes[-1]], [], [nodes], list(reversed(nodes))):
        assert refused(inclusion.read_receipt, BLOCK.root, 130, zlib.compress(rlp.encode(wrong), 0))


def test_what_is_packed_is_read_as_far_as_a_path_may_go() -> None:
    """RE-02: a few kilobytes that unpack to gigabytes take a megabyte."""
    path = BLOCK.proof(7).path
    bomb = zlib.compress(bytes(64 * inclusion.MAX_PATH_BYTES), 9)
    for wrong in (bomb, path[:-1], path + b"\0", b"", b"\x78\x9c", zlib.compress(b"\xc0", 0)):
        assert refused(inclusion.read_receipt, BLOCK.root, 7, wrong)


def test_rlp_that_is_nested_without_end_is_refused() -> None:
    item = b""
    for _ in range(3000):
        item = bytes(rlp.codec.length_prefix(len(item), 0xC0)) + item
    assert refused(inclusion.decode, item)
    assert refused(inclusion.read_header, item)


def test_what_has_a_million_items_is_refused_before_they_are_read() -> None:
    """RE-02: each byte of RLP can be an item, which takes a hundred bytes of memory."""
    count = inclusion.MAX_PATH_BYTES - 1024
    logs = rlp.codec.length_prefix(count, 0xC0) + b"\x80" * count
    body = rlp.encode(1) * 2 + rlp.encode(bytes(256)) + logs
    receipt = rlp.codec.length_prefix(len(body), 0xC0) + body
    node = rlp.encode([b"\x20\x80", b"\x02" + receipt])
    path = inclusion.pack(rlp.encode([node]))
    assert len(path) < 4096
    root = keccak(node)
    assert refused(inclusion.read_receipt, root, 0, path)
    few = rlp.encode([b"\x20\x80", b"\x02" + rlp.encode([1, 1, bytes(256), []])])
    assert inclusion.read_receipt(keccak(few), 0, inclusion.pack(rlp.encode([few]))) == ()


def test_an_empty_trie_and_a_node_without_a_value_prove_nothing() -> None:
    """CH-03: a block without transactions has a root, too."""
    empty = rlp.encode(b"")
    for nodes in ([empty], [rlp.encode([])], [rlp.encode([b""] * 17)], [rlp.encode([b"\x20\x80", b""])]):
        assert refused(inclusion.read_receipt, keccak(nodes[0]), 0, inclusion.pack(rlp.encode(nodes)))
    assert refused(inclusion.read_receipt, keccak(empty), 0, inclusion.pack(rlp.encode([])))


TREES = st.recursive(st.binary(max_size=70), lambda below: st.lists(below, max_size=5), max_leaves=20)


@settings(max_examples=150, deadline=None)
@given(tree=TREES, raw=st.binary(max_size=80), cut=st.integers(0, 400))
def test_rlp_is_read_as_the_library_reads_it(tree: Any, raw: bytes, cut: int) -> None:
    """The same bytes are taken, and mean the same; the library is strict."""
    whole = bytes(rlp.encode(tree))
    for data in (whole, raw, whole[:cut] + raw + whole[cut:]):
        try:
            known = rlp.decode(data, strict=True)
        except (DecodingError, TypeError):
            assert refused(inclusion.decode, data, 64)
            continue
        assert inclusion.decode(data, 64) == lists(known)


def lists(item: Any) -> Any:
    return bytes(item) if isinstance(item, bytes) else [lists(each) for each in item]
