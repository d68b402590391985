# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree over receipts that were anchored together."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.errors import FormatError
from sealroom.receipt_tree import MAX_BATCH, MAX_PATH, contains, leaf, path, root

DIGESTS = [keccak(bytes([number])) for number in range(5)]
NUMBERS = [3, 4, 9, 10, 17]


def _pair(one: bytes, other: bytes) -> bytes:
    return keccak(one + other if one < other else other + one)


def test_a_leaf_is_hashed_twice() -> None:
    """Else an inner node, 64 bytes hashed once, could pass for one."""
    words = (7).to_bytes(32, "big") + (3).to_bytes(32, "big") + DIGESTS[0]

    assert leaf(7, 3, DIGESTS[0]) == keccak(keccak(words))


def test_the_last_of_an_odd_level_moves_up_as_it_is() -> None:
    a, b, c, d, e = (leaf(7 + place, NUMBERS[place], DIGESTS[place]) for place in range(5))
    left = _pair(_pair(a, b), _pair(c, d))

    assert root(7, NUMBERS[:1], DIGESTS[:1]) == a
    assert root(7, NUMBERS[:2], DIGESTS[:2]) == _pair(a, b)
    assert root(7, NUMBERS[:3], DIGESTS[:3]) == _pair(_pair(a, b), c)
    assert root(7, NUMBERS, DIGESTS) == _pair(left, e)
    assert path(7, NUMBERS, DIGESTS, 4) == [left]
    assert path(7, NUMBERS, DIGESTS, 1) == [a, _pair(c, d), e]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 2**64 - 1), st.data())
def test_each_receipt_of_a_batch_is_proved_and_no_other(count: int, first: int, data: st.DataObject) -> None:
    digests = [keccak(number.to_bytes(4, "big")) for number in range(count)]
    numbers = list(range(2, 2 + count))
    at = data.draw(st.integers(0, count - 1))
    top, siblings = root(first, numbers, digests), path(first, numbers, digests, at)

    assert contains(top, leaf(first + at, numbers[at], digests[at]), siblings)
    for other in [
        leaf(first + at + 1, numbers[at], digests[at]),
        leaf(first + at, numbers[at] + 1, digests[at]),
        leaf(first + at, numbers[at], bytes(32)),
    ]:
        assert not contains(top, other, siblings)
    if siblings:
        assert not contains(top, leaf(first + at, numbers[at], digests[at]), siblings[:-1])


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_a_batch_that_the_ledger_would_refuse_has_no_root(count: int) -> None:
    assert root(1, [1], [bytes(32)])
    with pytest.raises(FormatError):
        root(1, list(range(count)), [bytes(32)] * count)


def test_what_is_no_hash_or_no_place_is_refused() -> None:
    top, first = root(7, NUMBERS, DIGESTS), leaf(7, 3, DIGESTS[0])
    siblings = path(7, NUMBERS, DIGESTS, 0)
    assert contains(top, first, siblings)
    for act in (
        lambda: leaf(7, 3, DIGESTS[0][:31]),
        lambda: root(7, NUMBERS[:4], DIGESTS),
        lambda: path(7, NUMBERS, DIGESTS, 5),
        lambda: path(7, NUMBERS, DIGESTS, -1),
        lambda: contains(top, first, [*siblings, b""]),
        lambda: contains(top, first, [bytes(32)] * (MAX_PATH + 1)),
    ):
        with pytest.raises(FormatError):
            act()
