# SPDX-License-Identifier: Apache-2.0
"""Whether a contract, such as a Safe, says that a signature is its own (EIP-1271), asked as a consortium
asks it.

Source: `contracts/libraries/OwnerSignature.sol`, whose bounds these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from sealroom_agents.chain.rpc import Rpc, RpcFailure

IS_VALID = keccak(text="isValidSignature(bytes32,bytes)")[:4]
"""The function, and its answer for yes."""
WALLET_GAS = 400_000
"""What the contract lets a wallet use."""
CALL_GAS, BYTE_GAS = 21_000, 40
"""What a call costs before it begins, and at most for a byte of its data (EIP-7623)."""
WORD = 32


@dataclass(frozen=True)
class Claim:
    """A signature that a contract is said to have made."""

    owner: str
    """Address of the contract."""
    digest: bytes
    """What is signed, 32 bytes."""
    signature: bytes


def question(claim: Claim) -> bytes:
    """The call that asks the contract."""
    return IS_VALID + abi_encode(["bytes32", "bytes"], [claim.digest, claim.signature])


def says_yes(answer: bytes | RpcFailure) -> bool:
    """Whether an answer means yes: anything else means no, as for the consortium."""
    return not isinstance(answer, RpcFailure) and answer[:WORD] == IS_VALID.ljust(WORD, b"\0")


def confirmed(rpc: Rpc, consortium: str, claims: Sequence[Claim]) -> tuple[bool, ...]:
    """Of each claim whether its contract takes the signature for its own, at the node's head. Raises
    `ChainError` where the node does not answer."""
    calls = []
    for claim in claims:
        data = question(claim)
        gas = hex(WALLET_GAS + CALL_GAS + BYTE_GAS * len(data))
        call = {"from": consortium, "to": claim.owner, "data": "0x" + data.hex(), "gas": gas}
        calls.append(("eth_call", [call, "latest"]))
    answers = rpc.batch(calls)
    return tuple(says_yes(one if isinstance(one, RpcFailure) else rpc.data(one)) for one in answers)
