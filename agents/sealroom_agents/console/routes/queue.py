# SPDX-License-Identifier: Apache-2.0
"""`/v1/accounts`: what awaits an account, across all consortia."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from sealroom_agents.console import models
from sealroom_agents.console.queues import Queue, Queues
from sealroom_agents.console.routes.shared import EXAMPLE_ADDRESS, From, answer, problems
from sealroom_agents.console.tasks import Task

Account = Annotated[
    str,
    Path(
        pattern=r"^0x[0-9a-fA-F]{40}$",
        description="The account, in lower case or with the checksum of EIP-55.",
        examples=[EXAMPLE_ADDRESS],
    ),
]
Where = Annotated[
    Literal["own", "strangers"],
    Query(
        description="Of consortia in which the account acted or that the operator pinned, or of all others "
        "that name it."
    ),
]


def router(queues: Queues) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/accounts/{account}", tags=["Decisions"])

    @api.get("/tasks", response_model=models.Tasks, responses=problems(503))
    def list_tasks(account: Account, where: Where = "own", start: From = 0) -> Response:
        """What awaits an account: studies and other proposals to decide, seats and datasets that change
        hands, datasets that cannot be used as they are, what waits for others, and what runs. Of 25 consortia
        at a time, newest first; `from` is the position of the first. Nothing is stored of who asks."""
        return answer(body(queues(account, own=where == "own", start=start)))

    return api


def body(queue: Queue) -> models.Tasks:
    """A queue as JSON."""
    own, other = (queue.total, queue.others) if queue.own else (queue.others, queue.total)
    return models.Tasks(
        account=queue.account, tasks=list(map(_task, queue.tasks)), consortia=queue.shown,
        unread=queue.unread, total=own, strangers=other, block=queue.block, late=queue.late,
    )  # fmt: skip


def _task(one: Task) -> models.Task:
    budget = one.budget
    fits = models.Fits(run=budget.run, runs=budget.runs, left=budget.left, fit=budget.fit) if budget else None
    told = {name: getattr(one, name) for name in models.Task.model_fields}
    return models.Task(**{**told, "about": one.about or None, "missing": list(one.missing), "budget": fits})
