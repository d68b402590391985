# SPDX-License-Identifier: Apache-2.0
"""The `/docs` page's content, read from our own OpenAPI: no script and no style of anyone else (WE-08)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code, Stage

MAX_TYPE_CHARACTERS = 160
STAGES = (
    Stage.FORMAT,
    Stage.RECIPE,
    Stage.CHAIN,
    Stage.RUNNER,
    Stage.CONSOLE,
    Stage.SERVER,
    Stage.FAILURE,
)
"""Where the codes arise that the console answers with."""


@dataclass(frozen=True)
class Row:
    """One field of a body, or one parameter."""

    name: str
    type: str
    description: str
    required: bool = False
    place: str = ""
    """Where a parameter stands: path, query, header."""


@dataclass(frozen=True)
class Answer:
    """One status that a route answers with."""

    status: str
    description: str
    model: str | None
    """Name of the body's schema."""
    type: str
    """Media type, where there is no schema."""


@dataclass(frozen=True)
class Route:
    """One route."""

    id: str
    tag: str
    """Its subject."""
    method: str
    path: str
    description: str
    parameters: list[Row]
    body: list[Row]
    answers: list[Answer]
    example: str


@dataclass(frozen=True)
class ReferencePage:
    """The whole page."""

    version: str
    routes: list[Route]
    schemas: list[tuple[str, list[Row]]]
    codes: list[Code]
    """Codes of refusals, to which the `type` of a problem leads."""


class Reference:
    """Reads OpenAPI once."""

    def __init__(self) -> None:
        self._page: ReferencePage | None = None

    def read(self, document: dict[str, Any]) -> ReferencePage:
        """The page's content."""
        if self._page is None:
            schemas = document.get("components", {}).get("schemas", {})
            self._page = ReferencePage(
                version=document["info"]["version"],
                routes=[
                    _route(path, method, operation, schemas)
                    for path, operations in document["paths"].items()
                    for method, operation in operations.items()
                ],
                schemas=[
                    (name, _rows(schema))
                    for name, schema in sorted(schemas.items())
                    if schema.get("type") == "object"
                ],
                codes=[code for code in Code if code.http is not None and code.stage in STAGES],
            )
        return self._page


def _route(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Route:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body and "$ref" in body:
        body = schemas[body["$ref"].rpartition("/")[2]]
    answers = []
    for status, answer in sorted(operation["responses"].items()):
        content = answer.get("content", {})
        media = next(iter(content), "")
        schema = content.get(media, {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2] or None
        answers.append(Answer(status, answer.get("description", ""), name, media or "–"))
    return Route(
        id=re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-"),
        tag=next(iter(operation.get("tags", [])), ""),
        method=method.upper(),
        path=path,
        description=operation.get("description") or operation.get("summary", ""),
        parameters=[
            Row(item["name"], _type(item.get("schema", {})), item.get("description", ""), place=item["in"])
            for item in operation.get("parameters", [])
        ],
        body=_rows(body) if body else [],
        answers=answers,
        example=_EXAMPLES.get((method, path), ""),
    )


def _rows(schema: dict[str, Any]) -> list[Row]:
    required = set(schema.get("required", []))
    return [
        Row(name, _type(part), part.get("description", ""), required=name in required)
        for name, part in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])[:MAX_TYPE_CHARACTERS]
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    if "pattern" in schema:
        return f"{kind} like {schema['pattern'].strip('^$')}"
    return kind


_EXAMPLES = {
    ("post", "/v1/runs"): (
        "curl -s $CONSOLE/v1/runs -H 'Content-Type: application/json' \\\n"
        '  -d \'{"compose": "\'$(base64 -w0 app-compose.json)\'", "owners": ["hospital-A"]}\'\n\n'
        '202 {"id": "0x7a…", "composeHash": "0x5e…", "consortium": "0xc0…", "state": "waiting",\n'
        '     "missing": [{"code": "approval-missing", "message": "hospital-B has not approved (1 of 2)",\n'
        '                  "owner": "hospital-B"}]}'
    ),
    ("get", "/v1/runs/{run_id}/events"): (
        "curl -sN $CONSOLE/v1/runs/$RUN/events\n\n"
        'id: 12\nevent: phase\ndata: {"id":12,"time":1760000000.4,"phase":"attesting","code":null, …}'
    ),
    ("get", "/v1/runs/{run_id}/envelope"): (
        "curl -s $CONSOLE/v1/runs/$RUN/envelope -o envelope.json\n"
        "sealroom verify envelope.json --pin pin.json"
    ),
    ("get", "/v1/runs/{run_id}/failure"): (
        "curl -s $CONSOLE/v1/runs/$RUN/failure -o failure.json\n"
        "sealroom explain-failure failure.json --key keys/hospital-A/report-key.secret"
    ),
    ("get", "/v1/recipes/{compose_hash}"): "curl -s $CONSOLE/v1/recipes/$HASH | sha256sum",
}
