# SPDX-License-Identifier: Apache-2.0
"""What a network is told of a row: columns of numbers, of lists and of labels, as a recipe declares them.

Inputs are the features, then the numbers of the lists column by column, then one of 0 or 1 for each label of
the groups. Features and numbers of lists are clamped to declared bounds and scaled to ±1. Errors are
`RecipeError` (`recipe-field`, `recipe-bounds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.privacy.features import Feature, FeatureList
from sealroom.privacy.kind import Columns
from sealroom.privacy.members import Groups, Members
from sealroom.training.graph import MAX_FAN_IN

MAX_LISTS = 16
"""Most columns of lists of one network."""
_SHOWN = 16
"""Labels of a group that a sentence lists; of more it says how many there are."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The columns, in order."""

    features: tuple[Feature, ...]
    """Inputs that are numbers, in order."""
    vectors: tuple[FeatureList, ...]
    """Columns of lists, after them: one input for each number."""
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    """Columns of declared labels, after these: one input of 0 or 1 for each label."""

    @classmethod
    def read(cls, members: Members, groups: Groups) -> Inputs:
        """Take `features`, `vectors` (if any) and `groups`. A study may leave empty ones out."""
        listed = _listed(members, "features", MAX_FAN_IN)
        features = tuple(Feature.read(item, loose=members.loose) for item in listed)
        lists = members.array("vectors", limit=MAX_LISTS) if members.has("vectors") else None
        if lists is not None and not lists:
            members.fail("has vectors without a column of lists", "leave vectors out")
        vectors = tuple(FeatureList.read(item, loose=members.loose) for item in lists or ())
        named = _listed(members, "groups", MAX_FAN_IN)
        for name in named:
            if not isinstance(name, str) or name not in groups:
                members.fail(f"has the group {str(name)[:64]!r}, which groups does not declare")
        taken = [each.name for each in (*features, *vectors)] + list(named)
        if not taken or len(set(taken)) != len(taken):
            members.fail("must have features, vectors or groups, each once")
        return Inputs(
            features=features, vectors=vectors, groups=tuple((name, groups[name]) for name in named)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return (*(each.name for each in (*self.features, *self.vectors)), *(name for name, _ in self.groups))

    @property
    def inputs(self) -> int:
        """How many numbers the network gets."""
        labels = sum(len(labels) for _, labels in self.groups)
        return len(self.features) + sum(each.length for each in self.vectors) + labels

    def taken(self) -> Columns:
        """The columns, as those of a field are named."""
        return Columns(
            numbers=tuple(each.name for each in self.features),
            groups=tuple(name for name, _ in self.groups),
            vectors=tuple((each.name, each.length) for each in self.vectors),
        )

    def written(self) -> dict[str, Any]:
        """The members again."""
        lists = {"vectors": [each.plain() for each in self.vectors]} if self.vectors else {}
        features = [each.plain() for each in self.features]
        return {"features": features, "groups": [name for name, _ in self.groups], **lists}

    def words(self) -> str:
        """The columns with their bounds, for a sentence."""
        told = [f"{each.name} ({each.lower:f} to {each.upper:f})" for each in self.features]
        told += [
            f"the {each.length:,} numbers of {each.name} ({each.lower:f} to {each.upper:f})"
            for each in self.vectors
        ]
        for name, labels in self.groups:
            told.append(f"{name} ({', '.join(labels) if len(labels) <= _SHOWN else f'{len(labels)} labels'})")
        return ", ".join(told)


def _listed(members: Members, name: str, limit: int) -> Sequence[Any]:
    """A list that a study may leave out where it is empty."""
    return () if members.loose and not members.has(name) else members.array(name, limit=limit)
