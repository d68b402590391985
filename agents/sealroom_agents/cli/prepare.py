# SPDX-License-Identifier: Apache-2.0
"""``sealroom prepare``: an owner's input as the columns that a study reads, by a small declared file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from sealroom.codes import Code
from sealroom.files import PRIVATE, TargetExists, atomic_output, write_atomic
from sealroom_agents.cli.input_options import TABLES, given_dialect, given_kind, input_options
from sealroom_agents.cli.options import FILE, FILE_OR_FOLDER, json_option
from sealroom_agents.cli.prepare_told import Told
from sealroom_agents.cli.pseudonym_options import pseudonym_key, pseudonym_key_options
from sealroom_agents.cli.seal_outputs import refuse_plain_that_would_leave
from sealroom_agents.cli.study_paths import recipe_in
from sealroom_agents.cli.terminal import interruptible, progress, refuse_stdout
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom_agents.owner.looking import Looked
    from sealroom_agents.owner.needs import Needs
    from sealroom_agents.owner.prepare.run import Prepared


@click.command()
@click.argument("source", metavar="INPUT", type=FILE_OR_FOLDER)
@click.option(
    "--with", "declared_file", type=FILE, metavar="FILE", help="The declared file; see docs/inputs.md."
)
@click.option("--out", type=FILE, metavar="FILE", help="The table that is made, as Parquet; of --init, the "
              "declared file.  [default of --init: stdout]")  # fmt: skip
@click.option(
    "--init", is_flag=True, help="Write a first declared file of the input's columns, to be corrected."
)
@click.option("--dry-run", is_flag=True, help="Do all of it, and write nothing.")
@click.option(
    "--study",
    type=FILE_OR_FOLDER,
    metavar="CARD|RECIPE",
    help="Hold the result against a study: its card, its recipe, or its folder.",
)
@click.option("--owner", metavar="ID", help="Whose dataset it is, as the recipe names it: hospital-A.")
@click.option("--name", metavar="NAME", help="The dataset's name in the recipe.  [default: the input's name]")
@input_options(*TABLES)
@pseudonym_key_options
@json_option
def prepare(
    source: Path,
    declared_file: Path | None,
    out: Path | None,
    init: bool,
    dry_run: bool,
    study: Path | None,
    owner: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Make the columns that a study reads of an input as it is: rename, cast, recode, replace ids.

    A declared file says of each column of the result what it is made of; one that it does not name does not
    leave. Cells become the declared type exactly, or the input is refused, with line and column of the first
    cell that does not fit, and never with what it holds. What is left out, and what stands in the result, is
    told.

    Ids of persons become pseudonyms, a hash under a key that the owners of the study share: so the rows of
    one person meet, and nobody reads who it is. Ids are brought to one spelling first, as the file declares.

    The result is a plain table, for its owner alone. `sealroom seal --prepare FILE` makes the same without a
    plain file on disk, and keeps the declared file with the dataset.

    How a CSV is written stands in the file; options such as --delimiter are for --init, which writes them
    there.

    \b
    Exit status: 0 if it was made, and can be sealed for the study where one is named; else 1.

    \b
    Example:
      sealroom prepare export.csv --init --study study.json --name cohort-A --out cohort-A.prepare.toml
      sealroom prepare export.csv --with cohort-A.prepare.toml --dry-run --pseudonym-key pseudonyms.key
      sealroom prepare export.csv --with cohort-A.prepare.toml --out cohort-A.parquet --study study.json
    """
    from sealroom_agents.cli.binding import check_columns
    from sealroom_agents.owner.prepare import declared as files
    from sealroom_agents.owner.prepare.run import prepared

    if study is None and (owner is not None or name is not None):
        raise click.UsageError("--owner and --name say which dataset of a study it is: pass --study")
    needs = _needs(study, owner=owner, name=source.stem if name is None else name)
    if init:
        _write_first(source, out, needs)
        return
    if declared_file is None:
        raise click.UsageError("needs --with FILE, the declared file; --init writes a first one")
    if (out is None) != dry_run:
        raise click.UsageError("needs --out FILE, or --dry-run, and not both")
    declared = files.read(declared_file)
    if needs is not None:
        check_columns(declared.result, needs, where=f"what {declared_file} declares")
    if out is not None:
        _refuse_place(out, source, declared_file)
    key = pseudonym_key(declared)
    try:
        with interruptible(), ExitStack() as stack:
            made = stack.enter_context(
                prepared(source, declared, key=key, place=(source if out is None else out).absolute().parent)
            )
            stream = stack.enter_context(_target(source, out))
            looked, size = _make(made, stream, needs)
            if not looked.fits:
                raise AssertionError("columns that fit by their declaration do not fit as they are written")
            told = Told(made, declared_file, looked, needs, out, size)
        told.tell(as_json=as_json)
    finally:
        if key is not None:
            key.wipe()


def _needs(study: Path | None, *, owner: str | None, name: str) -> Needs | None:
    from sealroom_agents.owner.needs import needs_of

    return None if study is None else needs_of(recipe_in(study), owner=owner, name=name)


def _make(made: Prepared, stream: BinaryIO, needs: Needs | None) -> tuple[Looked, int]:
    """Write the table, and look through what was written; with its size in bytes."""
    from sealroom.schema.arrow import arrow_schema
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.looking import look_through
    from sealroom_agents.owner.spool import DESCRIPTORS
    from sealroom_agents.owner.tables.to_parquet import write_batches

    with progress(f"preparing {made.path.name}", made.table.size) as bar:
        step = None if bar is None else partial(_step, bar, made.table.size)
        write_batches(made.batches(advance=step), arrow_schema(made.columns), stream)
    stream.flush()
    written = DESCRIPTORS / str(stream.fileno())
    found = sources.look(written, kind="parquet", declared=None)
    people = next((each.name for each in made.declared.columns if each.pseudonym is not None), None)
    return look_through(found, needs, people=people), found.size


def _step(advance: Callable[[int, int], None], total: int, done: int) -> None:
    advance(done, total)


def _refuse_place(out: Path, *inputs: Path) -> None:
    """What would be refused after the work is refused before."""
    refuse_stdout(out)
    refuse_plain_that_would_leave(out, what="the prepared table")
    if any(out.resolve() == each.resolve() for each in inputs):
        raise ToolError(Code.SAME_FILE, f"{out} is an input too", "name another --out")
    if os.path.lexists(out):
        raise _exists(out)


@contextmanager
def _target(source: Path, out: Path | None) -> Iterator[BinaryIO]:
    """Where the table is written: a file without a name, which gets that of `out` when all went well."""
    from sealroom_agents.owner.spool import nameless

    if out is None:
        with nameless(source.absolute().parent) as (stream, _):
            yield stream
        return
    try:
        with atomic_output(out, mode=PRIVATE) as stream:
            yield stream
    except TargetExists:
        raise _exists(out) from None


def _exists(out: Path) -> ToolError:
    return ToolError(Code.OUTPUT_EXISTS, f"{out} exists", "remove it, or name another --out")


def _write_first(source: Path, out: Path | None, needs: Needs | None) -> None:
    """Write a first declared file; never over another, which its owner has corrected."""
    from sealroom_agents.owner.prepare.first import first_file
    from sealroom_agents.owner.prepare.tables import TableForm

    text = first_file(source, TableForm(given_kind() or "", given_dialect()), needs)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomic(out, text.encode(), mode=PRIVATE)
    except TargetExists:
        raise _exists(out) from None
    click.echo(
        f"{out}: correct it, and try it with sealroom prepare {source} --with {out} --dry-run", err=True
    )
