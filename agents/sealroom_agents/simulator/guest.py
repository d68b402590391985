# SPDX-License-Identifier: Apache-2.0
"""The dstack guest agent of a simulated enclave: what each method answers.

Surface: dstack 0.5.11 `agent_rpc.proto`, service DstackGuest, the methods GetKey, GetQuote, Info and
Version; and of its successor `agent_rpc_v1.proto` the method AttestGpu, under `/v1/`. The unmodified
`dstack_sdk.DstackClient` talks to it. Bytes are lower-case hex without `0x`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sealroom_agents.simulator.enclave import SimulatedEnclave
from sealroom_agents.simulator.gpu.device import NVATTEST_FORMAT
from sealroom_agents.simulator.machine import Machine
from sealroom_agents.simulator.measurement import SIMULATED_OS_IMAGE
from sealroom_agents.simulator.pki import LABEL
from sealroom_agents.simulator.platform import DEFAULT_MACHINE, SimulatedPlatform
from sealroom_agents.simulator.quoting import REPORT_DATA_BYTES
from sealroom_agents.simulator.socket_server import AgentServer, BadRequest

VERSION = "0.5.11"
"""The guest agent whose behaviour this one has."""

GPU_NONCE_BYTES = 32
"""The nonce of a GPU's report, which SPDM fixes."""
MAX_NAME_CHARACTERS = 256
"""Longest path, purpose or algorithm of a key."""


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
        **options: Any,
    ) -> None:
        """Boot `compose` for `app_id`; `options` are those of `SimulatedEnclave`."""
        self.enclave = SimulatedEnclave(platform, compose, app_id, machine, os_image=os_image, **options)
        self.methods: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "GetKey": self.get_key,
            "GetQuote": self.get_quote,
            "Info": self.info,
            "Version": self.version,
            "v1/AttestGpu": self.attest_gpu,
        }

    def serve(self, socket_path: Path | str) -> AgentServer:
        """Listen on a unix socket in a thread of its own; close the returned server to stop.

        Raises `ConfigurationError` when the socket can't be made.
        """
        return AgentServer(socket_path, self.methods)

    def get_key(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """{path, purpose, algorithm} → {key, signature_chain}."""
        try:
            derived = self.enclave.key(
                path=_text(request, "path"),
                purpose=_text(request, "purpose"),
                algorithm=_text(request, "algorithm"),
            )
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return {
            "key": derived.key.hex(),
            "signature_chain": [signature.hex() for signature in derived.signature_chain],
        }

    def get_quote(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """{report_data: hex of up to 64 bytes} → {quote, event_log, report_data, vm_config}."""
        report_data = _hex_bytes(request, "report_data", limit=REPORT_DATA_BYTES)
        quote, event_log, vm_config = self.enclave.evidence(report_data)
        return {
            "quote": quote.hex(),
            "event_log": event_log,
            "report_data": report_data.ljust(REPORT_DATA_BYTES, b"\0").hex(),
            "vm_config": vm_config,
        }

    def attest_gpu(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """{nonce: hex of exactly 32 bytes} → {bundles: [{vendor, format, evidence: hex}]}; without a GPU no
        bundle."""
        nonce = _hex_bytes(request, "nonce", limit=GPU_NONCE_BYTES)
        if len(nonce) != GPU_NONCE_BYTES:
            raise BadRequest(f"nonce must have {GPU_NONCE_BYTES} bytes")
        if not self.enclave.gpus:
            return {"bundles": []}
        evidence = self.enclave.gpu_evidence(nonce)
        return {"bundles": [{"vendor": "nvidia", "format": NVATTEST_FORMAT, "evidence": evidence.hex()}]}

    def info(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ids, measurements and the app-compose text of this VM."""
        enclave = self.enclave
        tcb_info = enclave.tcb_info()
        provider = {"name": enclave.key_provider, "id": enclave.key_provider_id.hex()}
        return {
            "app_id": enclave.app_id.hex(),
            "instance_id": enclave.instance_id.hex(),
            "app_cert": "",
            "tcb_info": json.dumps(tcb_info),
            "app_name": _app_name(enclave.compose),
            "device_id": enclave.machine.device_id.hex(),
            "mr_aggregated": tcb_info["mr_aggregated"],
            "os_image_hash": enclave.os_image.hex(),
            "key_provider_info": json.dumps(provider, separators=(",", ":")),
            "compose_hash": enclave.compose_hash.hex(),
            "vm_config": enclave.vm_config,
            "cloud_vendor": LABEL,
            "cloud_product": LABEL,
        }

    def version(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Version of the agent."""
        return {"version": VERSION, "rev": LABEL}


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARACTERS:
        raise BadRequest(f"{name} must be a text of at most {MAX_NAME_CHARACTERS} characters")
    return value


def _hex_bytes(request: Mapping[str, Any], name: str, *, limit: int) -> bytes:
    value = request.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be hex")
    try:
        data = bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise BadRequest(f"{name} must be hex") from error
    if len(data) > limit:
        raise BadRequest(f"{name} is too long: {len(data)} bytes, at most {limit}")
    return data


def _app_name(compose: bytes) -> str:
    try:
        document = json.loads(compose)
    except ValueError:
        return ""
    name = document.get("name", "") if isinstance(document, dict) else ""
    return name if isinstance(name, str) else ""
