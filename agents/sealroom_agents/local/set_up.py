# SPDX-License-Identifier: Apache-2.0
"""From a study's folder to a room that waits for its owners: made once, and taken up by each later call."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import httpx

from sealroom.codes import Code
from sealroom.encoding import Fields, from_hex
from sealroom.errors import FormatError
from sealroom.files import PRIVATE, PUBLIC, write_atomic
from sealroom.guarantee import GUARANTEES
from sealroom.keys import address_of
from sealroom.model import MAX_OWNERS, Owner
from sealroom.recipe import compose_hash, render
from sealroom_agents.chain import ChainReader
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.files import read_owner
from sealroom_agents.local.chain import CHAIN_ID, READY_S, start_chain, wait_until_final
from sealroom_agents.local.contracts import Deployment, LocalSender
from sealroom_agents.local.contracts import deploy as deploy_here
from sealroom_agents.local.folder import require_space
from sealroom_agents.local.owners import act, private_key, write_keystore
from sealroom_agents.local.ports import Ports
from sealroom_agents.local.room import Places, Room
from sealroom_agents.simulator import OS_IMAGES_FILE, SIMULATED_OS_IMAGE, SimulatedPlatform
from sealroom_agents.simulator.gpu import GPU_RULES
from sealroom_agents.up.children import Child, Children
from sealroom_agents.up.plan import children as planned
from sealroom_agents.up.plan import sealroom

PORTS = MappingProxyType({"chain": 8545, "gate": 8400, "console": 8080})
"""Taken where they are free, so that addresses stay the same; else the next ones."""
GAS_MONEY_WEI = 10**19
"""What gate and runner have on the local chain: 10 ether."""
DRAIN_S = 60
"""How long a local runner waits for its runs when it is told to end, seconds."""
OWNERS_FILE = "owners.json"
GATE_COMPOSE = {
    "manifest_version": 2,
    "name": "sealroom-gate",
    "runner": "docker-compose",
    "docker_compose_file": "services:\n  gate:\n    command: sealroom gate\n",
    "kms_enabled": True,
    "gateway_enabled": False,
    "public_logs": False,
    "public_sysinfo": False,
    "public_tcbinfo": False,
    "allowed_envs": [],
}
"""What the simulated CVM of the gate boots; its hash is the gate compose that the owners adopt."""


class Deployer(Protocol):
    """What deploys the contracts on the room's chain."""

    def __call__(self, url: str, owners: Sequence[Owner], threshold: int, *, salt: bytes) -> Deployment:
        """Deploy what all consortia share, and one consortium. salt: 32 bytes."""


def set_up(
    children: Children,
    folder: Path,
    study: Path,
    *,
    guarantees: Sequence[str] = tuple(GUARANTEES),
    deploy: Deployer = deploy_here,
    ports: Mapping[str, int] = PORTS,
) -> Room:
    """Start what a room has in `folder`, and make what is not there yet. The caller holds it `locked`.

    study: a folder with study.yaml and owners.json. `guarantees` are those that the owners' policy accepts.
    `ports` are taken where they are free. Raises `DemoError`, `ConfigurationError`, `ToolError`,
    `FormatError`, `ChainError`.
    """
    places = Places(folder)
    owners, threshold = read_roster(study)
    recipe = render(study)
    there = Room.read(folder) if places.room.exists() else None
    if there is not None and (list(there.owners), there.threshold) != (
        [owner.id for owner in owners], threshold,
    ):  # fmt: skip
        raise ToolError(
            Code.ROOM_MISSING,
            f"{folder} holds a room of {', '.join(there.owners)}, {there.threshold} of whom decide",
            "name another folder with --dir, or remove this one",
        )  # fmt: skip
    folder.chmod(0o700)
    require_space(folder)
    held = Ports()
    children.hold(held)
    if there is not None:
        held.keep({"chain": _port(there.rpc), "gate": _port(there.gate), "console": _port(there.console)})
    _make_files(places, guarantees)
    for place, owner in enumerate(owners):
        write_keystore(places.keystore(owner.id), private_key(place))
    port = _port(there.rpc) if there is not None else held.take(ports["chain"])
    url = start_chain(children, folder, port)
    if there is None:
        made = deploy(url, owners, threshold, salt=secrets.token_bytes(32))
        gate, console = (f"http://127.0.0.1:{held.take(ports[name])}" for name in ("gate", "console"))
        room = Room(
            folder=folder, study=str(study), rpc=url, gate=gate, console=console, threshold=threshold,
            consortium=made.consortium, app=made.app, ledger=made.ledger, factory=made.factory,
            owners={owner.id: owner.account for owner in owners},
        )  # fmt: skip
        write_atomic(places.config, _toml(room).encode(), mode=PUBLIC, replace=True)
        room.write()
    else:
        room = there
    write_atomic(places.recipe, recipe, mode=PUBLIC, replace=True)
    _start(children, room)
    wait_until_final(url)
    write_card(room)
    return room


def read_roster(study: Path) -> tuple[tuple[Owner, ...], int]:
    """The owners of a study's owners.json, each with an account of the local chain, and their threshold."""
    path = study / OWNERS_FILE
    try:
        content = json.loads(path.read_bytes())
        fields = Fields(content, str(path))
        given = fields.array("owners", limit=MAX_OWNERS)
        accounts = [address_of(private_key(place)) for place in range(len(given))]
        seated = [{**one, "account": account} for one, account in zip(given, accounts, strict=True)]
        owners = tuple(read_owner(one) for one in seated)
        threshold = fields.integer("threshold", 1, max(1, len(owners)))
        fields.done()
    except OSError as error:
        raise ToolError(
            Code.ROOM_MISSING, f"{path}: {error.strerror}", "sealroom study new writes one to begin with"
        ) from error
    except (ValueError, TypeError) as error:
        raise ToolError(Code.ROOM_MISSING, f"{path} is no list of owners: {error}") from error
    if not owners:
        raise FormatError(Code.MALFORMED, f"{path} names no owner")
    return owners, threshold


