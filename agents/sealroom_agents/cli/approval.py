# SPDX-License-Identifier: Apache-2.0
"""``sealroom approval``: what a proposal says, read from the chain, and twelve words to compare."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, PRIVATE_CHAIN, HashType, json_option, rpc_option


@click.command()
@click.argument("study", type=HashType(), required=False)
@click.option("--consortium", metavar="ADDRESS", help="The consortium's contract.")
@click.option(
    "--expect",
    "card",
    type=FILE,
    metavar="FILE",
    help="The owner's study card: chain, consortium and recipe.",
)
@rpc_option
@json_option
def approval(
    study: bytes | None, consortium: str | None, card: Path | None, rpc: tuple[str, ...], as_json: bool
) -> int:
    """Show what a proposal says, from the chain alone, and twelve words to compare with the page.

    A page that asks for an approval shows twelve words of the study's id, which is the hash of all that is
    approved. Run this on another machine, with a node of your own, and sign only where both show the same
    words. Take the consortium, or better the study card, from the owners and not from the page. Without
    STUDY, all studies that wait are shown.

    \b
    Example:
      sealroom approval 0x… --rpc URL --expect study.json
      sealroom approval --rpc URL --consortium 0x… --json
    """
    from sealroom.codes import Code
    from sealroom.encoding import normal_address
    from sealroom_agents import studycard
    from sealroom_agents.cli.terminal import read_bounded
    from sealroom_agents.errors import CardError
    from sealroom_agents.governance.approval import approval as read
    from sealroom_agents.governance.desk import Desk
    from sealroom_agents.governance.face import tell
    from sealroom_agents.governance.ways.way import Way

    given = None
    if card is not None:
        given = studycard.parse(read_bounded(card, studycard.CARD_LIMIT_BYTES, "a study card"))
    if not rpc or (given is None) == (consortium is None):
        raise click.UsageError("needs --rpc, and either --consortium or --expect")
    desk = Desk(
        urls=rpc,
        consortium=given.consortium if given else normal_address(consortium),
        way=Way(wallet=None, account=None),
        confirm=lambda _: None,
        show=lambda _: None,
        private_chain=click.get_current_context().meta.get(PRIVATE_CHAIN),
    )
    if given is not None and desk.node.chain_id != given.chain_id:
        raise CardError(
            Code.CARD_MISMATCH, f"the node is on chain {desk.node.chain_id}, the card for {given.chain_id}"
        )
    return tell(read(desk, study=study, recipe=given.recipe if given else None), as_json=as_json)
