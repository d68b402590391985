# SPDX-License-Identifier: Apache-2.0
"""One simulated GPU, and what its driver hands out when it is asked to attest."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealroom_agents.simulator.gpu.pki import Chain
from sealroom_agents.simulator.gpu.report import encode_report

NVATTEST_FORMAT = "nvidia-nvattest-collect-evidence-json-v1"
"""What dstack's guest agent calls the form of `encode_evidence`."""


@dataclass(frozen=True)
class SimulatedGpu:
    """A GPU of a simulated machine."""

    chain: Chain = field(repr=False)
    """Its certificates."""
    opaque: Mapping[int, bytes]
    """What its reports say besides measurements, by number of the field; empty ones are left out."""
    arch: str = "HOPPER"
    """Architecture, as the driver names it."""

    @property
    def ueid(self) -> str:
        """Its identity: serial number of the leaf certificate, in decimal."""
        return str(self.chain.links[0].serial)

    def report(self, nonce: bytes, **changes: bytes) -> bytes:
        """A signed report under a nonce of 32 bytes; `changes` are those of `encode_report`."""
        return encode_report(nonce, key=self.chain.keys[0], fields=self.opaque, **changes)

    def entry(self, nonce: bytes, **changes: bytes) -> dict[str, Any]:
        """One GPU of evidence, as `nvattest collect-evidence` writes it."""
        report = self.report(nonce, **changes)
        return {
            "arch": self.arch,
            "certificate": base64.b64encode(self.chain.pem).decode(),
            "evidence": base64.b64encode(report).decode(),
            "nonce": report[4:36].hex(),
            "version": "1.0",
        }


def encode_evidence(gpus: Sequence[SimulatedGpu], nonce: bytes) -> bytes:
    """Evidence of these GPUs under a nonce of 32 bytes: a JSON array."""
    return json.dumps([gpu.entry(nonce) for gpu in gpus]).encode()
