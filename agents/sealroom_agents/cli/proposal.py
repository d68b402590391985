# SPDX-License-Identifier: Apache-2.0
"""``sealroom proposal``: write what owners are asked to approve on chain, from recipe and registrations."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import table, write_document

MAX_RUNS = 2**32 - 1
MAX_DAYS = 36_500
DAY_SECONDS = 86_400


@click.command()
@click.argument("recipe_file", metavar="RECIPE", type=FILE)
@click.argument("registrations", metavar="REGISTRATION...", type=FILE, nargs=-1, required=True)
@click.option(
    "--runs",
    type=click.IntRange(1, MAX_RUNS),
    default=1,
    show_default=True,
    help="How many runs are asked for.",
)
@click.option(
    "--days", type=click.IntRange(1, MAX_DAYS), default=30, show_default=True, help="How long it shall hold."
)
@click.option(
    "--out", type=FILE, default=Path("proposal.json"), show_default=True, help="Where it goes; - is stdout."
)
@json_option
def proposal(
    recipe_file: Path, registrations: tuple[Path, ...], runs: int, days: int, out: Path, as_json: bool
) -> None:
    """Write the proposal of a study: what owners are asked to approve on chain.

    RECIPE is app-compose.json, a REGISTRATION is what `sealroom seal` wrote beside a sealed file: one for
    each dataset that the recipe reads. ε and δ are those of one run, times --runs. It needs no chain; who has
    one writes the proposal with `govern propose`, which also compares it with what is registered.

    \b
    Example:
      sealroom proposal app-compose.json sealed/*/*.registration.json --runs 3
    """
    from sealroom_agents.governance import drafting
    from sealroom_agents.owner.registration import load_registration

    recipe = drafting.read_recipe(recipe_file)
    given = drafting.match(recipe, [load_registration(path) for path in registrations])
    expiry = int(time.time()) + days * DAY_SECONDS
    asked = drafting.terms_of(recipe, [one.dataset for one in given], runs=runs, expiry=expiry).to_file()
    datasets = [{"name": one.name, "rows": one.version.rows} for one in given]
    facts = {"composeHash": asked["composeHash"], "datasets": datasets, "runs": runs}
    facts |= {"epsilon": asked["epsilon"], "delta": asked["delta"], "expiry": expiry}
    if not as_json and str(out) != "-":
        click.echo(
            table(
                [
                    ("recipe", str(asked["composeHash"])),
                    *(("dataset", f"{one.name}  {one.version.rows:,} rows") for one in given),
                    ("budget", f"ε {asked['epsilon']}, δ {asked['delta']} for {runs} runs"),
                ]
            )
        )
    write_document(out, json.dumps(asked, indent=1).encode() + b"\n", facts, as_json=as_json)
