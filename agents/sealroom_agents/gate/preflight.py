# SPDX-License-Identifier: Apache-2.0
"""The gate's conditions: whether it can take a run through to its end.

A run's ε is booked before its keys leave, and nothing is refunded. So what can be known to fail later, for a
reason that is the operator's and not the run's, refuses before: `gate-not-ready`, for now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.attestation import good_until
from sealroom_agents.chain import GasMoney, Head
from sealroom_agents.chain.fees import PRIORITY_FEE_WEI
from sealroom_agents.errors import ChainError, Refused
from sealroom_agents.gate.rollback import HINT, Rollback
from sealroom_agents.telemetry.conditions import Check, Condition, Conditions, disk

PROBE = "probe"
"""Name of an empty file that each look writes anew, to see that the disk takes it."""
LOOK_S = 10.0
"""Seconds between two looks at the chain."""
LOOK_AGE_S = 60.0
"""Seconds after which a look says nothing any more."""
FULL_OPENING_GAS = 4_000_000
"""Gas of a transaction that opens the most runs at once, with few datasets."""
SPARE_TRANSACTIONS = 3
"""So many of them must be paid for: one that is replaced by a dearer one, and the next one."""


class Chain(Protocol):
    """What is looked at; `sealroom_agents.chain.ChainReader` answers."""

    def finalized_head(self) -> Head:
        """The newest block that is agreed to be final, after the checks that the chain goes on."""
        ...

    def gas_money(self, address: str) -> GasMoney:
        """What an account has, and what gas costs, after the checks that the head is recent."""
        ...


class Preflight:
    """Conditions of one gate. Thread safe."""

    def __init__(
        self,
        *,
        chain: Chain,
        payer: str,
        max_fee_wei: int,
        state: Path,
        rollback: Rollback,
        collateral: Callable[[], Mapping[str, Any]],
        heard: Callable[[], int | None],
        trouble: Callable[[], str | None],
        lease_seconds: int,
        heartbeat_seconds: int,
        clock: Callable[[], int],
    ) -> None:
        """`payer`: the account that pays for openings. `collateral`: that of the gate's own machine. `heard`:
        when the watcher was heard last. `trouble`: which part of the chain's follower an error has ended.
        `lease_seconds` and `heartbeat_seconds`: the platform policy's."""
        self._chain = chain
        self._payer = payer
        self._max_fee_wei = max_fee_wei
        self._rollback = rollback
        self._collateral = collateral
        self._heard = heard
        self._trouble = trouble
        self._lease_seconds, self._heartbeat_seconds = lease_seconds, heartbeat_seconds
        self._clock = clock
        self._state = state
        self._writable = True
        self._money: GasMoney | None = None
        self._looked_at = 0.0
        self._why = "nobody has looked yet"
        room = disk(state, committed=lambda: self._writable)
        self.conditions = Conditions(
            (
                self._view,
                self._follower,
                self._balance,
                self._watcher,
                self._fresh_collateral,
                room,
                self._audit,
            )
        )
        # Chain, watcher and collateral are judged with the run itself, and the log by `rollback`.
        self._operators: tuple[Check, ...] = (self._balance, room)

    def look(self) -> None:
        """Look at chain and disk. Raises nothing for what they do: the conditions tell."""
        try:
            write_atomic(self._state / PROBE, b"", mode=PRIVATE, replace=True)
            self._writable = True
        except OSError:
            self._writable = False
        try:
            self._chain.finalized_head()
            self._money = self._chain.gas_money(self._payer)
            self._looked_at = time.monotonic()
        except ChainError as error:
            self._why = error.message

    @property
    def money(self) -> GasMoney | None:
        """What the last look found, while it is young enough."""
        return self._money if time.monotonic() - self._looked_at <= LOOK_AGE_S else None

    @property
    def view_age_s(self) -> float | None:
        """Seconds since the last look that saw a recent head; `None` before the first."""
        return None if self._money is None else time.monotonic() - self._looked_at

    def needed_wei(self, money: GasMoney) -> int:
        """What the account must have: gas of full transactions at twice the present price, or the ceiling."""
        price = min(2 * money.base_fee_wei + PRIORITY_FEE_WEI, self._max_fee_wei)
        return SPARE_TRANSACTIONS * FULL_OPENING_GAS * price

    def require(self, consortium: str, ledger: str) -> None:
        """Before a run is booked. Raises `Refused`: `gate-not-ready` that names the condition,
        `state-rolled-back`, and the codes of the chain."""
        self._rollback.require_newest(consortium, ledger)
        for check in self._operators:
            if not (found := check()).ok:
                raise Refused(
                    Code.GATE_NOT_READY, f"the gate is not ready ({found.name}): {found.message}", found.hint
                )

    # --- the conditions -------------------------------------------------------------------------

    def _view(self) -> Condition:
        age = self.view_age_s
        if age is None or age > LOOK_AGE_S:
            return Condition(
                "chain", False, f"no recent block that enough endpoints agree on: {self._why}",
                "look at the RPC endpoints",
            )  # fmt: skip
        return Condition("chain", True, f"a recent block was seen {age:.0f} s ago")

    def _follower(self) -> Condition:
        trouble = self._trouble()
        hint = "it goes on by itself; report what the log says of the error"
        return Condition("follower", trouble is None, trouble or "it follows the chain", hint)

    def _balance(self) -> Condition:
        money = self.money
        if money is None:
            return Condition("balance", False, "not known: the chain cannot be read", "look at the endpoints")
        needed = self.needed_wei(money)
        message = f"{self._payer} has {_ether(money.balance_wei)}, and needs {_ether(needed)}"
        return Condition("balance", money.balance_wei >= needed, message, f"fund {self._payer}")

    def _watcher(self) -> Condition:
        heard = self._heard()
        hint = "start the watcher; compare its token and gate URL"
        if heard is None:
            return Condition("watcher", False, "nothing was heard of it since the start", hint)
        age = max(0, self._clock() - heard)
        return Condition("watcher", age <= self._heartbeat_seconds, f"heard {age} s ago", hint)

    def _fresh_collateral(self) -> Condition:
        until = good_until(self._collateral())
        left = 0 if until is None else until - self._clock()
        message = f"the collateral of the gate's machine is valid for {max(0, left) // 3600} hours"
        return Condition("collateral", left > self._lease_seconds, message, "look at the PCCS (--pccs)")

    def _audit(self) -> Condition:
        trouble = self._rollback.trouble
        return Condition("audit", trouble is None, trouble or "nothing on chain is ahead of the log", HINT)


def _ether(wei: int) -> str:
    return f"{wei / 10**18:.6g} ether"
