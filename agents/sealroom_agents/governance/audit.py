# SPDX-License-Identifier: Apache-2.0
"""Whether a consortium may accept an app that somebody else owned: what in it revoking could not stop.

The consortium adds and removes recipes and machines that it knows, and can change nothing else of an app. So
whatever an earlier owner left there would stay for ever: a recipe that boots in spite of every revocation, a
machine that nobody trusts, a switch. All of it is looked for in the app's events, and read back from its
views and its storage, which must agree; and its code must be one that the owners know.

Events can be left out: by a constructor of one's own, by code that was there for a while, by a node. So
nodes prove the storage, and whatever is there besides what is known shows.

Storage, as dstack's DstackApp lays it out: slot 1 holds "upgrades off" and "any device" in its two lowest
bytes, slot 3 "TCB up to date". OpenZeppelin's owner and pending owner lie in their ERC-7201 slots, a proxy's
implementation, beacon and administrator in their ERC-1967 slots. Slots 0 and 2 are mappings of recipes and of
machines. An app whose Initializable does not say 1 could be initialised again, by anybody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

from sealroom.encoding import address_bytes, to_hex
from sealroom.errors import SealroomError
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import Log
from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.governance.node import Ask
from sealroom_agents.governance.standing import NO_HASH, NOBODY, Standing
from sealroom_agents.governance.storage_proof import mapping_slot, strangers

IMPLEMENTATION_SLOT = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
BEACON_SLOT = 0xA3F0AD74E5423AEBFD80D3EF4346578335A9A72AEAEE59FF6CB3582B35133D50
ADMIN_SLOT = 0xB53127684A568B3173AE13B9F8A6016E243E63B6E8EE1178D6A717850B5D6103
"""ERC-1967."""
OWNER_SLOT = 0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300
PENDING_OWNER_SLOT = 0x237E158222E3E6968B72B9DB0D8043AACF074AD9F650F0D1606B4D82EE432C00
"""ERC-7201, of OpenZeppelin's Ownable and Ownable2Step."""
INITIALIZED_SLOT = 0xF0C57E16840DF040F15088DC2F81FE391C3923BEC73E23A9662EFC9C229C6A00
"""ERC-7201, of OpenZeppelin's Initializable."""
RECIPES_SLOT, SWITCHES_SLOT, DEVICES_SLOT, TCB_SLOT = range(4)
ONE = (1).to_bytes(32, "big")


@dataclass
class Audit:
    """What was found in an app."""

    app: str
    code_hash: bytes = NO_HASH
    """keccak256 of its runtime code, its own address in it as zeros."""
    implementation: str = NOBODY
    """Where its code lies, if it is a proxy."""
    implementation_hash: bytes = NO_HASH
    owner: str = NOBODY
    pending_owner: str = NOBODY
    recipes: tuple[bytes, ...] = ()
    """Compose hashes that it allows."""
    devices: tuple[bytes, ...] = ()
    """Machines that it allows."""
    any_device: bool = False
    requires_tcb: bool = False
    upgrades: int = 0
    """How often its code was set."""
    faults: list[tuple[str, str]] = field(default_factory=list)
    """What revoking could not stop, or cannot be known: what, and the way out."""

    @property
    def sound(self) -> bool:
        """Whether it may be accepted."""
        return not self.faults

    def json(self) -> dict[str, Any]:
        return {
            "app": self.app,
            "codeHash": to_hex(self.code_hash),
            "implementation": None if self.implementation == NOBODY else self.implementation,
            "implementationHash": None if self.implementation == NOBODY else to_hex(self.implementation_hash),
            "owner": self.owner,
            "pendingOwner": self.pending_owner,
            "recipes": [to_hex(one) for one in self.recipes],
            "devices": [to_hex(one) for one in self.devices],
            "anyDevice": self.any_device,
            "requiresTcb": self.requires_tcb,
            "faults": [what for what, _ in self.faults],
        }

    def lines(self) -> list[tuple[str, str]]:
        lines = [
            ("app", self.app),
            ("code", to_hex(self.code_hash)),
        ]
        if self.implementation != NOBODY:
            lines.append(("runs code of", f"{self.implementation}  {to_hex(self.implementation_hash)}"))
        lines += [
            ("owner", self.owner),
            ("offered to", self.pending_owner if self.pending_owner != NOBODY else "nobody"),
            *(("allows recipe", to_hex(one)) for one in self.recipes),
            *(("allows machine", to_hex(one)) for one in self.devices),
            ("any machine", "allowed" if self.any_device else "no"),
            ("TCB", "must be up to date" if self.requires_tcb else "is not asked for"),
        ]
        for what, way_out in self.faults:
            lines += [("REFUSED", what), ("way out", way_out)]
        return lines


