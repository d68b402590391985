# SPDX-License-Identifier: Apache-2.0
"""Vectors of the platform policy: the page's example, and one fault each."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from sealroom.platform_policy import PlatformPolicy
from tests.vectors.vector import FOLDER, Vector

PAGE = FOLDER.parents[1] / "enclave" / "spec" / "platform-policy.md"


def example() -> str:
    """The document on the page."""
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def _other(image: dict[str, Any], first: int) -> dict[str, Any]:
    return {**image, "digest": f"0x{first:02x}" + image["digest"][4:]}


def _set(*path: str | int, to: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to

    return change


def _drop(*path: str | int) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        del value[path[-1]]

    return change


def _both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for one in changes:
            one(value)

    return change


def _without_rtmr0(image: dict[str, Any]) -> dict[str, Any]:
    return {"digest": image["digest"], "mrTd": image["mrTd"], "rtMr": image["rtMr"][1:]}


LITE = {"by": "tdx-lite", "checksums": "bGlzdA==", "measurement": "Y2Jvcg==", "memory": [2048, 65536]}
"""Well formed as a document; what is inside the two files, the root of trust reads."""
GPU_RULES = {
    "architectures": ["HOPPER"],
    "minDriver": "550.90.07",
    "minVbios": "96.00.9f.00.01",
    "state": "fully-matched",
    "protectedPcie": False,
    "ocspSeconds": 86_400,
    "rimSeconds": 2_592_000,
}


def _gpu(**changes: Any) -> Callable[[Any], None]:
    return _set("gpu", to={**GPU_RULES, **changes})


def _seconds(**bounds: Any) -> Callable[[Any], None]:
    return lambda value: value.update({f"{name}Seconds": bound for name, bound in bounds.items()})


ADVISORIES = ["INTEL-SA-00837", "INTEL-SA-00115"]
GOOD: dict[str, tuple[str, Callable[[Any], None]]] = {
    "example": ("the page's example", lambda value: None),
    "simulated": ("a simulated root", _set("root", to="0x" + "0a" * 32)),
    "strict": ("nothing optional is granted", _set("tcb", "dynamicPlatform", to=False)),
    "safe": ("results leave from a safe block on", _set("emit", to="safe")),
    "gpu_rules": ("rules for GPUs", _set("gpu", to=GPU_RULES)),
    "gpu_signature": (
        "GPUs whose signature holds, whatever they measured",
        _gpu(state="signature-verified", minDriver="590.12"),
    ),
    "guarantees": ("recipes by construction alone", _set("guarantees", to=["by-construction"])),
    "images": (
        "two images, the first with registers of two kinds of virtual hardware",
        lambda value: value["osImages"].extend(
            [{**value["osImages"][0], "mrTd": "0x" + "12" * 48}, _other(value["osImages"][0], 2)]
        ),
    ),
    "by_image": (
        "an image by kernel and firmware alone",
        _both(
            _set("osImages", 0, "by", to="image"),
            _drop("osImages", 0, "rtMr", 0),
        ),
    ),
    "by_lite": ("an image by its measurement", _set("osImages", 0, to=LITE)),
    "three_ways": (
        "one image three ways",
        lambda value: value.update(
            osImages=[
                {"by": "image", **_without_rtmr0(value["osImages"][0])},
                value["osImages"][0],
                LITE,
            ]
        ),
    ),
    "older_hosts": (
        "no configuration id, machines named as before 0.5.6, both event logs",
        _set(
            "guest",
            to={"configId": "any", "deviceId": "user-data", "eventLogs": [1, 2]},
        ),
    ),
    "leases_short": (
        "leases that are short, and rest on what is new",
        _seconds(lease=10, staleness=15, heartbeat=15),
    ),
    "leases_long": (
        "the longest leases, by the oldest word",
        _seconds(lease=60, staleness=90, heartbeat=60),
    ),
    "server": ("what servers need", lambda value: value["tcb"].update(cachedKeys=True, smt=True)),
}
BAD: dict[str, tuple[str, str, Callable[[Any], None]]] = {
    "version": ("unsupported-version", "an earlier version", _set("version", to=4)),
    "version_true": ("unsupported-version", "true is no number", _set("version", to=True)),
    "without_version": ("malformed", "no version", _drop("version")),
    "more": ("malformed", "a member more", _set("more", to=1)),
    "tcb_more": ("malformed", "a member more in tcb", _set("tcb", "more", to=1)),
    "without_kms_root": ("malformed", "no KMS root", _drop("kmsRoot")),
    "root_name": ("malformed", "another vendor's root", _set("root", to="amd")),
    "root_upper_case": ("malformed", "hex in upper case", _set("root", to="0x" + "0A" * 32)),
    "status_lower": ("malformed", "a lower TCB status", _set("tcb", "status", to="OutOfDate")),
    "smt_number": ("malformed", "a number where true or false must be", _set("tcb", "smt", to=0)),
    "evaluation_negative": ("malformed", "a negative number", _set("tcb", "minEvaluation", to=-1)),
    "advisories_order": (
        "malformed", "advisories out of order", _set("tcb", "rejectedAdvisories", to=ADVISORIES),
    ),
    "advisory_name": ("malformed", "no advisory", _set("tcb", "rejectedAdvisories", to=["SA-1"])),
    "module_short": ("malformed", "a module of 47 bytes", _set("tcb", "tdxModules", to=["0x" + "07" * 47])),
    "images_none": ("malformed", "no OS image: a guest's claim would count", _set("osImages", to=[])),
    "images_twice": (
        "malformed", "one entry twice", lambda value: value["osImages"].append(value["osImages"][0]),
    ),
    "images_order": (
        "malformed", "images out of order",
        lambda value: value["osImages"].append(_other(value["osImages"][0], 0)),
    ),
    "images_by_nothing": ("malformed", "an image that says no way", _drop("osImages", 0, "by")),
    "images_by_name": ("malformed", "an image by another way", _set("osImages", 0, "by", to="name")),
    "image_with_rtmr0": ("malformed", "three RTMRs by image", _set("osImages", 0, "by", to="image")),
    "lite_memory_none": (
        "malformed", "a measurement without memory", _set("osImages", 0, to={**LITE, "memory": []}),
    ),
    "lite_memory_order": (
        "malformed", "sizes of memory out of order", _set("osImages", 0, to={**LITE, "memory": [2, 1]}),
    ),
    "lite_more": (
        "malformed", "registers beside a measurement", _set("osImages", 0, to={**LITE, "rtMr": []}),
    ),
    "without_guest": ("malformed", "no rules for guests", _drop("guest")),
    "config_id_other": ("malformed", "neither bound nor any", _set("guest", "configId", to="maybe")),
    "device_id_other": ("malformed", "no rule for names of machines", _set("guest", "deviceId", to="info")),
    "event_logs_none": ("malformed", "no event log is accepted", _set("guest", "eventLogs", to=[])),
    "event_logs_order": ("malformed", "versions out of order", _set("guest", "eventLogs", to=[2, 1])),
    "event_logs_other": ("malformed", "an unknown version", _set("guest", "eventLogs", to=[3])),
    "registers_two": ("malformed", "two RTMRs", _drop("osImages", 0, "rtMr", 2)),
    "guarantees_none": ("malformed", "no guarantee is accepted", _set("guarantees", to=[])),
    "guarantees_other": ("malformed", "a guarantee that there is not", _set("guarantees", to=["by-hope"])),
    "guarantees_twice": ("malformed", "a guarantee twice", _set("guarantees", to=["by-reading"] * 2)),
    "guarantees_order": (
        "malformed", "guarantees out of order", _set("guarantees", to=["by-reading", "by-construction"]),
    ),
    "without_guarantees": ("malformed", "no guarantees", _drop("guarantees")),
    "emit_newest": ("malformed", "results would leave before anything is decided", _set("emit", to="latest")),
    "without_emit": ("malformed", "no word on when results leave", _drop("emit")),
    "lease_year": ("malformed", "a lease that outlives every revocation", _seconds(lease=31_536_000)),
    "lease_long": ("malformed", "longer than an enclave takes", _seconds(lease=61)),
    "lease_short": ("malformed", "shorter than a renewal takes", _seconds(lease=9)),
    "lease_text": ("malformed", "a text where a number must be", _seconds(lease="30")),
    "without_lease": ("malformed", "no bound on leases: an operator would set it", _drop("leaseSeconds")),
    "staleness_long": ("malformed", "a block that no reader takes", _seconds(staleness=91)),
    "staleness_short": ("malformed", "newer than blocks come", _seconds(staleness=14)),
    "without_staleness": ("malformed", "no bound on the newest block", _drop("stalenessSeconds")),
    "heartbeat_long": ("malformed", "a watcher that is long dead", _seconds(heartbeat=61)),
    "heartbeat_short": ("malformed", "oftener than a watcher looks", _seconds(heartbeat=14)),
    "heartbeat_fraction": ("malformed", "a number that is not whole", _seconds(heartbeat=30.5)),
    "without_heartbeat": ("malformed", "no bound on the watcher's word", _drop("heartbeatSeconds")),
    "gpu": ("malformed", "another word for GPUs", _set("gpu", to="nvidia")),
    "gpu_null": ("malformed", "nothing where a word must be", _set("gpu", to=None)),
    "gpu_more": ("malformed", "a member more in gpu", _gpu(more=1)),
    "gpu_architectures_none": ("malformed", "no architecture", _gpu(architectures=[])),
    "gpu_architecture": (
        "malformed", "an architecture that is not verified",
        _gpu(architectures=["BLACKWELL"]),
    ),
    "gpu_driver": ("malformed", "no version of a driver", _gpu(minDriver="R550")),
    "gpu_vbios": ("malformed", "hex in upper case", _gpu(minVbios="96.00.9F.00.01")),
    "gpu_state": ("malformed", "no state of evidence", _gpu(state="unverified")),
    "gpu_ocsp_zero": ("malformed", "no word of NVIDIA’s is new enough", _gpu(ocspSeconds=0)),
    "gpu_pcie": ("malformed", "a number where true or false must be", _gpu(protectedPcie=0)),
    "gpu_without_rim": (
        "malformed", "no age of manifests",
        _set("gpu", to={name: value for name, value in GPU_RULES.items() if name != "rimSeconds"}),
    ),
}  # fmt: skip


def make_policies() -> None:
    """One file a case."""
    for name, (comment, change) in GOOD.items():
        body = _changed(change)
        fields = {"expect": "success", "comment": comment, "hash": PlatformPolicy.parse(body).hash.hex()}
        Vector(fields, body).write(FOLDER / "policy" / name)
    for name, (code, comment, change) in BAD.items():
        fields = {"expect": code, "stage": "FormatError", "comment": comment}
        Vector(fields, _changed(change)).write(FOLDER / "policy" / name)
    twice = example().replace('"gpu": "none"', '"gpu": "none", "gpu": "none"').encode()
    fields = {"expect": "malformed", "stage": "FormatError", "comment": "one member twice"}
    Vector(fields, twice).write(FOLDER / "policy" / "member_twice")


def _changed(change: Callable[[Any], None]) -> bytes:
    value = copy.deepcopy(json.loads(example()))
    change(value)
    return json.dumps(value, indent=1).encode()
