# SPDX-License-Identifier: Apache-2.0
"""`attestation.json`: what an envelope proves, in the form that registries of models and other tools read.

It is an in-toto Statement v1 with the predicate SLSA Provenance v1. Every fact in it follows from the
envelope, and nothing else is in it: a reader of ours makes it again from the envelope, compares, and names
what differs. It is signed by nobody. Spec: `enclave/spec/attestation.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import sha256, strict_json, to_base64, to_hex
from sealroom.envelope import Envelope
from sealroom.errors import EnvelopeError, FormatError, SealroomError
from sealroom.recipe import Recipe, parse
from sealroom.recipe.result import check_result
from sealroom_agents.attestation import read_event_log, said_registers
from sealroom_agents.verification.model_file import write_model
from sealroom_agents.verification.released_model import models_of
from sealroom_agents.verification.walk import Link

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://sealroom.dev/attestation/v1"
"""Names this form and its version."""
BUILDER = "https://sealroom.dev/enclave/v1"
MAX_ATTESTATION_BYTES = 1024 * 1024
LAST_SECOND = 253_402_300_799
"""Of the year 9999: the text form of times has no later one (RFC 3339)."""
SHOWN = 5
"""Most differences that a refusal names."""
_MISSING = object()

HOW = (
    ("all of it", "sealroom verify ENVELOPE --pin pin.json --rpc URL --attestation attestation.json"),
    ("subject", "sha256sum of the file; /weights: of a model file all bytes behind its header; /result.json: "
     "canonical JSON (RFC 8785) of the envelope's result"),
    ("envelope", "metadata key 'sealroom' of a model file, or the envelope's own file: sha256sum"),
    ("recipe", "sha256sum of the recipe's bytes, which the envelope holds as base64; dstack measures them "
     "into RTMR3"),
    ("datasets", "sealroom inspect FILE of a sealed file prints its header digest; the ledger has it as the "
     "version of the dataset"),
    ("privacy", "follows from the recipe: sealroom recipe; the enclave signed it in its statement"),
    ("tdx-quote", "content is the quote: any verifier of Intel TDX quotes, with the collateral in the "
     "envelope; RTMR3 replays from the event log in the envelope"),
    ("os-image", "mrTd and rtMr0 to rtMr2 of the quote are those that its maker publishes; sealroom pin "
     "keeps them"),
    ("checkpoints", "digest = SHA-256(lp('sealroom checkpoints v2', steps, previous, weights))"),
    ("receipt", "the ledger at its address says that it is anchored; signature is EIP-712, by the "
     "enclave's key"),
)  # fmt: skip
"""How each part is verified."""


def attestation_of(envelope: Envelope) -> dict[str, Any]:
    """What an envelope proves, as an in-toto Statement; nothing of it is verified here.

    Raises `RecipeError`, `JobError` or `AttestationError` for an envelope whose result is not of its recipe,
    or whose quote or event log cannot be read; `FormatError` ("malformed") for one of after the year 9999.
    """
    recipe = parse(envelope.recipe)
    check_result(envelope.result, recipe)
    return {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(envelope, recipe),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "study": recipe.name,
                    "question": recipe.question,
                    "privacy": _privacy(envelope, recipe),
                },
                "internalParameters": _place(envelope),
                "resolvedDependencies": _dependencies(envelope, recipe),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "builderDependencies": _machine(envelope)},
                "metadata": {
                    "invocationId": to_hex(envelope.statement.run_id),
                    "startedOn": _time(envelope.grant.issued),
                },
                "byproducts": _byproducts(envelope, recipe),
            },
            "sealroom_verify": [{"part": part, "how": how} for part, how in HOW],
        },
    }


def encode_attestation(attestation: dict[str, Any]) -> bytes:
    """The file: JSON for people, its members in order of their names."""
    return json.dumps(attestation, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def check_attestation(data: bytes, envelope: Envelope) -> None:
    """Check that an `attestation.json` says of an envelope what the envelope says, and no more.

    Raises `EnvelopeError`: "attestation-malformed" for what is no strict JSON, "unsupported-version" for
    another form, "attestation-mismatch" with the path of each member that differs.
    """
    try:
        said = strict_json(data, MAX_ATTESTATION_BYTES)
    except FormatError as error:
        raise EnvelopeError(Code.ATTESTATION_MALFORMED, f"the attestation: {error.message}") from None
    form = (said.get("_type"), said.get("predicateType"), _build_type(said))
    if form != (STATEMENT_TYPE, PREDICATE_TYPE, BUILD_TYPE):
        raise EnvelopeError(Code.UNSUPPORTED_VERSION, f"the attestation is none of the form {BUILD_TYPE}")
    differing = list(differences(attestation_of(envelope), said))
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise EnvelopeError(
            Code.ATTESTATION_MISMATCH,
            f"the attestation says something else than the envelope at {', '.join(differing[:SHOWN])}{more}",
        )


def attestation_link(data: bytes, envelope: Envelope) -> Link:
    """The link that binds an `attestation.json` to an envelope."""
    try:
        check_attestation(data, envelope)
    except SealroomError as error:
        return Link("attestation", ok=False, detail=error.message, code=error.code, check="attestation.same")
    return Link("attestation", ok=True, detail="says what the envelope says, and no more")


def differences(true: Any, said: Any, at: str = "") -> Iterator[str]:
    """Paths (JSON Pointer) of what one of two values has and the other has not, or has otherwise."""
    if isinstance(true, dict) and isinstance(said, dict):
        for name in sorted(true.keys() | said.keys()):
            path = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from differences(true.get(name, _MISSING), said.get(name, _MISSING), path)
    elif isinstance(true, list) and isinstance(said, list):
        for place in range(max(len(true), len(said))):
            one, other = (each[place] if place < len(each) else _MISSING for each in (true, said))
            yield from differences(one, other, f"{at}/{place}")
    elif type(true) is not type(said) or true != said:
        yield at or "/"


def _build_type(said: Any) -> Any:
    for name in ("predicate", "buildDefinition"):
        said = said.get(name, {})
        if not isinstance(said, dict):
            return None
    return said.get("buildType")


def _subjects(envelope: Envelope, recipe: Recipe) -> list[dict[str, Any]]:
    """The result, and for each model in it its file and its weights."""
    found = [_resource("result.json", envelope.statement.result_digest)]
    for model in models_of(envelope.result, recipe):
        file = sha256(write_model(envelope, model.field))
        found.append(_resource(f"{model.field}/model.safetensors", file))
        found.append(_resource(f"{model.field}/weights", model.digest))
    return found


def _privacy(envelope: Envelope, recipe: Recipe) -> dict[str, Any]:
    """What it costs, and each field with what it is and costs."""
    stated = envelope.statement.privacy
    return {
        "epsilon": envelope.result["epsilon"],
        "delta": envelope.result["delta"],
        "unit": stated.unit,
        "adjacency": stated.adjacency,
        "guarantee": stated.guarantee,
        "rows": stated.rows,
        "blocks": stated.blocks,
        "minimumCohort": recipe.privacy.minimum_cohort,
        "fields": [
            {
                "name": field.name,
                "kind": field.kind.name,
                "law": field.cost.law,
                "cost": field.cost.text(),
                "releases": field.sentence(recipe.rows),
            }
            for field in recipe.output.fields
        ],
    }


def _place(envelope: Envelope) -> dict[str, Any]:
    """Which owners' study it is, and what the gate granted."""
    statement = envelope.statement
    return {
        "chainId": statement.chain_id,
        "consortium": statement.consortium,
        "ledger": statement.ledger,
        "app": statement.app,
        "study": to_hex(statement.study),
        "standing": to_hex(statement.standing),
        "grant": to_hex(statement.grant_hash),
        "block": {"number": statement.block_number, "hash": to_hex(statement.block_hash)},
    }


