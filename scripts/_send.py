# SPDX-License-Identifier: Apache-2.0
"""Sends a transaction that the contract will accept, and says why where it will not."""

from __future__ import annotations

from typing import Any

from ape import Project
from ape.api import AccountAPI
from eth_utils.abi import function_abi_to_4byte_selector
from scripts._command import HINTS, Complaint
from web3.exceptions import ContractLogicError

from sealroom.encoding import to_hex

CONTRACTS = ("Consortium", "Ledger", "Factory", "DstackApp")
"""Contracts whose errors may come back from a call."""


def send(project: Project, account: AccountAPI, method: Any, *arguments: Any) -> Any:
    """Send a transaction and wait for its receipt.

    It is first tried as a call: a refusal then costs nothing, and comes as a `Complaint` with the
    contract's own error. (Ape by itself prints a call trace to standard output.)
    """
    data = method.encode_input(*arguments)
    call = {"from": account.address, "to": method.contract.address, "data": to_hex(bytes(data))}
    try:
        project.provider.web3.eth.call(call)
    except ContractLogicError as error:
        raise refusal(project, error) from error
    return method(*arguments, sender=account)


def refusal(project: Project, error: ContractLogicError) -> Complaint:
    """The contract's error in words."""
    data = bytes.fromhex(str(error.data or "").removeprefix("0x"))
    for name in CONTRACTS:
        for abi in getattr(project, name).contract_type.errors:
            if function_abi_to_4byte_selector(abi.model_dump()) == data[:4]:
                fields = project.provider.network.ecosystem.decode_calldata(abi, data[4:])
                shown = ", ".join(f"{field}={_shown(value)}" for field, value in fields.items())
                return Complaint(f"the contract refuses: {abi.name}({shown})", HINTS.get(abi.name))
    return Complaint(f"the contract refuses: {error.message or 'no reason given'}")


def _shown(value: Any) -> str:
    return to_hex(bytes(value)) if isinstance(value, bytes | bytearray) else str(value)
