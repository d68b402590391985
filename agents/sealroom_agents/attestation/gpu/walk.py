# SPDX-License-Identifier: Apache-2.0
"""From GPU evidence to a verdict: one link after the other, and the first that breaks ends the walk.

A verdict goes as far as the evidence and the material at hand carry, and never further. `signature-verified`
is a genuine chip of NVIDIA that signed this nonce, whatever VBIOS and driver it runs; only `fully-matched`
says that both are what NVIDIA published. None says in which machine the chip is, nor that confidential
computing was on: the report has no such field, and the attested guest has to look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Self

from sealroom.codes import Code
from sealroom.gpu_rules import STATES, GpuRules
from sealroom_agents.attestation.gpu.chain import DEVICE_ROOT, RIM_ROOT, require_device_chain
from sealroom_agents.attestation.gpu.evidence import (
    Device,
    read_evidence,
    require_firmware,
    require_nonce,
    require_signature,
)
from sealroom_agents.attestation.gpu.material import Fetched, Material
from sealroom_agents.attestation.gpu.measurements import compare, require_apart
from sealroom_agents.attestation.gpu.nras import verify_answer
from sealroom_agents.attestation.gpu.ocsp import Pair, asked_of_device, asked_of_rim, require_good
from sealroom_agents.attestation.gpu.rim import Rim, verify_rim
from sealroom_agents.attestation.gpu.rules import require_device, require_state
from sealroom_agents.errors import AttestationError


class State(StrEnum):
    """How far evidence was verified; each is more than the one before."""

    UNVERIFIED = "unverified"
    """A link broke."""
    SIGNATURE_VERIFIED = STATES[0]
    """Each report is signed by a genuine chip for this nonce, with firmware that its boot ROM certified."""
    VBIOS_MATCHED = STATES[1]
    """Besides, each measured the VBIOS that NVIDIA signed a manifest for."""
    FULLY_MATCHED = STATES[2]
    """Besides, each measured the driver that NVIDIA signed a manifest for."""


class Outcome(StrEnum):
    """What became of a link."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_ASKED = "not asked"
    """Nothing was given with which to look."""


@dataclass(frozen=True)
class Link:
    """One link of a walk."""

    name: str
    outcome: Outcome
    words: str
    """What was seen, or what is wrong, in one line."""
    code: Code | None = None
    """Why it broke."""


@dataclass(frozen=True)
class Gpu:
    """What is known of one GPU once its signature is verified."""

    ueid: str
    """The device's identity, in decimal."""
    arch: str
    """Its architecture, such as `HOPPER`."""
    chip: str
    driver: str
    vbios: str
    protected_pcie: bool
    vbios_matched: int | None = None
    """Measurements that are what NVIDIA expects of the VBIOS; `None` where no manifest was at hand."""
    driver_matched: int | None = None
    """The same of the driver."""


@dataclass(frozen=True)
class Trust:
    """NVIDIA's roots, as SHA-256 of their DER."""

    devices: bytes = DEVICE_ROOT
    rims: bytes = RIM_ROOT


@dataclass(frozen=True)
class Terms:
    """What whoever verifies asks for, besides a nonce."""

    count: int | None = None
    """How many GPUs there must be; `None` takes any number."""
    rim_age_s: int | None = None
    """How long ago a manifest may have been fetched, seconds."""
    status_age_s: int | None = None
    """How old an answer about a certificate may be, seconds; `None` leaves that to the responder's word."""
    tokens: tuple[bytes, bytes] | None = None
    """An answer of NVIDIA's service, and its JWK set."""
    rules: GpuRules | None = None
    """The owners' rules; `None` asks for nothing more."""

    @classmethod
    def under(
        cls, rules: GpuRules, *, count: int | None = None, tokens: tuple[bytes, bytes] | None = None
    ) -> Self:
        """The terms of a platform policy."""
        return cls(
            count=count,
            rim_age_s=rules.rim_seconds,
            status_age_s=rules.ocsp_seconds,
            tokens=tokens,
            rules=rules,
        )


