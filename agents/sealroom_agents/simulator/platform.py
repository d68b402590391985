# SPDX-License-Identifier: Apache-2.0
"""A simulated TDX platform: one seed, from which everything follows, kept in a directory.

    DIR/seed             32 bytes, mode 0600: whoever reads it can make any quote and any key of this platform
    DIR/root.der         the root of trust
    DIR/collateral.json  TCB info, QE identity and CRLs; renewed whenever the platform is opened
    DIR/platform.json    what an owner would write on chain about it: device ids, OS image, KMS root

    DIR/platform-policy.json  a platform policy under which it is accepted
    DIR/os-images.json        the registers of its OS image, for an auditor's pin
    DIR/gpu/                  what is known of its GPUs: roots, manifests, and answers about certificates

Never a production root of trust: the gate refuses it on any chain but a local one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.files import PRIVATE, PUBLIC, TargetExists, write_atomic
from sealroom.gpu_rules import GpuRules
from sealroom.guarantee import GUARANTEES
from sealroom.platform_policy import (
    FINAL,
    UP_TO_DATE,
    GuestRules,
    Image,
    OsImage,
    PlatformPolicy,
    TcbRules,
)
from sealroom_agents.attestation.osimage import encode_os_images
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.simulator.gpu import SimulatedGpu, SimulatedGpus
from sealroom_agents.simulator.kms import SimulatedKms
from sealroom_agents.simulator.machine import Machine
from sealroom_agents.simulator.measurement import (
    SIMULATED_OS_IMAGE,
    boot_events,
    extend,
    firmware_measurement,
)
from sealroom_agents.simulator.pccs import TcbState, mint_collateral
from sealroom_agents.simulator.pki import LABEL, SimulatedPki
from sealroom_agents.simulator.sgx import PPID_BYTES, Hardware

SEED_FILE = "seed"
ROOT_FILE = "root.der"
COLLATERAL_FILE = "collateral.json"
SUMMARY_FILE = "platform.json"
OS_IMAGES_FILE = "os-images.json"
POLICY_FILE = "platform-policy.json"
GPU_FOLDER = "gpu"

DEFAULT_MACHINE = "machine-1"
"""The machine that is meant where none is named."""

MAX_GPUS = 8
"""Most GPUs of a simulated machine."""
SEED_BYTES = 32
COLLATERAL_BACKDATE_S = 3_600
"""Collateral is issued this long ago, so that a clock that is a little behind accepts it."""


class SimulatedPlatform:
    """Root CA, KMS and machines of one simulated data centre."""

    def __init__(self, seed: bytes) -> None:
        """A platform in memory; equal seeds give equal platforms."""
        self._seed = seed
        self.pki = SimulatedPki(seed)
        self.kms = SimulatedKms(seed)
        self.gpus = SimulatedGpus(seed)

    def __repr__(self) -> str:
        return f"SimulatedPlatform(root={hashlib.sha256(self.root_der).hexdigest()[:16]})"

    @classmethod
    def create(cls, directory: Path | str, *, seed: bytes | None = None) -> SimulatedPlatform:
        """Make a new platform in `directory`, with a random seed unless one (32 bytes) is given.

        Raises `ConfigurationError` `platform-exists` when the directory holds one already.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
        try:
            write_atomic(folder / SEED_FILE, seed, mode=PRIVATE)
        except TargetExists as error:
            raise ConfigurationError(
                Code.PLATFORM_EXISTS,
                f"{folder} already holds a simulated platform",
                "use it, or name another folder",
            ) from error
        platform = cls(seed)
        _write(folder / ROOT_FILE, platform.root_der)
        platform._publish(folder)
        return platform

    @classmethod
    def open(cls, directory: Path | str) -> SimulatedPlatform:
        """Open the platform in `directory` and renew its collateral.

        Raises `ConfigurationError` `platform-missing` when there is none.
        """
        folder = Path(directory)
        try:
            seed = (folder / SEED_FILE).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                Code.PLATFORM_MISSING,
                f"{folder} holds no simulated platform",
                f"make one: sealroom simulate init --platform {folder}",
            ) from error
        if len(seed) != SEED_BYTES:
            raise ConfigurationError(
                Code.PLATFORM_MISSING, f"the seed in {folder} is broken", "make a new platform"
            )
        platform = cls(seed)
        platform._publish(folder)
        return platform

    @property
    def root_der(self) -> bytes:
        """The platform's root certificate, DER."""
        return self.pki.root_der

    def trust(self, **options: Any) -> TrustRoot:
        """The root of trust that accepts this platform; `options` override fields of `TrustRoot`."""
        return TrustRoot(
            kind="simulated",
            root_der=self.root_der,
            gpu_roots=self._gpu_roots,
            **{"os_images": (simulated_os_image(),), **options},
        )

    @cached_property
    def _gpu_roots(self) -> bytes:
        return self.gpu_roots()

    def policy(
        self,
        *,
        tcb: TcbRules | None = None,
        guest: GuestRules | None = None,
        os_images: tuple[Image, ...] = (),
        guarantees: tuple[str, ...] | None = None,
        emit: str = FINAL,
        gpu: GpuRules | None = None,
        lease_seconds: int = 30,
        staleness_seconds: int = 90,
        heartbeat_seconds: int = 30,
    ) -> PlatformPolicy:
        """A platform policy that accepts this platform, and recipes of every guarantee unless `guarantees`
        are given; without `tcb` it grants nothing that is optional, and without `gpu` it accepts no GPU.
        Results leave when the opening is final, unless `emit` says something else. Bounds of time are
        seconds."""
        return PlatformPolicy(
            root=_hex(hashlib.sha256(self.root_der).digest()),
            tcb=tcb
            or TcbRules(
                status=UP_TO_DATE,
                min_evaluation=0,
                rejected_advisories=(),
                tdx_modules=(),
                v5_quotes=False,
                dynamic_platform=False,
                cached_keys=False,
                smt=False,
            ),
            guest=guest or GuestRules(),
            os_images=os_images or (simulated_os_image(),),
            kms_root=hashlib.sha256(self.kms.root_public_key).digest(),
            gpu=gpu,
            guarantees=tuple(GUARANTEES) if guarantees is None else guarantees,
            emit=emit,
            lease_seconds=lease_seconds,
            staleness_seconds=staleness_seconds,
            heartbeat_seconds=heartbeat_seconds,
        )

    def machine(self, name: str = DEFAULT_MACHINE, **hardware: Any) -> Machine:
        """The machine called `name`; `hardware` overrides fields of `Hardware` for a bad twin."""
        ppid = hashlib.sha256(b"sealroom/v1/simulated-ppid\x00" + self._seed + name.encode()).digest()
        return Machine(self.pki, name, hardware=Hardware(**{"ppid": ppid[:PPID_BYTES], **hardware}))

    def machine_gpus(self, count: int, machine: str = DEFAULT_MACHINE) -> tuple[SimulatedGpu, ...]:
        """The first `count` GPUs of a machine, at most `MAX_GPUS`."""
        return self.gpus.machine(machine, count)

    def gpu_roots(self) -> bytes:
        """What leads from this platform's root to the roots of its GPUs: PEM, as `SimulatedGpus.roots`."""
        return self.gpus.roots(self.pki.root)

    def instance_id(self, machine: str, app_id: bytes) -> bytes:
        """The instance id of an app on a machine, 20 bytes."""
        seed = hashlib.sha256(b"sealroom/v1/simulated-instance\x00" + self._seed + machine.encode()).digest()
        return hashlib.sha256(seed[:20] + app_id).digest()[:20]

    def collateral(
        self, now: int, *, state: TcbState | None = None, hardware: Hardware | None = None, **options: Any
    ) -> dict[str, str]:
        """Collateral that is valid at `now` (unix seconds) for 30 days.

        state: what it says of the platform; the default is spotless. hardware: the machine it is about, by
        default this platform's ordinary one. options: `lifetime_s`.
        """
        return mint_collateral(
            self.pki,
            hardware=hardware or self.machine().hardware,
            issued=now - COLLATERAL_BACKDATE_S,
            state=state,
            **options,
        )

    def summary(self) -> dict[str, object]:
        """What others need to know of the platform, in JSON types."""
        kms_root = self.kms.root_public_key
        return {
            "label": LABEL,
            "rootFingerprint": _hex(hashlib.sha256(self.root_der).digest()),
            "osImage": _hex(SIMULATED_OS_IMAGE),
            "device": _hex(self.machine().device_id),
            "kmsRootKey": _hex(kms_root),
            "kmsRoot": _hex(hashlib.sha256(kms_root).digest()),
        }

    def _publish(self, folder: Path) -> None:
        collateral = self.collateral(int(time.time()))
        _write(folder / COLLATERAL_FILE, json.dumps(collateral, indent=1).encode())
        _write(folder / OS_IMAGES_FILE, encode_os_images([simulated_os_image()]))
        _write(
            folder / POLICY_FILE, json.dumps(json.loads(self.policy().encode()), indent=1).encode() + b"\n"
        )
        _write(folder / SUMMARY_FILE, json.dumps(self.summary(), indent=1).encode() + b"\n")
        self._publish_gpus(folder / GPU_FOLDER)

    def _publish_gpus(self, folder: Path) -> None:
        for name in ("rims", "ocsp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _write(folder / "roots.pem", self.gpu_roots())
        for name, manifest in self.gpus.manifests().items():
            _write(folder / "rims" / f"{name}.xml", manifest)
        made = int(time.time()) - COLLATERAL_BACKDATE_S
        for number, answer in enumerate(self.gpus.answers(self.machine_gpus(MAX_GPUS), made)):
            _write(folder / "ocsp" / f"{number:02}.der", answer)


def simulated_os_image(os_image: bytes = SIMULATED_OS_IMAGE) -> OsImage:
    """The registers that a machine booting `os_image` shows."""
    events = boot_events(os_image)
    return OsImage(
        digest=os_image,
        mr_td=firmware_measurement(os_image),
        rt_mr=(extend(events, 0), extend(events, 1), extend(events, 2)),
    )


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, content, mode=PUBLIC, replace=True)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