def _dependencies(envelope: Envelope, recipe: Recipe) -> list[dict[str, Any]]:
    """What the run was made of: the recipe, the image, and one version of each dataset."""
    name, _, digest = recipe.image.partition("@sha256:")
    statement = envelope.statement
    return [
        _resource("recipe", statement.compose_hash, {
            "outputContract": to_hex(statement.output_hash), "privacyPolicy": to_hex(statement.privacy_hash),
        }),
        {"name": "image", "uri": name, "digest": {"sha256": digest}},
        *(
            _resource(f"{dataset.owner}/{dataset.name}", dataset.header, {
                "owner": dataset.owner, "name": dataset.name, "id": to_hex(dataset.id),
                "index": to_hex(dataset.index_digest),
            })
            for dataset in statement.datasets
        ),
    ]  # fmt: skip


def _machine(envelope: Envelope) -> list[dict[str, Any]]:
    """What it ran on, and who let it have keys."""
    claims = read_event_log(envelope.event_log).claims()
    gate = envelope.gate
    return [
        _resource("os-image", claims.os_image_hash),
        _resource("gate", gate.compose_hash, {
            "signer": gate.signer, "root": to_hex(gate.gate_root), "policy": to_hex(gate.policy_hash),
        }),
        _resource("kms-root", gate.kms_root),
    ]  # fmt: skip


def _byproducts(envelope: Envelope, recipe: Recipe) -> list[dict[str, Any]]:
    """The evidence, and where the receipt stands."""
    statement, anchor = envelope.statement, envelope.anchor
    gpu = "none" if not envelope.gpu_evidence else f"sha256:{sha256(envelope.gpu_evidence).hex()}"
    return [
        *(
            _resource(f"{model.field}/checkpoints", model.chain.head, {
                "steps": model.chain.steps, "first": to_hex(model.chain.first),
                "previous": to_hex(model.chain.previous),
            })
            for model in models_of(envelope.result, recipe)
        ),
        {
            **_resource("tdx-quote", sha256(envelope.quote), {
                **{name: to_hex(value) for name, value in said_registers(envelope.quote).items()},
                "signed": to_hex(statement.quote_body_digest), "gpuEvidence": gpu,
            }),
            "content": to_base64(envelope.quote),
        },
        _resource("event-log", sha256(envelope.event_log.encode())),
        _resource("envelope.json", sha256(envelope.encode())),
        _resource("statement", sha256(envelope.signed.payload), {
            "signed": to_hex(envelope.signed.digest), "signer": envelope.grant.enclave_signer,
        }),
        {
            "name": "receipt",
            "uri": f"eip155:{statement.chain_id}:{statement.ledger}",
            "annotations": {
                "runId": to_hex(envelope.receipt.run_id),
                "signature": to_hex(envelope.receipt_signature),
                "sequence": None if anchor is None else anchor.sequence,
                "block": None if anchor is None else anchor.block,
                "transaction": None if anchor is None else to_hex(anchor.tx),
                "approvedBy": [] if anchor is None else [approval.owner for approval in anchor.approvals],
            },
        },
    ]  # fmt: skip


def _resource(name: str, digest: bytes, annotations: dict[str, Any] | None = None) -> dict[str, Any]:
    """in-toto's ResourceDescriptor."""
    more = {} if annotations is None else {"annotations": annotations}
    return {"name": name, "digest": {"sha256": digest.hex()}, **more}


def _time(seconds: int) -> str:
    if seconds > LAST_SECOND:
        raise FormatError(Code.MALFORMED, "the envelope has a grant of after the year 9999")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
