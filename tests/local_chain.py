# SPDX-License-Identifier: Apache-2.0
"""A real chain for tests: anvil on a free port, the real contracts, and the owners' transactions as methods.

    with LocalChain.start() as chain:                    # mines at each transaction
        room = chain.create_consortium(["hospital-A", "hospital-B", "hospital-C"], threshold=2)
        chain.adopt_platform(room, gate_root=…, gate_signer=…, gate_compose=…, os_images=[…], devices=[…])
        chain.register(room, Dataset(owner=0), cap_micro=4_500_000)
        study = chain.draft(room, compose_hash=…, datasets=[…])
        chain.approve(room, study, 0, 1)
        chain.finalize()                                 # now the approval counts

`LocalChain.start(block_time=1)` mines by the clock instead, as the demonstration does; finality is two blocks
behind either way. Accounts are anvil's own: owners are 0, 1, 2…, the operator who deploys is the last.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_utils.crypto import keccak

from sealroom.model import (
    Limits,
    Machines,
    Owner,
    Platform,
    Roster,
    State,
    Study,
    Validity,
    Version,
    dataset_id,
)
from sealroom_agents import child_guard, child_processes
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.contracts import explain_revert, interface
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.chain.gas import with_room
from tests import plain_http, processes
from tests.patience import PATIENCE_S, until

ROOT = Path(__file__).resolve().parent.parent
ANVIL = ROOT / ".venv" / "bin" / "anvil"
FORGE = ROOT / ".venv" / "bin" / "forge"
ARTIFACTS = ROOT / ".build" / "forge"
MNEMONIC = "test test test test test test test test test test test junk"
DEPLOYED = ("Ledger", "Factory", "Lens", "Consortium")
"""What all consortia of a chain share, and what the factory makes."""
ACCOUNTS = 20
OPERATOR = ACCOUNTS - 1
MONTH_S = 30 * 24 * 3600
YEAR_S = 365 * 24 * 3600
CAP_PICO = 1_000_000
"""δ that a study, and a dataset's cap, have unless a test says otherwise: 1e-6."""
RUNS_PER_DAY = 100
"""Runs that an allowance allows a day unless a test says otherwise."""
STATES = "anvil-states-"
"""How the names of folders begin into which nodes write; the process that started it follows."""
POLICY_HASH = b"\x04" * 32
"""Hash of the platform policy unless a test says otherwise."""


_NAMED = itertools.count(1)
"""Datasets that were named here: two of one name and owner are one dataset."""


class Reverted(AssertionError):
    """A transaction that a contract refused; `name` is its custom error."""

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        super().__init__(f"{name}{fields}")
        self.name = name
        self.fields = fields


@dataclass(frozen=True)
class Room:
    """One consortium with its app."""

    consortium: str
    app: str
    ledger: str
    factory: str
    lens: str
    owners: tuple[Owner, ...]
    threshold: int


@dataclass(frozen=True)
class Dataset:
    """What an owner registers; random digests where the test doesn't care, and a name of its own."""

    owner: int = 0
    """Which of anvil's accounts registers it."""
    header: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    index: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key_commitment: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    schema_hash: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    rows: int = 1000
    name: str = field(default_factory=lambda: f"cohort-{next(_NAMED):06x}")

    @property
    def id(self) -> bytes:
        """Its id, as the registry makes it."""
        return dataset_id(account(self.owner), self.name)

    @property
    def version(self) -> Version:
        """The sealed file."""
        return Version(
            header=self.header,
            index=self.index,
            key_commitment=self.key_commitment,
            schema_hash=self.schema_hash,
            rows=self.rows,
        )


@cache
def private_key(index: int) -> bytes:
    """Private key of anvil's account `index`."""
    Account.enable_unaudited_hdwallet_features()
    return bytes(Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key)


@cache
def account(index: int) -> str:
    """Address of anvil's account `index`, lower case."""
    return str(Account.from_key(private_key(index)).address).lower()


