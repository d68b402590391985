# SPDX-License-Identifier: Apache-2.0
"""What a run still lacks, without a chain: each thing beside the twin that lacks nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tests.agents.test_studycard import make_view
from tests.agents.worked import OWNERS, fresh_platform, make_gate

from sealroom.model import Budget, Study
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
    epsilon_micro=4_500_000,
    delta_pico=3_000_000,
    max_runs=3,
    expiry=int(NOW) + 1000,
    epoch=1,
    nonce=0,
)
DATASET = DatasetRecord(
    id=b"\x0a" * 32,
    owner=OWNERS[0].account,
    owner_id="hospital-A",
    index_digest=bytes(32),
    key_commitment=b"\x01" * 32,
    schema_hash=bytes(32),
    rows=10,
    name="cohort-A",
    budget=Budget(
        epsilon_cap=4_500_000, epsilon_spent=0, delta_cap=3_000_000, delta_spent=0, run_cap=10, runs=0
    ),
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
    ("study", "dataset", "says"),
    [
        ({"epsilon_micro": 3_000_001}, {}, "a run needs ε = 1.5; the study has 1.499999 left"),
        ({"delta_pico": 2_000_001}, {}, "a run needs δ = 1e-6; the study has 9.99999e-7 left"),
        ({"runs": 3}, {}, "all 3 runs of the study are used"),
        ({}, {"epsilon_spent": 4_000_000}, "a run needs ε = 1.5; hospital-A leaves 0.5 for cohort-A"),
        ({}, {"delta_spent": 3_000_000}, "a run needs δ = 1e-6; hospital-A leaves 0 for cohort-A"),
        ({}, {"delta_cap": 0}, "a run needs δ = 1e-6; hospital-A leaves 0 for cohort-A"),
        ({}, {"runs": 10}, "hospital-A allows 10 runs on cohort-A, and 10 were opened"),
    ],
)
def test_budget_that_is_spent_is_named(
    live: ChainView, study: dict[str, int], dataset: dict[str, int], says: str
) -> None:
    budget = replace(DATASET.budget, **dataset)
    spending = replace(live.spending, **study)
    (found,) = lacks(replace(live, datasets=(replace(DATASET, budget=budget),), spending=spending))
    assert (found.code, found.message) == ("budget", says)
    assert found.owner == ("hospital-A" if dataset else None)
    assert not should_wait([found])


def test_a_proposal_that_another_study_overtook_counts_no_more(empty: ChainView) -> None:
    """Its approvals are good for a pin that somebody else has had."""
    candidate = CandidateRecord(study=STUDY, approvals=(OWNERS[0].account,), required=())
    proposed = replace(empty, candidate=candidate)
    assert [item.code for item in lacks(proposed)] == ["approval-missing"]
    assert [item.code for item in lacks(replace(proposed, nonce=1))] == ["not-proposed"]
    assert [item.code for item in lacks(replace(proposed, epoch=2))] == ["not-proposed"]


def test_a_proposal_that_expires_soon_ends_no_waiting_run(empty: ChainView, live: ChainView) -> None:
    """One owner alone proposes; the others may be about to pin the same recipe as it was proposed before."""
    short = CandidateRecord(study=replace(STUDY, expiry=NOW - 1), approvals=(), required=())
    found = lacks(replace(empty, candidate=short))
    assert [item.code for item in found] == ["proposal-expired"]
    assert should_wait(found)
    assert not should_wait(lacks(replace(live, study=replace(STUDY, expiry=NOW - 1))))
