# SPDX-License-Identifier: Apache-2.0
"""The links `grant` `quote` `report-data` `event-log` `kms-chain` and `gate-quote`: which enclave it was, and
which gate let it have the keys, down to the root of trust for hardware.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import EnvelopeError, KeyReleaseError
from sealroom.key_release import (
    check_kms_chain,
    check_lease_seconds,
    evidence_digest,
    verify_challenge,
    verify_grant,
)
from sealroom.key_release import report_data as bound_report_data
from sealroom_agents.attestation import attested_gate, replayed, verify_quote
from sealroom_agents.studycard import CLOCK_SKEW_S, GATE_EVIDENCE_MAX_AGE_S
from sealroom_agents.verification.gpus import require_gpus, tell_gpus
from sealroom_agents.verification.state import Check, Findings, Step, equal

KMS = "kms"


# --- grant -------------------------------------------------------------------------------------------


def _grant_signature(found: Findings) -> None:
    envelope = found.envelope
    verify_grant(
        envelope.grant,
        envelope.grant_signature,
        signer=envelope.gate.signer,
        chain_id=envelope.statement.chain_id,
        consortium=envelope.statement.consortium,
    )


def _challenge(found: Findings) -> None:
    envelope = found.envelope
    found.transcript = verify_challenge(envelope.hello, envelope.challenge, signer=envelope.gate.signer)


def _evidence(found: Findings) -> bytes:
    envelope = found.envelope
    return evidence_digest(
        quote=envelope.quote,
        event_log=envelope.event_log,
        gpu_evidence=envelope.gpu_evidence,
        gpu_material=envelope.gpu_material,
    )


def _lease(found: Findings) -> None:
    grant = found.envelope.grant
    check_lease_seconds(grant)
    if found.policy is not None and grant.lease_seconds > found.policy.lease_seconds:
        raise KeyReleaseError(
            Code.GRANT_MISMATCH,
            f"a lease of {grant.lease_seconds} s, and {found.policy.lease_seconds} s by the platform policy",
        )


def _not_from_future(found: Findings) -> None:
    if found.envelope.grant.issued > found.now + CLOCK_SKEW_S:
        raise EnvelopeError(Code.GRANT_FROM_FUTURE, "the grant was issued in the future: check the clock")


def _tell_grant(found: Findings) -> str:
    grant = found.envelope.grant
    told = f"signed by the gate {found.envelope.gate.signer} for this evidence, lease {grant.lease_seconds} s"
    return told if found.policy is None else f"{told}, as the platform policy has it"


# --- hardware ----------------------------------------------------------------------------------------


def _quote(found: Findings) -> None:
    envelope = found.envelope
    found.quote = verify_quote(
        envelope.quote, envelope.collateral, trust=found.trust, now=envelope.grant.issued
    )


def _report_data(found: Findings) -> bytes:
    envelope = found.envelope
    return bound_report_data(
        found.transcript,
        kem_key=envelope.kem_key,
        signer=envelope.grant.enclave_signer,
        gpu_evidence=envelope.gpu_evidence,
    )


def _replay(found: Findings) -> None:
    found.evidence = replayed(found.quote, found.envelope.event_log, trust=found.trust)


def _gate_age(found: Findings) -> None:
    age = found.envelope.grant.issued - found.envelope.gate.issued
    if not -CLOCK_SKEW_S <= age <= GATE_EVIDENCE_MAX_AGE_S:
        raise KeyReleaseError(Code.GATE_EVIDENCE_STALE, "the gate's evidence is not of the time of the grant")


def _gate(found: Findings) -> None:
    gate = found.envelope.gate
    found.gate = attested_gate(gate, trust=found.trust, now=gate.issued)


def _tell_quote(found: Findings) -> str:
    whose = "SIMULATED TDX, not Intel" if found.quote.simulated else "Intel TDX"
    return f"{whose}, TCB {found.quote.tcb_status}, machine {to_hex(found.quote.device_id)}"


GRANT = Step(
    "grant",
    (
        equal(
            "gate.chain",
            lambda found: found.envelope.gate.chain_id,
            lambda found: found.envelope.statement.chain_id,
            Code.GRANT_MISMATCH,
            "the gate serves another chain than the statement's",
        ),
        Check("grant.signature", _grant_signature),
        Check("challenge.signature", _challenge),
        equal(
            "grant.transcript",
            lambda found: found.envelope.grant.transcript,
            lambda found: sha256(found.transcript),
            Code.GRANT_MISMATCH,
            "the grant answers another exchange",
        ),
        equal(
            "grant.kem-key",
            lambda found: found.envelope.grant.kem_key_hash,
            lambda found: sha256(found.envelope.kem_key),
            Code.GRANT_MISMATCH,
            "the grant is for another KEM key",
        ),
        equal(
            "grant.evidence",
            lambda found: found.envelope.grant.evidence,
            _evidence,
            Code.GRANT_MISMATCH,
            "the grant was given for other evidence than the envelope's",
        ),
        Check("grant.lease", _lease),
        Check("grant.time", _not_from_future),
    ),
    _tell_grant,
)
"""The gate granted this very evidence."""
QUOTE = Step("quote", (Check("quote.genuine", _quote),), _tell_quote)
"""The enclave ran on genuine hardware."""
REPORT_DATA = Step(
    "report-data",
    (
        equal(
            "quote.report-data",
            lambda found: found.quote.report_data,
            _report_data,
            Code.REPORT_DATA_MISMATCH,
            "the quote was made for another exchange or key",
        ),
        equal(
            "hello.gpu",
            lambda found: found.envelope.hello.gpu,
            lambda found: found.recipe.gpu,
            Code.GPU_EVIDENCE_UNVERIFIED,
            "the enclave told the gate of other GPUs than its recipe demands",
        ),
        Check("quote.gpu", require_gpus),
    ),
    lambda found: f"binds the exchange with the gate, and the enclave's keys{tell_gpus(found)}",
)
"""Its quote is of this run."""
EVENT_LOG = Step(
    "event-log",
    (
        Check("event-log.replay", _replay),
        equal(
            "event-log.recipe",
            lambda found: found.evidence.compose_hash,
            lambda found: found.recipe.compose_hash,
            Code.COMPOSE_HASH_MISMATCH,
            lambda found: (
                f"the enclave booted {to_hex(found.evidence.compose_hash)}, not the embedded recipe"
            ),
        ),
        equal(
            "event-log.app",
            lambda found: to_hex(found.evidence.app_id),
            lambda found: found.envelope.statement.app,
            Code.APP_ID_MISMATCH,
            lambda found: (
                f"the enclave booted for the app {to_hex(found.evidence.app_id)}, "
                f"not {found.envelope.statement.app}"
            ),
        ),
        equal(
            "event-log.key-provider",
            lambda found: found.evidence.key_provider,
            lambda found: KMS,
            Code.KEY_PROVIDER_MISMATCH,
            "the enclave's keys come from no KMS",
        ),
    ),
    lambda found: f"replays to the quote: this recipe, app {found.envelope.statement.app}",
)
"""It booted this recipe."""
KMS_CHAIN = Step(
    "kms-chain",
    (Check("gate.kms-chain", lambda found: check_kms_chain(found.envelope.gate)),),
    lambda found: f"KMS root {to_hex(found.envelope.gate.kms_root)} vouches for the gate's key",
)
"""A KMS vouches for the gate's key."""
GATE_QUOTE = Step(
    "gate-quote",
    (
        Check("gate.age", _gate_age),
        Check("gate.genuine", _gate),
        equal(
            "gate.key-provider",
            lambda found: found.evidence.key_provider_id,
            lambda found: found.gate.evidence.key_provider_id,
            Code.KEY_PROVIDER_MISMATCH,
            "gate and enclave have their keys from different KMSs",
        ),
    ),
    lambda found: (
        f"the gate runs compose {to_hex(found.gate.compose_hash)}, root {to_hex(found.gate.gate_root)}"
    ),
)
"""The gate's own quote is genuine."""
