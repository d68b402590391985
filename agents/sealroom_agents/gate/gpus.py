# SPDX-License-Identifier: Apache-2.0
"""The GPUs of an enclave, judged by the owners' rules before any key leaves (GP-01, GP-04, GP-06, GP-07).

Reference manifests and answers of NVIDIA's responder come from a folder that the operator keeps fresh.
Nothing is fetched here, and nothing in the folder is believed for lying there: a manifest counts by its
signature and the time of its file, an answer by its signature and the time that it names.

    FOLDER/rims/NAME.xml, NAME@TIME.xml   reference manifests
    FOLDER/ocsp/*.der                     answers about certificates
    FOLDER/roots.pem                      roots of simulated GPUs; not read under Intel's root
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sealroom.codes import Code
from sealroom.gpu_demand import GpuDemand
from sealroom.gpu_rules import GpuRules
from sealroom_agents.attestation import TrustRoot
from sealroom_agents.attestation.gpu import (
    MaterialFolder,
    Terms,
    Trust,
    Walk,
    gpu_trust,
    walk_gpus,
    write_material,
)
from sealroom_agents.attestation.gpu.chain import MAX_CHAIN_BYTES
from sealroom_agents.errors import AttestationError, ConfigurationError, Refused

RIMS, ANSWERS, ROOTS = "rims", "ocsp", "roots.pem"


@dataclass(frozen=True)
class Judged:
    """GPUs that are as owners ask."""

    walk: Walk
    """How far each link held."""
    material: bytes
    """What they were judged by, as the envelope keeps it."""

    def facts(self) -> dict[str, Any]:
        """What the audit log says of them."""
        return {"gpuState": str(self.walk.state), "gpus": [gpu.ueid for gpu in self.walk.gpus]}


@dataclass(frozen=True)
class GpuJudge:
    """Verifies GPU evidence by a platform policy's rules. Thread safe."""

    rules: GpuRules
    """The owners' rules."""
    folder: MaterialFolder
    """Manifests and answers, as they lie there at each evidence."""
    trust: Trust
    """The roots of GPUs that go with the gate's root of trust."""

    @classmethod
    def open(cls, rules: GpuRules, folder: Path | None, *, trust: TrustRoot) -> Self:
        """Raises `ConfigurationError` `gpu-evidence-unverified` where there is no such folder.

        A folder that lacks a manifest stops nothing here: evidence that needs it is refused.
        """
        try:
            if folder is None:
                raise FileNotFoundError(2, "no folder was named")
            material = MaterialFolder(folder / RIMS, folder / ANSWERS)
            material.read()
            roots = b""
            if trust.root_der is not None:
                with (folder / ROOTS).open("rb") as stream:
                    roots = stream.read(MAX_CHAIN_BYTES + 1)
            return cls(rules, material, gpu_trust(trust, roots))
        except OSError as error:
            raise ConfigurationError(
                Code.GPU_EVIDENCE_UNVERIFIED,
                "the platform policy has rules for GPUs, and what they are judged by cannot be read: "
                f"{error.strerror}",
                f"pass --gpu-material FOLDER, with the folders {RIMS} and {ANSWERS} in it",
            ) from error
        except AttestationError as error:
            raise ConfigurationError(error.code, error.message, error.hint) from error

    def require(self, evidence: bytes, demand: GpuDemand, *, nonce: bytes, now: int) -> Judged:
        """The demanded GPUs signed this nonce, and are as owners ask at `now`, unix seconds: the grant's
        time, so that whoever walks the envelope comes to the same end.

        Raises `Refused` `gpu-evidence-unverified`; the message names the link that broke, and its own code.
        """
        try:
            material = self.folder.read()
        except OSError as error:
            raise _refused("manifests and answers", f"the gate cannot read them: {error.strerror}") from error
        found = walk_gpus(
            evidence,
            nonce=nonce,
            now=now,
            material=material,
            terms=Terms.under(self.rules, count=demand.count),
            trust=self.trust,
        )
        if found.broken is not None:
            raise _refused(found.broken.name, found.broken.words, found.broken.code)
        for gpu in found.gpus:
            if gpu.chip != demand.chip or gpu.protected_pcie != demand.protected_pcie:
                raise _refused(
                    "demand",
                    f"the recipe demands {demand}, and one is a {gpu.chip} with protected PCIe "
                    f"{'on' if gpu.protected_pcie else 'off'}",
                    Code.GPU_NOT_ALLOWED,
                )
        try:
            return Judged(found, write_material(found.used))
        except AttestationError as error:
            raise _refused("manifests and answers", error.message, error.code) from error


def _refused(link: str, words: str, code: Code | None = None) -> Refused:
    said = f"GPU evidence: {link}: {words}" + (f" ({code})" if code is not None else "")
    return Refused(Code.GPU_EVIDENCE_UNVERIFIED, said, seen={"link": link, "code": code or "-"})
