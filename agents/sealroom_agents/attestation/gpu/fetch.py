# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA publishes about verified GPUs, brought into the folder that a gate is given.

    FOLDER/rims/NAME.xml      the manifests of the drivers and VBIOSes that they reported
    FOLDER/ocsp/SERIAL.der    the responder's word on each certificate

A file is written when it is worth something, whole, in place of the one before. That NVIDIA revoked a
certificate is worth most. Each answer has a deadline and so many bytes at most, and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.encoding import from_base64, strict_json
from sealroom.errors import FormatError
from sealroom.files import write_atomic
from sealroom_agents.attestation.gpu.evidence import Device
from sealroom_agents.attestation.gpu.ocsp import (
    MAX_ANSWER_BYTES,
    Pair,
    asked_of_device,
    asked_of_rim,
    standing,
)
from sealroom_agents.attestation.gpu.ocsp import request as request_about
from sealroom_agents.attestation.gpu.rim import MAX_RIM_BYTES, Rim, verify_rim
from sealroom_agents.attestation.gpu.walk import Trust
from sealroom_agents.errors import AttestationError

# Imported where NVIDIA is asked: most of this package asks nobody.
if TYPE_CHECKING:
    import httpx

RIM_SERVICE = "https://rim.attestation.nvidia.com/v1/rim"
"""Where manifests are."""
RESPONDER = "https://ocsp.ndis.nvidia.com"
"""Who answers about certificates."""
ANSWER_TIMEOUT_S = 30.0
"""Longest time for one answer, seconds."""
MAX_RIM_REPLY = 2 * MAX_RIM_BYTES
"""Most bytes of an answer with a manifest, which is base64 in JSON."""

_FILE_MODE = 0o644
_NONCE_BYTES = 32


@dataclass(frozen=True)
class Services:
    """Where to ask."""

    rims: str = RIM_SERVICE
    responder: str = RESPONDER
    timeout_s: float = ANSWER_TIMEOUT_S


def fetch_material(
    devices: Sequence[Device], folder: Path, *, now: int, trust: Trust, services: Services | None = None
) -> None:
    """Fetch what the gate needs to judge these devices into `folder`; it is made where it is missing.

    devices: whose certificates and signatures were verified. now: unix seconds. Blocks; must not be called on
    an event loop's thread. Raises `AttestationError`: `gpu-service-unreachable`, what `verify_rim` raises of
    a manifest, and what `standing` raises of an answer but `gpu-revoked`, which is written; and `OSError`.
    """
    for name in ("rims", "ocsp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    asyncio.run(_Fetching(folder, now, trust, services or Services()).run(devices))


@dataclass(frozen=True)
class _Fetching:
    folder: Path
    now: int
    trust: Trust
    services: Services

    async def run(self, devices: Sequence[Device]) -> None:
        import httpx

        names = {
            name
            for device in devices
            for name in (device.report.vbios_rim, device.report.driver_rim(device.chip))
        }
        async with httpx.AsyncClient(
            timeout=None,  # each answer has a deadline of its own
            trust_env=False,
            follow_redirects=False,
            headers={"accept-encoding": "identity"},
        ) as client:
            rims = [await self._rim(client, name) for name in sorted(names)]
            pairs: dict[bytes, Pair] = {}
            for asked in (
                *(asked_of_device(device.chain) for device in devices),
                *(asked_of_rim(rim.chain) for rim in rims),
            ):
                pairs |= {pair[0].tbs_certificate_bytes: pair for pair in asked}
            for pair in pairs.values():
                await self._status(client, pair)

    async def _rim(self, client: httpx.AsyncClient, name: str) -> Rim:
        body = await self._ask(client, "GET", f"{self.services.rims}/{name}", MAX_RIM_REPLY, name)
        try:
            data = from_base64(strict_json(body, MAX_RIM_REPLY).get("rim"))
        except FormatError as error:
            raise _unusable(name, error.message) from error
        rim = verify_rim(data, now=self.now, root=self.trust.rims)
        write_atomic(self.folder / "rims" / f"{name}.xml", data, mode=_FILE_MODE, replace=True)
        return rim

    async def _status(self, client: httpx.AsyncClient, pair: Pair) -> None:
        serial = f"{pair[0].serial_number:x}"
        asked = request_about(*pair, secrets.token_bytes(_NONCE_BYTES))
        data = await self._ask(
            client, "POST", self.services.responder, MAX_ANSWER_BYTES, f"certificate {serial}",
            content=asked, headers={"content-type": "application/ocsp-request"},
        )  # fmt: skip
        try:
            standing(pair, data, now=self.now, max_age_s=None)
        except AttestationError as error:
            if error.code is not Code.GPU_REVOKED:
                raise
        write_atomic(self.folder / "ocsp" / f"{serial}.der", data, mode=_FILE_MODE, replace=True)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, url: str, limit: int, what: str, **more: Any
    ) -> bytes:
        import httpx

        try:
            async with asyncio.timeout(self.services.timeout_s), client.stream(method, url, **more) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _unusable(what, f"HTTP status {answer.status_code}")
                return await _bounded(answer, limit, lambda why: _unusable(what, why))
        except TimeoutError as error:
            raise _unusable(what, f"none within {self.services.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
            raise _unusable(what, type(error).__name__) from error


async def _bounded(answer: httpx.Response, limit: int, refuse: Callable[[str], AttestationError]) -> bytes:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise refuse("compressed, which was not asked for")
    read = bytearray()
    async for piece in answer.aiter_raw():
        read += piece
        if len(read) > limit:
            raise refuse(f"more than {limit} bytes")
    return bytes(read)


def _unusable(what: str, why: str) -> AttestationError:
    return AttestationError(
        Code.GPU_SERVICE_UNREACHABLE,
        f"no usable answer of NVIDIA about {what}: {why}",
        "this machine must reach rim.attestation.nvidia.com and ocsp.ndis.nvidia.com",
    )