class LocalChain:
    """One anvil process with the contracts that consortia share."""

    def __init__(
        self, process: subprocess.Popen[str], url: str, states: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._process = process
        self._states = states
        self.url = url
        self._http = plain_http.client()
        self._snapshot = ""
        self.chain_id = int(self.rpc("eth_chainId"), 16)
        self.lens = self.deploy("Lens")
        self.ledger = self.deploy("Ledger", self.lens)
        self.factory = self.deploy("Factory", self.ledger, keccak(creation_code("Consortium")))
        self._studies: dict[bytes, Study] = {}

    @classmethod
    def start(
        cls,
        *,
        block_time: int | None = None,
        chain_id: int = 31337,
        network: str = "ethereum",
        kept_states: int | None = None,
    ) -> LocalChain:
        """Start anvil on a free port and deploy Ledger, Factory and Lens. `network`: `ethereum`, or
        `optimism` for blocks that take deposits. `kept_states`: of how many blocks it keeps the state, in
        memory alone; of all, on disk, where it is not given."""
        command = [str(ANVIL), "--port", "0", "--slots-in-an-epoch", "1", "--accounts", str(ACCOUNTS)]
        states = _folder_of_states()
        command += ["--chain-id", str(chain_id), "--cache-path", states.name]
        if kept_states is not None:
            command += ["--prune-history", str(kept_states)]
        if network != "ethereum":
            command += ["--network", network]
        if block_time is not None:
            command += ["--block-time", str(block_time)]
        process = child_processes.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + PATIENCE_S
        lines: list[str] = []
        if process.stdout is None:
            raise RuntimeError("anvil has no output")
        while time.monotonic() < deadline:
            line = process.stdout.readline()
            lines.append(line)
            if line.startswith("Listening on "):
                # Nobody reads the pipe from here on, and anvil logs each call to it: let it go to nothing.
                _drain(process)
                return cls(process, "http://" + line.removeprefix("Listening on ").strip(), states)
            if not line and process.poll() is not None:
                break
        processes.end(process)
        states.cleanup()
        raise RuntimeError("anvil did not start: " + "".join(lines)[-2000:])

    def __enter__(self) -> LocalChain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the node."""
        return self._process.pid

    def stop(self) -> None:
        """End the process, and remove what it wrote."""
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            processes.end(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._states.cleanup()

    # --- JSON-RPC -------------------------------------------------------------------------------

    def rpc(self, method: str, *params: Any) -> Any:
        """One call; raises `Reverted` with the custom error where there is one."""
        answer = self.ask(method, params)
        if "error" in answer:
            data = answer["error"].get("data")
            if isinstance(data, str) and data.startswith("0x"):
                raise Reverted(*explain_revert(bytes.fromhex(data[2:])))
            raise Reverted("Error", {"message": answer["error"].get("message")})
        return answer["result"]

    def ask(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        """What the node answers to one call, an error too; from any thread."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return dict(self._http.post(self.url, json=body).json())

    def deploy(self, name: str, *arguments: Any) -> str:
        """Deploy a contract from its compiled artifact; returns its address."""
        types = [
            part["type"]
            for item in _artifact(name)["abi"]
            if item["type"] == "constructor"
            for part in item["inputs"]
        ]
        data = "0x" + (creation_code(name) + abi_encode(types, arguments)).hex()
        return str(self._mined({"from": account(OPERATOR), "data": data})["contractAddress"]).lower()

    def send(self, sender: int | str, to: str, data: bytes, *, value: int = 0) -> dict[str, Any]:
        """One transaction of one of anvil's accounts, mined; returns its receipt."""
        by = account(sender) if isinstance(sender, int) else sender
        return self._mined({"from": by, "to": to, "data": "0x" + data.hex(), "value": hex(value)})

    def call(self, name: str, address: str, function: str, *arguments: Any) -> Any:
        """One view call at the latest block."""
        contract = interface(name)
        data = "0x" + contract.encode(function, *arguments).hex()
        answer = self.rpc("eth_call", {"to": address, "data": data}, "latest")
        return contract.decode(function, bytes.fromhex(answer[2:]))

    def reader(self, *urls: str, **options: Any) -> ChainReader:
        """A reader through these nodes, or through this one. Its clock is the head's time: no head is old."""
        given = {"clock": self.head_time, "timeout_s": PATIENCE_S, **options}
        return ChainReader(list(urls) or [self.url], **given)

    def fund(self, address: str, *, ether: int = 10) -> None:
        """Give an address gas money."""
        self.rpc("anvil_setBalance", address, hex(ether * 10**18))

    # --- time and blocks ------------------------------------------------------------------------

    def block_number(self, tag: str = "latest") -> int:
        """Number of a tagged block."""
        return int(self.rpc("eth_getBlockByNumber", tag, False)["number"], 16)

    def head_time(self) -> int:
        """Timestamp of the latest block."""
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def mine(self, blocks: int = 1) -> None:
        """Mine empty blocks."""
        self.rpc("anvil_mine", hex(blocks))

    def finalize(self) -> None:
        """Mine until what is the latest block now is final."""
        target = self.block_number()
        while self.block_number("finalized") < target:
            self.mine()

    def advance(self, seconds: int) -> None:
        """Mine a block that many seconds after the latest one; time goes on from there."""
        self.rpc("evm_setNextBlockTimestamp", hex(self.head_time() + seconds))
        self.mine()

    def keep_own_time(self) -> None:
        """From here on, each block is one second after the one before, however long that takes."""
        self.rpc("anvil_setBlockTimestampInterval", 1)

    def keep_real_time(self) -> None:
        """From here on, a block is as old as it is, as other processes expect; the first is mined now."""
        self.rpc("anvil_removeBlockTimestampInterval")
        self.advance(max(1, int(time.time()) - self.head_time()))

    def mine_every(self, seconds: int) -> None:
        """From here on, a block comes by itself in this interval, at its real time, and none for a
        transaction alone. A chain that nobody mines is soon too old for who follows it."""
        self.keep_real_time()
        self.rpc("anvil_setIntervalMining", seconds)

    @contextmanager
    def mining(self) -> Iterator[None]:
        """A block every second, as processes expect that go by the real time: however long they take to
        start, the newest block is none of long ago. Then a block for each transaction again."""
        self.mine_every(1)
        try:
            yield
        finally:
            self.rpc("anvil_setIntervalMining", 0)
            self.rpc("evm_setAutomine", True)

    def reorg(self, depth: int, *later: str) -> None:
        """Replace the last `depth` blocks by empty ones; their transactions are gone, but for those of
        `later` (raw), which the last block has. A node shows nothing in between."""
        self.rpc("anvil_reorg", depth, [[raw, depth - 1] for raw in later])

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """No block but those that the test asks for; then as before."""
        self.rpc("evm_setAutomine", False)
        try:
            yield
        finally:
            self.rpc("anvil_dropAllTransactions")
            self.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
            self.rpc("evm_setAutomine", True)
            self.mine()

    def snapshot(self) -> str:
        """Remember the state."""
        return str(self.rpc("evm_snapshot"))

    def restore(self, snapshot: str) -> None:
        """Go back to a snapshot, which is used up by it; the time of the next block is now all the same."""
        self.rpc("evm_revert", snapshot)
        late = int(time.time()) - self.head_time()
        if late > 0:
            self.rpc("evm_increaseTime", hex(late))

    # --- what owners do -------------------------------------------------------------------------

    def create_consortium(
        self,
        owners: Sequence[str | Owner],
        *,
        threshold: int,
        salt: bytes | None = None,
        code: bytes | None = None,
    ) -> Room:
        """A new consortium, of this creation code; names become owners with anvil's accounts 0, 1, 2…"""
        members = tuple(
            member(account(n), owner) if isinstance(owner, str) else owner for n, owner in enumerate(owners)
        )
        contract = interface("Factory")
        data = contract.encode(
            "create",
            [owner.solidity() for owner in members],
            threshold,
            salt or secrets.token_bytes(32),
            code or creation_code("Consortium"),
        )
        receipt = self.send(OPERATOR, self.factory, data)
        created = self.event(receipt, "Factory", "ConsortiumCreated")
        return Room(
            consortium=created["consortium"].lower(),
            app=created["app"].lower(),
            ledger=self.ledger,
            factory=self.factory,
            lens=self.lens,
            owners=members,
            threshold=threshold,
        )

    def adopt_platform(
        self,
        room: Room,
        *,
        gate_root: bytes,
        gate_signer: str,
        gate_compose: bytes,
        os_images: Sequence[bytes],
        devices: Sequence[bytes],
        policy_hash: bytes = POLICY_HASH,
    ) -> None:
        """The first `threshold` owners adopt a gate, its rules and its machines."""
        platform = Platform(
            gate_root=gate_root,
            gate_signer=gate_signer,
            gate_compose=gate_compose,
            policy_hash=policy_hash,
            os_images=tuple(sorted(os_images)),
            devices=tuple(sorted(devices)),
        )
        validity = self.validity(self.state(room).charter)
        for owner in range(room.threshold):
            self.vote(room, owner, "adoptPlatform", platform.solidity(), validity.solidity())

    def add_machines(
        self, room: Room, *owners: int, os_images: Sequence[bytes] = (), devices: Sequence[bytes] = ()
    ) -> None:
        """Owners approve machines and images that are added to the platform."""
        machines = Machines(os_images=tuple(sorted(os_images)), devices=tuple(sorted(devices)))
        validity = self.validity(self.state(room).charter)
        for owner in owners:
            self.vote(room, owner, "addMachines", machines.solidity(), validity.solidity())

    def register(
        self,
        room: Room,
        dataset: Dataset,
        *,
        cap_micro: int | None = None,
        cap_pico: int = CAP_PICO,
        runs_per_day: int = RUNS_PER_DAY,
    ) -> None:
        """An owner registers a dataset, and lets the room spend all of its lifetime account."""
        arguments = dataset.name, dataset.version.solidity(), cap_micro or 0, cap_pico
        self.send(dataset.owner, room.ledger, interface("Ledger").encode("register", *arguments))
        if cap_micro is not None:
            self.allow(room, dataset, cap_micro=cap_micro, cap_pico=cap_pico, runs_per_day=runs_per_day)

    def allow(
        self,
        room: Room,
        dataset: Dataset,
        *,
        cap_micro: int,
        cap_pico: int = CAP_PICO,
        micro_per_day: int | None = None,
        runs_per_day: int = RUNS_PER_DAY,
    ) -> None:
        """A holder sets what the room may spend on a dataset: ε, δ, and ε and runs a day."""
        limits = Limits(
            epsilon_micro=cap_micro,
            delta_pico=cap_pico,
            epsilon_per_day=cap_micro if micro_per_day is None else micro_per_day,
            runs_per_day=runs_per_day,
        )
        data = interface("Ledger").encode("allow", dataset.id, room.consortium, limits.solidity())
        self.send(dataset.owner, room.ledger, data)

    def draft(
        self,
        room: Room,
        *,
        compose_hash: bytes,
        datasets: Sequence[bytes],
        versions: Sequence[int] | None = None,
        output_hash: bytes = b"\x01" * 32,
        privacy_hash: bytes = b"\x02" * 32,
        epsilon_micro: int = 4_500_000,
        delta_pico: int = CAP_PICO,
        max_runs: int = 3,
        expiry: int | None = None,
        nonce: int | None = None,
    ) -> bytes:
        """A study on the room's present basis, after those pinned so far; returns its id.

        Nothing is sent: the first approval is what proposes it. `versions` stand in the order of `datasets`;
        without them the study uses the newest.
        """
        state = self.state(room)
        wanted = dict(zip(datasets, versions or [0] * len(datasets), strict=True))
        study = Study(
            compose_hash=compose_hash,
            output_hash=output_hash,
            privacy_hash=privacy_hash,
            datasets=tuple(sorted(datasets)),
            versions=tuple(wanted[dataset] for dataset in sorted(datasets)),
            epsilon_micro=epsilon_micro,
            delta_pico=delta_pico,
            max_runs=max_runs,
            expiry=self.head_time() + YEAR_S if expiry is None else expiry,
            basis=state.basis,
            nonce=state.nonce if nonce is None else nonce,
        )
        self._studies[study.id] = study
        return study.id

    def study(self, study: bytes) -> Study:
        """Content of a study that was drafted here."""
        return self._studies[study]

    def approve(self, room: Room, study: bytes, *owners: int) -> None:
        """Owners approve; the first proposes the study, the last one that is needed pins it."""
        for owner in owners:
            self.vote(room, owner, "approve", self.study(study).solidity())

    def vote(self, room: Room, owner: int, function: str, *arguments: Any) -> dict[str, Any]:
        """One owner votes with its own account; returns the receipt."""
        data = interface("Consortium").encode(function, *arguments, [])
        return self.send(room.owners[owner].account, room.consortium, data)

    def validity(self, follows: bytes) -> Validity:
        """Votes that follow a digest and count for a month."""
        return Validity(expiry=self.head_time() + MONTH_S, follows=follows)

    def withdraw(self, room: Room, proposal: bytes, owner: int) -> dict[str, Any]:
        """One owner takes its approval back; returns the receipt."""
        data = interface("Consortium").encode("withdraw", proposal)
        return self.send(room.owners[owner].account, room.consortium, data)

    def change_roster(
        self, room: Room, *, remove: Sequence[str] = (), add: Sequence[Owner] = (), threshold: int
    ) -> Room:
        """The first `threshold` owners change the owners; returns the room with those who sit then."""
        roster = Roster(remove=tuple(remove), add=tuple(add), threshold=threshold)
        validity = self.validity(self.state(room).roster_digest)
        for owner in range(room.threshold):
            self.vote(room, owner, "changeRoster", roster.solidity(), validity.solidity())
        return replace(room, owners=self.state(room).owners, threshold=threshold)

    def revoke(self, room: Room, owner: int, reason: str = "stop") -> dict[str, Any]:
        """One owner stops everything; returns the receipt."""
        data = interface("Consortium").encode("revoke", reason)
        return self.send(room.owners[owner].account, room.consortium, data)

    def has_code(self, address: str) -> bool:
        """Whether a contract lives at the address, at the latest block."""
        return bool(self.rpc("eth_getCode", address, "latest") != "0x")

    def state(self, room: Room) -> State:
        """Where the room stands at the latest block."""
        return State.of_abi(self.call("Lens", self.lens, "state", room.consortium))

    @staticmethod
    def event(receipt: dict[str, Any], contract: str, name: str) -> dict[str, Any]:
        """Fields of the first event of that name in a receipt."""
        for log in receipt["logs"]:
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
            decoded = interface(contract).decode_log(topics, bytes.fromhex(log["data"][2:]))
            if decoded is not None and decoded[0] == name:
                return decoded[1]
        raise AssertionError(f"no event {name} in {receipt['transactionHash']}")

    def _mined(self, transaction: dict[str, Any]) -> dict[str, Any]:
        # As wallets do: a slot that the estimate leaves as it is may change where the block has a later time.
        estimate = int(self.rpc("eth_estimateGas", transaction), 16)
        gas = with_room(estimate, bytes.fromhex(transaction.get("data", "0x").removeprefix("0x")))
        tx = self.rpc("eth_sendTransaction", {**transaction, "gas": hex(gas)})
        receipt: dict[str, Any] = until(lambda: self.rpc("eth_getTransactionReceipt", tx))
        if int(receipt["status"], 16) != 1:
            self.rpc("eth_call", transaction, receipt["blockNumber"])
            raise Reverted("unknown", {})
        return dict(receipt)


def member(account: str, name: str, jurisdiction: str = "DE", regimes: tuple[str, ...] = ("GDPR",)) -> Owner:
    """One owner as it stands in the contract."""
    return Owner(account=account, id=name, jurisdiction=jurisdiction, regimes=regimes)


@cache
def creation_code(name: str) -> bytes:
    """Creation code of a contract, without its constructor's arguments."""
    return bytes.fromhex(_artifact(name)["bytecode"]["object"][2:])


@cache
def _artifact(name: str) -> dict[str, Any]:
    _build()
    return dict(json.loads((ARTIFACTS / f"{name}.sol" / f"{name}.json").read_text()))


@cache
def _build() -> None:
    """Compile what the chain deploys, unless it is compiled as it stands; one process at a time."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with (ARTIFACTS.parent / "forge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = [f"contracts/{name}.sol" for name in DEPLOYED]
        done = subprocess.run([FORGE, "build", "--quiet", *sources], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the contracts do not compile: {done.stdout}{done.stderr}")


def _folder_of_states() -> tempfile.TemporaryDirectory[str]:
    """Where a node writes: past some hundred blocks anvil writes one file a block, into the user's home
    unless told otherwise, and never removes any. What processes left that were killed goes now."""
    for old in Path(tempfile.gettempdir()).glob(f"{STATES}*-*"):
        owner = old.name.removeprefix(STATES).partition("-")[0]
        if owner.isdecimal() and not child_guard.is_alive(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{STATES}{os.getpid()}-", ignore_cleanup_errors=True)


def _drain(process: subprocess.Popen[str]) -> None:
    import threading

    def read() -> None:
        try:
            while process.stdout is not None and process.stdout.read(65536):
                pass
        except ValueError:  # closed while we read: the chain was stopped
            return

    threading.Thread(target=read, name="anvil-output", daemon=True).start()
