# SPDX-License-Identifier: Apache-2.0
"""A made-up block with receipts of every type, and proofs of them. Nothing is drawn at random."""

from __future__ import annotations

import zlib
from typing import Any

from rlp import encode
from trie.hexary import HexaryTrie

from sealroom.encoding import sha256
from sealroom.envelope import Proof
from sealroom_agents import inclusion

TYPES = (0, 1, 2, 3, 4, 0x7E)
NUMBER, TIME = 1300, 1_790_000_000


def receipt(index: int, *, status: int = 1) -> bytes:
    """The receipt of one transaction of the block; types take turns."""
    kind = TYPES[index % len(TYPES)]
    logs = [[address(index), [sha256(b"topic %d" % index)] * (index % 5), b"data %d" % index]]
    body: list[Any] = [status, 21_000 * (index + 1), bytes(256), logs]
    if kind == 0x7E:
        body += [index, 1][: index // len(TYPES) % 3]
    return (bytes([kind]) if kind else b"") + bytes(encode(body))


def address(index: int) -> bytes:
    """Contract that emits the log of a receipt."""
    return sha256(b"contract %d" % index)[:20]


class WorkedBlock:
    """A block of so many receipts."""

    def __init__(self, count: int, *, status: int = 1) -> None:
        self.trie = HexaryTrie({})
        for index in range(count):
            self.trie[inclusion.trie_key(index)] = receipt(index, status=status)
        root = bytes(self.trie.root_hash)
        fields: list[Any] = [sha256(b"parent"), bytes(32), bytes(20), sha256(b"state"), bytes(32), root]
        fields += [bytes(256), 0, NUMBER, 30_000_000, 21_000 * count, TIME, b"", bytes(32), bytes(8), 7]
        self.header = bytes(encode(fields))
        self.root = root

    def nodes(self, index: int) -> list[bytes]:
        """The path to a receipt."""
        path = self.trie.get_proof(inclusion.trie_key(index))  # type: ignore[no-untyped-call]
        return [bytes(encode(node)) for node in path]

    def path(self, index: int) -> bytes:
        """The same, an RLP list."""
        return bytes(encode(self.nodes(index)))

    def proof(self, index: int) -> Proof:
        """Of one receipt. Nothing is compressed, so that it has the same bytes everywhere."""
        return Proof(header=self.header, index=index, path=zlib.compress(self.path(index), 0))
