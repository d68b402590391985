# SPDX-License-Identifier: Apache-2.0
"""``sealroom show``: a result as tables in the terminal, and as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import one_object, read_bounded, shown, warn, write_out


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the result into this file."
)
@json_option
def show(file: Path, svg: Path | None, as_json: bool) -> None:
    """Show what an envelope's result says: each field as a table, with the 95 % interval of each number.

    With --svg it is drawn, too: bars and points with their intervals, curves with a band, long vectors as a
    strip. The picture has a description for who does not see it. Nothing here proves where a result is from:
    `sealroom verify` does.

    \b
    Example:
      sealroom show envelope.json
      sealroom show envelope.json --svg result.svg
    """
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom.recipe import parse
    from sealroom.recipe.result import check_output
    from sealroom_agents.plots.figure import drawn
    from sealroom_agents.plots.text import lines

    envelope = parse_envelope(read_bounded(file, MAX_ENVELOPE_BYTES, "an envelope"))
    recipe = parse(envelope.recipe)
    fields = envelope.result["fields"]
    check_output(fields, recipe.output, rows=recipe.rows)
    if svg is not None:
        write_out(svg, drawn(recipe, fields).encode())
    if as_json:
        click.echo(one_object({"study": recipe.name, "fields": fields, "svg": svg and str(svg)}))
        return
    for line in lines(recipe, fields):
        click.echo(shown(line))
    warn(f"what made this result is not checked here: sealroom verify {file}")
