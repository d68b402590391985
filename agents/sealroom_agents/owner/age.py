# SPDX-License-Identifier: Apache-2.0
"""age: for whom a few bytes are encrypted, and who opens them. The one module that knows its library.

The format is that of age-encryption.org/v1, by `pyrage`, which binds rage (Rust). What is written here opens
with the command `age -d` too, and with every plugin that `age` finds on the path: tokens, smart cards, HSMs,
cloud KMS. Nothing that the library says is quoted: it may name what it read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.age_plugins import AtTerminal

MAX_RECIPIENT_CHARACTERS = 4096
MAX_ARMOURED_CHARACTERS = 16 * 1024
MAX_IDENTITY_BYTES = 64 * 1024
MAX_IDENTITIES = 64
LEAST_PASSPHRASE = 15
"""Characters, where a passphrase alone protects a key (NIST SP 800-63B-4, 3.1.1.2)."""
USUAL_WORK_FACTOR = 16
"""Logarithm of scrypt's cost, below which the library was misled by a busy machine."""
_TRIES = 4
_MEASUREMENTS = 40
_ARMOUR = "-----BEGIN AGE ENCRYPTED FILE-----"
_BINARY = b"age-encryption.org/v1\n"

Ask = Callable[[str], str]
"""Asks a person for the passphrase of what is named."""


@dataclass(frozen=True)
class Recipient:
    """For whom something is encrypted."""

    text: str
    """As its owner gives it away: `age1…`, `age1NAME1…` of a plugin, `ssh-ed25519 …`."""

    @property
    def short(self) -> str:
        """The same, short enough for a line, and long enough to tell two apart."""
        words = self.text.split()
        key = words[1] if len(words) > 1 else words[0]
        cut = key if len(key) <= 24 else f"{key[:12]}…{key[-8:]}"
        return f"{words[0]} {cut}" if len(words) > 1 else cut


def recipient(text: str) -> Recipient:
    """A recipient as it is typed. Raises `recipient-malformed`."""
    text = " ".join(text.split()[:2]) if text.startswith("ssh-") else text.strip()
    if len(text) <= MAX_RECIPIENT_CHARACTERS and text.isascii():
        if text.upper().startswith("AGE-SECRET-KEY-") or text.upper().startswith("AGE-PLUGIN-"):
            raise ToolError(
                Code.RECIPIENT_MALFORMED,
                "that is a private identity, and not the public recipient of one",
                "it stood on a command line, where others may have seen it: make a new one; "
                "age-keygen -y FILE prints the recipient",
            )
        _library_recipient(text, AtTerminal())
        return Recipient(text)
    raise _no_recipient()


def encrypt(content: bytes, *to: Recipient) -> str:
    """An armoured age file that each recipient opens. Raises `recipient-malformed`, `plugin-failed`."""
    import pyrage

    prepared = [_library_recipient(each.text, AtTerminal(), needs_plugin=True) for each in to]
    try:
        return pyrage.encrypt(content, prepared, armored=True).decode("ascii")
    except pyrage.EncryptError:
        raise _plugin_failed(", ".join(each.short for each in to)) from None


def encrypt_by_passphrase(content: bytes, passphrase: str) -> tuple[str, int]:
    """An armoured age file that a passphrase opens, and the logarithm of what scrypt costs for it.

    The library measures how much this machine can do in a second. Where it is busy, that is too little: it
    is tried again. Raises `passphrase-weak`.
    """
    import pyrage

    need_strong(passphrase)
    made: list[tuple[int, bytes]] = []
    for _ in range(_TRIES):
        found = pyrage.passphrase.encrypt(content, passphrase)
        made.append((_work_factor(found), found))
        if made[-1][0] >= USUAL_WORK_FACTOR:
            break
    factor, best = max(made)
    return _armoured(best), factor


