# SPDX-License-Identifier: Apache-2.0
"""The platform policy: by which rules the owners let a gate judge machines.

One JSON document. Owners adopt its hash with the gate (`Platform.policyHash`), and the gate judges by it and
by nothing of its own: which root quotes lead to, what of the TCB it accepts, the registers of each OS image,
the KMS that all keys come from, what it takes of GPUs, which guarantees of recipes the owners accept, how
long keys may be held and by how old a word, and how settled a run's opening must be before anything leaves
the enclave.
Spec: `enclave/spec/platform-policy.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self, TypeVar

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json
from sealroom.errors import FormatError
from sealroom.gpu_rules import GpuMember, GpuRules
from sealroom.guarantee import GUARANTEES
from sealroom.key_release.messages import MAX_LEASE_SECONDS, MAX_POLICY
from sealroom.model import Record
from sealroom.model.base import AtMost, Either
from sealroom.model.kinds import B32, U32, Base64, Flag, Hex, Text, UInt

VERSION = 5
"""Version of the document; no other is read."""
MAX_POLICY_BYTES = MAX_POLICY
MAX_OS_IMAGES = 64
"""Most sets of registers that a policy names."""
MAX_MEMORY_SIZES = 16
"""Most sizes of memory of one image."""
MAX_CHECKSUMS_BYTES = 4096
"""Largest list of checksums of an image."""
MAX_MEASUREMENT_BYTES = 2048
"""Largest measurement of an image; real ones have 400 bytes."""
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
MIN_LEASE_SECONDS = 10
"""Shortest lease: an enclave asks again each third of it, and a slow answer must not end it."""
MIN_STALENESS_SECONDS, MAX_STALENESS_SECONDS = 15, 90
"""Bounds of `staleness_seconds`; no reader of the chain takes an older head, whatever a document says."""
MIN_HEARTBEAT_SECONDS, MAX_HEARTBEAT_SECONDS = 15, 60
"""Bounds of `heartbeat_seconds`; a watcher tells the gate after each look at the chain."""

BY_REGISTERS, BY_IMAGE, BY_LITE = "registers", "image", "tdx-lite"
"""How an entry says what an OS image is known by."""
BOUND, ANY = "bound", "any"
"""Whether the TD's configuration id must bind app and recipe."""
PPID, USER_DATA = "ppid", "user-data"
"""Of what the name of a machine is the SHA-256: of its PPID, or of the user data of its quotes."""
STRICT, SERVER, CUSTOM = "strict", "server", "custom"
"""What people call a set of rules about machines."""

Ordered = TypeVar("Ordered", str, bytes)
Register = Annotated[bytes, Hex(48)]
"""A measurement, 48 bytes."""


@dataclass(frozen=True, kw_only=True)
class OsImage(Record, what="image"):
    """An OS image, and the registers that a machine shows when it boots exactly that.

    What a guest says of its image counts for nothing: the registers say it alone (AT-20).
    """

    by: Annotated[str, Text(9, re.compile(rf"{BY_REGISTERS}|{BY_IMAGE}"))] = BY_REGISTERS
    """`registers`: all four are named, so the virtual hardware too. `image`: RTMR0 is left out, in which the
    number of processors and the size of memory stand."""
    digest: B32
    """dstack's `os_image_hash`."""
    mr_td: Register
    """MRTD: virtual firmware."""
    rt_mr: Annotated[tuple[Register, ...], AtMost(3)]
    """By registers RTMR0 to RTMR2: virtual hardware, kernel, command line. By image the last two."""

    def fault(self) -> str | None:
        wanted, words = (3, "three registers") if self.by == BY_REGISTERS else (2, "two registers")
        return None if len(self.rt_mr) == wanted else f"has rtMr without {words}"

    def is_booted(self, mr_td: bytes, rt_mr: tuple[bytes, ...]) -> bool:
        """Whether MRTD and RTMR0 to RTMR2, or more, are the image's."""
        return (self.mr_td, self.rt_mr) == (mr_td, rt_mr[3 - len(self.rt_mr) : 3])


@dataclass(frozen=True, kw_only=True)
class LiteImage(Record, what="image"):
    """An OS image by the measurement that it carries: registers follow from it, and RTMR0 from memory too.

    Both parts are those of `tdx_measurement` in dstack's `vm_config`. Nothing of them is taken from a guest.
    """

    by: Annotated[str, Text(8, re.compile(BY_LITE))] = BY_LITE
    """`tdx-lite`."""
    checksums: Annotated[bytes, Base64(MAX_CHECKSUMS_BYTES)]
    """The image's `sha256sum.txt`; dstack's `os_image_hash` is its SHA-256."""
    measurement: Annotated[bytes, Base64(MAX_MEASUREMENT_BYTES)]
    """The image's `measurement.tdx.cbor`, which that list names."""
    memory: Annotated[tuple[Annotated[int, UInt(32, low=1)], ...], AtMost(MAX_MEMORY_SIZES)]
    """Sizes of memory that machines may have, MiB, at least one, strictly increasing."""

    @property
    def digest(self) -> bytes:
        """dstack's `os_image_hash`, 32 bytes."""
        return sha256(self.checksums)

    def fault(self) -> str | None:
        if not self.memory or list(self.memory) != sorted(set(self.memory)):
            return "has memory that does not strictly increase"
        return None


