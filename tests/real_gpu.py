# SPDX-License-Identifier: Apache-2.0
"""Recordings of real GPUs, which lie beside the project where somebody has them, and are no part of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.minted_gpu import entry

PLACES = (parent / "shared" / "vectors" / "platform" for parent in Path(__file__).resolve().parents)
VECTORS = next((place for place in PLACES if place.is_dir()), None)
needs_vectors = pytest.mark.skipif(VECTORS is None, reason="no ../shared/vectors/platform")
THEN = 1_704_067_200
"""1 January 2024, when the signers of the recorded VBIOS manifests were valid."""
LATER = 1_764_000_000
"""24 November 2025, when those of the driver's manifest were."""
TOLD_AT = 1_781_056_145
"""When NVIDIA's service spoke of the GPU under dstack."""
OLD = "535.86.09", "NV_GPU_VBIOS_1010_0200_882_96005E0001"


def vectors() -> Path:
    """The folder, where it is there."""
    assert VECTORS is not None
    return VECTORS


def recorded(version: str) -> dict[str, Any]:
    """One GPU, by the version of its driver."""
    folder = vectors() / "nvidia"
    report = bytes.fromhex((folder / f"h100-{version}.report.hex").read_text().strip())
    return entry(report, (folder / f"h100-{version}.chain.pem").read_bytes())


def attest_gpu() -> list[dict[str, Any]]:
    """The GPU of a production guest of dstack, in the form of nvattest."""
    found = json.loads((vectors() / "dstack-0.5.8-gpu1" / "gpu_evidence.json").read_text())
    return [{**one, "nonce": found["nonce"]} for one in found["evidence_list"]]


def rim(name: str, folder: str = "rim") -> bytes:
    """A recorded manifest."""
    return (vectors() / "nvidia" / folder / f"{name}.xml").read_bytes()
