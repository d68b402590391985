# SPDX-License-Identifier: Apache-2.0
"""Genuine Safe accounts on a local chain: the creation code that Safe published to npm, and what owners sign.

    published = safes.deploy(chain, safes.V1_4_1)
    safe = published.create(owners=(0, 1, 2), threshold=2)
    safe.execute(to, data, signers=(0, 2))               # a transaction of the Safe, relayed by a stranger
    signature = safe.sign_digest(digest, signers=(0, 2))  # EIP-1271, through its fallback handler

Owners and signers are numbers of the chain's accounts, or other Safes as owners of a Safe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.grammar import parse
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak

from tests.local_chain import ROOT, LocalChain, account, private_key
from tests.patience import until

V1_4_1 = "safe-contracts"
V1_5_0 = "safe-smart-account"
"""npm packages of Safe, each of one version."""
VERSIONS = {V1_4_1: "1.4.1", V1_5_0: "1.5.0"}
NOBODY = "0x" + "00" * 20
CALL, DELEGATECALL = 0, 1
CONTRACT_SIGNATURE = b"\x00"
"""Last byte of a signature's 65 whose owner is a contract; its own signature lies further back."""
RELAYER = 17
"""The account that sends what the owners of a Safe signed, and pays for it."""


@cache
def creation_code(package: str, path: str) -> bytes:
    """Creation code of a contract as published; `path` as in `SafeL2.sol/SafeL2`."""
    root = Path(ROOT, "node_modules", "@safe-global", package, "build", "artifacts", "contracts")
    return bytes.fromhex(json.loads((root / f"{path}.json").read_text())["bytecode"][2:])


@dataclass(frozen=True)
class Published:
    """The contracts that all Safes of one version share."""

    chain: LocalChain
    version: str
    singleton: str
    factory: str
    handler: str
    multi_send: str
    sign_message: str
    """A library that a Safe delegates to, to confirm a message on chain."""

    def create(self, owners: Sequence[int | Safe], threshold: int, *, salt: int = 0) -> Safe:
        """A new Safe, as its proxy factory makes it."""
        setup = self.setup(owners, threshold)
        data = call("createProxyWithNonce(address,bytes,uint256)", self.singleton, setup, salt)
        answer = self.chain.rpc("eth_call", {"to": self.factory, "data": "0x" + data.hex()}, "latest")
        address = str(abi_decode(["address"], bytes.fromhex(answer[2:]))[0])
        self.chain.send(RELAYER, self.factory, data)
        return Safe(self.chain, self.version, address, tuple(owners), threshold)

    def setup(self, owners: Sequence[int | Safe], threshold: int) -> bytes:
        """Call data of a Safe's `setup`, with the fallback handler that answers EIP-1271."""
        signature = "setup(address[],uint256,address,bytes,address,address,uint256,address)"
        addresses = [_address(owner) for owner in owners]
        return call(signature, addresses, threshold, NOBODY, b"", self.handler, NOBODY, 0, NOBODY)


