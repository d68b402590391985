# SPDX-License-Identifier: Apache-2.0
"""What the gate does with each message; no HTTP here.

Evidence is handled in this order, and each step can only refuse:

1. parse, bounded                       6. open the wraps with the root key, compare key commitments
2. use the nonce up                     7. sign the grant, book it in the ledger together with others that
3. quote, report data, event log           wait, until the transaction is mined
4. one finalized view, one latest       8. read the latest state again: revoked meanwhile? (CH-06)
5. `policy.decide`                      9. write the audit log, begin the lease, seal the keys to the enclave

So ε and δ are booked before any key leaves, and a run that is refused after step 7 has spent them: nothing
is refunded. A run that the ledger has not opened within a minute is not opened any more, and costs nothing.
Each renewal looks at the booking again, and says whether it is final (`gate.opening`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import KeyReleaseError
from sealroom.key_release import (
    WATCH_VERSION,
    Challenge,
    EvidenceMessage,
    GateIdentity,
    Grant,
    GrantReply,
    Hello,
    LeaseReply,
    LeaseRequest,
    Opened,
    Refusal,
    WatchReport,
    evidence_digest,
    report_data,
    sign_challenge,
    sign_grant,
    sign_renewal,
    transcript_0,
    transcript_1,
    verify_lease,
)
from sealroom_agents.attestation import CollateralSource, TrustRoot, require_made_for, verify_evidence
from sealroom_agents.errors import (
    CHAIN_CODES,
    AttestationError,
    Refused,
)
from sealroom_agents.facts import ChainView, Evidence, LatestView
from sealroom_agents.gate import batch, cases, policy
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.booking import Bookings, Opener
from sealroom_agents.gate.counters import GRANTS, stage
from sealroom_agents.gate.heartbeats import Chain, Watch
from sealroom_agents.gate.nonces import Nonces
from sealroom_agents.gate.notes import STARTED, granted_facts
from sealroom_agents.gate.opening import Openings
from sealroom_agents.gate.refusals import (
    parsed,
    refused,
)
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Lease, Sessions
from sealroom_agents.gate.spending import Spending
from sealroom_agents.gate.views import Views
from sealroom_agents.gate.wraps import OpenedKey, open_wraps, present, sealed_keys
from sealroom_agents.telemetry.logs import about

CHALLENGE_LIFE_S = 60
"""Seconds within which evidence must follow its challenge."""
NONCE_SIZE = 32
JUDGED_AT_ONCE = 2
"""Evidences that are computed on at once. Python computes one at a time: more of them would only take turns
with the threads that renew leases."""

_log = logging.getLogger(__name__)


class Sender(Opener, batch.Sender, Protocol):
    """What sends the gate's transactions; `sealroom_agents.chain.Transactor` does."""


@dataclass(frozen=True)
class GateConfig:
    """What an operator decides."""

    chain_id: int
    """The one chain that this gate serves."""
    lease_seconds: int = 30
    """How long a grant lives unless renewed, 1 to 60."""
    consortia: frozenset[str] = frozenset()
    """Consortia that it serves; empty serves all that adopted it."""


