# SPDX-License-Identifier: Apache-2.0
"""``sealroom study``: from an idea to a recipe that owners can approve, with no data and no chain."""

from __future__ import annotations

import ast
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.terminal import complain, plural, read_bounded, shown, size, table
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom.recipe import Recipe
    from sealroom_agents.studies.dry_run import DryRun

WOULD_FAIL = 5
"""Exit status of a dry run that ends without a result: as of a run in the enclave."""
TEMPLATES = ("cohort", "survival", "model", "vector", "blocks", "reading")
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
STUDY = click.Path(path_type=Path, exists=True)


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
def new(folder: Path, template: str) -> None:
    """Write a study to start from: a folder NAME that passes check and dry-run as it is.

    Its study.yaml explains each line. Change the schemas to your data's columns first, then the query, then
    what leaves.

    \b
    Example:
      sealroom study new kidneys
      sealroom study new models/readmission --template model
    """
    from sealroom_agents.studies.templates import write_study

    for path in write_study(folder, template):
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
        click.echo(json.dumps({"ok": not errors, "findings": members}, ensure_ascii=False))
    else:
        for each in found:
            word = "error" if each.certain else "warning"
            click.echo(shown(f"{folder / each.place.file}{each.place.rest}: {word}: {each.message}"))
            if each.hint:
                click.echo(shown(f"  {each.hint}"))
        click.echo(f"{plural(errors, 'error')}, {plural(len(found) - errors, 'warning')}")
    if errors:
        raise click.exceptions.Exit(CommandExit.FAILED)


@study.command(name="dry-run")
@click.argument("folder", metavar="STUDY", type=STUDY)
@click.option(
    "--people",
    type=click.IntRange(1, 1_000_000),
    default=2_000,
    show_default=True,
    help="People of all owners together, in data that are made up.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one makes up other data.")
@click.option(
    "--data",
    "given",
    multiple=True,
    metavar="OWNER/NAME=FILE",
    help="Take this Parquet file as the dataset, or this folder for a dataset of files: an owner's published "
    "sample, say. The others are made up. May be given several times.",
)
@click.option(
    "--sandboxed",
    type=click.IntRange(0, 4096),
    default=4,
    show_default=True,
    help="Of a study by blocks, run so many blocks in the sandbox; the others start faster without.",
)
@click.option(
    "--sandbox-only",
    is_flag=True,
    help="Run no line of a script outside the sandbox: for a study that somebody else wrote. No traceback.",
)
@json_option
def dry_run(
    folder: Path,
    people: int,
    seed: int,
    given: tuple[str, ...],
    sandboxed: int,
    sandbox_only: bool,
    as_json: bool,
) -> None:
    """Run STUDY, its folder or its recipe, on made-up data: what a run in the enclave does, without keys.

    Data are drawn from the declared schemas: every type, missing values, rows that are there twice, several
    rows a person, people at two owners, and the extremes of each type. Bounds and labels of the fields, and
    what the SQL compares with, tell what most values look like. Then the enclave's own code runs: the query
    as compiled, or the script, in its sandbox; the noise is real. What is printed would leave.

    A script that fails runs again outside the sandbox, with your rights, for its whole traceback: these data
    are nobody's. In a real run, an owner alone reads its line and the type of its exception. Of a recipe in a
    file, which somebody else may have written, and with --sandbox-only, nothing runs outside the sandbox.

    An owner may publish a made-up sample of a dataset as a plain Parquet file with the sealed one's columns:
    --data takes it.

    \b
    Exit status:
      0  a result would leave
      1  STUDY is no recipe, or a file is not what it declares
      5  the run would fail

    \b
    Example:
      sealroom study dry-run kidneys
      sealroom study dry-run kidneys --people 50000 --data hospital-A/visits=sample.parquet
    """
    from sealroom_agents.studies.checking.scripts import missing_modules
    from sealroom_agents.studies.dry_run import WouldFail
    from sealroom_agents.studies.dry_run import dry_run as run

    recipe = read_study(folder)
    if recipe.relation is None and folder.is_dir():
        # It may be installed here, and outside the sandbox the script then has it.
        for node, what, hint in missing_modules(ast.parse(recipe.analysis)):
            click.echo(shown(f"warning: line {node.lineno} of the script: {what}; {hint}"), err=True)
    try:
        done = run(
            recipe,
            people=people,
            seed=seed,
            data=dict(map(_dataset, given)),
            sandboxed=None if sandbox_only or not folder.is_dir() else sandboxed,
            told=lambda step: click.echo(step, err=True) if sys.stderr.isatty() else None,
        )
    except WouldFail as error:
        if as_json:
            failure = {"ok": False, "code": error.code, "error": error.message, "hint": error.hint}
            click.echo(json.dumps(failure | {"printed": error.printed}, ensure_ascii=False))
        elif error.printed:
            _echo_printed(error.printed)
        complain(error.message, error.hint)
        raise click.exceptions.Exit(WOULD_FAIL) from None
    click.echo(json.dumps(_facts(done)) if as_json else "\n".join(_lines(done)))
    if done.printed and not as_json:
        click.echo("\na block that gave no number prints outside the sandbox:", err=True)
        _echo_printed(done.printed)


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
        click.echo(json.dumps(facts(recipe, cohorts), ensure_ascii=False))
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
        found = compare(read_study(old), read_study(new))
    except SealroomError as error:
        complain(error.message, error.hint)
        raise click.exceptions.Exit(CommandExit.USAGE) from None
    if as_json:
        members = [
            {"about": each.about, "old": each.old, "new": each.new, "lines": list(each.lines)}
            for each in found
        ]
        click.echo(json.dumps({"same": not found, "changes": members}, ensure_ascii=False))
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


