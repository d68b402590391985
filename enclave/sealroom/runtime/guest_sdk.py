# SPDX-License-Identifier: Apache-2.0
"""dstack's own client for version 0 of the guest agent, over an exchange that is bounded and timed.

By itself `dstack_sdk.DstackClient` reads answers of any length, waits anew after each byte, and takes the
last of two members of one name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from dstack_sdk import DstackClient

from sealroom.encoding import strict_json
from sealroom.runtime.guest_rpc import ask


def client(path: Path, limits: Mapping[str, int]) -> DstackClient:
    """A client of the agent at `path`. `limits` names the methods that may be asked, and the most bytes of
    the answer to each. Calls raise `OSError`, `ValueError`, `FormatError` and `httpx.HTTPError`.

    Raises `OSError` where there is no socket.
    """
    made = DstackClient(str(path))
    exchange: Any = _Transport(path, limits)  # any transport of httpx does
    made.async_client.sync_transport = exchange
    return made


class _Transport(httpx.BaseTransport):
    def __init__(self, path: Path, limits: Mapping[str, int]) -> None:
        self._path, self._limits = path, limits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.removeprefix("/")
        limit = self._limits[method]
        reply = ask(self._path, method, json.loads(request.read()), limit=limit)
        if reply.status == 200:
            inner = strict_json(reply.body, limit).get("tcb_info")
            if isinstance(inner, str):  # JSON within JSON, which holds the recipe
                strict_json(inner.encode(), limit)
        return httpx.Response(reply.status, content=reply.body)
