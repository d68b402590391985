# SPDX-License-Identifier: Apache-2.0
"""The platform policy: by which rules the owners let a gate judge machines.

One JSON document. Owners adopt its hash with the gate (`Platform.policyHash`), and the gate judges by it and
by nothing of its own: which root quotes lead to, what of the TCB it accepts, the registers of each OS image,
the KMS that all keys come from, what it takes of GPUs, which guarantees of recipes the owners accept, and how
settled a run's opening must be before anything leaves the enclave.
Spec: `enclave/spec/platform-policy.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self, TypeVar

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json
from sealroom.errors import FormatError
from sealroom.guarantee import GUARANTEES
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, U32, Flag, Hex, Text

VERSION = 3
"""Version of the document; no other is read."""
MAX_POLICY_BYTES = 64 * 1024
MAX_OS_IMAGES = 64
"""Most sets of registers that a policy names."""
MAX_ADVISORIES = 64
MAX_TDX_MODULES = 16
INTEL = "intel"
"""Intel's root, which is built into the verifier."""
UP_TO_DATE = "UpToDate"
"""The one TCB status that this version accepts."""
FINAL = "final"
"""Results leave once the run's opening is in a finalized block."""
SAFE = "safe"
"""Results leave once it is in a safe block."""
NO_GPU = "none"
"""GPU evidence is refused: this version verifies none."""

Ordered = TypeVar("Ordered", str, bytes)
Register = Annotated[bytes, Hex(48)]
"""A measurement, 48 bytes."""


@dataclass(frozen=True, kw_only=True)
class OsImage(Record, what="image"):
    """An OS image, and the registers that a machine shows when it boots exactly that.

    A guest names its image itself; that the name is true follows from MRTD and RTMR0 to RTMR2 alone (AT-20).
    """

    digest: B32
    """dstack's `os_image_hash`."""
    mr_td: Register
    """MRTD: virtual firmware."""
    rt_mr: Annotated[tuple[Register, ...], AtMost(3)]
    """RTMR0 to RTMR2: virtual hardware, kernel, command line."""

    def fault(self) -> str | None:
        return None if len(self.rt_mr) == 3 else "has rtMr without three registers"


@dataclass(frozen=True, kw_only=True)
class TcbRules(Record, what="tcb"):
    """What is accepted of processor, TDX module and quoting enclave."""

    status: Annotated[str, Text(16, re.compile(UP_TO_DATE))]
    """Status that each of them must have: `UpToDate`."""
    min_evaluation: U32
    """Least tcbEvaluationDataNumber of the collateral; stops a cache from serving an old verdict (AT-07)."""
    rejected_advisories: Annotated[
        tuple[Annotated[str, Text(32, re.compile(r"INTEL-SA-[0-9]{5}"))], ...], AtMost(MAX_ADVISORIES)
    ]
    """Security advisories that may not apply, even where the TCB counts as up to date."""
    tdx_modules: Annotated[tuple[Register, ...], AtMost(MAX_TDX_MODULES)]
    """Accepted measurements of the TDX module (MRSEAM); empty accepts what the collateral does."""
    v5_quotes: Flag
    """Whether quotes of version 5 are accepted, besides version 4."""
    dynamic_platform: Flag
    """Whether platforms are accepted that can take in further packages after registration."""
    cached_keys: Flag
    """Whether platforms are accepted whose root keys Intel's registration service keeps."""
    smt: Flag
    """Whether machines are accepted on which two threads share a core (AT-29)."""

    def fault(self) -> str | None:
        for name, increases in (
            ("rejectedAdvisories", _increases(self.rejected_advisories)),
            ("tdxModules", _increases(self.tdx_modules)),
        ):
            if not increases:
                return f"has {name} that do not strictly increase"
        return None


def _increases(values: tuple[Ordered, ...]) -> bool:
    """Whether each is larger than the one before."""
    return list(values) == sorted(set(values))


@dataclass(frozen=True, kw_only=True)
class PlatformPolicy(Record, what="platform policy"):
    """The owners' rules for machines."""

    root: Annotated[str, Text(66, re.compile(rf"{INTEL}|0x[0-9a-f]{{64}}"))]
    """To which root quotes lead: `intel`, or SHA-256 of the certificate of a simulated one."""
    tcb: TcbRules
    """What is accepted of processor, TDX module and quoting enclave."""
    os_images: Annotated[tuple[OsImage, ...], AtMost(MAX_OS_IMAGES)]
    """Registers of OS images, at least one, strictly increasing. One image has several where machines have
    other virtual hardware. Which of them are allowed, the platform's list on chain says."""
    kms_root: B32
    """SHA-256 of the root key of the KMS from which gate and enclaves take their keys (AT-19)."""
    gpu: Annotated[str, Text(8, re.compile(NO_GPU))]
    """What is taken of GPU evidence: `none`."""
    guarantees: Annotated[tuple[Annotated[str, Text(32)], ...], AtMost(len(GUARANTEES))]
    """The guarantees of recipes that the owners accept, at least one, in the order of `GUARANTEES`."""
    emit: Annotated[str, Text(8, re.compile(rf"{FINAL}|{SAFE}"))]
    """From when on a result may leave: once the run's opening is `final`, or `safe` already."""

    def fault(self) -> str | None:
        places = [(image.digest, image.mr_td, image.rt_mr) for image in self.os_images]
        if not places:
            return "has no osImages"
        if places != sorted(set(places)):
            return "has osImages that do not strictly increase"
        if not self.guarantees or self.guarantees != tuple(g for g in GUARANTEES if g in self.guarantees):
            return f"has guarantees that are not some of {', '.join(GUARANTEES)}, in this order"
        return None

    @cached_property
    def hash(self) -> bytes:
        """What owners adopt: SHA-256 of its canonical bytes."""
        return sha256(self.encode())

    def encode(self) -> bytes:
        """The document as canonical JSON."""
        return canonical({"version": VERSION, **self.to_json()})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a document, however it is laid out. Raises `FormatError`: `malformed`, `too-large`,
        `unsupported-version`."""
        value: Any = strict_json(data, MAX_POLICY_BYTES)
        if not isinstance(value, dict) or "version" not in value:
            raise FormatError(Code.MALFORMED, f"{cls.what} lacks version")
        found = value.pop("version")
        if found != VERSION or isinstance(found, bool):
            raise FormatError(Code.UNSUPPORTED_VERSION, f"{cls.what} has a version other than {VERSION}")
        return cls.from_json(value)