Image = OsImage | LiteImage
"""An entry of `osImages`."""
_ENTRY = Either("by", {BY_REGISTERS: OsImage, BY_IMAGE: OsImage, BY_LITE: LiteImage})


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

    @property
    def profile(self) -> str:
        """What people call its rules for hardware: `strict` grants nothing, `server` what all servers with
        several sockets need: dynamic platform, cached keys, threads that share a core. Else `custom`."""
        grants = {self.dynamic_platform, self.cached_keys, self.smt}
        return CUSTOM if len(grants) > 1 else SERVER if grants == {True} else STRICT

    def fault(self) -> str | None:
        for name, increases in (
            ("rejectedAdvisories", _increases(self.rejected_advisories)),
            ("tdxModules", _increases(self.tdx_modules)),
        ):
            if not increases:
                return f"has {name} that do not strictly increase"
        return None


@dataclass(frozen=True, kw_only=True)
class GuestRules(Record, what="guest"):
    """What is accepted of the forms in which dstack's hosts and guests differ."""

    config_id: Annotated[str, Text(5, re.compile(rf"{BOUND}|{ANY}"))] = BOUND
    """`bound`: the TD's configuration id must be dstack's for this app and recipe. `any`: it may be missing;
    then event log and quote bind them alone."""
    device_id: Annotated[str, Text(9, re.compile(rf"{PPID}|{USER_DATA}"))] = PPID
    """The rule by which machines are named on the platform's list: SHA-256 of the PPID, or of the 20 bytes of
    user data in the quote's header, as dstack did up to 0.5.5."""
    event_logs: Annotated[tuple[Annotated[int, UInt(8, low=1, high=2)], ...], AtMost(2)] = (1,)
    """Versions of the event log that are accepted, at least one, increasing."""

    def fault(self) -> str | None:
        if not self.event_logs or list(self.event_logs) != sorted(set(self.event_logs)):
            return "has eventLogs that do not strictly increase"
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
    guest: GuestRules
    """What is accepted of the forms in which dstack's hosts and guests differ."""
    os_images: Annotated[tuple[Annotated[Image, _ENTRY], ...], AtMost(MAX_OS_IMAGES)]
    """What OS images are known by, at least one, strictly increasing. One image has several entries where
    machines have other virtual hardware. Which of them are allowed, the platform's list on chain says."""
    kms_root: B32
    """SHA-256 of the root key of the KMS from which gate and enclaves take their keys (AT-19)."""
    gpu: Annotated[GpuRules | None, GpuMember()]
    """What is accepted of GPU evidence; `None` accepts none."""
    guarantees: Annotated[tuple[Annotated[str, Text(32)], ...], AtMost(len(GUARANTEES))]
    """The guarantees of recipes that the owners accept, at least one, in the order of `GUARANTEES`."""
    emit: Annotated[str, Text(8, re.compile(rf"{FINAL}|{SAFE}"))]
    """From when on a result may leave: once the run's opening is `final`, or `safe` already."""
    lease_seconds: Annotated[int, UInt(32, low=MIN_LEASE_SECONDS, high=MAX_LEASE_SECONDS)]
    """How long an enclave keeps its keys unless the gate renews (OP-10)."""
    staleness_seconds: Annotated[int, UInt(32, low=MIN_STALENESS_SECONDS, high=MAX_STALENESS_SECONDS)]
    """How old the newest block may be on which a grant or a renewal rests (CH-04)."""
    heartbeat_seconds: Annotated[int, UInt(32, low=MIN_HEARTBEAT_SECONDS, high=MAX_HEARTBEAT_SECONDS)]
    """How long ago the watcher may have seen the consortium (OP-09)."""

    def fault(self) -> str | None:
        places = [(image.digest, canonical(image.to_json())) for image in self.os_images]
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
        return canonical(self.document())

    def document(self) -> dict[str, Any]:
        """The document as a JSON object."""
        return {"version": VERSION, **self.to_json()}

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a document, however it is laid out. Raises `FormatError`: `malformed`, `too-large`,
        `unsupported-version`."""
        return cls.of_document(strict_json(data, MAX_POLICY_BYTES))

    @classmethod
    def of_document(cls, value: Any) -> Self:
        """Read a document that is JSON already. Raises `FormatError`: `malformed`, `unsupported-version`."""
        if not isinstance(value, Mapping) or "version" not in value:
            raise FormatError(Code.MALFORMED, f"{cls.what} lacks version")
        members = dict(value)
        found = members.pop("version")
        if found != VERSION or isinstance(found, bool):
            raise FormatError(Code.UNSUPPORTED_VERSION, f"{cls.what} has a version other than {VERSION}")
        return cls.from_json(members)
