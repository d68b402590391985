# SPDX-License-Identifier: Apache-2.0
"""Compiled contracts as they are released, and whether the code on a chain is theirs, byte for byte.

A release is one standard-JSON input for solc and what comes out of it. Two things are compared:

runtime    the code at the address, its metadata hash included. Only immutables, which the constructor fills
           in, are masked, where the compiler says they are.
creation   what made the contract: for a transaction, its input is the compiled creation code and then the
           constructor's arguments. For what the factory made with CREATE2, the address itself is the hash of
           that code and its arguments.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

CONTRACTS = ("Consortium", "DstackApp", "Factory", "Ledger", "Lens")
OUTPUTS = ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode"]
INPUT_FILE = "standard-input.json"

OWNERS = "(address,bytes2,uint16,bytes32)[]"
CREATE_ARGUMENTS = (OWNERS, "uint8", "bytes32", "bytes")
CREATED = keccak(text="ConsortiumCreated(address,address,address)")
CODE_HASH = keccak(text="codeHash()")[:4]
CREATE_SELECTOR = keccak(text=f"create({','.join(CREATE_ARGUMENTS)})")[:4]

Rpc = Callable[..., Any]
"""`rpc(method, *parameters)` gives the result."""


class ReleaseError(Exception):
    """Something stands in the way of a comparison, or its outcome is no."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Compiled:
    """One contract as the compiler made it."""

    name: str
    source: str
    """Name of the source in the standard JSON."""
    abi: list[dict[str, Any]]
    creation: bytes
    runtime: bytes
    """Immutables are zero in it."""
    immutables: tuple[tuple[int, int], ...]
    """Where the constructor writes, as start and length."""
    metadata: str
    """Its hash is in the code's last bytes."""

    @property
    def compiler(self) -> str:
        """Full version of the compiler, commit included."""
        return str(json.loads(self.metadata)["compiler"]["version"])

    @property
    def constructor(self) -> list[str]:
        """Types of the constructor's arguments; structs written out."""
        inputs = [part for item in self.abi if item["type"] == "constructor" for part in item["inputs"]]
        return [_canonical(part) for part in inputs]

    def masked(self, code: bytes) -> bytes:
        """Code from a chain, with zeros for the immutables."""
        blank = bytearray(code)
        for start, length in self.immutables:
            if start + length <= len(blank):
                blank[start : start + length] = bytes(length)
        return bytes(blank)

    def document(self) -> dict[str, Any]:
        """What NAME.json of a release says."""
        return {
            "name": self.name,
            "source": self.source,
            "compiler": self.compiler,
            "constructor": self.constructor,
            "abi": self.abi,
            "creationCode": "0x" + self.creation.hex(),
            "creationCodeKeccak256": "0x" + keccak(self.creation).hex(),
            "runtimeCode": "0x" + self.runtime.hex(),
            "runtimeCodeKeccak256": "0x" + keccak(self.runtime).hex(),
            "immutables": [list(place) for place in self.immutables],
        }

    @classmethod
    def read(cls, folder: Path, name: str) -> Compiled:
        """A contract from a release's files."""
        stored = json.loads((folder / f"{name}.json").read_text())
        return cls(
            name=stored["name"],
            source=stored["source"],
            abi=stored["abi"],
            creation=bytes.fromhex(stored["creationCode"][2:]),
            runtime=bytes.fromhex(stored["runtimeCode"][2:]),
            immutables=tuple((start, length) for start, length in stored["immutables"]),
            metadata=(folder / f"{name}.metadata.json").read_text(),
        )


@dataclass(frozen=True)
class Finding:
    """Outcome for one contract."""

    name: str
    address: str
    runtime: str | None
    """None for a match, else what differs."""
    creation: str | None
    """None for a match, else what differs."""

    @property
    def matches(self) -> bool:
        """A full match."""
        return self.runtime is None and self.creation is None


def compile_alone(solc: Path, standard_input: dict[str, Any]) -> dict[str, Compiled]:
    """Compile the contracts that the input selects, from nothing but the input. Raises `ReleaseError`."""
    # In an empty folder, so that an import which the input does not carry is not found beside it.
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [str(solc), "--standard-json"],
            input=json.dumps(standard_input),
            cwd=empty,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise ReleaseError(f"solc failed: {done.stderr.strip()[:500]}", "run .ci/setup")
    output = json.loads(done.stdout)
    for said in output.get("errors", []):
        if said["severity"] == "error":
            raise ReleaseError(said["formattedMessage"].strip(), "the sources of this input do not compile")
    return {
        name: _compiled(source, name, found)
        for source, selected in standard_input["settings"]["outputSelection"].items()
        for name, found in output["contracts"].get(source, {}).items()
        if name in selected
    }


def selection(*names: str) -> dict[str, Any]:
    """What to ask the compiler for."""
    return {f"contracts/{name}.sol": {name: OUTPUTS} for name in names}


def compare(release: dict[str, Compiled], rpc: Rpc, deployment: dict[str, Any]) -> Iterator[Finding]:
    """Compare each contract of a deployment, which is the content of deployment.json."""
    ledger, consortium = deployment["ledger"], deployment["consortium"]
    yield _sent(release["Ledger"], rpc, ledger)
    yield _sent(release["Lens"], rpc, deployment["lens"])
    factory = deployment.get("factory")
    if factory is None:
        # The app is dstack's own then, and no release of ours.
        yield _sent(release["Consortium"], rpc, consortium)
        return
    yield _factory(release, rpc, factory)
    owners, threshold, salt = _create_arguments(rpc, factory, consortium, deployment["block"])
    bound = keccak(abi_encode(CREATE_ARGUMENTS[:3], (owners, threshold, salt)))
    app = deployment["app"]
    yield _created(release["DstackApp"], rpc, app, factory, bound, (False,))
    arguments = (app, ledger, owners, threshold)
    yield _created(release["Consortium"], rpc, consortium, factory, bound, arguments)


