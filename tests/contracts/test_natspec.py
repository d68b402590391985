# SPDX-License-Identifier: Apache-2.0
"""Whoever meets the contracts in an explorer, a wallet or an editor finds words for everything.

The rule, on what the compiler says of our own interfaces and contracts:

- each function, event and error has a `@notice`, which is what wallets and explorers show;
- a function that changes something says in `@dev` what it requires, or that it requires nothing;
- each parameter has a `@param`, or its name in backticks in the words, or it is a structure, whose own
  members have words;
- a return value has a `@return` if it has a name, stands beside others, or comes from a transaction; the one
  answer of a view is told by the view's `@notice`.

What OpenZeppelin's contracts bring has OpenZeppelin's words, in `@notice` or `@dev`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_utils.abi import abi_to_signature

from tests.local_chain import ARTIFACTS, ROOT

INTERFACES = (
    "IConsortium",
    "IRegistry",
    "ILedger",
    "IFactory",
    "ILens",
    "IAppAuth",
    "IAppAuthBasicManagement",
)
CONTRACTS = ("Consortium", "Ledger", "Factory", "Lens", "DstackApp")
OWN = {name: f"contracts/interfaces/{name}.sol" for name in INTERFACES} | {
    "DstackApp": "contracts/DstackApp.sol"
}
"""Where words stand: the interfaces, and the contract that declares something of its own."""
WITHOUT_WORDS = {
    "InvalidShortString()",
    "StringTooLong(string)",
    "OwnershipTransferStarted(address,address)",
    "OwnershipTransferred(address,address)",
    "UPGRADE_INTERFACE_VERSION()",
}
"""OpenZeppelin's, which have none there."""
KINDS = {"function": "methods", "event": "events", "error": "errors"}
STRUCT = re.compile(r"((?: *///[^\n]*\n)*) *struct (\w+) \{(.*?)\}", re.DOTALL)

Output = dict[str, Any]


@pytest.fixture(scope="module")
def outputs() -> dict[str, Output]:
    """ABI, userdoc and devdoc by contract."""
    forge = ROOT / ".venv" / "bin" / "forge"
    subprocess.run([forge, "build", "contracts"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {name: read(name) for name in (*INTERFACES, *CONTRACTS)}


def read(name: str) -> Output:
    # Raw: in the parsed form events and errors have lost their words.
    artifact = json.loads((ARTIFACTS / f"{name}.sol" / f"{name}.json").read_text())
    return dict(json.loads(artifact["rawMetadata"])["output"])


def entries(output: Output) -> Iterator[tuple[Any, str, dict[str, Any], dict[str, Any]]]:
    """Each function, event and error with its signature, userdoc and devdoc."""
    for entry in output["abi"]:
        if entry["type"] in KINDS:
            place, signature = KINDS[entry["type"]], abi_to_signature(entry)
            user, dev = (output[doc].get(place, {}).get(signature, {}) for doc in ("userdoc", "devdoc"))
            # The compiler lists what may stand twice (errors of libraries) in a list of one.
            user, dev = (doc[0] if isinstance(doc, list) else doc for doc in (user, dev))
            if place == "methods" and not dev:
                dev = output["devdoc"].get("stateVariables", {}).get(entry["name"], {})
            yield entry, signature, user, dev


def is_view(entry: Any) -> bool:
    return entry.get("stateMutability") in ("view", "pure")


def told(user: dict[str, Any], dev: dict[str, Any]) -> str:
    return f"{user.get('notice', '')} {dev.get('details', '')}"


# Each check answers with what has no words.


def without_words(output: Output) -> list[str]:
    """Everything, and by OpenZeppelin's measure."""
    return [signature for _, signature, user, dev in entries(output) if not told(user, dev).strip()]


def without_notice(output: Output) -> list[str]:
    return [signature for _, signature, user, _ in entries(output) if not user.get("notice")]


def without_requirements(output: Output) -> list[str]:
    return [
        signature
        for entry, signature, _, dev in entries(output)
        if entry["type"] == "function"
        and not is_view(entry)
        and not dev.get("details", "").startswith("Requirements:")
    ]


def parameters_without_words(output: Output) -> list[str]:
    return [
        f"{signature}: {field['name']}"
        for entry, signature, user, dev in entries(output)
        for field in entry["inputs"]
        if not field["type"].startswith("tuple")
        and not dev.get("params", {}).get(field["name"])
        and f"`{field['name']}`" not in told(user, dev)
    ]


def answers_without_words(output: Output) -> list[str]:
    found = []
    for entry, signature, _, dev in entries(output):
        answers = entry.get("outputs", [])
        own = [field for field in answers if field["name"] or len(answers) > 1 or not is_view(entry)]
        known = dev.get("returns", {})
        found += [
            f"{signature} -> {field['name']}"
            for n, field in enumerate(own)
            if not known.get(field["name"] or f"_{n}")
        ]
    return found


CHECKS = (without_notice, without_requirements, parameters_without_words, answers_without_words)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OWN)
def test_what_is_declared_here_has_words(
    outputs: dict[str, Output], name: str, check: Callable[[Output], list[str]]
) -> None:
    assert check(declared(name, outputs[name])) == []


def declared(name: str, output: Output) -> Output:
    """Without what the contract or interface inherits."""
    source = (ROOT / OWN[name]).read_text()
    kinds = "function|event|error|public"
    own = [
        entry
        for entry in output["abi"]
        if re.search(rf"\b({kinds}) (immutable )?{entry.get('name')}\b", source)
        if entry.get("name") != "supportsInterface"  # OpenZeppelin's, overridden
    ]
    assert own
    return {**output, "abi": own}


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_a_contract_takes_from_its_interface_keeps_its_words(
    outputs: dict[str, Output], name: str
) -> None:
    assert sorted(set(without_words(outputs[name])) - WITHOUT_WORDS) == []


@pytest.mark.parametrize("name", INTERFACES)
def test_each_member_of_a_structure_has_words(name: str) -> None:
    source = (ROOT / "contracts" / "interfaces" / f"{name}.sol").read_text()
    for words, struct, body in STRUCT.findall(source):
        members = re.findall(r"(\w+);", body)
        assert members
        assert "@notice" in words, struct
        missing = [member for member in members if f"@param {member} " not in words]
        assert missing == [], struct


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_each_check_notices_what_is_missing(
    outputs: dict[str, Output], check: Callable[[Output], list[str]]
) -> None:
    bare = {**outputs["IConsortium"], "userdoc": {}, "devdoc": {}}
    assert check(bare) != []
