# SPDX-License-Identifier: Apache-2.0
"""The contracts on a local chain: their creation code, and the transactions that make a consortium."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from sealroom.encoding import to_hex
from sealroom.model import Owner
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import DemoError

OPERATOR = 9
"""Which of the chain's accounts deploys, and hands out gas money; owners are those before it."""
MINED_WITHIN_S = 60.0
"""How long a transaction of a local chain may take, seconds."""
GAS_LIMIT = 16_000_000
"""More than any of the deployments takes, and less than a block has."""
CODE_FILE = "creation-code.json"


@dataclass(frozen=True)
class Deployment:
    """Where everything is."""

    factory: str
    ledger: str
    lens: str
    consortium: str
    app: str


def deploy(url: str, owners: Sequence[Owner], threshold: int, *, salt: bytes) -> Deployment:
    """Deploy what all consortia share, and one consortium, from the operator's account.

    salt: 32 bytes. Raises `DemoError`, `ChainError`.
    """
    chain = LocalSender(url)
    code = creation_code()
    lens = chain.create(code["Lens"])
    ledger = chain.create(code["Ledger"] + abi_encode(["address"], [lens]))
    consortium_code = code["Consortium"]
    factory = chain.create(
        code["Factory"] + abi_encode(["address", "bytes32"], [ledger, keccak(consortium_code)])
    )
    call = interface("Factory").encode(
        "create", [owner.solidity() for owner in owners], threshold, salt, consortium_code
    )
    answer = chain.rpc.call_latest(factory, call)
    consortium, app = interface("Factory").decode("create", answer)
    chain.send({"to": factory, "data": to_hex(call)})
    return Deployment(factory=factory, ledger=ledger, lens=lens, consortium=consortium, app=app)


def creation_code() -> dict[str, bytes]:
    """What `.ci/abi` keeps of the compiled contracts: creation code by name."""
    text = resources.files("sealroom_agents.local").joinpath(CODE_FILE).read_text()
    return {name: bytes.fromhex(code.removeprefix("0x")) for name, code in json.loads(text).items()}


class LocalSender:
    """Sends from the accounts that a local chain holds the keys of."""

    def __init__(self, url: str, account: int = OPERATOR, *, look_s: float = 0.1) -> None:
        """look_s: pause between two looks whether a transaction was mined, seconds."""
        self._look_s = look_s
        self.rpc = Rpc(url, timeout_s=MINED_WITHIN_S)
        self._from: str = self.rpc.request("eth_accounts", [])[account]

    def create(self, code: bytes) -> str:
        """Deploy a contract; its address."""
        return str(self.send({"data": to_hex(code)})["contractAddress"]).lower()

    def fund(self, address: str, wei: int) -> None:
        """Give an account gas money, unless it has as much already."""
        if self.balance(address) < wei:
            self.send({"to": address, "value": hex(wei)})

    def balance(self, address: str) -> int:
        """What an account has, wei."""
        return int(self.rpc.request("eth_getBalance", [address, "latest"]), 16)

    def send(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """One transaction, mined; its receipt. Raises `DemoError`."""
        sent = self.rpc.request(
            "eth_sendTransaction", [{"from": self._from, "gas": hex(GAS_LIMIT), **transaction}]
        )
        deadline = time.monotonic() + MINED_WITHIN_S
        while (receipt := self.rpc.request("eth_getTransactionReceipt", [sent])) is None:
            if time.monotonic() > deadline:
                raise DemoError(f"transaction {sent} of the local chain was not mined")
            time.sleep(self._look_s)
        if receipt["status"] != "0x1":
            raise DemoError(f"transaction {sent} of the local chain failed")
        return dict(receipt)
