# SPDX-License-Identifier: Apache-2.0
"""The root of trust for hardware: Intel's root, or on a local chain a simulated one.

A root of trust also holds the decisions that owners have to take knowingly: a gate has them from their
platform policy. Each default refuses.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import FormatError
from sealroom.platform_policy import ANY, PPID, USER_DATA, Image, LiteImage, PlatformPolicy
from sealroom.platform_policy import INTEL as INTEL_ROOT
from sealroom_agents.attestation.lite import read_measurement
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.errors import AttestationError, ConfigurationError

SIMULATED_LABEL = "SIMULATED"
"""Stands in the subject of a simulated root; a root without it is not taken for one."""

MAX_ROOT_BYTES = 4096
"""Largest root certificate that is read."""
MAX_GPU_ROOTS_BYTES = 16 * 1024
"""Largest file with the roots of simulated GPUs."""


@dataclass(frozen=True)
class TrustRoot:
    """A root of trust and what we accept under it."""

    kind: Literal["intel", "simulated"]
    """Whose hardware it is."""
    root_der: bytes | None = field(default=None, repr=False)
    """DER of the simulated root; `None` for Intel, whose root is built into the verifier (AT-14)."""
    allow_dynamic_platform: bool = False
    """Accept platforms that can take in further packages after registration. Most servers with two sockets or
    more are such; granting it means trusting Intel's registration of each added package."""
    allow_cached_keys: bool = False
    """Accept platforms whose root keys Intel's registration service keeps.
    True for most of the same machines."""
    allow_smt: bool = False
    """Accept machines on which two threads share a core, and so see something of each other (AT-29)."""
    allow_v5_quotes: bool = False
    """Accept quotes of version 5 with a TDX 1.5 report, besides version 4."""
    min_tcb_evaluation: int = 0
    """Least tcbEvaluationDataNumber of the collateral; stops a cache from serving an old verdict (AT-07)."""
    rejected_advisories: tuple[str, ...] = ()
    """Security advisories that may not apply, even where the TCB counts as up to date."""
    tdx_modules: frozenset[bytes] = frozenset()
    """Accepted measurements of the TDX module (MRSEAM, 48 bytes); empty accepts what the collateral does."""
    allow_unbound_config: bool = False
    """Accept TDs that were created without dstack's configuration id, which binds app and recipe to the TD
    before anything of the guest runs."""
    device_rules: tuple[str, ...] = (PPID,)
    """The rules by which machines are named, at least one. A policy chooses one; who verifies without it
    takes any, as the platform's list does not say which one the owners meant."""
    event_log_versions: frozenset[int] = frozenset({1})
    """Versions of dstack's event log that are accepted (AT-18)."""
    os_images: tuple[Image, ...] = ()
    """Known OS images. When not empty, MRTD and RTMR0 to RTMR2 must be the registers of one (AT-20), whatever
    the guest says of itself. When empty, nothing but the guest's claim supports its image."""
    gpu_roots: bytes = field(default=b"", repr=False, compare=False)
    """What leads from a simulated root to the roots of its GPUs: `gpu/roots.pem` of its platform. NVIDIA's
    are built into the verifier."""

    def __post_init__(self) -> None:
        """Raises `ConfigurationError` `trust-anchor` for a root that does not go with the kind."""
        if self.kind == "intel" and self.root_der is not None:
            raise ConfigurationError(
                Code.TRUST_ANCHOR, "Intel's root is built in; no other may take its place"
            )
        if self.kind == "simulated" and not _is_simulated_root(self.root_der):
            raise ConfigurationError(
                Code.TRUST_ANCHOR,
                f"a simulated root of trust needs a root certificate that says {SIMULATED_LABEL} of itself",
                "use the root.der that `sealroom simulate init` wrote",
            )

    @property
    def is_simulated(self) -> bool:
        """Whether anybody can make such a root."""
        return self.kind == "simulated"