class Gate:
    """The gate. Thread safe."""

    def __init__(
        self,
        *,
        config: GateConfig,
        root: GateRoot,
        chain: Chain,
        sender: Sender,
        trust: TrustRoot,
        collateral: CollateralSource,
        sessions: Sessions,
        audit: AuditLog,
        clock: Callable[[], int],
        ready: Callable[[str, str], None] = lambda consortium, ledger: None,
        fault: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready`: called with consortium and ledger before a run is booked; raises `Refused` where the
        operator has to do something first. `fault`: called when an error that nobody foresaw has ended the
        bookings; the process is to end."""
        self._config = config
        self._root = root
        self._chain = chain
        self._sender = sender
        self._bookings = Bookings(sender, note=lambda: audit.head.digest, fault=fault)
        self._openings = Openings(chain, self._bookings, emit=root.policy.emit)
        self._trust = trust
        self._collateral = collateral
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._nonces = Nonces()
        self._judging = threading.BoundedSemaphore(JUDGED_AT_ONCE)
        self._ready = ready
        self._watch = Watch(clock=clock)
        self._views = Views(
            chain=chain,
            root=root,
            sessions=sessions,
            audit=audit,
            watch=self._watch,
            lease_seconds=config.lease_seconds,
            clock=clock,
        )
        self._spending = Spending(chain=chain, bookings=self._bookings, views=self._views, audit=audit)

    def close(self) -> None:
        """Book nothing any more."""
        self._bookings.close()

    def require_adopted_policy(self) -> None:
        """Refuse to start on another platform policy than the one with which owners adopted this gate.

        Asks about the consortia that it is to serve, and those for which it released keys. Raises
        `ConfigurationError` `platform-policy-mismatch`, and `ChainError`.
        """
        self._views.require_adopted_policy(self._config.consortia | self._sessions.consortia())

    def started(self) -> None:
        """Write into the audit log who starts here."""
        facts = {
            "signer": self._root.signer,
            "gateRoot": to_hex(self._root.fingerprint),
            "policyHash": to_hex(self._root.policy.hash),
        }
        self._write(STARTED, facts)
        _log.info("signer %s, root %s, platform policy %s", *facts.values())

    @property
    def heard(self) -> int | None:
        """When the watcher was heard last, unix seconds; `None` since the start."""
        return self._watch.heard

    @property
    def waiting(self) -> int:
        """How many runs wait to be booked."""
        return self._bookings.waiting

    def identity(self) -> GateIdentity:
        """Who this gate is, with its proof."""
        return self._root.identity()

    def platform_policy(self) -> bytes:
        """The platform policy by which it judges, canonical JSON."""
        return self._root.policy.encode()

    def hello(self, body: bytes) -> Challenge:
        """Answer a hello by a fresh, signed, single-use nonce. Raises `Refused`."""
        hello = parsed(Hello.parse, body)
        if hello.chain_id != self._config.chain_id:
            raise Refused(
                Code.MALFORMED, f"this gate serves chain {self._config.chain_id}, not {hello.chain_id}"
            )
        if self._config.consortia and hello.consortium not in self._config.consortia:
            raise Refused(Code.GATE_NOT_REGISTERED, "this gate does not serve that consortium")
        if self._sessions.granted_lately(hello.consortium, hello.run_id):
            raise Refused(
                Code.UNKNOWN_RUN_ID_REUSED, "keys were already released for this run id", "draw a new run id"
            )
        now = self._clock()
        challenge = sign_challenge(
            hello,
            nonce=secrets.token_bytes(NONCE_SIZE),
            issued=now,
            expires=now + CHALLENGE_LIFE_S,
            private_key=self._root.signing_key,
        )
        self._nonces.remember(hello, challenge, now=now)
        return challenge

    def evidence(self, body: bytes) -> GrantReply:
        """Judge evidence; release the keys or raise `Refused`. The module's head has the order."""
        message = parsed(EvidenceMessage.parse, body)
        opened = self._nonces.use(message.nonce, now=self._clock())
        hello, challenge = opened.hello, opened.challenge
        facts = {"runId": to_hex(hello.run_id), "consortium": hello.consortium}
        try:
            with (
                about(run=facts["runId"], consortium=hello.consortium),
                stage("whole"),
                self._bookings.expecting(hello.run_id),
            ):
                reply = self._release(message, hello, transcript_0(hello, challenge))
        except Refused as no:
            self._write("refused", {**facts, "code": no.code, "message": no.message})
            raise
        GRANTS.inc()
        _log.info("granted run %s of %s", facts["runId"], hello.consortium)
        return reply

    def lease(self, body: bytes) -> LeaseReply:
        """Renew a lease. Raises `Refused`."""
        request = parsed(LeaseRequest.parse, body)
        lease = self._sessions.lease(request.consortium, request.run_id)
        if lease is None:
            raise Refused(Code.LEASE_ENDED, "this gate granted no such run")
        chain_id = self._config.chain_id
        try:
            verify_lease(request, signer=lease.signer, chain_id=chain_id, consortium=lease.consortium)
        except KeyReleaseError as error:
            raise Refused(Code.MALFORMED, error.message) from error
        if lease.ended is not None:
            raise Refused(Code.LEASE_ENDED, f"the lease ended: {lease.ended}")
        if self._clock() > lease.until:
            self._sessions.end(lease.consortium, lease.run_id, Code.LEASE_ENDED)
            raise Refused(Code.LEASE_ENDED, "the lease was not renewed in time")
        if request.counter <= lease.counter:
            raise Refused(Code.LEASE_COUNTER, f"counter {request.counter} was used before")
        opening_final = self._renew(lease)
        until = self._clock() + self._config.lease_seconds
        self._sessions.prolong(lease.consortium, lease.run_id, counter=request.counter, until=until)
        return sign_renewal(
            request,
            lease_seconds=self._config.lease_seconds,
            until=until,
            opening_final=opening_final,
            chain_id=chain_id,
            consortium=lease.consortium,
            private_key=self._root.signing_key,
        )

    def watch(self, body: bytes) -> dict[str, Any]:
        """The watcher's heartbeat. What it reports as revoked is denied at once. Raises `Refused`."""
        self._watch.report(parsed(WatchReport.parse, body))
        # Who it is, so that the watcher knows the consortia that adopted it.
        return {
            "version": WATCH_VERSION,
            "gateRoot": to_hex(self._root.fingerprint),
            "gateSigner": self._root.signer,
        }

    def receipts(self, body: bytes) -> dict[str, Any]:
        """Anchor receipts that wait, in one transaction. Raises `Refused`."""
        given = parsed(batch.parse, body)
        done = batch.anchor(given, chain=self._chain, sender=self._sender, chain_id=self._config.chain_id)
        if done is None:
            return {"version": batch.Receipts.version, "anchored": None}
        anchored = {
            "tx": done.tx,
            "batch": done.batch,
            "first": done.first,
            "runs": [to_hex(run_id) for run_id in done.runs],
        }
        self._write("batch-anchored", {"consortium": given[0].receipt.consortium, **anchored})
        return {"version": batch.Receipts.version, "anchored": anchored}

    # --- evidence -------------------------------------------------------------------------------

    def _release(self, message: EvidenceMessage, hello: Hello, transcript: bytes) -> GrantReply:
        with stage("verify"):
            collateral, evidence = self._verify(message, transcript)
        with stage("views"):
            view, latest = self._views.both(hello.consortium, compose_hash=evidence.compose_hash)
        request = cases.Request(
            run_id=hello.run_id,
            compose_hash=hello.compose_hash,
            epsilon_micro=hello.epsilon_micro,
            delta_pico=hello.delta_pico,
            guarantee=hello.guarantee,
            kem_key=message.kem_key,
            enclave_signer=message.signer,
            transcript=sha256(transcript),
            evidence_digest=evidence_digest(
                quote=message.quote, event_log=message.event_log, gpu_evidence=message.gpu_evidence
            ),
            datasets=tuple(present(offer) for offer in message.datasets),
            has_gpu_evidence=bool(message.gpu_evidence),
        )
        grant = policy.decide(request, evidence, view, latest, self._views.config(hello.consortium))
        if isinstance(grant, Refusal):
            raise refused(grant)
        with self._judging:
            keys = open_wraps(
                message.datasets, view, root_key=self._root.root_key, kms_root=self._root.kms_root
            )
        try:
            self._ready(view.consortium, grant.ledger)
            return self._spend_and_seal(message, transcript, grant, view, latest, keys, evidence, collateral)
        finally:
            for key in keys:
                key.data_key.wipe()

    def _spend_and_seal(
        self,
        message: EvidenceMessage,
        transcript: bytes,
        grant: Grant,
        view: ChainView,
        latest: LatestView,
        keys: Sequence[OpenedKey],
        evidence: Evidence,
        collateral: Mapping[str, Any],
    ) -> GrantReply:
        grant_hash = typed.digest(
            typed.grant(grant, chain_id=self._config.chain_id, consortium=view.consortium)
        )
        signature = sign_grant(
            grant,
            chain_id=self._config.chain_id,
            consortium=view.consortium,
            private_key=self._root.signing_key,
        )
        with stage("book"):
            opened, opening = self._spending.open_run(grant, view, latest, grant_hash)
        with stage("still"):
            self._views.require_still(grant, view, view.consortium)
        self._write("granted", granted_facts(grant, view.consortium, grant_hash, evidence, opened))
        self._sessions.grant(
            Lease(
                run_id=grant.run_id,
                consortium=view.consortium,
                study=grant.study,
                standing=grant.standing,
                signer=grant.enclave_signer,
                counter=0,
                until=self._clock() + self._config.lease_seconds,
                ended=None,
                ledger=grant.ledger,
                opening=opening,
                since=grant.block_number,
            )
        )
        transcript1 = transcript_1(
            transcript,
            kem_key=message.kem_key,
            signer=message.signer,
            gate_signer=self._root.signer,
            grant=grant,
        )
        with self._judging:
            releases = sealed_keys(keys, kem_key=message.kem_key, transcript=transcript1)
        return GrantReply(
            grant=grant,
            grant_signature=signature,
            keys=releases,
            collateral=collateral,
            opened=Opened(tx=bytes.fromhex(opened.tx.removeprefix("0x")), block=opened.block_number),
        )

    def _verify(self, message: EvidenceMessage, transcript: bytes) -> tuple[Mapping[str, Any], Evidence]:
        expected = report_data(
            transcript, kem_key=message.kem_key, signer=message.signer, gpu_evidence=message.gpu_evidence
        )
        try:
            # Before collateral, which may have to be fetched: a stranger's quote costs no request.
            require_made_for(message.quote, trust=self._trust, report_data=expected)
            collateral = self._collateral.fetch(message.quote)
            with self._judging:
                evidence = verify_evidence(
                    message.quote,
                    message.event_log,
                    collateral,
                    trust=self._trust,
                    now=self._clock(),
                    report_data=expected,
                )
        except AttestationError as error:
            raise Refused(error.code, error.message, error.hint) from error
        return collateral, evidence

    # --- lease ----------------------------------------------------------------------------------

    def _renew(self, lease: Lease) -> bool:
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
                self._write("lease-refused", {**facts, "code": no.code, "message": no.message})
            raise
        if opening.moved is not None:
            self._sessions.moved(lease.consortium, lease.run_id, opening.moved)
            opened_at, number = opening.moved.opened_at, opening.moved.number
            self._write("opening-moved", {**facts, "openedAt": opened_at, "number": number})
        return opening.final

    def _write(self, event: str, facts: Mapping[str, Any]) -> None:
        self._audit.append(event, facts=facts)
