# SPDX-License-Identifier: Apache-2.0
"""How the actions that decide are called: names, options, help."""

from __future__ import annotations

import click

from sealroom_agents.governance.actions.documents import (
    dataset_choice,
    machine_options,
    recipe_before,
    simulated_root_option,
)
from sealroom_agents.governance.actions.entry import (
    GIVEN_FILE,
    HASH,
    NEW_FILE,
    Action,
    Section,
    argument,
    option,
    proposal_argument,
)

PROPOSAL_DAYS = 30
"""How long votes count when nothing is said."""
ROSTER_DAYS = 90
"""The same for a roster: who is silent is removed no sooner than 30 days after the last vote."""


def _draft(days: int = PROPOSAL_DAYS) -> list[click.Parameter]:
    return [
        option(
            "--days",
            type=click.IntRange(1, 400),
            default=days,
            show_default=True,
            help="How long votes for it count.",
        ),
        option(
            "--out", type=NEW_FILE, metavar="FILE", help="Keep the proposal in this file, for the others."
        ),
        option("--draft", is_flag=True, help="Write the proposal only; vote for nothing."),
        option(
            "--anew",
            is_flag=True,
            help="A proposal of its own, although an open one differs in its expiry alone.",
        ),
    ]


SECTION = Section(
    "Decide",
    (
        Action(
            "propose",
            "deciding.propose",
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
                dataset_choice(),
                recipe_before(),
                option(
                    "--policy",
                    type=GIVEN_FILE,
                    metavar="FILE",
                    help="The adopted platform policy: refuses a guarantee that it does not accept.",
                ),
                *_draft(),
            ],
            "vote",
        ),
        Action(
            "approve",
            "deciding.approve",
            "vote for a study, platform, machines or roster",
            "Vote for a proposal of any kind: by its ID from `pending`, or by the file that its proposer "
            "wrote. It is compared with what you have in hand, and refused where it differs:\n\n"
            "\b\n"
            "  a study     --recipe: every hash; what leaves, what it costs, what differs from the last;\n"
            "              --policy: whether the owners accept its guarantee\n"
            "  a platform  --gate and --policy, and --device for each machine; or --against\n"
            "  machines    --device and --os-image for each; or --against\n"
            "  a roster    --against, a file for each owner who joins; none if nobody does\n\n"
            "--blind votes for hashes that nobody here has compared. Who hands in --signatures votes for "
            "nothing, and needs no documents.",
            lambda: [
                argument("proposal", metavar="[ID]", type=HASH, required=False),
                option(
                    "--proposal",
                    "file",
                    type=GIVEN_FILE,
                    metavar="FILE",
                    help="The file that --out, or `sealroom proposal`, wrote.",
                ),
            ],
            "vote",
            compares=True,
        ),
        Action(
            "platform",
            "deciding.platform",
            "vote for a gate, its rules and its machines",
            "Vote for the platform: which gate, under which policy, with which OS images and "
            "machines.\n\n"
            "--gate asks a gate who it is, verifies its quote, recipe and keys here, and proposes "
            "exactly "
            "that. When it is adopted, the live study ends. Machines are added later with "
            "`machines`, which "
            "ends nothing. The console's page of changes proposes the same from files: the gate's answer at "
            "/v1/gate, and the policy.",
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
                *machine_options(),
                simulated_root_option(),
                *_draft(),
            ],
            "vote",
        ),
        Action(
            "machines",
            "deciding.machines",
            "vote for machines and OS images to be added",
            "Vote for machines and OS images to be added to the platform. No study ends, no vote for a "
            "platform or roster is void. It takes the threshold, and everybody who approved the live "
            "study.",
            lambda: [
                *machine_options(),
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
            "deciding.roster",
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
                *_draft(ROSTER_DAYS),
            ],
            "vote",
        ),
        Action(
            "remove-silent",
            "deciding.remove_silent",
            "execute the removal of owners who are silent",
            "Execute a roster that only removes, without the threshold: all who stay voted for it, "
            "half of "
            "the seats at least, 30 days have passed since the last of those votes, nobody who leaves "
            "withdrew from it, and none of them confirmed or withdrew from anything since. Anyone may.\n\n"
            "For a consortium of k = n whose owner lost its wallet. Who leaves keeps data and name.",
            proposal_argument,
            "send",
        ),
        Action(
            "withdraw",
            "deciding.withdraw",
            "take an approval back, or object",
            "Take your approval of a proposal back before it takes effect, or bar it in advance. For "
            "the same content there is no way back. An owner that is to be removed as silent stays by "
            "withdrawing once, from whichever proposal, after the vote.",
            proposal_argument,
            "vote",
        ),
    ),
)
