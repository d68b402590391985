# SPDX-License-Identifier: Apache-2.0
"""For every single check of `sealroom verify` that needs no chain: an envelope that this check alone refuses.

Whoever made one held every key that it takes, and signed all the rest as if it were true.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.agents.worked import (
    ANALYSIS,
    RESULT_FIELDS,
    WorkedGate,
    WorkedRun,
    fresh_platform,
    make_gate,
    make_run,
    render_recipe,
)
from tests.agents.worked_model import model_run

from sealroom import typed
from sealroom.encoding import sha256, to_base64
from sealroom.envelope import Anchor, Approval, Envelope
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import transcript_0
from sealroom.recipe import parse as parse_recipe
from sealroom.recipe.result import build_result
from sealroom_agents.attestation import TrustRoot, attested_gate, replayed, verify_quote
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.verification import Findings, Pin

OTHER = b"\x66" * 32
OTHER_ADDRESS = "0x" + "66" * 20
MONTH_S = 31 * 24 * 3600


@dataclass(frozen=True)
class Lie:
    """An envelope that one check alone refuses."""

    envelope: Envelope
    """The envelope."""
    code: str
    """What the check says of it."""
    off: Callable[[Findings], None] | None = None
    """What stands in for a check that also finds facts for later links, when it is switched off: it takes the
    liar's word for them."""
    pin: Pin | None = None
    """What the verifier pinned, if not what is true."""
    seconds_ago: int = 0
    """How long ago the verifier's clock thinks it is."""


@dataclass(frozen=True)
class Truth:
    """An envelope that holds, and what made it."""

    folder: Path
    platform: SimulatedPlatform
    gate: WorkedGate
    recipe: bytes
    changed: bytes
    run: WorkedRun
    envelope: Envelope
    pin: Pin

    @property
    def trust(self) -> TrustRoot:
        """Root of trust, with no word on OS images: those are the pin's."""
        return replace(self.platform.trust(), os_images=())

    def ran(self, **options: Any) -> WorkedRun:
        """Another run of the same gate."""
        return make_run(self.platform, self.gate, self.recipe, **options)

    def granted(self, **changes: Any) -> Envelope:
        """The gate granted something else; the enclave states what was meant."""
        stated = self.run.statement()
        kept = {
            "run_id", "study", "compose_hash", "standing", "block_number", "block_hash", "ledger", "privacy",
        }  # fmt: skip
        changed = replace(
            self.run,
            grant=replace(self.run.grant, **changes),
            statement_changes={name: getattr(stated, name) for name in kept},
        )
        return changed.lie()

    def stated(self, **changes: Any) -> Envelope:
        """The enclave states something else."""
        return replace(self.run, statement_changes=changes).lie()

    def said_hello(self, **changes: Any) -> Envelope:
        """The enclave asked for something else than it was granted."""
        return self.ran(hello_changes=changes).lie()

    def privacy(self, **changes: Any) -> dict[str, Any]:
        """A change of the statement's privacy."""
        return {"privacy": replace(self.run.statement().privacy, **changes)}

    def placed(self, **changes: Any) -> Envelope:
        """The envelope with its anchor, which says something else."""
        grant = self.run.grant
        approvals = tuple(Approval(owner="0x" + f"{n:02x}" * 20, tx=OTHER) for n in (10, 11))
        anchor = Anchor(
            chain_id=31337, ledger=grant.ledger, tx=OTHER, block=grant.block_number, sequence=1,
            approvals=approvals,
        )  # fmt: skip
        return self.run.lie().with_anchor(replace(anchor, **changes))

    @property
    def findings(self) -> Findings:
        """What the walk of the true envelope finds first; for stand-ins."""
        return Findings(envelope=self.envelope, trust=self.trust, now=0, pin=self.pin)


def tell_the_truth(folder: Path) -> Truth:
    """The small study, run once, with pins for all of it."""
    platform = fresh_platform()
    gate = make_gate(platform)
    recipe = render_recipe(folder / "approved")
    run = make_run(platform, gate, recipe)
    pin = Pin(
        chain_id=31337,
        consortium=run.place.consortium,
        gate_compose=gate.identity.compose_hash,
        gate_root=gate.identity.gate_root,
        kms_root=gate.identity.kms_root,
        os_images=(simulated_os_image(),),
    )
    changed = render_recipe(folder / "changed", analysis=ANALYSIS + "# one line more\n")
    return Truth(folder, platform, gate, recipe, changed, run, run.lie(), pin)


# --- the lies, by the check that alone refuses them --------------------------------------------------


def _flipped(signature: bytes) -> bytes:
    return signature[:20] + bytes([signature[20] ^ 1]) + signature[21:]


