# SPDX-License-Identifier: Apache-2.0
"""A chain on which each transaction costs the same gas at every run.

Gas depends on zero bytes in call data, so on addresses, times and signatures. Here contracts are deployed by
one account in a fixed order (an address by CREATE2 would change with each comment in a source), time is set,
and signatures are deterministic.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.model import Opening, Owner, Platform, Receipt, Study
from sealroom_agents.chain.contracts import interface
from tests.contracts import safes
from tests.local_chain import ARTIFACTS, ROOT, LocalChain, account, private_key

GATE, ENCLAVE, STRANGER, DEPLOYER = 14, 15, 16, 18
"""Accounts of the local chain. Owners are 0, 1, 2 and so on."""
NOW = 2_000_000_000
"""Unix time at which the measurements begin."""
MONTH_S = 30 * 24 * 3600
EPSILON_MICRO, DELTA_PICO, RUNS = 9_000_000_000, 1_000_000_000, 5_000
"""What a study and a dataset's cap allow: enough for thousands of runs."""
RUN_EPSILON_MICRO, RUN_DELTA_PICO = 1_000_000, 100
OPEN_GAS_LIMIT = 300_000
EMPTY = bytes(32)
SOURCES = ("contracts", "tests/contracts/harness/Upstream.sol")
_RECEIPT_FIELDS = frozenset(field.name for field in fields(Receipt))


@dataclass(frozen=True)
class Consortium:
    """One consortium with its app."""

    address: str
    app: str
    members: tuple[Owner, ...]
    datasets: tuple[bytes, ...] = ()


