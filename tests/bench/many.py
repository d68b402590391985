# SPDX-License-Identifier: Apache-2.0
"""Many consortia on a chain in a handful of blocks: what belongs to one step is mined together.

A node that takes a block for each transaction needs minutes and thousands of blocks for as many."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.local_chain import OPERATOR, LocalChain, Room, account, creation_code
from tests.outside import CAP_MICRO, GATE, Lab

from sealroom.model import Limits, Platform
from sealroom_agents.chain.contracts import interface

GAS = 8_000_000
"""Gas that each transaction may take."""
ROOM_GAS = 10**11
"""Gas of a block meanwhile."""
BLOCK_GAS = 30_000_000
"""Gas of a block as anvil has it."""
KEPT_STATES = 64
"""States of the chain that its node keeps: who follows it asks for none that is older."""
PAGE = 100
"""Transactions that are mined together."""

Call = tuple[str, str, bytes]
"""Sender, receiver, data."""


def declared(chain: LocalChain, like: Room, count: int) -> list[Room]:
    """So many consortia that one account alone has declared, with the owners of this one."""
    contract, before = interface("Factory"), chain.block_number()
    owners = [owner.solidity() for owner in like.owners]

    def create() -> Call:
        arguments = owners, like.threshold, secrets.token_bytes(32), creation_code("Consortium")
        return account(OPERATOR), like.factory, contract.encode("create", *arguments)

    _mined(chain, count, lambda _: [create()])
    wanted = {"address": like.factory, "fromBlock": hex(before + 1), "toBlock": "latest"}
    made = []
    for log in chain.rpc("eth_getLogs", wanted):
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        event = contract.decode_log(topics, bytes.fromhex(log["data"][2:]))
        if event is not None and event[0] == "ConsortiumCreated":
            found = event[1]
            made.append(replace(like, consortium=found["consortium"].lower(), app=found["app"].lower()))
    if len(made) != count:
        raise RuntimeError(f"{len(made)} of {count} consortia were made")
    return made


def live(lab: Lab, count: int) -> list[Room]:
    """So many more consortia, each with a live study like the lab's, of the same datasets."""
    chain = lab.chain
    rooms = declared(chain, lab.room, count)
    vote, ledger = interface("Consortium"), interface("Ledger")
    accounts = [owner.account for owner in lab.room.owners[: lab.room.threshold]]

    def adopt(number: int) -> list[Call]:
        room = rooms[number]
        platform = Platform(
            gate_root=secrets.token_bytes(32),
            gate_signer=account(GATE),
            gate_compose=secrets.token_bytes(32),
            policy_hash=secrets.token_bytes(32),
            os_images=(secrets.token_bytes(32),),
            devices=(secrets.token_bytes(32),),
        )
        validity = chain.validity(chain.state(room).charter)
        data = vote.encode("adoptPlatform", platform.solidity(), validity.solidity(), [])
        return [(one, room.consortium, data) for one in accounts]

    def allow(number: int) -> list[Call]:
        caps = {
            "epsilon_micro": CAP_MICRO,
            "delta_pico": 10**6,
            "epsilon_per_day": CAP_MICRO,
            "runs_per_day": 99,
        }
        limits = Limits(**caps).solidity()
        there = rooms[number].consortium
        return [
            (account(data.owner), lab.room.ledger, ledger.encode("allow", data.id, there, limits))
            for data in lab.datasets
        ]

    def approve(number: int) -> list[Call]:
        study = chain.study(replace(lab, room=rooms[number]).draft()).solidity()
        return [(one, rooms[number].consortium, vote.encode("approve", study, [])) for one in accounts]

    for step in (adopt, allow, approve):
        _mined(chain, count, step)
    return rooms


def _mined(chain: LocalChain, count: int, step: Callable[[int], Sequence[Call]]) -> None:
    with _together(chain):
        for start in range(0, count, PAGE):
            sent = [
                chain.rpc(
                    "eth_sendTransaction", {"from": by, "to": to, "data": "0x" + data.hex(), "gas": hex(GAS)}
                )
                for number in range(start, min(start + PAGE, count))
                for by, to, data in step(number)
            ]
            chain.mine()
            for tx in sent:
                receipt: dict[str, Any] | None = chain.rpc("eth_getTransactionReceipt", tx)
                if receipt is None or int(receipt["status"], 16) != 1:
                    raise RuntimeError(f"{tx} was not mined, or was refused")


@contextmanager
def _together(chain: LocalChain) -> Iterator[None]:
    """No block but those that are asked for, and room for everything in each."""
    chain.rpc("evm_setAutomine", False)
    chain.rpc("anvil_setBlockGasLimit", hex(ROOM_GAS))
    try:
        yield
    finally:
        chain.rpc("anvil_setBlockGasLimit", hex(BLOCK_GAS))
        chain.rpc("evm_setAutomine", True)
