# SPDX-License-Identifier: Apache-2.0
"""What a gate answers at `GET /v1/gate`, as an honest one in a simulated enclave would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sealroom.key_release import GateIdentity, gate_report_data
from sealroom.keys import GATE_SIGNER_PATH, GATE_SIGNER_PURPOSE, KeyInterface, public_key33
from sealroom.platform_policy import PlatformPolicy
from sealroom_agents.simulator import SimulatedEnclave, SimulatedPlatform

APP_ID = bytes(range(20))
COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'


def gate_answer(
    platform: SimulatedPlatform,
    *,
    issued: int,
    policy: PlatformPolicy | None = None,
    subject: SimulatedEnclave | None = None,
    chain_id: int = 31337,
    root_public_key: bytes = b"\x07" * 1216,
    purpose: str = GATE_SIGNER_PURPOSE,
    collateral: dict[str, Any] | None = None,
    keys: KeyInterface = KeyInterface.V0,
) -> GateIdentity:
    """Its identity. keys: dstack's interface that they come from. policy: by which it judges; that of the
    platform, if not given. issued: unix seconds."""
    rules = policy or platform.policy()
    subject = subject or SimulatedEnclave(platform, COMPOSE, APP_ID)
    if keys is KeyInterface.V1:
        signer = subject.domain_key(domain=GATE_SIGNER_PATH, algorithm="secp256k1")
    else:
        signer = subject.key(path=GATE_SIGNER_PATH, purpose=purpose)
    draft = GateIdentity(
        chain_id=chain_id,
        app_id=subject.app_id,
        compose_hash=subject.compose_hash,
        compose=subject.compose,
        root_public_key=root_public_key,
        signer_key=public_key33(signer.key),
        kms_root_key=platform.kms.root_public_key,
        signature_chain=signer.signature_chain,
        policy_hash=rules.hash,
        policy=rules.document(),
        quote=b"",
        event_log=subject.event_log,
        collateral=platform.collateral(issued) if collateral is None else collateral,
        issued=issued,
        key_interface=keys.value,
    )
    bound = gate_report_data(
        chain_id=chain_id,
        root_public_key=draft.root_public_key,
        signer=draft.signer,
        kms_root_key=draft.kms_root_key,
        policy_hash=draft.policy_hash,
    )
    return replace(draft, quote=subject.quote(bound))
