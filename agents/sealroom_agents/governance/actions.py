# SPDX-License-Identifier: Apache-2.0
"""How each action of the desk is called: names, options, help. One list for every face.

A face says how a chain and an account are named, and gets commands. Nothing heavy is imported here: the desk
itself is, when an action runs.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.options import HashType
from sealroom_agents.cli.terminal import table, warn
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.governance.ways import Wallet

GIVEN_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NEW_FILE = click.Path(path_type=Path, dir_okay=False)
HASH = HashType()
RUNS_PER_DAY = 100
"""Runs a day that an allowance allows when nothing is said."""
PROPOSAL_DAYS = 30
"""How long votes count when nothing is said."""


class AddressType(click.ParamType):
    """An address in any case; becomes lower case."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sealroom.encoding import normal_address
        from sealroom.errors import FormatError

        try:
            return normal_address(value)
        except FormatError:
            self.fail(f"{value!r} is not an address: 0x and 40 hex digits", param, ctx)


ADDRESS = AddressType()


def option(*names: str, **settings: Any) -> click.Option:
    """One option."""
    return click.Option(names, **settings)


def argument(name: str, **settings: Any) -> click.Argument:
    """One argument."""
    return click.Argument([name], **settings)


@dataclass(frozen=True)
class Action:
    """One action."""

    name: str
    """What is typed."""
    function: str
    """Its function in `desk`."""
    summary: str
    """Its line in the list."""
    help: str
    """All of its help."""
    params: Callable[[], list[click.Parameter]]
    """Its own options; made anew for each face."""
    leaves: str = "read"
    """`read`: looks only; `send`: a transaction; `vote`: that, or a signature."""


def _none() -> list[click.Parameter]:
    return []


def _proposal_id() -> list[click.Parameter]:
    return [argument("proposal", metavar="ID", type=HASH)]


def _draft() -> list[click.Parameter]:
    return [
        option(
            "--days",
            type=click.IntRange(1, 400),
            default=PROPOSAL_DAYS,
            show_default=True,
            help="How long votes for it count.",
        ),
        option(
            "--out", type=NEW_FILE, metavar="FILE", help="Keep the proposal in this file, for the others."
        ),
        option("--draft", is_flag=True, help="Write the proposal only; vote for nothing."),
    ]


def _machines() -> list[click.Parameter]:
    return [
        option("--os-image", multiple=True, type=HASH, metavar="HASH", help="An OS image; once for each."),
        option(
            "--device",
            multiple=True,
            type=HASH,
            metavar="HASH",
            help="A machine: SHA-256 of its PPID; once for each.",
        ),
    ]


def _budget(*, required: bool) -> list[click.Parameter]:
    return [
        option(
            "--cap",
            required=required,
            metavar="EPS",
            help="ε that all runs of this consortium together may spend on it, such as 4.5; 0 stops it.",
        ),
        option("--delta", default="0", show_default=True, help="δ that they may spend on it."),
        option(
            "--per-day", metavar="EPS", help="ε in one UTC day; bounds a stolen gate key.  [default: all]"
        ),
        option(
            "--runs-per-day",
            type=click.IntRange(0, 65_535),
            default=RUNS_PER_DAY,
            show_default=True,
            help="Runs in one UTC day.",
        ),
    ]


def _dataset_name() -> click.Argument:
    return argument("dataset", metavar="DATASET")


def _recipe_before() -> click.Option:
    return option(
        "--before",
        type=GIVEN_FILE,
        metavar="FILE",
        help="The recipe that was approved last: shows what changed in its text.",
    )


