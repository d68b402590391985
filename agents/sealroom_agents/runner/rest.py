# SPDX-License-Identifier: Apache-2.0
"""Asking a VMM or a cloud: JSON over HTTP, over TCP or a unix socket, within bounds.

Each exchange has one deadline, from the first look-up of a name to the last byte, and a most of bytes; no
redirect, proxy or content encoding is followed. A token is sent as a header and shown nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.errors import ConfigurationError, RunnerError
from sealroom_agents.exchange import exchange

MAX_ANSWER_BYTES = 1024 * 1024
"""Largest answer that is read."""
UNIX = "unix:"
"""Begin of an address that is a path."""


class Answer(BaseModel):
    """Base of what is read of an answer: these members, of these very types. A newer host may add others."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    def error(self) -> str:
        """The text that the other side gave as the reason, or nothing."""
        try:
            found = strict_json(self.body, MAX_ANSWER_BYTES, allow_floats=True).get("error")
        except FormatError:
            return ""
        return found if isinstance(found, str) else ""


class Server:
    """One VMM or cloud. Thread safe."""

    def __init__(self, address: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
        """`address`: an http(s) URL, or `unix:` and a path. Raises `ConfigurationError`."""
        self._headers = {"User-Agent": "sealroom", **headers}
        self._timeout_s = timeout_s
        self._socket = Path(address.removeprefix(UNIX)) if address.startswith(UNIX) else None
        self._base = "http://localhost" if self._socket is not None else address.rstrip("/")
        parts = urlsplit(self._base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ConfigurationError(
                Code.CONFIGURATION, "the host's address is neither an http(s) URL nor unix:PATH"
            )
        if headers and self._socket is None and parts.scheme == "http" and not _loopback(parts.hostname):
            raise ConfigurationError(
                Code.CONFIGURATION,
                f"the token would go in clear to {parts.hostname}",
                "use https, a unix socket, or an address of this machine",
            )

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One exchange. headers: more of them. Raises `RunnerError` `host-unreachable` or `host-answer`."""
        try:
            answer = exchange(
                method,
                self._base + path,
                timeout_s=self._timeout_s,
                limit=MAX_ANSWER_BYTES,
                headers=self._headers
                | ({} if body is None else {"Content-Type": "application/json"})
                | dict(headers or {}),
                content=None if body is None else json.dumps(body).encode(),
                socket=self._socket,
            )
        except TimeoutError:
            raise RunnerError(
                Code.HOST_UNREACHABLE, f"no answer to {path} within {self._timeout_s:g} s"
            ) from None
        except httpx.HTTPError as error:
            raise RunnerError(Code.HOST_UNREACHABLE, f"no answer to {path}: {type(error).__name__}") from None
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise RunnerError(
                Code.HOST_ANSWER, f"the answer to {path} is larger than {MAX_ANSWER_BYTES} bytes"
            )
        return Reply(answer.status, answer.body)


def parsed(model: type[A], reply: Reply, what: str) -> A:
    """An answer, strictly read. Raises `RunnerError` `host-answer`."""
    try:
        return model.model_validate(strict_json(reply.body, MAX_ANSWER_BYTES, allow_floats=True))
    except FormatError as error:
        raise RunnerError(
            Code.HOST_ANSWER, f"the answer to {what} is no JSON object: {error.message}"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise RunnerError(Code.HOST_ANSWER, f"the answer to {what} has no usable {at[:80]}") from None


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
