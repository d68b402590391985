# SPDX-License-Identifier: Apache-2.0
"""Walking an envelope: each link holds in the whole walk, and breaks by its own name.

Two kinds of liars: one who edits a finished envelope, and one who also holds the keys of enclave or gate
and signs the changed thing anew (`WorkedRun` does that).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
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

from sealroom.encoding import to_base64
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import EnvelopeError
from sealroom.key_release import GateIdentity
from sealroom.recipe.result import build_result
from sealroom_agents import verification
from sealroom_agents.attestation import INTEL, TrustRoot
from sealroom_agents.errors import AttestationError
from sealroom_agents.simulator import SimulatedPlatform

OFFLINE = [step.name for step in verification.OFFLINE]


@dataclass(frozen=True)
class Bench:
    """An envelope that holds, and what made it."""

    platform: SimulatedPlatform
    gate: WorkedGate
    recipe: bytes
    changed_recipe: bytes
    run: WorkedRun
    envelope: Envelope
    trust: TrustRoot

    def walk(self, envelope: Envelope, **options: Any) -> list[verification.Link]:
        """Verify now, under the platform's root."""
        return verification.verify(envelope, **{"trust": self.trust, "now": int(time.time()), **options})

    def broken(self, envelope: Envelope, **options: Any) -> tuple[str, str | None]:
        """Name and code of the first broken link."""
        link = verification.first_broken(self.walk(envelope, **options))
        assert link is not None, "every link holds"
        return link.name, link.code


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    platform = fresh_platform()
    gate = make_gate(platform)
    folder = tmp_path_factory.mktemp("recipe")
    recipe = render_recipe(folder / "approved")
    run = make_run(platform, gate, recipe)
    return Bench(
        platform=platform,
        gate=gate,
        recipe=recipe,
        changed_recipe=render_recipe(folder / "changed", analysis=ANALYSIS + "# one line more\n"),
        run=run,
        envelope=run.envelope(),
        trust=platform.trust(),
    )


def edited(envelope: Envelope, edit: Callable[[dict[str, Any]], None]) -> Envelope:
    """The envelope after an edit of its JSON."""
    content = json.loads(envelope.encode())
    edit(content)
    return parse_envelope(json.dumps(content).encode())


# --- the whole walk ------------------------------------------------------------------------------


def test_every_link_of_a_true_envelope_holds_in_order(bench: Bench) -> None:
    links = bench.walk(bench.envelope)
    assert [link.name for link in links] == OFFLINE
    assert all(link.ok for link in links)


def test_the_file_reads_back_and_still_holds(bench: Bench) -> None:
    assert all(link.ok for link in bench.walk(parse_envelope(bench.envelope.encode())))


def test_years_later_the_quote_still_holds_at_the_time_of_its_grant(bench: Bench) -> None:
    """The collateral has long expired; what counts is that it was valid when the gate granted."""
    assert all(link.ok for link in bench.walk(bench.envelope, now=int(time.time()) + 10 * 365 * 24 * 3600))


def test_the_walk_stops_at_the_first_broken_link(bench: Bench) -> None:
    links = bench.walk(edited(bench.envelope, lambda e: e["result"].update(study="other")))
    assert [link.name for link in links] == ["result"]


# --- a finished envelope, edited -----------------------------------------------------------------


