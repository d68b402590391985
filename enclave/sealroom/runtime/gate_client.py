# SPDX-License-Identifier: Apache-2.0
"""The gate's HTTP interface, from the side of enclaves and of those who complete envelopes.

The connection is untrusted: a party that relays or alters it can only make a run fail, since the gate's word
is signed and the keys are sealed to the attested enclave (`sealroom.key_release`). So this is plain HTTP with
bounds: every call has a timeout, every answer a size, and no redirect, proxy or content encoding is followed.
"""

from __future__ import annotations

from typing import Protocol

import httpx

from sealroom.codes import Code, Stage
from sealroom.errors import KeyReleaseError
from sealroom.key_release import (
    Challenge,
    EvidenceMessage,
    FinalityReply,
    FinalityRequest,
    GateIdentity,
    GrantReply,
    Hello,
    LeaseReply,
    LeaseRequest,
)
from sealroom.key_release.messages import MAX_BODY, MAX_IDENTITY_BODY, MAX_REPLY_BODY
from sealroom.key_release.replies import Refusal

CONNECT_SECONDS = 5.0
HELLO_SECONDS = 15.0
EVIDENCE_SECONDS = 90.0
"""The gate verifies, waits for its transaction that books ε, and re-reads revocation before it answers."""


class GateRefused(KeyReleaseError):
    """The gate said no, with its code; `refusal` has what it saw and what is pinned."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code, refusal.message)
        self.refusal = refusal


class Gate(Protocol):
    """What a run needs of a gate.

    Each call raises `GateRefused`, or `KeyReleaseError` ("gate-unreachable", …).
    """

    def identity(self) -> GateIdentity: ...
    def hello(self, message: Hello) -> Challenge: ...
    def evidence(self, message: EvidenceMessage) -> GrantReply: ...
    def lease(self, message: LeaseRequest, *, timeout: float) -> LeaseReply: ...


class HttpGate:
    """A gate reached by URL. May be used from several threads."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(
            base_url=url,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
        )

    def identity(self) -> GateIdentity:
        return GateIdentity.parse(
            self._call("GET", "/v1/gate", b"", limit=MAX_IDENTITY_BODY, timeout=HELLO_SECONDS)
        )

    def hello(self, message: Hello) -> Challenge:
        return Challenge.parse(
            self._call("POST", "/v1/hello", message.encode(), limit=MAX_BODY, timeout=HELLO_SECONDS)
        )

    def evidence(self, message: EvidenceMessage) -> GrantReply:
        return GrantReply.parse(
            self._call(
                "POST", "/v1/evidence", message.encode(), limit=MAX_REPLY_BODY, timeout=EVIDENCE_SECONDS
            )
        )

    def lease(self, message: LeaseRequest, *, timeout: float) -> LeaseReply:
        return LeaseReply.parse(
            self._call("POST", "/v1/lease", message.encode(), limit=MAX_BODY, timeout=timeout)
        )

    def finalized(self, message: FinalityRequest) -> FinalityReply:
        """The gate's word on blocks: for whoever completes an envelope, not for a run."""
        return FinalityReply.parse(
            self._call("POST", "/v1/finalized", message.encode(), limit=MAX_BODY, timeout=HELLO_SECONDS)
        )

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, body: bytes, *, limit: int, timeout: float) -> bytes:
        times = httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout))
        try:
            with self._client.stream(method, path, content=body, timeout=times) as response:
                answer = b""
                for piece in response.iter_raw():
                    answer += piece
                    if len(answer) > limit:
                        raise KeyReleaseError(
                            Code.TOO_LARGE, f"the gate's answer to {path} is larger than {limit} bytes"
                        )
                status = response.status_code
        except httpx.HTTPError as error:
            raise KeyReleaseError(
                Code.GATE_UNREACHABLE, f"the gate gave no answer to {path} ({type(error).__name__})"
            ) from None
        if status == 200:
            return answer
        try:
            refusal = Refusal.parse(answer)
        except KeyReleaseError:
            raise KeyReleaseError(
                Code.GATE_UNREACHABLE, f"the gate answered {path} with status {status}"
            ) from None
        if refusal.code.stage is Stage.SERVER:  # no word about this request: it did not reach the protocol
            raise KeyReleaseError(Code.GATE_UNREACHABLE, f"the gate answered {path} with status {status}")
        raise GateRefused(refusal)
