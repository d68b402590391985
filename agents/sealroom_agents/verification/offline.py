# SPDX-License-Identifier: Apache-2.0
"""The links that need no network: signatures, digests, quotes, the recipe and its output contract.

Each link is a list of single checks, and what was found in one line. Source: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections import Counter

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.envelope import RECEIPT_CHECKS, RESULT_CHECK, STATEMENT_CHECKS, EnvelopeCheck
from sealroom.envelope.noise import mechanisms
from sealroom.errors import EnvelopeError, KeyReleaseError
from sealroom.key_release import (
    check_kms_chain,
    check_lease_seconds,
    evidence_digest,
    verify_challenge,
    verify_grant,
)
from sealroom.key_release import report_data as bound_report_data
from sealroom.recipe import compose_hash
from sealroom.recipe import parse as parse_recipe
from sealroom.recipe.result import check_result
from sealroom_agents.attestation import attested_gate, replayed, verify_quote
from sealroom_agents.recipe_words import counted_words
from sealroom_agents.studycard import CLOCK_SKEW_S, GATE_EVIDENCE_MAX_AGE_S
from sealroom_agents.verification.released_model import models_of
from sealroom_agents.verification.state import Check, Findings, Step, equal

KMS = "kms"


def _of_envelope(check: EnvelopeCheck) -> Check:
    name, run = check
    return Check(name, lambda found: run(found.envelope))


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
        quote=envelope.quote, event_log=envelope.event_log, gpu_evidence=envelope.gpu_evidence
    )


def _lease(found: Findings) -> None:
    check_lease_seconds(found.envelope.grant)


def _not_from_future(found: Findings) -> None:
    if found.envelope.grant.issued > found.now + CLOCK_SKEW_S:
        raise EnvelopeError(Code.GRANT_FROM_FUTURE, "the grant was issued in the future: check the clock")


# --- recipe and output -------------------------------------------------------------------------------


def _rules(found: Findings) -> None:
    found.recipe = parse_recipe(found.envelope.recipe)


def _declared(found: Findings) -> list[tuple[str, str]]:
    return sorted((spec.owner, spec.name) for spec in found.recipe.datasets)


def _used(found: Findings) -> list[tuple[str, str]]:
    return sorted((dataset.owner, dataset.name) for dataset in found.envelope.statement.datasets)


def _checkpoints(found: Findings) -> None:
    for model in models_of(found.envelope.result, found.recipe):
        model.check_chain(model.weights)


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


def _no_gpu(found: Findings) -> None:
    if found.envelope.gpu_evidence:
        raise KeyReleaseError(Code.GPU_EVIDENCE_UNVERIFIED, "it carries GPU evidence, which is not verified")


def _replay(found: Findings) -> None:
    found.evidence = replayed(found.quote, found.envelope.event_log, trust=found.trust)


def _gate_age(found: Findings) -> None:
    age = found.envelope.grant.issued - found.envelope.gate.issued
    if not -CLOCK_SKEW_S <= age <= GATE_EVIDENCE_MAX_AGE_S:
        raise KeyReleaseError(Code.GATE_EVIDENCE_STALE, "the gate's evidence is not of the time of the grant")


def _gate(found: Findings) -> None:
    gate = found.envelope.gate
    found.gate = attested_gate(gate, trust=found.trust, now=gate.issued)


# --- where it stands ---------------------------------------------------------------------------------


def _after_grant(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.block < found.envelope.grant.block_number:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored before the grant")


def _anchor_chain(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.chain_id != found.envelope.statement.chain_id:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored on another chain")


def _anchor_ledger(found: Findings) -> None:
    anchor = found.envelope.anchor
    if anchor is not None and anchor.ledger != found.envelope.grant.ledger:
        raise EnvelopeError(Code.ANCHOR_MISMATCH, "the receipt is said to be anchored in another ledger")


def _each_owner_once(found: Findings) -> None:
    anchor = found.envelope.anchor
    counted = Counter(approval.owner for approval in anchor.approvals) if anchor is not None else Counter()
    for owner, times in counted.items():
        if times > 1:
            raise EnvelopeError(Code.APPROVAL_REPEATED, f"the approval of {owner} is listed {times} times")


def _tell_quote(found: Findings) -> str:
    whose = "SIMULATED TDX, not Intel" if found.quote.simulated else "Intel TDX"
    return f"{whose}, TCB {found.quote.tcb_status}, machine {to_hex(found.quote.device_id)}"


def _tell_output(found: Findings) -> str:
    fields = ", ".join(field.name for field in found.recipe.output.fields)
    result = found.envelope.result
    privacy = found.envelope.statement.privacy
    cost = f"ε {result['epsilon']}, δ {result['delta']} for each {privacy.unit}"
    return f"{fields}; {cost}; {privacy.guarantee}, {counted_words(found.recipe)}"


def _tell_grant(found: Findings) -> str:
    grant = found.envelope.grant
    return f"signed by the gate {found.envelope.gate.signer} for this evidence, lease {grant.lease_seconds} s"


def _tell_anchor(found: Findings) -> str:
    anchor = found.envelope.anchor
    if anchor is None:
        return "the envelope does not say where its receipt stands"
    said = f"says receipt {anchor.sequence} in block {anchor.block}, {len(anchor.approvals)} approvals: "
    if anchor.proofs:
        return said + f"{len(anchor.proofs)} proofs of it follow"
    return said + "true or not, only the chain can tell"


OFFLINE: tuple[Step, ...] = (
    Step(
        "result",
        (_of_envelope(RESULT_CHECK),),
        lambda found: f"sha256 {to_hex(found.envelope.statement.result_digest)}",
    ),
    Step(
        "statement",
        tuple(_of_envelope(check) for check in STATEMENT_CHECKS),
        lambda found: f"signed by the enclave's key {found.envelope.grant.enclave_signer}",
    ),
    Step(
        "receipt",
        tuple(_of_envelope(check) for check in RECEIPT_CHECKS),
        lambda found: f"signed by the same key, run {to_hex(found.envelope.receipt.run_id)}",
    ),
    Step(
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
    ),
    Step(
        "recipe",
        (
            equal(
                "recipe.hash",
                lambda found: compose_hash(found.envelope.recipe),
                lambda found: found.envelope.statement.compose_hash,
                Code.COMPOSE_HASH_MISMATCH,
                lambda found: (
                    f"the embedded recipe is {to_hex(compose_hash(found.envelope.recipe))}, "
                    f"the statement says {to_hex(found.envelope.statement.compose_hash)}"
                ),
            ),
            Check("recipe.rules", _rules),
            equal(
                "recipe.output",
                lambda found: found.envelope.statement.output_hash,
                lambda found: found.recipe.output_hash,
                Code.RECIPE_MISMATCH,
                "the statement names another output contract",
            ),
            equal(
                "recipe.privacy",
                lambda found: found.envelope.statement.privacy_hash,
                lambda found: found.recipe.privacy_hash,
                Code.RECIPE_MISMATCH,
                "the statement names another privacy policy",
            ),
            equal(
                "recipe.datasets",
                _used,
                _declared,
                Code.RECIPE_MISMATCH,
                "the statement names other datasets than the recipe",
            ),
        ),
        lambda found: f"{found.recipe.name}, compose hash {to_hex(found.recipe.compose_hash)}",
    ),
    Step(
        "output",
        (
            Check("output.contract", lambda found: check_result(found.envelope.result, found.recipe)),
            Check("output.checkpoints", _checkpoints),
            equal(
                "output.epsilon",
                lambda found: found.envelope.statement.privacy.epsilon_micro,
                lambda found: found.recipe.epsilon_micro,
                Code.EPSILON_MISMATCH,
                "the statement's ε is not the recipe's",
            ),
            equal(
                "output.delta",
                lambda found: found.envelope.statement.privacy.delta,
                lambda found: found.recipe.privacy.delta,
                Code.PRIVACY_MISMATCH,
                "the statement's δ is not the recipe's",
            ),
            equal(
                "output.guarantee",
                lambda found: (
                    found.envelope.statement.privacy.guarantee,
                    found.envelope.statement.privacy.rows,
                    found.envelope.statement.privacy.blocks,
                ),
                lambda found: (found.recipe.guarantee.name, found.recipe.rows, found.recipe.blocks),
                Code.PRIVACY_MISMATCH,
                "the statement's guarantee, its rows of one person, or its blocks are not the recipe's",
            ),
            equal(
                "output.unit",
                lambda found: found.envelope.statement.privacy.unit,
                lambda found: found.recipe.unit,
                Code.PRIVACY_MISMATCH,
                "the statement's unit is not the recipe's",
            ),
            equal(
                "output.adjacency",
                lambda found: found.envelope.statement.privacy.adjacency,
                lambda found: found.recipe.privacy.adjacency,
                Code.PRIVACY_MISMATCH,
                "the statement's adjacency is not the recipe's",
            ),
            equal(
                "output.noise",
                lambda found: found.envelope.statement.privacy.mechanisms,
                lambda found: mechanisms(found.recipe.output, rows=found.recipe.rows),
                Code.PRIVACY_MISMATCH,
                "the statement's noise is not, part by part, what follows from the recipe",
            ),
        ),
        _tell_output,
    ),
    Step("quote", (Check("quote.genuine", _quote),), _tell_quote),
    Step(
        "report-data",
        (
            equal(
                "quote.report-data",
                lambda found: found.quote.report_data,
                _report_data,
                Code.REPORT_DATA_MISMATCH,
                "the quote was made for another exchange or key",
            ),
            Check("quote.no-gpu", _no_gpu),
        ),
        lambda found: "binds the exchange with the gate, and the enclave's keys",
    ),
    Step(
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
    ),
    Step(
        "kms-chain",
        (Check("gate.kms-chain", lambda found: check_kms_chain(found.envelope.gate)),),
        lambda found: f"KMS root {to_hex(found.envelope.gate.kms_root)} vouches for the gate's key",
    ),
    Step(
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
    ),
    Step(
        "anchor",
        (
            Check("anchor.chain", _anchor_chain),
            Check("anchor.ledger", _anchor_ledger),
            Check("anchor.after-grant", _after_grant),
            Check("anchor.approvals", _each_owner_once),
        ),
        _tell_anchor,
    ),
)
"""Links that need nothing but the envelope and the root of trust."""
