# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a study will run, as the exact bytes that owners approve and dstack measures.

`recipe` renders and judges them; `appcompose` is the frame that dstack reads, `tables` what a study reads,
`contract` and `outputs` what may leave and at what cost, `yamltext` the one accepted text. Spec:
`enclave/spec/recipe.md`.
"""

from sealroom.recipe.appcompose import MAX_COMPOSE_BYTES
from sealroom.recipe.contract import OutputContract, Privacy
from sealroom.recipe.outputs import Field
from sealroom.recipe.recipe import Recipe, compose_hash, parse, render
from sealroom.recipe.tables import DatasetSpec, Schema
from sealroom.schema import Column

__all__ = [
    "MAX_COMPOSE_BYTES",
    "Column",
    "DatasetSpec",
    "Field",
    "OutputContract",
    "Privacy",
    "Recipe",
    "Schema",
    "compose_hash",
    "parse",
    "render",
]
