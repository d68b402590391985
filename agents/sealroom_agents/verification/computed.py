# SPDX-License-Identifier: Apache-2.0
"""The links `recipe` and `output`: what ran is the embedded recipe, and the result obeys its contract and has
its noise.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope.noise import mechanisms
from sealroom.recipe import compose_hash
from sealroom.recipe import parse as parse_recipe
from sealroom.recipe.result import check_result
from sealroom_agents.recipe_words import counted_words
from sealroom_agents.verification.released_model import models_of
from sealroom_agents.verification.state import Check, Findings, Step, equal


def _rules(found: Findings) -> None:
    found.recipe = parse_recipe(found.envelope.recipe)


def _declared(found: Findings) -> list[tuple[str, str]]:
    return sorted((spec.owner, spec.name) for spec in found.recipe.datasets)


def _used(found: Findings) -> list[tuple[str, str]]:
    return sorted((dataset.owner, dataset.name) for dataset in found.envelope.statement.datasets)


def _checkpoints(found: Findings) -> None:
    for model in models_of(found.envelope.result, found.recipe):
        model.check_chain(model.weights)


def _tell_output(found: Findings) -> str:
    fields = ", ".join(field.name for field in found.recipe.output.fields)
    result = found.envelope.result
    privacy = found.envelope.statement.privacy
    cost = f"ε {result['epsilon']}, δ {result['delta']} for each {privacy.unit}"
    return f"{fields}; {cost}; {privacy.guarantee}, {counted_words(found.recipe)}"


RECIPE = Step(
    "recipe",
    (
        equal(
            "recipe.hash",
            lambda found: compose_hash(found.envelope.recipe),
            lambda found: found.envelope.statement.compose_hash,
            Code.COMPOSE_HASH_MISMATCH,
            lambda found: (
                f"the embedded recipe is {to_hex(compose_hash(found.envelope.recipe))}, "
                f"the statement says {to_hex(found.envelope.statement.compose_hash)}"
            ),
        ),
        Check("recipe.rules", _rules),
        equal(
            "recipe.output",
            lambda found: found.envelope.statement.output_hash,
            lambda found: found.recipe.output_hash,
            Code.RECIPE_MISMATCH,
            "the statement names another output contract",
        ),
        equal(
            "recipe.privacy",
            lambda found: found.envelope.statement.privacy_hash,
            lambda found: found.recipe.privacy_hash,
            Code.RECIPE_MISMATCH,
            "the statement names another privacy policy",
        ),
        equal(
            "recipe.datasets",
            _used,
            _declared,
            Code.RECIPE_MISMATCH,
            "the statement names other datasets than the recipe",
        ),
    ),
    lambda found: f"{found.recipe.name}, compose hash {to_hex(found.recipe.compose_hash)}",
)
"""The embedded recipe is the stated one."""
OUTPUT = Step(
    "output",
    (
        Check("output.contract", lambda found: check_result(found.envelope.result, found.recipe)),
        Check("output.checkpoints", _checkpoints),
        equal(
            "output.epsilon",
            lambda found: found.envelope.statement.privacy.epsilon_micro,
            lambda found: found.recipe.epsilon_micro,
            Code.EPSILON_MISMATCH,
            "the statement's ε is not the recipe's",
        ),
        equal(
            "output.delta",
            lambda found: found.envelope.statement.privacy.delta,
            lambda found: found.recipe.privacy.delta,
            Code.PRIVACY_MISMATCH,
            "the statement's δ is not the recipe's",
        ),
        equal(
            "output.guarantee",
            lambda found: (
                found.envelope.statement.privacy.guarantee,
                found.envelope.statement.privacy.rows,
                found.envelope.statement.privacy.blocks,
            ),
            lambda found: (found.recipe.guarantee.name, found.recipe.rows, found.recipe.blocks),
            Code.PRIVACY_MISMATCH,
            "the statement's guarantee, its rows of one person, or its blocks are not the recipe's",
        ),
        equal(
            "output.unit",
            lambda found: found.envelope.statement.privacy.unit,
            lambda found: found.recipe.unit,
            Code.PRIVACY_MISMATCH,
            "the statement's unit is not the recipe's",
        ),
        equal(
            "output.adjacency",
            lambda found: found.envelope.statement.privacy.adjacency,
            lambda found: found.recipe.privacy.adjacency,
            Code.PRIVACY_MISMATCH,
            "the statement's adjacency is not the recipe's",
        ),
        equal(
            "output.noise",
            lambda found: found.envelope.statement.privacy.mechanisms,
            lambda found: mechanisms(found.recipe.output, rows=found.recipe.rows),
            Code.PRIVACY_MISMATCH,
            "the statement's noise is not, part by part, what follows from the recipe",
        ),
    ),
    _tell_output,
)
"""The result is of its contract, with its noise."""
