# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs: SIMULATED - not NVIDIA.

They mint what the verifier of real GPUs checks — chains of certificates, SPDM reports, reference manifests
and answers about certificates — under roots of their own, written apart from the code that reads them. Who
trusts a simulated platform finds those roots through its root of trust (`attestation.gpu.roots`), and nobody
else does.
"""

from sealroom_agents.simulator.gpu.data_centre import GPU_RULES, SimulatedGpus
from sealroom_agents.simulator.gpu.device import SimulatedGpu, encode_evidence

__all__ = ["GPU_RULES", "SimulatedGpu", "SimulatedGpus", "encode_evidence"]
