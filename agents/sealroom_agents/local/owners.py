# SPDX-License-Identifier: Apache-2.0
"""The owners of a room: each acts by its own keystore, through the governance desk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from sealroom.codes import Code
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.actions.listing import SECTIONS
from sealroom_agents.governance.face import Connection, answer, parameters
from sealroom_agents.governance.ways.sending import KeystoreWallet
from sealroom_agents.local.room import PASSPHRASE, Room

MNEMONIC = "test test test test test test test test test test test junk"
"""Of anvil's accounts, which everybody knows."""
ACTIONS = {action.name: action for section in SECTIONS for action in section.actions}


@cache
def private_key(index: int) -> bytes:
    """Private key of one of the chain's accounts."""
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    return bytes(Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key)


def write_keystore(path: Path, key: bytes) -> None:
    """Write an account as the keystore file that wallets write, unless it is there."""
    from eth_account import Account

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = Account.encrypt(key, PASSPHRASE, kdf="pbkdf2", iterations=1)
        write_atomic(path, json.dumps(content).encode(), mode=PRIVATE)


def act(room: Room, owner: str, action: str, *arguments: str | Path) -> dict[str, Any]:
    """What `sealroom govern ACTION ARGUMENTS --keystore …` does, as one owner; returns its facts.

    Raises `ToolError`, `ChainError`, as the desk does; nobody is asked.
    """
    entry, keystore = ACTIONS[action], room.places.keystore(owner)
    known = click.Command(action, params=parameters(entry))
    given = ["--consortium", room.consortium, "--json", *map(str, arguments)]
    options = known.make_context(action, given).params
    connection = Connection(
        urls=(room.rpc,),
        wallet=lambda: KeystoreWallet(keystore, url=room.rpc, passphrase=lambda _: PASSPHRASE),
        account=account_of(room, owner),
        confirm=lambda _: None,
    )
    done = answer(entry, connection, options)
    if done.failed:
        raise ToolError(Code.NOT_FINAL, f"{action} of {owner} did not do what it was asked to", None)
    return dict(done.facts)


def account_of(room: Room, owner: str) -> str:
    """An owner's address. Raises `owner-unknown`."""
    try:
        return room.owners[owner]
    except KeyError:
        raise ToolError(
            Code.OWNER_UNKNOWN, f"there is no owner {owner}", f"the owners are {', '.join(room.owners)}"
        ) from None


def voters(room: Room, holders: Sequence[str]) -> list[str]:
    """The fewest owners who can approve a study: those whose data it reads, and more up to the threshold."""
    others = [owner for owner in room.owners if owner not in holders]
    return [*dict.fromkeys(holders), *others[: max(room.threshold - len(set(holders)), 0)]]