def need_strong(passphrase: str) -> None:
    """Raise `passphrase-weak` for one that a machine finds soon."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ToolError(
            Code.PASSPHRASE_WEAK,
            f"the passphrase has fewer than {LEAST_PASSPHRASE} characters",
            "take six random words or more: whoever has the key's file can try as long as he likes",
        )


def opens(wrapped: str | bytes, identities: Sequence[Any]) -> bytes | None:
    """What an age file holds, or `None` when no identity opens it."""
    import pyrage

    if not identities:
        return None
    try:
        content = wrapped.encode("ascii") if isinstance(wrapped, str) else wrapped
        return pyrage.decrypt(content, identities)
    except (pyrage.DecryptError, UnicodeError):
        return None


def opens_by_passphrase(content: bytes, passphrase: str) -> bytes | None:
    """What an age file holds, or `None` when this is not its passphrase.

    A cost of more than some seconds is not tried: a hostile file could ask for years. The library measures
    anew, each time, what that is; what interrupts it while it measures makes the machine seem slow, so it is
    asked again. Raises `passphrase-costly`.
    """
    import pyrage

    for _ in range(_MEASUREMENTS):
        try:
            return pyrage.passphrase.decrypt(content, passphrase)
        except pyrage.DecryptError as error:
            if "Excessive work" not in str(error):
                return None
    raise ToolError(
        Code.PASSPHRASE_COSTLY,
        "to try the passphrase would take this machine too long",
        "where the file is your own, run it again when the machine has less to do",
    )


def identities(data: bytes, *, name: str, ask: Ask) -> list[Any]:
    """The identities of an identity file: lines of `AGE-SECRET-KEY-1…` and `AGE-PLUGIN-…`, a private SSH
    key, or an age file of such lines under a passphrase, as `age -p` writes it.

    Raises `identity-malformed`, `wrong-passphrase`, `passphrase-costly`, `plugin-failed`.
    """
    import pyrage

    if len(data) > MAX_IDENTITY_BYTES:
        raise _no_identity(name)
    if data.startswith((_BINARY, _ARMOUR.encode())):
        unlocked = opens_by_passphrase(data, ask(f"the identity {name}"))
        if unlocked is None:
            raise ToolError(Code.WRONG_PASSPHRASE, f"the passphrase does not open {name}", "nothing was done")
        data = unlocked
    if data.startswith(b"-----BEGIN "):
        try:
            return [pyrage.ssh.Identity.from_buffer(data)]
        except pyrage.IdentityError:
            raise _no_identity(name) from None
    try:
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
    except UnicodeError:
        raise _no_identity(name) from None
    found = list(_of_lines([line for line in lines if line and not line.startswith("#")], name))
    if not found or len(found) > MAX_IDENTITIES:
        raise _no_identity(name)
    return found


def _of_lines(lines: Iterable[str], name: str) -> Iterable[Any]:
    import pyrage

    for line in lines:
        try:
            if line.startswith("AGE-PLUGIN-"):
                identity = pyrage.plugin.Identity.from_str(line)
                try:
                    yield pyrage.plugin.IdentityPluginV1(identity.plugin(), [identity], AtTerminal())
                except pyrage.DecryptError:
                    raise _no_plugin(identity.plugin()) from None
            else:
                yield pyrage.x25519.Identity.from_str(line)
        except pyrage.IdentityError:
            raise _no_identity(name) from None


def _library_recipient(text: str, terminal: AtTerminal, *, needs_plugin: bool = False) -> Any:
    import pyrage

    if text.startswith("ssh-"):
        # Not ssh-rsa: its library opens in a time that depends on the key (RUSTSEC-2023-0071).
        kinds: tuple[Any, ...] = (pyrage.ssh,) if text.startswith("ssh-ed25519 ") else ()
    else:
        kinds = (pyrage.x25519, pyrage.tag, pyrage.tagpq)
    for kind in kinds:
        try:
            return kind.Recipient.from_str(text)
        except pyrage.RecipientError:
            continue
    try:
        found = pyrage.plugin.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise _no_recipient() from None
    if not needs_plugin:
        return found
    try:
        return pyrage.plugin.RecipientPluginV1(found.plugin(), [found], [], terminal)
    except pyrage.EncryptError:
        raise _no_plugin(found.plugin()) from None


def _work_factor(encrypted: bytes) -> int:
    found = re.match(rb"age-encryption\.org/v1\n-> scrypt \S+ (\d+)\n", encrypted)
    assert found is not None
    return int(found[1])


def _armoured(binary: bytes) -> str:
    from base64 import b64encode

    text = b64encode(binary).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([_ARMOUR, *lines, _ARMOUR.replace("BEGIN", "END"), ""])


def _no_recipient() -> ToolError:
    return ToolError(
        Code.RECIPIENT_MALFORMED,
        "that is no age recipient",
        "it is the public half, age1… or ssh-ed25519 …, and no RSA: age-keygen -y FILE prints it",
    )


def _no_identity(name: str) -> ToolError:
    return ToolError(
        Code.IDENTITY_MALFORMED,
        f"{name} is no identity file of age",
        "it has lines of AGE-SECRET-KEY-1… or AGE-PLUGIN-…, or is a private SSH key",
    )


def _no_plugin(plugin: str) -> ToolError:
    return ToolError(
        Code.PLUGIN_FAILED, f"there is no program age-plugin-{plugin} on the path", "install it, or set PATH"
    )


def _plugin_failed(what: str) -> ToolError:
    return ToolError(
        Code.PLUGIN_FAILED, f"the plugin did not encrypt for {what}", "try it alone: age -r RECIPIENT"
    )
