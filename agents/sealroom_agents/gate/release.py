# SPDX-License-Identifier: Apache-2.0
"""From evidence to a grant and keys: what is judged, in which order, and what is written down when.

Each step can only refuse:

1. quote, report data, event log        5. sign the grant, book it in the ledger together with others that
2. one finalized view, one latest          wait, until the transaction is mined
3. `policy.decide`, then the GPUs       6. look at the nodes again: revoked meanwhile? (CH-06)
4. open the wraps with the root key,    7. write the audit log's entry and begin the lease, both or neither,
   compare key commitments                 and seal the keys to the enclave

So ε and δ are booked before any key leaves, and a run that is refused after step 5 has spent them: nothing
is refunded. A run that the ledger has not opened within a minute is not opened any more, and costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import (
    EvidenceMessage,
    Grant,
    GrantReply,
    Hello,
    Opened,
    Refusal,
    evidence_digest,
    gpu_nonce,
    report_data,
    transcript_1,
)
from sealroom_agents.attestation import CollateralSource, TrustRoot, require_made_for, verify_evidence
from sealroom_agents.errors import AttestationError, Refused
from sealroom_agents.facts import ChainView, Evidence, LatestView
from sealroom_agents.gate import cases, policy
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.counters import stage
from sealroom_agents.gate.gpus import GpuJudge, Judged
from sealroom_agents.gate.notes import GRANTED, granted_facts
from sealroom_agents.gate.refusals import refused
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Lease, Sessions
from sealroom_agents.gate.spending import Spending
from sealroom_agents.gate.views import Views
from sealroom_agents.gate.wraps import OpenedKey, open_wraps, present, sealed_keys

JUDGED_AT_ONCE = 2
"""Evidences that are computed on at once. Python computes one at a time: more of them would only take turns
with the threads that renew leases."""


class Releases:
    """Judges evidence. Thread safe."""

    def __init__(
        self,
        *,
        chain_id: int,
        root: GateRoot,
        trust: TrustRoot,
        collateral: CollateralSource,
        views: Views,
        spending: Spending,
        sessions: Sessions,
        audit: AuditLog,
        clock: Callable[[], int],
        ready: Callable[[str, str], None],
        gpus: GpuJudge | None,
    ) -> None:
        """`ready`: called with consortium and ledger before a run is booked; raises `Refused`. `gpus`: judges
        GPU evidence; `None` where the platform policy accepts none."""
        self._chain_id = chain_id
        self._root = root
        self._trust = trust
        self._collateral = collateral
        self._views = views
        self._spending = spending
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._ready = ready
        self._gpus = gpus
        self._judging = threading.BoundedSemaphore(JUDGED_AT_ONCE)

    def release(self, message: EvidenceMessage, hello: Hello, transcript: bytes) -> GrantReply:
        """The grant and the keys. `transcript` is T0 of hello and challenge. Raises `Refused`."""
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
            evidence_digest=_evidence_digest(message, b""),
            datasets=tuple(present(offer) for offer in message.datasets),
            gpu=hello.gpu,
            has_gpu_evidence=bool(message.gpu_evidence),
        )
        grant = policy.decide(request, evidence, view, latest, self._views.config(hello.consortium))
        if isinstance(grant, Refusal):
            raise refused(grant)
        gpus = None
        if hello.gpu is not None:
            gpus = self._require_gpus(message, hello.gpu, transcript, now=grant.issued)
            grant = replace(grant, evidence=_evidence_digest(message, gpus.material))
        with self._judging:
            keys = open_wraps(
                message.datasets, view, root_key=self._root.root_key, kms_root=self._root.kms_root
            )
        try:
            self._ready(view.consortium, grant.ledger)
            return self._spend_and_seal(
                message, transcript, grant, view, latest, keys, evidence, collateral, gpus
            )
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
        gpus: Judged | None,
    ) -> GrantReply:
        signable = typed.grant(grant, chain_id=self._chain_id, consortium=view.consortium)
        grant_hash = typed.digest(signable)
        signature = typed.sign_digest(grant_hash, self._root.signing_key)
        with stage("book"):
            opened, opening, booked = self._spending.open_run(grant, view, latest, grant_hash)
        with stage("still"):
            self._views.require_still(grant, view, view.consortium, booked=booked)
        beginning = self._sessions.beginning(
            Lease(
                run_id=grant.run_id,
                consortium=view.consortium,
                study=grant.study,
                standing=grant.standing,
                signer=grant.enclave_signer,
                counter=0,
                until=self._clock() + self._root.policy.lease_seconds,
                ended=None,
                ledger=grant.ledger,
                opening=opening,
                since=grant.block_number,
            )
        )
        # A kill between the log and the database leaves a grant without a lease: no key has left.
        facts = granted_facts(grant, view.consortium, grant_hash, evidence, opened, gpus)
        self._audit.append(GRANTED, facts=facts, beside=beginning.write)
        beginning.done()
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
            gpu_material=b"" if gpus is None else gpus.material,
            opened=Opened(tx=bytes.fromhex(opened.tx.removeprefix("0x")), block=opened.block_number),
        )

    def _require_gpus(
        self, message: EvidenceMessage, demand: GpuDemand, transcript: bytes, *, now: int
    ) -> Judged:
        """What the demanded GPUs prove. Raises `Refused` `gpu-evidence-unverified`."""
        if self._gpus is None:
            raise Refused(Code.GPU_EVIDENCE_UNVERIFIED, "this gate has nothing by which to judge GPUs")
        with stage("gpus"), self._judging:
            return self._gpus.require(
                message.gpu_evidence,
                demand,
                nonce=gpu_nonce(transcript, kem_key=message.kem_key, signer=message.signer),
                now=now,
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


def _evidence_digest(message: EvidenceMessage, gpu_material: bytes) -> bytes:
    return evidence_digest(
        quote=message.quote,
        event_log=message.event_log,
        gpu_evidence=message.gpu_evidence,
        gpu_material=gpu_material,
    )