def audit(standing: Standing, *, known_code: Collection[bytes], from_block: int = 0) -> Audit:
    """Look through the consortium's app. `known_code`: hashes of code that the owners have reviewed."""
    node, app = standing.node, standing.app
    found = Audit(app)
    _code(standing, found, known_code)
    logs = node.all_logs(app, from_block=from_block)
    recipes, devices = _told(logs, "ComposeHash", "composeHash"), _told(logs, "Device", "deviceId")
    found.upgrades = sum(log.topics[:1] == [keccak(text="Upgraded(address)")] for log in logs)

    views = ["owner", "pendingOwner", "allowAnyDevice", "requireTcbUpToDate"]
    asks = [Ask("DstackApp", app, view) for view in views]
    asks += [Ask("DstackApp", app, "allowedComposeHashes", (one,)) for one in recipes]
    asks += [Ask("DstackApp", app, "allowedDeviceIds", (one,)) for one in devices]
    answers = node.calls(asks)
    if any(isinstance(answer, RpcFailure) for answer in answers):
        found.faults.append(("it does not answer as a DstackApp of version 2", "accept another app"))
        return found
    owner, pending, any_device, tcb, *allowed = answers
    found.owner, found.pending_owner = str(owner).lower(), str(pending).lower()
    found.any_device, found.requires_tcb = bool(any_device), bool(tcb)
    found.recipes = tuple(one for one, on in zip(recipes, allowed, strict=False) if on)
    found.devices = tuple(one for one, on in zip(devices, allowed[len(recipes) :], strict=True) if on)
    _storage(standing, found)
    _hidden(standing, found, recipes, devices)
    _leftovers(standing, found)
    _ownership(standing, found)
    return found


def _code(standing: Standing, found: Audit, known: Collection[bytes]) -> None:
    node, app = standing.node, standing.app
    found.code_hash = code_hash(node.code(app), app)
    implementation = node.slot(app, IMPLEMENTATION_SLOT)
    hashes = [found.code_hash]
    if implementation != NO_HASH:
        found.implementation = "0x" + implementation[12:].hex()
        found.implementation_hash = code_hash(node.code(found.implementation), found.implementation)
        hashes.append(found.implementation_hash)
    for slot, what in ((BEACON_SLOT, "a beacon"), (ADMIN_SLOT, "an administrator")):
        if node.slot(app, slot) != NO_HASH:
            found.faults.append(
                (f"it is a proxy with {what}, which can change its code at any time", "accept another app")
            )
    for one in hashes:
        if one not in known:
            found.faults.append(
                (
                    f"its code {to_hex(one)} is none that was reviewed",
                    "review it, then pass --known-code with this hash",
                )
            )


def _storage(standing: Standing, found: Audit) -> None:
    node, app = standing.node, standing.app
    switches, tcb = node.slot(app, SWITCHES_SLOT), node.slot(app, TCB_SLOT)
    pairs = (
        ("owner", node.slot(app, OWNER_SLOT)[12:], address_bytes(found.owner)),
        ("pendingOwner", node.slot(app, PENDING_OWNER_SLOT)[12:], address_bytes(found.pending_owner)),
        ("allowAnyDevice", bool(switches[30]), found.any_device),
        ("requireTcbUpToDate", bool(tcb[31]), found.requires_tcb),
    )
    for what, stored, answered in pairs:
        if stored != answered:
            found.faults.append(
                (f"its storage says another {what} than it answers", "accept another app: its code lies")
            )


