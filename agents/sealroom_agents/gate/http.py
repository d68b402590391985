# SPDX-License-Identifier: Apache-2.0
"""The gate over HTTP: bounded bodies in, canonical JSON out, one stable code for each refusal.

    GET  /v1/gate       who the gate is, with its proof      GET  /              dstack KMS: status
    POST /v1/hello      hello → challenge                    POST /bootAuth/app  dstack KMS: may this app boot
    POST /v1/evidence   evidence → grant and keys            POST /bootAuth/kms  dstack KMS: may this KMS boot
    POST /v1/lease      renewal → lease                      GET  /v1/healthz    the process lives
    POST /v1/finalized  numbers of blocks → its word that they are final
    POST /v1/watch      the watcher's heartbeat (bearer token)
    POST /v1/receipts   receipts to be anchored together (the same token)
    GET  /v1/policy     the platform policy by which it judges
    GET  /v1/readyz     whether it can take a run through, and what it lacks (503)

Status: 400 malformed, 401 watcher's token, 403 refused, 409 used before, 413 and 415 body, 503 refused for
now (chain out of reach or stale, watcher dead, opening lost), each with `{code, message, seen?, pinned?}`.
What reaches no route or fails in one (404, 405, 500) has code and message, too. Nothing here trusts TLS.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import SealroomError
from sealroom.key_release import Refusal
from sealroom.key_release.messages import MAX_BODY, MAX_EVIDENCE_BODY
from sealroom_agents.errors import Refused
from sealroom_agents.gate.batch import MAX_RECEIPTS_BODY
from sealroom_agents.gate.booking import MAX_TOGETHER
from sealroom_agents.gate.boot import boot_routes
from sealroom_agents.gate.counters import REFUSALS
from sealroom_agents.gate.door import FORBIDDEN, Answer, Call, Door, Lane, refusal, told
from sealroom_agents.gate.service import Gate
from sealroom_agents.gate.webhook import BootAuthority
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

EVIDENCE_AT_ONCE = 2 * MAX_TOGETHER
"""Evidences under way at once: those of one transaction wait to be mined while the next ones are judged."""
LEASES_AT_ONCE = 32
"""Renewals at once; those that come together are written together."""
REPORTS_AT_ONCE = 4
"""Reports of watchers at once."""
BATCHES_AT_ONCE = 4
"""Batches of receipts at once; each may wait a minute until it is mined."""
FINALITY_AT_ONCE = 4
"""Questions about final blocks at once; each may ask the nodes."""
HELLOS_AT_ONCE = 8
"""Challenges at once."""
OTHERS_AT_ONCE = 4
"""Questions about the gate at once; those that the guest agent answers may wait for it."""

_log = logging.getLogger(__name__)


def create_app(
    gate: Gate, authority: BootAuthority, *, watch_token: str, conditions: Conditions = NO_CONDITIONS
) -> Door:
    """The application. `watch_token` is the secret that the operator's processes show, `conditions` what the
    gate needs to be ready."""
    # What may wait in all lanes leaves room among the server's connections for leases and reports.
    hellos, evidences, leases, finality, reports, batches, others, looks = (
        Lane(name, most, waiting)
        for name, most, waiting in (
            ("hello", HELLOS_AT_ONCE, 64),
            ("evidence", EVIDENCE_AT_ONCE, EVIDENCE_AT_ONCE),
            ("lease", LEASES_AT_ONCE, 0),
            ("finalized", FINALITY_AT_ONCE, 8),
            ("watch", REPORTS_AT_ONCE, 0),
            ("receipts", BATCHES_AT_ONCE, 8),
            ("gate", OTHERS_AT_ONCE, 16),
            ("readyz", OTHERS_AT_ONCE, 16),
        )
    )

    def by_client(
        lane: Lane, limit: int, act: Callable[[bytes, str], bytes]
    ) -> Callable[[Call], Awaitable[Answer]]:
        too_long = refusal(Code.EVIDENCE_TOO_LARGE, f"a body has at most {limit} bytes")

        async def route(call: Call) -> Answer:
            body = await call.body(limit, too_long)
            return await lane(lambda: _answered(lambda: act(body.take(), call.client)))

        return route

    def open_to_all(
        lane: Lane, limit: int, act: Callable[[bytes], bytes]
    ) -> Callable[[Call], Awaitable[Answer]]:
        return by_client(lane, limit, lambda body, client: act(body))

    def to_operators(
        lane: Lane, limit: int, act: Callable[[bytes], bytes]
    ) -> Callable[[Call], Awaitable[Answer]]:
        route = open_to_all(lane, limit, act)

        async def guarded(call: Call) -> Answer:
            scheme, _, token = call.header("authorization").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), watch_token.encode()):
                return refusal(Code.UNAUTHORIZED, "the operator's token is missing or wrong")
            return await route(call)

        return guarded

    async def identity(call: Call) -> Answer:
        return await others(lambda: _answered(lambda: gate.identity().encode()))

    async def policy(call: Call) -> Answer:
        return Answer(200, gate.platform_policy())

    async def healthz(call: Call) -> Answer:
        return told(200, {"status": "ok"})

    async def readyz(call: Call) -> Answer:
        # It looks at the disk.
        return told(*await looks(conditions.answer))

    return Door(
        {
            ("GET", "/v1/gate"): identity,
            ("GET", "/v1/policy"): policy,
            ("GET", "/v1/healthz"): healthz,
            ("GET", "/v1/readyz"): readyz,
            ("POST", "/v1/hello"): open_to_all(hellos, MAX_BODY, lambda body: gate.hello(body).encode()),
            ("POST", "/v1/evidence"): open_to_all(
                evidences, MAX_EVIDENCE_BODY, lambda body: gate.evidence(body).encode()
            ),
            ("POST", "/v1/lease"): open_to_all(leases, MAX_BODY, lambda body: gate.lease(body).encode()),
            ("POST", "/v1/finalized"): by_client(
                finality,
                MAX_BODY,
                lambda body, client: gate.finality.answer(body, client=client).encode(),
            ),
            ("POST", "/v1/watch"): to_operators(reports, MAX_BODY, lambda body: canonical(gate.watch(body))),
            # The gate pays for it.
            ("POST", "/v1/receipts"): to_operators(
                batches, MAX_RECEIPTS_BODY, lambda body: canonical(gate.receipts(body))
            ),
            **boot_routes(authority),
        }
    )


def _answered(act: Callable[[], bytes]) -> Answer:
    """What it gives, or the refusal that it raises."""
    try:
        return Answer(200, act())
    except Refused as no:
        REFUSALS.labels(no.code).inc()
        said = Refusal(no.code, no.message, seen=no.seen, pinned=no.pinned)
        return Answer(no.code.http or FORBIDDEN, said.encode())
    except SealroomError as error:
        # Ours, but no refusal: the gate itself cannot serve. What it was stays in the log (RE-09).
        _log.error("%s: %s", error.code, error)
        return told(503, {"code": error.code, "message": "the gate cannot serve at the moment"})
