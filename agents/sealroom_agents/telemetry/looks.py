# SPDX-License-Identifier: Apache-2.0
"""Looks that runner, watcher and console share: at the chain, the database, and the account that pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.fees import PRIORITY_FEE_WEI
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import Conditions, Look
from sealroom_agents.telemetry.metrics import GAS_BALANCE, GAS_NEEDED, VIEW_AGE, States
from sealroom_agents.telemetry.periodic import Periodic

if TYPE_CHECKING:
    from sealroom_agents.index import Progress

EVERY_S = 15.0
"""Seconds between two looks."""
ANCHORING_GAS = 500_000
"""Gas of a transaction that anchors one receipt."""
SPARE_TRANSACTIONS = 3
"""So many must be paid for."""


def at_chain(chain: ChainReader) -> Look:
    """Enough endpoints answer, alike and recently."""

    def work() -> tuple[bool, str]:
        return True, f"block {chain.finalized_head().number} is final"

    return Look("chain", work, hint="look at the RPC endpoints")


def at_database(store: Store) -> Look:
    """It answers."""

    def work() -> tuple[bool, str]:
        return True, f"{store.open_runs()} runs have not ended"

    return Look("database", work, hint="look at the database")


def at_index(read: Callable[[], Progress | None]) -> Look:
    """Some process reads the chain on, and has reached the newest blocks."""

    def work() -> tuple[bool, str]:
        progress = read()
        if progress is None or not progress.ready:
            return False, "the chain is read for the first time"
        return not progress.late, progress.late or f"read up to block {progress.number}"

    return Look("index", work, hint="wait, or look at the log of the console that reads on: sealroom doctor")


class GasLook(Look):
    """The account can pay for the next transactions."""

    def __init__(self, chain: ChainReader, payer: str, *, max_fee_wei: int) -> None:
        self.balance_wei: int | None = None
        """What it had at the last look; `None` before the first."""
        self.needed_wei: int | None = None
        """What it must have."""

        def work() -> tuple[bool, str]:
            money = chain.gas_money(payer)
            price = min(2 * money.base_fee_wei + PRIORITY_FEE_WEI, max_fee_wei)
            needed = SPARE_TRANSACTIONS * ANCHORING_GAS * price
            self.balance_wei, self.needed_wei = money.balance_wei, needed
            message = f"{payer} has {money.balance_wei / 1e18:.6g} ether, and needs {needed / 1e18:.6g}"
            return money.balance_wei >= needed, message

        super().__init__("balance", work, hint=f"fund {payer}")


def periodic(*looks: Look) -> Periodic:
    """Work that looks again and again, from now on once it is started."""
    jobs = Periodic()
    for one in looks:
        jobs.every(EVERY_S, one.look, now=True)
    return jobs


def shown(chain: ChainReader, conditions: Conditions, *, view: Look, gas: GasLook | None = None) -> None:
    """Have conditions, endpoints, the age of the last good look at the chain, and what the account has among
    the metrics of this process."""
    states = States()
    states.add_nodes(lambda: chain.available)
    states.add_conditions(conditions)
    states.add("sealroom_chain_view_age_seconds", VIEW_AGE, lambda: view.age_s)
    if gas is not None:
        states.add("sealroom_gas_balance_wei", GAS_BALANCE, lambda: gas.balance_wei)
        states.add("sealroom_gas_needed_wei", GAS_NEEDED, lambda: gas.needed_wei)
    states.serve()
