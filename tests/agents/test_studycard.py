# SPDX-License-Identifier: Apache-2.0
"""Study cards: what holds is accepted, and each way in which a card can lie is refused by its own code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.worked import (
    APP,
    CHAIN_ID,
    CONSORTIUM,
    LEDGER,
    OWNERS,
    WorkedGate,
    fresh_platform,
    make_card,
    make_gate,
    render_recipe,
)

from sealroom.encoding import to_base64
from sealroom.errors import FormatError, RecipeError, SealroomError
from sealroom.model import Owner, Platform, Spending
from sealroom_agents import studycard
from sealroom_agents.attestation import INTEL, TrustRoot
from sealroom_agents.errors import AttestationError, CardError
from sealroom_agents.facts import ChainView, LatestView
from sealroom_agents.simulator import SIMULATED_OS_IMAGE
from sealroom_agents.studycard import StudyCard

DAY_S = 24 * 3600


@dataclass(frozen=True)
class Desk:
    """What an owner has on the desk: a card that holds, and what it is checked against."""

    card: StudyCard
    gate: WorkedGate
    trust: TrustRoot
    view: ChainView
    latest: LatestView
    now: int

    def check(self, **changes: Any) -> studycard.CheckedCard:
        """Check with some of it replaced."""
        desk = replace(self, **changes)
        return studycard.check(desk.card, trust=desk.trust, now=desk.now, view=desk.view, latest=desk.latest)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    platform = fresh_platform()
    gate = make_gate(platform)
    card = make_card(gate, render_recipe(tmp_path_factory.mktemp("recipe")))
    return Desk(
        card=card,
        gate=gate,
        trust=platform.trust(),
        view=make_view(gate),
        latest=LatestView(
            block_number=12,
            block_time=0,
            steps=1,
            standing=bytes(32),
            revoked_by=None,
            revocation_reason="",
            active_study=None,
            best=None,
        ),
        now=int(time.time()),
    )


def make_view(gate: WorkedGate) -> ChainView:
    """A consortium that adopted `gate`, as the chain shows it."""
    return ChainView(
        chain_id=CHAIN_ID,
        consortium=CONSORTIUM,
        app=APP,
        ledger=LEDGER,
        block_number=10,
        block_hash=bytes(32),
        block_time=0,
        roster_digest=bytes(32),
        charter=bytes(32),
        standing=bytes(32),
        basis=bytes(32),
        steps=1,
        nonce=0,
        threshold=2,
        owners=tuple(
            Owner(account=owner.account, id=owner.id, jurisdiction="DE", regimes=("GDPR",))
            for owner in OWNERS
        ),
        platform=Platform(
            gate_root=gate.identity.gate_root,
            gate_signer=gate.identity.signer,
            gate_compose=gate.identity.compose_hash,
            policy_hash=gate.identity.policy_hash,
            os_images=(SIMULATED_OS_IMAGE,),
            devices=(),
        ),
        study=None,
        live=False,
        approved_at=0,
        approvals=(),
        revokers=(),
        revoked_by=None,
        revoked_at=0,
        revocation_reason="",
        datasets=(),
        spending=Spending(epsilon_micro=0, delta_pico=0, runs=0),
        app_allows=False,
        require_tcb=True,
        allow_any_device=False,
    )


# --- the file ------------------------------------------------------------------------------------


def test_a_card_reads_back_as_it_was_written(desk: Desk) -> None:
    assert studycard.parse(desk.card.encode()) == desk.card


def test_an_unknown_field_is_refused(desk: Desk) -> None:
    content = json.loads(desk.card.encode())
    content["note"] = "trust me"
    with pytest.raises(CardError, match="unknown field 'note'"):
        studycard.parse(json.dumps(content).encode())


def test_another_version_is_refused_by_its_own_code(desk: Desk) -> None:
    content = json.loads(desk.card.encode()) | {"version": 1, "epoch": 1}
    with pytest.raises(CardError) as refused:
        studycard.parse(json.dumps(content).encode())
    assert refused.value.code == "unsupported-version"


def test_a_card_without_gate_evidence_is_refused(desk: Desk) -> None:
    """AT-30: absent evidence."""
    content = json.loads(desk.card.encode())
    del content["gate"]
    with pytest.raises(CardError, match="lacks gate"):
        studycard.parse(json.dumps(content).encode())


def test_a_recipe_that_breaks_a_rule_is_refused_at_the_card(desk: Desk) -> None:
    """AT-25: logs of the enclave opened to the public."""
    content = json.loads(desk.card.encode())
    recipe = json.loads(desk.card.recipe.compose)
    recipe["public_logs"] = True
    content["recipe"] = to_base64(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(RecipeError):
        studycard.parse(json.dumps(content).encode())


@pytest.mark.parametrize("cut", [0, 1, 100, -2])
def test_a_truncated_card_is_refused(desk: Desk, cut: int) -> None:
    with pytest.raises((FormatError, CardError)):
        studycard.parse(desk.card.encode()[:cut])


# --- the gate ------------------------------------------------------------------------------------


def test_a_card_that_holds_is_accepted_offline_and_says_that_no_chain_was_asked(desk: Desk) -> None:
    checked = studycard.check(desk.card, trust=desk.trust, now=desk.now)
    assert checked.block is None
    assert checked.gate.gate_root == desk.gate.identity.gate_root


def test_a_card_that_agrees_with_the_chain_names_the_block(desk: Desk) -> None:
    assert desk.check().block == 10


def refusal(check: Callable[[], object]) -> str:
    """The code with which `check` refuses."""
    with pytest.raises(SealroomError) as refused:
        check()
    return refused.value.code


def test_a_gate_on_a_platform_of_another_root_is_refused(desk: Desk) -> None:
    """AT-30, AT-14: a quote that chains to a root of the attacker's own."""
    forged = make_gate(fresh_platform())
    card = replace(desk.card, gate=forged.identity)
    assert refusal(lambda: desk.check(card=card)) == "quote-invalid"


