# SPDX-License-Identifier: Apache-2.0
"""The contracts' ABIs as typed encoders and decoders.

The JSON files under `abi/` are written from the compiled contracts and are the one place where names, types
and errors of the contracts enter Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom_agents.errors import ChainError

PANIC_SELECTOR = keccak(text="Panic(uint256)")[:4]
STRING_SELECTOR = keccak(text="Error(string)")[:4]
UNKNOWN = "unknown"
"""Name of a revert whose reason nobody knows."""
WORD = 32
"""Bytes of a word of the ABI."""
UNREADABLE = (DecodingError, OverflowError, ValueError)
"""What the decoder raises for bytes that are not of the type."""


class _Values:
    """The types of some values that stand together, and reading them.

    Values of a fixed size, of which nearly all events consist, are read word by word: the general decoder
    takes ten times as long, and a gate reads an event for each run that it opens.
    """

    def __init__(self, fields: Sequence[Any]) -> None:
        self._types = _types(fields)
        leaves = [_leaves(field) for field in fields]
        self._fields = None if None in leaves else tuple(fields)

    def read(self, data: bytes) -> Sequence[Any]:
        """The values. Raises one of `UNREADABLE`."""
        if self._fields is None:
            return abi_decode(self._types, data)
        words = iter(range(0, len(data) - WORD + 1, WORD))
        try:
            return [_fixed(field, data, words) for field in self._fields]
        except StopIteration:
            raise ValueError("too few bytes") from None


class _Event:
    """One event, as its logs are read."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        indexed = [field for field in item["inputs"] if field["indexed"]]
        plain = [field for field in item["inputs"] if not field["indexed"]]
        self.name = str(item["name"])
        self.fields = (*indexed, *plain)
        self.indexed = tuple(_Values([field]) for field in indexed)
        self.plain = _Values(plain)


class Interface:
    """One contract's functions, events and custom errors, by name. Overloaded functions are left out."""

    def __init__(self, name: str, abi: Sequence[Mapping[str, Any]]) -> None:
        self.name = name
        self.abi = list(abi)
        counts: dict[str, int] = {}
        for item in abi:
            if item["type"] == "function":
                counts[item["name"]] = counts.get(item["name"], 0) + 1
        self._functions = {
            item["name"]: item for item in abi if item["type"] == "function" and counts[item["name"]] == 1
        }
        self._events = {
            event_abi_to_log_topic(item): _Event(item)  # type: ignore[arg-type]
            for item in abi
            if item["type"] == "event"
        }
        self._errors = {_selector(item): item for item in abi if item["type"] == "error"}

    def encode(self, function: str, *arguments: Any) -> bytes:
        """Call data: selector and arguments. Tuples are given as tuples, hashes
        as bytes, addresses as hex text."""
        item = self._functions[function]
        return _selector(item) + abi_encode(_types(item["inputs"]), arguments)

    def decode(self, function: str, data: bytes) -> Any:
        """The returned value; structs become dictionaries by field name.
        Raises `ChainError` on other bytes."""
        outputs = self._functions[function]["outputs"]
        try:
            values = abi_decode(_types(outputs), data)
        except UNREADABLE as error:
            raise ChainError(
                Code.NOT_A_CONSORTIUM,
                f"{self.name}.{function} answers something else than the ABI says",
                "check the address: another contract, or none, lives there on this chain",
            ) from error
        named = [_named(output, value) for output, value in zip(outputs, values, strict=True)]
        return named[0] if len(named) == 1 else tuple(named)

    def signature(self, function: str) -> str:
        """Name and types, such as `revoke(string)`: what the selector is the hash of."""
        return f"{function}({','.join(_types(self._functions[function]['inputs']))})"

    def decode_call(self, function: str, data: bytes) -> dict[str, Any] | None:
        """Arguments of a call by their names, or `None` when `data` calls something else."""
        item = self._functions[function]
        if data[:4] != _selector(item):
            return None
        try:
            values = abi_decode(_types(item["inputs"]), data[4:])
        except UNREADABLE:
            return None
        return {
            field["name"]: _named(field, value) for field, value in zip(item["inputs"], values, strict=True)
        }

    def topic(self, event: str) -> bytes:
        """First topic of an event."""
        for topic, item in self._events.items():
            if item.name == event:
                return topic
        raise KeyError(event)

    @property
    def topics(self) -> tuple[bytes, ...]:
        """First topics of all its events."""
        return tuple(self._events)

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and fields of one log, or `None` when it is no event of this contract."""
        event = self._events.get(topics[0]) if topics else None
        if event is None or len(topics) - 1 != len(event.indexed):
            return None
        try:
            values = [event.indexed[place].read(topic)[0] for place, topic in enumerate(topics[1:])]
            values += event.plain.read(data)
        except UNREADABLE:
            return None
        named = zip(event.fields, values, strict=True)
        return event.name, {field["name"]: _named(field, value) for field, value in named}

    def error(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and fields of the custom error that `data` carries, `None`
        when it is none of this contract's."""
        item = self._errors.get(data[:4])
        if item is None:
            return None
        try:
            values = abi_decode(_types(item["inputs"]), data[4:])
        except UNREADABLE:
            return None
        return item["name"], {
            field["name"]: _named(field, value) for field, value in zip(item["inputs"], values, strict=True)
        }

    @property
    def errors(self) -> tuple[str, ...]:
        """Names of its custom errors."""
        return tuple(sorted(item["name"] for item in self._errors.values()))


