# SPDX-License-Identifier: Apache-2.0
"""Refusals as JSON: problem details (RFC 9457) with the registry's codes."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response

from sealroom.errors import SealroomError
from sealroom_agents.errors import RequestError

MEDIA = "application/problem+json"
RETRY_S = 2
"""Seconds after which a request that failed for a passing reason may be sent again."""


def status_of(error: SealroomError) -> int:
    """The HTTP status of one of our errors."""
    return error.status if isinstance(error, RequestError) else error.code.http or 422


def document(error: SealroomError, status: int) -> dict[str, Any]:
    """The body. Its `type` leads to the code's line on the page `/docs`."""
    found = {
        "type": f"/docs#{error.code}",
        "title": error.code.sentence,
        "status": status,
        "detail": error.message,
        "code": str(error.code),
    }
    field = error.field if isinstance(error, RequestError) else None
    return found | ({"hint": error.hint} if error.hint else {}) | ({"field": field} if field else {})


def headers(error: SealroomError, status: int) -> dict[str, str]:
    """When to try again, where that helps; how to say who asks, where nobody did."""
    wait = error.retry_s if isinstance(error, RequestError) else None
    if wait is None and (status == 503 or error.code.transient):
        wait = RETRY_S
    found = {} if wait is None else {"Retry-After": str(wait)}
    return found | ({"WWW-Authenticate": "Bearer, Sealroom"} if status == 401 else {})


def answer(error: SealroomError, status: int) -> Response:
    """The whole answer."""
    body = json.dumps(document(error, status)).encode()
    return Response(body, status_code=status, media_type=MEDIA, headers=headers(error, status))
