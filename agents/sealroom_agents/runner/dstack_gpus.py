# SPDX-License-Identifier: Apache-2.0
"""Which of a dstack host's GPUs a VM gets: those that its recipe demands, by what `ListGpus` says.

It decides nothing about evidence: the host says what it likes here, and the gate judges what devices sign.
Source: dstack, `vmm_rpc.proto` (`GpuInfo`, `GpuConfig`) and `resolve_gpus` in `main_service.rs` (0.5.11 and
0.6); the PCI ID Repository and dstack's examples for the product ids.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sealroom.codes import Code
from sealroom.gpu_demand import H100, GpuDemand
from sealroom_agents.errors import RunnerError
from sealroom_agents.runner.rest import Answer

PRODUCTS: dict[str, frozenset[str]] = {
    H100: frozenset(
        f"10de:{product}"
        for product in (
            "2313", "2321", "2322", "2324", "2330", "2331", "2335", "2336", "2339", "233b",
        )
    )
}  # fmt: skip
"""PCI vendor and product of the boards with each kind's chip: H100, H800 and H200 as SXM, PCIe and NVL."""
MAX_LISTED = 256
"""Most devices that a host may list."""


class _Gpu(Answer):
    slot: Annotated[str, Field(pattern=r"^([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")]
    """PCI address."""
    product_id: Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
    """PCI vendor and product."""
    is_free: bool


class Gpus(Answer):
    """The answer to `ListGpus`: the devices that the host offers to VMs."""

    gpus: Annotated[list[_Gpu], Field(max_length=MAX_LISTED)]
    allow_attach_all: bool


def attached(demand: GpuDemand, offered: Gpus) -> dict[str, Any]:
    """`gpus` of a VM's configuration. Raises `RunnerError`: `host-feature` where this host can never give
    what is demanded, `host-busy` where other VMs have it, `host-answer` for a list that can't be."""
    if len({gpu.slot for gpu in offered.gpus}) != len(offered.gpus):
        raise RunnerError(Code.HOST_ANSWER, "the answer to ListGpus has one slot twice")
    fit = [gpu for gpu in offered.gpus if gpu.product_id in PRODUCTS[demand.kind]]
    if len(fit) < demand.count:
        raise RunnerError(
            Code.HOST_FEATURE,
            f"the recipe demands {demand}, and the host offers {len(fit)} {demand.kind}",
            "run it on a host that has them, or list their product ids in [cvm.gpu] of its vmm.toml",
        )
    if demand.protected_pcie:
        return _all(demand, offered, len(fit), all(gpu.is_free for gpu in fit))
    free = [gpu for gpu in fit if gpu.is_free]
    if len(free) < demand.count:
        raise _busy(demand, len(free))
    return {"attach_mode": "listed", "gpus": [{"slot": gpu.slot} for gpu in free[: demand.count]]}


def _all(demand: GpuDemand, offered: Gpus, count: int, free: bool) -> dict[str, Any]:
    """Protected PCIe is between all GPUs of a board and its switches; dstack attaches them whole or not."""
    if count != demand.count:
        raise RunnerError(
            Code.HOST_FEATURE,
            f"the recipe demands {demand}, and with protected PCIe a VM gets all {count} of this host",
            f"demand {count}, or run it on a host with {demand.count}",
        )
    if not offered.allow_attach_all:
        raise RunnerError(
            Code.HOST_FEATURE,
            f"the recipe demands {demand}, and the host gives no VM all of its GPUs",
            "set allow_attach_all = true in [cvm.gpu] of its vmm.toml",
        )
    if not free:
        raise _busy(demand, 0)
    return {"attach_mode": "all", "gpus": []}


def _busy(demand: GpuDemand, free: int) -> RunnerError:
    return RunnerError(
        Code.HOST_BUSY,
        f"the recipe demands {demand}, and {free} of the host's are free for it",
        "ask for the run again when the VMs that have them have ended",
    )
