# SPDX-License-Identifier: Apache-2.0
"""``sealroom verify``: one line a link, and the first broken one by name."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from sealroom_agents.cli.options import (
    FILE,
    anchor_for,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
)
from sealroom_agents.cli.terminal import complain, read_bounded

EXIT_BROKEN = 1


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@rpc_option
@simulated_root_option
@json_option
def verify(file: Path, rpc: tuple[str, ...], simulated_root: Path | None, as_json: bool) -> int:
    """Walk every link of a result's envelope.

    Offline, against roots that are pinned in the program: the result, who signed it, which gate let it have
    keys, which recipe ran, on which hardware. With --rpc also on chain: that the owners had adopted the gate
    and approved the study, that the budget was booked and the receipt anchored, and whether anyone revoked
    since.

    Ends with status 0 when all links hold, with 1 at the first broken one.

    \b
    Example:
      sealroom verify envelope.json
      sealroom verify envelope.json --rpc URL
    """
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom_agents import verification

    envelope = parse_envelope(read_bounded(file, MAX_ENVELOPE_BYTES, "an envelope"))
    anchor = anchor_for(simulated_root, chain_id=envelope.statement.chain_id)
    reader = reader_for(rpc) if rpc else None
    links = []
    for link in verification.walk(envelope, anchor=anchor, chain=reader, now=int(time.time())):
        links.append(link)
        if not as_json:
            click.echo(f"{'ok    ' if link.ok else 'BROKEN'}  {link.name:<15}  {link.detail}")
    broken = verification.first_broken(links)
    if as_json:
        rows = [{"name": one.name, "ok": one.ok, "code": one.code, "detail": one.detail} for one in links]
        click.echo(json.dumps({"ok": broken is None, "onChain": reader is not None, "links": rows}))
    if broken is not None:
        complain(f"the link {broken.name} is broken: {broken.detail}", _hint(broken.code))
        return EXIT_BROKEN
    if not as_json:
        click.echo(_verdict(len(links), on_chain=reader is not None), err=True)
    return 0


def _verdict(count: int, *, on_chain: bool) -> str:
    if on_chain:
        return f"all {count} links hold, offline and on chain"
    return f"all {count} links hold offline; approval and anchoring are on chain: pass --rpc URL"


def _hint(code: str | None) -> str | None:
    if code == "quote-invalid":
        return (
            "a result of a simulated platform needs --simulated-root root.der, and proves nothing elsewhere"
        )
    if code == "receipt-not-anchored":
        return "a result counts once its receipt is anchored"
    return None
