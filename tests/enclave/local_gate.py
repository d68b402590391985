# SPDX-License-Identifier: Apache-2.0
"""A gate for the enclave's own tests: it speaks the release protocol over HTTP and believes everything.

It judges no quote and reads no chain; the real gate has tests of its own. What it signs and seals is real,
so that the enclave's checks are the ones that run.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.key_release import (
    Grant,
    GrantReply,
    KeyRelease,
    LeaseReply,
    LeaseRequest,
    Opened,
    datasets_root,
    evidence_digest,
    seal_key,
    sign_challenge,
    sign_grant,
    sign_renewal,
    transcript_0,
    transcript_1,
    verify_lease,
)
from sealroom.key_release.messages import (
    MAX_LEASE_SECONDS,
    Challenge,
    EvidenceMessage,
    GateIdentity,
    Hello,
)
from sealroom.key_release.replies import Refusal
from sealroom.keys import (
    GATE_ROOT_PATH,
    GATE_ROOT_PURPOSE,
    GATE_SIGNER_PATH,
    GATE_SIGNER_PURPOSE,
    address_of,
    gate_root_key,
)
from sealroom.runtime.gate_client import GateRefused
from sealroom.sealed import Header, SealSummary, Wrap, open_wrap
from sealroom_agents.simulator import SimulatedPlatform

CHAIN = 31337
CONSORTIUM = "0x" + "c0" * 20
LEDGER = "0x" + "1e" * 20
APP_ID = bytes.fromhex("ab" * 20)


class LocalGate:
    """Change an attribute to make a bad twin of it."""

    def __init__(
        self,
        platform: SimulatedPlatform,
        *,
        epsilon_micro: int,
        delta_pico: int,
        app_id: bytes = b"g" * 20,
    ) -> None:
        signer = platform.kms.derive(app_id, path=GATE_SIGNER_PATH, purpose=GATE_SIGNER_PURPOSE)
        root = platform.kms.derive(app_id, path=GATE_ROOT_PATH, purpose=GATE_ROOT_PURPOSE)
        self.signer_key = signer.key
        self.root = gate_root_key(root.key, CHAIN)
        self.epsilon_micro, self.delta_pico = epsilon_micro, delta_pico
        self.sealed: dict[bytes, SealSummary] = {}
        self.owners: dict[bytes, str] = {}
        self.lease_seconds = MAX_LEASE_SECONDS  # no test waits until one lapses
        self.final: Callable[[LeaseRequest], bool] = lambda request: True
        self.change_grant: Callable[[Grant], Grant] = lambda grant: grant
        self.grant_signer = signer.key
        self.before_evidence: Callable[[], None] = lambda: None
        self.before_lease: Callable[[], None] = lambda: None
        self.hellos: dict[bytes, tuple[Hello, Challenge]] = {}
        self.leases: list[LeaseRequest] = []
        self.enclave_signer = ""
        self.gpu_material = b"what this gate judged GPUs by"
        self._identity = GateIdentity(
            chain_id=CHAIN,
            app_id=app_id,
            compose_hash=b"h" * 32,
            compose=b"{}",
            root_public_key=self.root.public,
            signer_key=signer.public_key,
            kms_root_key=platform.kms.root_public_key,
            signature_chain=signer.signature_chain,
            policy_hash=b"p" * 32,
            policy={},
            quote=b"quote of the gate",
            event_log="[]",
            collateral={},
            issued=int(time.time()),
        )

    def identity(self) -> GateIdentity:
        return self._identity

    def hello(self, message: Hello) -> Challenge:
        now = int(time.time())
        challenge = sign_challenge(
            message, nonce=secrets.token_bytes(32), issued=now, expires=now + 60, private_key=self.signer_key
        )
        self.hellos[challenge.nonce] = message, challenge
        return challenge

    def evidence(self, message: EvidenceMessage) -> GrantReply:
        self.before_evidence()
        hello, challenge = self.hellos[message.nonce]
        transcript = transcript_0(hello, challenge)
        headers = [Header.parse(offer.header) for offer in message.datasets]
        self.enclave_signer = message.signer
        grant = self.change_grant(
            Grant(
                run_id=hello.run_id,
                study=b"s" * 32,
                ledger=LEDGER,
                compose_hash=hello.compose_hash,
                enclave_signer=message.signer,
                kem_key_hash=sha256(message.kem_key),
                transcript=sha256(transcript),
                evidence=evidence_digest(
                    quote=message.quote,
                    event_log=message.event_log,
                    gpu_evidence=message.gpu_evidence,
                    gpu_material=self.gpu_material if message.gpu_evidence else b"",
                ),
                datasets_root=datasets_root([(header.dataset_id, header.digest) for header in headers]),
                epsilon_micro=self.epsilon_micro,
                delta_pico=self.delta_pico,
                standing=b"e" * 32,
                block_number=7,
                block_hash=b"b" * 32,
                issued=int(time.time()),
                lease_seconds=self.lease_seconds,
                audit_head=b"a" * 32,
            )
        )
        later = transcript_1(
            transcript,
            kem_key=message.kem_key,
            signer=message.signer,
            gate_signer=address_of(self.signer_key),
            grant=grant,
        )
        keys = []
        for header, offer in zip(headers, message.datasets, strict=True):
            summary = self.sealed[header.dataset_id]
            sealed = seal_key(
                open_wrap(Wrap.parse(offer.wrap), self.root).reveal(),
                kem_key=message.kem_key,
                transcript=later,
                owner=self.owners[header.dataset_id],
                dataset_id=header.dataset_id,
                header=header.digest,
                key_commitment=summary.key_commitment,
            )
            keys.append(
                KeyRelease(
                    dataset=header.dataset_id,
                    index_digest=summary.index_digest,
                    key_commitment=summary.key_commitment,
                    ciphertext=sealed,
                )
            )
        signature = sign_grant(grant, chain_id=CHAIN, consortium=CONSORTIUM, private_key=self.grant_signer)
        return GrantReply(
            grant=grant,
            grant_signature=signature,
            keys=tuple(keys),
            collateral={},
            gpu_material=self.gpu_material if message.gpu_evidence else b"",
            opened=Opened(tx=b"t" * 32, block=8),
        )

    def lease(self, message: LeaseRequest, *, timeout: float = 0.0) -> LeaseReply:
        self.before_lease()
        verify_lease(message, signer=self.enclave_signer, chain_id=CHAIN, consortium=CONSORTIUM)
        self.leases.append(message)
        return sign_renewal(
            message,
            lease_seconds=self.lease_seconds,
            until=int(time.time()) + self.lease_seconds,
            opening_final=self.final(message),
            chain_id=CHAIN,
            consortium=CONSORTIUM,
            private_key=self.signer_key,
        )

    def serve(self) -> ThreadingHTTPServer:
        """Listen on a free port in a thread of its own; `shutdown` and `server_close` end it."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def refuse(code: str) -> None:
    raise GateRefused(Refusal(Code.parse(code), f"refused: {code}"))


