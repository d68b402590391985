# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is the console's, to this request, and whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    MappingKeyResolver,
)
from http_message_signatures.algorithms import ED25519

from sealroom.codes import Code
from sealroom.encoding import from_base64, to_hex
from sealroom.errors import FormatError
from sealroom_agents.errors import ToolError
from sealroom_agents.signed_answers import EVENT_MARK, LABEL, STREAM, TAG, Chain, required

NONCE_BYTES = 16
MAX_EVENT_BYTES = 1024 * 1024
"""Largest event of a stream that is read."""
CLOCK = timedelta(days=36_500)
"""How far the clocks may differ: the nonce, and no clock, says that the answer is new."""


def new_nonce() -> str:
    """A nonce that was never asked for before, 32 hex digits."""
    return secrets.token_hex(NONCE_BYTES)


def verify_answer(answer: httpx.Response, body: bytes | None, *, key: bytes, nonce: str) -> bytes:
    """Check that the key of 32 bytes signed this answer to its request with this nonce; returns the
    signature. `body` holds the bytes as they came, and is `None` for a stream.

    Raises `ToolError` `answer-forged`.
    """
    keys = MappingKeyResolver(
        public_keys={to_hex(key): Ed25519PublicKey.from_public_bytes(key)}, private_keys={}
    )
    verifier = HTTPMessageVerifier(signature_algorithm=ED25519, key_resolver=keys)
    verifier.max_clock_skew = CLOCK
    covered = required(answer.headers, answer.request.headers, stream=body is None)
    try:
        (found,) = verifier.verify(
            answer, max_age=None, expect_tag=TAG, require_components=covered, body=body
        )
    except HTTPMessageSignaturesException as error:
        if "Unable to resolve" in str(error):
            raise forged("another key signed it than the one that was given: look at --key") from error
        raise forged(str(error)) from error
    except ValueError as error:
        raise forged("it has not one signature") from error
    if found.nonce != nonce:
        raise forged("its signature was made for another request")
    return _signature(answer.headers.get("signature", ""), found.label)


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    name: str
    id: str
    data: str


def verified_events(parts: Iterator[bytes], *, key: bytes, before: bytes) -> Iterator[Event]:
    """The events of a stream, each once its signature holds; `before` is the signature of the head.

    Raises `ToolError` `answer-forged`.
    """
    chain, kept = Chain(before), b""
    for part in parts:
        kept += part
        while b"\n\n" in kept:
            block, _, kept = kept.partition(b"\n\n")
            lines = block.lstrip(b"\n").split(b"\n")
            if lines[-1].startswith(EVENT_MARK):
                said = b"".join(line + b"\n" for line in lines[:-1])
                if not chain.verify(key, said, _event_signature(lines[-1])):
                    raise forged("an event of the stream was changed, left out or moved")
                yield _event(lines[:-1])
            elif not all(line.startswith(b":") for line in lines):
                raise forged("an event of the stream has no signature")
        if len(kept) > MAX_EVENT_BYTES:
            raise forged("an event of the stream is too long")


def is_stream(answer: httpx.Response) -> bool:
    """Whether its body has no end."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    return kind == STREAM and answer.request.method != "HEAD"


def forged(why: str) -> ToolError:
    """Nothing of such an answer may be used."""
    return ToolError(
        Code.ANSWER_FORGED,
        f"the answer is not the console's: {why}",
        "somebody stands between you and the console, or its key has changed; ask its operator",
    )


def _signature(header: str, label: str) -> bytes:
    try:
        name, _, value = header.partition("=")
        if name.strip() != label or label != LABEL:
            raise forged("its signature has another label")
        return from_base64(value.strip().removeprefix(":").removesuffix(":"))
    except FormatError as error:
        raise forged(error.message) from error


def _event_signature(line: bytes) -> bytes:
    try:
        return from_base64(line.removeprefix(EVENT_MARK).decode("ascii", "replace"))
    except FormatError as error:
        raise forged(error.message) from error


def _event(lines: list[bytes]) -> Event:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        found.setdefault(name, []).append(value.removeprefix(" "))
    return Event(
        name=found.get("event", ["message"])[-1],
        id=found.get("id", [""])[-1],
        data="\n".join(found.get("data", [])),
    )
