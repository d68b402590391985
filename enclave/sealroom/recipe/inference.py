# SPDX-License-Identifier: Apache-2.0
"""The section `inference` of a recipe: networks that are trained already, whose outputs are columns.

A network stands between the relation and the fields. It is told columns of the relation, row by row, and its
output is a column that fields read as any other: a number where it gives one, a list of so many where it
gives more (an embedding). Its layers stand in the recipe. Its weights are a dataset of files of their owner,
or stand in the recipe and are measured with it. Errors: `RecipeError` with `recipe-inference`, and those of
reading inputs and layers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import Fields, to_base64
from sealroom.errors import RecipeError, SealError
from sealroom.privacy.features import MAX_LENGTH
from sealroom.privacy.members import Groups, Members
from sealroom.recipe.beside import beside
from sealroom.recipe.column_use import Use
from sealroom.recipe.contract import OutputContract
from sealroom.recipe.tables import FILES, DatasetSpec
from sealroom.schema import ColumnType, List, Real
from sealroom.spelling import nearest
from sealroom.training.graph import MAX_LAYERS, Graph
from sealroom.training.grids import WEIGHT_LIMIT
from sealroom.training.inputs import Inputs
from sealroom.visible import visible

SECTION = "inference"
HOW = (
    "write weights: {owner: lab-M, name: model} for a sealed folder with model.safetensors, or weights:"
    " {file: model.safetensors} for a file of the study's folder"
)
"""How a researcher writes weights."""
MAX_INFERENCES = 16
MAX_MEASURED = 16_384
"""Most weights that stand in a recipe."""
_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Inference(Inputs):
    """A network whose output is a column."""

    name: str
    """Name of the column."""
    layers: Graph
    """All layers, as the weights are of."""
    depth: int | None
    """How many of the layers are computed; `None` for all."""
    dataset: DatasetSpec | None
    """The sealed folder with the weights; `None` where they stand in the recipe."""
    measured: bytes
    """The weights that stand in the recipe, as 32-bit floats in the order of the layers; empty where none
    do."""

    @property
    def computed(self) -> Graph:
        """The layers that are computed."""
        return self.layers if self.depth is None else self.layers.first(self.depth)

    @property
    def width(self) -> int:
        """Numbers that come out for a row."""
        return self.computed.outputs[0]

    @property
    def type(self) -> ColumnType:
        """Of the column."""
        return Real(64) if self.width == 1 else List(Real(32))

    @property
    def row_bytes(self) -> int:
        """What the column takes in memory for one row."""
        return 8 if self.width == 1 else _BYTES * self.width

    def use(self) -> Use:
        """What it reads."""
        return Use(f"the network {self.name}", self.taken())

    def plain(self) -> dict[str, Any]:
        """As a recipe has it: the name, then all else by name."""
        weights: dict[str, Any] = {"base64": to_base64(self.measured)}
        if self.dataset is not None:
            weights = {"name": self.dataset.name, "owner": self.dataset.owner}
        depth = {} if self.depth is None else {"depth": self.depth}
        own = {**self.written(), "layers": self.layers.plain(), "weights": weights, **depth}
        return {"name": self.name, **dict(sorted(own.items()))}

    def sentence(self) -> str:
        """What it is, for owners."""
        few = "" if self.depth is None else f" Of its layers, the first {self.depth} are computed."
        gives = "a number" if self.width == 1 else f"{self.width:,} numbers"
        whose = (
            "which stand in the recipe"
            if self.dataset is None
            else f"which {self.dataset.owner} sealed as {self.dataset.name}"
        )
        return (
            f"Network that gives {gives} for each row from {self.words()}, by {self.layers.weights:,}"
            f" weights, {whose}.{few} The noise protects people, and not the weights: what is released may"
            " tell of them."
        )


def read_inferences(
    fields: Fields,
    datasets: Sequence[DatasetSpec],
    groups: Groups,
    relation: bool,
    *,
    folder: Path | None = None,
) -> tuple[Inference, ...]:
    """Take the section, if there is one. `folder` is that of a study: numbers are read as a person writes
    them then, and weights may be a file of it."""
    if not fields.has(SECTION):
        return ()
    if not relation:
        _fail("only a relation gives its columns to networks", "write guarantee: by-construction")
    listed = fields.array(SECTION, limit=MAX_INFERENCES)
    if not listed:
        _fail("the section has no network", "leave it out")
    return tuple(read_inference(item, datasets, groups, folder) for item in listed)


def check_names(inferences: Sequence[Inference], taken: Sequence[str], output: OutputContract) -> None:
    """Check that each output has a name of its own, is read by a field, and as wide as it is; and that two
    networks of one file have the same layers. `taken` are the relation's columns."""
    made: dict[str, Inference] = {}
    for each in inferences:
        if each.dataset is not None and made.setdefault(each.dataset.path, each).layers != each.layers:
            _fail(
                f"the networks {each.name} and {made[each.dataset.path].name} are of one file, and have other"
                " layers",
                "write all layers of the file in both, and depth: where only the first ones are computed",
            )
    seen = {name.lower() for name in (*taken, *output.groups)}
    for each in inferences:
        if each.name.lower() in seen:
            _fail(
                f"the network {each.name} has the name of another column or group",
                "give it another name, and let fields read that one",
            )
        seen.add(each.name.lower())
        for use in output.uses():
            for name, width in use.columns.vectors:
                if name == each.name and width != each.width:
                    _fail(
                        f"{use.by} reads {width:,} numbers of {name}, and the network gives {each.width:,}",
                        f"write length: {each.width}",
                    )
        if not any(each.name in use.columns.names for use in output.uses()):
            _fail(
                f"no field reads what the network {each.name} gives",
                "name it in a field, as a score or one of the vectors, or leave the network out",
            )


