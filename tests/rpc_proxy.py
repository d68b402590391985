# SPDX-License-Identifier: Apache-2.0
"""An RPC endpoint that lies: it stands before a real node and changes what a test tells it to.

with RpcProxy(chain.url) as proxy:
    proxy.tamper = lambda method, params, result: … # what the caller gets to see
    proxy.rewrite = lambda method, params: …        # what the real node is asked instead
    proxy.refuses = lambda method, params: …        # or: an error instead of an answer
    proxy.refusal = {"code": …, "message": …}       # which one
    proxy.loses = lambda method, params: …          # or: a transaction that the node never gets, as if it had
    proxy.hangs_up_after = lambda method: …         # or: the node gets it, the caller no answer
    proxy.down = True                               # or: no answer at all
    proxy.busy = lambda: …                          # or: HTTP 429, as long as that is true
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests import plain_http

Tamper = Callable[[str, list[Any], Any], Any]


def honest(_method: str, _params: list[Any], result: Any) -> Any:
    """Change nothing."""
    return result


ZERO = "0x" + 64 * "0"


def listed(calls: Any) -> list[dict[str, Any]]:
    """The calls of a request, be it a batch or one."""
    return calls if isinstance(calls, list) else [calls]


def as_asked(_method: str, params: list[Any]) -> list[Any]:
    """Ask what the caller asks."""
    return params


class RpcProxy:
    """A JSON-RPC endpoint on a free port, in a thread of its own."""

    def __init__(self, upstream: str) -> None:
        self.tamper: Tamper = honest
        self.rewrite: Callable[[str, list[Any]], list[Any]] = as_asked
        self.refuses: Callable[[str, list[Any]], bool] = lambda method, params: False
        self.refusal: dict[str, Any] = {"code": -32602, "message": "invalid params"}
        self.loses: Callable[[str, list[Any]], bool] = lambda method, params: False
        self.hangs_up_after: Callable[[str], bool] = lambda method: False
        self.down = False
        self.busy: Callable[[], bool] = lambda: False
        self.calls = 0
        proxy, client = self, plain_http.client()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                proxy.calls += 1
                if proxy.down:
                    self.close_connection = True
                    self.connection.close()
                    return
                if proxy.busy():
                    self.send_response(429)
                    self.send_header("retry-after", "0")
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                content = proxy.answer(body)
                if any(proxy.hangs_up_after(one["method"]) for one in listed(json.loads(body))):
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Quiet."""

        self._client, self._upstream = client, upstream
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="rpc-proxy", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> RpcProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, body: bytes) -> bytes:
        """What a caller that sends `body` gets to see."""
        headers = {"content-type": "application/json"}
        calls = json.loads(body)
        if any(self.loses(one["method"], one.get("params", [])) for one in listed(calls)):
            return json.dumps([{"jsonrpc": "2.0", "id": one["id"], "result": ZERO} for one in calls]).encode()
        sent = self._rewritten(calls) if isinstance(calls, dict) else [self._rewritten(one) for one in calls]
        answers = self._client.post(self._upstream, json=sent, headers=headers).json()
        return json.dumps(self._changed(calls, answers)).encode()

    def _rewritten(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {**asked, "params": self.rewrite(asked["method"], asked.get("params", []))}

    def _changed(self, asked: Any, answers: Any) -> Any:
        if isinstance(asked, dict):
            return self._one(asked, answers)
        by_id = {answer["id"]: answer for answer in answers}
        return [self._one(each, by_id[each["id"]]) for each in asked]

    def _one(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if self.refuses(asked["method"], asked.get("params", [])):
            return {"jsonrpc": "2.0", "id": answer["id"], "error": self.refusal}
        if "result" not in answer:
            return answer
        return {**answer, "result": self.tamper(asked["method"], asked.get("params", []), answer["result"])}
