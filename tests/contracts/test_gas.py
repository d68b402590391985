# SPDX-License-Identifier: Apache-2.0
"""What each call costs is known, to the unit, and none is dearer than a consortium can bear."""

from __future__ import annotations

import json

import pytest

from tests.contracts.gas import (
    BATCH,
    KINDS,
    LONG_REVOCATION,
    QUORUMS,
    RUN_DATASETS,
    SNAPSHOT,
    Measured,
    batch_name,
    each_name,
    measure,
    pin_name,
)

REVOKE_LIMIT = 60_000
"""Also with as long a reason as is kept."""
PIN_RATIO = 1.25
"""Of what the usual Safe pays: for the first pin its first `addComposeHash`, for a later one a later one."""
EACH_LIMIT = 60_000
"""One of many runs that are opened together."""
ANCHORED_LIMIT = 3_000
CALL_LIMIT = 500_000
"""Far below what a block holds, so that no congestion keeps an owner's call out for its size."""
LARGE = ("create", "anchorBatch")
"""Begins the names of the calls that no owner makes."""


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure()


@pytest.mark.anvil
def test_each_call_costs_what_the_snapshot_says(measured: Measured) -> None:
    kept = json.loads(SNAPSHOT.read_text())
    differences = [
        f"{name}: {kept.get(name)} -> {measured.ours.get(name)}"
        for name in (kept | measured.ours)
        if kept.get(name) != measured.ours.get(name)
    ]
    assert not differences, "if this is meant: python -m tests.contracts.gas --write"


@pytest.mark.anvil
def test_each_call_of_an_owner_fits_its_limit(measured: Measured) -> None:
    calls = {name: gas for name, gas in measured.ours.items() if not name.startswith(LARGE)}
    assert len(calls) > 30
    assert not {name: gas for name, gas in calls.items() if gas > CALL_LIMIT}


@pytest.mark.anvil
@pytest.mark.parametrize(("k", "n"), QUORUMS)
def test_stopping_fits_its_limit_and_costs_less_than_through_any_safe(
    measured: Measured, k: int, n: int
) -> None:
    revoke = measured.ours[f"revoke, {k}-of-{n}"]
    assert revoke <= REVOKE_LIMIT
    assert revoke < min(measured.safes[kind, k, n].remove for kind, _, _ in KINDS)


@pytest.mark.anvil
def test_stopping_with_the_longest_reason_fits_the_limit(measured: Measured) -> None:
    assert measured.ours[LONG_REVOCATION] <= REVOKE_LIMIT


@pytest.mark.anvil
@pytest.mark.parametrize(("k", "n"), QUORUMS)
def test_a_study_on_one_dataset_is_pinned_for_little_more_than_a_safe_adds_a_recipe(
    measured: Measured, k: int, n: int
) -> None:
    kind, *_ = KINDS[0]
    safe = measured.safes[kind, k, n]
    assert measured.ours[pin_name("first", k, n, 1)] <= PIN_RATIO * safe.first
    assert measured.ours[pin_name("replacement", k, n, 1)] <= PIN_RATIO * safe.add


@pytest.mark.anvil
@pytest.mark.parametrize(("k", "n"), QUORUMS)
def test_every_kind_of_safe_was_measured(measured: Measured, k: int, n: int) -> None:
    paths = [measured.safes[kind, k, n] for kind, _, _ in KINDS]
    assert len(paths) == 4
    assert all(path.remove < path.add < path.replace and path.add < path.first for path in paths)


@pytest.mark.anvil
@pytest.mark.parametrize("datasets", RUN_DATASETS)
def test_opening_many_runs_together_fits_its_limit(measured: Measured, datasets: int) -> None:
    assert measured.ours[each_name(datasets)] <= EACH_LIMIT


@pytest.mark.anvil
def test_a_receipt_of_a_batch_fits_its_limit(measured: Measured) -> None:
    assert measured.ours[batch_name(BATCH)] / BATCH <= ANCHORED_LIMIT
