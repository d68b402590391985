# SPDX-License-Identifier: Apache-2.0
"""All that a contract's storage holds, read from proofs of the slots that it is known to hold.

A mapping cannot be listed. But the nodes on the ways to all known slots are the whole tree, if there is no
other slot: any other hangs on a node that is not among them. Nodes are found by their hashes, from the root
on, so none can be made up.

Ethereum Yellow Paper, appendices B (RLP), C (hex-prefix encoding) and D (modified Merkle Patricia tree); keys
are keccak256 of the slot's 32 bytes, values RLP of the word without leading zeros.
"""

from __future__ import annotations

from collections.abc import Iterable

from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.errors import FormatError

Item = bytes | list["Item"]
"""What RLP holds: bytes, or a list of such."""
EMPTY = bytes(keccak(b"\x80"))
"""Root of a storage that holds nothing."""
NIBBLES = 64
MAX_DEPTH = 8
"""How deep lists may stand in each other: short nodes stand in their parents."""


def mapping_slot(key: bytes, slot: int) -> int:
    """Slot of a mapping's entry, for a key of 32 bytes."""
    return int.from_bytes(keccak(key + slot.to_bytes(32, "big")), "big")


def strangers(root: bytes, nodes: Iterable[bytes], known: Iterable[int]) -> int:
    """How many places of a storage are not those of known slots; a place may hold many slots.

    root: of the storage, 32 bytes. nodes: of the proofs of the known slots. Slots that hold zero do not
    count. Raises `FormatError` where a node is none.
    """
    by_hash = {bytes(keccak(node)): node for node in nodes}
    keys = {_nibbles(keccak(slot.to_bytes(32, "big"))) for slot in known}
    if root == EMPTY:
        return 0
    return _strangers(by_hash, root, (), keys)


def _strangers(
    by_hash: dict[bytes, bytes], reference: Item, way: tuple[int, ...], keys: set[tuple[int, ...]]
) -> int:
    if reference == b"":
        return 0
    if isinstance(reference, bytes):
        node = by_hash.get(reference)
        if node is None:
            return 1
        item = decoded(node)
    else:
        item = reference
    if not isinstance(item, list) or len(item) not in (2, 17) or len(way) > NIBBLES:
        raise _malformed()
    if len(item) == 17:
        return sum(_strangers(by_hash, one, (*way, place), keys) for place, one in enumerate(item[:16]))
    path, below = item
    if not isinstance(path, bytes) or not path:
        raise _malformed()
    flag, *rest = _nibbles(path)
    way = (*way, *(rest if flag % 2 else rest[1:]))
    if flag < 2:
        return _strangers(by_hash, below, way, keys)
    if not isinstance(below, bytes):
        raise _malformed()
    return int(bool(decoded(below)) and way not in keys)


def decoded(data: bytes) -> Item:
    """RLP. Raises `FormatError`."""
    item, end = _item(data, 0, MAX_DEPTH)
    if end != len(data):
        raise _malformed()
    return item


def _item(data: bytes, start: int, depth: int) -> tuple[Item, int]:
    if start >= len(data) or depth == 0:
        raise _malformed()
    first = data[start]
    if first < 0x80:
        return data[start : start + 1], start + 1
    offset = 0x80 if first < 0xC0 else 0xC0
    begin, length = start + 1, first - offset
    if length > 55:
        begin, length = begin + length - 55, int.from_bytes(data[begin : begin + length - 55], "big")
    end = begin + length
    if end > len(data):
        raise _malformed()
    if offset == 0x80:
        return data[begin:end], end
    found: list[Item] = []
    while begin < end:
        one, begin = _item(data, begin, depth - 1)
        found.append(one)
    if begin != end:
        raise _malformed()
    return found, end


def _nibbles(data: bytes) -> tuple[int, ...]:
    return tuple(part for one in data for part in (one >> 4, one & 15))


def _malformed() -> FormatError:
    return FormatError(Code.MALFORMED, "the node's proof of the storage is none")
