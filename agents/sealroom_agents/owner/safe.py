# SPDX-License-Identifier: Apache-2.0
"""One transaction as a file for Safe{Wallet}'s transaction builder, which shows each argument in words.

The builder loads such a file, compares its checksum and lets the Safe's owners sign. The call is given by its
function and arguments and not as data: data would be shown as bytes, which an owner cannot read.

The checksum, as the builder computes it: keccak-256 over a text of the whole file without the checksum and
with its name as `null`. An object is written as `{`, the JSON array of its sorted member names, each value
followed by a comma, `}`; an array as `[`, its items with commas between, `]`; the rest as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from sealroom.encoding import to_hex

FORMAT_VERSION = "1.0"
BUILDER_VERSION = "1.18.2"
"""The builder whose files these are alike."""


def batch(
    *,
    chain_id: int,
    safe: str,
    to: str,
    function: str,
    inputs: Sequence[Mapping[str, Any]],
    values: Sequence[bytes | int | str],
    name: str,
    description: str,
    created_ms: int,
) -> dict[str, Any]:
    """The file's content: one call of `function` on `to`, with no ether.

    inputs: the function's arguments from its ABI. values: theirs, in the same
    order. created_ms: unix milliseconds.
    """
    content: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "chainId": str(chain_id),
        "createdAt": created_ms,
        "meta": {
            "name": name,
            "description": description,
            "txBuilderVersion": BUILDER_VERSION,
            "createdFromSafeAddress": to_checksum_address(safe),
            "createdFromOwnerAddress": "",
        },
        "transactions": [
            {
                "to": to_checksum_address(to),
                "value": "0",
                "data": None,
                "contractMethod": {
                    "inputs": [
                        {
                            "internalType": part.get("internalType", part["type"]),
                            "name": part["name"],
                            "type": part["type"],
                        }
                        for part in inputs
                    ],
                    "name": function,
                    "payable": False,
                },
                "contractInputsValues": {
                    part["name"]: _text(value) for part, value in zip(inputs, values, strict=True)
                },
            }
        ],
    }
    return {**content, "meta": {**content["meta"], "checksum": checksum(content)}}


def checksum(content: Mapping[str, Any]) -> str:
    """The builder's checksum of a file, whether or not it carries one already."""
    meta = {key: value for key, value in content["meta"].items() if key != "checksum"}
    return to_hex(keccak(text=_serialized({**content, "meta": {**meta, "name": None}})))


def _serialized(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value)
        body = "".join(f"{_serialized(value[name])}," for name in names)
        return f"{{{_json(names)}{body}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_serialized, value))}]"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(value: bytes | int | str) -> str:
    return to_hex(value) if isinstance(value, bytes) else str(value)
