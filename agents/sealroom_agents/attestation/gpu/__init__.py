# SPDX-License-Identifier: Apache-2.0
"""Evidence of NVIDIA GPUs, verified here: from the bytes that a guest hands out to a verdict.

Verification takes everything as arguments, the time included; only `load_material` and `MaterialFolder` read
files, and nothing asks a service. What each state means, and what none of them says, stands in `docs/gpu.md`.
"""

from sealroom_agents.attestation.gpu.archive import read_material, write_material
from sealroom_agents.attestation.gpu.evidence import Device, read_evidence
from sealroom_agents.attestation.gpu.material import Fetched, Material, MaterialFolder, load_material
from sealroom_agents.attestation.gpu.ocsp import asked_of_device, asked_of_rim, request, standing
from sealroom_agents.attestation.gpu.report import Report, read_report
from sealroom_agents.attestation.gpu.rim import Rim, verify_rim
from sealroom_agents.attestation.gpu.roots import gpu_trust
from sealroom_agents.attestation.gpu.walk import Gpu, Link, Outcome, State, Terms, Trust, Walk, walk_gpus

__all__ = [
    "Device",
    "Fetched",
    "Gpu",
    "Link",
    "Material",
    "MaterialFolder",
    "Outcome",
    "Report",
    "Rim",
    "State",
    "Terms",
    "Trust",
    "Walk",
    "asked_of_device",
    "asked_of_rim",
    "gpu_trust",
    "load_material",
    "read_evidence",
    "read_material",
    "read_report",
    "request",
    "standing",
    "verify_rim",
    "walk_gpus",
    "write_material",
]
