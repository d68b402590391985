# SPDX-License-Identifier: Apache-2.0
"""What is read and written word by word is what the general decoder and encoder read and write."""

from __future__ import annotations

from typing import Any

from eth_abi.abi import decode
from hypothesis import given
from hypothesis import strategies as st

from sealroom_agents.chain.contracts import UNREADABLE, _Values, interface
from sealroom_agents.chain.look import Ask, _encoded

FIELDS = interface("Ledger").abi
OPENED = next(item for item in FIELDS if item.get("name") == "RunOpened")
KINDS = ["address", "bool", "uint8", "uint64", "uint256", "bytes1", "bytes32"]


def values(fields: list[dict[str, Any]], data: bytes) -> object:
    try:
        return tuple(_Values(fields).read(data))
    except UNREADABLE:
        return "refused"


def plainly(kinds: str, data: bytes) -> object:
    try:
        return decode([kinds], data)[0]
    except UNREADABLE:
        return "refused"


words = st.one_of(
    st.integers(0, 2**256 - 1), st.integers(0, 2), st.integers(0, 2**64 - 1), st.integers(0, 2**160 - 1),
    st.binary(min_size=1, max_size=1).map(lambda one: int.from_bytes(one, "big") << 248),
).map(lambda number: number.to_bytes(32, "big"))  # fmt: skip


@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), data=st.lists(words, max_size=6))
def test_words_are_read_as_the_general_decoder_reads_them(kinds: list[str], data: list[bytes]) -> None:
    """CH-29: hostile logs among them, too short ones and ones with bits where none may be."""
    inner = [{"name": str(number), "type": kind} for number, kind in enumerate(kinds)]
    field = {"name": "all", "type": "tuple", "components": inner}
    encoded = b"".join(data)
    found = values([field], encoded)
    assert (found if found == "refused" else found[0]) == plainly(f"({','.join(kinds)})", encoded)  # type: ignore[index]


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=20, max_size=20),
            st.lists(st.binary(min_size=32, max_size=32), max_size=4),
            st.lists(st.binary(min_size=32, max_size=32), max_size=3),
        ),
        max_size=4,
    )
)
def test_a_look_is_asked_for_as_the_general_encoder_does(
    asked: list[tuple[bytes, list[bytes], list[bytes]]],
) -> None:
    page = [Ask("0x" + who.hex(), tuple(datasets), tuple(runs)) for who, runs, datasets in asked]
    plain = [("0x" + who.hex(), runs, datasets) for who, runs, datasets in asked]
    assert _encoded(page) == interface("Lens").encode("look", plain)


def test_an_event_with_values_of_any_size_is_read_by_the_general_decoder() -> None:
    assert _Values([{"name": "why", "type": "bytes"}])._fields is None
    assert _Values([one for one in OPENED["inputs"] if not one["indexed"]])._fields is not None
