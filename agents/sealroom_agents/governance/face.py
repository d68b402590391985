# SPDX-License-Identifier: Apache-2.0
"""What every face of the desk shares: it makes commands of the actions, runs one, and prints its answer.

A face says how a chain and an account are named, and gets commands.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.terminal import one_object, table, warn
from sealroom_agents.errors import CommandExit
from sealroom_agents.governance.actions.documents import document_options
from sealroom_agents.governance.actions.entry import ADDRESS, GIVEN_FILE, NEW_FILE, Action, option
from sealroom_agents.governance.actions.listing import SECTIONS

if TYPE_CHECKING:
    from sealroom_agents.governance.acts import Wallet
    from sealroom_agents.governance.desk import Answer

GROUP_HELP = """Govern a consortium: who and what its owners trust, what they approve, and when they stop.

Granting takes a quorum, stopping takes one. Each act leaves in the way in which its owner signs: as a
transaction of an account, as a file for a Safe (--owner 0x… --safe FILE), as call data for any other wallet
(--calldata), or as a signature that is made elsewhere (--request, then `sign`) and handed in (--signatures).
"""

SIGN_SUMMARY = "sign a request, or take a wallet's signature"
SIGN_HELP = (
    "Sign what --request wrote, on a machine that needs no network, or take a signature that a wallet "
    "made.\n\n"
    "Its whole content is shown first, and compared with the same documents as by `approve`: a study with "
    "--recipe, anything else with --against. --blind signs hashes that nobody here has compared. Only --gate "
    "needs a network. A revocation and a withdrawal need no documents.\n\n"
    "An account that is one of the owners of the Safe that votes signs the "
    "Safe's message; the desk puts the signatures of a Safe's owners together when they are handed in."
)


def consortium_option() -> click.Option:
    """Which consortium."""
    return option(
        "--consortium", required=True, type=ADDRESS, metavar="ADDRESS", help="Address of the consortium."
    )


def json_option() -> click.Option:
    """For programs."""
    return option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def way_options(leaves: str) -> list[click.Parameter]:
    """How an act leaves."""
    if leaves == "read":
        return []
    found: list[click.Parameter] = [
        option(
            "--dry-run",
            is_flag=True,
            help="Try it on the node and say what would be sent or written; send nothing, write nothing.",
        ),
        option(
            "--owner",
            type=ADDRESS,
            metavar="ADDRESS",
            help="Whose act it is, where that is not the account that sends: a Safe, a wallet elsewhere.",
        ),
        option(
            "--safe",
            type=NEW_FILE,
            metavar="FILE",
            help="Send nothing; write a file for the transaction builder of the Safe that --owner names.",
        ),
        option("--calldata", is_flag=True, help="Send nothing; print the call, for any other wallet."),
    ]
    if leaves == "vote":
        found += [
            option(
                "--request",
                type=NEW_FILE,
                metavar="FILE",
                help="Send nothing; write the EIP-712 typed data that --owner signs elsewhere.",
            ),
            option(
                "--sign",
                type=NEW_FILE,
                metavar="FILE",
                help="Send nothing; sign it, and write the signature.",
            ),
            option(
                "--signatures",
                type=GIVEN_FILE,
                multiple=True,
                metavar="FILE",
                help="Hand in signatures that were collected; once for each. The account only pays.",
            ),
        ]
    return found


@dataclass(frozen=True)
class Connection:
    """What a face makes of its own options."""

    urls: Sequence[str]
    """Nodes."""
    wallet: Callable[[], Wallet] | None
    """Opens the account, where one was named."""
    account: str | None
    """Its address, where it is known without opening it."""
    confirm: Callable[[str], None]
    """Asks a person, or does not."""
    private_chain: int | None = None
    """Id of a chain that is none of those supported, where its operator says that it is like them."""


def run(action: Action, connection: Connection, options: dict[str, Any]) -> int:
    """Run one action and print its answer; returns the status to exit with."""
    as_json = options["as_json"]
    return tell(answer(action, connection, options), as_json=as_json)


def answer(action: Action, connection: Connection, options: dict[str, Any]) -> Answer:
    """Run one action, with the options of its command; returns its answer."""
    module, _, function = action.function.partition(".")
    acting = importlib.import_module(f"sealroom_agents.governance.{module}")
    desk = importlib.import_module("sealroom_agents.governance.desk")
    ways = importlib.import_module("sealroom_agents.governance.ways.way")
    as_json = options.pop("as_json")
    consortium = options.pop("consortium")
    chosen = {
        name: options.pop(name)
        for name in ("owner", "safe", "calldata", "request", "sign", "signatures", "dry_run")
        if name in options
    }
    if action.compares:
        options["documents"] = documents_of(options)
    way = ways.Way(wallet=connection.wallet, account=connection.account, **chosen)
    opened = desk.Desk(
        urls=connection.urls,
        consortium=consortium,
        way=way,
        confirm=connection.confirm,
        show=shower(as_json),
        private_chain=connection.private_chain,
    )
    found: Answer = getattr(acting, function)(opened, **options)
    return found


def documents_of(options: dict[str, Any]) -> Any:
    """The documents among options, taken out of them."""
    documents = importlib.import_module("sealroom_agents.governance.documents").Documents
    return documents(**{name: options.pop(name) for name in [*options] if hasattr(documents, name)})


def sign(connection: Connection, options: dict[str, Any]) -> int:
    """Run `sign`, which knows no chain, and print its answer; returns the status to exit with."""
    signing = importlib.import_module("sealroom_agents.governance.signing")
    as_json = options.pop("as_json")
    answer = signing.sign(
        documents=documents_of(options),
        wallet=connection.wallet,
        confirm=connection.confirm,
        show=shower(as_json),
        **options,
    )
    return tell(answer, as_json=as_json)


def sign_params() -> list[click.Parameter]:
    """Options of `sign` besides the account."""
    return [
        option("--request", required=True, type=GIVEN_FILE, metavar="FILE", help="What --request wrote."),
        *document_options(chain=False),
        option("--signature", metavar="0x…|FILE", help="A signature that a wallet made over it."),
        option("--out", required=True, type=NEW_FILE, metavar="FILE", help="Where the signature goes."),
        json_option(),
    ]


def shower(as_json: bool) -> Callable[[list[tuple[str, str]]], None]:
    """Shows a person, on stderr, what is about to be decided."""
    return (lambda lines: None) if as_json else (lambda lines: click.echo(table(lines), err=True))


def tell(answer: Any, *, as_json: bool) -> int:
    """Print an answer; warnings go to stderr."""
    for warning in answer.warnings:
        warn(warning)
    facts = {**answer.facts, "warnings": list(answer.warnings)}
    click.echo(one_object(facts, ok=not answer.failed) if as_json else table(answer.lines))
    return CommandExit.FAILED if answer.failed else CommandExit.DONE


def commands(make: Callable[[Action, list[click.Parameter]], click.Command]) -> dict[str, click.Command]:
    """All actions as commands of a face."""
    found = {}
    for section in SECTIONS:
        for action in section.actions:
            found[action.name] = make(action, parameters(action))
    return found


def parameters(action: Action) -> list[click.Parameter]:
    """All that an action takes, whatever its face."""
    return [
        consortium_option(),
        *action.params(),
        *(document_options(chain=True) if action.compares else ()),
        *way_options(action.leaves),
        json_option(),
    ]


class Sections(click.Group):
    """A group that lists its actions by section, stopping first."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for section in SECTIONS:
            with formatter.section(section.title):
                formatter.write_dl([(one.name.ljust(width), one.summary) for one in section.actions])
        others = [(name, command) for name, command in self.commands.items() if name not in _names()]
        if others:
            with formatter.section("Without a network"):
                formatter.write_dl(
                    [(name.ljust(width), command.short_help or "") for name, command in others]
                )


def _names() -> set[str]:
    return {action.name for section in SECTIONS for action in section.actions}
