# SPDX-License-Identifier: Apache-2.0
"""``sealroom study dry-run`` and ``try``: a study on made-up data, or on files that a person names."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.options import json_option
from sealroom_agents.cli.study_paths import FOLDER, STUDY, read_study
from sealroom_agents.cli.terminal import complain, plural, shown, size, table
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.studies.dry_run import DryRun

Command = Callable[..., Any]


def _made_up(command: Command) -> Command:
    """The options that say which data a study runs on."""
    options = (
        click.option(
            "--data",
            "given",
            multiple=True,
            metavar="OWNER/NAME=FILE",
            help="Take this Parquet file as the dataset, or this folder for a dataset of files: an owner's "
            "published sample, say. The others are made up. May be given several times.",
        ),
        click.option(
            "--people",
            type=click.IntRange(1, 1_000_000),
            default=2_000,
            show_default=True,
            help="People of all owners together, in data that are made up.",
        ),
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Another one makes up other data."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(name="dry-run")
@click.argument("folder", metavar="STUDY", type=STUDY)
@_made_up
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
    from sealroom_agents.studies.dry_run import dry_run as run
    from sealroom_agents.studies.dry_watch import WouldFail

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
            click.echo(json.dumps(failure | {"printed": error.printed}))
        elif error.printed:
            _echo_printed(error.printed)
        complain(error.message, error.hint)
        raise click.exceptions.Exit(CommandExit.WOULD_FAIL) from None
    click.echo(json.dumps(_facts(done)) if as_json else "\n".join(_lines(done)))
    if done.printed and not as_json:
        click.echo("\na block that gave no number prints outside the sandbox:", err=True)
        _echo_printed(done.printed)


@click.command(name="try")
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@_made_up
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

    It takes one minute and the study's own release_after_seconds. `sealroom up --local` sets the same room
    up, and leaves each step to you.

    \b
    Example:
      sealroom study try kidneys
      sealroom study try kidneys --data hospital-A/visits=sample.parquet
    """
    from sealroom_agents.demo.attempt import attempt as run
    from sealroom_agents.demo.command import standing

    recipe = read_study(folder)
    data = dict(map(_dataset, given))
    with standing(place, keep=keep) as stage:
        done = run(stage, folder.resolve(), recipe, data=data, people=people, seed=seed)
        for path in (done.envelope, done.result, done.pin):
            stage.screen.plain(f"  {shown(str(path))}")


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