@dataclass
class Walk:
    """The verdict on evidence, and how it came about."""

    links: list[Link] = field(default_factory=list)
    gpus: list[Gpu] = field(default_factory=list)
    asked: list[Pair] = field(default_factory=list)
    """Each certificate whose standing NVIDIA's responder can tell, once the signature is verified."""
    asked_all: bool = False
    """Whether the responder said of each of them that it is not revoked."""
    used: Material = field(default_factory=Material)
    """Of the material at hand what decided: with no more than this another walk at the same time comes to the
    same end."""

    @property
    def broken(self) -> Link | None:
        """The first link that broke: it is the last one of the walk."""
        return next((link for link in self.links if link.outcome is Outcome.BROKEN), None)

    @property
    def state(self) -> State:
        """How far all of them were verified."""
        if not self.gpus or self.broken is not None:
            return State.UNVERIFIED
        if any(gpu.vbios_matched is None for gpu in self.gpus):
            return State.SIGNATURE_VERIFIED
        matched = all(gpu.driver_matched is not None for gpu in self.gpus)
        return State.FULLY_MATCHED if matched else State.VBIOS_MATCHED


def walk_gpus(
    evidence: bytes,
    *,
    nonce: bytes,
    now: int,
    material: Material | None = None,
    terms: Terms | None = None,
    trust: Trust | None = None,
) -> Walk:
    """Verify evidence for a nonce of 32 bytes at `now`, unix seconds; say of each link what became of it."""
    return _Walker(evidence, nonce, now, material or Material(), terms or Terms(), trust or Trust()).walk()


class _Skip(Exception):
    """Nothing was given with which to look at a link; the words say what is missing."""


