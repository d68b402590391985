# SPDX-License-Identifier: Apache-2.0
"""``sealroom drill restore``: whether a backup can be restored, with what its owner has in hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.check import all_findings
from sealroom_agents.cli.key import Held, held_key
from sealroom_agents.cli.key_options import opener_options
from sealroom_agents.cli.options import FILE, json_option, reader_for, rpc_option
from sealroom_agents.cli.terminal import complain, duration, finding, progress, size, table
from sealroom_agents.errors import ChainError, CommandExit

if TYPE_CHECKING:
    from sealroom.sealed import SealedInfo
    from sealroom_agents.owner.findings import Finding


@dataclass
class Drill:
    """What a drill found so far."""

    sealed: Path
    key: Path
    at: datetime
    """When it began."""
    info: SealedInfo | None = None
    """What the sealed file says; `None` where it cannot be read."""
    findings: list[Finding] = field(default_factory=list)
    seconds: float | None = None
    """What it took to open all of it; `None` where it does not open."""
    opens: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    not_tried: tuple[str, ...] = ()

    def json(self, verdict: str) -> dict[str, Any]:
        """The report."""
        from sealroom import __version__
        from sealroom.encoding import to_hex

        info = self.info
        told = {
            "dataset": info.header.dataset,
            "account": info.header.owner,
            "datasetVersion": info.header.dataset_version,
            "datasetId": to_hex(info.dataset_id),
            "headerDigest": to_hex(info.header_digest),
            "indexDigest": to_hex(info.index_digest),
            "size": info.header.size,
        } if info is not None else {}  # fmt: skip
        return {
            "ok": verdict == "holds",
            "verdict": verdict,
            "drill": "restore",
            "at": self.at.isoformat(timespec="seconds"),
            "sealroom": __version__,
            "sealed": str(self.sealed),
            "key": str(self.key),
            **told,
            "recipients": {
                "opens": self.opens,
                "doesNotOpen": self.refused,
                "notTried": self.not_tried,
            },
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "findings": [one.json() for one in self.findings],
        }


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@click.option(
    "--key",
    "key_file",
    type=FILE,
    required=True,
    metavar="FILE",
    help="The data key's file.",
)
@opener_options
@click.option(
    "--registration",
    type=FILE,
    metavar="FILE",
    help="The registration that seal wrote: the file must be the registered one.",
)
@rpc_option
@click.option(
    "--against",
    type=FILE,
    metavar="FILE",
    help="The file that was sealed: it is compared with what opens, byte for byte.",
)
@json_option
def restore(
    sealed_file: Path,
    key_file: Path,
    registration: Path | None,
    rpc: tuple[str, ...],
    against: Path | None,
    as_json: bool,
) -> int:
    """Rehearse the day on which the machine is gone: restore from the backup, and write nothing plain.

    Take sealed file and key file from the backup, on another machine, and each identity that is kept. Every
    copy of the key is tried with what was given; a file of identities that opens none of them is broken.
    Then every part is opened, and how long that takes is how long a restore would. With --registration or
    --rpc the file is exactly the registered one, and with --against it becomes the very bytes of its input:
    of a CSV, an Arrow file or a folder, what was sealed is a Parquet file of its rows.

    It ends in a report with its date, to be filed: text, or JSON with --json.

    \b
    Ends with the verdict as its status:
      0  everything that was asked holds
      1  something is broken; the first broken line says what
      3  not decided: no node answered, or they disagree

    \b
    Example:
      sealroom drill restore backup/cohort-A.tar --key backup/cohort-A.key --identity escrow.txt
      sealroom drill restore cohort-A.tar --key cohort-A.key --identity officer.txt --identity escrow.txt
        --registration cohort-A.registration.json --against cohort-A.parquet --json > drill-2026.json
    """
    from sealroom_agents.owner.source import check_path

    if against is not None:
        check_path(against)
    drill = Drill(sealed_file, key_file, datetime.now(UTC))
    undecided: ChainError | None = None
    with held_key(key_file, sealed_file, all_of_them=True) as held:
        try:
            for one in _found(drill, held, registration, rpc, against):
                drill.findings.append(one)
                if not as_json:
                    finding(one.name, one.detail, ok=one.ok, width=12)
        except ChainError as error:
            undecided = error
    broken = next((one for one in drill.findings if not one.ok), None)
    verdict = "broken" if broken else "undecided" if undecided else "holds"
    if as_json:
        click.echo(json.dumps(drill.json(verdict)))
    else:
        click.echo(table(list(_lines(drill, verdict))))
    if broken is not None:
        complain(f"{sealed_file} cannot be restored as asked: {broken.name}: {broken.detail}", _hint(broken))
        return CommandExit.FAILED
    if undecided is not None:
        complain(f"not decided: {undecided.message}", undecided.hint)
        return CommandExit.UNDECIDED
    return CommandExit.DONE


def _found(
    drill: Drill, held: Held, registration: Path | None, rpc: tuple[str, ...], against: Path | None
) -> Iterator[Finding]:
    """All findings, in their order: who opens the key, what the file is, and what it opens to."""
    from sealroom import sealed
    from sealroom.errors import SealError
    from sealroom_agents.owner.findings import Finding
    from sealroom_agents.owner.registration import load_registration, registration_of
    from sealroom_agents.owner.restored import restored

    drill.opens, drill.refused = held.by, held.refused
    drill.not_tried = tuple(
        slot.name for slot in held.file.slots if slot.name not in {*held.by, *held.refused}
    )
    if held.idle:
        said = f"no recipient's copy opens with {', '.join(held.idle)}"
        yield Finding("recipients", False, said, Code.IDENTITY_DOES_NOT_OPEN)
    elif not held.file.slots:
        yield Finding("recipients", True, "none: the key is plain, and opens for whoever has the file")
    else:
        said = f"{', '.join(held.by)} can open the key"
        for what, names in (("not opened as", drill.refused), ("not tried", drill.not_tried)):
            said += f"; {what}: {', '.join(names)}" if names else ""
        yield Finding("recipients", True, said)
    reader = reader_for(rpc) if rpc else None
    opens = False
    for one in all_findings(drill.sealed, None, reader, rpc, held.key, required=False):
        opens = opens or (one.name == "key" and one.ok)
        yield one
    if not opens:
        return
    try:
        drill.info = sealed.inspect(drill.sealed)
        if registration is not None:
            same = load_registration(registration) == registration_of(drill.info)
            said = f"{'it is' if same else 'it is not'} the file that {registration} registers"
            yield Finding("registered", same, said, None if same else Code.REGISTRATION_DIFFERS)
        with progress(f"restoring {drill.sealed.name}", drill.info.header.size) as advance:
            compared, drill.seconds = restored(drill.sealed, held.key, against=against, progress=advance)
    except SealError as error:
        yield Finding("restore", False, error.message, error.code)
        return
    if compared is not None:
        yield compared


def _lines(drill: Drill, verdict: str) -> Iterator[tuple[str, str]]:
    from sealroom import __version__
    from sealroom.encoding import to_hex

    yield "drill", f"restore, {drill.at:%Y-%m-%d %H:%M:%S} UTC, sealroom {__version__}"
    yield "sealed file", str(drill.sealed)
    yield "key", str(drill.key)
    if drill.info is not None:
        header = drill.info.header
        yield "dataset", f"{header.dataset} of {header.owner}, version {header.dataset_version}"
        yield "header", to_hex(drill.info.header_digest)
        yield "index", to_hex(drill.info.index_digest)
        if drill.seconds is not None:
            # What took no time says nothing of how fast it would be.
            rate = "" if drill.seconds < 1 else f", {size(int(header.size / drill.seconds))} a second"
            yield "time", f"{duration(drill.seconds)} for {size(header.size)}{rate}"
    yield "written", "nothing"
    yield "verdict", verdict


def _hint(broken: Finding) -> str | None:
    hints = {
        Code.IDENTITY_DOES_NOT_OPEN: "for whom it is: sealroom key list; for a lost one: sealroom key rotate",
        Code.RESTORE_DIFFERS: "of a CSV, an Arrow file or a folder, a Parquet file of its rows was sealed",
        Code.REGISTRATION_DIFFERS: "take the registration that was written beside this sealed file",
        Code.PARTS_BROKEN: "take another copy; of this one, what opens: sealroom unseal SEALED.tar --salvage",
    }
    return None if broken.code is None else hints.get(broken.code)
