# SPDX-License-Identifier: Apache-2.0
"""The options with which a proposal is compared with what somebody has in hand: for `approve` and `sign`."""

from __future__ import annotations

import click

from sealroom_agents.governance.actions.entry import GIVEN_FILE, HASH, option

MACHINES = (
    ("--os-image", "An OS image; once for each."),
    ("--device", "A machine: SHA-256 of its PPID; once for each."),
)


def machine_options() -> list[click.Parameter]:
    """Machines and OS images by name."""
    return [option(name, multiple=True, type=HASH, metavar="HASH", help=words) for name, words in MACHINES]


def simulated_root_option() -> click.Option:
    """Another root than Intel's."""
    return option(
        "--simulated-root",
        type=GIVEN_FILE,
        metavar="FILE",
        help="Trust this simulated TDX root in place of Intel's; local chains only.",
    )


def dataset_choice() -> click.Option:
    """Which of two datasets with one name."""
    return option(
        "--dataset",
        "chosen",
        multiple=True,
        type=HASH,
        metavar="ID",
        help="Which dataset is meant, where its holder has two of that name; once for each.",
    )


def recipe_before() -> click.Option:
    """The older recipe."""
    return option(
        "--before",
        type=GIVEN_FILE,
        metavar="FILE",
        help="The recipe that was approved last: shows what changed in its text.",
    )


def document_options(*, chain: bool) -> list[click.Parameter]:
    """All of them. chain: whether the action sees the chain, and so knows what is there by name."""
    names: list[click.Parameter] = [dataset_choice(), recipe_before()]
    files: list[click.Parameter] = [
        option(
            "--registrations",
            multiple=True,
            type=GIVEN_FILE,
            metavar="FILE",
            help="A study: what `sealroom seal` wrote, once for each dataset; compares their ids.",
        )
    ]
    return [
        option("--recipe", type=GIVEN_FILE, metavar="FILE", help="A study: its recipe, app-compose.json."),
        *(names if chain else files),
        option(
            "--allow-surplus",
            "surplus",
            is_flag=True,
            help="A study: although it may spend more than its runs need.",
        ),
        option("--gate", metavar="URL", help="A platform: ask its gate, and verify the evidence."),
        option(
            "--policy",
            type=GIVEN_FILE,
            metavar="FILE",
            help="A platform: the platform policy that you read. A study: the adopted one; refuses a "
            "guarantee that it does not accept.",
        ),
        *machine_options(),
        simulated_root_option(),
        option(
            "--against",
            multiple=True,
            type=GIVEN_FILE,
            metavar="FILE",
            help="A platform, machines or a roster of your own: the JSON that such an action takes, or the "
            "proposal that your own desk wrote with --draft --out. For owners who join, once for each.",
        ),
        option("--blind", is_flag=True, help="Without documents: for hashes that nobody here has compared."),
    ]