def flip(text: str) -> str:
    """Hex text with its last digit changed."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def flip64(text: str, position: int = -20) -> str:
    """Base64 text with one bit of one byte changed."""
    data = bytearray(base64.b64decode(text))
    data[position] ^= 1
    return to_base64(bytes(data))


EDITS: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "another number in the result": (
        lambda e: e["result"]["fields"]["people"]["groups"][0].update(people=7),
        "result",
        "result-mismatch",
    ),
    "result digest in the receipt": (
        lambda e: e["receipt"].update(resultDigest=flip(e["receipt"]["resultDigest"])),
        "receipt",
        "receipt-forged",
    ),
    "signature of the statement": (
        lambda e: e["statement"]["signatures"][0].update(sig=flip64(e["statement"]["signatures"][0]["sig"])),
        "statement",
        "statement-forged",
    ),
    "enclave key in the grant": (
        lambda e: e["grant"].update(enclaveSigner=flip(e["grant"]["enclaveSigner"])),
        "statement",
        "statement-forged",
    ),
    "grant's ε": (lambda e: e["grant"].update(epsilonMicro=1), "statement", "statement-mismatch"),
    "grant's block": (lambda e: e["grant"].update(blockNumber=101), "statement", "statement-mismatch"),
    "run id of the hello": (
        lambda e: e["release"]["hello"].update(runId=flip(e["release"]["hello"]["runId"])),
        "statement",
        "statement-mismatch",
    ),
    "body of the quote": (
        lambda e: e["evidence"].update(quote=flip64(e["evidence"]["quote"], 200)),
        "statement",
        "statement-mismatch",
    ),
    "run id of the receipt": (
        lambda e: e["receipt"].update(runId=flip(e["receipt"]["runId"])),
        "receipt",
        "receipt-forged",
    ),
    "ε of the receipt": (lambda e: e["receipt"].update(epsilonMicro=1), "receipt", "receipt-forged"),
    "signature of the receipt": (
        lambda e: e.update(
            receiptSignature="0x" + flip(e["receiptSignature"][2:66]) + e["receiptSignature"][66:]
        ),
        "receipt",
        "receipt-forged",
    ),
    "signature of the grant": (
        lambda e: e.update(grantSignature="0x" + flip(e["grantSignature"][2:66]) + e["grantSignature"][66:]),
        "grant",
        "grant-forged",
    ),
    "nonce of the challenge": (
        lambda e: e["release"]["challenge"].update(nonce=flip(e["release"]["challenge"]["nonce"])),
        "grant",
        "challenge-forged",
    ),
    "KEM key": (
        lambda e: e["release"].update(kemKey=flip64(e["release"]["kemKey"])),
        "grant",
        "grant-mismatch",
    ),
    "one byte of the recipe": (
        lambda e: e.update(recipe=flip64(e["recipe"])),
        "recipe",
        "compose-hash-mismatch",
    ),
    "signature of the quote": (
        lambda e: e["evidence"].update(quote=flip64(e["evidence"]["quote"], 640)),
        "grant",
        "grant-mismatch",
    ),
    "collateral": (
        lambda e: e["evidence"]["collateral"].update(
            tcb_info=e["evidence"]["collateral"]["tcb_info"].replace("UpToDate", "OutOfDate")
        ),
        "quote",
        "quote-invalid",
    ),
    "GPU evidence": (
        lambda e: e["release"].update(gpuEvidence=to_base64(b"a GPU that nobody asked for")),
        "grant",
        "grant-mismatch",
    ),
    "what GPUs were judged by": (
        lambda e: e["release"].update(gpuMaterial=to_base64(b"of GPUs that nobody asked for")),
        "grant",
        "grant-mismatch",
    ),
    "KMS root key": (
        lambda e: e["gate"].update(kmsRootKey=flip(e["gate"]["kmsRootKey"])),
        "kms-chain",
        "kms-chain-broken",
    ),
    "quote of the gate": (
        lambda e: e["gate"].update(quote=flip64(e["gate"]["quote"], 640)),
        "gate-quote",
        "quote-invalid",
    ),
    "age of the gate's evidence": (
        lambda e: e["gate"].update(issued=e["gate"]["issued"] - 31 * 24 * 3600),
        "gate-quote",
        "gate-evidence-stale",
    ),
    "compose hash of the gate": (
        lambda e: e["gate"].update(composeHash=flip(e["gate"]["composeHash"])),
        "gate-quote",
        "compose-hash-mismatch",
    ),
}


def test_gpu_evidence_that_nobody_verified_breaks_the_walk(bench: Bench) -> None:
    """GP-01: bound by a true quote it is still no more than bytes."""
    run = make_run(bench.platform, bench.gate, bench.recipe, gpu_evidence=b"x")
    assert bench.broken(run.envelope()) == ("report-data", "gpu-evidence-unverified")


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_envelope_breaks_at(bench: Bench, name: str) -> None:
    """OU-09 and its kin: each line differs from the envelope that holds in one thing."""
    edit, link, code = EDITS[name]
    assert bench.broken(edited(bench.envelope, edit)) == (link, code)


SHOWN: dict[str, tuple[Callable[[WorkedRun], dict[str, Any]], str, str]] = {
    "signature of the quote": (
        lambda run: {"quote": run.quote[:640] + bytes([run.quote[640] ^ 1]) + run.quote[641:]},
        "quote",
        "quote-invalid",
    ),
    "what GPUs were judged by": (
        lambda run: {"gpu_material": b"of GPUs that nobody asked for"},
        "report-data",
        "gpu-evidence-unverified",
    ),
    "GPU evidence": (
        lambda run: {"gpu_evidence": b"a GPU that nobody asked for"},
        "report-data",
        "report-data-mismatch",
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_evidence_that_the_gate_itself_vouches_for_is_judged_all_the_same(bench: Bench, name: str) -> None:
    """AT-02, AT-30, GP-01: whoever holds the gate's key can grant for any bytes."""
    shown, link, code = SHOWN[name]
    assert bench.broken(bench.run.shown(**shown(bench.run)).envelope()) == (link, code)


