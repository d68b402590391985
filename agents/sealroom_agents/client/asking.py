# SPDX-License-Identifier: Apache-2.0
"""Requests about runs as a researcher signs them: the member `signed` of their bodies."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from sealroom import typed
from sealroom.encoding import from_hex, to_hex
from sealroom_agents.client import types
from sealroom_agents.researcher import RunCancellation, RunRequest, listed, signable

SIGNED_FOR_S = 600
"""Seconds for which a signed request is good."""

Signer = Callable[[bytes], bytes]
"""Signs a digest of 32 bytes with an account's key: 65 bytes r, s, v."""


def signed_run(
    compose_hash: bytes,
    owners: Sequence[str],
    *,
    chain_id: int,
    consortium: str,
    account: str,
    signer: Signer,
) -> tuple[str, types.SignedRequest]:
    """Asks for a run of a recipe: the id that the run has, and what is sent."""
    request = RunRequest(
        recipe=compose_hash,
        owners=listed(owners),
        salt=secrets.token_bytes(32),
        expires=int(time.time()) + SIGNED_FOR_S,
    )
    digest = typed.digest(signable(request, chain_id=chain_id, consortium=consortium))
    return to_hex(digest), {
        "account": account,
        "salt": to_hex(request.salt),
        "expires": request.expires,
        "signature": to_hex(signer(digest)),
    }


def signed_cancellation(
    run_id: str, *, chain_id: int, consortium: str, account: str, signer: Signer
) -> types.Signed:
    """Takes a run back."""
    request = RunCancellation(run=from_hex(run_id, 32), expires=int(time.time()) + SIGNED_FOR_S)
    signature = signer(typed.digest(signable(request, chain_id=chain_id, consortium=consortium)))
    return {"account": account, "expires": request.expires, "signature": to_hex(signature)}
