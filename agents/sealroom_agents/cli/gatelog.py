# SPDX-License-Identifier: Apache-2.0
"""``sealroom gate-log``: whether a gate's audit log is whole, and holds what envelopes and the chain say of
it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.options import FILE, json_option, reader_for, rpc_option
from sealroom_agents.cli.terminal import plural, read_bounded, warn
from sealroom_agents.errors import CommandExit
from sealroom_agents.host import address_option

if TYPE_CHECKING:
    from sealroom_agents.gate.notes import Bookings, Comparison


@click.command()
@click.argument("log", metavar="LOG", type=FILE)
@click.argument("envelopes", metavar="[ENVELOPE]...", type=FILE, nargs=-1)
@rpc_option
@click.option(
    "--consortium", "consortia", multiple=True, metavar="ADDRESS",
    help="Compare the runs of this one; may be repeated.  [default: all that the log names]",
)  # fmt: skip
@json_option
def gate_log(
    log: Path, envelopes: tuple[Path, ...], rpc: tuple[str, ...], consortia: tuple[str, ...], as_json: bool
) -> int:
    """Check a gate's audit log, alone, against envelopes, or against the chain.

    Each entry carries the digest of the one before. Each envelope holds the gate's grant, and the grant names
    the last entry of the log at that moment: a log that was cut or rewritten since lacks that entry. `verify`
    checks the envelope itself; give this command envelopes that hold.

    With --rpc, each run that was opened on chain while the owners had adopted this gate must have its entry
    in the log, and note that entry or a later one. A run without an entry was opened by somebody else who has
    the gate's key, or the log was rewritten. A run counts that any of several nodes shows. A log can keep
    silent about a consortium: name yours.

    Ends with status 0 when the log is whole and has every entry that envelopes and runs name, with 1 where it
    lacks one, with 3 where the history of a consortium is too long to be read to its beginning.

    \b
    Example:
      sealroom gate-log audit.jsonl
      sealroom gate-log audit.jsonl envelope-1.json envelope-2.json
      sealroom gate-log audit.jsonl --rpc URL --consortium 0x…
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.gate.notes import bookings

    if consortia and not rpc:
        raise click.UsageError("--consortium needs --rpc: the chain is asked about it")
    named = [address_option(one, "consortium") for one in consortia]
    found = bookings(log)
    rows = _envelopes(found, envelopes)
    runs = _on_chain(found, rpc, named) if rpc else []
    held = found.log.trouble is None and all(row["ok"] for row in rows) and all(one.ok for one in runs)
    if as_json:
        answer = {
            "ok": held,
            "entries": found.log.head.sequence,
            "head": to_hex(found.log.head.digest),
            "trouble": found.log.trouble,
            "envelopes": rows,
            "consortia": [_json(one) for one in runs],
        }
        click.echo(json.dumps(answer))
    else:
        _tell(found, rows, runs)
    if not held:
        return CommandExit.FAILED
    return 0 if all(one.complete for one in runs) else CommandExit.UNDECIDED


def _envelopes(found: Bookings, envelopes: tuple[Path, ...]) -> list[dict[str, Any]]:
    """What each envelope names, and whether the log has it."""
    from sealroom.encoding import to_hex
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom_agents.gate.audit import GENESIS

    known = {GENESIS.digest, *found.log.digests}
    rows = []
    for path in envelopes:
        envelope = parse_envelope(read_bounded(path, MAX_ENVELOPE_BYTES, "an envelope"))
        head = envelope.grant.audit_head
        rows.append({"file": str(path), "auditHead": to_hex(head), "ok": head in known})
    return rows


def _on_chain(found: Bookings, rpc: tuple[str, ...], named: list[str]) -> list[Comparison]:
    """The log beside the runs of each consortium."""
    reader = reader_for(rpc)
    try:
        reader.chain_id()
        return [found.compare(one, reader.study_histories(one)) for one in named or found.consortia]
    finally:
        reader.close()


def _json(one: Comparison) -> dict[str, Any]:
    from sealroom.encoding import to_hex

    return {
        "consortium": one.consortium,
        "complete": one.complete,
        "adopted": one.adopted,
        "ofOtherGates": one.others,
        "notOnEveryNode": one.partly,
        "openings": [
            {
                "runId": to_hex(noted.event.run_id),
                "note": to_hex(noted.event.opening.note),
                "ok": noted.trouble is None,
                "trouble": noted.trouble,
            }
            for noted in one.openings
        ],
    }


def _tell(found: Bookings, rows: list[dict[str, Any]], runs: list[Comparison]) -> None:
    from sealroom.encoding import to_hex

    head = found.log.head
    click.echo(f"{head.sequence} entries hold, the last is {to_hex(head.digest)}")
    if found.log.trouble is not None:
        click.echo(f"BROKEN  line {head.sequence + 1}: {found.log.trouble}")
    for row in rows:
        verdict = "in the log" if row["ok"] else "NOT in the log: it was cut, changed or is another gate's"
        click.echo(
            f"{'ok    ' if row['ok'] else 'BROKEN'}  {row['file']}: entry {row['auditHead']} {verdict}"
        )
    for one in runs:
        for noted in one.openings:
            if noted.trouble is not None:
                click.echo(f"BROKEN  run {to_hex(noted.event.run_id)} of {one.consortium}: {noted.trouble}")
        if not one.adopted:
            click.echo(f"BROKEN  {one.consortium}: its owners never adopted the gate of this log")
        if one.ok:
            count = plural(len(one.openings), "run")
            click.echo(f"ok      {one.consortium}: {count} on chain, each with its entry in the log")
        if one.others:
            warn(f"{one.consortium}: {plural(one.others, 'run')} more, opened by another gate")
        if one.partly:
            count = plural(one.partly, "run")
            warn(f"{one.consortium}: {count} not shown by every node: one of them lags, or lies")
        if not one.complete:
            warn(f"{one.consortium}: its history is too long; earlier runs were not compared")
