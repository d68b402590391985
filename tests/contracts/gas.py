# SPDX-License-Identifier: Apache-2.0
"""Gas of every call of the contracts, on a throw-away chain: four owners with a dataset each, three grant.

`measure()` gives the numbers; `python -m tests.contracts.gas` prints them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sealroom import typed
from sealroom.records import Receipt
from sealroom_agents.chain.contracts import interface
from tests.local_chain import LocalChain, Room, account, private_key

OWNERS = ("hospital-A", "hospital-B", "hospital-C", "hospital-D")
THRESHOLD = 3
MICRO = 1_000_000
MONTH_S = 30 * 24 * 3600
GATE, ENCLAVE, STRANGER = 10, 11, 12
"""Accounts of the local chain."""


@dataclass(frozen=True)
class Study:
    """`StudyLike` of sealroom.records."""

    compose_hash: bytes
    output_hash: bytes
    privacy_hash: bytes
    datasets: tuple[bytes, ...]
    epsilon_micro: int
    max_runs: int
    expiry: int
    epoch: int

    def solidity(self) -> tuple[Any, ...]:
        return tuple(vars(self).values())


@dataclass(frozen=True)
class Platform:
    """`PlatformLike` of sealroom.records."""

    gate_root: bytes
    gate_signer: str
    gate_compose: bytes
    os_images: tuple[bytes, ...]
    devices: tuple[bytes, ...]

    def solidity(self) -> tuple[Any, ...]:
        return tuple(vars(self).values())


def measure() -> dict[str, int]:
    """Gas used by each call, by the call's name; deployments first."""
    with LocalChain.start() as chain:
        return _Measurement(chain).all()


