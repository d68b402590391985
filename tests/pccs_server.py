# SPDX-License-Identifier: Apache-2.0
"""A PCCS over real HTTP with a simulated platform's collateral; it misbehaves when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote


@dataclass
class PccsServer:
    """What it serves, and what it was asked."""

    collateral: dict[str, str]
    url: str = ""
    mode: str = "honest"
    """`honest`, `down` (HTTP 503), `huge`, `drip` (a byte now and then), `gzip`, `moved`, `nonsense`."""
    asked: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers, in the form of Intel's service, version 4."""
        given = self.collateral
        if "/tcb?" in path:
            body = f'{{"tcbInfo":{given["tcb_info"]},"signature":"{given["tcb_info_signature"]}"}}'
            return body.encode(), {"TCB-Info-Issuer-Chain": quote(given["tcb_info_issuer_chain"])}
        if path.endswith("/qe/identity"):
            body = (
                f'{{"enclaveIdentity":{given["qe_identity"]},"signature":"{given["qe_identity_signature"]}"}}'
            )
            return body.encode(), {
                "SGX-Enclave-Identity-Issuer-Chain": quote(given["qe_identity_issuer_chain"])
            }
        if "/pckcrl?" in path:
            chain = quote(given["pck_crl_issuer_chain"])
            return bytes.fromhex(given["pck_crl"]), {"SGX-PCK-CRL-Issuer-Chain": chain}
        return given["root_ca_crl"].encode(), {}  # a PCCS sends this one as hex digits


@contextmanager
def serving(collateral: dict[str, str]) -> Iterator[PccsServer]:
    """A server on a free port of this machine."""
    pccs = PccsServer(collateral)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            pccs.asked.append(self.path)
            status = {"down": 503, "moved": 302}.get(pccs.mode, 200)
            body, headers = pccs.answer(self.path)
            if pccs.mode == "moved":
                headers["Location"] = f"{pccs.url}/elsewhere"
            if pccs.mode == "gzip":
                headers["Content-Encoding"] = "gzip"
            if pccs.mode == "nonsense":
                body = b"\xff{]"
            if pccs.mode == "huge":
                body = bytes(1 << 20)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                if pccs.mode == "drip":
                    for index in range(len(body)):
                        self.wfile.write(body[index : index + 1])
                        if pccs.ended.wait(0.2):
                            return
                self.wfile.write(body)
            except OSError:
                pass  # whoever asked went away

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pccs.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield pccs
    finally:
        pccs.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
