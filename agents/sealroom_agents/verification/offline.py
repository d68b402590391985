# SPDX-License-Identifier: Apache-2.0
"""The links that need no network: signatures, digests, quotes, the recipe and its output contract.

Each function checks one link, returns what it found in one line, and raises the error that names what is
broken. Source: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from sealroom.encoding import sha256, to_hex
from sealroom.envelope import result_digest, verify_receipt, verify_statement
from sealroom.errors import EnvelopeError, ReleaseError
from sealroom.recipe import compose_hash
from sealroom.recipe import parse as parse_recipe
from sealroom.release import (
    check_kms_chain,
    verify_challenge,
    verify_grant,
)
from sealroom.release import (
    report_data as bound_report_data,
)
from sealroom.runtime.output import check_result
from sealroom_agents.attestation import verify_evidence, verify_gate, verify_quote
from sealroom_agents.studycard import CLOCK_SKEW_S, GATE_EVIDENCE_MAX_AGE_S
from sealroom_agents.verification.state import Findings, need

MAX_LEASE_SECONDS = 60
"""Longest lease that a grant may give."""
KMS = "kms"


def result(found: Findings) -> str:
    """The result is the one that statement and receipt speak of (OU-09)."""
    envelope = found.envelope
    digest = result_digest(envelope.result)
    need(digest, envelope.statement.result_digest, "result-mismatch", "the statement is about another result")
    need(digest, envelope.receipt.result_digest, "result-mismatch", "the receipt is about another result")
    return f"sha256 {to_hex(digest)}"


def statement(found: Findings) -> str:
    """The granted enclave signed the statement, and it is about this run, grant and quote."""
    verify_statement(found.envelope)
    return f"signed by the enclave's key {found.envelope.grant.enclave_signer}"


def receipt(found: Findings) -> str:
    """The same key signed the receipt, and it says what the statement says."""
    verify_receipt(found.envelope)
    return f"signed by the same key, run {to_hex(found.envelope.receipt.run_id)}"


def grant(found: Findings) -> str:
    """The gate's signer granted to exactly these keys, in answer to exactly this exchange."""
    envelope = found.envelope
    given, gate, stated = envelope.grant, envelope.gate, envelope.statement
    need(
        gate.chain_id, stated.chain_id, "grant-mismatch", "the gate serves another chain than the statement's"
    )
    digest = verify_grant(
        given,
        envelope.grant_signature,
        signer=gate.signer,
        chain_id=stated.chain_id,
        consortium=stated.consortium,
    )
    need(digest, envelope.receipt.grant_hash, "grant-mismatch", "the receipt names another grant")
    found.transcript = verify_challenge(envelope.hello, envelope.challenge, signer=gate.signer)
    need(sha256(found.transcript), given.transcript, "grant-mismatch", "the grant answers another exchange")
    need(sha256(envelope.kem_key), given.kem_key_hash, "grant-mismatch", "the grant is for another KEM key")
    if not 0 < given.lease_seconds <= MAX_LEASE_SECONDS:
        raise EnvelopeError("grant-mismatch", f"a lease of {given.lease_seconds} s is not one")
    if given.issued > found.now + CLOCK_SKEW_S:
        raise EnvelopeError("grant-from-future", "the grant was issued in the future: check the clock")
    return f"signed by the gate {gate.signer}, epoch {given.epoch}, lease {given.lease_seconds} s"


def recipe(found: Findings) -> str:
    """The embedded bytes have the compose hash and obey the rules, and the statement describes them."""
    envelope = found.envelope
    stated = envelope.statement
    seen = compose_hash(envelope.recipe)
    need(
        seen,
        stated.compose_hash,
        "compose-hash-mismatch",
        f"the embedded recipe is {to_hex(seen)}, the statement says {to_hex(stated.compose_hash)}",
    )
    parsed = found.recipe = parse_recipe(envelope.recipe)
    need(
        stated.output_hash,
        parsed.output_hash,
        "recipe-mismatch",
        "the statement names another output contract",
    )
    need(
        stated.privacy_hash,
        parsed.privacy_hash,
        "recipe-mismatch",
        "the statement names another privacy policy",
    )
    declared = sorted((spec.owner, spec.name) for spec in parsed.datasets)
    used = sorted((dataset.owner, dataset.name) for dataset in stated.datasets)
    need(used, declared, "recipe-mismatch", "the statement names other datasets than the recipe")
    return f"{parsed.name}, compose hash {to_hex(seen)}"


