# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a study will run, as the exact bytes that owners approve and dstack measures.

`recipe` renders and judges them; `appcompose` is the frame that dstack reads, `contract` and `outputs` what
may leave and at what price, `yamltext` the one accepted text. Spec: `enclave/spec/recipe.md`.
"""

from sealroom.recipe.recipe import (
    MAX_COMPOSE_BYTES,
    Column,
    CountField,
    DatasetSpec,
    Feature,
    FieldSpec,
    LogisticField,
    MeanField,
    OutputContract,
    Privacy,
    Recipe,
    compose_hash,
    parse,
    render,
)

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
