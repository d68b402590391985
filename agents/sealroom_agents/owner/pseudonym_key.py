# SPDX-License-Identifier: Apache-2.0
"""The key that the owners of a study make pseudonyms with: made by one of them, and handed to the others.

Its file is a line for whoever has it, or an age file that each owner opens with an identity of its own, which
may be sent openly. Owners compare its twelve words, which say nothing of it.
Spec: `enclave/spec/pseudonyms.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import age
from sealroom_agents.owner.prepare.pseudonyms import fingerprint
from sealroom_agents.owner.secret_line import parse_secret
from sealroom_agents.owner.secret_source import SecretSource
from sealroom_agents.twelve_words import twelve_words

MAX_BYTES = 64 * 1024
"""Longest file of a key, wrapped for many."""
HINT = "one owner of the study makes it for all: sealroom pseudonyms new"
_WORD = "sealroom-pseudonym-key-1"
_AGE = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")


def text(key: Secret) -> bytes:
    """The text of a key: what a plain file holds, and what an age file is around."""
    note = "# pseudonym key: for the owners of one study, and for nobody else"
    return f"{note}\n{_WORD} {to_hex(key.reveal())}\n".encode("ascii")


def wrapped(key: Secret, recipients: Sequence[age.Recipient]) -> bytes:
    """An armoured age file that each of them opens. Raises `recipient-malformed`, `plugin-failed`."""
    return age.encrypt(text(key), *recipients).encode("ascii")


def read(source: SecretSource, identities: Callable[[], Sequence[Any]]) -> Secret:
    """A key, plain or in an age file, which others may read; `identities` are asked for where it is one.

    Raises `key-exposed` for a plain one that others can read, `identity-needed`, `identity-does-not-open`,
    `key-malformed`, and what `SecretSource.read` raises.
    """
    exposed: list[str] = []
    content = source.read(MAX_BYTES, on_exposed=exposed.append)
    if content.startswith(_AGE):
        held = identities()
        if not held:
            raise ToolError(
                Code.IDENTITY_NEEDED, f"{source.name} is wrapped for owners", "name yours: --identity FILE"
            )
        opened = age.opens(content, held)
        if opened is None:
            raise ToolError(
                Code.IDENTITY_DOES_NOT_OPEN,
                f"nothing that was given opens {source.name}",
                "was it wrapped for you? its maker names recipients with --recipient",
            )
        content = opened
    elif exposed:
        raise ToolError(Code.KEY_EXPOSED, exposed[0])
    return parse_secret(content, _WORD, source=source.name, what="pseudonym key", hint=HINT)


def words(key: Secret) -> str:
    """The twelve words by which owners compare a key."""
    return " ".join(twelve_words(fingerprint(key)))


def need_named(key: Secret, named: str | None) -> None:
    """Raise `pseudonym-key` where a declared file names another key than this: no id would meet another's."""
    mine = words(key)
    if named is not None and named != mine:
        raise ToolError(
            Code.PSEUDONYM_KEY,
            f"the key is another than the declared file names: its words are {mine}",
            f"take the key of the words {named}, or ask the other owners which one counts",
        )
