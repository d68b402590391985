# SPDX-License-Identifier: Apache-2.0
"""How the actions that look are called: names, options, help."""

from __future__ import annotations

import click

from sealroom_agents.governance.actions.entry import (
    ADDRESS,
    GIVEN_FILE,
    Action,
    Section,
    dataset_argument,
    no_options,
    option,
    proposal_argument,
)

SECTION = Section(
    "See",
    (
        Action(
            "status",
            "seeing.status",
            "where the consortium stands",
            "Where the consortium stands: owners, vetoes, datasets with their budgets, platform, study.",
            no_options,
        ),
        Action(
            "pending",
            "seeing.pending_",
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
            "seeing.show",
            "one proposal in full",
            "One proposal in full, open, live or past. A study's recipe is on no chain: with --recipe, also "
            "what it promises, computes and lets leave, once its hashes are the study's.",
            lambda: [
                *proposal_argument(),
                option("--recipe", type=GIVEN_FILE, metavar="FILE", help="A study: its app-compose.json."),
            ],
        ),
        Action(
            "history",
            "seeing.history_",
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
            "seeing.dataset",
            "one dataset: holder, versions, budgets, offers",
            "One dataset: whose it is, its versions, what is spent of it here and in its life, to "
            "whom it is "
            "offered. DATASET is its id, or owner/name.",
            lambda: [dataset_argument()],
        ),
    ),
)
