# SPDX-License-Identifier: Apache-2.0
"""Transactions as a file for Safe{Wallet}'s transaction builder, which shows each argument in words.

The builder loads such a file, compares its checksum and lets the Safe's owners sign. A call is given by its
function and arguments and not as data: data would be shown as bytes, which an owner cannot read. A structure
or an array is one argument, written as a JSON array of its parts.

The checksum, as the builder computes it: keccak-256 over a text of the whole file without the checksum and
with its name as `null`. An object is written as `{`, the JSON array of its sorted member names, each value
followed by a comma, `}`; an array as `[`, its items with commas between, `]`; the rest as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from sealroom.encoding import to_hex

FORMAT_VERSION = "1.0"
BUILDER_VERSION = "1.18.2"
"""The builder whose files these are alike."""


@dataclass(frozen=True)
class SafeCall:
    """One call, with no ether."""

    to: str
    function: str
    inputs: Sequence[Mapping[str, Any]]
    """The function's arguments, from its ABI."""
    values: Sequence[Any]
    """Theirs, in the same order, as an ABI encoder takes them."""

    def transaction(self) -> dict[str, Any]:
        """Its entry in the file."""
        return {
            "to": to_checksum_address(self.to),
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [_input(part) for part in self.inputs],
                "name": self.function,
                "payable": False,
            },
            "contractInputsValues": {
                part["name"]: _text(value) for part, value in zip(self.inputs, self.values, strict=True)
            },
        }


def batch(
    *,
    chain_id: int,
    safe: str,
    calls: Sequence[SafeCall],
    name: str,
    description: str,
    created_ms: int,
) -> dict[str, Any]:
    """The file's content: the calls, in one transaction of the Safe. created_ms: unix milliseconds."""
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
        "transactions": [call.transaction() for call in calls],
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


def _input(part: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "internalType": part.get("internalType", part["type"]),
        "name": part["name"],
        "type": part["type"],
    }
    if "components" in part:
        found["components"] = [_input(one) for one in part["components"]]
    return found


def _text(value: Any) -> str:
    """A value as the builder takes it: a structure or an array as JSON, whose numbers are texts, since a
    browser's numbers end at 2^53."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else _json(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value)
