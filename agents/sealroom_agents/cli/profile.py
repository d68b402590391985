# SPDX-License-Identifier: Apache-2.0
"""``sealroom profile``: what stands in a table before it is sealed, and whether a study can read it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.input_options import TABLES, given_dialect, given_kind, input_options, require_csv
from sealroom_agents.cli.looked_told import column_facts, column_lines, people_facts, people_words
from sealroom_agents.cli.options import FILE_OR_FOLDER, json_option
from sealroom_agents.cli.standard_input import DASH, check_input, taken, tells_standard_input
from sealroom_agents.cli.study_paths import recipe_in
from sealroom_agents.cli.terminal import progress, size, table
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.owner.looking import Looked
    from sealroom_agents.owner.needs import Needs
    from sealroom_agents.owner.source import Source


@click.command()
@click.argument("source", metavar="FILE", type=FILE_OR_FOLDER)
@click.option(
    "--study",
    type=FILE_OR_FOLDER,
    metavar="CARD|RECIPE",
    help="Hold it against a study: its card, its recipe, or its folder.",
)
@click.option("--owner", metavar="ID", help="Whose dataset it is, as the recipe names it: hospital-A.")
@click.option("--name", metavar="NAME", help="The dataset's name in the recipe.  [default: the input's name]")
@click.option(
    "--person",
    metavar="COLUMN",
    help="The column that names the person, to count people.  [default: as the recipe declares it]",
)
@input_options(*TABLES)
@json_option
@tells_standard_input
def profile(
    source: Path,
    study: Path | None,
    owner: str | None,
    name: str | None,
    person: str | None,
    as_json: bool,
) -> None:
    """Show what stands in a table, and whether a study can read it, before anything is sealed.

    For each column its type, how many cells hold nothing, and the smallest and largest number. With --study,
    beside it what the recipe needs: columns that are missing, too many or of another type, cells of a CSV
    that are none of the declared type, numbers beyond the bounds that a field clips to, texts that are none
    of the declared labels. Bounds are told of columns that the study's SQL hands on as they are.

    What belongs to a person is not printed: of numbers the ends, of days and instants the years, of text how
    long it is and how many different ones there are. Of the column that names the person neither values nor
    ends, but how many people there are. A card is read as it is, and not checked: sealing does that.

    - is standard input: a Parquet file, an Arrow stream or, with --as csv, a CSV.

    The input is read once, in batches, and nothing is written. Without --study, all cells of a CSV are text.
    How a CSV is encoded and what stands between its cells is told; how its numbers, dates and missing values
    are written is yours to say.

    \b
    Exit status: 0 if it could be sealed for the study, 1 if not. Values beyond bounds are no reason.

    \b
    Example:
      sealroom profile cohort-A.parquet
      sealroom profile cohort-A.parquet --study study.json --owner hospital-A
      sealroom profile export.csv.gz --study app-compose.json --name cohort-A --decimal , --missing NA --json
    """
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.looking import look_through
    from sealroom_agents.owner.needs import needs_of

    check_input(source)
    needs = None
    if study is not None:
        if source == DASH and name is None:
            raise click.UsageError("- with --study needs --name NAME, which dataset of the study it is")
        dataset = name if name is not None else sources.name_of(source)
        needs = needs_of(recipe_in(study), owner=owner, name=dataset)
    elif owner is not None or name is not None:
        raise click.UsageError("--owner and --name say which dataset of a study it is: pass --study")
    if needs is not None and person not in (None, needs.unit):
        raise click.UsageError(f"--person: the recipe names the person by {needs.unit}")
    columns = () if needs is None else needs.columns
    kind = given_kind()
    found = sources.look(taken(source, kind), kind=kind, declared=columns, dialect=given_dialect())
    require_csv(found)
    if person is not None and person not in dict(found.columns or ()):
        raise click.UsageError(f"--person: {found.called} has no column {person}")
    with progress(f"reading {found.called.name}", found.size) as bar:
        step = None if bar is None else partial(_step, bar, found.size)
        looked = look_through(found, needs, people=person, advance=step)
    if as_json:
        click.echo(json.dumps(_facts(found, needs, looked)))
    else:
        _tell(found, needs, looked)
    if not looked.fits:
        raise click.exceptions.Exit(CommandExit.FAILED)


def _step(advance: Any, total: int, done: int) -> None:
    advance(done, total)


def _tell(source: Source, needs: Needs | None, looked: Looked) -> None:
    lines = [("file", f"{source.called}  {source.kind}, {size(source.size)}"), ("rows", f"{looked.rows:,}")]
    if looked.people is not None:
        lines.append(("people", people_words(looked.people)))
    if source.form is not None:
        lines.insert(1, ("read as", source.form.words()))
    if needs is not None:
        of = f", as {needs.dataset}" if needs.dataset else ""
        lines.insert(1, ("study", f"{needs.study}: its table {needs.table}{of}"))
    click.echo(table(lines))
    click.echo()
    for line in column_lines(needs, looked):
        click.echo(line)


def _facts(source: Source, needs: Needs | None, looked: Looked) -> dict[str, Any]:
    return {
        "ok": looked.fits,
        "file": str(source.called),
        "kind": source.kind,
        "size": source.size,
        "readAs": None if source.form is None else source.form.json(),
        "rows": looked.rows,
        "study": None if needs is None else needs.study,
        "table": None if needs is None else needs.table,
        "dataset": None if needs is None else needs.dataset,
        "people": people_facts(looked),
        "columns": [column_facts(each) for each in looked.columns],
    }
