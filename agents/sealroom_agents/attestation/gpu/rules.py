# SPDX-License-Identifier: Apache-2.0
"""Whether verified GPUs are those that owners accept: the rules of their platform policy."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.codes import Code
from sealroom.gpu_rules import STATES, GpuRules
from sealroom_agents.errors import AttestationError


def require_device(rules: GpuRules, *, arch: str, driver: str, vbios: str, protected_pcie: bool) -> None:
    """One GPU is of an accepted architecture, no older driver or VBIOS, connected as owners say (GP-06).

    Raises `AttestationError` `gpu-not-allowed`.
    """
    for wrong, words in (
        (arch not in rules.architectures, f"architecture {arch}"),
        (_driver(driver) < _driver(rules.min_driver), f"driver {driver} is older than {rules.min_driver}"),
        (_vbios(vbios) < _vbios(rules.min_vbios), f"VBIOS {vbios} is older than {rules.min_vbios}"),
        (protected_pcie and not rules.protected_pcie, "protected PCIe is on"),
    ):
        if wrong:
            raise AttestationError(Code.GPU_NOT_ALLOWED, f"the platform policy does not accept it: {words}")


def require_state(rules: GpuRules, *, state: str, missing: Sequence[str], asked_all: bool) -> None:
    """All GPUs were verified as far as owners ask, and NVIDIA's word on their certificates was heard.

    `missing` names the manifests that were not at hand. Raises `AttestationError`: `gpu-state`,
    `gpu-status-missing`.
    """
    if STATES.index(state) < STATES.index(rules.state):
        raise AttestationError(
            Code.GPU_STATE,
            f"the platform policy asks for {rules.state}, and this is {state}",
            f"fetch {', '.join(missing)} from rim.attestation.nvidia.com" if missing else None,
        )
    if not asked_all:
        raise AttestationError(
            Code.GPU_STATUS_MISSING, "the platform policy asks for NVIDIA’s word on each certificate"
        )


def _driver(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _vbios(version: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in version.split("."))
