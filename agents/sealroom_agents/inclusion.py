# SPDX-License-Identifier: Apache-2.0
"""What a block's hash proves: its header, and the receipt of one of its transactions.

    header RLP --keccak256--> hash of the block
    header --receipts root--> nodes of the receipt trie, each named by the one above --> receipt

Everything here comes from outside. Each byte that is read is bound to the hash by keccak256, so nothing else
than what the chain has is taken; what is not bound is refused. Nothing is asked of anybody.

Source: Ethereum Yellow Paper, appendices B (RLP) and D (tries); EIP-2718 (typed receipts); OP Stack
Specifications, "Deposits" (type 0x7e).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NoReturn

from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.errors import EnvelopeError

MAX_PATH_BYTES = 1 << 20
"""Bytes of an unpacked path; a receipt that opens 320 runs has a quarter."""
MAX_DEPTH = 6
"""Deepest nesting of lists that is read: a receipt has four levels."""
MAX_ITEMS = 65_536
"""Items and lists of one piece of RLP; a receipt that opens 320 runs has a tenth. Each costs far more memory
than its byte."""
MAX_TOPICS = 4
MIN_FIELDS = 15
"""Fields of the first headers; later ones have more behind them."""
MAX_FIELDS = 32
RECEIPTS_ROOT, NUMBER, TIME = 5, 8, 11
"""Places in a header."""
TYPES = {0: (4,), 1: (4,), 2: (4,), 3: (4,), 4: (4,), 0x7E: (4, 5, 6)}
"""Types of receipts, and how many fields they have: an OP Stack deposit has up to two more behind."""

Rlp = bytes | list["Rlp"]


@dataclass(frozen=True)
class Header:
    """What is read of a block's header."""

    hash: bytes
    """Hash of the block, 32 bytes."""
    number: int
    """Its number."""
    time: int
    """Its time, unix seconds."""
    receipts_root: bytes
    """Root of the trie of its receipts, 32 bytes."""


@dataclass(frozen=True)
class ReceiptLog:
    """One log of a receipt."""

    address: bytes
    """Contract that emitted it, 20 bytes."""
    topics: tuple[bytes, ...]
    """Its topics, 32 bytes each."""
    data: bytes
    """Its data."""


def read_header(data: bytes) -> Header:
    """Read a block's header. Raises `EnvelopeError` `proof-broken`."""
    fields = decode(data)
    if isinstance(fields, bytes) or not MIN_FIELDS <= len(fields) <= MAX_FIELDS:
        _broken("the header of a block is none")
    root = _bytes(fields[RECEIPTS_ROOT], 32)
    number, time = (_number(fields[place]) for place in (NUMBER, TIME))
    return Header(hash=keccak(data), number=number, time=time, receipts_root=root)


def read_receipt(root: bytes, index: int, packed: bytes) -> tuple[ReceiptLog, ...]:
    """The logs of a transaction that succeeded.

    root: of the trie of receipts, 32 bytes. index: place of the transaction in its block. packed: the path,
    as `pack` writes it. Raises `EnvelopeError` `proof-broken`.
    """
    nodes = decode(unpack(packed))
    if isinstance(nodes, bytes) or not all(isinstance(node, bytes) for node in nodes):
        _broken("a path is no list of nodes")
    receipt = _walk(root, trie_key(index), nodes)
    kind = receipt[0] if receipt and receipt[0] < 0x80 else 0
    body = decode(receipt[1:] if kind else receipt)
    if isinstance(body, bytes) or len(body) not in TYPES.get(kind, ()):
        _broken(f"a receipt of type {kind} has another form")
    if body[0] != b"\x01":
        _broken("the transaction failed")
    return tuple(_log(log) for log in _list(body[3]))