def _another_result(truth: Truth) -> Lie:
    fields = json.loads(json.dumps(RESULT_FIELDS))
    fields["people"]["groups"][0]["people"] = 55
    result = build_result(fields, truth.run.recipe)
    return Lie(replace(truth.envelope, result=result), "result-mismatch")


def _signed(truth: Truth, code: str, **changes: Any) -> Lie:
    return Lie(replace(truth.envelope, signed=replace(truth.envelope.signed, **changes)), code)


def _receipt_of_another_statement(truth: Truth) -> Lie:
    receipt = replace(truth.envelope.receipt, statement_digest=OTHER)
    message = typed.receipt(receipt, chain_id=31337, ledger=truth.envelope.statement.ledger)
    signature = typed.sign(message, truth.run.signer_key)
    return Lie(replace(truth.envelope, receipt=receipt, receipt_signature=signature), "receipt-mismatch")


def _gate_of_another_chain(truth: Truth) -> Lie:
    gate = make_gate(truth.platform, chain_id=1337)
    pin = replace(truth.pin, gate_root=gate.identity.gate_root)
    return Lie(make_run(truth.platform, gate, truth.recipe).lie(), "grant-mismatch", pin=pin)


def _forged_challenge(truth: Truth) -> Lie:
    challenge = replace(truth.run.challenge, signature=_flipped(truth.run.challenge.signature))
    lie = replace(truth.envelope, challenge=challenge)

    def off(found: Findings) -> None:
        found.transcript = transcript_0(lie.hello, lie.challenge)

    return Lie(lie, "challenge-forged", off)


def _booted_and_shown_another(truth: Truth) -> Lie:
    envelope = truth.ran(booted=truth.changed).lie()
    return Lie(replace(envelope, recipe=truth.changed), "compose-hash-mismatch")


def _recipe_against_the_rules(truth: Truth) -> Lie:
    """Its logs are public; everybody agrees on it."""
    loose = truth.recipe.replace(b'"public_logs":false', b'"public_logs":true')
    parsed = parse_recipe(truth.recipe)
    compose_hash = sha256(loose)
    as_if = replace(parsed, compose=loose, compose_hash=compose_hash)
    run = truth.ran(booted=loose, hello_changes={"compose_hash": compose_hash})
    run = replace(run, recipe=as_if, grant=replace(run.grant, compose_hash=compose_hash))

    def off(found: Findings) -> None:
        found.recipe = as_if

    return Lie(run.lie(), "recipe-public-logs", off)


def _other_datasets(truth: Truth) -> Lie:
    first, second = truth.run.place.datasets
    place = replace(truth.run.place, datasets=(first, replace(second, name="cohort-Z")))
    return Lie(replace(truth.run, place=place).lie(), "recipe-mismatch")


def _result_out_of_contract(truth: Truth) -> Lie:
    result = build_result({**RESULT_FIELDS, "names": ["Ada"]}, truth.run.recipe)
    return Lie(replace(truth.run, result=result).lie(), "undeclared-field")


def _chain_of_other_weights(truth: Truth) -> Lie:
    """The enclave of a study that releases a model signed a chain that does not end in it."""
    run = model_run(truth.folder / "model", truth.platform, truth.gate)
    fields = json.loads(json.dumps(run.result["fields"]))
    fields["risk"]["model"][0]["previous"] = to_base64(OTHER)
    return Lie(replace(run, result=build_result(fields, run.recipe)).lie(), "checkpoints-mismatch")


def _another_delta(truth: Truth) -> Lie:
    run = truth.ran(delta_pico=1000)
    changes = truth.privacy(delta=Decimal("1e-9"))
    return Lie(replace(run, statement_changes=changes).lie(), "privacy-mismatch")


def _enclave_under_another_root(truth: Truth) -> Lie:
    other = fresh_platform()
    lie = make_run(other, truth.gate, truth.recipe, key_provider_id=truth.platform.kms.key_provider_id).lie()

    def off(found: Findings) -> None:
        found.quote = verify_quote(lie.quote, lie.collateral, trust=other.trust(), now=lie.grant.issued)

    return Lie(lie, "quote-invalid", off)


def _quote_of_another_exchange(truth: Truth) -> Lie:
    return Lie(truth.run.shown(quote=truth.ran().quote).lie(), "report-data-mismatch")


def _log_of_other_events(truth: Truth) -> Lie:
    log = json.loads(truth.run.event_log)
    log[-1]["digest"] = "00" * 48

    def off(found: Findings) -> None:
        found.evidence = replayed(found.quote, truth.run.event_log, trust=truth.trust)

    return Lie(truth.run.shown(event_log=json.dumps(log)).lie(), "event-log-mismatch", off)


