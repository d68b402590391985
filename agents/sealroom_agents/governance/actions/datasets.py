# SPDX-License-Identifier: Apache-2.0
"""How the actions that keep datasets are called: names, options, help."""

from __future__ import annotations

import click

from sealroom_agents.governance.actions.entry import (
    ADDRESS,
    GIVEN_FILE,
    HASH,
    Action,
    Section,
    argument,
    dataset_argument,
    option,
)

RUNS_PER_DAY = 100
"""Runs a day that an allowance allows when nothing is said."""


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


SECTION = Section(
    "Datasets",
    (
        Action(
            "register",
            "datasets.register",
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
            "datasets.add_version",
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
            "datasets.lifetime",
            "change a dataset's lifetime budget",
            "Change what may be spent on a dataset over its whole life, in all consortia; never "
            "below what is "
            "spent. DATASET is its id, or owner/name.",
            lambda: [
                dataset_argument(),
                option("--epsilon", required=True, metavar="EPS", help="ε in all, such as 10."),
                option("--delta", default="0", show_default=True, help="δ in all."),
            ],
            "send",
        ),
        Action(
            "allow",
            "datasets.allow",
            "let this consortium spend of a dataset",
            "Set what this consortium may spend on a dataset of yours, in all and in a day. Less "
            "than it has "
            "spent stops it; --cap 0 takes the dataset back. DATASET is its id, or owner/name.",
            lambda: [dataset_argument(), *_budget(required=True)],
            "send",
        ),
        Action(
            "offer-datasets",
            "datasets.offer_datasets",
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
            "datasets.accept_datasets",
            "take datasets that were offered to you",
            "Take datasets that were offered to this account two days ago or more. What is spent "
            "stays spent; "
            "what was allowed on them is void. Each DATASET is an id.",
            lambda: [argument("datasets", metavar="DATASET...", nargs=-1, required=True, type=HASH)],
            "send",
        ),
    ),
)
