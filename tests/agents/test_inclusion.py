# SPDX-License-Identifier: Apache-2.0
"""From a block's hash to a receipt: what is bound to the hash is read, and nothing else (CH-03, CH-07)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st
from rlp.exceptions import DecodingError
from tests.formats.worked_block import NUMBER, TIME, WorkedBlock, address

from sealroom.errors import EnvelopeError
from sealroom_agents import inclusion

BLOCK = WorkedBlock(300)


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
