# SPDX-License-Identifier: Apache-2.0
"""``sealroom explain-failure``: why a run failed, for an owner whose dataset it read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.ending import refuse
from sealroom_agents.cli.file_kinds import FAILURE, expecting
from sealroom_agents.cli.options import json_option, reader_for, rpc_option
from sealroom_agents.cli.terminal import read_bounded, table, warn
from sealroom_agents.errors import ChainError, CommandExit

if TYPE_CHECKING:
    from sealroom.model import Opening


@click.command()
@click.argument("failure", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Private half of the report key: report-key.secret, beside the owner's data keys.",
)
@rpc_option
@json_option
def explain_failure(failure: Path, key_file: Path, rpc: tuple[str, ...], as_json: bool) -> int:
    """Open the reason why a run failed, from its FAILURE file.

    Once data keys were released, a run that fails says one word in public, run-failed, whatever the reason,
    and at the instant at which a result would have left: when and how an analysis fails could otherwise tell
    something about one person. The reason is sealed to the report key of each dataset that has one. `sealroom
    seal` makes that key, once, beside the owner's data keys. Datasets without a report key get nothing.

    The reason is a code, a sentence and a remedy; for a script also the line of analysis.py in which it
    stopped, and the exception's type if it is one of Python's own. No text and no value of the script is in
    it, since the data may be another owner's.

    The file says itself which run, consortium and signer it is of. With --rpc, the chain is asked first: the
    consortium's ledger must have opened the run for this signer and this recipe. Without, whoever has the
    public half of the report key, which is in the sealed file, may have written all of it.

    \b
    Exit status:
      0  opened; with --rpc, the chain knows this run and its signer
      1  does not open, or is not what the chain says
      3  not decided: no node answered, or they disagree

    \b
    Example:
      curl -s $CONSOLE/v1/runs/$RUN/failure -o failure.json
      sealroom explain-failure failure.json --key keys/hospital-A/report-key.secret --rpc URL
      sealroom explain-failure failure.json --key keys/hospital-A/report-key.secret --json
    """
    from sealroom.encoding import to_hex
    from sealroom.failure import MAX_FAILURE_BYTES, parse_failure
    from sealroom_agents.owner.report_key import read
    from sealroom_agents.verification.failed_run import opening_of

    with expecting(failure, FAILURE):
        found = parse_failure(read_bounded(failure, MAX_FAILURE_BYTES, "a failure file"))
    details = found.open(read(key_file))
    try:
        opening = opening_of(found, reader_for(rpc)) if rpc else None
    except ChainError as error:
        refuse(error.code, f"not decided: {error.message}", error.hint, as_json=as_json)
        return CommandExit.UNDECIDED
    run: dict[str, str | int] = {
        "run": to_hex(found.run.run_id),
        "consortium": found.run.consortium,
        "chainId": found.run.chain_id,
        "composeHash": to_hex(found.run.compose_hash),
        "signer": found.signer,
    }
    if as_json:
        reason = {
            "code": details.code,
            "message": details.message,
            "remedy": details.remedy,
            "line": details.line,
            "exception": details.exception,
        }
        facts = {"ok": True, **run, "onChain": _facts(opening), **reason}
        click.echo(json.dumps(facts))
        return 0
    where = "" if details.line is None else f"line {details.line} of analysis.py"
    stopped = ", ".join(filter(None, (where, details.exception)))
    click.echo(
        table(
            [
                ("run", to_hex(found.run.run_id)),
                ("consortium", f"{found.run.consortium} on chain {found.run.chain_id}"),
                ("recipe", to_hex(found.run.compose_hash)),
                ("signed by", found.signer),
                ("on chain", _words(opening)),
                ("code", str(details.code)),
                ("reason", details.message),
                *([("stopped in", stopped)] if stopped else []),
                ("remedy", details.remedy),
            ]
        )
    )
    if opening is None:
        warn(
            "not checked, for it is on chain: that the consortium's ledger opened this run for this signer "
            "and recipe; pass --rpc URL"
        )
    return 0


def _facts(opening: Opening | None) -> dict[str, object] | None:
    """What the ledger knows of the run; `None` where it was not asked."""
    from sealroom.encoding import to_hex

    if opening is None:
        return None
    return {"study": to_hex(opening.study), "number": opening.number, "openedAt": opening.opened_at}


def _words(opening: Opening | None) -> str:
    from sealroom.model.units import time_text

    if opening is None:
        return "not looked at"
    return (
        f"opened for this signer and recipe on {time_text(opening.opened_at)}, run {opening.number} of the "
        "consortium"
    )
