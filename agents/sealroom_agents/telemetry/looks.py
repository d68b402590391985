# SPDX-License-Identifier: Apache-2.0
"""Looks that runner, watcher and console share: at the chain, the database, and the account that pays."""

from __future__ import annotations

from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.fees import PRIORITY_FEE_WEI
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import Conditions, Look
from sealroom_agents.telemetry.metrics import States
from sealroom_agents.telemetry.periodic import Periodic

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


def at_gas_money(chain: ChainReader, payer: str) -> Look:
    """The account can pay for the next transactions."""

    def work() -> tuple[bool, str]:
        money = chain.gas_money(payer)
        needed = SPARE_TRANSACTIONS * ANCHORING_GAS * (2 * money.base_fee_wei + PRIORITY_FEE_WEI)
        message = f"{payer} has {money.balance_wei / 1e18:.6g} ether, and needs {needed / 1e18:.6g}"
        return money.balance_wei >= needed, message

    return Look("balance", work, hint=f"fund {payer}")


def periodic(*looks: Look) -> Periodic:
    """Work that looks again and again, from now on once it is started."""
    jobs = Periodic()
    for one in looks:
        jobs.every(EVERY_S, one.look, now=True)
    return jobs


def shown(chain: ChainReader, conditions: Conditions) -> None:
    """Have conditions and endpoints among the metrics of this process."""
    states = States()
    states.add_nodes(lambda: chain.available)
    states.add_conditions(conditions)
    states.serve()
