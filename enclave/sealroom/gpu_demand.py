# SPDX-License-Identifier: Apache-2.0
"""What a recipe demands of GPUs, and how its enclave's hello repeats it to the gate.

Specs: `enclave/spec/recipe.md`, `enclave/spec/key-release.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from sealroom.gpu_rules import NO_GPU
from sealroom.model import Record
from sealroom.model.kinds import Kind, Text, UInt

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

H100 = "h100"
"""The one kind of GPU: NVIDIA's chip GH100. H200 boards have the same chip, and a report names no more."""
CHIPS = {H100: "GH100"}
"""The chip of each kind, as certificates name it."""
PASSTHROUGH = "passthrough"
"""Each GPU is the guest's own, and protected PCIe is off."""
PROTECTED_PCIE = "protected-pcie"
"""The GPUs are a board's, connected by protected PCIe."""
MAX_DEMANDED = 8
"""Most GPUs of a recipe: those of one board."""


@dataclass(frozen=True, kw_only=True)
class GpuDemand(Record, what="gpu"):
    """The GPUs that an enclave must show evidence of."""

    kind: Annotated[str, Text(16, re.compile(H100))]
    """What they are."""
    count: Annotated[int, UInt(8, low=1, high=MAX_DEMANDED)]
    """How many, no more and no fewer."""
    mode: Annotated[str, Text(16, re.compile(f"{PASSTHROUGH}|{PROTECTED_PCIE}"))]
    """How they say to be connected."""

    @property
    def chip(self) -> str:
        """The chip that each must be."""
        return CHIPS[self.kind]

    @property
    def protected_pcie(self) -> bool:
        """Whether each must say that protected PCIe is on; otherwise, that it is off."""
        return self.mode == PROTECTED_PCIE

    def __str__(self) -> str:
        return f"{self.count} {self.kind}, {self.mode}"


@dataclass(frozen=True)
class DemandMember(Kind):
    """The word `none`, or a demand; `None` stands for the word."""

    def json(self, value: GpuDemand | None) -> Any:
        return NO_GPU if value is None else value.to_json()

    def text(self, value: GpuDemand | None) -> str:
        return NO_GPU if value is None else str(value)

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        def read(value: Any, demand: Callable[[Any], GpuDemand]) -> GpuDemand | None:
            return None if value == NO_GPU else demand(value)

        schema = GpuDemand.__get_pydantic_core_schema__(GpuDemand, None)
        return core_schema.no_info_wrap_validator_function(read, schema)
