# SPDX-License-Identifier: Apache-2.0
"""The contracts on Ape's own chain, deployed once; Ape puts the chain back after each test."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import ape
import pytest
from ape.exceptions import ContractLogicError, CustomError
from eth_abi.abi import decode as abi_decode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from scripts._deploy import create_consortium, deploy_factory

from sealroom.model import Owner, Platform, Study

MICRO = 1_000_000
MONTH_S = 30 * 24 * 3600
SALT = bytes(32)

Reverts = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def reverts() -> Reverts:
    """`with reverts(contract.Error, field=value)`: exactly this custom error, with exactly these fields.

    `ape.reverts` also passes for another error, for a string and for a panic.
    """

    @contextmanager
    def strictly(error: Any, **fields: Any) -> Iterator[None]:
        with pytest.raises(ContractLogicError) as caught:
            yield
        selector, inputs = _told(caught.value, error)
        assert selector == error.abi.selector, f"{caught.value!r} came instead"
        assert inputs == fields

    return strictly


def _data(message: Any) -> bytes:
    """The node's bytes, which Ape hands on as they are, as hex, or as Python writes bytes."""
    if isinstance(message, str):
        if message.startswith(("b'", 'b"')):
            message = ast.literal_eval(message)
        elif message.startswith("0x"):
            message = bytes.fromhex(message[2:])
    return message if isinstance(message, bytes) else b""


def _told(raised: ContractLogicError, error: Any) -> tuple[str, dict[str, Any]]:
    """Which error came, with its fields.

    Ape names an error only while it remembers the type of the contract, and sometimes it does not: then the
    node's own bytes are read, as the expected error if they carry its selector.
    """
    if isinstance(raised, CustomError):
        return raised.abi.selector, raised.inputs
    data = _data(raised.revert_message)
    if data[:4] != keccak(text=error.abi.selector)[:4]:
        return repr(raised.revert_message), {}
    kinds = [item.canonical_type for item in error.abi.inputs]
    values = [
        to_checksum_address(value) if kind == "address" else value
        for kind, value in zip(kinds, abi_decode(kinds, data[4:]), strict=True)
    ]
    return error.abi.selector, dict(zip((item.name for item in error.abi.inputs), values, strict=True))


@dataclass(frozen=True)
class Room:
    """A consortium of three, two of whom grant, with all that belongs to it."""

    contract: Any
    app: Any
    ledger: Any
    factory: Any
    chain_id: int
    owners: tuple[Any, ...]
    """Accounts of the owners. The first two hold a dataset each."""
    gate: Any
    enclave: Any
    stranger: Any
    datasets: tuple[bytes, ...]
    platform: Platform

    @property
    def address(self) -> str:
        return str(self.contract.address)

    def study(self, **changes: Any) -> Study:
        """A study on both datasets, of this epoch."""
        fields: dict[str, Any] = {
            "compose_hash": b"\xc0" * 32,
            "output_hash": b"\x01" * 32,
            "privacy_hash": b"\x02" * 32,
            "datasets": self.datasets,
            "epsilon_micro": 3 * MICRO,
            "delta_pico": 0,
            "max_runs": 2,
            "expiry": ape.chain.pending_timestamp + MONTH_S,
            "epoch": self.contract.epoch(),
            "nonce": self.contract.pinCount(),
        }
        return Study(**(fields | changes))

    def propose(self, study: Study) -> bytes:
        """The third owner, who has no data in it, proposes."""
        self.contract.propose(study.solidity(), sender=self.owners[2])
        return study.id

    def pin(self, study: Study) -> bytes:
        """Both owners of the data approve, which makes the quorum."""
        study_id = self.propose(study)
        for owner in self.owners[:2]:
            self.contract.approve(study.solidity(), sender=owner)
        assert self.contract.isLive(study_id)
        return study_id


@pytest.fixture
def room(deployed: Room) -> Room:
    """The consortium. Ape forgets types when it puts the chain back, and could then not name an error."""
    for contract in (deployed.contract, deployed.ledger, deployed.app, deployed.factory):
        ape.chain.contracts[contract.address] = contract.contract_type
    return deployed


def _compile_what_contains_a_change(project: Any) -> None:
    """Ape compiles a changed source, but not one that holds its code, as the deployer holds Consortium's."""
    held, holder = (
        str(getattr(project, name).contract_type.deployment_bytecode.bytecode).removeprefix("0x")
        for name in ("Consortium", "ConsortiumDeployer")
    )
    if held not in holder:
        project.load_contracts(use_cache=False)


@pytest.fixture(scope="session")
def deployed(project: Any, accounts: Any) -> Room:
    """The consortium, with a platform adopted and two datasets registered under a cap of ε 3."""
    _compile_what_contains_a_change(project)
    owners, (gate, enclave, operator, stranger) = tuple(accounts[:3]), accounts[3:7]
    factory = deploy_factory(project, operator)
    members = [
        Owner(account=account.address, id=f"hospital-{letter}", jurisdiction=jurisdiction, regimes=("GDPR",))
        for account, letter, jurisdiction in zip(owners, "ABC", ("DE", "FR", "DE"), strict=True)
    ]
    contract, app, _ = create_consortium(project, operator, factory, owners=members, threshold=2, salt=SALT)
    platform = Platform(
        gate_root=b"\x10" * 32,
        gate_signer=gate.address,
        gate_compose=b"\x11" * 32,
        os_images=(b"\x12" * 32,),
        devices=(b"\x13" * 32,),
    )
    for owner in owners[:2]:
        contract.adoptPlatform(platform.solidity(), sender=owner)
    ledger = project.Ledger.at(factory.ledger())
    datasets = (b"\xda" * 32, b"\xdb" * 32)
    for owner, dataset, name in zip(owners[:2], datasets, ("cohort-A", "cohort-B"), strict=True):
        contract.registerDataset(dataset, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, 1000, name, sender=owner)
        ledger.setCap(contract, dataset, (3 * MICRO, 0, 10), sender=owner)
    return Room(
        contract=contract,
        app=app,
        ledger=ledger,
        factory=factory,
        chain_id=project.provider.chain_id,
        owners=owners,
        gate=gate,
        enclave=enclave,
        stranger=stranger,
        datasets=datasets,
        platform=platform,
    )
