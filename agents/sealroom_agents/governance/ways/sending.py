# SPDX-License-Identifier: Apache-2.0
"""A transaction: tried first, so that a refusal costs nothing; then sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.errors import ChainError
from sealroom_agents.governance.acts import Call, Sent, Wallet
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.refusals import refusal
from sealroom_agents.governance.standing import Standing

MINED_WITHIN_S = 180.0
"""How long a transaction may wait for its block."""


def try_call(call: Call, account: str, node: Node, standing: Standing | None, content: object) -> None:
    asked = {"from": account, "to": call.to, "data": to_hex(call.data)}
    (answer,) = node.rpcs[0].batch([("eth_call", [asked, "latest"])])
    if isinstance(answer, RpcFailure):
        if answer.data:
            raise refusal(answer.data, standing=standing, content=content)
        raise ChainError(Code.CHAIN_UNREACHABLE, f"the node does not try the call: {answer.message}")


def send(call: Call, wallet: Wallet, node: Node, standing: Standing | None, content: object) -> Sent:
    try_call(call, wallet.address, node, standing, content)
    return wallet.send(call.to, call.data)


class KeystoreWallet:
    """An account from an Ethereum keystore file, which sends through one node."""

    def __init__(self, path: Path, *, url: str, passphrase: Callable[[str], str]) -> None:
        from sealroom_agents.owner import keystore

        locked = keystore.read(path)
        self._signer = locked.unlock(passphrase(str(path)))
        self._url = url

    @property
    def address(self) -> str:
        return self._signer.address

    def sign(self, message: typed.Signable) -> bytes:
        return typed.sign(message, self._signer.key.reveal())

    def send(self, to: str, data: bytes) -> Sent:
        from sealroom_agents.chain.transactor import Transactor

        result = Transactor(self._url, self._signer.key.reveal(), receipt_timeout_s=MINED_WITHIN_S).send(
            to, data
        )
        return Sent(tx=result.tx, block=result.block_number, gas=result.gas_used)