def test_a_simulated_gate_is_refused_under_intels_root(desk: Desk) -> None:
    """AT-14."""
    assert refusal(lambda: desk.check(trust=INTEL)) == "quote-invalid"


def test_a_root_key_that_the_quote_does_not_bind_is_refused(desk: Desk) -> None:
    """AT-30: the attacker swaps only the key to which owners would wrap."""
    other = make_gate(fresh_platform())
    identity = replace(desk.card.gate, root_public_key=other.identity.root_public_key)
    assert refusal(lambda: desk.check(card=replace(desk.card, gate=identity))) == "report-data-mismatch"


def test_a_gate_of_another_chain_is_refused(desk: Desk) -> None:
    card = replace(desk.card, gate=replace(desk.card.gate, chain_id=1337))
    assert refusal(lambda: desk.check(card=card)) == "gate-not-registered"


def test_evidence_gone_stale_is_refused(desk: Desk) -> None:
    """AT-30: 31 days later; the passing twin is a day old."""
    assert desk.check(now=desk.now + DAY_S).block == 10
    assert refusal(lambda: desk.check(now=desk.now + 31 * DAY_S)) == "gate-evidence-stale"


def test_evidence_from_the_future_is_refused(desk: Desk) -> None:
    """AT-08."""
    assert refusal(lambda: desk.check(now=desk.now - DAY_S)) == "gate-evidence-stale"


def test_a_simulated_root_is_refused_off_local_chains(desk: Desk) -> None:
    """AT-14."""
    card = replace(desk.card, chain_id=1, gate=replace(desk.card.gate, chain_id=1))
    with pytest.raises(AttestationError) as refused:
        studycard.check(card, trust=desk.trust, now=desk.now)
    assert refused.value.code == "simulated-root-off-local-chain"


def test_a_gate_that_runs_another_compose_than_the_owner_expects_is_refused(desk: Desk) -> None:
    """AT-30: without a chain, the owner may name the gate's compose hash."""
    good = desk.gate.identity.compose_hash
    studycard.check(desk.card, trust=desk.trust, now=desk.now, gate_compose=good)
    other = bytes(32)
    refused = refusal(lambda: studycard.check(desk.card, trust=desk.trust, now=desk.now, gate_compose=other))
    assert refused == "gate-not-registered"


# --- the chain -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["gate_root", "gate_signer", "gate_compose", "policy_hash"])
def test_a_gate_that_the_owners_did_not_adopt_is_refused(desk: Desk, field: str) -> None:
    """AT-30: attested, but by nobody's choice."""
    value: Any = "0x" + "66" * 20 if field == "gate_signer" else b"\x66" * 32
    assert desk.view.platform is not None
    view = replace(desk.view, platform=replace(desk.view.platform, **{field: value}))
    assert refusal(lambda: desk.check(view=view)) == "gate-not-registered"


def test_a_consortium_without_a_gate_is_refused(desk: Desk) -> None:
    assert refusal(lambda: desk.check(view=replace(desk.view, platform=None))) == "gate-not-registered"


@pytest.mark.parametrize(
    "change",
    [{"chain_id": 1337}, {"app": "0x" + "66" * 20}, {"ledger": "0x" + "66" * 20}, {"owners": ()}],
    ids=lambda change: next(iter(change)),
)
def test_a_card_that_differs_from_the_consortium_is_refused(desk: Desk, change: dict[str, Any]) -> None:
    assert refusal(lambda: desk.check(view=replace(desk.view, **change))) == "card-mismatch"


def test_what_changes_with_each_vote_takes_no_new_card(desk: Desk) -> None:
    """CE-20: a wrap names recipe, app, consortium and gate; the gate reads all else on chain."""
    view = replace(desk.view, standing=b"\x01" * 32, charter=b"\x02" * 32, basis=b"\x03" * 32, steps=9)
    assert desk.check(view=view, latest=replace(desk.latest, steps=10)).card == desk.card


@pytest.mark.parametrize("where", ["finalized", "newest"])
def test_a_revocation_is_told_but_does_not_stop_sealing(desk: Desk, where: str) -> None:
    who = OWNERS[1].account
    change = {
        "finalized": {"view": replace(desk.view, revoked_by=who)},
        "newest": {"latest": replace(desk.latest, revoked_by=who)},
    }[where]
    assert desk.check(**change).revoked_by == who


# --- fetching ------------------------------------------------------------------------------------


def test_a_gate_that_nobody_answers_for_is_one_clear_error() -> None:
    with pytest.raises(CardError) as refused:
        studycard.fetch_gate("http://127.0.0.1:9")
    assert refused.value.code == "gate-unreachable"


def test_load_reads_and_checks(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(desk.card.encode())
    assert studycard.load(path, trust=desk.trust, now=desk.now).card == desk.card
