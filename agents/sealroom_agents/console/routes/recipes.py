# SPDX-License-Identifier: Apache-2.0
"""`/v1/recipes`: the exact bytes that owners approve."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sealroom.recipe import parse
from sealroom_agents.console import models
from sealroom_agents.console.bodies import recipe_body
from sealroom_agents.console.limits import Rate
from sealroom_agents.console.routes.shared import (
    FILE,
    NOT_MODIFIED,
    RecipeHash,
    Takers,
    answer,
    client_of,
    gives,
    immutable,
    problems,
    require_json,
)
from sealroom_agents.console.submission import Submissions

RECIPES_EACH, RECIPES_WITHIN_S = 60, 600.0
"""Recipes that one client may hand in, in so many seconds."""


def router(submissions: Submissions, taken: Takers) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1", tags=["Recipes"])
    rate = Rate(RECIPES_EACH, RECIPES_WITHIN_S, what="recipes")

    @api.get(
        "/recipes/{compose_hash}",
        response_class=Response,
        responses=gives("application/json", FILE) | NOT_MODIFIED | problems(404, 503),
    )
    def read_recipe(request: Request, compose_hash: RecipeHash) -> Response:
        """The exact bytes of a recipe: their SHA-256 is the compose hash."""
        return immutable(request, compose_hash, submissions.recipe(compose_hash))

    @api.put(
        "/recipes/{compose_hash}",
        response_model=models.RecipeKept,
        responses=problems(408, 413, 415, 422, 429, 503)
        | {201: {"model": models.RecipeKept, "description": "It was not known before."}},
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": FILE}}}},
    )
    async def keep_recipe(request: Request, compose_hash: RecipeHash) -> Response:
        """Hand in a recipe, so that runs can name it by its hash. The body is the file app-compose.json as it
        is. The same recipe may be handed in again; one that neither a run nor a study that waits or is live
        names is forgotten after a week, or sooner where there are a thousand newer ones."""
        rate.take(client_of(request))
        require_json(request)
        data = await request.body()
        recipe, new = await taken(submissions.keep, compose_hash, data)
        body = models.RecipeKept(compose_hash=compose_hash, name=recipe.name, size=len(data))
        return answer(body, status=201 if new else 200)

    @api.get("/recipes/{compose_hash}/content", response_model=models.Recipe, responses=problems(404, 422))
    def read_content(compose_hash: RecipeHash) -> Response:
        """What a recipe promises, reads and computes. The compiled SQL is this server's word: nothing is
        signed for it, and `sealroom relation` compiles it anew from the recipe's bytes."""
        return answer(recipe_body(parse(submissions.recipe(compose_hash))))

    return api
