# SPDX-License-Identifier: Apache-2.0
"""What a GPU measured, beside what NVIDIA's reference manifests expect of its driver and VBIOS."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.codes import Code
from sealroom_agents.attestation.gpu.report import Report
from sealroom_agents.attestation.gpu.rim import Rim
from sealroom_agents.errors import AttestationError

NVDEC_INDEX = 35
"""Measured only while the video decoder is on; NVIDIA's verifier skips it otherwise."""


def compare(report: Report, rim: Rim) -> int:
    """How many active measurements of a manifest the report has, each of them.

    The manifest's index i is the report's block i + 1. Raises `AttestationError` `gpu-measurement` that names
    those which differ.
    """
    expected = {index: values for index, values in rim.golden.items() if report.nvdec or index != NVDEC_INDEX}
    other = sorted(
        index for index, values in expected.items() if report.measurements.get(index + 1) not in values
    )
    if other or not expected:
        which = ", ".join(map(str, other[:8])) + ("…" if len(other) > 8 else "")
        raise AttestationError(
            Code.GPU_MEASUREMENT,
            f"{len(other)} of {len(expected)} measurements are not what NVIDIA expects of {rim.version}: "
            f"{which or 'it expects none'}",
            "fetch the manifest anew: NVIDIA signs it again with further values",
        )
    return len(expected)


def require_apart(rims: Sequence[Rim]) -> None:
    """No measurement stands in two manifests: it would be undecided which value counts.

    Raises `AttestationError` `gpu-rim-collision`.
    """
    seen: set[int] = set()
    for rim in rims:
        if both := seen & rim.golden.keys():
            raise AttestationError(Code.GPU_RIM_COLLISION, f"measurement {min(both)} stands in two manifests")
        seen |= rim.golden.keys()
