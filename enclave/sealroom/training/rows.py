# SPDX-License-Identifier: Apache-2.0
"""The rows that a network computes on, kept as small as they come and spelt out a chunk at a time.

What takes many inputs a row stays as the table has it: a label of a group is one number, and a list of pixels
has two bytes each. As doubles, which sums need, they take eight; so only the rows of a chunk are ever that.
What a row's inputs are depends on this row alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sealroom.training import grids

if TYPE_CHECKING:
    from sealroom.privacy.features import Feature
    from sealroom.privacy.people import Integers, Vectors


@dataclass(frozen=True, kw_only=True)
class Lists:
    """A column of lists, whose numbers are clamped to bounds and scaled to ±1 a chunk at a time."""

    held: Any
    """All rows of the table × the length of a list, as they came: 16-bit whole numbers or 32-bit floats."""
    ends: tuple[float, float]
    """The bounds."""
    middle: float
    half: Any
    """From the middle of the bounds to either. A tensor: CUDA divides by one, and multiplies with the
    reciprocal of a plain number, which rounds in another way."""

    @classmethod
    def on(cls, device: Any, held: Vectors, feature: Feature) -> Lists:
        """On the machine that computes; there is no copy where this one does, unless torch may not write."""
        import numpy as np
        import torch

        middle, half = feature.middle_and_half
        return cls(
            held=torch.from_numpy(np.require(held, requirements=["C", "W"])).to(device),
            ends=(float(feature.lower), float(feature.upper)),
            middle=middle,
            half=torch.tensor([half], dtype=torch.float64, device=device),
        )

    def inputs(self, places: Any) -> Any:
        """Of these rows of the table: rows × length, in steps of 2⁻¹⁶."""
        found = self.held[places].double().clamp_(*self.ends).sub_(self.middle).div_(self.half)
        return found.clamp_(-1.0, 1.0).mul_(float(1 << grids.INPUT_BITS)).round_()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Inputs and targets on the machine that computes."""

    inputs: Any
    """Rows × features in steps of 2⁻¹⁶, as 32-bit floats, which hold them exactly."""
    targets: Any = None
    """One number a row: 0 or 1, the place of a class, or a value in steps of 2⁻¹⁶; `None` where nothing is
    told."""
    lists: tuple[Lists, ...] = ()
    """The inputs after the features, column by column."""
    places: Any = None
    """Of each row, which one of the table of lists it is; `None` without lists."""
    ones: Any = None
    """Rows × groups: the places of inputs that are 1, counted from the first feature; `None` without groups.
    All others behind the lists are 0."""
    width: int
    """Inputs of the network."""

    @property
    def count(self) -> int:
        return len(self.inputs)

    def taken(self, places: Integers) -> Rows:
        """Some of the rows."""
        import torch

        index = torch.from_numpy(places).to(self.targets.device)
        return replace(
            self,
            inputs=self.inputs[index],
            targets=self.targets[index],
            places=None if self.places is None else self.places[index],
            ones=None if self.ones is None else self.ones[index],
        )

    def chunk(self, start: int, stop: int) -> tuple[Any, Any]:
        """Inputs and targets of these rows: features, then lists, then an input of 0 or 1 for each label."""
        import torch

        pieces = [self.inputs[start:stop].double()]
        pieces += [each.inputs(self.places[start:stop]) for each in self.lists]
        if self.ones is not None:
            labels = self.width - sum(each.shape[1] for each in pieces)
            pieces.append(pieces[0].new_zeros((len(pieces[0]), labels)))
        inputs = torch.cat(pieces, dim=1) if len(pieces) > 1 else pieces[0]
        if self.ones is not None:
            inputs.scatter_(1, self.ones[start:stop].long(), float(1 << grids.INPUT_BITS))
        return inputs, None if self.targets is None else self.targets[start:stop]
