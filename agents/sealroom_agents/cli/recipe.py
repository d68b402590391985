# SPDX-License-Identifier: Apache-2.0
"""``sealroom recipe``: render a study's folder to the exact bytes that owners approve, or read such bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.study_paths import FOLDER
from sealroom_agents.cli.terminal import one_object, plural, read_bounded, shown, table, write_out
from sealroom_agents.recipe_words import recipe_facts

if TYPE_CHECKING:
    from sealroom.recipe import Recipe


@click.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option("--check", "given", type=FILE, metavar="FILE", help="Read these bytes; write nothing.")
@click.option(
    "--out",
    type=FILE,
    default=Path("app-compose.json"),
    show_default=True,
    help="Where the bytes go; - is stdout.",
)
@click.option("--text", "as_text", is_flag=True, help="Print the whole app-compose, to be read as YAML.")
@json_option
def recipe(folder: Path | None, given: Path | None, out: Path, as_text: bool, as_json: bool) -> None:
    """Render FOLDER to the recipe: the exact bytes that owners approve.

    FOLDER holds study.yaml, and analysis.py where the guarantee is by-blocks or by-reading.

    The compose hash is the SHA-256 of these bytes, and everything is bound to it. So render once, keep the
    file, and ship it as it is: reformatted, it is another recipe.

    \b
    Example:
      sealroom recipe enclave/studies/cardio-renal --out app-compose.json
      sealroom recipe --check app-compose.json
      sealroom recipe --check app-compose.json --text
    """
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse, render

    if (folder is None) == (given is None):
        raise click.UsageError("needs a study's FOLDER, or --check FILE")
    if as_text and as_json:
        raise click.UsageError("--text and --json are two forms: choose one")
    if given is not None:
        compose = read_bounded(given, MAX_COMPOSE_BYTES, "a recipe")
    elif folder is not None:
        compose = render(folder)
    read = parse(compose)
    if given is None:
        write_out(out, compose)
    if given is not None or str(out) != "-":
        if as_text:
            click.echo(_text(compose), nl=False)
        else:
            click.echo(one_object(_facts(read)) if as_json else table(_lines(read)))
    if given is None and not as_json and str(out) != "-":
        click.echo(f"wrote {out}", err=True)


def _text(compose: bytes) -> str:
    """The app-compose as YAML, its compose file line by line: who reads it back has the same content."""
    frame = json.loads(compose)
    inside = frame.pop("docker_compose_file").split("\n")
    around = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in frame.items()]
    lines = [*around, "docker_compose_file: |2+", *(f"  {line}" if line else "" for line in inside[:-1])]
    return "".join(f"{shown(line)}\n" for line in lines)


def _lines(read: Recipe) -> list[tuple[str, str]]:
    """What it is, and what its ε buys: how far the noise moves each number, foretold without data."""
    from sealroom.decimals import decimal_text
    from sealroom.encoding import to_hex
    from sealroom_agents.cli.promise import guarantee_line, told
    from sealroom_agents.governance.drafting import table_lines

    epsilon, delta = decimal_text(read.privacy.epsilon), decimal_text(read.privacy.delta)
    return [
        ("study", read.name),
        ("question", read.question),
        ("recipe", to_hex(read.compose_hash)),
        guarantee_line(read),
        *table_lines(read),
        (
            ("script", plural(len(read.analysis.splitlines()), "line"))
            if read.relation is None
            else ("relation", "sealroom relation shows its SQL, and what is compiled from it")
        ),
        ("privacy", f"ε {epsilon}, δ {delta} for each {read.unit}, all fields together"),
        *(
            (
                f"field {field.name}",
                f"{field.kind.name}, {field.cost.law} noise, {field.cost.text()}: {told(field, read.rows)}",
            )
            for field in read.output.fields
        ),
        ("output hash", to_hex(read.output_hash)),
        ("privacy hash", to_hex(read.privacy_hash)),
    ]


def _facts(read: Recipe) -> dict[str, object]:
    """What a proposal on chain takes from the recipe, and its datasets."""
    from sealroom.encoding import to_hex

    return {
        "study": read.name,
        "composeHash": to_hex(read.compose_hash),
        "outputHash": to_hex(read.output_hash),
        "privacyHash": to_hex(read.privacy_hash),
        "datasets": [spec.path for spec in read.datasets],
        **recipe_facts(read),
        "epsilonMicro": read.epsilon_micro,
        "fields": [
            {
                "name": field.name,
                "kind": field.kind.name,
                "law": field.cost.law,
                field.cost.member: field.cost.amount,
                "preview": [
                    {"about": bar.about, "halfWidth": f"{bar.half_width:.6g}"}
                    for bar in field.preview(read.rows)
                ],
            }
            for field in read.output.fields
        ],
    }
