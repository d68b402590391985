# SPDX-License-Identifier: Apache-2.0
"""``sealroom govern``: the governance desk with nodes and keystore files, without Ape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sealroom_agents.cli.options import PRIVATE_CHAIN, keystore_option, rpc_option, yes_option
from sealroom_agents.cli.terminal import ask_passphrase
from sealroom_agents.cli.terminal import confirm as ask
from sealroom_agents.governance.actions.entry import Action
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

EXAMPLES = {
    "revoke": "sealroom govern revoke --consortium 0x… --rpc URL --keystore officer.json --reason WHY",
    "pending": "sealroom govern pending --consortium 0x… --rpc URL --rpc OTHER-URL",
    "propose": "sealroom govern propose --consortium 0x… --rpc URL --recipe app-compose.json --draft "
    "--out p.json",
    "approve": "sealroom govern approve 0x… --consortium 0x… --rpc URL --recipe app-compose.json --owner 0x… "
    "--safe approve.safe.json",
}


GROUP_EXAMPLES = f"\n\n\b\nExample:\n  {EXAMPLES['revoke']}\n  {EXAMPLES['pending']}"


def _opened(rpc: tuple[str, ...], keystore: Path | None, *, yes: bool) -> Connection:
    from sealroom_agents.governance.ways.sending import KeystoreWallet
    from sealroom_agents.owner import keystore as keystores

    wallet = None
    account = None
    if keystore is not None:
        path = keystore
        account = keystores.read(path).address
        url = rpc[0] if rpc else ""

        def wallet() -> KeystoreWallet:
            return KeystoreWallet(path, url=url, passphrase=ask_passphrase)

    return Connection(
        urls=rpc,
        wallet=wallet,
        account=account,
        confirm=lambda question: ask(question, yes=yes),
        private_chain=click.get_current_context().meta.get(PRIVATE_CHAIN),
    )


def _command(action: Action, params: list[click.Parameter]) -> click.Command:
    def called(rpc: tuple[str, ...], keystore: Path | None = None, yes: bool = True, **options: Any) -> int:
        return run(action, _opened(rpc, keystore, yes=yes), options)

    command = click.Command(action.name, callback=called, help=action.help, short_help=action.summary)
    command.params = list(params)
    # click's decorators put an option in front of those that there are.
    command = rpc_option(command)
    if action.leaves != "read":
        command = yes_option(keystore_option(command))
    if action.name in EXAMPLES:
        command.epilog = f"\b\nExample:\n  {EXAMPLES[action.name]}"
    return command


def _sign(keystore: Path | None, yes: bool, **options: Any) -> int:
    return sign(_opened((), keystore, yes=yes), options)


def _sign_command() -> click.Command:
    command = click.Command("sign", callback=_sign, help=SIGN_HELP, short_help=SIGN_SUMMARY)
    command.params = sign_params()
    return yes_option(keystore_option(command))


command = Sections(
    "govern",
    help=GROUP_HELP + GROUP_EXAMPLES,
    commands=commands(_command) | {"sign": _sign_command()},
)
