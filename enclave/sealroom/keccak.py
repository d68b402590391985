# SPDX-License-Identifier: Apache-2.0
"""Keccak-256 of a few bytes, and the id of a dataset, which is all that sealing needs of it.

Everything else hashes with eth-utils. Its import, with what it brings, takes longer than an owner's command
may take to start, and as long as sealing some hundred megabytes. Tests hold both to the same hashes.
"""

from __future__ import annotations

from functools import lru_cache

from sealroom.encoding import address_bytes

_RATE = 136
"""Bytes of a block: 1600 bits less twice the 256 of the digest."""
_WORD = (1 << 64) - 1


def dataset_id(registrant: str, name: str) -> bytes:
    """Id of the dataset that an account registers under a name, 32 bytes (`Registry.datasetId`).

    keccak256(account ‖ keccak256(name)), each as 32 bytes. It stays when another account takes the dataset.
    """
    return keccak(address_bytes(registrant).rjust(32, b"\0") + keccak(name.encode()))


@lru_cache(maxsize=256)
def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum has it, with the padding before SHA-3; 32 bytes. A block of 136 bytes takes a
    millisecond."""
    padded = bytearray(data + bytes(_RATE - len(data) % _RATE))
    padded[len(data)] ^= 0x01
    padded[-1] ^= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for number in range(_RATE // 8):
            at = start + 8 * number
            lanes[number] ^= int.from_bytes(padded[at : at + 8], "little")
        _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _WORD


def _permute(lanes: list[int]) -> None:
    """Keccak-f[1600], in place (FIPS 202, sections 3.2 and 3.3). Lane x + 5y is that of column x, row y."""
    feedback = 1
    for _ in range(24):
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        for x in range(5):
            parity = columns[x - 1] ^ _turned(columns[(x + 1) % 5], 1)
            for at in range(x, 25, 5):
                lanes[at] ^= parity
        # Each lane goes to the next place on the one path through all places but the first, turned ever more.
        x, y, held = 1, 0, lanes[1]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            turned = _turned(held, (step + 1) * (step + 2) // 2 % 64)
            held, lanes[x + 5 * y] = lanes[x + 5 * y], turned
        for y in range(0, 25, 5):
            row = lanes[y : y + 5]
            for x in range(5):
                lanes[x + y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
        for bit in range(7):
            # The constant of the round, from a shift register over x⁸ + x⁶ + x⁵ + x⁴ + 1.
            lanes[0] ^= (feedback & 1) << (1 << bit) - 1
            feedback = (feedback << 1) ^ (0x171 if feedback & 0x80 else 0)
