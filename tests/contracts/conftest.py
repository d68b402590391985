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

from sealroom.model import Limits, Owner, Platform, State, Study, Validity, Version, dataset_id

MICRO = 1_000_000
MONTH_S = 30 * 24 * 3600
SALT = bytes(32)
VERSION = Version(
    header=b"\x01" * 32,
    index=b"\x02" * 32,
    key_commitment=b"\x03" * 32,
    schema_hash=b"\x04" * 32,
    rows=1000,
)
"""The sealed file of both datasets."""

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
    lens: Any
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
        """A study on both datasets, on the present basis."""
        state = self.state()
        fields: dict[str, Any] = {
            "compose_hash": b"\xc0" * 32,
            "output_hash": b"\x01" * 32,
            "privacy_hash": b"\x02" * 32,
            "datasets": self.datasets,
            "versions": (0, 0),
            "epsilon_micro": 3 * MICRO,
            "delta_pico": 0,
            "max_runs": 2,
            "expiry": ape.chain.pending_timestamp + MONTH_S,
            "basis": state.basis,
            "nonce": state.nonce,
        }
        return Study(**(fields | changes))

    def state(self) -> State:
        """Where the consortium stands."""
        return State.of_abi(self.lens.state(self.contract))

    def propose(self, study: Study) -> bytes:
        """The third owner, who has no data in it, approves first, which proposes it."""
        self.contract.approve(study.solidity(), [], sender=self.owners[2])
        return study.id

    def pin(self, study: Study) -> bytes:
        """Both holders of the data approve, which makes the quorum."""
        for owner in self.owners[:2]:
            self.contract.approve(study.solidity(), [], sender=owner)
        assert self.contract.isLive(study.id)
        return study.id

    def validity(self, follows: bytes) -> Validity:
        """Votes that follow a digest and count for a month."""
        return Validity(expiry=ape.chain.pending_timestamp + MONTH_S, follows=follows)


@pytest.fixture
def room(deployed: Room) -> Room:
    """The consortium. Ape forgets types when it puts the chain back, and could then not name an error."""
    for contract in (deployed.contract, deployed.ledger, deployed.app, deployed.factory, deployed.lens):
        ape.chain.contracts[contract.address] = contract.contract_type
    return deployed


@pytest.fixture(scope="session")
def deployed(project: Any, accounts: Any) -> Room:
    """The consortium, with a platform adopted and two datasets of which it may spend ε 3."""
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
        policy_hash=b"\x14" * 32,
        os_images=(b"\x12" * 32,),
        devices=(b"\x13" * 32,),
    )
    validity = Validity(expiry=ape.chain.pending_timestamp + MONTH_S, follows=bytes(contract.charter()))
    for owner in owners[:2]:
        contract.adoptPlatform(platform.solidity(), validity.solidity(), [], sender=owner)
    ledger = project.Ledger.at(factory.ledger())
    lens = project.Lens.at(ledger.lens())
    limits = Limits(epsilon_micro=3 * MICRO, delta_pico=0, epsilon_per_day=3 * MICRO, runs_per_day=10)
    datasets = []
    for owner, name in zip(owners[:2], ("cohort-A", "cohort-B"), strict=True):
        ledger.register(name, VERSION.solidity(), 3 * MICRO, 0, sender=owner)
        datasets.append(dataset_id(owner.address.lower(), name))
        ledger.allow(datasets[-1], contract, limits.solidity(), sender=owner)
    return Room(
        contract=contract,
        app=app,
        ledger=ledger,
        factory=factory,
        lens=lens,
        chain_id=project.provider.chain_id,
        owners=owners,
        gate=gate,
        enclave=enclave,
        stranger=stranger,
        datasets=tuple(sorted(datasets)),
        platform=platform,
    )
