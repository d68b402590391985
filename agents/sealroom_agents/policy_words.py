# SPDX-License-Identifier: Apache-2.0
"""A platform policy in words, line by line; the console's page says the same (`face/platform/words.ts`)."""

from __future__ import annotations

from collections.abc import Iterator

from sealroom.encoding import to_hex
from sealroom.gpu_rules import GpuRules
from sealroom.platform_policy import BOUND, INTEL, Image, LiteImage, PlatformPolicy


def rows(found: PlatformPolicy) -> Iterator[tuple[str, str]]:
    """What each line is about, and what it says."""
    tcb, guest = found.tcb, found.guest
    granted = {
        "dynamic platform": tcb.dynamic_platform,
        "cached keys": tcb.cached_keys,
        "threads share a core": tcb.smt,
    }
    yield "hash", to_hex(found.hash)
    yield "root", "Intel's" if found.root == INTEL else f"SIMULATED, {found.root}"
    yield (
        "profile",
        f"{tcb.profile}: " + (", ".join(name for name, is_ in granted.items() if is_) or "nothing"),
    )
    yield "TCB", f"{tcb.status}, evaluation {tcb.min_evaluation} or later"
    yield "advisories", ", ".join(tcb.rejected_advisories) or "none rejected by name"
    yield "TDX modules", ", ".join(map(to_hex, tcb.tdx_modules)) or "all that the collateral accepts"
    yield "quotes", "version 4 or 5" if tcb.v5_quotes else "version 4"
    yield "config id", "must bind app and recipe" if guest.config_id == BOUND else "may be missing"
    yield "machines", f"named by {guest.device_id}"
    yield "event logs", "version " + " or ".join(map(str, guest.event_logs))
    for image in found.os_images:
        yield "OS image", _image(image)
    yield "KMS root", to_hex(found.kms_root)
    yield "GPU", _gpus(found.gpu)
    yield "guarantees", ", ".join(found.guarantees)
    yield "results leave", f"once the opening is {found.emit}"
    yield "leases", leases(found)


def leases(found: PlatformPolicy) -> str:
    """How long an enclave keeps its keys, and what a renewal rests on."""
    return (
        f"{found.lease_seconds} s, granted and renewed on a block at most {found.staleness_seconds} s old "
        f"and a watcher's report at most {found.heartbeat_seconds} s old"
    )


def _gpus(rules: GpuRules | None) -> str:
    if rules is None:
        return "none: no evidence of GPUs is accepted"
    return (
        f"{' '.join(rules.architectures)} {rules.state}, driver {rules.min_driver} or later, "
        f"VBIOS {rules.min_vbios} or later, {'also' if rules.protected_pcie else 'not'} on protected PCIe, "
        f"word of NVIDIA's at most {_span(rules.ocsp_seconds)} old, manifests {_span(rules.rim_seconds)}"
    )


def _span(seconds: int) -> str:
    """So many seconds, exactly, in the largest unit of which it is a whole number above one."""
    for unit, name in ((86_400, "days"), (3_600, "hours")):
        if seconds % unit == 0 and seconds > unit:
            return f"{seconds // unit:,} {name}"
    return f"{seconds:,} s"


def _image(image: Image) -> str:
    if isinstance(image, LiteImage):
        memory = ", ".join(f"{size} MiB" for size in image.memory)
        return f"{to_hex(image.digest)} by tdx-lite, memory {memory}"
    return f"{to_hex(image.digest)} by {image.by}"