@dataclass
class _Walker:
    evidence: bytes
    nonce: bytes
    now: int
    material: Material
    terms: Terms
    trust: Trust
    found: Walk = field(default_factory=Walk)
    devices: Sequence[Device] = ()
    rims: dict[str, Rim] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    fetched: dict[str, Sequence[Fetched]] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)

    def walk(self) -> Walk:
        links: tuple[tuple[str, Callable[[], str]], ...] = (
            ("form", self._read),
            ("certificates", partial(self._each, self._chain, "lead to NVIDIA’s root of devices")),
            ("signature", partial(self._each, require_signature, "each chip signed its report")),
            ("nonce", partial(self._each, self._made_for, "made for this nonce")),
            ("firmware", partial(self._each, require_firmware, "the boot ROM certified what reports")),
            ("devices", self._distinct),
            ("VBIOS", self._vbios),
            ("driver", self._driver),
            ("revocation", self._status),
            ("NVIDIA’s service", self._service),
            ("platform policy", self._allowed),
        )
        for name, look in links:
            try:
                self.found.links.append(Link(name, Outcome.HOLDS, look()))
            except _Skip as skipped:
                self.found.links.append(Link(name, Outcome.NOT_ASKED, str(skipped)))
            except AttestationError as error:
                self.found.links.append(Link(name, Outcome.BROKEN, error.message, error.code))
                break
        self.found.used = Material(self.fetched, self.answers)
        return self.found

    def _each(self, check: Callable[[Device], None], words: str) -> str:
        for place, device in enumerate(self.devices):
            with _Of(place, self.devices):
                check(device)
        return words

    def _read(self) -> str:
        self.devices = read_evidence(self.evidence)
        return f"{_number(len(self.devices))}, {', '.join(sorted({device.arch for device in self.devices}))}"

    def _chain(self, device: Device) -> None:
        require_device_chain(device.chain, now=self.now, root=self.trust.devices)

    def _made_for(self, device: Device) -> None:
        require_nonce(device, self.nonce)

    def _distinct(self) -> str:
        """GP-04: the number that was asked for, and each another one."""
        devices, count = self.devices, self.terms.count
        if count not in (None, len(devices)):
            raise AttestationError(Code.GPU_COUNT, f"{_number(len(devices))} where {count} must be")
        # A boot ROM certifies anew what it starts, so one device can have several leaves, and one boot ROM.
        seen = {device.ueid for device in devices}, {device.boot_rom for device in devices}
        if any(len(each) != len(devices) for each in seen):
            raise AttestationError(Code.GPU_COUNT, "one device stands there twice")
        self.found.gpus = [
            Gpu(
                ueid=device.ueid,
                arch=device.arch,
                chip=device.chip,
                driver=device.report.driver,
                vbios=device.report.vbios,
                protected_pcie=device.report.protected_pcie,
            )
            for device in devices
        ]
        return f"{_number(len(devices))}, none twice"

    def _vbios(self) -> str:
        return self._matched("vbios_matched", lambda device: (device.report.vbios_rim, device.report.vbios))

    def _driver(self) -> str:
        said = self._matched(
            "driver_matched", lambda device: (device.report.driver_rim(device.chip), device.report.driver)
        )
        for device in self.devices:
            names = device.report.vbios_rim, device.report.driver_rim(device.chip)
            require_apart([self.rims[name] for name in names if name in self.rims])
        return said

    def _matched(self, member: str, names: Callable[[Device], tuple[str, str]]) -> str:
        absent, counts = "", set[int]()
        for place, device in enumerate(self.devices):
            with _Of(place, self.devices):
                name, version = names(device)
                rim = self._rim(name, version, device.chip)
                if rim is None:
                    absent = name
                    continue
                matched = compare(device.report, rim)
            counts.add(matched)
            gpu = self.found.gpus[place]
            self.found.gpus[place] = Gpu(**{**gpu.__dict__, member: matched})
        if absent:
            self.missing.append(absent)
            raise _Skip(f"no manifest {absent}")
        return f"{' or '.join(map(str, sorted(counts)))} measurements, each as NVIDIA expects"

    def _rim(self, name: str, version: str, chip: str) -> Rim | None:
        if name in self.rims:
            return self.rims[name]
        found = self.material.rim(name, now=self.now, max_age_s=self.terms.rim_age_s)
        if found is None:
            return None
        data, at = found
        rim = verify_rim(data, now=at, root=self.trust.rims)
        if (rim.version, rim.product) != (version.lower(), chip):
            raise AttestationError(
                Code.GPU_RIM_OTHER,
                f"manifest {name} is of {rim.product} {rim.version}, not of {chip} {version}",
            )
        self.rims[name] = rim
        self.fetched[name] = (Fetched(data, at),)
        return rim

    def _status(self) -> str:
        """GP-07: NVIDIA's word on each certificate of devices and manifests."""
        pairs: dict[bytes, Pair] = {}
        for asked in (
            *(asked_of_device(device.chain) for device in self.devices),
            *(asked_of_rim(rim.chain) for rim in self.rims.values()),
        ):
            pairs |= {pair[0].tbs_certificate_bytes: pair for pair in asked}
        self.found.asked = list(pairs.values())
        if not self.material.answers:
            raise _Skip("no answers of NVIDIA’s responder")
        for pair in self.found.asked:
            found = require_good(pair, self.material.answers, now=self.now, max_age_s=self.terms.status_age_s)
            self.answers.append(found.answer)
        self.found.asked_all = True
        return f"{len(pairs)} certificates are good"

    def _service(self) -> str:
        """GP-05: the service's word, about these very devices."""
        if self.terms.tokens is None:
            raise _Skip("no tokens of it")
        told = verify_answer(*self.terms.tokens, nonce=self.nonce, now=self.now)
        if sorted((one.ueid, one.driver, one.vbios) for one in told) != sorted(
            (gpu.ueid, gpu.driver, gpu.vbios) for gpu in self.found.gpus
        ):
            raise AttestationError(Code.GPU_TOKEN_CLAIMS, "the service attests other devices or versions")
        return f"it attests {_number(len(told))}"

    def _allowed(self) -> str:
        rules = self.terms.rules
        if rules is None:
            raise _Skip("none was given")
        for place, gpu in enumerate(self.found.gpus):
            with _Of(place, self.devices):
                require_device(
                    rules,
                    arch=gpu.arch,
                    driver=gpu.driver,
                    vbios=gpu.vbios,
                    protected_pcie=gpu.protected_pcie,
                )
        require_state(rules, state=self.found.state, missing=self.missing, asked_all=self.found.asked_all)
        return f"accepts {self.found.state}"


class _Of:
    """Says of which GPU an error is, where there are several."""

    def __init__(self, place: int, devices: Sequence[Device]) -> None:
        self._place, self._many = place, len(devices) > 1

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, AttestationError) and self._many:
            raise AttestationError(error.code, f"GPU {self._place}: {error.message}", error.hint) from error


def _number(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}"
