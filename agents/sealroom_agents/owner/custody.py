# SPDX-License-Identifier: Apache-2.0
"""A data key in the custody of several recipients: wrapped for each, opened by any one of them.

Each way of opening is tried once, and what is opened is verified before it is used: anybody can encrypt to a
recipient, so that a key which opens proves nothing by itself (CE-12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sealroom.codes import Code
from sealroom.keys import Secret
from sealroom.sealed import Header
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import age, data_key
from sealroom_agents.owner.key_file import MAX_RECIPIENTS, PASSPHRASE, KeyFile, Slot

_PASSPHRASE = "the passphrase"
"""What messages call it."""


@dataclass(frozen=True)
class Party:
    """One who shall be able to open a key: a recipient, or whoever knows a passphrase."""

    name: str
    """What its owner calls it."""
    recipient: age.Recipient | None
    """`None` for a passphrase."""
    passphrase: str = field(default="", repr=False)
    """The passphrase."""


@dataclass(frozen=True)
class Opened:
    """A wrapped key that was opened, and verified."""

    key: Secret
    """The data key; whoever has it wipes it."""
    by: tuple[str, ...]
    """Names of the recipients that opened it: one, or all that can when all were tried."""
    refused: tuple[str, ...] = ()
    """Names of the recipients whose copy was tried and did not open."""
    idle: tuple[str, ...] = ()
    """When all were tried: what of that which was given opens no copy at all."""


@dataclass(frozen=True)
class Openers:
    """What a person has to open a key with."""

    identities: Mapping[str, Sequence[Any]] = field(default_factory=dict, repr=False)
    """Identities of age, by the file that they are in."""
    passphrase: Callable[[], str] | None = field(default=None, repr=False)
    """Gives the passphrase; asked at most once, and only where a recipient is one."""
    passphrase_named: bool = False
    """An option named it for the key: none of the identities needed it."""
    passphrase_spent: bool = False
    """An option named it, and it opened an identity: it need not open a copy too."""


def wrap(key: Secret, party: Party, *, now: int, note: str) -> tuple[Slot, int | None]:
    """The key for one recipient; of a passphrase, with the logarithm of what scrypt costs.

    Raises `recipient-malformed`, `plugin-failed`, `passphrase-weak`.
    """
    content = data_key.text(key, note=note)
    if party.recipient is not None:
        wrapped, factor = age.encrypt(content, party.recipient), None
        return Slot(party.name, party.recipient.text, now, wrapped), factor
    wrapped, factor = age.encrypt_by_passphrase(content, party.passphrase)
    return Slot(party.name, PASSPHRASE, now, wrapped), factor


def open_key(file: KeyFile, openers: Openers, *, name: str, all_of_them: bool = False) -> Opened:
    """Open a wrapped key, with the first recipient that does, or try them all.

    Raises `identity-needed`, `identity-does-not-open`, `key-file-altered`, `passphrase-costly`.
    """
    identities = [one for held in openers.identities.values() for one in held]
    # Where all are tried, each file is tried alone: it is told which of them opens nothing.
    ways = openers.identities if all_of_them else {"": identities}
    by_passphrase = (
        any(slot.recipient == PASSPHRASE for slot in file.slots) and openers.passphrase is not None
    )
    if not identities and not by_passphrase:
        raise ToolError(
            Code.IDENTITY_NEEDED,
            f"{name} is wrapped for {', '.join(f'{slot.name} ({slot.short})' for slot in file.slots)}",
            "name the identity of one of them: --identity FILE, or --passphrase-file FILE",
        )
    passphrase: str | None = None
    key: Secret | None = None
    by: list[str] = []
    refused: list[str] = []
    useful: set[str] = set()
    # Identities first: a person is asked for a passphrase only where it is needed.
    for slot in sorted(file.slots, key=lambda each: each.recipient == PASSPHRASE):
        if slot.recipient == PASSPHRASE:
            if openers.passphrase is None:
                continue
            passphrase = openers.passphrase() if passphrase is None else passphrase
            tried = {_PASSPHRASE: age.opens_by_passphrase(slot.wrapped.encode("ascii"), passphrase)}
        elif identities:
            tried = {way: age.opens(slot.wrapped, held) for way, held in ways.items()}
        else:
            continue
        opening = {way: content for way, content in tried.items() if content is not None}
        if not opening:
            refused.append(slot.name)
            continue
        useful |= opening.keys()
        found = data_key.parse(next(iter(opening.values())), source=f"{name}: {slot.name}")
        file.verify(found)
        if key is not None:
            key.wipe()
        key = found
        by.append(slot.name)
        if not all_of_them:
            break
    if key is None:
        raise ToolError(
            Code.IDENTITY_DOES_NOT_OPEN,
            f"nothing that was given opens {name}",
            f"it is wrapped for {', '.join(f'{slot.name} ({slot.short})' for slot in file.slots)}",
        )
    idle: list[str] = []
    if all_of_them:
        idle = [way for way in openers.identities if way not in useful]
        asked = passphrase is not None or openers.passphrase_named
        if asked and not openers.passphrase_spent and _PASSPHRASE not in useful:
            idle.append(_PASSPHRASE)
    return Opened(key, tuple(by), tuple(refused), tuple(idle))


def added(file: KeyFile, slot: Slot, key: Secret) -> KeyFile:
    """The file with one recipient more. Raises `recipient-exists`, `recipient-malformed`."""
    for each in file.slots:
        same = slot.recipient != PASSPHRASE and each.recipient == slot.recipient
        if same or each.name == slot.name:
            raise ToolError(
                Code.RECIPIENT_EXISTS,
                f"the key is wrapped for {each.name} ({each.short}) already",
                f"replace it: sealroom key rotate FILE {each.name} --recipient NAME=age1…",
            )
    if len(file.slots) >= MAX_RECIPIENTS:
        raise ToolError(Code.RECIPIENT_MALFORMED, f"a key has at most {MAX_RECIPIENTS} recipients")
    return replace(file, slots=(*file.slots, slot)).signed(key)


def no_recipients(header: Header, *, commitment: bytes, now: int) -> KeyFile:
    """The facts of a key's file, of the sealed file with this header."""
    return KeyFile(
        owner=header.owner,
        dataset=header.dataset,
        dataset_version=header.dataset_version,
        dataset_id=header.dataset_id,
        header=header.digest,
        commitment=commitment,
        created=now,
        slots=(),
    )


def need_recipient(file: KeyFile, name: str) -> None:
    """Raise `recipient-unknown` where the key is wrapped for nobody of this name."""
    if all(each.name != name for each in file.slots):
        raise ToolError(
            Code.RECIPIENT_UNKNOWN,
            f"there is no recipient {name}",
            f"there are {', '.join(each.name for each in file.slots)}",
        )


def removed(file: KeyFile, name: str, key: Secret) -> KeyFile:
    """The file without one recipient. Raises `recipient-unknown`, `last-recipient`."""
    need_recipient(file, name)
    left = tuple(each for each in file.slots if each.name != name)
    if not left:
        raise ToolError(
            Code.LAST_RECIPIENT,
            f"{name} is the last recipient: nobody could open the key",
            "add another first",
        )
    return replace(file, slots=left).signed(key)
