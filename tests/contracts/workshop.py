# SPDX-License-Identifier: Apache-2.0
"""A chain on which each transaction costs the same gas at every run.

Gas depends on zero bytes in call data, so on addresses, times and signatures. Here contracts are deployed by
one account in a fixed order (an address by CREATE2 would change with each comment in a source), time is set,
and signatures are deterministic.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.model import (
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Limits,
    Machines,
    Opening,
    Owner,
    Platform,
    PlatformProposal,
    Receipt,
    Roster,
    RosterProposal,
    Run,
    State,
    Study,
    Validity,
    Version,
    Vote,
    dataset_id,
)
from sealroom_agents.chain.contracts import interface
from tests.contracts import safes
from tests.local_chain import ARTIFACTS, ROOT, LocalChain, account, private_key

GATE, ENCLAVE, STRANGER, DEPLOYER = 14, 15, 16, 18
"""Accounts of the local chain. Owners are 0, 1, 2 and so on."""
NOW = 2_000_000_000
"""Unix time at which the measurements begin."""
MONTH_S = 30 * 24 * 3600
EPSILON_MICRO, DELTA_PICO, RUNS = 4_000_000_000, 1_000_000_000, 5_000
"""What a study, a dataset's lifetime account and its allowance allow: enough for thousands of runs."""
LIMITS = Limits(
    epsilon_micro=EPSILON_MICRO, delta_pico=DELTA_PICO, epsilon_per_day=EPSILON_MICRO, runs_per_day=RUNS
)
RUN_EPSILON_MICRO, RUN_DELTA_PICO = 1_000_000, 100
MOST_RUNS = 256
"""Most runs that one transaction opens."""
EMPTY = bytes(32)
SOURCES = ("contracts", "tests/contracts/harness/Upstream.sol")
_RECEIPT_FIELDS = frozenset(field.name for field in fields(Receipt))


@dataclass(frozen=True)
class Consortium:
    """One consortium with its app."""

    address: str
    app: str
    members: tuple[Owner, ...]
    holders: Mapping[bytes, int] = field(default_factory=dict)
    """Its datasets, each with the number of the owner that holds it."""

    @property
    def datasets(self) -> tuple[bytes, ...]:
        """Ids of its datasets, in order."""
        return tuple(sorted(self.holders))