def write_card(room: Room) -> None:
    """The study card from chain and gate, checked, and the pin file that results are proven against."""
    from sealroom_agents import studycard
    from sealroom_agents.attestation import load_os_images, load_simulated_root
    from sealroom_agents.verification import Pin

    places = room.places
    reader = ChainReader([room.rpc])
    card = studycard.build(
        room.consortium, reader=reader, recipe=places.recipe.read_bytes(), gate_url=room.gate
    )
    trust = load_simulated_root(places.root)
    checked = studycard.check_with(card, trust=trust, now=int(time.time()), reader=reader, gate_compose=None)
    pin = Pin(
        chain_id=card.chain_id,
        consortium=card.consortium,
        gate_compose=checked.gate.compose_hash,
        gate_root=checked.gate.gate_root,
        kms_root=checked.gate.kms_root_fingerprint,
        os_images=load_os_images(places.platform / OS_IMAGES_FILE),
    )
    write_atomic(places.card, card.encode(), mode=PUBLIC, replace=True)
    write_atomic(places.pin, pin.encode(), mode=PUBLIC, replace=True)


def _make_files(places: Places, guarantees: Sequence[str]) -> None:
    """What the processes need beside the chain; nothing that is there is made anew."""
    if not (places.platform / "seed").exists():
        SimulatedPlatform.create(places.platform)
    platform = SimulatedPlatform.open(places.platform)
    _once(
        places.policy, lambda: platform.policy(guarantees=tuple(guarantees), gpu=GPU_RULES).encode(), PUBLIC
    )
    _once(places.folder / "gate-compose.json", _gate_compose, PUBLIC)
    for name in ("watch.token", "runner.key", "console.key"):
        _once(places.folder / name, lambda: b"0x" + secrets.token_hex(32).encode(), PRIVATE)


def _once(path: Path, content: Callable[[], bytes], mode: int) -> None:
    if not path.exists():
        write_atomic(path, content(), mode=mode)


def _gate_compose() -> bytes:
    return json.dumps(GATE_COMPOSE, separators=(",", ":"), sort_keys=True).encode()


def _toml(room: Room) -> str:
    """The configuration of a room's processes, as a person would write it."""
    return f"""\
# A room on one machine: `sealroom up --local` wrote this, and starts what it says.
[chain]
id = {CHAIN_ID}
rpc = ["{room.rpc}"]
factory = "{room.factory}"

[database]
url = "sqlite:///sealroom.db"

[simulator]
platform = "platform"

[gate]
state = "gate"
watch_token_file = "watch.token"
platform_policy = "platform-policy.json"
guest_agent = "gate.sock"
port = {_port(room.gate)}

[watcher]
gate = "{room.gate}"
watch_token_file = "watch.token"

[runner]
gate = "{room.gate}"
datasets = "received"
state = "runs"
key_file = "runner.key"
drain_seconds = {DRAIN_S}

[console]
signing_key = "console.key"
how = "how.json"
port = {_port(room.console)}
"""


def _start(children: Children, room: Room) -> None:
    """The simulated VM of the gate, then everything that the configuration has.

    Gate and runner get gas money, and the owners adopt the gate before the watcher looks for those who did.
    """
    places, folder = room.places, room.folder
    ready = folder / "ready"
    ready.mkdir(exist_ok=True)
    compose = folder / "gate-compose.json"
    guest = (
        sealroom(), "simulate", "guest", "--platform", str(places.platform), "--compose", str(compose),
        "--app-id", "0x" + compose_hash(compose.read_bytes())[:20].hex(),
        "--socket", str(folder / "gate.sock"),
    )  # fmt: skip
    children.start(Child("guest", guest, ready_file=ready / "guest.json"), within_s=READY_S)
    operator = LocalSender(room.rpc)
    operator.fund(address_of(from_hex((folder / "runner.key").read_text())), GAS_MONEY_WEI)
    for child in planned(room.config, places.config, ready):
        children.start(child, within_s=READY_S)
        if child.name == "gate":
            signer = httpx.get(f"{room.gate}/v1/gate", timeout=READY_S).json()["signer"]
            operator.fund(signer, GAS_MONEY_WEI)
            _adopt(room)


def _adopt(room: Room) -> None:
    """As many owners as decide vote for this gate, its policy and this machine, unless they did before.

    Each asks the gate and verifies its evidence before it votes.
    """
    view = ChainReader([room.rpc]).latest_view(room.consortium, whole=True).best
    if view is None or view.platform is not None:
        return
    places = room.places
    machine = SimulatedPlatform.open(places.platform).machine("machine-1")
    verified = (
        "--gate", room.gate, "--policy", places.policy, "--simulated-root", places.root,
        "--os-image", "0x" + SIMULATED_OS_IMAGE.hex(), "--device", "0x" + machine.device_id.hex(),
    )  # fmt: skip
    first, *others = list(room.owners)[: room.threshold]
    proposal: dict[str, Any] = act(room, first, "platform", *verified)
    for owner in others:
        act(room, owner, "approve", str(proposal["proposal"]), *verified)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