def read_inference(
    item: Any, datasets: Sequence[DatasetSpec], groups: Groups, folder: Path | None
) -> Inference:
    """Read one network of the section."""
    members = Members(item, _what(item), loose=folder is not None, code=Code.RECIPE_INFERENCE)
    members.only("name", "features", "vectors", "groups", "layers", "depth", "weights")
    name, inputs = members.column("name"), Inputs.read(members, groups)
    try:
        layers = Graph.read(members.raw("layers"), inputs=inputs.inputs, outputs=None, loose=members.loose)
    except RecipeError as error:
        if error.message.startswith(_what(item)):
            raise
        raise RecipeError(error.code, f"{_what(item)}: {error.message}", error.hint) from None
    depth = members.integer("depth", 1, MAX_LAYERS) if members.has("depth") else None
    if depth is not None and depth >= len(layers.layers):
        _fail(f"{name} has no more than {len(layers.layers)} layers", "leave depth out to compute all")
    if not members.has("weights"):
        members.fail("lacks weights", HOW)
    dataset, measured = _weights(members.raw("weights"), name, layers, datasets, folder)
    members.done()
    found = Inference(
        features=inputs.features, vectors=inputs.vectors, groups=inputs.groups, name=name, layers=layers,
        depth=depth, dataset=dataset, measured=measured,
    )  # fmt: skip
    outputs = found.computed.outputs
    if len(outputs) != 1 or outputs[0] > MAX_LENGTH or not found.computed.weights:
        _fail(
            f"the layers of {name} that are computed must have weights, and give a list of at most"
            f" {MAX_LENGTH} numbers",
            "end with flatten, or with a linear layer",
        )
    return found


def _weights(
    value: Any, network: str, layers: Graph, datasets: Sequence[DatasetSpec], folder: Path | None
) -> tuple[DatasetSpec | None, bytes]:
    members = Members(value, f"the weights of the network {network}", code=Code.RECIPE_INFERENCE)
    members.only("owner", "name", "file" if folder is not None else "base64", "base64")
    if members.has("base64"):
        data = members.base64("base64", limit=_BYTES * MAX_MEASURED, size=_BYTES * layers.weights)
        members.done()
        if not all(abs(weight) <= WEIGHT_LIMIT for (weight,) in struct.iter_unpack("<f", data)):
            _fail(f"the recipe has a weight that is no number from −{WEIGHT_LIMIT} to {WEIGHT_LIMIT}")
        return None, data
    if folder is not None and members.has("file"):
        file = members.text("file", limit=255)
        members.done()
        return None, _of_file(folder, file, layers)
    owner, name = members.raw("owner"), members.raw("name")
    members.done()
    for spec in datasets:
        if (spec.owner, spec.name) == (owner, name) and spec.schema is None:
            return spec, b""
    known = [f"{spec.owner}/{spec.name}" for spec in datasets if spec.schema is None]
    near = nearest(f"{owner}/{name}", known)
    members.fail(
        f"are {str(owner)[:32]}/{str(name)[:64]}, which is no dataset of the kind {FILES} of the recipe",
        f"did you mean {near}?"
        if near
        else f"write it among the datasets: {{owner: …, name: …, kind: {FILES}}}",
    )


def _of_file(folder: Path, name: str, layers: Graph) -> bytes:
    """The weights of a file of the study, as they will stand in the recipe."""
    from sealroom.training.weights import MAX_FILE_BYTES, read_weights

    path = beside(folder, name, code=Code.RECIPE_INFERENCE)
    if layers.weights > MAX_MEASURED:
        _fail(
            f"the network has {layers.weights} weights, and a recipe holds at most {MAX_MEASURED}",
            "seal the file as a dataset of its owner",
        )
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RecipeError(Code.RECIPE_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    try:
        weights = read_weights(data, layers)
    except SealError as error:
        raise RecipeError(Code.RECIPE_INFERENCE, f"{name}: {error.message}", error.hint) from None
    return weights.astype("<f4").tobytes()


def _what(item: Any) -> str:
    """How messages call a network: by its name, where it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return f"the network {name[:64]}" if isinstance(name, str) and visible(name) else "a network"


def _fail(message: str, hint: str | None = None) -> NoReturn:
    raise RecipeError(Code.RECIPE_INFERENCE, message, hint)
