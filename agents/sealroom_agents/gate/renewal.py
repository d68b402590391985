# SPDX-License-Identifier: Apache-2.0
"""Renewing a lease: whether the run still has what it was granted by, and whether its opening is final."""

from __future__ import annotations

from collections.abc import Callable

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import KeyReleaseError
from sealroom.key_release import LeaseReply, LeaseRequest, sign_renewal, verify_lease
from sealroom_agents.errors import CHAIN_CODES, Refused
from sealroom_agents.gate import policy
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.opening import Openings
from sealroom_agents.gate.refusals import refused
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Lease, Sessions
from sealroom_agents.gate.views import Views


class Renewals:
    """Renews leases. Thread safe."""

    def __init__(
        self,
        *,
        chain_id: int,
        root: GateRoot,
        views: Views,
        openings: Openings,
        sessions: Sessions,
        audit: AuditLog,
        clock: Callable[[], int],
    ) -> None:
        self._chain_id = chain_id
        self._root = root
        self._views = views
        self._openings = openings
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    def renew(self, request: LeaseRequest) -> LeaseReply:
        """The lease's next span. Raises `Refused`."""
        lease = self._sessions.lease(request.consortium, request.run_id)
        if lease is None:
            raise Refused(Code.LEASE_ENDED, "this gate granted no such run")
        try:
            verify_lease(request, signer=lease.signer, chain_id=self._chain_id, consortium=lease.consortium)
        except KeyReleaseError as error:
            raise Refused(Code.MALFORMED, error.message) from error
        if lease.ended is not None:
            raise Refused(Code.LEASE_ENDED, f"the lease ended: {lease.ended}")
        if self._clock() > lease.until:
            self._sessions.end(lease.consortium, lease.run_id, Code.LEASE_ENDED)
            raise Refused(Code.LEASE_ENDED, "the lease was not renewed in time")
        if request.counter <= lease.counter:
            raise Refused(Code.LEASE_COUNTER, f"counter {request.counter} was used before")
        opening_final = self._opening_final(lease)
        seconds = self._root.policy.lease_seconds
        until = self._clock() + seconds
        self._sessions.prolong(lease.consortium, lease.run_id, counter=request.counter, until=until)
        return sign_renewal(
            request,
            lease_seconds=seconds,
            until=until,
            opening_final=opening_final,
            chain_id=self._chain_id,
            consortium=lease.consortium,
            private_key=self._root.signing_key,
        )

    def _opening_final(self, lease: Lease) -> bool:
        """Whether the run's opening is final. Raises `Refused` when the lease is not renewed."""
        view, latest = self._views.both(lease.consortium)
        facts = {"runId": to_hex(lease.run_id), "consortium": lease.consortium}
        refusal = policy.renew(
            view, latest, self._views.config(lease.consortium), study=lease.study, standing=lease.standing
        )
        try:
            if refusal is not None:
                raise refused(refusal)
            opening = self._openings.state(lease, view, now=self._views.newest(latest))
        except Refused as no:
            if not no.code.transient:
                self._sessions.end(lease.consortium, lease.run_id, no.code)
            if no.code not in CHAIN_CODES:
                self._audit.append("lease-refused", facts={**facts, "code": no.code, "message": no.message})
            raise
        if opening.moved is not None:
            self._sessions.moved(lease.consortium, lease.run_id, opening.moved)
            opened_at, number = opening.moved.opened_at, opening.moved.number
            self._audit.append("opening-moved", facts={**facts, "openedAt": opened_at, "number": number})
        return opening.final
