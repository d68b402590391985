# SPDX-License-Identifier: Apache-2.0
"""Owners that are contracts: a Safe, or another wallet that answers by EIP-1271."""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.chain.wallets import Claim, question, says_yes
from sealroom_agents.governance.node import Node


@dataclass(frozen=True)
class ContractWallet:
    """A Safe: who its owners are, and how many of them sign."""

    address: str
    owners: tuple[str, ...]
    threshold: int


def contract_wallet(node: Node, address: str) -> ContractWallet | None:
    """The Safe at an address; `None` for an account with a key, or another contract."""
    code = node.code(address)
    if not code or code.startswith(bytes.fromhex("ef0100")):
        return None
    answers = []
    for signature, kind in (("getOwners()", "address[]"), ("getThreshold()", "uint256")):
        (answer,) = node.rpcs[0].calls_at(node.head.hash, [(address, keccak(text=signature)[:4])])
        if isinstance(answer, RpcFailure):
            return None
        try:
            answers.append(abi_decode([kind], answer)[0])
        except (DecodingError, OverflowError, ValueError):
            return None
    owners, threshold = answers
    return ContractWallet(address, tuple(str(one).lower() for one in owners), int(threshold))


def accepts(node: Node, owner: str, digest: bytes, signature: bytes) -> bool:
    """Whether the contract that an owner is takes a signature for its own (EIP-1271)."""
    asked = question(Claim(owner, digest, signature))
    (answer,) = node.rpcs[0].calls_at(node.head.hash, [(owner, asked)])
    return says_yes(answer)
