# SPDX-License-Identifier: Apache-2.0
"""What the routes share: how they document themselves, read a body, and answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ValidationError

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents import clients
from sealroom_agents.console.answers import names
from sealroom_agents.console.problems import MEDIA
from sealroom_agents.errors import RequestError

MAX_TAKEN = 8
"""Runs, recipes and calls that are judged at once; more wait."""
EXAMPLE_HASH = "0x" + "5e" * 32
EXAMPLE_ADDRESS = "0xC0C0c0c0C0C0c0c0c0C0c0C0C0C0C0C0C0C0c0c0"

Model = TypeVar("Model", bound=BaseModel)
Taken = TypeVar("Taken")

_HASH = r"^0x[0-9a-f]{64}$"
RunId = Annotated[str, Path(pattern=_HASH, description="Run id.", examples=[EXAMPLE_HASH])]
Digest = Annotated[
    str, Path(pattern=_HASH, description="SHA-256 of the envelope's bytes.", examples=[EXAMPLE_HASH])
]
RecipeHash = Annotated[str, Path(pattern=_HASH, description="Compose hash.", examples=[EXAMPLE_HASH])]
StudyId = Annotated[str, Path(pattern=_HASH, description="Id of the study.", examples=[EXAMPLE_HASH])]
ConsortiumAddress = Annotated[
    str,
    Path(
        pattern=r"^0x[0-9a-fA-F]{40}$",
        description="Address of the consortium, in lower case or with the checksum of EIP-55.",
        examples=[EXAMPLE_ADDRESS],
    ),
]
From = Annotated[
    int, Query(alias="from", ge=0, le=1_000_000, description="Position to begin at.", examples=[0])
]

_SAYS = {
    400: "The request is not what it must be.",
    401: "It must say who asks.",
    403: "Who asks may not.",
    404: "Not found.",
    408: "The body took too long to arrive.",
    409: "It contradicts something that exists.",
    413: "The body is too large.",
    415: "The body is not plain application/json.",
    421: "The console does not answer under this name.",
    422: "It breaks a rule; the code names it.",
    429: "Too many at once: `Retry-After` says when.",
    500: "The console met a fault of its own.",
    503: "The chain, or what is kept here, cannot be read now: `Retry-After` says when.",
}
ANY = (400, 421, 500)
"""Refusals that every route may give."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a route documents."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _SAYS[status], "content": {MEDIA: {"schema": schema}}}
        for status in sorted({*statuses, *ANY})
    }


def gives(media: str, schema: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """A route whose answer is no model."""
    return {200: {"description": "As described.", "content": {media: {"schema": schema or {}}}}}


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "`If-None-Match` names these bytes."}}
FILE = {"type": "object", "description": "The file, byte by byte as it was made."}


def body_of(model: type[BaseModel], **examples: Any) -> dict[str, Any]:
    """OpenAPI of a body that the route reads by itself; `app` puts the schema among the others."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


class Takers:
    """What asks nodes and parses what strangers send has few threads of its own: readers keep theirs."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_TAKEN, thread_name_prefix="takes")

    async def __call__(self, work: Callable[..., Taken], *arguments: Any) -> Taken:
        """The result of some work."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def answer(body: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A body as JSON, made once: as its model says, which OpenAPI shows."""
    text = body.model_dump_json(by_alias=True)
    return Response(text, status_code=status, media_type="application/json", headers=headers)


def as_json(text: str | bytes) -> Response:
    """An answer of this JSON."""
    return Response(text, media_type="application/json")


def immutable(request: Request, digest: str, data: bytes) -> Response:
    """Bytes that are named by their digest: whoever has them need not ask again."""
    tag = f'"{digest[2:]}"'
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": tag}
    if names(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/json", headers=headers)


def require_json(request: Request) -> None:
    """Raises `RequestError`: a form or a plain-text fetch of another site cannot set this type without asking
    first (WE-05)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(Code.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")


def read(model: type[Model], request: Request, body: bytes, limit: int) -> Model:
    """A strict body. Raises `RequestError`; never repeats what was sent."""
    require_json(request)
    try:
        return model.model_validate(strict_json(body, limit))
    except FormatError as error:
        raise RequestError(Code.MALFORMED, f"the body is {error.message}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise RequestError(Code.MALFORMED, f"{where}: {first['msg'][:120]}", field=where or None) from error


def client_of(request: Request) -> str:
    """Whose request it is, as far as the connection says."""
    return clients.client_of(request.client.host if request.client else None)
