# SPDX-License-Identifier: Apache-2.0
"""Sends a transaction that the contract will accept, and says why where it will not."""

from __future__ import annotations

from typing import Any

from ape import Project
from ape.api import AccountAPI
from scripts._command import Complaint
from web3.exceptions import ContractLogicError

from sealroom.encoding import to_hex
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.governance.refusals import explained


def send(project: Project, account: AccountAPI, method: Any, *arguments: Any) -> Any:
    """Send a transaction and wait for its receipt.

    It is first tried as a call: a refusal then costs nothing, and comes as a `Complaint` with the
    contract's own error. (Ape by itself prints a call trace to standard output.)
    """
    tried(project, account, method, *arguments)
    return method(*arguments, sender=account)


def tried(project: Project, account: AccountAPI, method: Any, *arguments: Any) -> bytes:
    """What a call would answer, undecoded. Raises `Complaint` where the contract refuses it."""
    data = method.encode_input(*arguments)
    call = {"from": account.address, "to": method.contract.address, "data": to_hex(bytes(data))}
    try:
        return bytes(project.provider.web3.eth.call(call))
    except ContractLogicError as error:
        raise refusal(error) from error


def refusal(error: ContractLogicError) -> Complaint:
    """The contract's error in words, with the way out."""
    data = bytes.fromhex(str(error.data or "").removeprefix("0x"))
    if not data:
        return Complaint(f"the contract refuses: {error.message or 'no reason given'}")
    return Complaint(*explained(*explain_revert(data)))
