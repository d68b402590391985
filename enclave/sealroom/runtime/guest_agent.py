# SPDX-License-Identifier: Apache-2.0
"""The dstack guest agent of this machine: who we are, which recipe booted, and quotes.

Wraps `dstack_sdk.DstackClient` (dstack's guest agent API, v0). The SDK quietly prefers an endpoint from the
environment; here the socket is fixed, and such a variable stops the process (AT-22): a host that sets it
could otherwise put a software agent between this code and the hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from dstack_sdk import DstackClient

from sealroom.codes import Code
from sealroom.encoding import Fields, from_hex, sha256, strict_json
from sealroom.errors import FormatError, GuestError
from sealroom.key_release.messages import MAX_GPU_EVIDENCE

PRODUCTION_SOCKET = Path("/var/run/dstack.sock")
"""Where dstack mounts its guest agent; the only socket used on a chain that is not local."""

LOCAL_CHAIN_IDS = frozenset({1337, 31337})
"""Development chains, the only ones on which another socket, hence a simulated platform, may be named."""

REDIRECTING_VARIABLES = ("DSTACK_SIMULATOR_ENDPOINT", "TAPPD_SIMULATOR_ENDPOINT", "DSTACK_AGENT_ADDRESS")
"""Environment variables that redirect dstack's tools to another guest agent."""

TIMEOUT_SECONDS = 20.0
"""For one call; a quote takes about a second on hardware."""


@dataclass(frozen=True, kw_only=True)
class GuestInfo:
    """What booted on this machine, as its guest agent says. The gate takes it from the quote instead."""

    app_id: bytes
    """dstack app id, 20 bytes: the address of the DstackApp contract."""
    compose: bytes
    """The raw bytes of app-compose.json that were measured: the recipe."""
    compose_hash: bytes
    """SHA-256 of `compose`, 32 bytes."""


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A TDX quote and the event log that explains RTMR3."""

    quote: bytes
    event_log: str
    """JSON text, as the agent gave it."""


NVATTEST = ("nvidia", "nvidia-nvattest-collect-evidence-json-v1")
"""Vendor and format of the one bundle of GPU evidence that is taken."""
MAX_BUNDLES = 8
"""Most bundles of GPU evidence in an answer."""
MAX_ATTEST_GPU_BODY = 2 * MAX_GPU_EVIDENCE + 64 * 1024
"""Most bytes of an answer with GPU evidence, which is hex there."""


class Guest:
    """A connection to the guest agent."""

    def __init__(self, client: DstackClient, socket: Path) -> None:
        self._client = client
        self._socket = socket

    @classmethod
    def connect(
        cls, *, chain_id: int, environment: Mapping[str, str], simulator: Path | None = None
    ) -> Guest:
        """Connect to the fixed socket or, on a local chain only, to `simulator`.

        Raises `GuestError`: "simulator-endpoint-set", "simulator-off-local-chain", "guest-agent-missing".
        """
        for name in REDIRECTING_VARIABLES:
            if name in environment:
                raise GuestError(
                    Code.SIMULATOR_ENDPOINT_SET,
                    f"{name} is set, so something else could answer for the guest agent",
                    f"unset {name}",
                )
        if simulator is not None and chain_id not in LOCAL_CHAIN_IDS:
            raise GuestError(
                Code.SIMULATOR_OFF_LOCAL_CHAIN,
                f"another guest agent than {PRODUCTION_SOCKET} is allowed on a local chain only, not on"
                f" {chain_id}",
            )
        endpoint = simulator or PRODUCTION_SOCKET
        try:
            return cls(DstackClient(str(endpoint), timeout=TIMEOUT_SECONDS), endpoint)
        except FileNotFoundError:
            raise GuestError(
                Code.GUEST_AGENT_MISSING, f"there is no dstack guest agent at {endpoint}"
            ) from None

    def info(self) -> GuestInfo:
        """Read the recipe that booted.

        Raises `GuestError` ("guest-agent-failed", "compose-hash-mismatch").
        """
        try:
            info = self._client.info()
            compose = info.tcb_info.app_compose.encode()
            app_id, stated = _from_hex(info.app_id, 20), _from_hex(info.compose_hash, 32)
        except (httpx.HTTPError, ValueError, FormatError) as error:
            raise _failed("Info") from error
        if sha256(compose) != stated:
            raise GuestError(
                Code.COMPOSE_HASH_MISMATCH, "the recipe that the guest agent shows is not the one it names"
            )
        return GuestInfo(app_id=app_id, compose=compose, compose_hash=stated)

    def gpu_evidence(self, nonce: bytes) -> bytes:
        """Have this machine's GPUs sign a nonce of 32 bytes: dstack's `AttestGpu`. Nothing of it is verified.

        Raises `GuestError`: "guest-agent-failed"; "gpu-evidence-unverified" where the machine shows no GPU of
        NVIDIA, or more evidence than a gate reads.
        """
        # The SDK knows the agent's first interface alone; this method is of the second.
        transport = httpx.HTTPTransport(uds=str(self._socket))
        try:
            with (
                httpx.Client(transport=transport, base_url="http://guest", timeout=TIMEOUT_SECONDS) as client,
                client.stream("POST", "/v1/AttestGpu", json={"nonce": nonce.hex()}) as reply,
            ):
                reply.raise_for_status()
                found = _gpu_bundles(_bounded(reply))
        except (httpx.HTTPError, ValueError, FormatError) as error:
            raise _failed("AttestGpu") from error
        if len(found) != 1 or not 0 < len(found[0]) <= MAX_GPU_EVIDENCE:
            raise GuestError(
                Code.GPU_EVIDENCE_UNVERIFIED,
                f"the recipe demands GPUs, and this machine shows {len(found)} bundles of NVIDIA’s evidence,"
                f" where one of at most {MAX_GPU_EVIDENCE} bytes must be",
                "run it on a machine whose guest has the GPUs that the recipe demands",
            )
        return found[0]

    def quote(self, report_data: bytes) -> Quote:
        """Have the hardware vouch for 64 bytes. Raises `GuestError` ("guest-agent-failed")."""
        try:
            reply = self._client.get_quote(report_data)
            return Quote(quote=reply.decode_quote(), event_log=reply.event_log)
        except (httpx.HTTPError, ValueError) as error:
            raise _failed("GetQuote") from error


def _bounded(reply: httpx.Response) -> bytes:
    """A body that is no longer than evidence can be. Raises `ValueError`."""
    body = bytearray()
    for chunk in reply.iter_bytes():
        body += chunk
        if len(body) > MAX_ATTEST_GPU_BODY:
            raise ValueError("the answer is too long")
    return bytes(body)


def _gpu_bundles(body: bytes) -> list[bytes]:
    """NVIDIA's bundles in an answer; those of other vendors are passed over. Raises `FormatError`."""
    answer = Fields(strict_json(body, MAX_ATTEST_GPU_BODY), "AttestGpu")
    found = []
    for value in answer.array("bundles", limit=MAX_BUNDLES):
        bundle = Fields(value, "bundle")
        if (bundle.raw("vendor"), bundle.raw("format")) == NVATTEST:
            found.append(bytes.fromhex(bundle.text("evidence", limit=2 * MAX_GPU_EVIDENCE)))
    return found


def _from_hex(text: str, size: int) -> bytes:
    return from_hex("0x" + text.removeprefix("0x").lower(), size)


def _failed(method: str) -> GuestError:
    return GuestError(Code.GUEST_AGENT_FAILED, f"the guest agent gave no usable answer to {method}")