def output(found: Findings) -> str:
    """The result is what the output contract declares, and result, statement and receipt cost the same ε."""
    envelope, parsed = found.envelope, found.recipe
    check_result(envelope.result, parsed)
    privacy, policy = envelope.statement.privacy, parsed.privacy
    need(
        privacy.epsilon_micro,
        parsed.epsilon_micro,
        "epsilon-mismatch",
        "the statement's ε is not the recipe's",
    )
    need(
        envelope.receipt.epsilon_micro,
        parsed.epsilon_micro,
        "epsilon-mismatch",
        "the receipt's ε is not the recipe's",
    )
    stated = (privacy.delta, privacy.unit, privacy.adjacency)
    need(
        stated,
        (policy.delta, policy.unit, policy.adjacency),
        "privacy-mismatch",
        "the statement's δ, unit or adjacency is not the recipe's",
    )
    _mechanisms(found)
    fields = ", ".join(field.name for field in parsed.output.fields)
    return f"{fields}; ε {envelope.result['epsilon']}, δ {envelope.result['delta']}"


def quote(found: Findings) -> str:
    """The enclave's quote was good when the grant was issued, with the collateral of that time."""
    envelope = found.envelope
    found.quote = verify_quote(
        envelope.quote, envelope.collateral, anchor=found.anchor, now=envelope.grant.issued
    )
    whose = "SIMULATED TDX, not Intel" if found.quote.simulated else "Intel TDX"
    return f"{whose}, TCB {found.quote.tcb_status}, machine {to_hex(found.quote.device_id)}"


def report_data(found: Findings) -> str:
    """The quote binds the exchange with the gate, the KEM key and the signing key; no GPU vouched."""
    envelope = found.envelope
    bound = bound_report_data(
        found.transcript,
        kem_key=envelope.kem_key,
        signer=envelope.grant.enclave_signer,
        gpu_evidence=envelope.gpu_evidence,
    )
    need(
        found.quote.report_data,
        bound,
        "report-data-mismatch",
        "the quote was made for another exchange or key",
    )
    if envelope.gpu_evidence:
        raise ReleaseError("gpu-evidence-unverified", "it carries GPU evidence, which nobody has verified")
    return "binds the exchange with the gate, and the enclave's keys"


def event_log(found: Findings) -> str:
    """The log replays to the quote's registers, and says that this recipe booted under this app."""
    envelope = found.envelope
    evidence = found.evidence = verify_evidence(
        envelope.quote,
        envelope.event_log,
        envelope.collateral,
        anchor=found.anchor,
        now=envelope.grant.issued,
        report_data=found.quote.report_data,
    )
    need(
        evidence.compose_hash,
        found.recipe.compose_hash,
        "compose-hash-mismatch",
        f"the enclave booted {to_hex(evidence.compose_hash)}, not the embedded recipe",
    )
    need(
        to_hex(evidence.app_id),
        envelope.statement.app,
        "app-id-mismatch",
        f"the enclave booted for the app {to_hex(evidence.app_id)}, not {envelope.statement.app}",
    )
    need(evidence.key_provider, KMS, "key-provider-mismatch", "the enclave's keys come from no KMS")
    return f"replays to the quote: this recipe, app {envelope.statement.app}"


def kms_chain(found: Findings) -> str:
    """The KMS root key vouches for the gate's signer."""
    gate = found.envelope.gate
    check_kms_chain(gate)
    return f"KMS root {to_hex(gate.kms_root)} vouches for the gate's key"


def gate_quote(found: Findings) -> str:
    """The gate's own quote was good when it was made, and binds the keys that granted."""
    envelope = found.envelope
    gate = envelope.gate
    age = envelope.grant.issued - gate.issued
    if not -CLOCK_SKEW_S <= age <= GATE_EVIDENCE_MAX_AGE_S:
        raise ReleaseError("gate-evidence-stale", "the gate's evidence is not of the time of the grant")
    facts = found.gate = verify_gate(gate, anchor=found.anchor, now=gate.issued)
    need(
        found.evidence.key_provider_id,
        facts.evidence.key_provider_id,
        "key-provider-mismatch",
        "gate and enclave have their keys from different KMSs",
    )
    return f"the gate runs compose {to_hex(facts.compose_hash)}, root {to_hex(facts.gate_root)}"


def _mechanisms(found: Findings) -> None:
    """Noise was drawn for each declared field, at exactly the ε of the recipe, and for no other."""
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for mechanism in found.envelope.statement.privacy.mechanisms:
        spent[mechanism.field] += mechanism.epsilon
    need(
        dict(spent),
        {field.name: field.epsilon for field in found.recipe.output.fields},
        "privacy-mismatch",
        "the statement's noise is not, field by field, what the recipe declares",
    )
