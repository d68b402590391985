# SPDX-License-Identifier: Apache-2.0
"""All that NVIDIA is to a simulated platform: its roots, its GPUs, its manifests and its responder.

Everything follows from the platform's seed but the signatures of reports, manifests and answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sealroom.gpu_rules import HOPPER, STATES, GpuRules
from sealroom_agents.simulator.gpu.device import SimulatedGpu
from sealroom_agents.simulator.gpu.manifest import CHIP, encode_manifest
from sealroom_agents.simulator.gpu.pki import DEVICE_NAMES, SIGNER_NAMES, Chain, Link, derive_p384
from sealroom_agents.simulator.gpu.report import golden, opaque_fields
from sealroom_agents.simulator.gpu.status import encode_answer
from sealroom_agents.simulator.pki import VALID_FROM, VALID_UNTIL, Authority, pem

DRIVER = "570.172.08"
"""Driver of simulated GPUs."""
VBIOS = "96.00.d0.00.03"
"""Their VBIOS."""
BOARD = ("G520", "0280", "895")
"""Their board: project, its SKU, the chip's SKU."""
DRIVER_INDICES = (7, *range(21, 42))
"""Which measurements a driver's manifest is about; NVIDIA's are about these too."""
VBIOS_INDICES = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)
ANSWER_LIFETIME_S = 7 * 86_400
"""How long an answer about a certificate counts, seconds."""

GPU_RULES = GpuRules(
    architectures=(HOPPER,),
    min_driver=DRIVER,
    min_vbios=VBIOS,
    state=STATES[-1],
    protected_pcie=False,
    ocsp_seconds=ANSWER_LIFETIME_S,
    rim_seconds=ANSWER_LIFETIME_S,
)
"""Rules of a platform policy that simulated GPUs keep."""

_FWID = hashlib.sha384(b"SIMULATED - not NVIDIA: firmware").digest()
_OF_ITS_OWN = 2
"""Certificates that each device has of its own; the others are common."""


class SimulatedGpus:
    """The GPUs of a simulated platform, and who vouches for them."""

    def __init__(self, seed: bytes) -> None:
        """Equal seeds give equal roots and devices."""
        self._seed = seed
        self.signer = self._chain(SIGNER_NAMES, "", fwid=None, own=0)

    def gpu(
        self,
        name: str,
        *,
        driver: str = DRIVER,
        vbios: str = VBIOS,
        protected_pcie: bool = False,
        reported: Mapping[int, bytes] | None = None,
        **changes: Any,
    ) -> SimulatedGpu:
        """The GPU called `name`, such as `machine-1:0`.

        For a bad twin, `reported` has other opaque fields of its reports, and `changes` other fields of
        `SimulatedGpu`.
        """
        opaque = opaque_fields(
            driver=driver, vbios=vbios, board=BOARD, fwid=_FWID, protected_pcie=protected_pcie
        )
        chain = self._chain(DEVICE_NAMES, name, fwid=_FWID, own=_OF_ITS_OWN)
        return SimulatedGpu(**{"chain": chain, "opaque": opaque | dict(reported or {}), **changes})

    def machine(self, name: str, count: int, **changes: Any) -> tuple[SimulatedGpu, ...]:
        """The GPUs of a machine; `changes` are those of `gpu`."""
        return tuple(self.gpu(f"{name}:{place}", **changes) for place in range(count))

    def manifests(self, driver: str = DRIVER, vbios: str = VBIOS) -> dict[str, bytes]:
        """Manifests of a driver and a VBIOS, by the names under which NVIDIA would publish them."""
        vbios_name = f"NV_GPU_VBIOS_{'_'.join(BOARD)}_{vbios.replace('.', '').upper()}"
        return {
            f"NV_GPU_DRIVER_{CHIP}_{driver}": self._manifest(driver, DRIVER_INDICES),
            vbios_name: self._manifest(vbios, VBIOS_INDICES),
        }

    def answers(self, gpus: Sequence[SimulatedGpu], now: int, **changes: Any) -> list[bytes]:
        """The responder's word at `now`, unix seconds, on each certificate that a verifier asks about: those
        of the GPUs but leaf and root, and those of who signs manifests but the root. `changes` are those of
        `encode_answer`."""
        pairs: dict[int, bytes] = {}
        for chain, first in (*((gpu.chain, 1) for gpu in gpus), (self.signer, 0)):
            for place, pair in enumerate(pairwise(chain.certificates)):
                serial = chain.links[place].serial
                if place >= first and serial not in pairs:
                    options = {"made": now, "until": now + ANSWER_LIFETIME_S, **changes}
                    pairs[serial] = encode_answer(pair, chain.keys[place + 1], **options)
        return list(pairs.values())

    def roots(self, platform: Authority) -> bytes:
        """PEM by which who trusts the platform's root knows the roots of GPUs: the root of devices and that
        of manifests, each followed by a certificate of the platform's root for the same name and key."""
        found = b""
        for chain in (self.gpu("root").chain, self.signer):
            found += pem(chain.certificates[-1]) + pem(chain.vouched(platform.certificate, platform.key))
        return found

    def _manifest(self, version: str, indices: Sequence[int]) -> bytes:
        return encode_manifest(version, {index: (golden(index),) for index in indices}, self.signer)

    def _chain(self, names: Sequence[str], device: str, *, fwid: bytes | None, own: int) -> Chain:
        links = []
        for place, name in enumerate(names):
            label = f"{device}:{name}" if place < own else name
            # The top bit stays clear: a serial number is positive and at most 20 bytes (RFC 5280 §4.1.2.2).
            digest = hashlib.sha256(b"sealroom/v1/simulated-gpu\x00" + self._seed + label.encode()).digest()
            links.append(
                Link(name, derive_p384(self._seed, label), (int.from_bytes(digest[:20], "big") >> 1) | 1)
            )
        return Chain(links, int(VALID_FROM.timestamp()), int(VALID_UNTIL.timestamp()), fwid=fwid)
