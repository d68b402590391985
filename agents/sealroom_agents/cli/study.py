# SPDX-License-Identifier: Apache-2.0
"""``sealroom study``: from an idea to a recipe that owners can approve, with no data and no chain."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click

from sealroom_agents.cli.ending import refuse
from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.study_paths import FOLDER, STUDY, read_study
from sealroom_agents.cli.study_runs import attempt, dry_run
from sealroom_agents.cli.terminal import one_object, plural, shown
from sealroom_agents.errors import CommandExit

TEMPLATES = ("cohort", "survival", "model", "vector", "blocks", "reading")


@click.group()
def study() -> None:
    """From an idea to a recipe that owners can approve: no data, no keys, no chain.

    A study is a folder. `study.yaml` says which tables it reads, what it computes of them, which numbers may
    leave, and how much privacy that costs. Where SQL does not fit the question, `analysis.py` stands beside
    it.

    \b
    Example:
      sealroom study new kidneys --template cohort
      sealroom study dry-run kidneys
    """


@study.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default=TEMPLATES[0],
    show_default=True,
    help="cohort: counts, means and quantiles by group. survival: curves and hazard ratios. model: a "
    "logistic model and a network. vector: means of many columns at once. These four by SQL. blocks: any "
    "Python over one block of people at a time. reading: any Python over all rows, which owners "
    "have to read.",
)
@json_option
def new(folder: Path, template: str, as_json: bool) -> None:
    """Write a study to start from: a folder NAME that passes check and dry-run as it is.

    Its study.yaml explains each line. Change the schemas to your data's columns first, then the query, then
    what leaves.

    \b
    Example:
      sealroom study new kidneys
      sealroom study new models/readmission --template model
    """
    from sealroom_agents.studies.templates import write_study

    written = write_study(folder, template)
    if as_json:
        click.echo(one_object({"written": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(f"wrote {shown(str(path))}")
    click.echo(f"next: sealroom study dry-run {shown(str(folder))}", err=True)


@study.command()
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@click.option(
    "--people",
    type=click.IntRange(1),
    help="People of all owners together; else those that the relation says.",
)
@click.option("--rows", type=click.IntRange(1), help="Rows of all datasets together; else one a person.")
@json_option
def check(folder: Path, people: int | None, rows: int | None, as_json: bool) -> None:
    """Find all that is certain to fail in the study in FOLDER, and what is likely to, each with its line.

    Errors are certain: what rendering refuses, imports that the enclave's image has not, names that the
    recipe does not declare, labels that the SQL never gives, groups that noise drowns. Warnings are worth a
    look. With --people, groups are held against the minimum cohort; with --rows, the time that a run takes,
    as measured on two cores, against the time that it has.

    Nothing is run, and no data are needed.

    \b
    Exit status: 0 without errors, 1 with.

    \b
    Example:
      sealroom study check kidneys --people 8000
    """
    from sealroom_agents.studies.check import check as find

    found = find(folder, people=people, rows=rows)
    errors = sum(each.certain for each in found)
    if as_json:
        members = [
            {
                "certain": each.certain,
                "code": each.code,
                "message": each.message,
                "hint": each.hint,
                "file": each.place.file,
                "line": each.place.line,
                "column": each.place.column,
            }
            for each in found
        ]
        click.echo(json.dumps({"ok": not errors, "findings": members}))
    else:
        for each in found:
            word = "error" if each.certain else "warning"
            click.echo(shown(f"{folder / each.place.file}{each.place.rest}: {word}: {each.message}"))
            if each.hint:
                click.echo(shown(f"  {each.hint}"))
        click.echo(f"{plural(errors, 'error')}, {plural(len(found) - errors, 'warning')}")
    if errors:
        raise click.exceptions.Exit(CommandExit.FAILED)


@study.command()
@click.argument("folder", metavar="STUDY", type=STUDY)
@click.option(
    "--people",
    type=click.IntRange(1, 10**10),
    multiple=True,
    help="Tell the expected error with so many people; may be given several times.",
)
@click.option(
    "--registered",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A sealed file, or its registration: its rows are counted, as if each were another person's. May be "
    "given several times.",
)
@json_option
def explain(folder: Path, people: tuple[int, ...], registered: tuple[Path, ...], as_json: bool) -> None:
    """Say in plain words what STUDY, its folder or its recipe, lets out, and how private it is.

    Which guarantee holds and on what it rests; what ε and δ let an adversary conclude about one person, in
    odds; each number that leaves, and how far noise moves it; what is withheld. Errors are foretold without
    data, for groups of one size: with --people or --registered for that size, else for as many people as the
    relation says, else for 1,000 in a group.

    \b
    Example:
      sealroom study explain kidneys --people 2000 --people 50000
      sealroom study explain app-compose.json
    """
    from sealroom_agents.owner.registration import registration_in
    from sealroom_agents.studies.explain import facts, sections

    recipe = read_study(folder)
    cohorts = list(people)
    if registered:
        cohorts.append(sum(registration_in(path).version.rows for path in registered))
    if not cohorts and recipe.relation is not None and recipe.relation.people is not None:
        cohorts.append(recipe.relation.people)
    if as_json:
        click.echo(one_object(facts(recipe, cohorts)))
        return
    for title, sentences in sections(recipe, cohorts):
        click.echo(shown(title))
        for sentence in sentences:
            indent = " " * (len(sentence) - len(sentence.lstrip(" ")) + 2)
            click.echo(
                textwrap.fill(shown(sentence.strip()), 100, initial_indent=indent, subsequent_indent=indent)
            )
        click.echo()


@study.command()
@click.argument("old", type=STUDY)
@click.argument("new", type=STUDY)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Show what is different in NEW, against OLD: folders of studies, or recipes.

    First what it costs in privacy, then what leaves, what is read, and the text that computes. What owners
    approve is compared, so comments in study.yaml make no difference. In SQL and scripts each character
    beyond ASCII stands by its number: look-alikes and invisible ones cannot hide.

    \b
    Exit status: 0 if they are the same recipe, 1 if they differ, 2 if one is no recipe.

    \b
    Example:
      sealroom study diff approved.json kidneys
    """
    from sealroom.errors import SealroomError
    from sealroom_agents.studies.diff import NOTHING
    from sealroom_agents.studies.diff import diff as compare

    try:
        found = compare(read_study(old), read_study(new), most_lines=None)
    except SealroomError as error:
        refuse(error.code, error.message, error.hint, as_json=as_json)
        raise click.exceptions.Exit(CommandExit.USAGE) from None
    if as_json:
        members = [
            {"about": each.about, "old": each.old, "new": each.new, "lines": list(each.lines)}
            for each in found
        ]
        click.echo(one_object({"same": not found, "changes": members}, ok=not found))
    for each in () if as_json else found:
        if each.lines:
            click.echo(f"{each.about}:")
            for line in each.lines:
                click.echo(f"  {line}")
        else:
            one, other = (shown(NOTHING if value is None else value) for value in (each.old, each.new))
            click.echo(f"{shown(each.about)}: {one} → {other}")
    if found:
        raise click.exceptions.Exit(CommandExit.FAILED)
    if not as_json:
        click.echo("the same recipe")


study.add_command(dry_run)
study.add_command(attempt)
