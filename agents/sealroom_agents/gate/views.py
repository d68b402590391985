# SPDX-License-Identifier: Apache-2.0
"""What the gate knows of a consortium at this moment: the finalized view, the newest state, the halts.

A revocation that any node showed, or the watcher reported, is kept durably until the chain has decided over
it (CH-02).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.key_release import Grant
from sealroom_agents.chain import MAX_AHEAD
from sealroom_agents.errors import ChainError, ConfigurationError, Refused
from sealroom_agents.facts import ChainView, LatestView
from sealroom_agents.gate import policy
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.cases import Config
from sealroom_agents.gate.heartbeats import Chain, Watch
from sealroom_agents.gate.refusals import chain_refused, refused
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.sessions import Sessions

MIN_HALT_S = 10
"""Seconds that a revocation stands at least, however fast blocks follow, unless a final block decides."""
LAG_TIMEOUT_S = 10.0
"""How long nodes may lag behind the one that mined a booking, seconds."""
STILL_TIMEOUT_S = 20.0
"""How long nodes may take to agree about the newest block once a run is booked, seconds."""
LAG_POLL_S = 0.25
"""Pause between two looks, seconds."""

_log = logging.getLogger(__name__)


class Views:
    """Reads what decisions rest on. Thread safe."""

    def __init__(
        self,
        *,
        chain: Chain,
        root: GateRoot,
        sessions: Sessions,
        audit: AuditLog,
        watch: Watch,
        clock: Callable[[], int],
    ) -> None:
        self._chain = chain
        self._root = root
        self._sessions = sessions
        self._audit = audit
        self._watch = watch
        self._clock = clock
        self._floor = 0

    def require_adopted_policy(self, consortia: frozenset[str]) -> None:
        """Raises `ConfigurationError` `platform-policy-mismatch` where the owners of one of them adopted this
        gate with another platform policy, and `ChainError`. One that adopted no gate yet, or another one,
        forbids nothing: owners need this gate's identity to adopt it.

        These are the ones that the operator names. Whoever else adopted it with another policy gets nothing
        (`policy`), and does not keep it from starting: anybody may create a consortium."""
        for consortium in sorted(consortia):
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

    def both(self, consortium: str, *, compose_hash: bytes | None = None) -> tuple[ChainView, LatestView]:
        """The agreed finalized view and the newest state. Raises `Refused`."""
        try:
            view = self._chain.finalized_view(consortium, compose_hash=compose_hash)
        except ChainError as error:
            raise chain_refused(error) from error
        if self._chain.finalized_floor > self._floor:
            self._floor = self._chain.finalized_floor
            self._sessions.keep_highest("finalized", self._floor)
        latest = self.latest(consortium, compose_hash=compose_hash)
        self._lift(view)
        return view, latest

    def latest(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        """The newest state that any node shows; a revocation in it is kept. Raises `Refused`."""
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
                self._audit.append("revocation-seen", facts=facts)
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
            facts = {"consortium": view.consortium, "block": halt.block_number}
            self._audit.append("halt-lifted", facts=facts)

    def raise_if_revoked(self, consortium: str) -> None:
        """Raises `Refused` `revoked` where somebody revoked by now, and the codes of the chain."""
        self._chain.refresh(consortium)
        view, latest = self.both(consortium)
        refusal = policy.renew(view, latest, self.config(consortium), study=b"", standing=latest.standing)
        if refusal is not None and refusal.code == Code.REVOKED:
            raise refused(refusal)

    def config(self, consortium: str) -> Config:
        """The gate's own facts at this moment."""
        owners = self._root.policy
        return Config(
            gate_root=self._root.fingerprint,
            gate_signer=self._root.signer,
            gate_compose=self._root.compose_hash,
            policy_hash=owners.hash,
            guarantees=owners.guarantees,
            gpu_rules=owners.gpu is not None,
            key_provider_id=self._root.key_provider_id,
            lease_seconds=owners.lease_seconds,
            staleness_seconds=owners.staleness_seconds,
            heartbeat_seconds=owners.heartbeat_seconds,
            audit_head=self._audit.head.digest,
            now=self._clock(),
            watcher_seen=self._watch.seen(consortium),
            halt=found[0] if (found := self._sessions.halted(consortium)) is not None else None,
        )

    def newest(self, latest: LatestView) -> int:
        """The newest time known, unix seconds: the ledger goes by the chain's."""
        return max(self._clock(), latest.block_time)

    def require_still(self, grant: Grant, view: ChainView, consortium: str, *, booked: float) -> None:
        """Nothing was revoked between the decision and this moment (CH-06).

        It takes a look at the nodes that began after the run was `booked`, a moment of the chain's clock; the
        one that showed the booking will do. The run is booked, so a node that is slow, or alone with
        what it shows, is waited for.
        """
        deadline = time.monotonic() + STILL_TIMEOUT_S
        while True:
            try:
                if not self._chain.looked_since(booked, consortium) and not self._chain.refresh(consortium):
                    raise Refused(
                        Code.CHAIN_UNREACHABLE, "too few nodes have answered since the run was booked"
                    )
                latest = self.latest(consortium)
                break
            except Refused as no:
                if not no.code.transient or time.monotonic() >= deadline:
                    raise
                time.sleep(LAG_POLL_S)
        refusal = policy.renew(
            view, latest, self.config(consortium), study=grant.study, standing=grant.standing
        )
        if refusal is not None:
            raise refused(refusal)
