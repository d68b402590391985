# SPDX-License-Identifier: Apache-2.0
"""The vectors of `walk`, as cases for both verifiers, and what a walk finds in one."""

from __future__ import annotations

from pathlib import Path

from sealroom.encoding import from_hex
from sealroom_agents.attestation import INTEL_UNDER_ANY_POLICY, TrustRoot
from sealroom_agents.verification import NOTHING, parse_pin
from tests.face.corpus import Case, told
from tests.vectors.vector import read


def read_walk(path: Path) -> Case:
    """A case from its file."""
    vector = read(path)
    fields = vector.fields
    trust = INTEL_UNDER_ANY_POLICY
    if "root" in fields:
        trust = TrustRoot(
            kind="simulated",
            root_der=vector.hex("root"),
            gpu_roots=bytes.fromhex(fields.get("gpu-roots", "")),
        )
    pairs = (one.split(":") for one in fields.get("hashes", "").split())
    return Case(
        vector.body,
        trust=trust,
        pin=parse_pin(fields["pin"].encode()) if "pin" in fields else NOTHING,
        now=int(fields["now"]),
        hashes={int(number): from_hex(digest, 32) for number, digest in pairs} or None,
    )


def found(case: Case) -> dict[str, str]:
    """What `sealroom verify` finds: the first broken link with its check and code, or the verdict."""
    said = told(case)
    if "code" in said:
        return {"expect": said["code"]}
    broken = [link for link in said["links"] if not link["ok"]]
    if not broken:
        return {"expect": "success", "verdict": said["verdict"]}
    return {"expect": broken[0]["code"], "link": broken[0]["name"], "check": broken[0]["check"]}
