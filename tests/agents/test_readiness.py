# SPDX-License-Identifier: Apache-2.0
"""What a run still lacks, without a chain: each thing beside the twin that lacks nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tests.agents.test_studycard import make_view
from tests.agents.worked import OWNERS, fresh_platform, make_gate, unspent

from sealroom.model import Account, Study, Version
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord
from sealroom_agents.readiness import Missing, missing, should_wait

NOW = 1_800_000_000.0
RECIPE = b"\x5e" * 32


@dataclass(frozen=True)
class Name:
    """How a recipe names a dataset."""

    owner: str
    name: str


@dataclass(frozen=True)
class Facts:
    """A recipe that spends ε 1.5 and δ 1e-6 a run."""

    compose_hash: bytes = RECIPE
    epsilon_micro: int = 1_500_000
    delta_pico: int = 1_000_000
    datasets: tuple[Name, ...] = (Name("hospital-A", "cohort-A"),)


STUDY = Study(
    compose_hash=RECIPE,
    output_hash=bytes(32),
    privacy_hash=bytes(32),
    datasets=(b"\x0a" * 32,),
    versions=(0,),
    epsilon_micro=4_500_000,
    delta_pico=3_000_000,
    max_runs=3,
    expiry=int(NOW) + 1000,
    basis=bytes(32),
    nonce=0,
)
TODAY = int(NOW) // 86_400
DATASET = DatasetRecord(
    id=b"\x0a" * 32,
    name="cohort-A",
    holder=OWNERS[0].account,
    holder_id="hospital-A",
    number=1,
    version=Version(
        header=b"\x01" * 32, index=b"\x01" * 32, key_commitment=b"\x01" * 32, schema_hash=bytes(32), rows=10
    ),
    account=Account(epsilon_cap=9_000_000, epsilon_spent=0, delta_cap=9_000_000, delta_spent=0),
    allowance=unspent(epsilon_per_day=3_000_000, runs_per_day=2, day=TODAY),
)


@pytest.fixture(scope="module")
def empty() -> ChainView:
    return make_view(make_gate(fresh_platform()))


@pytest.fixture
def live(empty: ChainView) -> ChainView:
    return replace(
        empty,
        nonce=1,
        study=STUDY,
        live=True,
        approvals=tuple(owner.account for owner in OWNERS),
        datasets=(DATASET,),
        app_allows=True,
    )


def lacks(view: ChainView) -> tuple[Missing, ...]:
    return missing(Facts(), latest=view, finalized=view, registered=None, now=NOW)


def test_a_live_study_with_budget_lacks_nothing(live: ChainView) -> None:
    assert lacks(live) == ()


@pytest.mark.parametrize(
    ("study", "account", "allowance", "says"),
    [
        ({"epsilon_micro": 3_000_001}, {}, {}, "a run needs ε = 1.5; the study has 1.499999 left"),
        ({"delta_pico": 2_000_001}, {}, {}, "a run needs δ = 1e-6; the study has 9.99999e-7 left"),
        ({"runs": 3}, {}, {}, "all 3 runs of the study are used"),
        ({}, {"epsilon_spent": 8_000_000}, {}, "a run needs ε = 1.5; cohort-A has 1 left in its life"),
        ({}, {"delta_spent": 9_000_000}, {}, "a run needs δ = 1e-6; cohort-A has 0 left in its life"),
        ({}, {}, {"epsilon_spent": 4_000_000}, "a run needs ε = 1.5; hospital-A leaves 0.5 for cohort-A"),
        ({}, {}, {"delta_spent": 3_000_000}, "a run needs δ = 1e-6; hospital-A leaves 0 for cohort-A"),
        ({}, {}, {"delta_cap": 0}, "a run needs δ = 1e-6; hospital-A leaves 0 for cohort-A"),
        (
            {},
            {},
            {"epsilon_per_day": 1},
            "a run needs ε = 1.5; hospital-A allows 0.000001 a day for cohort-A",
        ),
        ({}, {}, {"runs_per_day": 0}, "hospital-A allows 0 runs a day on cohort-A"),
    ],
)
def test_budget_that_is_spent_is_named(
    live: ChainView, study: dict[str, int], account: dict[str, int], allowance: dict[str, int], says: str
) -> None:
    dataset = replace(
        DATASET,
        account=replace(DATASET.account, **account),
        allowance=replace(DATASET.allowance, **allowance),
    )
    spending = replace(live.spending, **study)
    (found,) = lacks(replace(live, datasets=(dataset,), spending=spending))
    assert (found.code, found.message) == ("budget", says)
    assert found.owner == ("hospital-A" if account or allowance else None)
    assert not should_wait([found])


@pytest.mark.parametrize(
    ("spent", "says"),
    [
        ({"epsilon_today": 2_000_000}, "a run needs ε = 1.5; hospital-A leaves 1 today for cohort-A"),
        ({"runs_today": 2}, "hospital-A allows 2 runs a day on cohort-A, and 2 were opened today"),
    ],
)
def test_the_days_budget_comes_back_with_the_next_day(
    live: ChainView, spent: dict[str, int], says: str
) -> None:
    """A run waits for it; what was spent yesterday does not count."""
    dataset = replace(DATASET, allowance=replace(DATASET.allowance, **spent))
    (found,) = lacks(replace(live, datasets=(dataset,)))
    assert (found.code, found.message, found.owner) == ("budget-today", says, "hospital-A")
    assert should_wait([found])
    yesterday = replace(dataset, allowance=replace(dataset.allowance, day=TODAY - 1))
    assert lacks(replace(live, datasets=(yesterday,))) == ()


def test_a_proposal_that_another_study_overtook_counts_no_more(empty: ChainView) -> None:
    """Its approvals are good for a pin that somebody else has had."""
    candidate = CandidateRecord(study=STUDY, approvals=(OWNERS[0].account,), required=())
    proposed = replace(empty, candidate=candidate)
    assert [item.code for item in lacks(proposed)] == ["approval-missing"]
    assert [item.code for item in lacks(replace(proposed, nonce=1))] == ["not-proposed"]
    assert [item.code for item in lacks(replace(proposed, basis=b"\x07" * 32))] == ["not-proposed"]


def test_each_owner_whose_veto_stands_is_named(empty: ChainView) -> None:
    """Two revoked: a new study takes the approval of both, and who did not say why is not given words."""
    candidate = CandidateRecord(study=STUDY, approvals=(), required=())
    revoked = replace(
        empty,
        candidate=candidate,
        threshold=1,
        revokers=(OWNERS[0].account, OWNERS[1].account),
        revoked_by=OWNERS[1].account,
        revocation_reason="consent withdrawn",
    )
    said = [item.message for item in lacks(revoked)]
    assert "hospital-A revoked and has not approved again" in said
    assert 'hospital-B revoked ("consent withdrawn") and has not approved again' in said


def test_a_proposal_that_expires_soon_ends_no_waiting_run(empty: ChainView, live: ChainView) -> None:
    """One owner alone proposes; the others may be about to pin the same recipe as it was proposed before."""
    short = CandidateRecord(study=replace(STUDY, expiry=NOW - 1), approvals=(), required=())
    found = lacks(replace(empty, candidate=short))
    assert [item.code for item in found] == ["proposal-expired"]
    assert should_wait(found)
    assert not should_wait(lacks(replace(live, study=replace(STUDY, expiry=NOW - 1))))
