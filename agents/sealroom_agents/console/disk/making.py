# SPDX-License-Identifier: Apache-2.0
"""From nodes and recipes to the matter of a page."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.recipe import parse as parse_recipe
from sealroom_agents.console.disk.matter import MAX_RECIPES, Matter
from sealroom_agents.console.disk.reading import look
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.node import Node

DELEGATES = bytes.fromhex("ef0100")
"""How the code of an account begins that delegates to other code."""


def matter_of(
    urls: Sequence[str],
    consortium: str,
    composes: Sequence[bytes],
    *,
    study: bytes | None,
    chain_id: int | None,
    private_chain: int | None,
    maker: str,
    made: int,
) -> Matter:
    """What the page of a study is made of. composes: bytes of its recipe, then of others. study: which one,
    else the only one of the first recipe that waits. chain_id: refuses nodes of another chain. made: unix
    seconds. Raises `ToolError`: `maker-is-contract`, `other-chain`, `proposal-unknown`, `usage`;
    `ChainError`, `RecipeError`."""
    if len(composes) > MAX_RECIPES:
        raise ToolError(Code.FILE_TOO_LARGE, f"a page holds {MAX_RECIPES} recipes, not {len(composes)}")
    recipe = parse_recipe(composes[0])
    _require_key(urls, maker, private_chain)
    facts, history = look(urls, consortium, private_chain=private_chain)
    if chain_id not in (None, facts.view.chain_id):
        raise ToolError(Code.OTHER_CHAIN, f"the node is on chain {facts.view.chain_id}, not {chain_id}")
    if study is None:
        waits = [one.study for one in facts.candidates if one.study.compose_hash == recipe.compose_hash]
        if len(waits) != 1:
            named = "; ".join(to_hex(one.id) for one in waits)
            raise ToolError(
                Code.PROPOSAL_UNKNOWN,
                f"{len(waits)} studies of this recipe wait for approval{named and f': {named}'}",
                "name one with --study" if waits else "propose it first: sealroom govern propose-study",
            )
        study = waits[0].id
    return Matter(
        maker=maker,
        made=made,
        study=study,
        facts=facts,
        history=history,
        composes=tuple(dict.fromkeys(composes)),
    )


def _require_key(urls: Sequence[str], maker: str, private_chain: int | None) -> None:
    """Raises `maker-is-contract` for an account whose signature only its own code can judge (EIP-1271). One
    that delegates to code (EIP-7702) has its key still."""
    code = Node(urls, private_chain=private_chain).code(maker)
    if code and not code.startswith(DELEGATES):
        raise ToolError(
            Code.MAKER_IS_CONTRACT,
            f"{maker} is a contract, such as a Safe, and its signature is its code's word at a block: who "
            "gets the page could not check it without a node",
            "make the page with the account of one of its signers; who checks it says so with --by",
        )
