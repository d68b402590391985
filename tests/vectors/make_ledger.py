# SPDX-License-Identifier: Apache-2.0
"""Vectors of what the ledger hashes by itself: the opening of a run, and the tree over a batch."""

from __future__ import annotations

from eth_utils.crypto import keccak

from sealroom import receipt_tree, typed
from sealroom.encoding import canonical, to_hex
from tests.formats.test_typed import OPENING
from tests.vectors.vector import FOLDER, Vector

FIRST = 41
"""Sequence of the first receipt of each batch."""


def make_ledger() -> None:
    """One opening, and batches whose trees are whole, have an odd level, or two."""
    fields = {
        "expect": "success",
        "comment": "a run as RunOpened tells it, and what `Ledger.commitment` answers for it",
        "commitment": typed.opening_hash(OPENING).hex(),
    }
    Vector(fields, canonical(OPENING.to_json())).write(FOLDER / "ledger" / "opening")
    for count, comment in {
        1: "one receipt: its leaf is the root",
        2: "two receipts",
        3: "three: the last leaf moves up",
        8: "eight: every level is whole",
        11: "eleven: the last of two levels moves up",
    }.items():
        numbers = [2 * place + place % 3 + 1 for place in range(count)]
        digests = [keccak(text=f"a test's receipt {place}") for place in range(count)]
        paths = [receipt_tree.path(FIRST, numbers, digests, place) for place in range(count)]
        fields = {
            "expect": "success",
            "comment": comment,
            "root": receipt_tree.root(FIRST, numbers, digests).hex(),
        }
        body = {
            "first": FIRST,
            "numbers": numbers,
            "receipts": [to_hex(digest) for digest in digests],
            "leaves": [
                to_hex(receipt_tree.leaf(FIRST + place, numbers[place], digests[place]))
                for place in range(count)
            ],
            "paths": [[to_hex(sibling) for sibling in path] for path in paths],
        }
        Vector(fields, canonical(body)).write(FOLDER / "ledger" / f"batch_of_{count}")
