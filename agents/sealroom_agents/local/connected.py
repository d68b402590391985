# SPDX-License-Identifier: Apache-2.0
"""The console of a local room: its answers are verified by the key that the set-up made, and an owner of the
room asks for runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sealroom_agents.client import Connection, Console, Pinned
from sealroom_agents.host import read_key
from sealroom_agents.local.room import PASSPHRASE, Room
from sealroom_agents.owner import keystore
from sealroom_agents.owner.keystore import Signer
from sealroom_agents.signed_answers import AnswerKey


def key_of(room: Room) -> Pinned:
    """By which key the room's console must sign its answers."""
    return Pinned(AnswerKey(read_key(room.places.console_key)).public)


@contextmanager
def console_of(room: Room) -> Iterator[Console]:
    """The room's console, until the block ends."""
    with Connection(room.console, key_of(room)) as connection:
        yield Console(connection)


def signer_of(room: Room) -> Signer:
    """The account of the room's first owner, which may ask for runs of any study of the room."""
    return keystore.read(room.places.keystore(next(iter(room.owners)))).unlock(PASSPHRASE)
