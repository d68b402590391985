# SPDX-License-Identifier: Apache-2.0
"""The dstack guest agent of a simulated enclave: what each method answers.

Version 0 of the interface is `agent_rpc.proto` of dstack 0.5.11, service DstackGuest, at `/` and, from 0.6
on, at `/v0/`; the unmodified `dstack_sdk.DstackClient` talks to it. Version 1 is `agent_rpc_v1.proto`, at
`/v1/`. Bytes are lower-case hex without `0x`. What errors say is dstack's where dstack documents it
(`docs/guest-api-v0.md`, `docs/guest-api-v1.md`). Requests are POST with JSON alone.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from sealroom_agents.simulator import certificates, signing
from sealroom_agents.simulator.attestation_form import encode_attestation
from sealroom_agents.simulator.certificates import Wanted
from sealroom_agents.simulator.enclave import SimulatedEnclave
from sealroom_agents.simulator.gpu.device import NVATTEST_FORMAT
from sealroom_agents.simulator.guest_requests import Request, blob, flag, seconds, text, texts
from sealroom_agents.simulator.kms import ED25519_NAME, DerivedKey
from sealroom_agents.simulator.machine import Machine
from sealroom_agents.simulator.measurement import SIMULATED_OS_IMAGE
from sealroom_agents.simulator.pki import LABEL
from sealroom_agents.simulator.platform import DEFAULT_MACHINE, SimulatedPlatform
from sealroom_agents.simulator.quoting import REPORT_DATA_BYTES
from sealroom_agents.simulator.socket_server import AgentServer, BadRequest, Method

T = TypeVar("T")

GPU_NONCE_BYTES = 32
"""The nonce of a GPU's report, which SPDM fixes."""
MAX_EMITTED = 64
"""Most events that an app may extend here."""
REMOVED = (
    "EmitEvent was removed in dstack 0.6.0; "
    "runtime RTMR3 events are system-owned and cannot be extended by apps"
)


class Interfaces(StrEnum):
    """Which versions of the interface a guest agent serves."""

    V0 = "v0"
    """As dstack 0.5.11 does."""
    V1 = "v1"
    """As no release does yet."""
    BOTH = "both"
    """As dstack 0.6.0 does."""