def _gate(truth: Truth, **changes: Any) -> Envelope:
    """The same run, under an identity of the gate that says something else."""
    return replace(truth.envelope, gate=replace(truth.gate.identity, **changes))


def _kms_chain(truth: Truth) -> Lie:
    app, kms = truth.gate.identity.signature_chain
    return Lie(_gate(truth, signature_chain=(app, _flipped(kms))), "kms-chain-broken")


def _old_gate(truth: Truth) -> Lie:
    issued = truth.run.grant.issued - MONTH_S
    gate = make_gate(truth.platform, now=issued)
    return Lie(make_run(truth.platform, gate, truth.recipe).lie(), "gate-evidence-stale")


def _gate_under_another_root(truth: Truth) -> Lie:
    other = fresh_platform()
    gate = make_gate(other)
    lie = make_run(
        truth.platform, gate, truth.recipe, key_provider_id=other.kms.key_provider_id
    ).lie()  # fmt: skip

    def off(found: Findings) -> None:
        found.gate = attested_gate(gate.identity, trust=other.trust(), now=gate.identity.issued)

    pin = replace(truth.pin, gate_root=gate.identity.gate_root, kms_root=gate.identity.kms_root)
    return Lie(lie, "quote-invalid", off, pin)


def _own_gate(truth: Truth) -> Lie:
    """AT-30: a gate of somebody's own on attested hardware, keyed by the pinned KMS, that names the pinned
    gate's root key: its own code wrote that into its own quote."""
    named = truth.gate.identity.root_public_key
    gate = make_gate(truth.platform, compose=b'{"name":"my own gate"}', claims_root=named)
    return Lie(make_run(truth.platform, gate, truth.recipe).lie(), "gate-not-pinned")


def _own_root(truth: Truth) -> Lie:
    """The pinned gate's code, under an app of somebody's own: another root key."""
    gate = make_gate(truth.platform, app_id=b"\x66" * 20)
    return Lie(make_run(truth.platform, gate, truth.recipe).lie(), "gate-not-pinned")


def _own_firmware(truth: Truth) -> Lie:
    """AT-20: the enclave's machine booted an image of somebody's own."""
    return Lie(truth.ran(os_image=OTHER).lie(), "os-image-not-pinned")


def _gate_of_own_firmware(truth: Truth) -> Lie:
    gate = make_gate(truth.platform, os_image=OTHER)
    return Lie(make_run(truth.platform, gate, truth.recipe).lie(), "os-image-not-pinned")


def _pinned(truth: Truth, code: str, **changes: Any) -> Lie:
    return Lie(truth.envelope, code, pin=replace(truth.pin, **changes))


