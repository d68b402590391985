# SPDX-License-Identifier: Apache-2.0
"""One console over HTTP, whose answers are verified before anybody sees them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx

from sealroom.codes import Code
from sealroom_agents.client.trust import Attested, Pinned, Trust, Unverified, proven_key, shown_key
from sealroom_agents.client.verifying import Event, is_stream, new_nonce, verified_events, verify_answer
from sealroom_agents.errors import ToolError
from sealroom_agents.signed_answers import ask, content_digest

TIMEOUT_S = 30.0
"""How long the console may take to answer, or to say that it lives, seconds."""
MAX_ANSWER_BYTES = 64 * 2**20
"""Largest answer that is read."""
CONSOLE = "/v1/console"


@dataclass(frozen=True)
class Answer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the console did what it was asked."""
        return self.status < 400

    def json(self) -> Any:
        """The body. Raises `ToolError` `console-unreachable` where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ToolError(Code.CONSOLE_UNREACHABLE, "the console answers no JSON") from error

    def problem(self) -> ToolError:
        """The refusal that it is."""
        try:
            told = json.loads(self.body)
            return ToolError(Code.parse(str(told["code"])), str(told["detail"]), told.get("hint"))
        except (ValueError, KeyError, TypeError):
            return ToolError(Code.CONSOLE_UNREACHABLE, f"the console answers with status {self.status}")


class Connection:
    """Sends requests and verifies what comes back. Close it, or use it in a `with`."""

    def __init__(
        self,
        url: str,
        trust: Trust,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """url: the console's. trust: by which key its answers must be signed. token: an API token.
        transport: what carries requests, in place of the network. Raises `ToolError` `token-in-clear` for a
        token over plain http to another machine, `console-unreachable` for what is no URL."""
        self.url = url.rstrip("/")
        self._trust = trust
        self._key = trust.key if isinstance(trust, Pinned) else None
        headers = {"Accept-Encoding": "identity"}
        if token is not None:
            _require_private(self.url)
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=timeout_s,
                transport=transport,
                # A proxy of the environment would read the token that stays on this machine otherwise.
                trust_env=token is None or self.url.lower().startswith("https:"),
            )
        except httpx.InvalidURL as error:
            raise ToolError(Code.CONSOLE_UNREACHABLE, f"{url} is no URL of a console: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    @property
    def key(self) -> bytes:
        """The key by which answers must be signed, 32 bytes. Raises as `proven_key` does, and `ToolError`
        `console-key-unknown` where nothing says which it is."""
        if self._key is None:
            if not isinstance(self._trust, Attested):
                raise ToolError(
                    Code.CONSOLE_KEY_UNKNOWN,
                    "nothing says by which key the console's answers must be signed",
                    "pass the key that its operator tells you",
                )
            nonce = new_nonce()
            with self._sent("GET", CONSOLE, None, {}, nonce) as answer:
                body = _whole(answer)
            console = Answer(answer.status_code, answer.headers, body)
            if not console.ok:
                raise console.problem()
            told = console.json()
            if not isinstance(told, dict):
                raise ToolError(Code.CONSOLE_UNREACHABLE, "the console does not say who it is")
            verify_answer(answer, body, key=shown_key(told), nonce=nonce)
            self._key = proven_key(told, self._trust, now=int(time.time()))
        return self._key

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, and its answer, which may be a refusal; it is verified unless the trust is
        `Unverified`. A body is JSON.

        Raises `ToolError`: `answer-forged`, `console-unreachable`, and those of `key`.
        """
        key, nonce = None if isinstance(self._trust, Unverified) else self.key, new_nonce()
        with self._sent(method, path, body, headers or {}, nonce) as answer:
            if is_stream(answer):
                raise ToolError(Code.CONSOLE_UNREACHABLE, f"{path} is a stream, which `events` reads")
            data = _whole(answer)
        if key is not None:
            verify_answer(answer, data, key=key, nonce=nonce)
        return Answer(answer.status_code, answer.headers, data)

    def events(self, path: str, *, after: str = "") -> Iterator[Event]:
        """The verified events of a stream behind the one with the id `after`, until it ends or breaks.

        Raises `ToolError` as `call` does, and the console's refusal.
        """
        key, nonce = self.key, new_nonce()
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with self._sent("GET", path, None, headers, nonce) as answer:
            if not is_stream(answer):
                data = _whole(answer)
                verify_answer(answer, data, key=key, nonce=nonce)
                refusal = Answer(answer.status_code, answer.headers, data)
                raise refusal.problem()
            before = verify_answer(answer, None, key=key, nonce=nonce)
            yield from verified_events(_parts(answer), key=key, before=before)

    @contextmanager
    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], nonce: str
    ) -> Iterator[httpx.Response]:
        if not path.startswith("/"):
            raise ToolError(
                Code.CONSOLE_UNREACHABLE, f"{path[:80]!r} is no path of the console, such as /v1/runs"
            )
        said = {"Accept-Signature": ask(nonce), **headers}
        if body is not None:
            said |= {"Content-Type": "application/json", "Content-Digest": content_digest(body)}
        try:
            with self._http.stream(method.upper(), path, content=body, headers=said) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolError(
                Code.CONSOLE_UNREACHABLE,
                f"the console at {self.url} does not answer: {type(error).__name__}",
                "is it running?",
            ) from error


def _require_private(url: str) -> None:
    """Raises `ToolError` `token-in-clear` where others could read what is sent there."""
    try:
        asked = httpx.URL(url)
    except httpx.InvalidURL:
        return  # which the client says itself
    with suppress(ValueError):
        if ip_address(asked.host).is_loopback:
            return
    if asked.scheme != "https" and asked.host != "localhost":
        raise ToolError(
            Code.TOKEN_IN_CLEAR,
            f"{url} is not https: whoever is on the way could read the API token, and ask for runs with it",
            "reach the console by https, or sign the request with a key",
        )


def _parts(answer: httpx.Response) -> Iterator[bytes]:
    yield from answer.iter_raw()


def _whole(answer: httpx.Response) -> bytes:
    """The body as it came. Raises `ToolError` for one that is too long."""
    data = bytearray()
    for part in _parts(answer):
        data += part
        if len(data) > MAX_ANSWER_BYTES:
            raise ToolError(
                Code.CONSOLE_UNREACHABLE, f"the console answers more than {MAX_ANSWER_BYTES} bytes"
            )
    return bytes(data)
