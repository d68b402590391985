# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a study will run, as the exact bytes that owners approve and dstack measures.

`recipe` renders and judges them; `appcompose` is the frame that dstack reads, `contract` and `outputs` what
may leave and at what price, `yamltext` the one accepted text. Spec: `enclave/spec/recipe.md`.
"""

from sealroom.recipe.appcompose import MAX_COMPOSE_BYTES
from sealroom.recipe.contract import DatasetSpec, OutputContract, Privacy
from sealroom.recipe.outputs import CountField, Feature, FieldSpec, LogisticField, MeanField
from sealroom.recipe.recipe import Recipe, compose_hash, parse, render
from sealroom.schema import Column

__all__ = [
    "MAX_COMPOSE_BYTES",
    "Column",
    "CountField",
    "DatasetSpec",
    "Feature",
    "FieldSpec",
    "LogisticField",
    "MeanField",
    "OutputContract",
    "Privacy",
    "Recipe",
    "compose_hash",
    "parse",
    "render",
]
