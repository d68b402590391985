# SPDX-License-Identifier: Apache-2.0
"""The dstack guest agent of this machine: who we are, which recipe booted, quotes, GPU evidence and keys.

An agent serves two interfaces: version 0, closed at what dstack 0.5.11 had, and from 0.6 on version 1 under
`/v1/`. What vouches for something is asked of version 1 where the agent has it, and of version 0 only where
the agent says, in the way that dstack documents, that there is no version 1. No error, timeout or strange
answer leads from one to the other. Keys are never chosen so: the two versions derive other keys from the same
name, and who asks names the version.

The socket is fixed, and a variable with which dstack's own client would be sent elsewhere stops the process
(AT-22): a host that sets it could otherwise put a software agent between this code and the hardware.

Sources: dstack `docs/guest-api-v0.md`, `docs/guest-api-v1.md`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from dstack_sdk import DstackClient

from sealroom.codes import Code
from sealroom.encoding import Fields, from_hex, sha256, strict_json
from sealroom.errors import FormatError, GuestError, KeyMaterialError
from sealroom.key_release.messages import MAX_EVENT_LOG, MAX_GPU_EVIDENCE, MAX_QUOTE
from sealroom.keys import SIGNATURE_SIZE, KeyInterface, Secret, public_key33
from sealroom.runtime import guest_sdk
from sealroom.runtime.guest_rpc import ask
from sealroom.runtime.versioned import MAX_BYTES, read_attestation

PRODUCTION_SOCKET = Path("/var/run/dstack.sock")
"""Where dstack mounts its guest agent; the only socket used on a chain that is not local."""

LOCAL_CHAIN_IDS = frozenset({1337, 31337})
"""Development chains, the only ones on which another socket, hence a simulated platform, may be named."""

REDIRECTING_VARIABLES = ("DSTACK_SIMULATOR_ENDPOINT", "TAPPD_SIMULATOR_ENDPOINT", "DSTACK_AGENT_ADDRESS")
"""Environment variables that redirect dstack's tools to another guest agent."""

REPORT_DATA_SIZE = 64
"""Bytes that a quote binds."""
MAX_COMPOSE = 256 * 1024
"""Most bytes of a recipe."""
MAX_BODY = 64 * 1024
"""Most bytes of an answer without documents in it."""
MAX_INFO_BODY = 4 * 1024 * 1024
"""Most bytes of an answer with a recipe and an event log, each a text within a text."""
MAX_QUOTE_BODY = 4 * 1024 * 1024
"""Most bytes of an answer with a quote in hex and an event log, which is a text within it."""
MAX_ATTEST_BODY = 2 * MAX_BYTES + MAX_BODY
"""Most bytes of an answer with an attestation in hex."""
MAX_ATTEST_GPU_BODY = 2 * MAX_GPU_EVIDENCE + MAX_BODY
"""Most bytes of an answer with GPU evidence in hex."""
MAX_BUNDLES = 8
"""Most bundles of GPU evidence in an answer."""
NVATTEST = ("nvidia", "nvidia-nvattest-collect-evidence-json-v1")
"""Vendor and format of the one bundle of GPU evidence that is taken."""

_NO_ANSWER = (OSError, ValueError, FormatError, httpx.HTTPError)
"""What asking and reading raise."""
NO_SUCH_METHOD = "Service not found"
"""How the error begins with which a served interface answers for a method that it lacks."""


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
    """JSON text. That of version 1 lacks events of firmware, whose registers the quote has."""


@dataclass(frozen=True, kw_only=True)
class GuestKey:
    """A key that dstack derives for this app alone, and what leads from it to the KMS."""

    key: Secret
    """32 bytes."""
    signature_chain: tuple[bytes, bytes]
    """By the app's key, over a claim of the interface's form; by the KMS root key. 65 bytes each."""


