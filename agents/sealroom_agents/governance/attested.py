# SPDX-License-Identifier: Apache-2.0
"""The platform of a gate, taken from the gate itself once its evidence holds."""

from __future__ import annotations

import time
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Platform
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.words import Lines


def attested(
    url: str,
    *,
    chain_id: int,
    policy: Path | None,
    os_images: tuple[bytes, ...],
    devices: tuple[bytes, ...],
    root: Path | None,
) -> tuple[Platform, Lines]:
    """The platform of a gate whose quote, recipe, keys and policy hold. Raises `AttestationError`."""
    from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
    from sealroom_agents.attestation import verify_gate
    from sealroom_agents.attestation.trust import trust_under
    from sealroom_agents.cli.options import trust_for
    from sealroom_agents.cli.terminal import read_bounded
    from sealroom_agents.policy_words import leases
    from sealroom_agents.studycard import fetch_gate

    if policy is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            "--gate needs the platform policy that the gate shall judge by",
            "pass --policy FILE: owners adopt its hash, so they should have read it",
        )
    rules = PlatformPolicy.parse(read_bounded(policy, MAX_POLICY_BYTES, "a platform policy"))
    trust = trust_under(rules, trust_for(root, chain_id=chain_id))
    gate = verify_gate(fetch_gate(url), trust=trust, now=int(time.time()))
    for what, mine, its in (
        ("chain", chain_id, gate.chain_id),
        ("platform policy", to_hex(rules.hash), to_hex(gate.policy_hash)),
        ("KMS root", to_hex(rules.kms_root), to_hex(gate.kms_root_fingerprint)),
    ):
        if mine != its:
            raise ToolError(
                Code.PROPOSAL_DIFFERS,
                f"the gate at {url} has the {what} {its}, and {mine} was expected",
                "it is another gate, or runs under another policy: do not adopt it",
            )
    wanted = Platform(
        gate_root=gate.gate_root,
        gate_signer=gate.signer,
        gate_compose=gate.compose_hash,
        policy_hash=rules.hash,
        os_images=tuple(sorted(set(os_images or (image.digest for image in rules.os_images)))),
        devices=tuple(sorted(set(devices))),
    )
    machine = "SIMULATED TDX, not Intel" if gate.evidence.simulated else "Intel TDX"
    return wanted, [
        ("attested by", machine),
        ("KMS root", to_hex(gate.kms_root_fingerprint)),
        ("guarantees", f"{', '.join(rules.guarantees)}; recipes of any other get no keys"),
        ("results leave", f"once the block that books their run is {rules.emit}"),
        ("leases", leases(rules)),
    ]
