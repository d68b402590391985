# SPDX-License-Identifier: Apache-2.0
"""How the console signs what it answers, so that nobody between it and whoever asks can change a byte.

HTTP Message Signatures (RFC 9421) with Ed25519, over the status, the digest of the body (RFC 9530) and the
request: its method, path and query, the digest of its own body, and the headers that decide what is answered.
Whoever asks may send a nonce in `Accept-Signature`, which the signature repeats: then no older answer takes
the place of a new one. An event stream has no digest. Each of its events is signed together with the
signature before it, so none can be changed, left out or moved.

Here stands what both sides must agree on. The console signs; `sealroom_agents.client` verifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import http_sf
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealroom.encoding import length_prefixed, lp, sha256, sha512, to_base64, to_hex

LABEL = "sealroom"
"""Label of our signature among those of a message."""
TAG = "sealroom-console"
"""What says, inside the signature, for what it was made."""
ALGORITHM = "ed25519"
KEY_BYTES = 32
"""Size of the public key. As `0x` hex it is the key's id too."""
ALWAYS = ('"@status"', '"@method";req', '"@path";req', '"@query";req')
"""Components that every signature covers."""
DIGEST = '"content-digest"'
"""Covered by that of every answer but a stream's."""
WHERE_THERE = ("content-type", "etag", "retry-after")
"""Headers that are covered where an answer has them."""
WHERE_ASKED = ("content-digest", "idempotency-key", "if-none-match", "last-event-id")
"""Headers of the request that are covered where it has them."""
STREAM = "text/event-stream"
MAX_ASKED_BYTES = 2048
"""Longest `Accept-Signature` that is read."""
EVENT_MARK = b": signature="
"""Begins the line, a comment to other readers of streams, that carries an event's signature."""
_NONCE = re.compile(r"[A-Za-z0-9+/=_-]{1,128}")
_EVENT = b"sealroom/v1/console-event"


def content_digest(body: bytes) -> str:
    """`Content-Digest` of a body."""
    return f"sha-256=:{to_base64(sha256(body))}:"


def report_data(*, chain_id: int, key: bytes) -> bytes:
    """What the console's quote binds, 64 bytes: the key of its answers and the chain that it shows."""
    return sha512(lp("sealroom/v1/console", chain_id, key))


def ask(nonce: str) -> str:
    """The `Accept-Signature` of who wants an answer signed with this nonce."""
    return f'{LABEL}=({" ".join((*ALWAYS, DIGEST))});created;keyid;nonce="{nonce}";tag="{TAG}"'


def nonce_asked(accept_signature: str) -> str | None:
    """The nonce that an `Accept-Signature` asks for; `None` where there is none that can be read."""
    if not accept_signature or len(accept_signature) > MAX_ASKED_BYTES:
        return None
    try:
        asked = http_sf.parse(accept_signature.encode(), tltype="dictionary")
    except ValueError:
        return None
    wanted = asked.get(LABEL) if isinstance(asked, Mapping) else None
    nonce = wanted[1].get("nonce") if isinstance(wanted, tuple) else None
    return nonce if isinstance(nonce, str) and _NONCE.fullmatch(nonce) else None


@dataclass(frozen=True)
class Asked:
    """The request that is answered, as its signature names it."""

    method: str
    path: str
    """As it was sent, with its percent signs."""
    query: str
    """Without the question mark."""
    headers: Mapping[str, str]
    """Those of `WHERE_ASKED` that it has."""
    nonce: str | None


class AnswerKey:
    """The key that signs answers. Its repr does not show it."""

    def __init__(self, private: bytes) -> None:
        """private: 32 bytes, Ed25519's seed."""
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        """Public key, 32 bytes."""
        self.id: str = to_hex(self.public)
        """The same as text: the `keyid` of signatures."""

    def __repr__(self) -> str:
        return f"AnswerKey({self.id})"

    def __reduce__(self) -> str:
        raise TypeError("an AnswerKey cannot be pickled")

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(data)

    def headers(
        self, asked: Asked, status: int, headers: Mapping[str, str], body: bytes | None, *, created: int
    ) -> list[tuple[str, str]]:
        """What an answer gets beside its own headers, whose names are lower case. `body` is `None` for a
        stream. `created` is in unix seconds."""
        components: list[tuple[str, str]] = [
            *zip(ALWAYS, (str(status), asked.method, asked.path or "/", f"?{asked.query}"), strict=True),
            *((f'"{name}"', headers[name].strip()) for name in WHERE_THERE if name in headers),
        ]
        added: list[tuple[str, str]] = []
        if body is not None:
            added.append(("content-digest", content_digest(body)))
            components.append((DIGEST, added[0][1]))
        components += [(f'"{name}";req', value) for name, value in asked.headers.items()]
        nonce = f';nonce="{asked.nonce}"' if asked.nonce else ""
        parameters = (
            f"({' '.join(name for name, _ in components)});created={created};"
            f'keyid="{self.id}";alg="{ALGORITHM}"{nonce};tag="{TAG}"'
        )
        lines = [f"{name}: {value}" for name, value in components]
        base = "\n".join([*lines, f'"@signature-params": {parameters}'])
        signature = to_base64(self.sign(base.encode()))
        return [
            *added,
            ("signature-input", f"{LABEL}={parameters}"),
            ("signature", f"{LABEL}=:{signature}:"),
        ]


@dataclass
class Chain:
    """Signatures of a stream's events, each over the one before it, the first over that of the head."""

    before: bytes
    """The signature before, 64 bytes."""
    verified: int = field(default=0)
    """Events that were verified."""

    def signed(self, key: AnswerKey, event: bytes) -> bytes:
        """An event's lines, each with its line feed, and the line with the signature over them."""
        self.before = key.sign(self._said(event))
        return event + EVENT_MARK + to_base64(self.before).encode() + b"\n"

    def verify(self, key: bytes, event: bytes, signature: bytes) -> bool:
        """Whether the key of 32 bytes signed these lines as the next ones."""
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, self._said(event))
        except InvalidSignature:
            return False
        self.before, self.verified = signature, self.verified + 1
        return True

    def _said(self, event: bytes) -> bytes:
        return length_prefixed(_EVENT, self.before, event)


def required(answered: Iterable[str], asked: Iterable[str], *, stream: bool) -> list[str]:
    """Components that the signature of an answer must cover, by the names of its headers and of those of the
    request."""
    there, sent = {name.lower() for name in answered}, {name.lower() for name in asked}
    found = [*ALWAYS, *(f'"{name}"' for name in WHERE_THERE if name in there)]
    found += [] if stream else [DIGEST]
    return [*found, *(f'"{name}";req' for name in WHERE_ASKED if name in sent)]
