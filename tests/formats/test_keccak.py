# SPDX-License-Identifier: Apache-2.0
"""Keccak-256 of a few bytes: the same hashes as the library's."""

from __future__ import annotations

from eth_utils.crypto import keccak as library
from hypothesis import example, given
from hypothesis import strategies as st

from sealroom.keccak import dataset_id, keccak
from tests.formats.worked import NAME, OWNER


@given(st.binary(max_size=600))
@example(b"")
@example(bytes(135))
@example(bytes(136))
@example(bytes(137))
@example(b"\xff" * 271)
def test_the_hash_is_the_librarys(data: bytes) -> None:
    assert keccak(data) == library(data)


def test_a_datasets_id_hashes_the_account_and_the_hash_of_the_name() -> None:
    account = bytes(12) + bytes.fromhex(OWNER.removeprefix("0x"))
    assert dataset_id(OWNER, NAME) == library(account + library(text=NAME))
