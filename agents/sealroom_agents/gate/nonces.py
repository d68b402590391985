# SPDX-License-Identifier: Apache-2.0
"""Nonces that the gate gave out, in memory.

A nonce is taken out *before* anything that came with it is looked at (AT-01), so there is no second try. The
mark is keyed by the nonce, never by the quote's bytes, which anyone can vary without breaking the quote
(AT-02). A gate that restarts has forgotten all nonces, and refuses what answers them: so a crash gives no
second try either, and nor does an old copy of its database.

A hello costs its sender nothing, and names whatever it likes. So nobody is refused because others said hello:
when there are `MAX_OPEN`, the oldest one goes. Each challenge takes the gate about a millisecond, so that no
flood makes one go within its first half minute, and an enclave answers within a few seconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.key_release import Challenge, Hello
from sealroom_agents.errors import Refused

MAX_OPEN = 65_536
"""Challenges that wait for an answer at once: a minute of as many as a machine can sign (RE-05)."""
KEEP_EXPIRED_S = 60
"""Seconds that an unanswered challenge is kept after it expired, to be refused as expired."""
MAX_USED = 16_384
"""Used nonces that are kept, to be refused as replayed; older ones are refused as unknown."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A challenge that was just used up, and what it belongs to."""

    hello: Hello
    """What the enclave asked."""
    challenge: Challenge
    """What the gate answered."""


class Nonces:
    """Nonces from the challenge until they are used. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, Opened] = OrderedDict()
        self._used: OrderedDict[bytes, None] = OrderedDict()

    def remember(self, hello: Hello, challenge: Challenge, *, now: int) -> None:
        """Keep a fresh challenge."""
        with self._lock:
            self._forget(now)
            self._open[challenge.nonce] = Opened(hello, challenge)
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)

    def use(self, nonce: bytes, *, now: int) -> Opened:
        """Use a nonce up, before anything else is looked at.

        Raises `Refused`: `nonce-unknown`, `nonce-replayed`, `nonce-expired` (which uses it up, too).
        """
        with self._lock:
            if nonce in self._used:
                raise Refused(Code.NONCE_REPLAYED, "this nonce was used before", "say hello again")
            opened = self._open.pop(nonce, None)
            if opened is None:
                raise Refused(Code.NONCE_UNKNOWN, "this gate gave out no such nonce", "say hello again")
            self._used[nonce] = None
            if len(self._used) > MAX_USED:
                self._used.popitem(last=False)
        expired = now - opened.challenge.expires
        if expired > 0:
            raise Refused(Code.NONCE_EXPIRED, f"the nonce expired {expired} s ago", "say hello again")
        return opened

    def _forget(self, now: int) -> None:
        """Drop the oldest that expired long ago, or that a clock gave out which was set back since."""
        while self._open:
            oldest = next(iter(self._open.values())).challenge
            if oldest.issued <= now <= oldest.expires + KEEP_EXPIRED_S:
                break
            self._open.popitem(last=False)
