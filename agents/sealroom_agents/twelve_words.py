# SPDX-License-Identifier: Apache-2.0
"""The cross-check code of a proposal: twelve words that two machines show of one study id.

The first 132 bits of the id, eleven a word, by the English list of BIP-39. Whoever proposes chooses what two
contents say, so a pair of contents with the same words costs about 2^66 hashes; eight words would cost 2^44.
The pages compute the same (`face/decide/words.ts`).
"""

from __future__ import annotations

from functools import cache

from eth_account.hdaccount.mnemonic import Mnemonic
from eth_account.types import Language

WORDS = 12
"""Words of a code."""
_BITS = 11
"""Bits of a word: the list has 2048."""


def twelve_words(study: bytes) -> tuple[str, ...]:
    """The words of a study id, 32 bytes. Raises `ValueError` for one of another length."""
    if len(study) != 32:
        raise ValueError("a study id has 32 bytes")
    bits = int.from_bytes(study) >> (8 * len(study) - WORDS * _BITS)
    places = [bits >> (_BITS * place) & (2**_BITS - 1) for place in reversed(range(WORDS))]
    return tuple(_listed()[place] for place in places)


@cache
def _listed() -> tuple[str, ...]:
    return tuple(Mnemonic(Language.ENGLISH).wordlist)
