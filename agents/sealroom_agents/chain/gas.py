# SPDX-License-Identifier: Apache-2.0
"""How much gas a transaction may use: more than its estimate, which is of the state before any other
transaction of its block. What it does not use is not paid for, but the account must hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from eth_utils.crypto import keccak

from sealroom_agents.chain.contracts import interface


@dataclass(frozen=True)
class GasMoney:
    """What an account can pay for."""

    balance_wei: int
    """What it has."""
    base_fee_wei: int
    """What a unit of gas costs in the newest block, without a tip."""


MAX_GAS = 16_000_000
"""Most of one transaction: a chain allows 2²⁴ (EIP-7825). Opening the most runs at once, with the most
datasets that a study may have, needs two thirds of it."""
SLOT_GAS = 22_100
"""For writing a slot of storage that was empty and that nothing of the transaction has touched (EIP-2929)."""
VOTES = ("approve", "adoptPlatform", "addMachines", "changeRoster")
"""Functions of a consortium that count a vote, and do what is voted for once there are enough."""


def with_room(estimate: int, data: bytes) -> int:
    """The gas limit of a call: twice its estimate, up to `MAX_GAS`, and never less than the estimate.

    Another owner's vote may come before this one in the block, so that this one is the last that is needed:
    it then writes what the owners vote for too, at most each word of its call to a slot of its own.
    """
    most = 2 * estimate
    if data[:4] in votes():
        most += SLOT_GAS * (len(data) // 32)
    return max(min(most, MAX_GAS), estimate)


@cache
def votes() -> frozenset[bytes]:
    """The selectors of these functions."""
    contract = interface("Consortium")
    return frozenset(keccak(text=contract.signature(name))[:4] for name in VOTES)
