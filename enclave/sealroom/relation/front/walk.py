# SPDX-License-Identifier: Apache-2.0
"""The way through one tree: how deep it is, how much was read, and where what was refused stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation.front.nodes import MAX_DEPTH, Node
from sealroom.relation.terms import refuse

MAX_READINGS = 200_000
"""How often an expression is read, those behind an alias each time that it is used."""


class Walk:
    """Of one reading."""

    def __init__(self, places: Mapping[int, int]) -> None:
        """`places`: where nodes of the tree begin in the text, for refusals (see `plain_tree`)."""
        self._places = places
        self._depth = 0
        self._readings = 0
        self.place: int | None = None
        """Where the smallest part of the query begins that was refused, in bytes of its text."""

    def count(self) -> None:
        """One more expression is read."""
        self._readings += 1
        if self._readings > MAX_READINGS:
            refuse(Code.RELATION_TOO_LARGE, "the query's aliases multiply", "use a CTE instead of an alias")

    @contextmanager
    def deeper(self, node: Node) -> Iterator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            refuse(Code.RELATION_TOO_LARGE, "the query nests too deep", "write a CTE for a part of it")
        try:
            with self.at(node):
                yield
        finally:
            self._depth -= 1

    @contextmanager
    def at(self, *nodes: Node) -> Iterator[None]:
        """Note where the first of these nodes stands, if what is done here is refused."""
        try:
            yield
        except RecipeError:
            if self.place is None:
                self.place = next(
                    (self._places[id(each)] for each in nodes if id(each) in self._places), None
                )
            raise
