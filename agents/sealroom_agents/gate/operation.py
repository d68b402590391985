# SPDX-License-Identifier: Apache-2.0
"""What goes on beside the gate's answers: periodic work, conditions, and states for metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealroom_agents.attestation import CollateralSource, PccsCollateral, good_until
from sealroom_agents.chain import ChainReader, FollowedChain
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.preflight import LOOK_S, Preflight
from sealroom_agents.gate.rollback import Rollback
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.service import Gate
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.telemetry.conditions import Conditions
from sealroom_agents.telemetry.metrics import GAS_BALANCE, GAS_NEEDED, VIEW_AGE, States
from sealroom_agents.telemetry.periodic import Periodic

COLLATERAL_EVERY_S = 600
"""Seconds between two looks whether collateral should be fetched ahead."""
COLLATERAL_JITTER_S = 120
"""So that the gates of the world do not ask Intel at the same moment."""


class Operation:
    """Made before the gate, which asks `ready`; started once the gate is there."""

    def __init__(
        self,
        *,
        chain: ChainReader,
        root: GateRoot,
        collateral: CollateralSource,
        audit: AuditLog,
        sessions: Sessions,
        state: Path,
        max_fee_wei: int,
        clock: Callable[[], int],
    ) -> None:
        self._chain = chain
        self._root, self._audit, self._sessions, self._clock = root, audit, sessions, clock
        self._gate: Gate | None = None
        self._followed: FollowedChain | None = None
        self._preflight = Preflight(
            chain=chain,
            payer=root.signer,
            max_fee_wei=max_fee_wei,
            state=state,
            rollback=Rollback(chain=chain, log=state / "audit.jsonl", signer=root.signer),
            collateral=lambda: root.shown.collateral,
            heard=lambda: None if self._gate is None else self._gate.heard,
            trouble=lambda: None if self._followed is None else self._followed.trouble,
            lease_seconds=root.policy.lease_seconds,
            heartbeat_seconds=root.policy.heartbeat_seconds,
            clock=clock,
        )
        self._periodic = Periodic()
        self._periodic.every(LOOK_S, self._preflight.look)
        if isinstance(collateral, PccsCollateral):
            self._periodic.every(COLLATERAL_EVERY_S, collateral.refresh, jitter_s=COLLATERAL_JITTER_S)

    @property
    def conditions(self) -> Conditions:
        """What the gate needs to be ready."""
        return self._preflight.conditions

    def ready(self, consortium: str, ledger: str) -> None:
        """Before a run is booked; see `Preflight.require`."""
        self._preflight.require(consortium, ledger)

    def start(self, gate: Gate, followed: FollowedChain) -> None:
        """Look for the first time, and go on."""
        self._gate, self._followed = gate, followed
        self._preflight.look()
        self._states(gate, followed).serve()
        self._periodic.start()

    def close(self) -> None:
        """Begin nothing any more."""
        self._periodic.close()

    def _states(self, gate: Gate, followed: FollowedChain) -> States:
        """What Prometheus reads of the gate at each scrape."""
        states = States()
        for name, about, read in (
            ("sealroom_gate_leases", "Runs whose lease goes on.", lambda: len(self._ages())),
            (
                "sealroom_gate_lease_age_seconds",
                "Longest time since a lease that goes on was renewed.",
                lambda: max(self._ages(), default=0),
            ),
            ("sealroom_gate_queue", "Runs that wait to be booked.", lambda: gate.waiting),
            ("sealroom_gate_halts", "Consortia that a revocation halts.", self._sessions.halts),
            ("sealroom_gate_audit_sequence", "Entries of the audit log.", lambda: self._audit.head.sequence),
            ("sealroom_gate_watcher_age_seconds", "Time since the watcher was heard.", self._watcher_age),
            ("sealroom_chain_view_age_seconds", VIEW_AGE, self._view_age),
            ("sealroom_gas_balance_wei", GAS_BALANCE, self._balance),
            ("sealroom_gas_needed_wei", GAS_NEEDED, self._needed),
            (
                "sealroom_collateral_until_seconds",
                "Unix time at which the collateral of the gate's machine ends.",
                lambda: good_until(self._root.shown.collateral),
            ),
        ):
            states.add(name, about, read)
        states.add_node_kinds(lambda: {one.node: one.kind for one in followed.states})
        states.add_nodes(lambda: self._chain.available)
        states.add_conditions(self.conditions)
        return states

    def _ages(self) -> list[int]:
        now = self._clock()
        seconds = self._root.policy.lease_seconds
        return [max(0, now - (until - seconds)) for until in self._sessions.running(now)]

    def _watcher_age(self) -> float | None:
        heard = None if self._gate is None else self._gate.heard
        return None if heard is None else self._clock() - heard

    def _view_age(self) -> float | None:
        return self._preflight.view_age_s

    def _balance(self) -> float | None:
        money = self._preflight.money
        return None if money is None else money.balance_wei

    def _needed(self) -> float | None:
        money = self._preflight.money
        return None if money is None else self._preflight.needed_wei(money)
