# SPDX-License-Identifier: Apache-2.0
"""What owners accept of evidence of GPUs: the member `gpu` of the platform policy.

Spec: `enclave/spec/platform-policy.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import Flag, Kind, Text, UInt

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

NO_GPU = "none"
"""No evidence of GPUs is accepted."""
HOPPER = "HOPPER"
"""The one architecture whose evidence is verified: H100, H200."""
STATES = ("signature-verified", "vbios-matched", "fully-matched")
"""How far evidence is verified, each further than the one before."""

_AGE = UInt(32, low=1)


@dataclass(frozen=True, kw_only=True)
class GpuRules(Record, what="gpu"):
    """The owners' rules for evidence of GPUs."""

    architectures: Annotated[tuple[Annotated[str, Text(16, re.compile(HOPPER))], ...], AtMost(1)]
    """Architectures that are accepted: `HOPPER`."""
    min_driver: Annotated[str, Text(11, re.compile(r"[0-9]{3}\.[0-9]{1,3}(\.[0-9]{1,3})?"))]
    """The oldest driver, such as `550.90.07`; compared number by number (GP-06)."""
    min_vbios: Annotated[str, Text(14, re.compile(r"[0-9a-f]{2}(\.[0-9a-f]{2}){4}"))]
    """The oldest VBIOS, such as `96.00.9f.00.01`; compared number by number, which are hexadecimal."""
    state: Annotated[str, Text(18, re.compile("|".join(STATES)))]
    """How far evidence must be verified at least."""
    protected_pcie: Flag
    """Whether GPUs are accepted that say to be on protected PCIe, whose other ends nobody verifies."""
    ocsp_seconds: Annotated[int, _AGE]
    """How old NVIDIA's word on each certificate may be: without one, evidence is refused (GP-07)."""
    rim_seconds: Annotated[int, _AGE]
    """How long ago a reference manifest may have been fetched."""

    def fault(self) -> str | None:
        return None if self.architectures else "has no architectures"


@dataclass(frozen=True)
class GpuMember(Kind):
    """The word `none`, or rules; `None` stands for the word."""

    def json(self, value: GpuRules | None) -> Any:
        return NO_GPU if value is None else value.to_json()

    def text(self, value: GpuRules | None) -> str:
        return NO_GPU if value is None else f"{value.state}, {' '.join(value.architectures)}"

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        def read(value: Any, rules: Callable[[Any], GpuRules]) -> GpuRules | None:
            return None if value == NO_GPU else rules(value)

        schema = GpuRules.__get_pydantic_core_schema__(GpuRules, None)
        return core_schema.no_info_wrap_validator_function(read, schema)