def _hidden(standing: Standing, found: Audit, recipes: list[bytes], devices: list[bytes]) -> None:
    """Whether the storage holds anything that is not known."""
    node, app = standing.node, standing.app
    entries = {mapping_slot(one, RECIPES_SLOT): one in found.recipes for one in recipes}
    entries |= {mapping_slot(one, DEVICES_SLOT): one in found.devices for one in devices}
    plain = (IMPLEMENTATION_SLOT, OWNER_SLOT, PENDING_OWNER_SLOT, SWITCHES_SLOT, TCB_SLOT, INITIALIZED_SLOT)
    known = {slot: node.slot(app, slot) for slot in [*plain, *entries]}
    for slot, allowed in entries.items():
        if known[slot] != (ONE if allowed else NO_HASH):
            found.faults.append(
                ("its storage allows something else than it answers", "accept another app: its code lies")
            )
    if known[INITIALIZED_SLOT] != ONE:
        found.faults.append(
            ("it is not initialised as it should be: anybody could make itself its owner",
             "accept an app that was made by dstack's own factory")
        )  # fmt: skip
    if any(known[SWITCHES_SLOT][:30]) or any(known[TCB_SLOT][:31]) or any(known[OWNER_SLOT][:12]):
        found.faults.append(("its storage holds what no DstackApp writes", "accept another app"))
    try:
        root, nodes = node.storage_proof(app, [*known])
        more = strangers(root, nodes, known)
    except SealroomError as error:
        found.faults.append(
            (f"that nothing is hidden in its storage cannot be known: {error.message}",
             "name a node that answers eth_getProof")
        )  # fmt: skip
        return
    if more:
        found.faults.append(
            (
                "its storage holds more than its events tell: a recipe, a machine or a switch that nobody "
                "can name",
                "accept another app; or, if it is older, pass an earlier --from-block",
            )
        )


def _leftovers(standing: Standing, found: Audit) -> None:
    trusted = standing.platform.devices if standing.platform else ()
    for recipe in found.recipes:
        if recipe != standing.compose_hash:
            found.faults.append(
                (
                    f"it allows the recipe {to_hex(recipe)}, which no revocation would stop",
                    f"its owner {found.owner} calls removeComposeHash first",
                )
            )
    for device in found.devices:
        if device not in trusted:
            found.faults.append(
                (
                    f"it allows the machine {to_hex(device)}, which no platform of yours could remove",
                    f"its owner {found.owner} calls removeDevice first",
                )
            )
    if found.any_device:
        found.faults.append(
            ("it allows any machine, and a consortium cannot change that",
             f"its owner {found.owner} calls setAllowAnyDevice(false) first")
        )  # fmt: skip
    if not found.requires_tcb:
        found.faults.append(
            ("it does not ask for an up-to-date TCB, and a consortium cannot change that",
             f"its owner {found.owner} calls setRequireTcbUpToDate(true) first")
        )  # fmt: skip
    if found.upgrades > 1:
        found.faults.append(
            (f"its code was changed {found.upgrades - 1} times: earlier code may have allowed what no event "
             "tells", "accept an app that was not upgraded")
        )  # fmt: skip


def _ownership(standing: Standing, found: Audit) -> None:
    if standing.consortium not in (found.owner, found.pending_owner):
        found.faults.append(
            (
                f"it is not offered to this consortium, but to {found.pending_owner}"
                if found.pending_owner != NOBODY
                else "it is not offered to this consortium",
                f"its owner {found.owner} calls transferOwnership({standing.consortium})",
            )
        )


def code_hash(code: bytes, address: str) -> bytes:
    """keccak256 of runtime code with the contract's own address as zeros.

    A contract that knows its address, as OpenZeppelin's UUPSUpgradeable does, has it in its code as a word of
    its own; so equal contracts at two addresses have equal hashes here.
    """
    return keccak(code.replace(address_bytes(address).rjust(32, b"\0"), NO_HASH))


def _told(logs: list[Log], what: str, name: str) -> list[bytes]:
    """All values that were ever added, by the app's events, in order, each once."""
    known = interface("DstackApp")
    found: dict[bytes, None] = {}
    for log in logs:
        decoded = known.decode_log(log.topics, log.data)
        if decoded is not None and decoded[0] == f"{what}Added":
            found[bytes(decoded[1][name])] = None
    return list(found)
