# SPDX-License-Identifier: Apache-2.0
"""The rules about datasets and what may still be spent on them."""

from __future__ import annotations

from collections.abc import Iterator

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.key_release import Refusal
from sealroom.model import Study
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.facts import (
    ChainView,
    DatasetRecord,
)
from sealroom_agents.gate.cases import PresentedDataset, Request

DAY_S = 86_400
"""A day of the ledger, UTC, seconds."""


def datasets(request: Request, study: Study, view: ChainView) -> Refusal | None:
    """The datasets presented are the study's, in the versions that it uses."""
    presented = tuple(dataset.id for dataset in request.datasets)
    if sorted(presented) != list(study.datasets) or len(set(presented)) != len(presented):
        return Refusal(
            Code.DATASET_MISMATCH,
            "the datasets are not those of the study",
            seen={"datasets": [to_hex(one) for one in presented]},
            pinned={"datasets": [to_hex(one) for one in study.datasets]},
        )
    records = {record.id: record for record in view.datasets}
    for dataset in request.datasets:
        record = records.get(dataset.id)
        if record is not None and record.number == 0:
            return Refusal(
                Code.DATASET_MISMATCH,
                f"{dataset.name} is not registered, or lacks the version that the study names",
                seen={"dataset": to_hex(dataset.id), "version": dataset.version},
            )
        if record is None or not _same(dataset, record):
            return Refusal(
                Code.DATASET_MISMATCH,
                f"the header of {dataset.owner}/{dataset.name} differs from what its owner registered",
                seen={
                    "dataset": to_hex(dataset.id),
                    "version": dataset.version,
                    "header": to_hex(dataset.header),
                },
                pinned=None
                if record is None
                else {"version": record.number, "header": to_hex(record.version.header)},
            )
    return None


def _same(dataset: PresentedDataset, record: DatasetRecord) -> bool:
    return dataset.header == record.version.header and dataset.version == record.number


def budget(request: Request, study: Study, view: ChainView, now: int) -> Refusal | None:
    """A run, ε and δ are left: of the study and of each dataset. now: unix seconds."""
    if view.spending.runs >= study.max_runs:
        return _no_run_left("the study", view.spending.runs, study.max_runs)
    refusal = _over(
        "the study",
        request,
        study.epsilon_micro - view.spending.epsilon_micro,
        study.delta_pico - view.spending.delta_pico,
    )
    if refusal is not None:
        return refusal
    found = (refusal for dataset in view.datasets for refusal in _of_dataset(request, dataset, now // DAY_S))
    return next((refusal for refusal in found if refusal is not None), None)


def _of_dataset(request: Request, dataset: DatasetRecord, day: int) -> Iterator[Refusal | None]:
    """What a dataset's accounts say, in the order of the ledger: lifetime, this consortium, today."""
    name, account, allowance = f"{dataset.holder_id}/{dataset.name}", dataset.account, dataset.allowance
    yield _over(
        f"the lifetime account of {name}",
        request,
        account.epsilon_cap - account.epsilon_spent,
        account.delta_cap - account.delta_spent,
    )
    yield _over(
        name,
        request,
        allowance.epsilon_cap - allowance.epsilon_spent,
        allowance.delta_cap - allowance.delta_spent,
    )
    today = allowance.day == day
    spent, runs = (allowance.epsilon_today, allowance.runs_today) if today else (0, 0)
    yield _over(f"{name} today", request, allowance.epsilon_per_day - spent, request.delta_pico)
    if runs >= allowance.runs_per_day:
        yield _no_run_left(f"{name} today", runs, allowance.runs_per_day)


def _no_run_left(what: str, runs: int, limit: int) -> Refusal:
    return Refusal(
        Code.RUNS_EXHAUSTED,
        f"no run is left of the {limit} that {what} allows",
        seen={"runs": runs},
        pinned={"maxRuns": limit},
    )


def _over(what: str, request: Request, left_micro: int, left_pico: int) -> Refusal | None:
    """Refuse unless as much is left as the run needs."""
    left_micro, left_pico = max(0, left_micro), max(0, left_pico)
    if request.epsilon_micro > left_micro:
        return Refusal(
            Code.BUDGET_EXCEEDED,
            f"a run needs ε {epsilon_text(request.epsilon_micro)}, "
            f"and {what} has {epsilon_text(left_micro)} left",
            seen={"epsilonMicro": request.epsilon_micro},
            pinned={"leftMicro": left_micro},
        )
    if request.delta_pico > left_pico:
        return Refusal(
            Code.BUDGET_EXCEEDED,
            f"a run needs δ {delta_text(request.delta_pico)}, and {what} has {delta_text(left_pico)} left",
            seen={"deltaPico": request.delta_pico},
            pinned={"leftPico": left_pico},
        )
    return None
