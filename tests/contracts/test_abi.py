# SPDX-License-Identifier: Apache-2.0
"""What others depend on: dstack's ABI by its numbers, ours as the agents have it, and no untested error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from tests.contracts.conftest import Room

ROOT = Path(__file__).resolve().parent.parent.parent
STORED = ROOT / "agents" / "sealroom_agents" / "chain" / "abi"

SELECTORS = {
    "isAppAllowed((address,bytes32,address,bytes32,bytes32,bytes32,bytes32,string,string[]))": "1e079198",
    "initialize(address,bool,bool,bytes32,bytes32)": "187515ca",
    "initialize(address,bool,bool,bool,bytes32,bytes32)": "9ed28193",
    "addComposeHash(bytes32)": "dfc77223",
    "removeComposeHash(bytes32)": "67b3f22c",
    "addDevice(bytes32)": "2a819728",
    "removeDevice(bytes32)": "1d266200",
    "setAllowAnyDevice(bool)": "7c4beeb8",
    "setRequireTcbUpToDate(bool)": "6e4c7422",
    "disableUpgrades()": "ec669036",
    "upgradeToAndCall(address,bytes)": "4f1ef286",
    "transferOwnership(address)": "f2fde38b",
    "renounceOwnership()": "715018a6",
    "acceptOwnership()": "79ba5097",
    "pendingOwner()": "e30c3978",
    "owner()": "8da5cb5b",
    "allowedComposeHashes(bytes32)": "2f6622e5",
    "allowedDeviceIds(bytes32)": "bf8b211b",
    "allowAnyDevice()": "3440a16a",
    "requireTcbUpToDate()": "0aa58c83",
    "version()": "54fd4d50",
    "supportsInterface(bytes4)": "01ffc9a7",
    "proxiableUUID()": "52d1902d",
    "UPGRADE_INTERFACE_VERSION()": "ad3cb1cc",
}
"""Functions of dstack's DstackApp, version 2."""

TOPICS = {
    "ComposeHashAdded(bytes32)": ("fecb3430", "42d0af"),
    "ComposeHashRemoved(bytes32)": ("755b79bd", "6e8947"),
    "DeviceAdded(bytes32)": ("67fc71ab", "02243b"),
    "DeviceRemoved(bytes32)": ("e0862975", "f95c2c"),
    "UpgradesDisabled()": ("0e5daa94", ""),
    "AllowAnyDeviceSet(bool)": ("bb2cdb6c", ""),
    "RequireTcbUpToDateSet(bool)": ("afae6056", ""),
    "PolicyChanged(address,bytes32,bytes32,bool)": ("341d3bc6", "c32375"),
    "Upgraded(address)": ("bc7cd75a", ""),
    "OwnershipTransferStarted(address,address)": ("38d16b8c", "e22700"),
    "OwnershipTransferred(address,address)": ("8be0079c", "6457e0"),
    "Initialized(uint64)": ("c7f505b2", "5181d2"),
}
"""First four and last three bytes of the topics of its events, where known."""

INDEXED = {
    "PolicyChanged": ["actor", "policy", "value"],
    "Upgraded": ["implementation"],
    "OwnershipTransferStarted": ["previousOwner", "newOwner"],
    "OwnershipTransferred": ["previousOwner", "newOwner"],
}
"""Indexed fields of its events; the others have none."""

OWN_ERRORS = ("Consortium", "Registry", "Ledger", "Factory", "Lens")
"""Errors with these prefixes are ours to test."""


def stored(name: str) -> list[dict[str, Any]]:
    return list(json.loads((STORED / f"{name}.json").read_text()))


def signatures(abi: list[dict[str, Any]], kind: str) -> set[str]:
    return {abi_to_signature(entry) for entry in abi if entry["type"] == kind}  # type: ignore[arg-type]


@pytest.mark.parametrize(("signature", "selector"), SELECTORS.items(), ids=list(SELECTORS))
def test_dstack_finds_each_function(signature: str, selector: str) -> None:
    assert keccak(text=signature)[:4].hex() == selector
    assert signature in signatures(stored("DstackApp"), "function")


@pytest.mark.parametrize(("signature", "ends"), TOPICS.items(), ids=list(TOPICS))
def test_dstack_finds_each_event(signature: str, ends: tuple[str, str]) -> None:
    topic = keccak(text=signature).hex()
    assert topic.startswith(ends[0])
    assert topic.endswith(ends[1])
    assert signature in signatures(stored("DstackApp"), "event")


def test_the_app_has_no_function_or_event_beyond_dstack_s() -> None:
    assert signatures(stored("DstackApp"), "function") == set(SELECTORS)
    assert signatures(stored("DstackApp"), "event") == set(TOPICS)


