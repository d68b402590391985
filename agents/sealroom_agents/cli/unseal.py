# SPDX-License-Identifier: Apache-2.0
"""``sealroom unseal``: the owner's way back from a sealed file and its data key to the file itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.key_options import asked_key, key_options
from sealroom_agents.cli.options import FILE, dry_run_option, json_option
from sealroom_agents.cli.terminal import complain, interruptible, into_file, plural, progress, size, table
from sealroom_agents.errors import CommandExit, ToolError

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom.sealed import Header, SealedInfo
    from sealroom_agents.owner.salvage import Salvage

_WRONG_KEY = "where you are sure of the key, the index may be damaged: --salvage --out FILE tries every part"
_NO_HEADER = (
    "if it was sealed: each part is bound to the header, so nothing opens without it; restore the sealed file"
)
_SALVAGE = "which parts are broken, and what can be had without them: --salvage --out FILE"


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@key_options()
@click.option(
    "--out",
    required=True,
    type=FILE,
    metavar="FILE",
    help="Where the opened file goes; - is stdout, for a pipe.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.option(
    "--salvage",
    is_flag=True,
    help="Of a damaged file, write what opens, with zeros in place of the rest, and say what is lost.",
)
@dry_run_option
@json_option
def unseal(sealed_file: Path, out: Path, force: bool, salvage: bool, dry_run: bool, as_json: bool) -> int:
    """Open a sealed file with its data key, and write what was sealed, bit for bit.

    A table comes back as the Parquet file that was sealed, an opaque file as itself, a folder as a tar. The
    header, the key and every part are verified; the output appears whole or not at all, for you alone to
    read. Into a pipe nothing goes before all parts were compared with the index.

    With --dry-run every part is opened, and none is written.

    A file that is damaged is refused, and nothing is written. With --salvage each part is tried on its own:
    what opens stands in its place, what does not is zeros, and the status is 1. The parts are named with
    their first and last byte, so that whoever knows the format knows which row groups are lost.

    \b
    Example:
      sealroom unseal sealed/hospital-A/cohort-A.tar --out cohort-A.parquet
      sealroom unseal cohort-A.tar --key-command 'pass show cohort-A' --out -
      sealroom unseal damaged.tar --key keys/hospital-A/cohort-A.key --salvage --out rest.parquet --json
    """
    from sealroom_agents.cli import datakey
    from sealroom_agents.cli.key_place import key_place
    from sealroom_agents.owner import disk_space

    into_pipe = str(out) == "-"
    if into_pipe and not dry_run:
        _need_pipe(salvage=salvage, as_json=as_json)
    elif not into_pipe:
        _refuse_place(out, force=force)
    with expecting(sealed_file, SEALED):
        header = _header(sealed_file)
    key = datakey.read(asked_key() or key_place(sealed_file, header), of=header)
    if not into_pipe:
        disk_space.need(out.absolute().parent, header.size, what=str(out))
    try:
        if dry_run:
            return _rehearse(sealed_file, out, key, salvage=salvage, as_json=as_json)
        with interruptible():
            if salvage:
                return _salvaged(sealed_file, out, key, force=force, as_json=as_json)
            info = _opened(sealed_file, out, key, force=force, into_pipe=into_pipe)
    finally:
        key.wipe()
    if as_json:
        click.echo(json.dumps(_facts(info, out)))
    elif not into_pipe:
        click.echo(table(_lines(info, out)))
    return CommandExit.DONE


def _rehearse(sealed_file: Path, out: Path, key: Secret, *, salvage: bool, as_json: bool) -> int:
    """Open every part, and write none of it. Raises with the code of what does not open."""
    from sealroom_agents.cli.rehearsal import rehearsed
    from sealroom_agents.owner.salvage import salvage as tried

    with progress(f"opening {sealed_file.name}", sealed_file.stat().st_size) as advance:
        found = tried(sealed_file, dek=key, progress=advance)
    lost = found.frame is not None or bool(found.broken)
    if lost and not salvage:
        code = Code.PARTS_BROKEN if found.frame is None else found.frame.code
        raise ToolError(code, f"{sealed_file} is damaged: {plural(found.lost, 'part')} do not open", _SALVAGE)
    opened = f"{found.header.parts - found.lost:,} of {plural(found.header.parts, 'part')}"
    would = [("write", f"{out}  {size(found.header.size)}, {opened}")]
    rehearsed(would, salvage_facts(found, out), as_json=as_json)
    return CommandExit.FAILED if lost else CommandExit.DONE


def _need_pipe(*, salvage: bool, as_json: bool) -> None:
    if salvage or as_json:
        raise click.UsageError("--out - gives nothing but the file: leave out --salvage and --json")
    if sys.stdout.isatty():
        raise click.UsageError("stdout is a terminal: name a file with --out, or send it into a pipe")
    if into_file():
        # The shell made it, for others to read too, and it would keep a part of what failed later.
        raise click.UsageError("stdout is a file: name it with --out FILE, or send it into a pipe")


def _refuse_place(out: Path, *, force: bool) -> None:
    """What would be refused after the work is refused before. Raises `output-exists`, `output-unwritable`,
    `plain-would-leave`."""
    from sealroom.sealed.target import output_exists
    from sealroom_agents.cli.seal_outputs import refuse_plain_that_would_leave

    refuse_plain_that_would_leave(out, what="the opened file")
    if os.path.lexists(out):
        if out.exists() and not out.is_file():
            raise ToolError(Code.OUTPUT_UNWRITABLE, f"{out} is no file", "name a file, or - for stdout")
        if not force:
            error = output_exists(out)
            raise ToolError(error.code, error.message, "name another file, or replace it: --force")


def _header(sealed_file: Path) -> Header:
    """The header alone: of a damaged file it may be all that can be read. Without it no part opens, for each
    is bound to it."""
    from sealroom.errors import HeaderError
    from sealroom.sealed.archive import HEADER_NAME, ArchiveReader
    from sealroom.sealed.header import MAX_HEADER_BYTES, Header
    from sealroom.sealed.reader import open_file

    descriptor = open_file(sealed_file)
    try:
        reader = ArchiveReader(descriptor)
        return Header.parse(reader.read(reader.member(HEADER_NAME, limit=MAX_HEADER_BYTES)))
    except HeaderError as error:
        raise HeaderError(error.code, error.message, error.hint or _NO_HEADER) from None
    finally:
        os.close(descriptor)


def _opened(sealed_file: Path, out: Path, key: Secret, *, force: bool, into_pipe: bool) -> SealedInfo:
    from sealroom import sealed
    from sealroom.errors import SealError
    from sealroom_agents.owner.to_pipe import to_pipe

    try:
        with progress(f"opening {sealed_file.name}", sealed_file.stat().st_size) as advance:
            if into_pipe:
                return to_pipe(sealed_file, sys.stdout.buffer, dek=key, progress=advance)
            return sealed.unseal(sealed_file, out, dek=key, progress=advance, overwrite=force)
    except SealError as error:
        if error.code == Code.WRONG_KEY:
            raise type(error)(error.code, error.message, _WRONG_KEY) from None
        if error.code not in _DAMAGE:
            raise
        raise type(error)(error.code, error.message, _SALVAGE) from None


_DAMAGE = (
    Code.PART_ALTERED,
    Code.PART_DOES_NOT_OPEN,
    Code.ARCHIVE_TRUNCATED,
    Code.ARCHIVE_MALFORMED,
    Code.INDEX_MALFORMED,
    Code.INDEX_MISMATCH,
    Code.WRAP_MALFORMED,
    Code.WRAP_MISMATCH,
    Code.SOURCE_UNREADABLE,
)
"""What a file says that was damaged after it was sealed, or whose disk is dying."""


def _salvaged(sealed_file: Path, out: Path, key: Secret, *, force: bool, as_json: bool) -> int:
    from sealroom_agents.owner.salvage import salvage

    with progress(f"opening {sealed_file.name}", sealed_file.stat().st_size) as advance:
        found = salvage(sealed_file, dek=key, target=out, overwrite=force, progress=advance)
    if as_json:
        click.echo(json.dumps(salvage_facts(found, out)))
    else:
        for each in found.broken:
            click.echo(f"BROKEN  {each.sentence()}")
        opened = found.header.parts - found.lost
        click.echo(table([("written", str(out)), ("opened", f"{opened:,} of {found.header.parts:,} parts")]))
    if not found.broken and found.frame is None:
        return CommandExit.DONE
    what = f"{plural(found.lost, 'part')} of {found.header.parts:,} lost"
    if found.frame is not None:
        what += f"; the archive: {found.frame.message}"
    complain(f"{sealed_file} is damaged: {what}", "fetch or restore the sealed file, and unseal that")
    return CommandExit.FAILED


def salvage_facts(found: Salvage, out: Path) -> dict[str, object]:
    """What was salvaged, as JSON."""
    whole = not found.broken and found.frame is None
    return {
        "ok": whole,
        "code": None
        if whole
        else Code.PARTS_BROKEN
        if found.broken or found.frame is None
        else found.frame.code,
        "opened": str(out),
        "size": found.header.size,
        "parts": found.header.parts,
        "partSize": found.header.part_size,
        "lost": found.lost,
        "broken": [each.json() for each in found.broken],
        "frame": None if found.frame is None else found.frame.code,
    }


def _facts(info: SealedInfo, out: Path) -> dict[str, object]:
    from sealroom.encoding import to_hex

    header = info.header
    return {
        "ok": True,
        "opened": str(out),
        "datasetId": to_hex(info.dataset_id),
        "dataset": header.dataset,
        "datasetVersion": header.dataset_version,
        "account": header.owner,
        "headerDigest": to_hex(info.header_digest),
        "mediaType": header.media_type,
        "rows": header.rows,
        "size": header.size,
        "parts": header.parts,
    }


def _lines(info: SealedInfo, out: Path) -> list[tuple[str, str]]:
    header = info.header
    rows = "not a table" if header.rows is None else f"{header.rows:,}"
    return [
        ("opened", f"{out}  plain: keep it as you kept the input"),
        ("dataset", f"{header.dataset} of {header.owner}, version {header.dataset_version}"),
        ("rows", rows),
        ("size", f"{size(header.size)}, all {plural(header.parts, 'part')} verified"),
    ]
