# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree over receipts that a gate anchored together, for auditors of one of them.

A leaf is keccak256(keccak256(sequence ‖ run number ‖ receipt digest)), each as 32 bytes: hashed twice, so
that no inner node can pass for one. A pair is hashed in ascending order, so that a path needs no sides. The
last node of an odd level moves up as it is. The contract's twin is `contracts/libraries/ReceiptTree.sol`.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.encoding import HASH_SIZE
from sealroom.errors import FormatError

MAX_BATCH = 4096
"""Most receipts of one batch (`Ledger.anchorBatch`)."""
MAX_PATH = 12
"""Most siblings of one leaf: the height of a tree over `MAX_BATCH`."""


def leaf(sequence: int, number: int, digest: bytes) -> bytes:
    """Leaf of one receipt, 32 bytes: its sequence, the number of its run, its EIP-712 digest (32 bytes)."""
    words = sequence.to_bytes(HASH_SIZE, "big") + number.to_bytes(HASH_SIZE, "big")
    return keccak(keccak(words + _checked(digest)))


def root(first: int, numbers: Sequence[int], digests: Sequence[bytes]) -> bytes:
    """Root over receipts numbered `first`, `first` + 1 and so on, 32 bytes.

    Raises `FormatError` for a batch that the ledger would not take: of none, of too many, or with another
    count of run numbers than of digests.
    """
    return _levels(first, numbers, digests)[-1][0]


def path(first: int, numbers: Sequence[int], digests: Sequence[bytes], at: int) -> list[bytes]:
    """Siblings from the leaf of the receipt at index `at` up to the root, 32 bytes each.

    Raises `FormatError` like `root`, and for an index outside of the batch.
    """
    levels = _levels(first, numbers, digests)
    if not 0 <= at < len(digests):
        raise FormatError(Code.MALFORMED, f"a batch of {len(digests)} receipts has none at {at}")
    siblings: list[bytes] = []
    for level in levels[:-1]:
        if (at ^ 1) < len(level):
            siblings.append(level[at ^ 1])
        at //= 2
    return siblings


def contains(tree_root: bytes, leaf_hash: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether the leaf is in the tree of this root. The leaf must come from `leaf`, never from outside.

    Raises `FormatError` for a sibling that is no hash, or for more of them than a tree can have.
    """
    if len(siblings) > MAX_PATH:
        raise FormatError(
            Code.MALFORMED, f"a path of {len(siblings)} siblings; at most {MAX_PATH} are possible"
        )
    node = _checked(leaf_hash)
    for sibling in siblings:
        node = _pair(node, _checked(sibling))
    return node == tree_root


def _levels(first: int, numbers: Sequence[int], digests: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the tree, the leaves first and the root alone last."""
    if not 0 < len(digests) <= MAX_BATCH or len(numbers) != len(digests):
        raise FormatError(
            Code.MALFORMED,
            f"{len(numbers)} run numbers and {len(digests)} receipts; 1 to {MAX_BATCH} of both make a batch",
        )
    pairs = zip(numbers, digests, strict=True)
    levels = [[leaf(first + place, number, digest) for place, (number, digest) in enumerate(pairs)]]
    while len(level := levels[-1]) > 1:
        paired = [_pair(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        levels.append(paired + level[len(level) - len(level) % 2 :])
    return levels


def _pair(left: bytes, right: bytes) -> bytes:
    return keccak(min(left, right) + max(left, right))


def _checked(node: bytes) -> bytes:
    if len(node) != HASH_SIZE:
        raise FormatError(Code.MALFORMED, f"a node of the tree has {HASH_SIZE} bytes, not {len(node)}")
    return node