ACTIONS: tuple[tuple[str, tuple[Action, ...]], ...] = (
    (
        "Stop",
        (
            Action(
                "revoke",
                "revoke",
                "stop everything, alone and at once",
                "Stop everything: no study is live, and no approval given before counts for one.\n\n"
                "Any one owner does it alone, in any state. It needs one node that takes the "
                "transaction, and "
                "no agreement between nodes. Votes on owners, platform and machines go on being counted.\n\n"
                "A signed revocation (--request, --sign) stops nothing before somebody hands it in with "
                "--signatures and the same --reason.",
                lambda: [
                    option("--reason", required=True, help="Why, in at most 256 characters. It is public.")
                ],
                "vote",
            ),
            Action(
                "unpin",
                "unpin",
                "have the app drop a recipe that it kept",
                "Have the app drop a recipe that it kept in spite of a revocation, or whose study expired. "
                "Anyone may.",
                _none,
                "send",
            ),
        ),
    ),
    (
        "See",
        (
            Action(
                "status",
                "status",
                "where the consortium stands",
                "Where the consortium stands: owners, vetoes, datasets with their budgets, platform, study.",
                _none,
            ),
            Action(
                "pending",
                "pending_",
                "what is open: who signed, who is missing, what would happen",
                "Every open study, platform, addition of machines and roster, in words: its whole "
                "content, who "
                "signed, who is missing, and what would happen.\n\n"
                "Contents come from events and are recomputed here; the contract says what counts.",
                lambda: [
                    option(
                        "--owner",
                        type=ADDRESS,
                        metavar="ADDRESS",
                        help="Warn of what would remove this owner.",
                    )
                ],
            ),
            Action(
                "show",
                "show",
                "one proposal in full",
                "One proposal in full, open, live or past.",
                _proposal_id,
            ),
            Action(
                "history",
                "history_",
                "what happened, the newest first",
                "What happened, the newest first: each event names the block of the one before, so none "
                "is missed.",
                lambda: [
                    option(
                        "--limit",
                        type=click.IntRange(1, 10_000),
                        default=50,
                        show_default=True,
                        help="How many events.",
                    )
                ],
            ),
            Action(
                "dataset",
                "dataset",
                "one dataset: holder, versions, budgets, offers",
                "One dataset: whose it is, its versions, what is spent of it here and in its life, to "
                "whom it is "
                "offered. DATASET is its id, or owner/name.",
                lambda: [_dataset_name()],
            ),
        ),
    ),
    (
        "Decide",
        (
            Action(
                "propose",
                "propose",
                "propose a study from its recipe",
                "Propose a study. Everything in it is computed from the recipe's exact bytes and the "
                "registrations, or from what owners registered on chain; the first vote proposes it.\n\n"
                "Who has no seat writes it with --draft --out FILE; owners approve that file.",
                lambda: [
                    option(
                        "--recipe",
                        required=True,
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The recipe's exact bytes: app-compose.json.",
                    ),
                    option(
                        "--registrations",
                        multiple=True,
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="What `sealroom seal` wrote, once for each dataset.  [default: what is there]",
                    ),
                    option(
                        "--runs",
                        type=click.IntRange(1, 2**32 - 1),
                        default=1,
                        show_default=True,
                        help="How many runs; ε and δ are those of one run, times this.",
                    ),
                    _recipe_before(),
                    *_draft(),
                ],
                "vote",
            ),
            Action(
                "approve",
                "approve",
                "vote for a study, platform, machines or roster",
                "Vote for a proposal of any kind: by its ID from `pending`, or by the file that its proposer "
                "wrote.\n\n"
                "A study takes its recipe: the file is compared with every hash, and what leaves, what "
                "it costs "
                "and what differs from the study approved last is shown. --blind approves a hash that nobody "
                "here has read.",
                lambda: [
                    argument("proposal", metavar="[ID]", type=HASH, required=False),
                    option(
                        "--proposal",
                        "file",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The file that --out, or `sealroom proposal`, wrote.",
                    ),
                    option(
                        "--recipe",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The study's recipe: app-compose.json.",
                    ),
                    option("--blind", is_flag=True, help="Approve a study without its recipe."),
                    _recipe_before(),
                ],
                "vote",
            ),
            Action(
                "platform",
                "platform",
                "vote for a gate, its rules and its machines",
                "Vote for the platform: which gate, under which policy, with which OS images and "
                "machines.\n\n"
                "--gate asks a gate who it is, verifies its quote, recipe and keys here, and proposes "
                "exactly "
                "that. When it is adopted, the live study ends. Machines are added later with "
                "`machines`, which "
                "ends nothing.",
                lambda: [
                    option("--gate", metavar="URL", help="Ask this gate, and verify its evidence."),
                    option(
                        "--policy",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The platform policy that the gate runs with; its SHA-256 is adopted.",
                    ),
                    option(
                        "--file",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="JSON in place of --gate: gateRoot, gateSigner, gateCompose, policyHash, "
                        "osImages, devices.",
                    ),
                    *_machines(),
                    option(
                        "--simulated-root",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="Trust this simulated TDX root in place of Intel's; local chains only.",
                    ),
                    *_draft(),
                ],
                "vote",
            ),
            Action(
                "machines",
                "machines",
                "vote for machines and OS images to be added",
                "Vote for machines and OS images to be added to the platform. No study ends, no vote for a "
                "platform or roster is void. It takes the threshold, and everybody who approved the live "
                "study.",
                lambda: [
                    *_machines(),
                    option(
                        "--file",
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="JSON in place of them: osImages, devices.",
                    ),
                    *_draft(),
                ],
                "vote",
            ),
            Action(
                "roster",
                "roster",
                "vote for other owners, or another threshold",
                "Vote for a change of owners: who leaves, who joins, and how many grant afterwards.\n\n"
                "Who leaves keeps its data: its datasets lock with its seat. A file of --add is an owner "
                "as in a "
                "deployment: account, id, jurisdiction, regimes.",
                lambda: [
                    option("--remove", multiple=True, metavar="ID", help="An owner who loses its seat."),
                    option(
                        "--add",
                        multiple=True,
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="JSON of an owner who gets one.",
                    ),
                    option(
                        "--threshold",
                        type=click.IntRange(1, 16),
                        help="How many grant afterwards.  [default: as before, as far as they suffice]",
                    ),
                    *_draft(),
                ],
                "vote",
            ),
            Action(
                "remove-silent",
                "remove_silent",
                "execute the removal of owners who are silent",
                "Execute a roster that only removes, without the threshold: all who stay voted for it, "
                "half of "
                "the seats at least, 30 days have passed since the last of those votes, and nobody who "
                "leaves "
                "withdrew from it. Anyone may.\n\n"
                "For a consortium of k = n whose owner lost its wallet. Who leaves keeps data and name.",
                _proposal_id,
                "send",
            ),
            Action(
                "withdraw",
                "withdraw",
                "take an approval back, or object",
                "Take your approval of a proposal back before it takes effect, or bar it in advance. For "
                "an owner "
                "that is to be removed as silent it is the objection. For the same content there is no "
                "way back.",
                _proposal_id,
                "vote",
            ),
        ),
    ),
    (
        "Seats",
        (
            Action(
                "confirm",
                "confirm",
                "say that you know of your seat",
                "Say that you know of your seat. Every vote says so too; the board shows a consortium as "
                "declared "
                "until the threshold has.",
                _none,
                "send",
            ),
            Action(
                "offer-seat",
                "offer_seat",
                "offer your seat to another account, such as a Safe",
                "Offer your seat, with its votes and its veto, to another account. It can take it two "
                "days later; "
                "until then you can take the offer back.",
                lambda: [
                    option("--to", type=ADDRESS, metavar="ADDRESS", help="Who may take it."),
                    option("--take-back", is_flag=True, help="Take the offer back."),
                ],
                "send",
            ),
            Action(
                "accept-seat",
                "accept_seat",
                "take a seat that was offered to you",
                "Take a seat that was offered to this account two days ago or more.",
                lambda: [option("--of", required=True, metavar="OWNER", help="Whose seat: the owner's id.")],
                "send",
            ),
        ),
    ),
    (
        "Datasets",
        (
            Action(
                "register",
                "register",
                "register a dataset with its lifetime budget",
                "Register a dataset that you sealed, with the budget of its whole life, and let this "
                "consortium "
                "spend of it. Without --cap no run is possible here before `allow`.",
                lambda: [
                    option(
                        "--registration",
                        required=True,
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The sealed file, or what `sealroom seal` wrote beside it.",
                    ),
                    option(
                        "--lifetime",
                        required=True,
                        metavar="EPS",
                        help="ε that may ever be spent on it, by all consortia together, such as 10.",
                    ),
                    option("--lifetime-delta", default="0", show_default=True, help="δ, likewise."),
                    *_budget(required=False),
                ],
                "send",
            ),
            Action(
                "add-version",
                "add_version",
                "register a corrected extract",
                "Register another sealed file of a dataset: a corrected extract. It has the same name "
                "and the same "
                "budget, and needs no new quorum unless a study pins versions.",
                lambda: [
                    option(
                        "--registration",
                        required=True,
                        type=GIVEN_FILE,
                        metavar="FILE",
                        help="The sealed file, or what `sealroom seal` wrote beside it.",
                    ),
                ],
                "send",
            ),
            Action(
                "lifetime",
                "lifetime",
                "change a dataset's lifetime budget",
                "Change what may be spent on a dataset over its whole life, in all consortia; never "
                "below what is "
                "spent. DATASET is its id, or owner/name.",
                lambda: [
                    _dataset_name(),
                    option("--epsilon", required=True, metavar="EPS", help="ε in all, such as 10."),
                    option("--delta", default="0", show_default=True, help="δ in all."),
                ],
                "send",
            ),
            Action(
                "allow",
                "allow",
                "let this consortium spend of a dataset",
                "Set what this consortium may spend on a dataset of yours, in all and in a day. Less "
                "than it has "
                "spent stops it; --cap 0 takes the dataset back. DATASET is its id, or owner/name.",
                lambda: [_dataset_name(), *_budget(required=True)],
                "send",
            ),
            Action(
                "offer-datasets",
                "offer_datasets",
                "offer datasets to another account",
                "Offer datasets of yours to another account, which can take them two days later.",
                lambda: [
                    argument("datasets", metavar="DATASET...", nargs=-1, required=True),
                    option("--to", type=ADDRESS, metavar="ADDRESS", help="Who may take them."),
                    option("--take-back", is_flag=True, help="Take the offer back."),
                ],
                "send",
            ),
            Action(
                "accept-datasets",
                "accept_datasets",
                "take datasets that were offered to you",
                "Take datasets that were offered to this account two days ago or more. What is spent "
                "stays spent; "
                "what was allowed on them is void. Each DATASET is an id.",
                lambda: [argument("datasets", metavar="DATASET...", nargs=-1, required=True, type=HASH)],
                "send",
            ),
        ),
    ),
    (
        "The app",
        (
            Action(
                "accept-app",
                "accept_app",
                "audit an app that had another owner, and accept it",
                "Accept the app that its owner offered with transferOwnership(consortium), if revoking "
                "could stop "
                "all that is in it. Anyone may.\n\n"
                "From its events, its views and its storage: recipes and machines that an earlier owner "
                "left, any "
                "machine, TCB off, code other than known, proxies that can change, owner and pending owner.",
                lambda: [
                    option(
                        "--known-code",
                        multiple=True,
                        type=HASH,
                        metavar="HASH",
                        help="keccak256 of runtime code that you reviewed, its own address in it as zeros; "
                        "once for the app, once more for what it delegates to.",
                    ),
                    option(
                        "--from-block",
                        type=click.IntRange(0),
                        default=0,
                        show_default=True,
                        help="Block before the app's first event.",
                    ),
                    option("--audit-only", is_flag=True, help="Say what is found; accept nothing."),
                ],
                "send",
            ),
        ),
    ),
)
"""All actions that know the chain, by section; `sign` knows none and stands apart."""

