# SPDX-License-Identifier: Apache-2.0
"""Whether what the console answers is what its own OpenAPI says."""

from __future__ import annotations

import re
from typing import Any

import httpx
from fastapi.testclient import TestClient
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

MEDIA = ("application/json", "application/problem+json")


class Described:
    """The document, as something that answers are held against."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        resource = Resource(contents=document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:api", resource)
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations)
            for path, operations in document["paths"].items()
        ]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What the document says of a request; `None` for an address that it does not have."""
        for pattern, operations in self._paths:
            if pattern.fullmatch(path):
                return operations.get("get" if method == "HEAD" else method.lower())
        return None

    def check(self, answer: httpx.Response) -> None:
        """Status, kind, headers and body of an answer."""
        request = answer.request
        operation = self.operation(request.method, request.url.path)
        if operation is None:
            return
        where = f"{request.method} {request.url.path}: {answer.status_code}"
        said = operation["responses"].get(str(answer.status_code))
        assert said is not None, f"{where} is not described"
        for name, header in said.get("headers", {}).items():
            assert name in answer.headers or not header.get("required"), f"{where} lacks {name}"
        kind = answer.headers.get("content-type", "").partition(";")[0]
        content = said.get("content", {})
        assert kind in content if content else not kind, f"{where} is {kind}"
        if kind in MEDIA and request.method != "HEAD":
            answer.read()
            self.validate(content[kind]["schema"], answer.json())

    def validate(self, schema: dict[str, Any], body: Any) -> None:
        """A body against a schema of the document."""
        # Here, since it compiles grammars for three seconds, which each worker would wait for as it collects.
        from jsonschema import Draft202012Validator

        if "$ref" in schema:
            schema = {"$ref": "urn:api" + schema["$ref"]}
        Draft202012Validator(schema, registry=self._registry).validate(body)


def described(web: TestClient, document: dict[str, Any]) -> TestClient:
    """The same client, each of whose answers is held against the document."""
    web.event_hooks["response"].append(Described(document).check)
    return web
