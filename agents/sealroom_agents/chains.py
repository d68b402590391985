# SPDX-License-Identifier: Apache-2.0
"""The chains that agents follow.

An agent finds what happened by the block numbers that the contracts keep (`previousBlock`, `lastBlock`). That
works only where `block.number` in a contract is the height that nodes know the block by. On Arbitrum it is
the height of another chain. So a chain is followed if it is in this table, or if an operator of a private
chain says, by naming its id, that it is like these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from sealroom.codes import Code
from sealroom_agents.errors import ChainError

C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True)
class SupportedChain:
    """One chain."""

    id: int
    """Chain id."""
    name: str
    """Name for people."""
    explorer: str = ""
    """Where people look blocks and transactions up; empty where there is no such place."""
    local: bool = False
    """Whether it is a development chain: the only ones on which a simulated platform may be trusted."""


SUPPORTED = {
    chain.id: chain
    for chain in (
        SupportedChain(1, "Ethereum", "https://etherscan.io"),
        SupportedChain(11155111, "Sepolia", "https://sepolia.etherscan.io"),
        SupportedChain(560048, "Hoodi", "https://hoodi.etherscan.io"),
        SupportedChain(10, "OP Mainnet", "https://optimistic.etherscan.io"),
        SupportedChain(11155420, "OP Sepolia", "https://sepolia-optimism.etherscan.io"),
        SupportedChain(8453, "Base", "https://basescan.org"),
        SupportedChain(84532, "Base Sepolia", "https://sepolia.basescan.org"),
        SupportedChain(100, "Gnosis", "https://gnosisscan.io"),
        SupportedChain(10200, "Gnosis Chiado", "https://gnosis-chiado.blockscout.com"),
        SupportedChain(31337, "a local chain", local=True),
        SupportedChain(1337, "a local chain", local=True),
    )
}
"""Chains on which `block.number` is the block's own height, by their ids."""
OTHER_HEIGHTS = {42161: "Arbitrum One", 42170: "Arbitrum Nova", 421614: "Arbitrum Sepolia"}
"""Chains on which it is another chain's."""
LOCAL_CHAIN_IDS = frozenset(chain.id for chain in SUPPORTED.values() if chain.local)
"""Chain ids of development chains."""


def private_chain_option(command: C, **more: Any) -> C:
    """`--private-chain`, for each command that reads a chain. `more`: for `click.option`."""
    return click.option(
        "--private-chain",
        type=click.IntRange(1),
        metavar="ID",
        help="Id of a chain that is none of those supported, whose contracts see its own block numbers.",
        **more,
    )(command)


def require_supported(chain_id: int, *, private_chain: int | None = None) -> None:
    """Refuse a chain that agents cannot follow.

    private_chain: id of a chain for which the operator says that its contracts see its own block numbers.
    Raises `ChainError` `chain-unsupported`.
    """
    name = OTHER_HEIGHTS.get(chain_id)
    if name is not None:
        raise ChainError(
            Code.CHAIN_UNSUPPORTED,
            f"{name} (chain {chain_id}) cannot be followed: its contracts see another chain's block numbers",
            f"deploy on one of {_names()}",
        )
    if chain_id not in SUPPORTED and chain_id != private_chain:
        raise ChainError(
            Code.CHAIN_UNSUPPORTED,
            f"chain {chain_id} is none of those that agents can follow",
            f"supported are {_names()}; for a private chain whose contracts see its own block numbers, "
            f"pass --private-chain {chain_id}",
        )


def _names() -> str:
    return ", ".join(chain.name for chain in SUPPORTED.values() if not chain.local)


def is_quorum(quorum: int, nodes: int) -> bool:
    """Whether so many of `nodes` are more than half: two quorums have a node in common then."""
    return nodes < 2 * quorum and quorum <= nodes