@study.command(name="try")
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@click.option(
    "--data",
    "given",
    multiple=True,
    metavar="OWNER/NAME=FILE",
    help="Take this Parquet file as the dataset, or this folder for a dataset of files; the others are made "
    "up.",
)
@click.option(
    "--people",
    type=click.IntRange(1, 1_000_000),
    default=2_000,
    show_default=True,
    help="In data that are made up.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one makes up other data.")
@click.option("--keep", is_flag=True, help="Leave the processes up at the end.")
@click.option(
    "--dir",
    "place",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".try"),
    show_default=True,
    help="Where everything is written. A new or an empty folder, or an earlier try's: that one is emptied.",
)
def attempt(folder: Path, given: tuple[str, ...], people: int, seed: int, keep: bool, place: Path) -> None:
    """Take the study in FOLDER the whole way on this machine: the chain is local and TDX is simulated.

    The owners of its owners.json seal their files, which are made up unless --data names some; they approve
    the recipe on chain; one run gets its keys, computes, and signs its result; `sealroom verify` walks every
    link. The envelope, the result, the pin and every key that was made lie in --dir.

    It needs a checkout of the project, as the demo does, and takes two minutes and the study's own
    release_after_seconds.

    \b
    Example:
      sealroom study try kidneys
      sealroom study try kidneys --data hospital-A/visits=sample.parquet
    """
    from sealroom_agents.demo.attempt import attempt as run
    from sealroom_agents.demo.command import standing

    recipe = read_study(folder)
    data = dict(map(_dataset, given))
    with standing(place, keep=keep) as (stack, screen):
        done = run(stack, screen, folder.resolve(), recipe, data=data, people=people, seed=seed)
        for path in (done.envelope, done.result, done.pin):
            screen.plain(f"  {shown(str(path))}")


def read_study(path: Path) -> Recipe:
    """The recipe of a study's folder, or in a file."""
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse, render

    return parse(render(path) if path.is_dir() else read_bounded(path, MAX_COMPOSE_BYTES, "a recipe"))


def _dataset(given: str) -> tuple[str, Path]:
    name, separator, path = given.partition("=")
    if not separator or not Path(path).exists():
        raise click.UsageError(f"--data {given}: write OWNER/NAME=FILE, with a file that is there")
    return name, Path(path)


def _echo_printed(text: str) -> None:
    for line in text.rstrip("\n").splitlines():
        click.echo(shown(line.expandtabs()), err=True)


def _lines(done: DryRun) -> list[str]:
    from sealroom_agents.plots.text import lines as value_lines

    recipe = done.recipe
    lines = [table([*_read_lines(done), *_cost_lines(done)]), ""]
    lines += [shown(line) for line in value_lines(recipe, done.result["fields"])]
    for name, count in done.blocks.items():
        lines.append(
            f"{name}: {count} of {recipe.blocks} blocks gave a number; the others count with the middle"
        )
    lines.append(
        f"this is all that would leave: {done.result_bytes:,} bytes of at most "
        f"{recipe.output.limit_bytes:,}, signed, {recipe.privacy.release_after_seconds} s after the grant"
    )
    return lines


def _read_lines(done: DryRun) -> list[tuple[str, str]]:
    lines = []
    for each in done.read:
        what = (
            plural(each.files or 0, "file")
            if each.rows is None
            else f"{plural(each.rows, 'row')}, {each.people:,} people"
        )
        lines.append((each.path, f"{what}, {size(each.size)}{', made up' if each.made_up else ''}"))
    if any(each.rows is not None for each in done.read):
        lines.append(("people", f"{done.people:,} in all, {done.shared:,} of them at several owners"))
    return lines


def _cost_lines(done: DryRun) -> list[tuple[str, str]]:
    spent = ", ".join(f"{step} {seconds:.1f}" for step, seconds in done.seconds.items())
    handed = max((each.rows for each in done.released.values()), default=0)
    handed_bytes = sum(each.size for each in done.released.values())
    return [
        (
            "handed over",
            f"{plural(handed, 'row')}, {size(handed_bytes)} for all fields",
        ),
        (
            "memory",
            f"{size(done.job_bytes)} the analysis, {size(done.custodian_bytes)} the custodian, at most",
        ),
        ("seconds", f"{spent}; the analysis has {done.allowed:.0f}"),
    ]


def _facts(done: DryRun) -> dict[str, Any]:
    return {
        "ok": True,
        "study": done.recipe.name,
        "result": done.result,
        "resultBytes": done.result_bytes,
        "read": [
            {
                "dataset": each.path,
                "madeUp": each.made_up,
                "rows": each.rows,
                "people": each.people,
                "files": each.files,
                "bytes": each.size,
            }
            for each in done.read
        ],
        "people": done.people,
        "shared": done.shared,
        "handedOver": {
            name: {"rows": each.rows, "bytes": each.size, "seconds": round(each.seconds, 3)}
            for name, each in done.released.items()
        },
        "blocks": dict(done.blocks),
        "seconds": {step: round(seconds, 3) for step, seconds in done.seconds.items()},
        "allowedSeconds": done.allowed,
        "jobBytes": done.job_bytes,
        "custodianBytes": done.custodian_bytes,
        "printed": done.printed,
    }