@dataclass(frozen=True)
class Safe:
    """One Safe."""

    chain: LocalChain
    version: str
    address: str
    owners: tuple[int | Safe, ...]
    """As it was made with."""
    threshold: int

    @property
    def nonce(self) -> int:
        return self._read("nonce()")

    def message(self, to: str, data: bytes, *, operation: int = CALL) -> SignableMessage:
        """What its owners sign for its next transaction."""
        fields: dict[str, tuple[str, Any]] = {
            "to": ("address", to),
            "value": ("uint256", 0),
            "data": ("bytes", data),
            "operation": ("uint8", operation),
            "safeTxGas": ("uint256", 0),
            "baseGas": ("uint256", 0),
            "gasPrice": ("uint256", 0),
            "gasToken": ("address", NOBODY),
            "refundReceiver": ("address", NOBODY),
            "nonce": ("uint256", self.nonce),
        }
        return self._typed("SafeTx", fields)

    def digest_message(self, digest: bytes) -> SignableMessage:
        """What its owners sign so that it confirms `digest` by EIP-1271."""
        return self._typed("SafeMessage", {"message": ("bytes", digest)})

    def confirmation(self, message: SignableMessage) -> SignableMessage:
        """What its owners sign so that it confirms a message as owner of another Safe of its version.

        Safe 1.4.1 asks its owners by an older form of EIP-1271, about the message before it is hashed.
        """
        if self.version == VERSIONS[V1_4_1]:
            return self._typed("SafeMessage", {"message": ("bytes", _preimage(message))})
        return self.digest_message(keccak(_preimage(message)))

    def sign(self, message: SignableMessage, signers: Sequence[int | Safe]) -> bytes:
        """Signatures of its owners over a message, in the order that Safe wants: by address."""
        fixed, tail = b"", b""
        length = 65 * len(signers)
        for signer in sorted(signers, key=lambda owner: int(_address(owner), 16)):
            if isinstance(signer, Safe):
                inner = signer.sign(signer.confirmation(message), signer.owners[: signer.threshold])
                fixed += abi_encode(["address", "uint256"], [signer.address, length + len(tail)])
                fixed += CONTRACT_SIGNATURE
                tail += len(inner).to_bytes(32, "big") + inner
            else:
                fixed += bytes(Account.sign_message(message, private_key(signer)).signature)
        return fixed + tail

    def sign_digest(self, digest: bytes, signers: Sequence[int | Safe]) -> bytes:
        """The Safe's EIP-1271 signature of a digest, gathered off chain."""
        return self.sign(self.digest_message(digest), signers)

    def execute(
        self, to: str, data: bytes, signers: Sequence[int | Safe], *, operation: int = CALL
    ) -> dict[str, Any]:
        """One transaction of the Safe; returns its receipt. Reverts with Safe's own error if it fails."""
        signatures = self.sign(self.message(to, data, operation=operation), signers)
        return self.chain.send(RELAYER, self.address, execution(to, data, signatures, operation=operation))

    def swap_owner(self, old: int, new: int, signers: Sequence[int | Safe]) -> None:
        """Put another account in an owner's place."""
        listed = [str(owner) for owner in self._read("getOwners()", "address[]")]
        place = listed.index(account(old))
        before = listed[place - 1] if place else "0x" + "00" * 19 + "01"
        data = call("swapOwner(address,address,address)", before, account(old), account(new))
        self.execute(self.address, data, signers)

    def _typed(self, kind: str, fields: dict[str, tuple[str, Any]]) -> SignableMessage:
        return encode_typed_data(
            {"chainId": self.chain.chain_id, "verifyingContract": self.address},
            {kind: [{"name": name, "type": type_} for name, (type_, _) in fields.items()]},
            {name: value for name, (_, value) in fields.items()},
        )

    def _read(self, signature: str, kind: str = "uint256") -> Any:
        data = "0x" + call(signature).hex()
        answer = self.chain.rpc("eth_call", {"to": self.address, "data": data}, "latest")
        return abi_decode([kind], bytes.fromhex(answer[2:]))[0]


def deploy(chain: LocalChain, package: str, *, emits_details: bool = True) -> Published:
    """Deploy one version of Safe; `emits_details` is the form called L2, the wallets' usual one."""
    singleton = "SafeL2.sol/SafeL2" if emits_details else "Safe.sol/Safe"
    paths = (
        singleton,
        "proxies/SafeProxyFactory.sol/SafeProxyFactory",
        "handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler",
        "libraries/MultiSendCallOnly.sol/MultiSendCallOnly",
        "libraries/SignMessageLib.sol/SignMessageLib",
    )
    addresses = (create(chain, creation_code(package, path)) for path in paths)
    return Published(chain, VERSIONS[package], *addresses)


def create(chain: LocalChain, code: bytes, *, sender: int = RELAYER) -> str:
    """Deploy creation code; its address depends on the sender's nonce alone."""
    tx = chain.rpc("eth_sendTransaction", {"from": account(sender), "data": "0x" + code.hex()})
    return str(mined(chain, tx)["contractAddress"]).lower()


def mined(chain: LocalChain, transaction: str) -> dict[str, Any]:
    """Receipt of a transaction that was sent, on a chain that mines each at once."""
    return dict(until(lambda: chain.rpc("eth_getTransactionReceipt", transaction)))


def call(signature: str, *arguments: Any) -> bytes:
    """Call data of a function given as `name(type,…)`, by the standard's short names of types."""
    kinds = signature[signature.index("(") :]
    types = [kind.to_type_str() for kind in parse(kinds).components] if arguments else []
    return bytes(keccak(text=signature)[:4]) + abi_encode(types, arguments)


def execution(to: str, data: bytes, signatures: bytes, *, operation: int = CALL) -> bytes:
    """Call data of `execTransaction` without any refund of gas."""
    signature = "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
    return call(signature, to, 0, data, operation, 0, 0, 0, NOBODY, NOBODY, signatures)


def packed(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Call data of `multiSend`, which a Safe delegates to."""
    parts = [
        bytes([CALL]) + bytes.fromhex(to[2:]) + bytes(32) + len(data).to_bytes(32, "big") + data
        for to, data in calls
    ]
    return call("multiSend(bytes)", b"".join(parts))


def _address(owner: int | Safe) -> str:
    return owner.address if isinstance(owner, Safe) else account(owner)


def _preimage(message: SignableMessage) -> bytes:
    return b"\x19" + message.version + message.header + message.body