LIES: dict[str, Callable[[Truth], Lie]] = {
    "result.digest": _another_result,
    "statement.signature": lambda t: _signed(
        t, "statement-forged", signature=_flipped(t.envelope.signed.signature)
    ),
    "statement.key-id": lambda t: _signed(t, "statement-forged", key_id=OTHER_ADDRESS),
    "statement.run": lambda t: Lie(t.granted(run_id=OTHER), "statement-mismatch"),
    "statement.ledger": lambda t: Lie(t.granted(ledger=OTHER_ADDRESS), "statement-mismatch"),
    "statement.study": lambda t: Lie(t.granted(study=OTHER), "statement-mismatch"),
    "statement.recipe": lambda t: Lie(t.granted(compose_hash=OTHER), "statement-mismatch"),
    "statement.datasets": lambda t: Lie(t.granted(datasets_root=OTHER), "statement-mismatch"),
    "statement.epsilon": lambda t: Lie(t.granted(epsilon_micro=1), "statement-mismatch"),
    "statement.delta": lambda t: Lie(t.granted(delta_pico=5), "statement-mismatch"),
    "statement.standing": lambda t: Lie(t.granted(standing=OTHER), "statement-mismatch"),
    "statement.block": lambda t: Lie(t.granted(block_number=9), "statement-mismatch"),
    "statement.block-hash": lambda t: Lie(t.granted(block_hash=OTHER), "statement-mismatch"),
    "statement.grant": lambda t: Lie(t.stated(grant_hash=OTHER), "statement-mismatch"),
    "statement.quote": lambda t: Lie(t.stated(quote_body_digest=OTHER), "statement-mismatch"),
    "hello.run": lambda t: Lie(t.said_hello(run_id=OTHER), "statement-mismatch"),
    "hello.chain": lambda t: Lie(t.said_hello(chain_id=1337), "statement-mismatch"),
    "hello.consortium": lambda t: Lie(t.said_hello(consortium=OTHER_ADDRESS), "statement-mismatch"),
    "hello.recipe": lambda t: Lie(t.said_hello(compose_hash=OTHER), "statement-mismatch"),
    "hello.epsilon": lambda t: Lie(t.said_hello(epsilon_micro=1), "statement-mismatch"),
    "hello.delta": lambda t: Lie(t.said_hello(delta_pico=5), "statement-mismatch"),
    "hello.guarantee": lambda t: Lie(t.said_hello(guarantee="by-construction"), "statement-mismatch"),
    "receipt.signature": lambda t: Lie(
        replace(t.envelope, receipt_signature=_flipped(t.envelope.receipt_signature)), "receipt-forged"
    ),
    "receipt.content": _receipt_of_another_statement,
    "gate.chain": _gate_of_another_chain,
    "grant.signature": lambda t: Lie(
        replace(t.envelope, grant_signature=_flipped(t.envelope.grant_signature)), "grant-forged"
    ),
    "challenge.signature": _forged_challenge,
    "grant.transcript": lambda t: Lie(t.granted(transcript=OTHER), "grant-mismatch"),
    "grant.kem-key": lambda t: Lie(t.granted(kem_key_hash=OTHER), "grant-mismatch"),
    "grant.evidence": lambda t: Lie(t.granted(evidence=OTHER), "grant-mismatch"),
    "grant.lease": lambda t: Lie(t.granted(lease_seconds=3600), "grant-mismatch"),
    "grant.time": lambda t: Lie(t.envelope, "grant-from-future", seconds_ago=3600),
    "recipe.hash": _booted_and_shown_another,
    "recipe.rules": _recipe_against_the_rules,
    "recipe.output": lambda t: Lie(t.stated(output_hash=OTHER), "recipe-mismatch"),
    "recipe.privacy": lambda t: Lie(t.stated(privacy_hash=OTHER), "recipe-mismatch"),
    "recipe.datasets": _other_datasets,
    "output.contract": _result_out_of_contract,
    "output.checkpoints": _chain_of_other_weights,
    "output.epsilon": lambda t: Lie(t.ran(epsilon_micro=100).lie(), "epsilon-mismatch"),
    "output.delta": _another_delta,
    "output.guarantee": lambda t: Lie(t.stated(**t.privacy(rows=2)), "privacy-mismatch"),
    "output.unit": lambda t: Lie(t.stated(**t.privacy(unit="visit_id")), "privacy-mismatch"),
    "output.adjacency": lambda t: Lie(t.stated(**t.privacy(adjacency="replace-one")), "privacy-mismatch"),
    "output.noise": lambda t: Lie(t.stated(**t.privacy(mechanisms=())), "privacy-mismatch"),
    "quote.genuine": _enclave_under_another_root,
    "quote.report-data": _quote_of_another_exchange,
    "hello.gpu": lambda t: Lie(
        t.said_hello(gpu=GpuDemand(kind="h100", count=1, mode="passthrough")), "gpu-evidence-unverified"
    ),
    "quote.gpu": lambda t: Lie(t.ran(gpu_evidence=b"a GPU").lie(), "gpu-evidence-unverified"),
    "event-log.replay": _log_of_other_events,
    "event-log.recipe": lambda t: Lie(t.ran(booted=t.changed).lie(), "compose-hash-mismatch"),
    "event-log.app": lambda t: Lie(t.ran(app=OTHER_ADDRESS).lie(), "app-id-mismatch"),
    "event-log.key-provider": lambda t: Lie(t.ran(key_provider="local").lie(), "key-provider-mismatch"),
    "gate.kms-chain": _kms_chain,
    "gate.age": _old_gate,
    "gate.genuine": _gate_under_another_root,
    "gate.key-provider": lambda t: Lie(t.ran(key_provider_id=b"another").lie(), "key-provider-mismatch"),
    "anchor.chain": lambda t: Lie(t.placed(chain_id=1337), "anchor-mismatch"),
    "anchor.ledger": lambda t: Lie(t.placed(ledger=OTHER_ADDRESS), "anchor-mismatch"),
    "anchor.after-grant": lambda t: Lie(t.placed(block=9), "anchor-mismatch"),
    "anchor.approvals": lambda t: Lie(
        t.placed(approvals=(Approval(owner=OTHER_ADDRESS, tx=OTHER),) * 2), "approval-repeated"
    ),
    "pin.chain": lambda t: _pinned(t, "consortium-not-pinned", chain_id=1),
    "pin.consortium": lambda t: _pinned(t, "consortium-not-pinned", consortium=OTHER_ADDRESS),
    "pin.gate-compose": _own_gate,
    "pin.gate-root": _own_root,
    "pin.kms-root": lambda t: _pinned(t, "kms-root-not-pinned", kms_root=OTHER),
    "pin.enclave-image": _own_firmware,
    "pin.gate-image": _gate_of_own_firmware,
}
"""By the name of the check."""