def test_an_event_log_whose_payload_was_changed_under_kept_digests_is_broken(bench: Bench) -> None:
    """AT-15."""

    log = json.loads(bench.run.event_log)
    for event in log:
        if event["event"] == "compose-hash":
            event["event_payload"] = "aa" * 32
    run = bench.run.shown(event_log=json.dumps(log))
    assert bench.broken(run.envelope()) == ("event-log", "event-log-mismatch")


# --- parts of two envelopes mixed ----------------------------------------------------------------

SWAPS: dict[str, tuple[tuple[str, ...], str]] = {
    "result": (("result",), "result"),
    "result and statement": (("result", "statement"), "statement"),
    "result, statement and receipt": (("result", "statement", "receipt", "receiptSignature"), "statement"),
    "grant": (("grant", "grantSignature"), "statement"),
    "release": (("release",), "statement"),
    "evidence": (("evidence",), "statement"),
}


@pytest.mark.parametrize("name", SWAPS)
def test_no_part_of_another_run_passes_for_this_one(bench: Bench, name: str) -> None:
    """OU-09: both envelopes hold; a mixture doesn't."""
    fields = json.loads(json.dumps(RESULT_FIELDS))
    fields["people"]["groups"][0]["people"] = 55
    other_run = make_run(bench.platform, bench.gate, bench.recipe)
    other = replace(other_run, result=build_result(fields, other_run.recipe)).envelope()
    assert all(link.ok for link in bench.walk(other))
    parts, link = SWAPS[name]
    taken = json.loads(other.encode())
    mixed = edited(bench.envelope, lambda e: e.update({part: taken[part] for part in parts}))
    assert bench.broken(mixed)[0] == link


# --- liars who hold keys -------------------------------------------------------------------------


def test_a_gate_that_no_machine_attests_is_broken_though_all_its_signatures_hold(bench: Bench) -> None:
    """AT-30: a signer key of somebody's own."""
    other = make_gate(fresh_platform())
    run = make_run(bench.platform, other, bench.recipe)
    assert bench.broken(run.envelope())[0] == "gate-quote"


def test_an_enclave_of_another_platform_is_broken(bench: Bench) -> None:
    """AT-14."""
    run = make_run(fresh_platform(), bench.gate, bench.recipe)
    assert bench.broken(run.envelope()) == ("quote", "quote-invalid")


def test_a_simulated_result_is_broken_under_intels_root(bench: Bench) -> None:
    """AT-14."""
    assert bench.broken(bench.envelope, trust=INTEL) == ("quote", "quote-invalid")


def test_a_simulated_root_is_refused_off_local_chains(bench: Bench) -> None:
    """AT-14."""
    statement = replace(bench.envelope.statement, chain_id=1)
    with pytest.raises(AttestationError) as refused:
        bench.walk(replace(bench.envelope, statement=statement))
    assert refused.value.code == "simulated-root-off-local-chain"


def test_an_enclave_that_booted_another_recipe_is_broken(bench: Bench) -> None:
    run = make_run(bench.platform, bench.gate, bench.recipe, booted=bench.changed_recipe)
    assert bench.broken(run.envelope()) == ("event-log", "compose-hash-mismatch")


def test_an_enclave_that_booted_for_another_app_is_broken(bench: Bench) -> None:
    """AT-19."""
    run = make_run(bench.platform, bench.gate, bench.recipe, app="0x" + "66" * 20)
    assert bench.broken(run.envelope()) == ("event-log", "app-id-mismatch")


def test_a_quote_made_for_another_exchange_is_broken(bench: Bench) -> None:
    """AT-01, AT-03."""
    other = make_run(bench.platform, bench.gate, bench.recipe)
    run = bench.run.shown(quote=other.quote)
    assert bench.broken(run.envelope()) == ("report-data", "report-data-mismatch")


def test_a_grant_from_the_future_is_broken(bench: Bench) -> None:
    """AT-08."""
    assert bench.broken(bench.envelope, now=bench.run.grant.issued - 3600) == ("grant", "grant-from-future")


