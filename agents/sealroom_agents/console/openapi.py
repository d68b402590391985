# SPDX-License-Identifier: Apache-2.0
"""The interface's own description, OpenAPI 3.1: what FastAPI cannot know is put right here."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from sealroom_agents.console import models
from sealroom_agents.console.problems import MEDIA

REFS = "#/components/schemas/{model}"
BESIDE = (
    models.Problem,
    models.RunRequest,
    models.CancelRequest,
    models.CallRequest,
    models.SignatureRequest,
    models.RunEvent,
)
"""Bodies that routes read and write by themselves."""
SIGNATURE_HEADERS = {
    "Signature-Input": "What the signature covers, its time, the key's id and the nonce that was asked for.",
    "Signature": "Ed25519, by the key of `GET /v1/console` (RFC 9421).",
}
_DIGEST = {"Content-Digest": "SHA-256 of the body (RFC 9530), which the signature covers."}


def described(app: FastAPI) -> None:
    """Let an application describe itself so."""
    document = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _mend(document())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _mend(schema: dict[str, Any]) -> None:
    """FastAPI announces its own form of a validation error; here that is a problem like any other."""
    _, found = models_json_schema([(one, "validation") for one in BESIDE], ref_template=REFS)
    schemas: dict[str, Any] = schema["components"]["schemas"]
    for name, one in found["$defs"].items():
        schemas.setdefault(name, one)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schema["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token that the operator bound to a researcher's account.",
        }
    }
    for _, _, operation in operations(schema):
        answers = operation["responses"]
        if "HTTPValidationError" in json.dumps(answers.get("422", {})):
            del answers["422"]
        operation["operationId"] = operation["operationId"].partition("_v1_")[0]
        for answer in answers.values():
            # A stream's body has no end, so no digest; its events are signed one by one.
            whole = "text/event-stream" not in answer.get("content", {})
            said = SIGNATURE_HEADERS | (_DIGEST if whole else {})
            answer["headers"] = {
                name: {"description": text, "required": True, "schema": {"type": "string"}}
                for name, text in said.items()
            }
            if MEDIA in answer.get("content", {}) and "Retry-After" in answer["description"]:
                answer["headers"]["Retry-After"] = {
                    "description": "Seconds after which the same request may be taken.",
                    "schema": {"type": "integer"},
                }


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of all operations."""
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
