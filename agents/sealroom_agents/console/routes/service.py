# SPDX-License-Identifier: Apache-2.0
"""The console itself: its key and what vouches for it, and whether it can do its work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from sealroom_agents.console import models
from sealroom_agents.console.identity import Identity
from sealroom_agents.console.routes.shared import answer, problems
from sealroom_agents.console.studies import Studies
from sealroom_agents.telemetry.conditions import Conditions


def router(identity: Identity, studies: Studies, conditions: Conditions, *, version: str) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1", tags=["Console"])

    @api.get("/console", response_model=models.Console, responses=problems(503))
    def read_console() -> Response:
        """The key that signs every answer, and what vouches for it. Where the console runs in a confidential
        VM, that is a quote whose report data binds the key."""
        progress = studies.progress()
        return answer(
            models.Console(
                version=version,
                chain_id=progress.chain_id if progress else None,
                factory=studies.factory,
                key=identity.key.id,
                algorithm="ed25519",
                attestation=identity.attestation(),
            )
        )

    @api.get("/healthz", response_model=models.Health, responses=problems())
    def healthz() -> Response:
        """Whether this process lives."""
        return answer(models.Health(status="ok"))

    @api.get(
        "/readyz",
        response_model=models.Readiness,
        responses=problems() | {503: {"model": models.Readiness, "description": "Something is lacking."}},
    )
    def readyz() -> Response:
        """Whether it can do its work, and what it lacks: status 503."""
        status, body = conditions.answer()
        return JSONResponse(body, status_code=status)

    return api
