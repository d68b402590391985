# SPDX-License-Identifier: Apache-2.0
"""``sealroom images``: a folder of pictures and a table of people as one table that can be sealed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.input_options import given_dialect, input_options
from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import interruptible, one_object, plural, progress, table, warn
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.schema import Column
    from sealroom_agents.owner.image_table import Written
    from sealroom_agents.owner.images import Form

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class SizeType(click.ParamType):
    """Width and height as `28x28`."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not width x height, as 28x28", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--table", "people", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE", help="Parquet or CSV: a row for each picture, with the name of its file.",
)  # fmt: skip
@click.option(
    "--size", required=True, type=SizeType(), metavar="WxH", help="Of every picture, in pixels: 28x28."
)
@click.option(
    "--out", required=True, type=FILE, metavar="FILE", help="The table that is written, as Parquet."
)
@click.option(
    "--colour", type=click.Choice(["grey", "rgb"]), default="grey", show_default=True,
    help="One number a pixel, or three.",
)  # fmt: skip
@click.option(
    "--fit", type=click.Choice(["exact", "crop", "pad", "stretch"]), default="exact", show_default=True,
    help="A picture of another shape is refused, cut at its edges, put on black, or pulled.",
)  # fmt: skip
@click.option(
    "--type", "types", multiple=True, metavar="NAME=TYPE",
    help="Type of a column of a CSV, as person=int64.  [default: string]",
)  # fmt: skip
@click.option(
    "--file-column", "names", default="file", show_default=True, metavar="NAME",
    help="Column with the names of files within FOLDER. It is not in what is written.",
)  # fmt: skip
@click.option(
    "--column",
    "pictures",
    default="pixels",
    show_default=True,
    metavar="NAME",
    help="Column of the pictures.",
)
@input_options()
@click.option("--leave-out", is_flag=True, help="Rows whose picture cannot be taken have none, and are told.")
@json_option
def images(
    folder: Path,
    people: Path,
    size: tuple[int, int],
    out: Path,
    colour: str,
    fit: str,
    types: tuple[str, ...],
    names: str,
    pictures: str,
    leave_out: bool,
    as_json: bool,
) -> None:
    """Write a folder of pictures and a table as one Parquet file, for `sealroom seal`.

    Pictures are decoded here, where they are, and never in an enclave: what is sealed is a list of numbers
    from 0 to 255, for each row of the table. They are PNG or JPEG of 8 bits a channel, made as large as
    --size says: a pixel is the mean of those that it covers, and of a picture that is smaller, pixels are
    copied; how many were made larger or smaller is told. Each channel is written row by row.

    Files of DICOM are no pictures here: docs/inputs.md says how a folder of them becomes a table, with the
    window that makes black and white of their values.

    Nothing else of a file, such as where and when it was taken, is in what is written.

    It needs the extra images: pip install 'sealroom[images]'.

    \b
    Example:
      sealroom images scans/ --table people.csv --type person=int64 --size 28x28 --out scans.parquet
    """
    from sealroom.files import PRIVATE, TargetExists, atomic_output
    from sealroom_agents.owner.image_table import ImageTable, read_table

    form = _form(size, colour, fit)
    made = ImageTable(
        folder, read_table(people, _columns(types), given_dialect()), names=names, pictures=pictures
    )
    try:
        with (
            interruptible(),
            atomic_output(out, mode=PRIVATE) as target,
            progress(f"reading {folder.name}", total := made.bytes) as bar,
        ):
            advance = None if bar is None else lambda done: bar(done, total)
            written = made.write(target, form, leave_out=leave_out, advance=advance)
    except TargetExists:
        raise ToolError(Code.OUTPUT_EXISTS, f"{out} is there already", "take another name") from None
    _report(written, form, out, pictures, as_json=as_json)


def _form(size: tuple[int, int], colour: str, fit: str) -> Form:
    from sealroom.privacy.features import MAX_LENGTH
    from sealroom_agents.owner.images import FITS, Form

    width, height = size
    form = Form(width, height, 1 if colour == "grey" else 3, next(each for each in FITS if each == fit))
    if form.length > MAX_LENGTH:
        raise click.BadParameter(
            f"a picture of {form.length:,} numbers; a model takes {MAX_LENGTH:,}", param_hint="--size"
        )
    return form


def _columns(types: tuple[str, ...]) -> list[Column]:
    from sealroom.errors import FormatError
    from sealroom.schema import Column, parse_type

    found = []
    for each in types:
        name, equals, kind = each.partition("=")
        try:
            if not equals:
                raise click.BadParameter(f"{each!r} is not name=type", param_hint="--type")
            found.append(Column(name, parse_type(kind, column=name)))
        except FormatError as error:
            raise click.BadParameter(error.message, param_hint="--type") from None
    return found


def _report(written: Written, form: Form, out: Path, pictures: str, *, as_json: bool) -> None:
    from sealroom.schema import plain_type

    layer = [form.channels, form.height, form.width]
    if as_json:
        told = {
            "out": str(out), "rows": written.rows, "withoutPicture": written.without, "length": form.length,
            "columns": {name: plain_type(kind) for name, kind in written.columns}, "unflatten": layer,
            "madeLarger": written.larger, "madeSmaller": written.smaller,
        }  # fmt: skip
        click.echo(one_object(told))
        return
    if written.without:
        warn(
            f"{plural(len(written.without), 'row')} without a picture; the first is row {written.without[0]}"
        )
    size = f"{form.width} × {form.height}"
    if written.larger:
        warn(f"{plural(written.larger, 'picture')} made larger, to {size}: copied pixels tell nothing new")
    made = f", {plural(written.smaller, 'picture')} made smaller, to {size}" if written.smaller else ""
    click.echo(f"wrote {out}: {plural(written.rows, 'row')}{made}", err=True)
    columns = ", ".join(f"{name}: {json.dumps(plain_type(kind))}" for name, kind in written.columns[:-1])
    rows = [
        ("columns", f"{{{columns}, {pictures}: {{type: list, of: uint8}}}}"),
        ("vectors", f"[{{name: {pictures}, length: {form.length}, lower: 0, upper: 255}}]"),
        ("layers", f"[{{unflatten: {layer}}}, …]"),
    ]
    click.echo(table(rows))