SIGN_HELP = (
    "Sign what --request wrote, on a machine that needs no network, or take a signature that a wallet "
    "made.\n\n"
    "Its whole content is shown first. An account that is one of the owners of the Safe that votes signs the "
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
    desk = importlib.import_module("sealroom_agents.governance.desk")
    ways = importlib.import_module("sealroom_agents.governance.ways")
    as_json = options.pop("as_json")
    consortium = options.pop("consortium")
    chosen = {
        name: options.pop(name)
        for name in ("owner", "safe", "calldata", "request", "sign", "signatures")
        if name in options
    }
    way = ways.Way(wallet=connection.wallet, account=connection.account, **chosen)
    desk_ = desk.Desk(
        urls=connection.urls,
        consortium=consortium,
        way=way,
        confirm=connection.confirm,
        show=shower(as_json),
        private_chain=connection.private_chain,
    )
    answer = getattr(desk, action.function)(desk_, **options)
    return tell(answer, as_json=as_json)


def shower(as_json: bool) -> Callable[[list[tuple[str, str]]], None]:
    """Shows a person, on stderr, what is about to be decided."""
    return (lambda lines: None) if as_json else (lambda lines: click.echo(table(lines), err=True))


def tell(answer: Any, *, as_json: bool) -> int:
    """Print an answer; warnings go to stderr."""
    for warning in answer.warnings:
        warn(warning)
    facts = {**answer.facts, "warnings": list(answer.warnings)}
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else table(answer.lines))
    return CommandExit.FAILED if answer.failed else CommandExit.DONE


