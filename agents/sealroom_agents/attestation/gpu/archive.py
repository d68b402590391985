# SPDX-License-Identifier: Apache-2.0
"""What GPU evidence was judged by, as one file: the manifests and answers that decided, and no others.

A gate writes it, its grant names the bytes, and the envelope keeps them. So the same walk, at the time of the
grant, comes to the same end wherever the envelope is read. Spec: `enclave/spec/key-release.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError
from sealroom.key_release.messages import MAX_GPU_MATERIAL, Message
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import Base64, Seconds, Text
from sealroom_agents.attestation.gpu.evidence import MAX_GPUS
from sealroom_agents.attestation.gpu.material import RIM_NAME, Fetched, Material
from sealroom_agents.attestation.gpu.ocsp import MAX_ANSWER_BYTES
from sealroom_agents.attestation.gpu.rim import MAX_RIM_BYTES
from sealroom_agents.errors import AttestationError

MAX_MANIFESTS = 2 * MAX_GPUS
MAX_ANSWERS = 16 * MAX_GPUS


@dataclass(frozen=True, kw_only=True)
class _Manifest(Record, what="manifest"):
    name: Annotated[str, Text(96, re.compile(RIM_NAME))]
    fetched: Seconds
    manifest: Annotated[str, Text(MAX_RIM_BYTES)]


@dataclass(frozen=True, kw_only=True)
class _Archive(Message, what="GPU material"):
    version = 1
    limit = MAX_GPU_MATERIAL

    manifests: Annotated[tuple[_Manifest, ...], AtMost(MAX_MANIFESTS)]
    answers: Annotated[tuple[Annotated[bytes, Base64(MAX_ANSWER_BYTES)], ...], AtMost(MAX_ANSWERS)]

    def fault(self) -> str | None:
        names, answers = [one.name for one in self.manifests], list(self.answers)
        if names != sorted(set(names)) or answers != sorted(set(answers)):
            return "has manifests or answers that are not strictly increasing"
        return None


def write_material(used: Material) -> bytes:
    """The file of what a walk used. Raises `AttestationError` `gpu-evidence-malformed` where that is more
    than a file may hold."""
    found = _Archive(
        manifests=tuple(
            _Manifest(name=name, fetched=one.at or 0, manifest=one.data.decode())
            for name, (one, *_) in sorted(used.rims.items())
        ),
        answers=tuple(sorted(set(used.answers))),
    ).encode()
    if len(found) > MAX_GPU_MATERIAL:
        raise AttestationError(
            Code.GPU_EVIDENCE_MALFORMED,
            f"manifests and answers take {len(found)} bytes, and {MAX_GPU_MATERIAL} may be",
        )
    return found


def read_material(data: bytes) -> Material:
    """Read what `write_material` writes, and nothing else. Raises `AttestationError`
    `gpu-evidence-malformed`; nothing of it is verified yet."""
    try:
        found = _Archive.parse(data)
        if found.encode() != data:
            raise KeyReleaseError(Code.MALFORMED, "GPU material is not canonical JSON")
    except KeyReleaseError as error:
        raise AttestationError(Code.GPU_EVIDENCE_MALFORMED, error.message) from error
    rims = {one.name: (Fetched(one.manifest.encode(), one.fetched),) for one in found.manifests}
    return Material(rims, found.answers)
