# SPDX-License-Identifier: Apache-2.0
"""A proposal as a second machine reads it from the chain alone: its content, and twelve words of its id.

A page that an officer decides on shows the same twelve words (`face/decide/words.ts`). Who compares the two
compares all that is signed: the id is the hash of the whole content.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Study
from sealroom.recipe import Recipe
from sealroom_agents.errors import ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.desk import Answer, Desk
from sealroom_agents.governance.proposals import Proposal, find, last_pinned, outlook, pending
from sealroom_agents.governance.words import Lines
from sealroom_agents.recipe_words import counted_words, machine_words
from sealroom_agents.studies.odds import odds
from sealroom_agents.twelve_words import twelve_words


def approval(desk: Desk, *, study: bytes | None, recipe: Recipe | None) -> Answer:
    """A study that was proposed, or all that wait, of this recipe where one is given, oldest first.

    Raises `proposal-unknown` where nothing of the kind was proposed.
    """
    at = desk.standing
    if study is not None:
        found = [find(at, study)]
    else:
        found = [one for one in pending(at) if isinstance(one.content, Study)]
    wanted = [one for one in found if isinstance(one.content, Study) and _is_of(one.content, recipe)]
    if not wanted:
        what = "of the card’s recipe " if recipe is not None else ""
        raise ToolError(
            Code.PROPOSAL_UNKNOWN,
            f"no study {what}" + ("has this id" if study is not None else "waits for approval"),
            "compare the study id on the page with `sealroom govern pending`",
        )
    told = [_lines(desk, one, recipe) for one in wanted]
    facts = {
        "chainId": desk.node.chain_id,
        "consortium": at.consortium,
        "block": desk.node.head.number,
        "studies": [
            {**words.proposal_json(at, one, outlook(at, one)), "words": list(twelve_words(one.id))}
            for one in wanted
        ],
    }
    head = [("consortium", f"{at.consortium}  chain {desk.node.chain_id}, block {desk.node.head.number}")]
    return desk.answer(facts, words.joined([head, *told]))


def _is_of(study: Study, recipe: Recipe | None) -> bool:
    return recipe is None or study.compose_hash == recipe.compose_hash


def _lines(desk: Desk, one: Proposal, recipe: Recipe | None) -> Lines:
    at, study = desk.standing, one.content
    assert isinstance(study, Study)
    lines = words.proposal_lines(at, one, outlook(at, one))
    if recipe is not None:
        lines += _promised(study, recipe)
    lines += words.cost_lines(at, study)
    lines += words.difference(last_pinned(at, but=study.id), study, at)
    spoken = twelve_words(one.id)
    return [
        *lines,
        *(
            (("twelve words" if not place else ""), " ".join(spoken[place : place + 4]))
            for place in (0, 4, 8)
        ),
    ]


def _promised(study: Study, recipe: Recipe) -> Lines:
    """What the recipe's own bytes say, whose hash is the study's."""
    if (recipe.output_hash, recipe.privacy_hash) != (study.output_hash, study.privacy_hash):
        raise ToolError(
            Code.PROPOSAL_DIFFERS,
            f"{to_hex(study.id)} names another output or privacy policy than the bytes of its recipe",
            "do not approve it",
        )
    once = odds(recipe.privacy.epsilon, recipe.privacy.delta)
    return [
        ("asks", recipe.question),
        ("guarantee", f"{recipe.guarantee.name}, {counted_words(recipe)}"),
        ("machine", machine_words(recipe)),
        ("one run", f"a guess whether a person is in the data is right in at most {once.right} of 100 cases"),
    ]