def commands(make: Callable[[Action, list[click.Parameter]], click.Command]) -> dict[str, click.Command]:
    """All actions as commands of a face."""
    found = {}
    for _, actions in ACTIONS:
        for action in actions:
            params = [
                consortium_option(),
                *action.params(),
                *way_options(action.leaves),
                json_option(),
            ]
            found[action.name] = make(action, params)
    return found


class Sections(click.Group):
    """A group that lists its actions by section, stopping first."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for title, actions in ACTIONS:
            with formatter.section(title):
                formatter.write_dl([(one.name.ljust(width), one.summary) for one in actions])
        others = [(name, command) for name, command in self.commands.items() if name not in _names()]
        if others:
            with formatter.section("Without a network"):
                formatter.write_dl(
                    [(name.ljust(width), command.short_help or "") for name, command in others]
                )


def _names() -> set[str]:
    return {action.name for _, actions in ACTIONS for action in actions}


GROUP_HELP = """Govern a consortium: who and what its owners trust, what they approve, and when they stop.

Granting takes a quorum, stopping takes one. Each act leaves in the way in which its owner signs: as a
transaction of an account, as a file for a Safe (--owner 0x… --safe FILE), as call data for any other wallet
(--calldata), or as a signature that is made elsewhere (--request, then `sign`) and handed in (--signatures).
"""
