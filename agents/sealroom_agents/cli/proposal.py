# SPDX-License-Identifier: Apache-2.0
"""``sealroom proposal``: write what owners are asked to approve on chain, from recipe and registrations."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE
from sealroom_agents.cli.terminal import read_bounded, table, write_out
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.model import Registration
    from sealroom.recipe import Recipe

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
def proposal(recipe_file: Path, registrations: tuple[Path, ...], runs: int, days: int, out: Path) -> None:
    """Write the proposal of a study: what owners are asked to approve on chain.

    RECIPE is app-compose.json, a REGISTRATION is what `sealroom seal` wrote beside a sealed file: one for
    each dataset that the recipe reads. ε and δ are those of one run, times --runs.

    \b
    Example:
      sealroom proposal app-compose.json sealed/*/*.registration.json --runs 3
      ape run govern propose --consortium 0x… --study proposal.json
    """
    from sealroom.model import Terms
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse
    from sealroom_agents.owner.registration import load_registration

    recipe = parse(read_bounded(recipe_file, MAX_COMPOSE_BYTES, "a recipe"))
    given = [load_registration(path) for path in registrations]
    _match(recipe, given)
    asked = Terms(
        compose_hash=recipe.compose_hash,
        output_hash=recipe.output_hash,
        privacy_hash=recipe.privacy_hash,
        datasets=tuple(sorted(one.dataset_id for one in given)),
        epsilon_micro=recipe.epsilon_micro * runs,
        delta_pico=recipe.delta_pico * runs,
        max_runs=runs,
        expiry=int(time.time()) + days * DAY_SECONDS,
    ).to_file()
    write_out(out, json.dumps(asked, indent=1).encode() + b"\n")
    if str(out) != "-":
        click.echo(
            table(
                [
                    ("recipe", str(asked["composeHash"])),
                    *(("dataset", f"{one.name}  {one.rows:,} rows") for one in given),
                    ("budget", f"ε {asked['epsilon']}, δ {asked['delta']} for {runs} runs"),
                ]
            )
        )
        click.echo(f"wrote {out}", err=True)


def _match(recipe: Recipe, given: list[Registration]) -> None:
    """Each dataset of the recipe has one registration, and each registration is of one.

    A registration names no owner: with two of one name, the columns must do.
    Raises `dataset-not-in-recipe`, `dataset-missing`.
    """
    from sealroom.schema import schema_hash

    open_specs = [(spec.path, spec.name, schema_hash(spec.columns)) for spec in recipe.datasets]
    for one in given:
        found = next((spec for spec in open_specs if spec[1:] == (one.name, one.schema_hash)), None)
        if found is None:
            raise ToolError(
                Code.DATASET_NOT_IN_RECIPE,
                f"{recipe.name} reads no dataset {one.name} with these columns, or it was given twice",
                "give one registration for each dataset of the recipe; `sealroom recipe --check` lists them",
            )
        open_specs.remove(found)
    if open_specs:
        raise ToolError(
            Code.DATASET_MISSING,
            f"there is no registration of {', '.join(path for path, *_ in open_specs)}",
            "its owner gets it from `sealroom seal`, beside the sealed file",
        )