def test_a_lease_without_end_is_broken(bench: Bench) -> None:
    run = replace(bench.run, grant=replace(bench.run.grant, lease_seconds=3600))
    assert bench.broken(run.envelope()) == ("grant", "grant-mismatch")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({**RESULT_FIELDS, "names": ["Ada"]}, "undeclared-field"),
        ({"people": RESULT_FIELDS["people"]}, "missing-field"),
        (
            {
                **RESULT_FIELDS,
                "age": {**RESULT_FIELDS["age"], "groups": RESULT_FIELDS["age"]["groups"][:1] * 2},
            },
            "wrong-type",
        ),
        (
            {
                **RESULT_FIELDS,
                "age": {
                    "groups": [row | {"mean": "154.2"} for row in RESULT_FIELDS["age"]["groups"]],
                    "interval": "noise",
                },
            },
            "out-of-bounds",
        ),
    ],
    ids=["undeclared", "missing", "wrong groups", "out of bounds"],
)
def test_a_result_that_the_contract_does_not_allow_is_broken(
    bench: Bench, fields: dict[str, Any], code: str
) -> None:
    """OU-01, OU-08: signed by the enclave, and still not what the owners agreed to."""
    run = replace(bench.run, result=build_result(fields, bench.run.recipe))
    assert bench.broken(run.envelope()) == ("output", code)


def test_a_result_that_claims_less_epsilon_than_it_cost_is_broken(bench: Bench) -> None:
    """OU-09: stripped of what it cost."""
    run = replace(bench.run, result={**bench.run.result, "epsilon": "0.1"})
    assert bench.broken(run.envelope())[0] == "output"


def test_a_run_granted_less_epsilon_than_its_recipe_costs_is_broken(bench: Bench) -> None:
    run = make_run(bench.platform, bench.gate, bench.recipe, epsilon_micro=100)
    assert bench.broken(run.envelope()) == ("output", "epsilon-mismatch")


def test_a_run_granted_another_delta_than_its_recipe_costs_is_broken(bench: Bench) -> None:
    """DP-05: the enclave says and states δ 1e-9 where the recipe has none."""
    privacy = replace(bench.envelope.statement.privacy, delta=Decimal("1e-9"))
    run = make_run(bench.platform, bench.gate, bench.recipe, delta_pico=1000)
    with pytest.raises(EnvelopeError, match="δ"):
        run.envelope()
    stated = replace(run, statement_changes={"privacy": privacy})
    assert bench.broken(stated.envelope()) == ("output", "privacy-mismatch")


def test_a_statement_that_spends_more_on_a_field_than_declared_is_broken(bench: Bench) -> None:
    privacy = bench.envelope.statement.privacy
    silent = replace(bench.run, statement_changes={"privacy": replace(privacy, mechanisms=())})
    assert bench.broken(silent.envelope()) == ("output", "privacy-mismatch")
    greedy = (*privacy.mechanisms, privacy.mechanisms[0])
    run = replace(bench.run, statement_changes={"privacy": replace(privacy, mechanisms=greedy)})
    assert bench.broken(run.envelope()) == ("output", "privacy-mismatch")


@pytest.mark.parametrize("field", ["output_hash", "privacy_hash"])
def test_a_statement_about_another_contract_or_policy_is_broken(bench: Bench, field: str) -> None:
    """OU-08."""
    run = replace(bench.run, statement_changes={field: bytes(32)})
    assert bench.broken(run.envelope()) == ("recipe", "recipe-mismatch")


def test_a_statement_about_other_datasets_than_the_recipes_is_broken(bench: Bench) -> None:
    first, second = bench.run.place.datasets
    place = replace(bench.run.place, datasets=(first, replace(second, name="cohort-Z")))
    assert bench.broken(replace(bench.run, place=place).envelope()) == ("recipe", "recipe-mismatch")


def test_a_builder_never_signs_a_statement_of_another_run(bench: Bench) -> None:
    with pytest.raises(EnvelopeError):
        replace(bench.run, statement_changes={"run_id": bytes(32)}).envelope()


def test_a_gate_and_an_enclave_with_keys_of_different_kms_are_broken(bench: Bench) -> None:
    """AT-19."""
    run = make_run(bench.platform, bench.gate, bench.recipe, key_provider_id=b"another KMS")
    assert bench.broken(run.envelope()) == ("gate-quote", "key-provider-mismatch")


def test_an_identity_that_does_not_parse_never_reaches_the_walk(bench: Bench) -> None:
    content = bench.gate.identity.to_json() | {"signer": "0x" + "66" * 20}
    with pytest.raises(EnvelopeError):
        edited(bench.envelope, lambda e: e.update(gate=content))
    assert GateIdentity.from_json(bench.gate.identity.to_json()) == bench.gate.identity
