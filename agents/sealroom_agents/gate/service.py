# SPDX-License-Identifier: Apache-2.0
"""What the gate does with each message; no HTTP here.

Evidence is handled in this order, and each step can only refuse:

1. parse, bounded                       6. open the wraps with the root key, compare key commitments
2. use the nonce up, durably            7. sign the grant, book it in the ledger together with others that
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
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import KeyReleaseError, SealroomError
from sealroom.key_release import (
    WATCH_VERSION,
    Challenge,
    EvidenceMessage,
    GateIdentity,
    Grant,
    GrantReply,
    Hello,
    KeyRelease,
    LeaseReply,
    LeaseRequest,
    Opened,
    Refusal,
    WatchReport,
    evidence_digest,
    report_data,
    seal_key,
    sign_challenge,
    sign_grant,
    sign_renewal,
    transcript_0,
    transcript_1,
    verify_lease,
)
from sealroom.model import Opening, Run
from sealroom_agents.attestation import CollateralSource, TrustRoot, verify_evidence
from sealroom_agents.chain import MAX_AHEAD, TxResult
from sealroom_agents.errors import (
    CHAIN_CODES,
    AttestationError,
    ChainError,
    ConfigurationError,
    Refused,
    TransactionError,
)
from sealroom_agents.facts import ChainView, Evidence, LatestView
from sealroom_agents.gate import batch, policy
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.booking import OPEN_WITHIN_S, Bookings, Opener, Order
from sealroom_agents.gate.heartbeats import Chain, Watch
from sealroom_agents.gate.notes import BOOKING, STARTED, booking_facts
from sealroom_agents.gate.opening import Openings, opened_as
from sealroom_agents.gate.refusals import (
    STUDY_ENDED,
    booking_refused,
    chain_refused,
    parsed,
    refused,
)
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Lease, Sessions
from sealroom_agents.gate.wraps import open_wraps, present

BOOKED_TIMEOUT_S = 10.0
"""How long nodes may lag behind the one that mined the booking, seconds."""
BOOKED_POLL_S = 0.25
"""Pause between two looks, seconds."""
STILL_TIMEOUT_S = 20.0
"""How long nodes may take to agree about the newest block once a run is booked, seconds."""
CHALLENGE_LIFE_S = 60
"""Seconds within which evidence must follow its challenge."""
MIN_HALT_S = 10
"""Seconds that a revocation stands at least, however fast blocks follow, unless a final block decides."""
NONCE_SIZE = 32

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
        fault: Callable[[], None] = lambda: None,
    ) -> None:
        """`fault`: called when an error that nobody foresaw has ended the bookings; the process is to end."""
        self._config = config
        self._root = root
        self._chain = chain
        self._sender = sender
        self._bookings = Bookings(sender, note=lambda: audit.head.digest, fault=fault)
        self._openings = Openings(chain, self._bookings)
        self._trust = trust
        self._collateral = collateral
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._floor = 0
        self._watch = Watch(clock=clock)

    def close(self) -> None:
        """Book nothing any more."""
        self._bookings.close()

    def require_adopted_policy(self) -> None:
        """Refuse to start on another platform policy than the one with which owners adopted this gate.

        Asks about the consortia that it is to serve, and those for which it released keys. One that adopted
        no gate yet, or another one, forbids nothing: owners need this gate's identity to adopt it. Raises
        `ConfigurationError` `platform-policy-mismatch`, and `ChainError`.
        """
        for consortium in sorted(self._config.consortia | self._sessions.consortia()):
            try:
                platform = self._chain.finalized_view(consortium).platform
            except ChainError as error:
                if error.code != Code.NOT_A_CONSORTIUM:
                    raise
                continue
            own = (self._root.fingerprint, self._root.signer, self._root.compose_hash)
            if platform is None or (platform.gate_root, platform.gate_signer, platform.gate_compose) != own:
                continue
            if platform.policy_hash != self._root.policy.hash:
                raise ConfigurationError(
                    Code.PLATFORM_POLICY_MISMATCH,
                    f"the owners of {consortium} adopted this gate with platform policy "
                    f"{to_hex(platform.policy_hash)}, and it was given {to_hex(self._root.policy.hash)}",
                    "start it with the document that they adopted; another policy takes a new platform",
                )

    def started(self) -> None:
        """Write into the audit log who starts here."""
        facts = {
            "signer": self._root.signer,
            "gateRoot": to_hex(self._root.fingerprint),
            "policyHash": to_hex(self._root.policy.hash),
        }
        self._write(STARTED, facts)
        _log.info("signer %s, root %s, platform policy %s", *facts.values())

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
        now = self._clock()
        challenge = sign_challenge(
            hello,
            nonce=secrets.token_bytes(NONCE_SIZE),
            issued=now,
            expires=now + CHALLENGE_LIFE_S,
            private_key=self._root.signer_key.reveal(),
        )
        self._sessions.remember(
            challenge.nonce,
            consortium=hello.consortium,
            run_id=hello.run_id,
            hello=hello.encode(),
            challenge=challenge.encode(),
            expires=challenge.expires,
            now=now,
        )
        return challenge

    def evidence(self, body: bytes) -> GrantReply:
        """Judge evidence; release the keys or raise `Refused`. The module's head has the order."""
        message = parsed(EvidenceMessage.parse, body)
        opened = self._sessions.consume(message.nonce, now=self._clock())
        hello, challenge = Hello.parse(opened.hello), Challenge.parse(opened.challenge)
        facts = {"runId": to_hex(hello.run_id), "consortium": hello.consortium}
        try:
            reply = self._release(message, hello, transcript_0(hello, challenge))
        except Refused as no:
            self._write("refused", {**facts, "code": no.code, "message": no.message})
            raise
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
            private_key=self._root.signer_key.reveal(),
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
        collateral, evidence = self._verify(message, transcript)
        view, latest = self._views(hello.consortium, compose_hash=evidence.compose_hash)
        request = policy.Request(
            run_id=hello.run_id,
            compose_hash=hello.compose_hash,
            epsilon_micro=hello.epsilon_micro,
            delta_pico=hello.delta_pico,
            kem_key=message.kem_key,
            enclave_signer=message.signer,
            transcript=sha256(transcript),
            evidence_digest=evidence_digest(
                quote=message.quote, event_log=message.event_log, gpu_evidence=message.gpu_evidence
            ),
            datasets=tuple(present(offer) for offer in message.datasets),
            has_gpu_evidence=bool(message.gpu_evidence),
        )
        grant = policy.decide(request, evidence, view, latest, self._policy_config(hello.consortium))
        if isinstance(grant, Refusal):
            raise refused(grant)
        keys = open_wraps(message.datasets, view, root_key=self._root.root_key, kms_root=self._root.kms_root)
        grant_hash = typed.digest(
            typed.grant(grant, chain_id=self._config.chain_id, consortium=hello.consortium)
        )
        signature = sign_grant(
            grant,
            chain_id=self._config.chain_id,
            consortium=hello.consortium,
            private_key=self._root.signer_key.reveal(),
        )
        opened, opening = self._open(grant, view, latest, grant_hash)
        self._booked(grant.ledger, opening)
        self._still(grant, view, hello.consortium)
        self._write("granted", _granted(grant, hello.consortium, grant_hash, evidence, opened))
        self._sessions.grant(
            Lease(
                run_id=grant.run_id,
                consortium=hello.consortium,
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
        try:
            releases = tuple(
                KeyRelease(
                    dataset=key.record.id,
                    index_digest=key.record.version.index,
                    key_commitment=key.record.version.key_commitment,
                    ciphertext=seal_key(
                        key.data_key.reveal(),
                        kem_key=message.kem_key,
                        transcript=transcript1,
                        owner=key.record.holder_id,
                        dataset_id=key.record.id,
                        header=key.record.version.header,
                        key_commitment=key.record.version.key_commitment,
                    ),
                )
                for key in keys
            )
        except SealroomError as error:
            raise Refused(Code.MALFORMED, f"the enclave's key: {error.message}") from error
        finally:
            for key in keys:
                key.data_key.wipe()
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
            collateral = self._collateral.fetch(message.quote)
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

    def _open(
        self, grant: Grant, view: ChainView, latest: LatestView, grant_hash: bytes
    ) -> tuple[TxResult, Opening]:
        if view.study is None:  # the policy has refused already
            raise Refused(Code.NOT_APPROVED, "no study is pinned")
        run = Run(
            run_id=grant.run_id,
            epsilon_micro=grant.epsilon_micro,
            delta_pico=grant.delta_pico,
            enclave_signer=grant.enclave_signer,
            grant_hash=grant_hash,
            open_before=self._newest(latest) + OPEN_WITHIN_S,
        )
        order = Order(grant.ledger, view.consortium, view.study, run)
        # First of all: what is on chain is in the log, and where nothing can be written nothing is spent.
        self._write(
            BOOKING, booking_facts(consortium=view.consortium, run_id=run.run_id, grant_hash=grant_hash)
        )
        try:
            opened = self._bookings.open_run(order)
        except ChainError as error:
            if isinstance(error, TransactionError) and error.revert == STUDY_ENDED:
                # Something ended the study since the view: most likely a revocation,
                # which then has its own code.
                self._raise_if_revoked(view.consortium)
            raise booking_refused(error) from error
        return opened.sent, opened_as(order, grant.standing, opened)

    def _newest(self, latest: LatestView) -> int:
        """The newest time known, unix seconds: the ledger goes by the chain's."""
        return max(self._clock(), latest.block_time)

    def _booked(self, ledger: str, opening: Opening) -> None:
        """A quorum of nodes keeps the hash of this run: the node that sent the
        transaction is not enough (CH-03)."""
        deadline = time.monotonic() + BOOKED_TIMEOUT_S
        while (found := self._seen_booked(ledger, opening)) is None and time.monotonic() < deadline:
            time.sleep(BOOKED_POLL_S)
        if found != typed.opening_hash(opening):
            raise Refused(Code.CHAIN_DISAGREES, "not every node shows the run as booked")

    def _seen_booked(self, ledger: str, opening: Opening) -> bytes | None:
        try:
            return self._chain.booked(ledger, opening.consortium, opening.run.run_id)
        except ChainError as error:
            raise chain_refused(error) from error

    def _still(self, grant: Grant, view: ChainView, consortium: str) -> None:
        """Nothing was revoked between the decision and this moment (CH-06).

        The run is booked, so a node that is slow, or alone with what it shows, is waited for.
        """
        deadline = time.monotonic() + STILL_TIMEOUT_S
        while True:
            try:
                latest = self._latest(consortium)
                break
            except Refused as no:
                if not no.code.transient or time.monotonic() >= deadline:
                    raise
                time.sleep(BOOKED_POLL_S)
        refusal = policy.renew(
            view, latest, self._policy_config(consortium), study=grant.study, standing=grant.standing
        )
        if refusal is not None:
            raise refused(refusal)

    # --- lease ----------------------------------------------------------------------------------

    def _renew(self, lease: Lease) -> bool:
        """Whether the run's opening is final. Raises `Refused` when the lease is not renewed."""
        view, latest = self._views(lease.consortium)
        facts = {"runId": to_hex(lease.run_id), "consortium": lease.consortium}
        refusal = policy.renew(
            view, latest, self._policy_config(lease.consortium), study=lease.study, standing=lease.standing
        )
        try:
            if refusal is not None:
                raise refused(refusal)
            opening = self._openings.state(lease, view, now=self._newest(latest))
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

    # --- chain ----------------------------------------------------------------------------------

    def _views(self, consortium: str, *, compose_hash: bytes | None = None) -> tuple[ChainView, LatestView]:
        try:
            view = self._chain.finalized_view(consortium, compose_hash=compose_hash)
        except ChainError as error:
            raise chain_refused(error) from error
        if self._chain.finalized_floor > self._floor:
            self._floor = self._chain.finalized_floor
            self._sessions.keep_highest("finalized", self._floor)
        latest = self._latest(consortium, compose_hash=compose_hash)
        self._lift(view)
        return view, latest

    def _latest(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        try:
            latest = self._chain.latest_view(consortium, compose_hash=compose_hash)
        except ChainError as error:
            raise chain_refused(error) from error
        # Kept, so that a node which loses the revocation again, or falls behind, does not bring the study
        # back before the chain has decided (CH-02).
        claim = self._watch.claim(consortium, highest=latest.block_number + MAX_AHEAD)
        for halt in (latest.halt, claim):
            if halt is not None and self._sessions.halt(consortium, halt, now=self._clock()):
                _log.warning("%s: %s shows a revocation in block %d", consortium, halt.by, halt.block_number)
                facts = {"consortium": consortium, "block": halt.block_number, "by": halt.by}
                self._write("revocation-seen", facts)
        return latest

    def _lift(self, view: ChainView) -> None:
        """Drop a halt that the chain has decided: by a final block as new as the one that showed the
        revocation, or by another block in its place. `policy` goes by the view, not by this."""
        found = self._sessions.halted(view.consortium)
        if found is None:
            return
        halt, since = found
        try:
            gone = view.block_number >= halt.block_number or (
                self._clock() - since >= MIN_HALT_S and self._chain.replaced(halt)
            )
        except ChainError as error:
            raise chain_refused(error) from error
        if gone:
            self._sessions.lift(view.consortium, halt)
            _log.warning("%s: the chain has decided over block %d", view.consortium, halt.block_number)
            self._write("halt-lifted", {"consortium": view.consortium, "block": halt.block_number})

    def _raise_if_revoked(self, consortium: str) -> None:
        view, latest = self._views(consortium)
        refusal = policy.renew(
            view, latest, self._policy_config(consortium), study=b"", standing=latest.standing
        )
        if refusal is not None and refusal.code == Code.REVOKED:
            raise refused(refusal)

    def _policy_config(self, consortium: str) -> policy.Config:
        return policy.Config(
            gate_root=self._root.fingerprint,
            gate_signer=self._root.signer,
            gate_compose=self._root.compose_hash,
            policy_hash=self._root.policy.hash,
            key_provider_id=self._root.key_provider_id,
            lease_seconds=self._config.lease_seconds,
            audit_head=self._audit.head.digest,
            now=self._clock(),
            watcher_seen=self._watch.seen(consortium),
            halt=found[0] if (found := self._sessions.halted(consortium)) is not None else None,
        )

    def _write(self, event: str, facts: Mapping[str, Any]) -> None:
        self._audit.append(event, facts=facts)


def _granted(
    grant: Grant, consortium: str, grant_hash: bytes, evidence: Evidence, opened: TxResult
) -> dict[str, Any]:
    return {
        "runId": to_hex(grant.run_id),
        "consortium": consortium,
        "study": to_hex(grant.study),
        "composeHash": to_hex(grant.compose_hash),
        "device": to_hex(evidence.device_id),
        "enclaveSigner": grant.enclave_signer,
        "grantHash": to_hex(grant_hash),
        "epsilonMicro": grant.epsilon_micro,
        "deltaPico": grant.delta_pico,
        "standing": to_hex(grant.standing),
        "block": grant.block_number,
        "openedTx": opened.tx,
    }
