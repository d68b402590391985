# SPDX-License-Identifier: Apache-2.0
"""One simulated confidential VM: it booted a compose file for an app, and its machine quotes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sealroom_agents.simulator.gpu import SimulatedGpu, encode_evidence
from sealroom_agents.simulator.kms import DerivedKey
from sealroom_agents.simulator.machine import Machine
from sealroom_agents.simulator.measurement import (
    SIMULATED_OS_IMAGE,
    Event,
    Measurements,
    boot_events,
    guest_events,
    measure,
    runtime_event,
    to_json,
    to_records,
)
from sealroom_agents.simulator.platform import DEFAULT_MACHINE, SimulatedPlatform

APP_ID_BYTES = 20
INSTANCE_ID_BYTES = 20


class SimulatedEnclave:
    """What a CVM measured, its quotes, and the keys that the KMS gives it.

    The keyword arguments after `machine` make bad twins; left alone, the enclave is a good one.
    """

    def __init__(
        self,
        platform: SimulatedPlatform,
        compose: bytes,
        app_id: bytes,
        machine: Machine | str = DEFAULT_MACHINE,
        *,
        os_image: bytes = SIMULATED_OS_IMAGE,
        key_provider: str = "kms",
        key_provider_id: bytes | None = None,
        events: Sequence[Event] | None = None,
        extra_events: Sequence[Event] = (),
        strip_digests: bool = False,
        config_id: bytes | None = None,
        gpus: Sequence[SimulatedGpu] = (),
    ) -> None:
        """Boot `compose` (the raw app-compose bytes) for `app_id` (20 bytes) on `machine`.

        events: what to measure into RTMR3 instead of dstack's own list.
        extra_events: measured after `system-ready`, as an app could.
        strip_digests: leave out runtime digests in the log, as dstack does from 0.5.6 on.
        config_id: what the host binds to the TD instead of the recipe, 48 bytes.
        gpus: the GPUs that its driver finds.
        Raises `ValueError` when the app id is not 20 bytes.
        """
        if len(app_id) != APP_ID_BYTES:
            raise ValueError(f"an app id is {APP_ID_BYTES} bytes, not {len(app_id)}")
        self.platform = platform
        self.machine = platform.machine(machine) if isinstance(machine, str) else machine
        self.compose = compose
        self.compose_hash = hashlib.sha256(compose).digest()
        self.app_id = app_id
        self.os_image = os_image
        self.instance_id = platform.instance_id(self.machine.name, app_id)[:INSTANCE_ID_BYTES]
        self.key_provider = key_provider
        self.key_provider_id = platform.kms.key_provider_id if key_provider_id is None else key_provider_id
        runtime = guest_events(
            app_id=app_id,
            compose_hash=self.compose_hash,
            instance_id=self.instance_id,
            os_image=os_image,
            key_provider=key_provider,
            key_provider_id=self.key_provider_id,
        )
        self.events: tuple[Event, ...] = (
            *boot_events(os_image),
            *(runtime if events is None else events),
            *extra_events,
        )
        self._strip_digests = strip_digests
        self._config_id = config_id
        self.gpus = tuple(gpus)

    @property
    def measurements(self) -> Measurements:
        """The registers of this VM."""
        seen = measure(self.events, os_image=self.os_image, compose_hash=self.compose_hash)
        return seen if self._config_id is None else replace(seen, mr_config_id=self._config_id)

    @property
    def event_log(self) -> str:
        """The event log as JSON text."""
        return to_json(self.events, strip_digests=self._strip_digests)

    @property
    def vm_config(self) -> str:
        """What the host reports about the VM, as JSON text; it is not trusted."""
        return json.dumps({"os_image_hash": self.os_image.hex(), "cpu_count": 2, "memory_size": 2 << 30})

    def quote(self, report_data: bytes, **options: Any) -> bytes:
        """A quote that binds `report_data` (up to 64 bytes); `options` are those of `Machine.quote`."""
        return self.machine.quote(report_data, self.measurements, **options)

    def evidence(self, report_data: bytes, **options: Any) -> tuple[bytes, str, str]:
        """(quote, event log text, vm config text), as one GetQuote returns them."""
        return self.quote(report_data, **options), self.event_log, self.vm_config

    def gpu_evidence(self, nonce: bytes) -> bytes:
        """What its GPUs sign under a nonce of 32 bytes, in the form of nvattest."""
        return encode_evidence(self.gpus, nonce)

    def key(self, *, path: str, purpose: str, algorithm: str = "") -> DerivedKey:
        """The app's key of `path` by version 0; raises `ValueError` for an unknown algorithm."""
        return self.platform.kms.derive(self.app_id, path=path, purpose=purpose, algorithm=algorithm)

    def domain_key(self, *, domain: str, algorithm: str) -> DerivedKey:
        """The app's key of a domain by version 1; raises `ValueError` for an unknown algorithm."""
        return self.platform.kms.derive_domain(self.app_id, domain=domain, algorithm=algorithm)

    def emit(self, name: str, payload: bytes) -> None:
        """Extend RTMR3, as apps could on dstack 0.5."""
        self.events = (*self.events, runtime_event(name, payload))

    def tcb_info(self) -> dict[str, object]:
        """What Info tells of the measurements."""
        seen = self.measurements
        return {
            "mrtd": seen.mr_td.hex(),
            **{f"rtmr{number}": register.hex() for number, register in enumerate(seen.rt_mr)},
            "mr_aggregated": self._mr_aggregated(seen).hex(),
            "os_image_hash": self.os_image.hex(),
            "compose_hash": self.compose_hash.hex(),
            "device_id": self.machine.device_id.hex(),
            "event_log": to_records(self.events, strip_digests=self._strip_digests),
            "app_compose": self.compose.decode(),
        }

    def _mr_aggregated(self, seen: Measurements) -> bytes:
        # dstack leaves the three registers that the host gives out where all of them are zero.
        given = seen.mr_config_id + bytes(48) + bytes(48) if any(seen.mr_config_id) else b""
        return hashlib.sha256(seen.mr_td + b"".join(seen.rt_mr) + given).digest()
