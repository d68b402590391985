# SPDX-License-Identifier: Apache-2.0
"""From a grant to its opening on chain: what spends ε and δ, before any key leaves.

The booking is written into the audit log, sent, and looked for at a quorum of nodes.
"""

from __future__ import annotations

from sealroom import typed
from sealroom.codes import Code
from sealroom.key_release import Grant
from sealroom.model import Opening, Run
from sealroom_agents.chain import TxResult
from sealroom_agents.errors import ChainError, Refused, TransactionError
from sealroom_agents.facts import ChainView, LatestView
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.booking import OPEN_WITHIN_S, Bookings, Order
from sealroom_agents.gate.heartbeats import Chain
from sealroom_agents.gate.notes import BOOKING, booking_facts
from sealroom_agents.gate.opening import opened_as
from sealroom_agents.gate.refusals import STUDY_ENDED, booking_refused, chain_refused
from sealroom_agents.gate.views import LAG_TIMEOUT_S, Views


class Spending:
    """Books the runs that were granted. Thread safe."""

    def __init__(self, *, chain: Chain, bookings: Bookings, views: Views, audit: AuditLog) -> None:
        self._chain = chain
        self._bookings = bookings
        self._views = views
        self._audit = audit

    def open_run(
        self, grant: Grant, view: ChainView, latest: LatestView, grant_hash: bytes
    ) -> tuple[TxResult, Opening, float]:
        """Book the run of a grant, and wait until a quorum of nodes shows it; also the moment at which it was
        booked.

        Raises `Refused`: `busy`, the codes of the ledger and of the chain, and `revoked`. From the moment at
        which the run is booked its ε is spent, whatever is refused then.
        """
        if view.study is None:  # the policy has refused already
            raise Refused(Code.NOT_APPROVED, "no study is pinned")
        run = Run(
            run_id=grant.run_id,
            epsilon_micro=grant.epsilon_micro,
            delta_pico=grant.delta_pico,
            enclave_signer=grant.enclave_signer,
            grant_hash=grant_hash,
            open_before=self._views.newest(latest) + OPEN_WITHIN_S,
        )
        order = Order(grant.ledger, view.consortium, view.study, run)
        # First of all: what is on chain is in the log, and where nothing can be written nothing is spent.
        self._audit.append(BOOKING, facts=booking_facts(view.consortium, run))
        try:
            opened = self._bookings.open_run(order)
        except ChainError as error:
            if isinstance(error, TransactionError) and error.revert == STUDY_ENDED:
                # Something ended the study since the view: most likely a revocation,
                # which then has its own code.
                self._views.raise_if_revoked(view.consortium)
            raise booking_refused(error) from error
        booked = self._chain.moment()
        opening = opened_as(order, grant.standing, opened)
        self._require_booked(opening)
        return opened.sent, opening, booked

    def _require_booked(self, opening: Opening) -> None:
        """A quorum of nodes keeps the hash of this run: the node that sent the
        transaction is not enough (CH-03)."""
        try:
            found = self._chain.await_booked(opening.consortium, opening.run.run_id, LAG_TIMEOUT_S)
        except ChainError as error:
            raise chain_refused(error) from error
        if found != typed.opening_hash(opening):
            raise Refused(Code.CHAIN_DISAGREES, "not every node shows the run as booked")
