# SPDX-License-Identifier: Apache-2.0
"""Columns that networks compute, between what a relation hands over and what a field is released from.

**Why the guarantee by construction still holds.** The relation's promise is that a row depends on its own
person's data alone, and that no person has more rows than declared. A network's output for a row is a
function of this row and of the weights (`sealroom.training.forward` says why to the last bit), and no row
comes, goes or moves here. The weights are read before any row is, and are those of the file that its owner
registered, or of the recipe: the same for two inputs that differ by one person's rows. So the promise holds
for the wider table, too, and each kind bounds what it reads of it, as of any column.

What nobody promises: that a released value says nothing of the weights. It is a function of them, and the
noise is made for people. Nor does it say whose data the weights were trained on, and how.

Outputs are multiples of 2⁻¹⁶ within ±16. A row that lacks an input has no output: NaN, in each place of a
list.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.members import SealedFiles
from sealroom.privacy.kind import Columns
from sealroom.privacy.people import People, Vectors
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe
from sealroom.recipe.inference import Inference
from sealroom.recipe.tables import DatasetSpec
from sealroom.training.grids import INPUT_BITS
from sealroom.training.weights import FILE, MAX_FILE_BYTES, read_weights

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats
    from sealroom.training.forward import Network

PIECE = 1 << 18
"""So many rows are spelt out as inputs at a time."""

OpenFolder = Callable[[DatasetSpec], tuple[int, int]]
"""A sealed folder's tar in memory: gives its descriptor, which is the caller's to close, and its size."""


@dataclass(frozen=True)
class _Ready:
    """A network with its weights."""

    inference: Inference
    network: Network
    weights: Floats


class Inferences:
    """The networks of one recipe, each with its weights."""

    def __init__(self, recipe: Recipe, open_folder: OpenFolder) -> None:
        """Raises `SealError`: "weights-missing", and those of `read_weights` and of opening a folder."""
        self._ready = {each.name: _ready(each, open_folder) for each in recipe.inferences}

    def applied(self, columns: Columns, rows: Rows) -> Rows:
        """The rows with the columns of a field, of those that the relation handed over for it."""
        told = People(count=len(rows), numbers=rows.numbers, groups=rows.groups, vectors=rows.vectors)
        numbers, vectors = dict(rows.numbers), dict(rows.vectors)
        for name in columns.names:
            if name in self._ready:
                found = _computed(self._ready[name], told)
                if found.shape[1] == 1:
                    numbers[name] = found[:, 0].astype(np.float64)
                else:
                    vectors[name] = found
        return Rows(
            units=rows.units,
            numbers={name: each for name, each in numbers.items() if name in columns.numbers},
            groups={name: each for name, each in rows.groups.items() if name in columns.groups},
            vectors={name: each for name, each in vectors.items() if name in dict(columns.vectors)},
        )


def _ready(inference: Inference, open_folder: OpenFolder) -> _Ready:
    from sealroom.training.forward import Network

    if inference.dataset is None:
        weights = np.frombuffer(inference.measured, dtype="<f4").astype(np.float64)
    else:
        weights = _weights(inference, *open_folder(inference.dataset))
    computed = inference.computed
    return _Ready(inference, Network(computed), weights[: computed.weights])


def _weights(inference: Inference, descriptor: int, size: int) -> Floats:
    """Those in the folder, whose descriptor is closed."""
    try:
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as pages, memoryview(pages) as tar:
            files = SealedFiles(tar)
            if FILE not in files:
                raise SealError(
                    Code.WEIGHTS_MISSING,
                    f"the sealed folder has no file {FILE}",
                    f"seal a folder with the network as {FILE}",
                )
            if files.size(FILE) > MAX_FILE_BYTES:
                raise SealError(Code.WEIGHTS_MALFORMED, f"{FILE} is larger than any network that is accepted")
            return read_weights(files[FILE], inference.layers)
    finally:
        os.close(descriptor)


def _computed(ready: _Ready, people: People) -> Vectors:
    """Rows × outputs, some rows at a time: beside the column, memory for those is all that is taken."""
    from sealroom.training.table import complete, lists_of, rows_of

    inference, network = ready.inference, ready.network
    found = np.full((people.count, inference.width), np.nan, dtype="<f4")
    for start in range(0, people.count, PIECE):
        piece = _between(people, start, start + PIECE)
        places = np.flatnonzero(complete(inference, piece))
        rows = rows_of(network, inference, piece, places, lists=lists_of(network, inference, piece))
        at = 0
        for scores in network.outputs(ready.weights, rows):
            found[start + places[at : at + len(scores)]] = scores * 2.0**-INPUT_BITS
            at += len(scores)
    return found


def _between(people: People, start: int, stop: int) -> People:
    """Some of the rows, in the same memory."""
    return People(
        count=min(stop, people.count) - start,
        numbers={name: each[start:stop] for name, each in people.numbers.items()},
        groups={name: each[start:stop] for name, each in people.groups.items()},
        vectors={name: each[start:stop] for name, each in people.vectors.items()},
    )
