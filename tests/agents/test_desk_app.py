# SPDX-License-Identifier: Apache-2.0
"""`govern accept-app`, against apps that a registry as dstack's deployed for somebody, behind its proxies."""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from tests.agents.office import Office, recipe_bytes
from tests.contracts.safes import call, create
from tests.local_chain import ARTIFACTS, FORGE, ROOT, LocalChain, Room, account, creation_code, member

from sealroom.encoding import to_hex
from sealroom_agents.chain.contracts import interface
from sealroom_agents.governance.audit import (
    DEVICES_SLOT,
    IMPLEMENTATION_SLOT,
    INITIALIZED_SLOT,
    ONE,
    OWNER_SLOT,
    RECIPES_SLOT,
    SWITCHES_SLOT,
    TCB_SLOT,
)
from sealroom_agents.governance.storage_proof import mapping_slot

pytestmark = pytest.mark.anvil
FIRST, STRANGER = 5, 12
"""Who owned the app before; and who pays for its acceptance."""
LEFT, DEVICE, NOTHING = b"\x77" * 32, b"\x78" * 32, bytes(32)
ADMIN_OF_ITS_OWN = 0xAD317
DEPLOY = "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)"


@cache
def artifact(source: str, name: str) -> dict[str, Any]:
    """A compiled contract of the harness, which plays dstack's own."""
    path = ARTIFACTS / f"{source}.sol" / f"{name}.json"
    with (ARTIFACTS.parent / "forge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        harness = [f"tests/contracts/harness/{one}.sol" for one in ("Upstream", "UpstreamApp")]
        done = subprocess.run([FORGE, "build", "--quiet", *harness], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return dict(json.loads(path.read_text()))


def code_of(source: str, name: str, *arguments: bytes) -> bytes:
    return bytes.fromhex(artifact(source, name)["bytecode"]["object"][2:]) + b"".join(arguments)


def reviewed(source: str, name: str) -> str:
    """The hash that an owner takes from its own build: a compiler leaves the contract's address as zeros."""
    return to_hex(keccak(bytes.fromhex(artifact(source, name)["deployedBytecode"]["object"][2:])))


@dataclass
class Foreign:
    """A consortium that was made for an app of somebody else."""

    office: Office
    app: str

    def owner_calls(self, signature: str, *arguments: Any) -> None:
        """The app's owner calls it."""
        self.office.chain.send(FIRST, self.app, call(signature, *arguments))

    def offer(self) -> None:
        self.owner_calls("transferOwnership(address)", self.office.room.consortium)

    @property
    def known(self) -> tuple[str, ...]:
        """The code that the owners reviewed."""
        proxy = reviewed("ERC1967Proxy", "ERC1967Proxy")
        return "--known-code", proxy, "--known-code", reviewed("UpstreamApp", "UpstreamApp")

    def audit(self, *options: str) -> dict[str, Any]:
        """What is found, sound or not."""
        status, printed, said = self.office.run("accept-app", *(options or self.known), "--audit-only")
        found = json.loads(printed)
        assert status == (1 if found["faults"] else 0), printed + said
        return dict(found)

    def is_accepted(self) -> bool:
        return bool(self.audit()["owner"] == self.office.room.consortium)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def registry(chain: LocalChain) -> str:
    """The registry of dstack's key service, with its app's code."""
    code = create(chain, code_of("UpstreamApp", "UpstreamApp"))
    logic = create(chain, code_of("Upstream", "DstackKms"))
    begin = call("initialize(address,address)", account(FIRST), code)
    return create(
        chain, code_of("ERC1967Proxy", "ERC1967Proxy", abi_encode(["address", "bytes"], [logic, begin]))
    )


def foreign(
    chain: LocalChain,
    registry: str,
    folder: Path,
    *,
    tcb: bool = True,
    any_device: bool = False,
    device: bytes = NOTHING,
    recipe: bytes = NOTHING,
) -> Foreign:
    """An app as the registry deploys it, and a consortium of four for it."""
    data = call(DEPLOY, account(FIRST), False, tcb, any_device, device, recipe)
    receipt = chain.send(FIRST, registry, data)
    told = to_hex(keccak(text="AppDeployedViaFactory(address,address)"))
    (app,) = ("0x" + log["topics"][1][-40:] for log in receipt["logs"] if log["topics"][0] == told)
    return Foreign(around(chain, app, folder), app)


def around(chain: LocalChain, app: str, folder: Path) -> Office:
    """A consortium that stands outside the factory's list, for an app that is there."""
    owners = tuple(member(account(n), f"hospital-{letter}") for n, letter in enumerate("ABCD"))
    kinds = ["address", "address", "(address,bytes2,uint16,bytes32)[]", "uint8"]
    arguments = abi_encode(kinds, [app, chain.ledger, [owner.solidity() for owner in owners], 3])
    consortium = create(chain, creation_code("Consortium") + arguments)
    room = Room(
        consortium=consortium,
        app=app,
        ledger=chain.ledger,
        factory=chain.factory,
        lens=chain.lens,
        owners=owners,
        threshold=3,
    )
    office = Office(chain, room, folder)
    office.file("app-compose.json", recipe_bytes())
    return office


def test_a_sound_app_is_accepted_by_anybody(chain: LocalChain, registry: str, tmp_path: Path) -> None:
    one = foreign(chain, registry, tmp_path)
    one.offer()
    done = one.office.govern("accept-app", *one.known, by=STRANGER)
    assert done["accepted"] and done["owner"] == one.office.room.consortium
    again = one.office.govern("accept-app", *one.known, by=STRANGER)
    assert again["accepted"] and "tx" not in again
    one.office.adopt()
    assert one.audit()["devices"] == ["0x" + 64 * "5"]


@pytest.mark.parametrize(
    ("made", "words", "mended"),
    [
        ({"recipe": LEFT}, "no revocation would stop", ("removeComposeHash(bytes32)", LEFT)),
        ({"device": DEVICE}, "no platform of yours could remove", ("removeDevice(bytes32)", DEVICE)),
        ({"any_device": True}, "any machine", ("setAllowAnyDevice(bool)", False)),
        ({"tcb": False}, "up-to-date TCB", ("setRequireTcbUpToDate(bool)", True)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_revoking_could_not_stop_is_refused_until_its_owner_mends_it(
    chain: LocalChain,
    registry: str,
    tmp_path: Path,
    made: dict[str, Any],
    words: str,
    mended: tuple[str, Any],
) -> None:
    one = foreign(chain, registry, tmp_path, **made)
    one.offer()
    code, said, hint = one.office.refused("accept-app", *one.known, by=STRANGER)
    assert code == "app-unsafe" and words in said and mended[0].partition("(")[0] in hint
    assert not one.is_accepted()
    one.owner_calls(*mended)
    assert one.office.govern("accept-app", *one.known, by=STRANGER)["accepted"]


def test_a_recipe_that_was_removed_and_added_again_is_found(
    chain: LocalChain, registry: str, tmp_path: Path
) -> None:
    one = foreign(chain, registry, tmp_path, recipe=LEFT)
    one.owner_calls("removeComposeHash(bytes32)", LEFT)
    assert one.audit()["recipes"] == []
    one.owner_calls("addComposeHash(bytes32)", LEFT)
    assert one.audit()["recipes"] == [to_hex(LEFT)]


def test_code_that_nobody_reviewed_is_refused(chain: LocalChain, registry: str, tmp_path: Path) -> None:
    one = foreign(chain, registry, tmp_path)
    one.offer()
    code, words, hint = one.office.refused("accept-app", *one.known[:2], by=STRANGER)
    assert code == "app-unsafe" and one.known[3] in words and "--known-code" in hint
    assert not one.is_accepted()


def test_an_app_that_was_upgraded_is_refused(chain: LocalChain, registry: str, tmp_path: Path) -> None:
    """Earlier code may have written what no event tells."""
    one = foreign(chain, registry, tmp_path)
    newer = create(chain, code_of("UpstreamApp", "UpstreamApp"))
    one.owner_calls("upgradeToAndCall(address,bytes)", newer, b"")
    one.offer()
    code, words, _ = one.office.refused("accept-app", *one.known, by=STRANGER)
    assert code == "app-unsafe" and "changed 1 times" in words


def test_an_app_that_is_offered_to_nobody_or_to_another_is_not_accepted(
    chain: LocalChain, registry: str, tmp_path: Path
) -> None:
    one = foreign(chain, registry, tmp_path)
    code, words, hint = one.office.refused("accept-app", *one.known, by=STRANGER)
    assert code == "app-unsafe" and "not offered" in words and "transferOwnership" in hint
    one.owner_calls("transferOwnership(address)", account(STRANGER))
    _, words, _ = one.office.refused("accept-app", *one.known, by=STRANGER)
    assert account(STRANGER) in words


def test_a_storage_that_says_something_else_than_the_views_is_found(
    chain: LocalChain, registry: str, tmp_path: Path
) -> None:
    """Code that lies about its switches cannot make its storage agree."""
    one = foreign(chain, registry, tmp_path)
    one.offer()
    # The views of this app read slot 3; a word of theirs is changed where a view does not look.
    chain.rpc("anvil_setStorageAt", one.app, hex(3), "0x" + "00" * 31 + "00")
    faults = one.audit()["faults"]
    assert any("TCB" in words for words in faults)
    beacon = "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"
    chain.rpc("anvil_setStorageAt", one.app, beacon, "0x" + "11" * 32)
    assert any("beacon" in words for words in one.audit()["faults"])


def stored(app: str, chain: LocalChain, slot: int) -> bytes:
    return bytes.fromhex(chain.rpc("eth_getStorageAt", app, hex(slot), "latest")[2:])


def born(chain: LocalChain, like: str, changed: dict[int, bytes]) -> str:
    """An app with the genuine proxy's code and another app's storage, but for some slots: its constructor
    writes what it likes, and tells of nothing."""
    slots = (IMPLEMENTATION_SLOT, OWNER_SLOT, SWITCHES_SLOT, TCB_SLOT, INITIALIZED_SLOT)
    words = {slot: stored(like, chain, slot) for slot in slots} | changed
    writes = b"".join(
        b"\x7f" + word + b"\x7f" + slot.to_bytes(32, "big") + b"\x55" for slot, word in words.items()
    )
    runtime = bytes.fromhex(artifact("ERC1967Proxy", "ERC1967Proxy")["deployedBytecode"]["object"][2:])
    size, place = len(runtime).to_bytes(2, "big"), (len(writes) + 12).to_bytes(2, "big")
    copy = b"\x61" + size + b"\x80\x61" + place + b"\x5f\x39\x5f\xf3"
    return create(chain, writes + copy.ljust(12, b"\0") + runtime)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({mapping_slot(LEFT, RECIPES_SLOT): ONE}, "more than its events tell"),
        ({mapping_slot(DEVICE, DEVICES_SLOT): ONE}, "more than its events tell"),
        ({ADMIN_OF_ITS_OWN: ONE}, "more than its events tell"),
        ({INITIALIZED_SLOT: NOTHING}, "make itself its owner"),
    ],
    ids=["nothing", "a recipe", "a machine", "an admin", "not initialised"],
)
def test_what_a_constructor_hid_is_found(
    chain: LocalChain, registry: str, tmp_path: Path, changed: dict[int, bytes], words: str
) -> None:
    """CH-40: no event tells of it, no view names it, and the code is that which was reviewed."""
    like = foreign(chain, registry, tmp_path)
    app = born(chain, like.app, changed)
    one = Foreign(around(chain, app, tmp_path), app)
    one.offer()
    if not words:
        assert one.audit()["faults"] == []
        return
    code, said, _ = one.office.refused("accept-app", *one.known, by=STRANGER)
    assert code == "app-unsafe" and words in said
    assert not one.is_accepted()


def test_what_code_left_that_was_there_for_a_while_is_found(
    chain: LocalChain, registry: str, tmp_path: Path
) -> None:
    """CH-40: it writes what it likes, and puts the reviewed code back without an event."""
    one = foreign(chain, registry, tmp_path)
    genuine = stored(one.app, chain, IMPLEMENTATION_SLOT)
    # Answers proxiableUUID() with the slot; in all other calls it stores the second word at the first.
    select = bytes.fromhex("60003560e01c6352d1902d14601757")
    store, tell = bytes.fromhex("602435600435550" + "0"), bytes.fromhex("5b7f")
    writer = (
        select + store + tell + IMPLEMENTATION_SLOT.to_bytes(32, "big") + bytes.fromhex("60005260206000f3")
    )
    code = create(chain, bytes([0x60, len(writer)]) + bytes.fromhex("8060093d393df3") + writer)
    one.owner_calls("upgradeToAndCall(address,bytes)", code, b"")
    write = "write(bytes32,bytes32)"
    one.owner_calls(write, mapping_slot(LEFT, RECIPES_SLOT).to_bytes(32, "big"), ONE)
    one.owner_calls(write, IMPLEMENTATION_SLOT.to_bytes(32, "big"), genuine)
    one.offer()
    later = "--from-block", str(int(chain.rpc("eth_blockNumber"), 16))
    assert chain.call("DstackApp", one.app, "allowedComposeHashes", LEFT)
    for options in ((), later):  # who looks from a later block on sees no upgrade, and finds it all the same
        assert any(
            "more than its events tell" in words for words in one.audit(*one.known, *options)["faults"]
        )
        assert one.office.refused("accept-app", *one.known, *options, by=STRANGER)[0] == "app-unsafe"
    assert any("changed 1 times" in words for words in one.audit()["faults"])


def test_events_before_the_block_from_which_one_looks_are_missed_by_nobody(
    chain: LocalChain, registry: str, tmp_path: Path
) -> None:
    one = foreign(chain, registry, tmp_path, recipe=LEFT)
    chain.mine()
    found = one.audit(*one.known, "--from-block", str(int(chain.rpc("eth_blockNumber"), 16)))
    assert found["recipes"] == [] and any("more than its events tell" in words for words in found["faults"])


def test_the_factory_s_own_app_is_sound(chain: LocalChain, tmp_path: Path) -> None:
    """Its code is that of this repository, and it stands for itself."""
    office = Office.open(chain, tmp_path)
    built = json.loads((ARTIFACTS / "DstackApp.sol" / "DstackApp.json").read_text())
    known = to_hex(keccak(bytes.fromhex(built["deployedBytecode"]["object"][2:])))
    done = office.govern("accept-app", "--known-code", known, "--audit-only")
    assert done["faults"] == [] and done["owner"] == office.room.consortium
    assert done["implementation"] is None
    assert interface("DstackApp").errors