@cache
def interface(name: str) -> Interface:
    """The ABI of `Consortium`, `DstackApp`, `Factory`, `Ledger` or `Lens`."""
    text = resources.files("sealroom_agents.chain").joinpath("abi", f"{name}.json").read_text()
    abi = json.loads(text)
    return Interface(name, abi["abi"] if isinstance(abi, dict) else abi)


def explain_revert(data: bytes) -> tuple[str, dict[str, Any]]:
    """Name and fields of a revert by any of our contracts; `Error` and `Panic` for Solidity's own; else, and
    where a node gave no reason, `UNKNOWN`."""
    for name in ("Ledger", "Consortium", "Factory", "DstackApp"):
        found = interface(name).error(data)
        if found is not None:
            return found
    try:
        if data[:4] == STRING_SELECTOR:
            return "Error", {"message": abi_decode(["string"], data[4:])[0]}
        if data[:4] == PANIC_SELECTOR:
            return "Panic", {"code": abi_decode(["uint256"], data[4:])[0]}
    except UNREADABLE:
        pass
    return UNKNOWN, {"data": data}


def _selector(item: Mapping[str, Any]) -> bytes:
    if item["type"] == "function":
        return bytes(function_abi_to_4byte_selector(item))  # type: ignore[arg-type]
    return bytes(keccak(text=f"{item['name']}({','.join(_types(item['inputs']))})")[:4])


def _types(fields: Sequence[Any]) -> list[str]:
    return [str(collapse_if_tuple(field)) for field in fields]


def _named(field: Mapping[str, Any], value: Any) -> Any:
    """Tuples to dictionaries, recursively, through one array dimension; addresses stay lower case."""
    kind = str(field["type"])
    if kind == "tuple":
        return {
            part["name"]: _named(part, item) for part, item in zip(field["components"], value, strict=True)
        }
    if kind.endswith("[]"):
        inner = {**field, "type": kind[:-2]}
        return tuple(_named(inner, item) for item in value)
    return value


_LEAF = re.compile(r"address|bool|uint(\d+)|bytes(\d+)")


def _leaves(field: Mapping[str, Any]) -> bool | None:
    """Whether a value has a fixed size and a kind that `_fixed` reads; `None` where not."""
    if field["type"] == "tuple":
        return None if None in [_leaves(part) for part in field["components"]] else True
    return True if _LEAF.fullmatch(str(field["type"])) else None


def _fixed(field: Mapping[str, Any], data: bytes, words: Iterator[int]) -> Any:
    """One value of a fixed size; `words` are the places of the words that are left. Raises `ValueError` for
    bits where there must be none, and `StopIteration`."""
    kind = field["type"]
    if kind == "tuple":
        return tuple([_fixed(part, data, words) for part in field["components"]])
    start = next(words)
    word = data[start : start + WORD]
    if kind.startswith("bytes"):
        size = int(kind[5:])
        if any(word[size:]):
            raise ValueError("bits behind the bytes")
        return word[:size]
    number = int.from_bytes(word, "big")
    bits = 160 if kind == "address" else 1 if kind == "bool" else int(kind[4:])
    if number >> bits:
        raise ValueError("too large a number")
    return "0x" + word[12:].hex() if kind == "address" else bool(number) if kind == "bool" else number