class GuestAgent:
    """Answers of the guest agent inside one simulated enclave."""

    def __init__(
        self,
        platform: SimulatedPlatform,
        compose: bytes,
        app_id: bytes,
        *,
        machine: Machine | str = DEFAULT_MACHINE,
        os_image: bytes = SIMULATED_OS_IMAGE,
        interfaces: Interfaces = Interfaces.BOTH,
        **options: Any,
    ) -> None:
        """Boot `compose` for `app_id`; `options` are those of `SimulatedEnclave`."""
        self.enclave = SimulatedEnclave(platform, compose, app_id, machine, os_image=os_image, **options)
        self._old = interfaces is Interfaces.V0
        self._measuring = threading.Lock()
        self._emitted = 0
        first: dict[str, Method] = {
            "GetKey": self.get_key,
            "GetTlsKey": self.get_tls_key,
            "GetQuote": self.get_quote,
            "Attest": self.attest_v0,
            "EmitEvent": self.emit_event,
            "Sign": self.sign,
            "Verify": self.verify,
            "Info": self.info,
            "Version": self.version,
        }
        second: dict[str, Method] = {
            "IssueCert": self.issue_cert,
            "GetKey": self.get_key_v1,
            "Attest": self.attest,
            "AttestGpu": self.attest_gpu,
            "Info": self.info_v1,
            "Version": self.version,
        }
        served: dict[str, Method] = {}
        if interfaces is not Interfaces.V1:
            served |= first
        if interfaces is Interfaces.BOTH:
            served |= {f"v0/{name}": method for name, method in first.items()}
        if interfaces is not Interfaces.V0:
            served |= {f"v1/{name}": method for name, method in second.items()}
        self.methods: Mapping[str, Method] = served

    def serve(self, socket_path: Path | str) -> AgentServer:
        """Listen on a unix socket in a thread of its own; close the returned server to stop.

        Raises `ConfigurationError` when the socket can't be made.
        """
        return AgentServer(socket_path, self.methods)

    # --- keys and certificates ---------------------------------------------------------------------

    def get_key(self, request: Request) -> dict[str, Any]:
        """v0: {path, purpose, algorithm} → {key, signature_chain}."""
        path, purpose, algorithm = (text(request, name) for name in ("path", "purpose", "algorithm"))
        derived = _or_bad(lambda: self.enclave.key(path=path, purpose=purpose, algorithm=algorithm))
        return {"key": derived.key.hex(), "signature_chain": _chain(derived)}

    def get_key_v1(self, request: Request) -> dict[str, Any]:
        """v1: {domain, algorithm} → {key, public_key, signature_chain}."""
        domain, algorithm = text(request, "domain"), text(request, "algorithm")
        derived = _or_bad(lambda: self.enclave.domain_key(domain=domain, algorithm=algorithm))
        return {
            "key": derived.key.hex(),
            "public_key": derived.public_key.hex(),
            "signature_chain": _chain(derived),
        }

    def get_tls_key(self, request: Request) -> dict[str, Any]:
        """v0: `issue_cert`, of which dstack 0.5 refused no dates."""
        return self._issued(request, ordered=not self._old)

    def issue_cert(self, request: Request) -> dict[str, Any]:
        """v1: {subject, alt_names, usage_*, not_before, not_after, with_app_info} → {key, certificate_chain},
        PEM. The key is new each time."""
        return self._issued(request, ordered=True)

    def _issued(self, request: Request, *, ordered: bool) -> dict[str, Any]:
        flag(request, "with_app_info")  # the app's id is always in it
        wanted = Wanted(
            subject=text(request, "subject"),
            alt_names=texts(request, "alt_names"),
            server=flag(request, "usage_server_auth"),
            client=flag(request, "usage_client_auth"),
            not_before=seconds(request, "not_before"),
            not_after=seconds(request, "not_after"),
        )
        since, until = wanted.not_before, wanted.not_after
        if ordered and since is not None and until is not None and since >= until:
            raise BadRequest("not_before must be earlier than not_after")
        proof = self._proof if flag(request, "usage_ra_tls") else lambda public: {}
        enclave = self.enclave
        key, chain = _or_bad(lambda: certificates.issue(enclave.platform.kms, enclave.app_id, wanted, proof))
        return {"key": key, "certificate_chain": chain}

    def _proof(self, public: bytes) -> dict[int, bytes]:
        """What vouches for a certificate's key (RA-TLS): over SHA-512 of the tag and the key."""
        bound = hashlib.sha512(b"ratls-cert:" + public).digest()
        if not self._old:
            return {certificates.ATTESTATION: self._attestation(bound)}
        quote, log, _ = self._evidence(bound)
        return {certificates.QUOTE: quote, certificates.EVENT_LOG: log.encode()}

    # --- evidence ----------------------------------------------------------------------------------

    def get_quote(self, request: Request) -> dict[str, Any]:
        """v0: {report_data: hex of up to 64 bytes} → {quote, event_log, report_data, vm_config}."""
        report_data = _report_data(request)
        quote, event_log, vm_config = self._evidence(report_data)
        return {
            "quote": quote.hex(),
            "event_log": event_log,
            "report_data": report_data.hex(),
            "vm_config": vm_config,
        }

    def attest_v0(self, request: Request) -> dict[str, Any]:
        """v0: {report_data: hex of up to 64 bytes} → {attestation}."""
        return {"attestation": self._attestation(_report_data(request)).hex()}

    def attest(self, request: Request) -> dict[str, Any]:
        """v1: {report_data, include_boottime_gpu_evidence} → {attestation, boottime_gpu_evidence}. This guest
        does not attest its GPUs at boot, so there is no such evidence."""
        flag(request, "include_boottime_gpu_evidence")
        return self.attest_v0(request) | {"boottime_gpu_evidence": []}

    def _evidence(self, report_data: bytes) -> tuple[bytes, str, str]:
        with self._measuring:
            return self.enclave.evidence(report_data)

    def _attestation(self, report_data: bytes) -> bytes:
        with self._measuring:
            return encode_attestation(
                0 if self._old else 1,
                quote=self.enclave.quote(report_data),
                events=self.enclave.events,
                report_data=report_data,
                vm_config=self.enclave.vm_config,
            )

    def attest_gpu(self, request: Request) -> dict[str, Any]:
        """v1: {nonce: hex of exactly 32 bytes} → {bundles: [{vendor, format, evidence: hex}]}; without
        a GPU no bundle."""
        nonce = blob(request, "nonce", limit=GPU_NONCE_BYTES)
        if len(nonce) != GPU_NONCE_BYTES:
            raise BadRequest(f"nonce must have {GPU_NONCE_BYTES} bytes")
        if not self.enclave.gpus:
            return {"bundles": []}
        evidence = self.enclave.gpu_evidence(nonce)
        return {"bundles": [{"vendor": "nvidia", "format": NVATTEST_FORMAT, "evidence": evidence.hex()}]}

    def emit_event(self, request: Request) -> dict[str, Any]:
        """v0: {event, payload: hex} → {}: extends RTMR3 on dstack 0.5, and is refused from 0.6 on."""
        if not self._old:
            raise BadRequest(REMOVED)
        name, payload = text(request, "event"), blob(request, "payload")
        with self._measuring:
            if not name or self._emitted >= MAX_EMITTED:
                raise BadRequest(f"an event needs a name, and there are at most {MAX_EMITTED}")
            self._emitted += 1
            self.enclave.emit(name, payload)
        return {}

    # --- signatures --------------------------------------------------------------------------------

    def sign(self, request: Request) -> dict[str, Any]:
        """v0: {algorithm, data: hex} → {signature, signature_chain, public_key}."""
        data = blob(request, "data")
        mode = _or_bad(lambda: signing.mode_of(text(request, "algorithm")))
        derived = self.enclave.key(
            path=signing.SIGNER_PATH,
            purpose=signing.SIGNER_PURPOSE,
            algorithm=ED25519_NAME if mode == ED25519_NAME else "",
        )
        signature = _or_bad(lambda: signing.sign(derived.key, mode, data)).hex()
        return {
            "signature": signature,
            "signature_chain": [signature, *_chain(derived)],
            "public_key": derived.public_key.hex(),
        }

    def verify(self, request: Request) -> dict[str, Any]:
        """v0: {algorithm, data, signature, public_key: hex} → {valid}."""
        data, signature, public = (blob(request, name) for name in ("data", "signature", "public_key"))
        mode = _or_bad(lambda: signing.mode_of(text(request, "algorithm")))
        return {"valid": _or_bad(lambda: signing.verify(mode, data, signature, public))}

    # --- what it is --------------------------------------------------------------------------------

    def info(self, request: Request) -> dict[str, Any]:
        """v0: ids, measurements and the app-compose text of this VM."""
        said = self.info_v1(request)
        compose = said.pop("app_compose")
        with self._measuring:
            tcb_info = self.enclave.tcb_info() | {"app_compose": compose}
        return said | {"app_cert": "", "tcb_info": json.dumps(tcb_info, indent=2)}

    def info_v1(self, request: Request) -> dict[str, Any]:
        """v1: the same without registers, event log and certificate, and `app_compose` as it was deployed."""
        enclave = self.enclave
        provider = {"name": enclave.key_provider, "id": enclave.key_provider_id.hex()}
        with self._measuring:
            aggregated = enclave.tcb_info()["mr_aggregated"]
        return {
            "app_id": enclave.app_id.hex(),
            "app_name": _app_name(enclave.compose),
            "compose_hash": enclave.compose_hash.hex(),
            "app_compose": enclave.compose.decode(),
            "instance_id": enclave.instance_id.hex(),
            "device_id": enclave.machine.device_id.hex(),
            "os_image_hash": enclave.os_image.hex(),
            "mr_aggregated": aggregated,
            "vm_config": enclave.vm_config,
            "key_provider_info": json.dumps(provider, separators=(",", ":")),
            "cloud_vendor": LABEL,
            "cloud_product": LABEL,
        }

    def version(self, request: Request) -> dict[str, Any]:
        """Version of the agent whose behaviour this one has."""
        return {"version": "0.5.11" if self._old else "0.6.0", "rev": LABEL}


def _or_bad(act: Callable[[], T]) -> T:
    try:
        return act()
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _chain(derived: DerivedKey) -> list[str]:
    return [signature.hex() for signature in derived.signature_chain]


def _report_data(request: Request) -> bytes:
    return blob(request, "report_data", limit=REPORT_DATA_BYTES).ljust(REPORT_DATA_BYTES, b"\0")


def _app_name(compose: bytes) -> str:
    try:
        document = json.loads(compose)
    except ValueError:
        return ""
    name = document.get("name", "") if isinstance(document, dict) else ""
    return name if isinstance(name, str) else ""
