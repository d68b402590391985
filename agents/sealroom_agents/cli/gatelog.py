# SPDX-License-Identifier: Apache-2.0
"""``sealroom gate-log``: whether a gate's audit log is whole, and holds what envelopes say of it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import read_bounded
from sealroom_agents.errors import CommandExit


@click.command()
@click.argument("log", metavar="LOG", type=FILE)
@click.argument("envelopes", metavar="[ENVELOPE]...", type=FILE, nargs=-1)
@json_option
def gate_log(log: Path, envelopes: tuple[Path, ...], as_json: bool) -> int:
    """Check a gate's audit log, alone or against envelopes.

    Each entry carries the digest of the one before. Each envelope holds the gate's grant, and the grant names
    the last entry of the log at that moment: a log that was cut or rewritten since lacks that entry. `verify`
    checks the envelope itself; give this command envelopes that hold.

    Ends with status 0 when the log is whole and has every entry that the envelopes name, with 1 otherwise.

    \b
    Example:
      sealroom gate-log audit.jsonl
      sealroom gate-log audit.jsonl envelope-1.json envelope-2.json
    """
    from sealroom.encoding import to_hex
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom_agents.gate.audit import GENESIS, read

    found = read(log)
    known = {GENESIS.digest, *found.digests}
    rows = []
    for path in envelopes:
        envelope = parse_envelope(read_bounded(path, MAX_ENVELOPE_BYTES, "an envelope"))
        head = envelope.grant.audit_head
        rows.append({"file": str(path), "auditHead": to_hex(head), "ok": head in known})
    whole = found.trouble is None
    if as_json:
        answer = {"entries": found.head.sequence, "head": to_hex(found.head.digest), "trouble": found.trouble}
        click.echo(json.dumps({"ok": whole and all(row["ok"] for row in rows), **answer, "envelopes": rows}))
    else:
        click.echo(f"{found.head.sequence} entries hold, the last is {to_hex(found.head.digest)}")
        if not whole:
            click.echo(f"BROKEN  line {found.head.sequence + 1}: {found.trouble}")
        for row in rows:
            verdict = (
                "in the log" if row["ok"] else "NOT in the log: it was cut, changed or is another gate's"
            )
            click.echo(
                f"{'ok    ' if row['ok'] else 'BROKEN'}  {row['file']}: entry {row['auditHead']} {verdict}"
            )
    return 0 if whole and all(row["ok"] for row in rows) else CommandExit.FAILED