def for_another_run(grant: Grant) -> Grant:
    return dataclasses.replace(grant, run_id=b"?" * 32)


def for_other_evidence(grant: Grant) -> Grant:
    return dataclasses.replace(grant, evidence=b"?" * 32)


def with_more_epsilon(grant: Grant) -> Grant:
    return dataclasses.replace(grant, epsilon_micro=grant.epsilon_micro + 1)


def with_a_long_lease(grant: Grant) -> Grant:
    return dataclasses.replace(grant, lease_seconds=120)


def with_no_lease(grant: Grant) -> Grant:
    return dataclasses.replace(grant, lease_seconds=0)


def with_less_delta(grant: Grant) -> Grant:
    return dataclasses.replace(grant, delta_pico=grant.delta_pico - 1)


def stranger() -> bytes:
    """A signing key that is not the gate's."""
    key = secrets.token_bytes(32)
    address_of(key)
    return key


def _handler(gate: LocalGate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda body: gate.identity())

        def do_POST(self) -> None:
            methods: dict[str, Callable[[bytes], Any]] = {
                "/v1/hello": lambda body: gate.hello(Hello.parse(body)),
                "/v1/evidence": lambda body: gate.evidence(EvidenceMessage.parse(body)),
                "/v1/lease": lambda body: gate.lease(LeaseRequest.parse(body)),
            }
            self._answer(methods[self.path])

        def _answer(self, method: Callable[[bytes], Any]) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, answer = 200, method(body).encode()
            except GateRefused as refused:
                status, answer = 403, refused.refusal.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
