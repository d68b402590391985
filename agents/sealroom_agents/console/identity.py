# SPDX-License-Identifier: Apache-2.0
"""The key with which the console signs its answers, and what vouches for it.

In a confidential VM dstack derives the key for this app, and a quote binds it to the machine and what runs
there. Elsewhere it is a file's, or one of this process alone: then nothing vouches for it, and whoever asks
must be told the key by the operator.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import lp, sha256
from sealroom.errors import GuestError
from sealroom.keys import KeyInterface
from sealroom.runtime.guest_agent import Guest
from sealroom_agents.attestation import CollateralSource
from sealroom_agents.attestation.console_identity import ConsoleAttestation
from sealroom_agents.errors import AttestationError, ConfigurationError
from sealroom_agents.signed_answers import AnswerKey, report_data

KEY_PATH = "sealroom/console"
KEY_PURPOSE = "sealroom-console-answers"
MAX_AGE_S = 3600
"""Seconds after which the console quotes itself anew."""
PAUSE_S = 30
"""Seconds after a quote that failed in which no other is asked for."""

log = logging.getLogger(__name__)


class Identity:
    """A key of which nothing is proven."""

    def __init__(self, key: AnswerKey | None = None) -> None:
        """Without a key, one of this process alone."""
        self.key: AnswerKey = key or AnswerKey(secrets.token_bytes(32))

    def attestation(self) -> dict[str, Any] | None:
        """What vouches for the key: `None`."""
        return None


class AttestedIdentity(Identity):
    """A key that dstack gives this app alone. Thread safe."""

    def __init__(
        self,
        guest: Guest,
        *,
        chain_id: int,
        collateral: CollateralSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Fetches the key, and quotes. Raises `ConfigurationError` `guest-agent-failed`, `AttestationError`
        where there is no collateral."""
        self._guest = guest
        self._chain_id = chain_id
        self._collateral = collateral
        self._clock = clock
        self._lock = threading.Lock()
        self._tried = 0.0
        try:
            info = guest.info()
            self._app_id, self._compose_hash = info.app_id, info.compose_hash
            # Of the interface that every agent has, so that another version of dstack leaves it as it is.
            derived = guest.key(KEY_PATH, KEY_PURPOSE, KeyInterface.V0).key
            # A key of another kind than dstack's, so not the same bytes.
            super().__init__(AnswerKey(sha256(lp("sealroom/v1/console-key", derived.reveal()))))
            self._last = self._quoted()
        except GuestError as error:
            raise ConfigurationError(
                Code.GUEST_AGENT_FAILED,
                f"the guest agent gives the console no key, or no quote: {error.message}",
                "start the console inside its CVM, whose app uses the KMS as its key provider",
            ) from error

    def attestation(self) -> dict[str, Any] | None:
        """The proof, of the last hour where the guest agent answers."""
        with self._lock:
            now = self._clock()
            if not 0 <= now - self._last.issued <= MAX_AGE_S and not 0 <= now - self._tried < PAUSE_S:
                self._tried = now
                try:
                    self._last = self._quoted()
                except (GuestError, AttestationError) as error:
                    log.warning("the console shows its quote of %d: %s", self._last.issued, error)
            return self._last.to_json()

    def _quoted(self) -> ConsoleAttestation:
        found = self._guest.quote(report_data(chain_id=self._chain_id, key=self.key.public))
        return ConsoleAttestation(
            chain_id=self._chain_id,
            key=self.key.public,
            app_id=self._app_id,
            compose_hash=self._compose_hash,
            quote=found.quote,
            event_log=found.event_log,
            collateral=self._collateral.fetch(found.quote),
            issued=int(self._clock()),
        )
