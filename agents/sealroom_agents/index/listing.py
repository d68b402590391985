# SPDX-License-Identifier: Apache-2.0
"""The factory's list of consortia at one block: what events of creation are held against.

The list only grows, and a consortium keeps its place in it. State is the proof here too: where the index has
another number of consortia than the factory, or another one at a place, its rows are made from the list.
"""

from __future__ import annotations

from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.errors import ChainError


class Misplaced(ChainError):
    """The factory has another consortium, or none, where the index has one."""


def misplaced(address: str, number: int) -> Misplaced:
    """The error of a consortium that the index has at the wrong place."""
    return Misplaced(
        Code.EVENTS_MISSING,
        f"the factory has another consortium than {address} at place {number} of its list",
    )


def counting(factory: str) -> tuple[str, bytes]:
    """The call that `counted` reads."""
    return factory, interface("Factory").encode("consortiumCount")


def counted(rpc: Rpc, answer: bytes | RpcFailure) -> int:
    """How many consortia the factory has. Raises `ChainError`."""
    return int(_decoded(rpc, "consortiumCount", answer))


def listed(rpc: Rpc, factory: str, head: Head) -> list[str]:
    """Their addresses, in the factory's order, at one block. Raises `ChainError`."""
    calls = [counting(factory), (factory, interface("Factory").encode("consortia"))]
    number, answer = rpc.calls_at(head.hash, calls)
    found = [str(one).lower() for one in _decoded(rpc, "consortia", answer)]
    if len(found) != counted(rpc, number) or len(set(found)) != len(found):
        raise rpc.malformed("a list of consortia that contradicts itself")
    return found


def _decoded(rpc: Rpc, name: str, answer: bytes | RpcFailure) -> Any:
    if isinstance(answer, RpcFailure):
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses {name}: {answer.message}")
    return interface("Factory").decode(name, answer)
