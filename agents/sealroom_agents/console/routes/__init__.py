# SPDX-License-Identifier: Apache-2.0
"""The REST interface under `/v1`, one module a subject. All of it is public to read; readers verify what they
are told."""

from __future__ import annotations

from fastapi import APIRouter

from sealroom_agents.console.identity import Identity
from sealroom_agents.console.queues import Queues
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.researchers import Askers
from sealroom_agents.console.routes import datasets as of_datasets
from sealroom_agents.console.routes import decisions as of_decisions
from sealroom_agents.console.routes import history as of_history
from sealroom_agents.console.routes import queue as of_queue
from sealroom_agents.console.routes import recipes as of_recipes
from sealroom_agents.console.routes import runs as of_runs
from sealroom_agents.console.routes import service as of_service
from sealroom_agents.console.routes import studies as of_studies
from sealroom_agents.console.routes.shared import Takers
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.submission import Submissions
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import Conditions

TAGS = [
    {"name": "Studies", "description": "Consortia, what they study, and what their owners decide."},
    {"name": "Decisions", "description": "What waits for owners, what they signed, and what it may cost."},
    {"name": "Recipes", "description": "The exact bytes that owners approve."},
    {"name": "Runs", "description": "Ask for a run, follow it, fetch what it gave."},
    {"name": "Console", "description": "The key that signs every answer, and whether the console works."},
]


def routers(
    store: Store,
    recipes: Recipes,
    studies: Studies,
    queues: Queues,
    submissions: Submissions,
    askers: Askers,
    conditions: Conditions,
    identity: Identity,
    *,
    version: str,
) -> list[APIRouter]:
    """All routes. `conditions`: what the console needs to be ready."""
    taken = Takers()
    return [
        of_studies.router(studies, taken),
        of_datasets.router(studies),
        of_history.router(studies, store),
        of_decisions.router(store, studies, taken),
        of_queue.router(queues),
        of_recipes.router(submissions, taken),
        of_runs.router(store, recipes, submissions, askers, taken),
        of_service.router(identity, studies, conditions, version=version),
    ]
