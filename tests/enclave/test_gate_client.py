# SPDX-License-Identifier: Apache-2.0
"""What the enclave makes of a gate's answers that are no grant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sealroom.codes import Stage
from sealroom.errors import KeyReleaseError
from sealroom.runtime.gate_client import GateRefused, HttpGate


@contextmanager
def answering(status: int, body: bytes) -> Iterator[HttpGate]:
    """A gate's client whose server gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gate = HttpGate(f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield gate
        finally:
            gate.close()
            server.shutdown()


@pytest.mark.parametrize(
    "status, body",
    [
        (404, b'{"code":"not-found","message":"there is nothing at this address"}'),
        (500, b'{"code":"internal","message":"the server met a fault of its own"}'),
        (502, b"<html>a proxy's page</html>"),
    ],
)
def test_what_is_no_word_of_the_protocol_is_no_answer(status: int, body: bytes) -> None:
    with answering(status, body) as gate, pytest.raises(KeyReleaseError) as caught:
        gate.identity()
    assert caught.value.code == "gate-unreachable" and not isinstance(caught.value, GateRefused)


def test_a_refusal_that_this_version_does_not_know_is_final_and_keeps_its_word() -> None:
    with (
        answering(403, b'{"code":"too-tired","message":"later"}') as gate,
        pytest.raises(GateRefused) as caught,
    ):
        gate.identity()
    assert caught.value.code == "too-tired"
    assert caught.value.code.stage is Stage.UNKNOWN and not caught.value.code.transient