def test_events_index_what_dstack_indexes() -> None:
    for entry in stored("DstackApp"):
        if entry["type"] == "event":
            indexed = [field["name"] for field in entry["inputs"] if field["indexed"]]
            assert indexed == INDEXED.get(entry["name"], []), entry["name"]


@pytest.mark.parametrize(
    ("interface", "supported"),
    [("1e079198", True), ("8fd37527", True), ("01ffc9a7", True), ("ffffffff", False), ("00000000", False)],
)
def test_the_app_names_its_interfaces(room: Room, interface: str, supported: bool) -> None:
    """ERC-165."""
    assert room.app.supportsInterface(bytes.fromhex(interface)) == supported


def test_the_management_interface_is_the_xor_of_its_functions() -> None:
    names = ("addComposeHash", "removeComposeHash", "addDevice", "removeDevice")
    number = 0
    for name in names:
        number ^= int(SELECTORS[f"{name}(bytes32)"], 16)
    assert f"{number:08x}" == "8fd37527"


def test_the_app_answers_in_dstack_s_words(room: Room) -> None:
    """In dstack's order: TCB, recipe, device."""
    study = room.study()
    room.pin(study)
    info = [room.app.address, study.compose_hash, room.app.address, room.platform.devices[0]]
    rest = [bytes(32), bytes(32), bytes(32)]

    def ask(compose: bytes, device: bytes, tcb: str) -> Any:
        return room.app.isAppAllowed((info[0], compose, info[2], device, *rest, tcb, ["INTEL-SA-00001"]))

    other = b"\x66" * 32
    assert ask(study.compose_hash, info[3], "UpToDate") == (True, "")
    assert ask(other, other, "OutOfDate") == (False, "TCB status is not up to date")
    assert ask(other, other, "UpToDate") == (False, "Compose hash not allowed")
    assert ask(study.compose_hash, other, "UpToDate") == (False, "Device not allowed")
    assert room.app.version() == 2


def test_storage_lies_where_a_light_client_looks(room: Room, project: Any) -> None:
    """Compose hash H is allowed where keccak256(H ‖ 0) holds 1; the owner has its ERC-7201 slot."""
    study = room.study()
    room.pin(study)
    slot = int.from_bytes(keccak(study.compose_hash + bytes(32)), "big")
    assert int.from_bytes(project.provider.get_storage(room.app.address, slot), "big") == 1
    owner = 0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300
    held = project.provider.get_storage(room.app.address, owner)
    assert "0x" + bytes(held)[-20:].hex() == room.address.lower()


@pytest.mark.parametrize("name", ["Consortium", "DstackApp", "Factory", "Ledger", "Lens"])
def test_the_agents_have_the_contracts_abi(project: Any, name: str) -> None:
    compiled = [entry.model_dump() for entry in getattr(project, name).contract_type.abi]
    for kind in ("function", "event", "error"):
        assert signatures(stored(name), kind) == signatures(compiled, kind), f"run `make abi`: {kind}s differ"


def test_every_error_is_expected_by_a_test() -> None:
    """Solidity or Python; an error that no test raises may never be raised at all.

    A test expects an error by its selector (Solidity) or through `reverts` (Python). Words in a comment, and
    a selector that is only compared with, do not count.
    """
    folder = ROOT / "tests" / "contracts"
    solidity = "".join(path.read_text() for path in folder.glob("*.t.sol"))
    python = "".join(path.read_text() for path in folder.glob("test_*.py"))
    expected = set(re.findall(r"encodeWithSelector\(\s*\w+\.(\w+)\.selector", solidity))
    expected |= set(
        re.findall(r"(?:expect(?:Partial)?Revert\(|bytes4 selector = )\w+\.(\w+)\.selector", solidity)
    )
    expected |= set(re.findall(r"\brefused\(\s*\w+\.(\w+)\.selector", solidity))
    expected |= set(re.findall(r"reverts\(\s*[\w.]+\.(\w+)\b", python))
    sources = "".join(path.read_text() for path in (ROOT / "contracts").rglob("*.sol"))
    declared = set(re.findall(r"\berror (\w+)\(", sources))
    assert {entry["name"] for entry in stored("Ledger") if entry["type"] == "error"} & declared
    assert all(error.startswith(OWN_ERRORS) for error in declared)
    assert declared - expected == set()


def test_no_error_name_stands_for_two_things() -> None:
    """Whoever decodes with all ABIs at once finds one meaning."""
    meanings: dict[str, set[str]] = {}
    for name in ("Consortium", "DstackApp", "Factory", "Ledger", "Lens"):
        for signature in signatures(stored(name), "error"):
            meanings.setdefault(signature.split("(")[0], set()).add(signature)
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}