INTEL = TrustRoot(kind="intel")
"""Intel's root with every optional grant refused."""

INTEL_UNDER_ANY_POLICY = TrustRoot(
    kind="intel",
    allow_dynamic_platform=True,
    allow_cached_keys=True,
    allow_smt=True,
    allow_v5_quotes=True,
    allow_unbound_config=True,
    device_rules=(PPID, USER_DATA),
    event_log_versions=frozenset({1, 2}),
)
"""Intel's root with all that owners may grant: for who verifies without their policy. Which of it they
granted, the gate judged by the policy whose hash its quote binds."""


def load_simulated_root(path: Path) -> TrustRoot:
    """The root of trust for a `root.der` file; raises `ConfigurationError` `trust-anchor` when it is none."""
    try:
        with path.open("rb") as stream:
            root = stream.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(Code.TRUST_ANCHOR, f"cannot read {path}: {error.strerror}") from error
    gpus = path.parent / "gpu" / "roots.pem"
    roots = b""
    # A root that was handed on without its platform's folder knows no GPUs, and none is believed then.
    with suppress(OSError), gpus.open("rb") as stream:
        roots = stream.read(MAX_GPU_ROOTS_BYTES + 1)
    return TrustRoot(kind="simulated", root_der=root, gpu_roots=roots)


def trust_under(policy: PlatformPolicy, root: TrustRoot) -> TrustRoot:
    """The root of trust with the rules of a platform policy, and no others.

    Raises `ConfigurationError` `platform-policy` when the policy is for another root, or has a TDX-lite image
    whose parts do not fit.
    """
    found = INTEL_ROOT if root.root_der is None else to_hex(sha256(root.root_der))
    if policy.root != found:
        raise ConfigurationError(
            Code.PLATFORM_POLICY,
            f"the platform policy is for quotes of root {policy.root}, and the root of trust here is {found}",
            "the policy is for another platform; or, on a local chain, name the simulated root: "
            "--simulated-root root.der, at the gate --platform FOLDER",
        )
    try:
        for image in policy.os_images:
            if isinstance(image, LiteImage):
                read_measurement(image)
    except FormatError as error:
        raise ConfigurationError(Code.PLATFORM_POLICY, f"the platform policy: {error.message}") from error
    return TrustRoot(
        kind=root.kind,
        root_der=root.root_der,
        allow_dynamic_platform=policy.tcb.dynamic_platform,
        allow_cached_keys=policy.tcb.cached_keys,
        allow_smt=policy.tcb.smt,
        allow_v5_quotes=policy.tcb.v5_quotes,
        min_tcb_evaluation=policy.tcb.min_evaluation,
        rejected_advisories=policy.tcb.rejected_advisories,
        tdx_modules=frozenset(policy.tcb.tdx_modules),
        allow_unbound_config=policy.guest.config_id == ANY,
        device_rules=(policy.guest.device_id,),
        event_log_versions=frozenset(policy.guest.event_logs),
        os_images=policy.os_images,
        gpu_roots=root.gpu_roots,
    )


def require_local_chain(trust: TrustRoot, chain_id: int) -> None:
    """A simulated root is for local chains only.

    Raises `AttestationError` `simulated-root-off-local-chain`.
    """
    if trust.is_simulated and chain_id not in LOCAL_CHAIN_IDS:
        raise AttestationError(
            Code.SIMULATED_ROOT_OFF_LOCAL_CHAIN,
            f"a simulated root of trust is refused on chain {chain_id}",
            "simulated platforms are accepted on local chains only: "
            + ", ".join(str(known) for known in sorted(LOCAL_CHAIN_IDS)),
        )


def _is_simulated_root(root_der: bytes | None) -> bool:
    if root_der is None or len(root_der) > MAX_ROOT_BYTES:
        return False
    try:
        certificate = x509.load_der_x509_certificate(root_der)
    except ValueError:
        return False
    return SIMULATED_LABEL in certificate.subject.rfc4514_string()
