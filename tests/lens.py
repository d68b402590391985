# SPDX-License-Identifier: Apache-2.0
"""Lies about what the lens answers: for an `RpcProxy` before one of the gate's nodes.

proxy.tamper = tells(lambda row: replace(row, commitments=…), at=("latest",))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eth_abi.abi import encode as abi_encode

from sealroom.model import Row
from sealroom_agents.chain.contracts import interface
from tests.rpc_proxy import RpcProxy, Tamper, as_asked, honest

LOOK = "0x" + interface("Lens").encode("look", [])[:4].hex()
"""Selector of what the lens answers for all that is followed."""
SEEN = "(uint256,uint256,uint256,bytes32,uint256,bytes[])"
WORD = 32


def looks(method: str, params: list[Any]) -> bool:
    """Whether a call asks the lens for all that is followed."""
    return method == "eth_call" and bool(params[0]["data"].startswith(LOOK))


def tells(
    change: Callable[[Row], Row],
    *,
    at: Sequence[str] = ("latest",),
    words: dict[int, int] | None = None,
    ahead: int = 0,
    block: str | None = None,
) -> Tamper:
    """A node that changes every row at the blocks of some tags; `words` of its state, counted from 1, become
    what no contract could answer. With `ahead` or `block` these blocks have another number, or hash."""

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] in at:
            return {
                **result,
                "number": hex(int(result["number"], 16) + ahead),
                "hash": block or result["hash"],
            }
        if not looks(method, params) or params[1] not in at:
            return result
        lens = interface("Lens")
        seen = lens.decode("look", bytes.fromhex(result[2:]))
        rows = []
        for raw in seen["rows"]:
            if not raw:
                rows.append(raw)
                continue
            row = change(Row.of_abi(lens.decode("row", raw)))
            told = bytearray(abi_encode([Row.abi_type()], [row.solidity()]))
            state = WORD + int.from_bytes(told[WORD : 2 * WORD], "big")
            for index, value in (words or {}).items():
                place = state + WORD * (index - 1)
                told[place : place + WORD] = value.to_bytes(WORD, "big")
            rows.append(bytes(told))
        values = (
            seen["chainId"],
            seen["number"] + ahead,
            seen["time"],
            seen["parent"],
            seen["baseFee"],
            rows,
        )
        return "0x" + abi_encode([SEEN], [values]).hex()

    return tamper


def lags(proxy: RpcProxy, before: dict[str, Any], newest: dict[str, Any]) -> None:
    """A node that is still at the block `before`, and does not have `newest`."""

    def rewrite(method: str, params: list[Any]) -> list[Any]:
        if method == "eth_call" and params[1] == "latest":
            return [params[0], before["number"]]
        return params

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        return before if method == "eth_getBlockByNumber" and params[0] == "latest" else result

    def refuses(method: str, params: list[Any]) -> bool:
        by_hash = params[1].get("blockHash") if method == "eth_call" and isinstance(params[1], dict) else None
        return newest["hash"] in (by_hash, params[0] if method == "eth_getBlockByHash" else None)

    proxy.rewrite, proxy.tamper, proxy.refuses = rewrite, tamper, refuses


def catches_up(proxy: RpcProxy) -> None:
    """It is where the others are."""
    proxy.rewrite, proxy.tamper, proxy.refuses = as_asked, honest, lambda method, params: False
