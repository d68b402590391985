# SPDX-License-Identifier: Apache-2.0
"""``sealroom card``: write the study card from chain and gate, or check a given one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.options import (
    FILE,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    trust_for,
)
from sealroom_agents.cli.terminal import one_object, read_bounded, table, warn, write_out

if TYPE_CHECKING:
    from sealroom_agents.studycard import CheckedCard


@click.command()
@click.option("--check", "given", type=FILE, metavar="FILE", help="Check this card; write nothing.")
@click.option("--consortium", metavar="ADDRESS", help="The consortium's contract.")
@click.option("--recipe", type=FILE, metavar="FILE", help="The recipe's exact bytes: app-compose.json.")
@click.option("--gate", "gate_url", metavar="URL", help="The gate.")
@click.option(
    "--out",
    type=FILE,
    default=Path("study.json"),
    show_default=True,
    help="Where the card goes; - is stdout.",
)
@rpc_option
@gate_compose_option
@simulated_root_option
@json_option
def card(
    given: Path | None,
    consortium: str | None,
    recipe: Path | None,
    gate_url: str | None,
    out: Path,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    as_json: bool,
) -> None:
    """Write the study card that owners check and seal with.

    It holds the consortium's addresses and owners from the chain, the recipe's exact bytes, and the gate's
    root key with the quote that proves it. Everything in it is checked before it is written.

    \b
    Example:
      sealroom card --rpc URL --consortium 0x… --recipe app-compose.json --gate URL --out study.json
      sealroom card --check study.json --rpc URL
    """
    from sealroom.encoding import normal_address
    from sealroom_agents import studycard

    reader = reader_for(rpc) if rpc else None
    if given is not None:
        if consortium or recipe or gate_url:
            raise click.UsageError(
                "--check takes a card as it is: leave out --consortium, --recipe and --gate"
            )
        made = studycard.parse(read_bounded(given, studycard.CARD_LIMIT_BYTES, "a study card"))
    else:
        if reader is None or consortium is None or recipe is None or gate_url is None:
            raise click.UsageError("needs --rpc, --consortium, --recipe and --gate, or --check FILE")
        exact = read_bounded(recipe, studycard.RECIPE_LIMIT_BYTES, "a recipe")
        made = studycard.build(normal_address(consortium), reader=reader, recipe=exact, gate_url=gate_url)
    trust = trust_for(simulated_root, chain_id=made.chain_id)
    checked = studycard.check_with(
        made, trust=trust, now=int(time.time()), reader=reader, gate_compose=gate_compose
    )
    if given is None:
        write_out(out, made.encode())
    if str(out) != "-":
        click.echo(one_object(_facts(checked)) if as_json else table(describe(checked)))
    tell_doubts(checked, pinned=gate_compose is not None)
    if given is None and not as_json and str(out) != "-":
        click.echo(f"wrote {out}", err=True)


def describe(checked: CheckedCard) -> list[tuple[str, str]]:
    """The lines about a checked card."""
    from sealroom.encoding import to_hex

    made = checked.card
    machine = "SIMULATED TDX, not Intel" if checked.gate.evidence.simulated else "Intel TDX"
    return [
        ("study", made.recipe.name),
        ("recipe", to_hex(made.recipe.compose_hash)),
        ("consortium", f"{made.consortium}  chain {made.chain_id}"),
        ("owners", ", ".join(owner.id for owner in made.owners)),
        ("gate", f"{to_hex(made.gate.gate_root)}  attested by {machine}"),
        ("gate compose", to_hex(checked.gate.compose_hash)),
        ("chain", f"agrees at finalized block {checked.block}" if checked.block is not None else "not asked"),
    ]


def tell_doubts(checked: CheckedCard, *, pinned: bool) -> None:
    """Warn of what was not checked, and of what will stop the study later."""
    if checked.block is None and not pinned:
        warn("that the owners adopted this gate was not checked: pass --rpc URL, or --gate-compose HASH")
    if checked.revoked_by is not None:
        warn(f"{checked.revoked_by} revoked: nothing runs before this owner, too, approves again")


def _facts(checked: CheckedCard) -> dict[str, object]:
    from sealroom.encoding import to_hex

    made = checked.card
    return {
        "study": made.recipe.name,
        "composeHash": to_hex(made.recipe.compose_hash),
        "chainId": made.chain_id,
        "consortium": made.consortium,
        "app": made.app,
        "ledger": made.ledger,
        "gateRoot": to_hex(made.gate.gate_root),
        "gateCompose": to_hex(checked.gate.compose_hash),
        "simulated": checked.gate.evidence.simulated,
        "block": checked.block,
    }