def _factory(release: dict[str, Compiled], rpc: Rpc, address: str) -> Finding:
    """The factory, and whether it makes this release's consortia and no other."""
    found = _sent(release["Factory"], rpc, address)
    call = {"to": address, "data": "0x" + CODE_HASH.hex()}
    if found.matches and bytes.fromhex(rpc("eth_call", call, "latest")[2:]) != keccak(
        release["Consortium"].creation
    ):
        return replace(found, creation="it makes consortia of another code")
    return found


def _sent(contract: Compiled, rpc: Rpc, address: str) -> Finding:
    """A contract that a transaction of its own deployed."""
    runtime = _runtime(contract, rpc, address)
    if runtime == "no code":
        return Finding(contract.name, address, runtime, "no code")
    data = _deployment_input(rpc, address)
    rest = data[len(contract.creation) :]
    creation = None
    if not data.startswith(contract.creation):
        creation = _difference(contract.creation, data[: len(contract.creation)])
    elif not _is_encoding(contract.constructor, rest):
        creation = f"{len(rest)} bytes after the code, which are not the constructor's arguments"
    return Finding(contract.name, address, runtime, creation)


def _created(
    contract: Compiled, rpc: Rpc, address: str, maker: str, salt: bytes, arguments: tuple[Any, ...]
) -> Finding:
    """A contract that another one made with CREATE2."""
    code = contract.creation + abi_encode(contract.constructor, arguments)
    expected = keccak(b"\xff" + _address(maker) + salt + keccak(code))[12:]
    creation = None
    if expected != _address(address):
        creation = f"the compiled code would be at 0x{expected.hex()}"
    return Finding(contract.name, address, _runtime(contract, rpc, address), creation)


def _runtime(contract: Compiled, rpc: Rpc, address: str) -> str | None:
    code = bytes.fromhex(rpc("eth_getCode", address, "latest")[2:])
    if not code:
        return "no code"
    masked = contract.masked(code)
    return None if masked == contract.runtime else _difference(contract.runtime, masked)


def _difference(expected: bytes, found: bytes) -> str:
    """Where two codes differ, for people."""
    if len(expected) != len(found):
        return f"{len(found)} bytes instead of {len(expected)}"
    places = [n for n, (left, right) in enumerate(zip(expected, found, strict=True)) if left != right]
    # The last two bytes say how long the metadata before them is.
    tail = len(expected) - 2 - int.from_bytes(expected[-2:], "big")
    where = "only the metadata: the sources or settings differ" if places[0] >= tail else f"at {places[0]}"
    return f"{len(places)} of {len(expected)} bytes differ, {where}"


def _deployment_input(rpc: Rpc, address: str) -> bytes:
    """Input of the transaction that deployed a contract: found by the first block that has its code."""
    low, high = 0, int(rpc("eth_blockNumber"), 16)
    while low < high:
        middle = (low + high) // 2
        if rpc("eth_getCode", address, hex(middle)) != "0x":
            high = middle
        else:
            low = middle + 1
    for transaction in rpc("eth_getBlockByNumber", hex(low), True)["transactions"]:
        if transaction.get("to") is not None:
            continue
        receipt = rpc("eth_getTransactionReceipt", transaction["hash"])
        if _address(receipt["contractAddress"]) == _address(address):
            return bytes.fromhex(transaction["input"][2:])
    raise ReleaseError(
        f"no transaction in block {low} deploys {address}", "was it made by another contract? compare by hand"
    )


def _create_arguments(rpc: Rpc, factory: str, consortium: str, block: int) -> tuple[Any, int, bytes]:
    """Owners, threshold and salt that the factory was called with."""
    topics = ["0x" + CREATED.hex(), "0x" + _address(consortium).rjust(32, b"\0").hex()]
    where = {"address": factory, "fromBlock": hex(block), "toBlock": hex(block), "topics": topics}
    logs = rpc("eth_getLogs", where)
    if len(logs) != 1:
        raise ReleaseError(
            f"the factory did not create {consortium} in block {block}",
            "is this deployment.json of this chain?",
        )
    data = bytes.fromhex(rpc("eth_getTransactionByHash", logs[0]["transactionHash"])["input"][2:])
    if data[:4] != CREATE_SELECTOR:
        raise ReleaseError(
            f"{consortium} was created through another contract",
            "its arguments are in that transaction: compare by hand",
        )
    owners, threshold, salt, _ = abi_decode(CREATE_ARGUMENTS, data[4:])
    return owners, threshold, salt


def _is_encoding(types: list[str], data: bytes) -> bool:
    """Whether these bytes are such arguments, and nothing more."""
    if not types:
        return not data
    try:
        return abi_encode(types, abi_decode(types, data)) == data
    except DecodingError:
        return False


def _compiled(source: str, name: str, found: dict[str, Any]) -> Compiled:
    runtime = found["evm"]["deployedBytecode"]
    places = [
        (place["start"], place["length"])
        for refs in runtime["immutableReferences"].values()
        for place in refs
    ]
    return Compiled(
        name=name,
        source=source,
        abi=found["abi"],
        creation=bytes.fromhex(found["evm"]["bytecode"]["object"]),
        runtime=bytes.fromhex(runtime["object"]),
        immutables=tuple(sorted(places)),
        metadata=found["metadata"],
    )


def _canonical(part: dict[str, Any]) -> str:
    """An ABI type with its structs written out as tuples."""
    kind = str(part["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_canonical(field) for field in part['components'])})" + kind.removeprefix("tuple")


def _address(text: str) -> bytes:
    return bytes.fromhex(text[2:])
