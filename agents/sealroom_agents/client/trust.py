# SPDX-License-Identifier: Apache-2.0
"""By which key a console's answers must be signed, and why that key is believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import from_hex, to_hex
from sealroom.errors import FormatError
from sealroom_agents.attestation import INTEL, TrustRoot
from sealroom_agents.attestation.console_identity import verify_console
from sealroom_agents.errors import ToolError

KEY_BYTES = 32


@dataclass(frozen=True, init=False)
class Pinned:
    """The operator said which key it is."""

    key: bytes
    """Ed25519 public key, 32 bytes; also given as text, 64 hex digits with `0x` or without."""

    def __init__(self, key: bytes | str) -> None:
        """Raises `ValueError` for another length."""
        read = bytes.fromhex(key.removeprefix("0x")) if isinstance(key, str) else key
        if len(read) != KEY_BYTES:
            raise ValueError(
                f"the key of a console is {KEY_BYTES} bytes, or 0x and {2 * KEY_BYTES} hex digits"
            )
        object.__setattr__(self, "key", read)


@dataclass(frozen=True)
class Attested:
    """A confidential VM that runs this app-compose holds the key."""

    compose_hash: bytes
    """SHA-256 of the console's app-compose, 32 bytes."""
    root: TrustRoot = field(default=INTEL)
    """Whose hardware it must be."""


@dataclass(frozen=True)
class Unverified:
    """Nothing says which key it is: answers are shown, and believed by nobody. Streams are not read."""


Trust = Pinned | Attested | Unverified


def shown_key(console: dict[str, Any]) -> bytes:
    """The key that `GET /v1/console` shows, of which nothing is known yet. Raises `ToolError`."""
    try:
        return from_hex(console.get("key"), 32)
    except FormatError as error:
        raise ToolError(
            Code.CONSOLE_UNREACHABLE, f"the console shows a key that is {error.message}"
        ) from error


def proven_key(console: dict[str, Any], trust: Attested, *, now: int) -> bytes:
    """The key that the attestation vouches for, of what `GET /v1/console` answered.

    Raises `ToolError` `console-key-unknown`, `AttestationError`.
    """
    attestation = console.get("attestation")
    if attestation is None:
        raise ToolError(
            Code.CONSOLE_KEY_UNKNOWN,
            "the console shows no attestation: it runs in no confidential VM",
            f"it shows the key {to_hex(shown_key(console))}; if its operator told you the same, pass --key",
        )
    facts = verify_console(attestation, trust=trust.root, now=now)
    if facts.compose_hash != trust.compose_hash:
        raise ToolError(
            Code.CONSOLE_KEY_UNKNOWN,
            f"the console's machine runs the app-compose {to_hex(facts.compose_hash)}",
            f"expected is {to_hex(trust.compose_hash)}",
        )
    if facts.key != shown_key(console):
        raise ToolError(
            Code.CONSOLE_KEY_UNKNOWN, "the attestation vouches for another key than the console's"
        )
    return facts.key