class Workshop:
    """Deploys, and makes the calls that are measured. Each returns the transaction's receipt."""

    def __init__(self, chain: LocalChain, *, now: int = NOW) -> None:
        # Whatever was compiled before: what is measured shall be what the sources say.
        forge = ROOT / ".venv" / "bin" / "forge"
        subprocess.run([forge, "build", *SOURCES], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        self.chain = chain
        self._drawn = 0
        chain.rpc("evm_setNextBlockTimestamp", now)
        chain.mine()
        self.ledger = self.deploy("Ledger")

    # --- deploying ------------------------------------------------------------------------------

    def deploy(self, name: str, *arguments: Any, file: str | None = None) -> str:
        """Deploy a compiled contract, which stands in `file`.sol."""
        artifact = json.loads((ARTIFACTS / f"{file or name}.sol" / f"{name}.json").read_text())
        inputs = [item["inputs"] for item in artifact["abi"] if item["type"] == "constructor"]
        types = [_canonical(part) for parts in inputs for part in parts]
        code = bytes.fromhex(artifact["bytecode"]["object"][2:])
        return safes.create(self.chain, code + abi_encode(types, arguments), sender=DEPLOYER)

    def consortium(self, owners: int, threshold: int, *, datasets: int) -> Consortium:
        """What the factory makes, with one dataset each of the first owners, uncapped."""
        app = self.deploy("DstackApp", False)
        members = tuple(
            Owner(account=account(n), id=f"hospital-{n}", jurisdiction="DE", regimes=("GDPR",))
            for n in range(owners)
        )
        rows = [member.solidity() for member in members]
        address = self.deploy("Consortium", app, self.ledger, rows, threshold)
        self.chain.send(DEPLOYER, app, initialization(address, upgrades_disabled=True))
        ids = tuple(sorted(self.draw() for _ in range(datasets)))
        for n, dataset in enumerate(ids):
            arguments = dataset, self.draw(), self.draw(), self.draw(), 1968, "cohort"
            self.call(n, address, "registerDataset", *arguments)
        return Consortium(address, app, members, ids)

    def upstream_app(self, owner: str) -> str:
        """An app as dstack's own tools deploy it: a proxy, which its owner may upgrade."""
        implementation = self.deploy("UpstreamApp")
        return self.deploy("ERC1967Proxy", implementation, initialization(owner, upgrades_disabled=False))

    # --- contents -------------------------------------------------------------------------------

    def draw(self) -> bytes:
        """A hash not used before."""
        self._drawn += 1
        return bytes(keccak(text=f"draw {self._drawn}"))

    def study(self, house: Consortium) -> Study:
        """A study on all datasets, with a recipe not used before."""
        return Study(
            compose_hash=self.draw(),
            output_hash=self.draw(),
            privacy_hash=self.draw(),
            datasets=house.datasets,
            epsilon_micro=EPSILON_MICRO,
            delta_pico=DELTA_PICO,
            max_runs=RUNS,
            expiry=NOW + MONTH_S,
            epoch=self.epoch(house),
            nonce=int(self.chain.call("Consortium", house.address, "pinCount")),
        )

    def platform(self) -> Platform:
        """A gate not used before."""
        return Platform(
            gate_root=self.draw(),
            gate_signer=account(GATE),
            gate_compose=self.draw(),
            os_images=(self.draw(),),
            devices=(self.draw(),),
        )

    def epoch(self, house: Consortium) -> int:
        return int(self.chain.call("Consortium", house.address, "epoch"))

    def domain(self, house: Consortium) -> dict[str, Any]:
        """Where what owners sign counts."""
        return {"chain_id": self.chain.chain_id, "consortium": house.address}

    # --- calls ----------------------------------------------------------------------------------

    def call(self, sender: int, to: str, function: str, *arguments: Any) -> dict[str, Any]:
        contract = "Ledger" if to == self.ledger else "Consortium"
        return self.chain.send(sender, to, interface(contract).encode(function, *arguments))

    def cap(self, house: Consortium) -> None:
        """Each owner allows the runs of one study on its dataset."""
        for n, dataset in enumerate(house.datasets):
            cap = EPSILON_MICRO, DELTA_PICO, RUNS
            self.call(n, self.ledger, "setCap", house.address, dataset, cap)

    def adopt(self, house: Consortium, *, threshold: int) -> None:
        platform = self.platform().solidity()
        for n in range(threshold):
            self.call(n, house.address, "adoptPlatform", platform)

    def pin(self, house: Consortium, study: Study, *, owners: int) -> dict[str, Any]:
        """The first owners' signatures, collected off chain, handed in by a stranger."""
        signers, signatures = self.collect(
            owners, lambda owner: typed.approve_study(study, owner=owner, **self.domain(house))
        )
        arguments = study.solidity(), signers, signatures
        return self.call(STRANGER, house.address, "approveWithSignatures", *arguments)

    def collect(self, owners: int, message: Any) -> tuple[list[str], list[bytes]]:
        """Signers in the order that the contract wants, and the signature of each over `message(owner)`."""
        order = sorted(range(owners), key=lambda n: int(account(n), 16))
        return [account(n) for n in order], [sign(message(account(n)), n) for n in order]

    def run(self, house: Consortium, study: Study) -> tuple[Any, ...]:
        """`ILedger.Run`, not opened yet."""
        return (
            self.draw(),
            house.address,
            study.id,
            RUN_EPSILON_MICRO,
            RUN_DELTA_PICO,
            study.epoch,
            account(ENCLAVE),
            self.draw(),
        )

    def open(self, house: Consortium, study: Study) -> dict[str, Any]:
        run = self.run(house, study)
        return self.call(GATE, self.ledger, "open", run, study.solidity())

    def open_many(self, house: Consortium, study: Study, count: int) -> None:
        """Open runs in few blocks, without waiting for each."""
        first = int(self.chain.rpc("eth_getTransactionCount", account(GATE), "latest"), 16)
        self.chain.rpc("evm_setAutomine", False)
        for n in range(first, first + count):
            data = interface("Ledger").encode("open", self.run(house, study), study.solidity())
            transaction = {"from": account(GATE), "to": self.ledger, "data": "0x" + data.hex()}
            self.chain.rpc("eth_sendTransaction", transaction | {"nonce": hex(n), "gas": hex(OPEN_GAS_LIMIT)})
        while int(self.chain.rpc("eth_getTransactionCount", account(GATE), "latest"), 16) < first + count:
            self.chain.mine()
        self.chain.rpc("evm_setAutomine", True)

    def anchor(self, opened: dict[str, Any]) -> dict[str, Any]:
        """Anchor the receipt of a run, whose `open` gave this transaction receipt."""
        opening = Opening.of_abi(LocalChain.event(opened, "Ledger", "RunOpened")["opening"])
        shared = {name: value for name, value in vars(opening.run).items() if name in _RECEIPT_FIELDS}
        receipt = Receipt(
            compose_hash=opening.compose_hash,
            datasets_root=self.draw(),
            result_digest=self.draw(),
            statement_digest=self.draw(),
            **shared,
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


def with_another(members: Sequence[Owner]) -> tuple[Owner, ...]:
    """The same owners, the last of them under another account."""
    return (*members[:-1], replace(members[-1], account=account(STRANGER)))


def _canonical(field: dict[str, Any]) -> str:
    if field["type"].startswith("tuple"):
        inner = ",".join(_canonical(part) for part in field["components"])
        return f"({inner}){field['type'].removeprefix('tuple')}"
    return str(field["type"])