class _Measurement:
    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self._gas: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        self._deployments()
        room = self._chain.create_consortium(OWNERS, threshold=THRESHOLD)
        self._gas["Factory.create, 4 owners"] = self._last()
        self._platform(room)
        datasets = tuple(bytes([0xD0 + n]) * 32 for n in range(len(OWNERS)))
        for n, dataset in enumerate(datasets):
            arguments = dataset, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, 1968, f"cohort-{n}"
            self._call("Consortium.registerDataset", n, room.consortium, "registerDataset", *arguments)
            self._call("Ledger.setCap", n, room.ledger, "setCap", room.consortium, dataset, 9 * MICRO)
        study = self._study(room, datasets)
        self._approvals(room, study)
        self._run(room, study)
        self._replacement(room, study)
        self._call("Consortium.revoke", 2, room.consortium, "revoke", "consent withdrawn")
        self._signed_revocation(room)
        return self._gas

    # --- the calls, in the order of the story ---------------------------------------------------

    def _deployments(self) -> None:
        for name in ("DstackApp", "Ledger"):
            self._chain.deploy(name)
            self._gas[f"deploy {name}"] = self._last()
        self._chain.deploy("Factory", self._chain.ledger, self._chain.app_implementation)
        self._gas["deploy Factory"] = self._last()

    def _platform(self, room: Room) -> None:
        platform = Platform(b"\x10" * 32, account(GATE), b"\x11" * 32, (b"\x12" * 32,), (b"\x13" * 32,))
        for n in range(THRESHOLD):
            last = n == THRESHOLD - 1
            name = "Consortium.adoptPlatform, " + ("adopts" if last else "counts")
            self._call(name, n, room.consortium, "adoptPlatform", platform.solidity())
        platform = replace(platform, gate_root=b"\x14" * 32)
        owners = self._in_order(range(THRESHOLD))
        signatures = [
            typed.sign(
                typed.adopt_platform(
                    platform,
                    owner=account(n),
                    epoch=self._chain.epoch(room),
                    chain_id=self._chain.chain_id,
                    consortium=room.consortium,
                ),
                private_key(n),
            )
            for n in owners
        ]
        name = f"Consortium.adoptPlatformWithSignatures, {THRESHOLD} signatures"
        signers = [account(n) for n in owners]
        arguments = platform.solidity(), signers, signatures
        self._call(name, STRANGER, room.consortium, "adoptPlatformWithSignatures", *arguments)

    def _study(self, room: Room, datasets: tuple[bytes, ...]) -> Study:
        study = Study(
            compose_hash=b"\xc0" * 32,
            output_hash=b"\x01" * 32,
            privacy_hash=b"\x02" * 32,
            datasets=datasets,
            epsilon_micro=9 * MICRO,
            max_runs=3,
            expiry=self._chain.head_time() + MONTH_S,
            epoch=self._chain.epoch(room),
        )
        self._call("Consortium.propose, 4 datasets", 0, room.consortium, "propose", study.solidity())
        return study

    def _approvals(self, room: Room, study: Study) -> None:
        for n in range(len(OWNERS)):
            name = "Consortium.approve, " + ("pins" if n == len(OWNERS) - 1 else "counts")
            self._call(name, n, room.consortium, "approve", typed.study_id(study))

    def _run(self, room: Room, study: Study) -> None:
        run_id, grant = b"\x77" * 32, b"\x78" * 32
        study_id = typed.study_id(study)
        run = run_id, room.consortium, study_id, 3 * MICRO, study.epoch, account(ENCLAVE), grant
        self._call("Ledger.open, 4 datasets", GATE, room.ledger, "open", run)
        receipt = Receipt(
            run_id=run_id,
            consortium=room.consortium,
            study=study_id,
            compose_hash=study.compose_hash,
            datasets_root=b"\x20" * 32,
            result_digest=b"\x21" * 32,
            statement_digest=b"\x22" * 32,
            epsilon_micro=3 * MICRO,
            epoch=study.epoch,
            grant_hash=grant,
        )
        message = typed.receipt(receipt, chain_id=self._chain.chain_id, ledger=room.ledger)
        signature = typed.sign(message, private_key(ENCLAVE))
        content = tuple(vars(receipt).values())
        self._call("Ledger.anchor", STRANGER, room.ledger, "anchor", content, signature)

    def _replacement(self, room: Room, study: Study) -> None:
        """Another study takes the first one's place, approved in one transaction."""
        study = replace(study, compose_hash=b"\xc1" * 32)
        self._call("Consortium.propose, 4 datasets", 0, room.consortium, "propose", study.solidity())
        owners = self._in_order(range(len(OWNERS)))
        signatures = [
            typed.sign(
                typed.approve_study(
                    study, owner=account(n), chain_id=self._chain.chain_id, consortium=room.consortium
                ),
                private_key(n),
            )
            for n in owners
        ]
        name = f"Consortium.approveWithSignatures, {len(OWNERS)} signatures, replaces"
        arguments = typed.study_id(study), [account(n) for n in owners], signatures
        self._call(name, STRANGER, room.consortium, "approveWithSignatures", *arguments)

    def _signed_revocation(self, room: Room) -> None:
        epoch = self._chain.epoch(room)
        message = typed.revoke(
            "stop", owner=account(3), epoch=epoch, chain_id=self._chain.chain_id, consortium=room.consortium
        )
        arguments = account(3), "stop", epoch, typed.sign(message, private_key(3))
        name = "Consortium.revokeWithSignature, nothing active"
        self._call(name, STRANGER, room.consortium, "revokeWithSignature", *arguments)

    # --- measuring ------------------------------------------------------------------------------

    def _call(self, name: str, sender: int, to: str, function: str, *arguments: Any) -> None:
        """Send one call; of several under one name the first is kept, which fills empty storage."""
        contract = interface("Ledger" if name.startswith("Ledger") else "Consortium")
        receipt = self._chain.send(sender, to, contract.encode(function, *arguments))
        self._gas.setdefault(name, int(receipt["gasUsed"], 16))

    def _last(self) -> int:
        """Gas of the last transaction."""
        block = self._chain.rpc("eth_getBlockByNumber", "latest", False)
        return int(block["gasUsed"], 16)

    @staticmethod
    def _in_order(owners: range) -> list[int]:
        return sorted(owners, key=lambda n: int(account(n), 16))


if __name__ == "__main__":
    for call, gas in measure().items():
        print(f"{gas:>10,}  {call}")
