# SPDX-License-Identifier: Apache-2.0
"""Verify a gate before an owner seals to it: its quote, its recipe, and the keys that it shows (AT-30).

The quote's report data binds the gate's root public key, signer, KMS root key and platform policy to the
attested machine, and its event log says which app-compose runs there. Both documents come with the identity,
and are those that quote and log bind. Whether that compose hash, KMS root,
policy and chain are the right ones is for the caller, who compares them with what the owners adopted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import KeyReleaseError
from sealroom.key_release import GateIdentity, check_kms_chain, gate_report_data
from sealroom_agents.attestation.evidence import verify_evidence
from sealroom_agents.attestation.trust import TrustRoot, require_local_chain
from sealroom_agents.errors import AttestationError
from sealroom_agents.facts import Evidence

KMS = "kms"
"""The only key provider whose keys outlive one machine and follow the app's contract (AT-19)."""


@dataclass(frozen=True)
class GateFacts:
    """What is proven about a gate."""

    chain_id: int
    """Chain that the gate reads."""
    gate_root: bytes
    """Fingerprint of the root public key, 32 bytes, as the chain names it."""
    root_public_key: bytes
    """X-Wing public key to which owners wrap, 1216 bytes."""
    signer: str
    """Address of the key that signs challenges and grants."""
    compose_hash: bytes
    """Compose hash of the gate's own app."""
    app_id: bytes
    """dstack app id of the gate's own CVM, 20 bytes."""
    kms_root_key: bytes
    """Root key of the KMS that gives the gate its keys, 33 bytes compressed."""
    kms_root_fingerprint: bytes
    """SHA-256 of that key, as wraps name it."""
    policy_hash: bytes
    """SHA-256 of the platform policy by which it judges, 32 bytes."""
    evidence: Evidence
    """All facts about the gate's machine."""


def verify_gate(identity: GateIdentity | Mapping[str, Any], *, trust: TrustRoot, now: int) -> GateFacts:
    """Verify a gate's identity, the JSON object of `GET /v1/gate` or its
    parsed form, at `now` (unix seconds).

    Raises `AttestationError`: `malformed` for an identity that is no identity,
    `simulated-root-off-local-chain`, all codes of `verify_evidence`, `app-id-mismatch`,
    `compose-hash-mismatch` (also where it carries another app-compose), `platform-policy-mismatch` (it
    carries another document than the one that its quote binds), `key-provider-mismatch` (no KMS, or a broken
    signature chain).
    """
    gate = _parse(identity)
    facts = attested_gate(gate, trust=trust, now=now)
    try:
        check_kms_chain(gate)
    except KeyReleaseError as error:
        raise AttestationError(Code.KEY_PROVIDER_MISMATCH, error.message) from error
    return facts


def attested_gate(gate: GateIdentity, *, trust: TrustRoot, now: int) -> GateFacts:
    """`verify_gate` without the KMS root key's signature over the signer's (`check_kms_chain`)."""
    require_local_chain(trust, gate.chain_id)
    evidence = verify_evidence(
        gate.quote,
        gate.event_log,
        gate.collateral,
        trust=trust,
        now=now,
        report_data=gate_report_data(
            chain_id=gate.chain_id,
            root_public_key=gate.root_public_key,
            signer=gate.signer,
            kms_root_key=gate.kms_root_key,
            policy_hash=gate.policy_hash,
        ),
    )
    if evidence.app_id != gate.app_id:
        raise AttestationError(
            Code.APP_ID_MISMATCH, "the gate's machine booted another app than the gate says"
        )
    if evidence.compose_hash != gate.compose_hash:
        raise AttestationError(
            Code.COMPOSE_HASH_MISMATCH, "the gate's machine booted another recipe than the gate says"
        )
    if sha256(gate.compose) != evidence.compose_hash:
        raise AttestationError(
            Code.COMPOSE_HASH_MISMATCH, "the gate shows another app-compose than its machine booted"
        )
    if gate.policy_digest != gate.policy_hash:
        raise AttestationError(
            Code.PLATFORM_POLICY_MISMATCH,
            f"the gate shows the platform policy {to_hex(gate.policy_digest)}, and its quote binds "
            f"{to_hex(gate.policy_hash)}",
        )
    if evidence.key_provider != KMS:
        raise AttestationError(
            Code.KEY_PROVIDER_MISMATCH, f"the gate's keys come from {evidence.key_provider}, not a KMS"
        )
    return GateFacts(
        chain_id=gate.chain_id,
        gate_root=gate.gate_root,
        root_public_key=gate.root_public_key,
        signer=gate.signer,
        compose_hash=gate.compose_hash,
        app_id=gate.app_id,
        kms_root_key=gate.kms_root_key,
        kms_root_fingerprint=gate.kms_root,
        policy_hash=gate.policy_hash,
        evidence=evidence,
    )


def _parse(identity: GateIdentity | Mapping[str, Any]) -> GateIdentity:
    if isinstance(identity, GateIdentity):
        return identity
    try:
        return GateIdentity.from_json(identity)
    except KeyReleaseError as error:
        raise AttestationError(Code.MALFORMED, error.message) from error
