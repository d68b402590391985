# SPDX-License-Identifier: Apache-2.0
"""The networks of a result: their tensors, and the hash chain of checkpoints that ends in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import EnvelopeError
from sealroom.recipe import Recipe
from sealroom.safetensors import Tensor
from sealroom.training.checkpoints import Checkpoints


@dataclass(frozen=True, kw_only=True)
class ReleasedModel:
    """One released network."""

    field: str
    """The field of the result."""
    tensors: tuple[Tensor, ...]
    """Its weights, in the order of its layers."""
    chain: Checkpoints
    """What is released of the hash chain of its checkpoints."""

    @property
    def weights(self) -> bytes:
        """The data of all tensors, as a model file has them."""
        return b"".join(tensor.data for tensor in self.tensors)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the weights."""
        return sha256(self.weights)

    @property
    def numbers(self) -> int:
        """How many weights there are."""
        return len(self.weights) // 4

    def check_chain(self, weights: bytes) -> None:
        """Check that the chain ends in these weights. Raises `EnvelopeError` "checkpoints-mismatch"."""
        if not self.chain.bind(weights):
            raise EnvelopeError(
                Code.CHECKPOINTS_MISMATCH,
                f"the chain of {self.chain.steps} checkpoints of {self.field}, whose head is "
                f"{to_hex(self.chain.head)}, does not end in these weights",
            )


def trains(recipe: Recipe) -> bool:
    """Whether a run of this recipe trains a network."""
    return any(field.kind.trains for field in recipe.output.fields)


def models_of(result: Mapping[str, Any], recipe: Recipe) -> tuple[ReleasedModel, ...]:
    """The networks of a result of this recipe, in its order: none of too few people."""
    found = []
    for field in recipe.output.fields:
        value = result["fields"][field.name]
        chain = field.kind.checkpoints(field.spec, value)
        if chain is not None:
            tensors = field.kind.tensors(field.spec, value)
            found.append(ReleasedModel(field=field.name, tensors=tensors, chain=chain))
    return tuple(found)
