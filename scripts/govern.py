# SPDX-License-Identifier: Apache-2.0
"""The governance desk with Ape's networks and accounts: the actions of `sealroom govern`.

ape run govern ACTION --network ethereum:mainnet --account hospital-a --consortium 0x…
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
from ape import accounts, networks
from ape.api import AccountAPI
from eth_account.messages import SignableMessage
from eth_utils.address import to_checksum_address
from scripts._command import ChainCommand, Complaint, complaints

from sealroom.typed import Signable
from sealroom_agents.chain.gas import with_room
from sealroom_agents.chains import private_chain_option
from sealroom_agents.governance.actions.entry import Action, option
from sealroom_agents.governance.acts import Sent
from sealroom_agents.governance.face import (
    GROUP_HELP,
    SIGN_HELP,
    SIGN_SUMMARY,
    Connection,
    Sections,
    commands,
    run,
    sign,
    sign_params,
)

TEST_ACCOUNT = "TEST::"
PASSPHRASE_HINT = "in a script, set APE_ACCOUNTS_<alias>_PASSPHRASE"


class ApeWallet:
    """One of Ape's accounts."""

    def __init__(self, account: AccountAPI) -> None:
        self._account = account
        if os.environ.get(f"APE_ACCOUNTS_{account.alias}_PASSPHRASE"):
            account.set_autosign(True)

    @property
    def address(self) -> str:
        """Lower case."""
        return str(self._account.address).lower()

    def sign(self, message: Signable) -> bytes:
        """65 bytes."""
        signed = self._account.sign_message(SignableMessage(*message))
        if signed is None:
            raise Complaint("nothing was signed", PASSPHRASE_HINT)
        return bytes(signed.encode_rsv())

    def send(self, to: str, data: bytes) -> Sent:
        """One transaction, mined; with the room that `gas` gives it."""
        account = self._account
        asked = account.provider.network.ecosystem.create_transaction(
            sender=account.address, receiver=to_checksum_address(to), data=data
        )
        estimate = account.provider.estimate_gas_cost(asked)
        receipt = account.transfer(to, 0, data=data, gas_limit=with_room(estimate, data))
        return Sent(tx=str(receipt.txn_hash), block=int(receipt.block_number), gas=int(receipt.gas_used))


def _account(name: str) -> AccountAPI:
    """One of Ape's accounts by its alias, or of the local chain by its number: `TEST::3`."""
    if name.startswith(TEST_ACCOUNT):
        number = name.removeprefix(TEST_ACCOUNT)
        if number.isdigit() and int(number) < len(accounts.test_accounts):
            return accounts.test_accounts[int(number)]
    elif name in accounts.aliases:
        return accounts.load(name)
    known = ", ".join(accounts.aliases) or "none"
    raise Complaint(f"there is no account {name}", f"`ape accounts list` shows them; known are {known}")


def _wallet(name: str | None) -> tuple[Callable[[], ApeWallet] | None, str | None]:
    if name is None:
        return None, None
    account = _account(name)
    return (lambda: ApeWallet(account)), str(account.address).lower()


def _url() -> str:
    """Where the connected node listens."""
    provider: Any = networks.active_provider
    url = getattr(provider, "http_uri", None) or getattr(provider, "uri", None)
    if not url:
        raise Complaint(f"{provider.name} is no node that listens at a URL", "name one: --network http://…")
    return str(url)


def _nobody_asks(question: str) -> None:
    """Ape itself asks before an account signs."""


def account_option() -> click.Option:
    """Who signs and pays."""
    return option(
        "--account", metavar="ALIAS", help="The account that signs and pays; TEST::0 on a local chain."
    )


def _command(action: Action, params: list[click.Parameter]) -> click.Command:
    def called(private_chain: int | None, account: str | None = None, **options: Any) -> None:
        with complaints():
            wallet, address = _wallet(account)
            connection = Connection(
                urls=(_url(),),
                wallet=wallet,
                account=address,
                confirm=_nobody_asks,
                private_chain=private_chain,
            )
            status = run(action, connection, options)
        if status:
            raise SystemExit(status)

    account = [] if action.leaves == "read" else [account_option()]
    command = ChainCommand(
        name=action.name,
        callback=called,
        help=action.help,
        short_help=action.summary,
        params=[*params, *account],
    )
    return private_chain_option(command)


def _sign(account: str | None, **options: Any) -> None:
    with complaints():
        wallet, _ = _wallet(account)
        sign(Connection(urls=(), wallet=wallet, account=None, confirm=_nobody_asks), options)


cli = Sections(
    "govern",
    help=GROUP_HELP,
    commands=commands(_command)
    | {
        "sign": click.Command(
            "sign",
            callback=_sign,
            help=SIGN_HELP,
            short_help=SIGN_SUMMARY,
            params=[*sign_params(), account_option()],
        )
    },
)