class Guest:
    """The guest agent at a socket. Each question is a connection of its own; threads may share it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._probing = threading.Lock()
        self._has_version_1: bool | None = None
        self._client: DstackClient | None = None

    @classmethod
    def connect(
        cls, *, chain_id: int, environment: Mapping[str, str], simulator: Path | None = None
    ) -> Guest:
        """Take the fixed socket or, on a local chain only, `simulator`. Asks nothing yet.

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
        if not endpoint.exists():
            raise GuestError(Code.GUEST_AGENT_MISSING, f"there is no dstack guest agent at {endpoint}")
        return cls(endpoint)

    def info(self) -> GuestInfo:
        """Read the recipe that booted.

        Raises `GuestError` ("guest-agent-failed", "compose-hash-mismatch").
        """
        try:
            if self.has_version_1():
                method = "v1/Info"
                said = self._asked(method, {}, limit=MAX_INFO_BODY)
                app_id, stated = _hex(said, "app_id", 20), _hex(said, "compose_hash", 32)
                compose = said.text("app_compose", limit=MAX_COMPOSE).encode()
            else:
                method = "Info"
                info = self._version_0().info()
                app_id, stated = _hexed(info.app_id, 20), _hexed(info.compose_hash, 32)
                compose = info.tcb_info.app_compose.encode()
            if len(compose) > MAX_COMPOSE:
                raise ValueError("the recipe is longer than recipes are")
        except _NO_ANSWER as error:
            raise _failed(method, error) from error
        if sha256(compose) != stated:
            raise GuestError(
                Code.COMPOSE_HASH_MISMATCH, "the recipe that the guest agent shows is not the one it names"
            )
        return GuestInfo(app_id=app_id, compose=compose, compose_hash=stated)

    def quote(self, report_data: bytes) -> Quote:
        """Have the hardware vouch for 64 bytes. Raises `GuestError` ("guest-agent-failed")."""
        first = self.has_version_1()
        method = "v1/Attest" if first else "GetQuote"
        try:
            if first:
                said = self._asked(method, {"report_data": report_data.hex()}, limit=MAX_ATTEST_BODY)
                found = read_attestation(_bytes(said, "attestation", MAX_BYTES))
                quote, event_log, bound = found.quote, found.event_log, found.report_data
            else:
                given = self._version_0().get_quote(report_data)
                quote, event_log = _hexed(given.quote, len(given.quote) // 2), given.event_log
                bound = _hexed(given.report_data, REPORT_DATA_SIZE)
            if bound != report_data.ljust(REPORT_DATA_SIZE, b"\0"):
                raise ValueError("the quote is for other report data")
            if not 0 < len(quote) <= MAX_QUOTE or len(event_log) > MAX_EVENT_LOG:
                raise ValueError("there is no quote, or more than a gate reads")
        except _NO_ANSWER as error:
            raise _failed(method, error) from error
        return Quote(quote=quote, event_log=event_log)

    def gpu_evidence(self, nonce: bytes) -> bytes:
        """Have this machine's GPUs sign a nonce of 32 bytes. Nothing of it is verified. Version 0 has no way.

        Raises `GuestError`: "guest-agent-failed"; "gpu-evidence-unverified" where the machine shows no GPU of
        NVIDIA, or more evidence than a gate reads.
        """
        said = self._asked("v1/AttestGpu", {"nonce": nonce.hex()}, limit=MAX_ATTEST_GPU_BODY)
        try:
            found = _gpu_bundles(said)
        except (ValueError, FormatError) as error:
            raise _failed("v1/AttestGpu", error) from error
        if len(found) != 1 or not 0 < len(found[0]) <= MAX_GPU_EVIDENCE:
            raise GuestError(
                Code.GPU_EVIDENCE_UNVERIFIED,
                f"the recipe demands GPUs, and this machine shows {len(found)} bundles of NVIDIA’s evidence,"
                f" where one of at most {MAX_GPU_EVIDENCE} bytes must be",
                "run it on a machine whose guest has the GPUs that the recipe demands",
            )
        return found[0]

    def key(self, name: str, purpose: str, interface: KeyInterface) -> GuestKey:
        """The secp256k1 key that dstack derives for this app under `name`, by that interface and no other.

        purpose: what version 0 signs beside the public key; version 1 signs the name.
        Raises `GuestError` ("guest-agent-failed").
        """
        method = "v1/GetKey" if interface is KeyInterface.V1 else "GetKey"
        try:
            if interface is KeyInterface.V1:
                said = self._asked(method, {"domain": name, "algorithm": "secp256k1"}, limit=MAX_BODY)
                key = Secret(_hex(said, "key", 32))
                chain = said.array("signature_chain", limit=2)
                public = public_key33(key.reveal())
                if _hex(said, "public_key", len(public)) != public:
                    raise ValueError("the public key is another key's")
            else:
                given = self._version_0().get_key(name, purpose)
                key, chain = Secret(_hexed(given.key, 32)), given.signature_chain
                public_key33(key.reveal())  # it is one
            by_app, by_root = (_hexed(one, SIGNATURE_SIZE) for one in chain)
        except (OSError, httpx.HTTPError) as error:
            raise _failed(method, error) from None
        except (ValueError, FormatError, KeyMaterialError):
            # What was wrong is not told on: its text could hold what stands in the answer.
            raise _failed(method, None) from None
        return GuestKey(key=key, signature_chain=(by_app, by_root))

    def has_version_1(self) -> bool:
        """Whether the agent serves version 1. Asked until it has been answered once: an agent does not change
        under a running machine. Raises `GuestError` ("guest-agent-failed")."""
        with self._probing:
            if self._has_version_1 is None:
                self._has_version_1 = self._probe()
            return self._has_version_1

    def _probe(self) -> bool:
        method = "v1/Version"
        try:
            reply = ask(self._socket, method, {}, limit=MAX_BODY)
            if reply.status == 404 and not _lacks_a_method(reply.body):
                return False
            said = _answer(reply.status, reply.body, MAX_BODY)
            said.text("version", limit=256)
        except (OSError, ValueError, FormatError) as error:
            raise _failed(method, error) from error
        return True

    def _version_0(self) -> DstackClient:
        """dstack's client. Raises `OSError`."""
        with self._probing:
            if self._client is None:
                self._client = guest_sdk.client(
                    self._socket, {"Info": MAX_INFO_BODY, "GetQuote": MAX_QUOTE_BODY, "GetKey": MAX_BODY}
                )
            return self._client

    def _asked(self, method: str, request: Mapping[str, Any], *, limit: int) -> Fields:
        try:
            reply = ask(self._socket, method, request, limit=limit)
            return _answer(reply.status, reply.body, limit)
        except (OSError, ValueError, FormatError) as error:
            raise _failed(method, error) from error


def _answer(status: int, body: bytes, limit: int) -> Fields:
    """The object in an answer. Members that a later agent may add are passed over."""
    if status != 200:
        raise ValueError(f"its status is {status}")
    return Fields(strict_json(body, limit), "answer")


def _lacks_a_method(body: bytes) -> bool:
    """Whether a 404 comes from a served interface that lacks the method. Everything else is the page of
    a server that serves no such interface: dstack documents no form for it."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return NO_SUCH_METHOD.encode() in body
    return NO_SUCH_METHOD in str(said.get("error", "") if isinstance(said, dict) else said)


def _gpu_bundles(said: Fields) -> list[bytes]:
    """NVIDIA's bundles in an answer; those of other vendors are passed over. Raises `FormatError`."""
    found = []
    for value in said.array("bundles", limit=MAX_BUNDLES):
        bundle = Fields(value, "bundle")
        if (bundle.raw("vendor"), bundle.raw("format")) == NVATTEST:
            found.append(_bytes(bundle, "evidence", MAX_GPU_EVIDENCE))
    return found


def _bytes(said: Fields, name: str, limit: int) -> bytes:
    """Bytes as dstack writes them, lower-case hex without prefix. Raises `ValueError`, `FormatError`."""
    text = said.text(name, limit=2 * limit)
    return _hexed(text, len(text) // 2)


def _hex(said: Fields, name: str, size: int) -> bytes:
    return _hexed(said.raw(name), size)


def _hexed(text: Any, size: int) -> bytes:
    if not isinstance(text, str):
        raise ValueError("there is no hex where some must be")
    return from_hex("0x" + text, size)


def _failed(method: str, error: Exception | None) -> GuestError:
    why = "" if error is None else f": {error}"
    return GuestError(Code.GUEST_AGENT_FAILED, f"the guest agent gave no usable answer to {method}{why}")