class Workshop:
    """Deploys, and makes the calls that are measured. Each returns the transaction's receipt."""

    def __init__(self, chain: LocalChain, *, now: int = NOW) -> None:
        # Whatever was compiled before: what is measured shall be what the sources say.
        forge = ROOT / ".venv" / "bin" / "forge"
        subprocess.run([forge, "build", *SOURCES], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        self.chain = chain
        self._drawn = 0
        self._registered = 0
        chain.rpc("evm_setNextBlockTimestamp", now)
        chain.mine()
        chain.keep_own_time()
        self.lens = self.deploy("Lens")
        self.ledger = self.deploy("Ledger", self.lens)

    # --- deploying ------------------------------------------------------------------------------

    def deploy(self, name: str, *arguments: Any, file: str | None = None) -> str:
        """Deploy a compiled contract, which stands in `file`.sol."""
        artifact = json.loads((ARTIFACTS / f"{file or name}.sol" / f"{name}.json").read_text())
        inputs = [item["inputs"] for item in artifact["abi"] if item["type"] == "constructor"]
        types = [_canonical(part) for parts in inputs for part in parts]
        code = bytes.fromhex(artifact["bytecode"]["object"][2:])
        return safes.create(self.chain, code + abi_encode(types, arguments), sender=DEPLOYER)

    def consortium(self, owners: int, threshold: int, *, datasets: int) -> Consortium:
        """What the factory makes, with one dataset each of the first owners, which it may not spend yet."""
        app = self.deploy("DstackApp", False)
        members = tuple(self.member(n) for n in range(owners))
        rows = [member.solidity() for member in members]
        address = self.deploy("Consortium", app, self.ledger, rows, threshold)
        self.chain.send(DEPLOYER, app, initialization(address, upgrades_disabled=True))
        return Consortium(address, app, members, {self.register(n): n for n in range(datasets)})

    @staticmethod
    def member(number: int) -> Owner:
        """The owner whose account is the chain's of that number."""
        return Owner(account=account(number), id=f"hospital-{number}", jurisdiction="DE", regimes=("GDPR",))

    def register(self, owner: int) -> bytes:
        """One more dataset of an owner; answers its id."""
        self._registered += 1
        name = f"cohort-{self._registered}"
        arguments = name, self.version().solidity(), EPSILON_MICRO, DELTA_PICO
        self.call(owner, self.ledger, "register", *arguments)
        return dataset_id(account(owner), name)

    def upstream_app(self, owner: str) -> str:
        """An app as dstack's own tools deploy it: a proxy, which its owner may upgrade."""
        implementation = self.deploy("UpstreamApp")
        return self.deploy("ERC1967Proxy", implementation, initialization(owner, upgrades_disabled=False))

    # --- contents -------------------------------------------------------------------------------

    def draw(self) -> bytes:
        """A hash not used before."""
        self._drawn += 1
        return bytes(keccak(text=f"draw {self._drawn}"))

    def version(self) -> Version:
        """A sealed file not used before."""
        return Version(
            header=self.draw(),
            index=self.draw(),
            key_commitment=self.draw(),
            schema_hash=self.draw(),
            rows=1968,
        )

    def study(self, house: Consortium) -> Study:
        """A study on all datasets, with a recipe not used before."""
        state = self.state(house)
        return Study(
            compose_hash=self.draw(),
            output_hash=self.draw(),
            privacy_hash=self.draw(),
            datasets=house.datasets,
            versions=(0,) * len(house.datasets),
            epsilon_micro=EPSILON_MICRO,
            delta_pico=DELTA_PICO,
            max_runs=RUNS,
            expiry=NOW + MONTH_S,
            basis=state.basis,
            nonce=state.nonce,
        )

    def platform(self) -> Platform:
        """A gate not used before."""
        return Platform(
            gate_root=self.draw(),
            gate_signer=account(GATE),
            gate_compose=self.draw(),
            policy_hash=self.draw(),
            os_images=(self.draw(),),
            devices=(self.draw(),),
        )

    def machines(self) -> Machines:
        """An image and a machine not used before."""
        return Machines(os_images=(self.draw(),), devices=(self.draw(),))

    def state(self, house: Consortium) -> State:
        """Where the consortium stands."""
        return State.of_abi(self.chain.call("Lens", self.lens, "state", house.address))

    @staticmethod
    def validity(follows: bytes) -> Validity:
        """Votes that follow this digest, for a month."""
        return Validity(expiry=NOW + MONTH_S, follows=follows)

    # --- calls ----------------------------------------------------------------------------------

    def call(self, sender: int, to: str, function: str, *arguments: Any) -> dict[str, Any]:
        contract = "Ledger" if to == self.ledger else "Consortium"
        return self.chain.send(sender, to, interface(contract).encode(function, *arguments))

    def allow(self, house: Consortium) -> None:
        """Each holder allows the runs of one study on its dataset."""
        for dataset, owner in house.holders.items():
            self.call(owner, self.ledger, "allow", dataset, house.address, LIMITS.solidity())

    def adopt(self, house: Consortium, *, owners: int) -> dict[str, Any]:
        """A new gate, by the first owners' signatures."""
        platform = self.platform()
        terms = self.validity(self.state(house).charter)
        by = self.signed(house, owners, lambda owner: _adoption(owner, platform.under(terms)))
        return self.call(STRANGER, house.address, "adoptPlatform", platform.solidity(), terms.solidity(), by)

    def change(self, house: Consortium, roster: Roster, *, owners: int) -> dict[str, Any]:
        """Another roster, by the first owners' signatures."""
        terms = self.validity(self.state(house).roster_digest)
        by = self.signed(house, owners, lambda owner: _seating(owner, roster.under(terms)))
        return self.call(STRANGER, house.address, "changeRoster", roster.solidity(), terms.solidity(), by)

    def pin(self, house: Consortium, study: Study, *, owners: int) -> dict[str, Any]:
        """The first owners' signatures, collected off chain, handed in by a stranger."""
        by = self.signed(house, owners, lambda owner: ApproveStudy(owner=owner, study=study))
        return self.call(STRANGER, house.address, "approve", study.solidity(), by)

    def signed(self, house: Consortium, owners: int, vote: Callable[[str], Vote]) -> list[tuple[str, bytes]]:
        """`IConsortium.Signed[]` of the first owners, in the order that the contract wants."""
        order = sorted(range(owners), key=lambda n: int(account(n), 16))
        return [self.signature(house, n, vote(account(n))) for n in order]

    def signature(self, house: Consortium, owner: int, vote: Vote) -> tuple[str, bytes]:
        """`IConsortium.Signed`: what one owner says, with its signature."""
        message = typed.vote(vote, chain_id=self.chain.chain_id, consortium=house.address)
        return account(owner), sign(message, owner)

    def run(self) -> Run:
        """A run not opened yet."""
        return Run(
            run_id=self.draw(),
            epsilon_micro=RUN_EPSILON_MICRO,
            delta_pico=RUN_DELTA_PICO,
            enclave_signer=account(ENCLAVE),
            grant_hash=self.draw(),
            open_before=NOW + MONTH_S,
        )

    def open(self, house: Consortium, study: Study, count: int = 1) -> dict[str, Any]:
        """Runs that the gate opens in one transaction."""
        runs = [self.run().solidity() for _ in range(count)]
        arguments = house.address, study.solidity(), runs, self.draw()
        return self.call(GATE, self.ledger, "open", *arguments)

    def open_many(self, house: Consortium, study: Study, count: int) -> None:
        """Open runs in as few transactions as the ledger takes."""
        while count:
            some = min(count, MOST_RUNS)
            self.open(house, study, some)
            count -= some

    def anchor(self, opened: dict[str, Any]) -> dict[str, Any]:
        """Anchor the receipt of a run, whose `open` gave this transaction receipt."""
        opening = Opening.of_abi(LocalChain.event(opened, "Ledger", "RunOpened")["opening"])
        known = vars(opening) | vars(opening.run)
        receipt = Receipt(
            datasets_root=self.draw(),
            result_digest=self.draw(),
            statement_digest=self.draw(),
            **{name: value for name, value in known.items() if name in _RECEIPT_FIELDS},
        )
        message = typed.receipt(receipt, chain_id=self.chain.chain_id, ledger=self.ledger)
        arguments = receipt.solidity(), opening.solidity(), sign(message, ENCLAVE)
        return self.call(STRANGER, self.ledger, "anchor", *arguments)


def sign(message: SignableMessage, owner: int) -> bytes:
    """Signature of one of the chain's accounts."""
    return typed.sign(message, private_key(owner))


def initialization(owner: str, *, upgrades_disabled: bool) -> bytes:
    """Call data of the app's `initialize`: an up-to-date TCB, no device and no recipe."""
    signature = "initialize(address,bool,bool,bool,bytes32,bytes32)"
    return safes.call(signature, owner, upgrades_disabled, True, False, EMPTY, EMPTY)


def _adoption(owner: str, platform: PlatformProposal) -> AdoptPlatform:
    return AdoptPlatform(owner=owner, platform=platform)


def _seating(owner: str, roster: RosterProposal) -> ChangeRoster:
    return ChangeRoster(owner=owner, roster=roster)


def _canonical(field: dict[str, Any]) -> str:
    if field["type"].startswith("tuple"):
        inner = ",".join(_canonical(part) for part in field["components"])
        return f"({inner}){field['type'].removeprefix('tuple')}"
    return str(field["type"])
