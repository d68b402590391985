# SPDX-License-Identifier: Apache-2.0
"""What the gate does with each message; no HTTP here.

A message is parsed, bounded. Evidence uses its nonce up before anything else of it is looked at, and
`release` has the order of what follows. Each renewal looks at the booking again, and says whether it is final
(`renewal`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.key_release import (
    WATCH_VERSION,
    Challenge,
    EvidenceMessage,
    GateIdentity,
    GrantReply,
    Hello,
    LeaseReply,
    LeaseRequest,
    WatchReport,
    sign_challenge,
    transcript_0,
)
from sealroom_agents.attestation import CollateralSource, TrustRoot
from sealroom_agents.clients import Bucket
from sealroom_agents.errors import (
    Refused,
)
from sealroom_agents.gate import batch
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.booking import Bookings, Opener
from sealroom_agents.gate.counters import GRANTS, stage
from sealroom_agents.gate.finality import Finality
from sealroom_agents.gate.gpus import GpuJudge
from sealroom_agents.gate.heartbeats import Chain, Watch
from sealroom_agents.gate.nonces import Nonces
from sealroom_agents.gate.notes import STARTED
from sealroom_agents.gate.opening import Openings
from sealroom_agents.gate.refusals import (
    parsed,
)
from sealroom_agents.gate.release import Releases
from sealroom_agents.gate.renewal import Renewals
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.gate.spending import Spending
from sealroom_agents.gate.views import Views
from sealroom_agents.telemetry.logs import about

CHALLENGE_LIFE_S = 60
"""Seconds within which evidence must follow its challenge."""
NONCE_SIZE = 32
REFUSALS_AT_ONCE = 1024
"""Refusals that are written into the audit log at once; with a nonce, which is free, anybody causes one."""
REFUSALS_PER_S = 1.0
"""Refusals that are written each second besides: about 50 MB a day. Of more, the next one says the number."""

_log = logging.getLogger(__name__)


class Sender(Opener, batch.Sender, Protocol):
    """What sends the gate's transactions; `sealroom_agents.chain.Transactor` does."""


@dataclass(frozen=True)
class GateConfig:
    """What an operator decides."""

    chain_id: int
    """The one chain that this gate serves."""
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
        gpus: GpuJudge | None = None,
    ) -> None:
        """`ready`: called with consortium and ledger before a run is booked; raises `Refused` where the
        operator has to do something first. `fault`: called when an error that nobody foresaw has ended the
        bookings; the process is to end. `gpus`: judges GPU evidence by the platform policy's rules."""
        self._config = config
        self._root = root
        self._chain = chain
        self._sender = sender
        self._bookings = Bookings(sender, note=lambda: audit.head.digest, fault=fault)
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._nonces = Nonces()
        self._lock = threading.Lock()
        self._refusals = Bucket(REFUSALS_AT_ONCE, REFUSALS_PER_S, clock())
        self._unwritten = 0
        self._watch = Watch(clock=clock)
        self._views = Views(
            chain=chain,
            root=root,
            sessions=sessions,
            audit=audit,
            watch=self._watch,
            clock=clock,
        )
        self.finality: Finality = Finality(
            chain=chain, root=root, chain_id=config.chain_id, granted=sessions.consortia
        )
        spending = Spending(chain=chain, bookings=self._bookings, views=self._views, audit=audit)
        self._releases = Releases(
            chain_id=config.chain_id,
            root=root,
            trust=trust,
            collateral=collateral,
            views=self._views,
            spending=spending,
            sessions=sessions,
            audit=audit,
            clock=clock,
            ready=ready,
            gpus=gpus,
        )
        self._renewals = Renewals(
            chain_id=config.chain_id,
            root=root,
            views=self._views,
            openings=Openings(chain, self._bookings, emit=root.policy.emit),
            sessions=sessions,
            audit=audit,
            clock=clock,
        )

    def close(self) -> None:
        """Book nothing any more."""
        self._bookings.close()

    def require_adopted_policy(self) -> None:
        """Refuse to start on another platform policy than the one with which owners adopted this gate.

        Asks about the consortia that the operator names. Raises `ConfigurationError`
        `platform-policy-mismatch`, and `ChainError`.
        """
        self._views.require_adopted_policy(self._config.consortia)

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
        """Judge evidence; release the keys or raise `Refused`."""
        message = parsed(EvidenceMessage.parse, body)
        opened = self._nonces.use(message.nonce, now=self._clock())
        hello, challenge = opened.hello, opened.challenge
        facts = {"runId": to_hex(hello.run_id), "consortium": hello.consortium}
        with about(run=facts["runId"], consortium=hello.consortium):
            try:
                with stage("whole"), self._bookings.expecting(hello.run_id):
                    reply = self._releases.release(message, hello, transcript_0(hello, challenge))
            except Refused as no:
                self._write_refusal({**facts, "code": no.code, "message": no.message})
                _log.info("refused: %s", no.code)
                raise
            GRANTS.inc()
            _log.info("granted")
        return reply

    def _write_refusal(self, facts: Mapping[str, Any]) -> None:
        """Into the audit log, as far as the disk, which is everybody's, is not filled by who is refused."""
        with self._lock:
            if self._refusals.left(self._clock()) < 1:
                self._unwritten += 1
                return
            self._refusals.take(1)
            unwritten, self._unwritten = self._unwritten, 0
        self._write("refused", {**facts, "unwritten": unwritten} if unwritten else facts)

    def lease(self, body: bytes) -> LeaseReply:
        """Renew a lease. Raises `Refused`."""
        return self._renewals.renew(parsed(LeaseRequest.parse, body))

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

    def _write(self, event: str, facts: Mapping[str, Any]) -> None:
        self._audit.append(event, facts=facts)