def trie_key(index: int) -> bytes:
    """Key of a receipt in its trie: RLP of its place in the block."""
    raw = index.to_bytes((index.bit_length() + 7) // 8, "big")
    return raw if len(raw) == 1 and raw[0] < 0x80 else bytes([0x80 + len(raw)]) + raw


def pack(path: bytes) -> bytes:
    """Compress a path, an RLP list of nodes."""
    return zlib.compress(path, 9)


def unpack(packed: bytes) -> bytes:
    """The one stream in `packed`, without reading more than `MAX_PATH_BYTES` of it."""
    stream = zlib.decompressobj()
    try:
        path = stream.decompress(packed, MAX_PATH_BYTES + 1)
    except zlib.error:
        _broken("a path is not packed by zlib")
    if len(path) > MAX_PATH_BYTES or not stream.eof or stream.unused_data:
        _broken("a path is too long, cut, or has more behind it")
    return path


# --- tries --------------------------------------------------------------------------------------------------


def _walk(root: bytes, key: bytes, nodes: list[Rlp]) -> bytes:
    """The value under `key`: each node is the one that the node above names, and all are used."""
    left, unused = _nibbles(key), iter(nodes)
    below: Rlp = root
    while True:
        node = below if isinstance(below, list) else _node(below, next(unused, b""))
        if len(node) == 17:
            if not left:
                value = _bytes(node[16])
                break
            below, left = node[left[0]], left[1:]
        elif len(node) == 2:
            flag, *part = _nibbles(_bytes(node[0])) or [8]
            if flag > 3 or (not flag & 1 and part[:1] != [0]):
                _broken("a node of a path has another form")
            part = part if flag & 1 else part[1:]
            if left[: len(part)] != part:
                _broken("a path leads to another receipt")
            below, left = node[1], left[len(part) :]
            if flag & 2:
                value = _bytes(below)
                break
        else:
            _broken("a node of a path has another form")
    if left or not value or next(unused, None) is not None:
        _broken("a path does not end at the receipt")
    return value


def _node(name: Rlp, data: Rlp) -> list[Rlp]:
    if not isinstance(data, bytes) or not isinstance(name, bytes) or len(name) != 32 or keccak(data) != name:
        _broken("a node of a path is not the one that is named above it")
    return _list(decode(data))


def _nibbles(data: bytes) -> list[int]:
    return [nibble for byte in data for nibble in (byte >> 4, byte & 15)]


# --- RLP ----------------------------------------------------------------------------------------------------


def decode(data: bytes, depth: int = MAX_DEPTH) -> Rlp:
    """Read RLP in its one form: byte strings and lists of at most `depth` levels.

    Raises `EnvelopeError` `proof-broken`.
    """
    item, end = _item(data, 0, depth, [MAX_ITEMS])
    if end != len(data):
        _broken("RLP has bytes behind it")
    return item


def _item(data: bytes, at: int, depth: int, left: list[int]) -> tuple[Rlp, int]:
    """The item that begins at `at`, and where it ends. `left`: how many more may follow."""
    left[0] -= 1
    if left[0] < 0:
        _broken(f"RLP has more than {MAX_ITEMS} items")
    first = data[at] if at < len(data) else _broken("RLP is cut")
    if first < 0x80:
        return data[at : at + 1], at + 1
    base = 0xC0 if first >= 0xC0 else 0x80
    begin, length = at + 1, first - base
    if length > 55:
        begin += length - 55
        size = data[at + 1 : begin]
        length = int.from_bytes(size, "big")
        if not size or size[0] == 0 or length <= 55:
            _broken("RLP is in another form than the one")
    end = begin + length
    if end > len(data):
        _broken("RLP is cut")
    if base == 0x80:
        if length == 1 and data[begin] < 0x80:
            _broken("RLP is in another form than the one")
        return data[begin:end], end
    if depth == 0:
        _broken("RLP is nested too deeply")
    items: list[Rlp] = []
    while begin < end:
        item, begin = _item(data, begin, depth - 1, left)
        items.append(item)
    if begin != end:
        _broken("RLP is cut")
    return items, end


def _log(item: Rlp) -> ReceiptLog:
    fields = _list(item)
    if len(fields) != 3 or len(topics := _list(fields[1])) > MAX_TOPICS:
        _broken("a log has another form")
    return ReceiptLog(
        address=_bytes(fields[0], 20),
        topics=tuple(_bytes(topic, 32) for topic in topics),
        data=_bytes(fields[2]),
    )


def _list(item: Rlp) -> list[Rlp]:
    return item if isinstance(item, list) else _broken("RLP has bytes where a list must be")


def _bytes(item: Rlp, size: int | None = None) -> bytes:
    if not isinstance(item, bytes) or size not in (None, len(item)):
        _broken("RLP has something else where bytes must be")
    return item


def _number(item: Rlp) -> int:
    raw = _bytes(item)
    if len(raw) > 8 or raw[:1] == b"\0":
        _broken("a number of a header has another form")
    return int.from_bytes(raw, "big")


def _broken(what: str) -> NoReturn:
    raise EnvelopeError(Code.PROOF_BROKEN, what)
