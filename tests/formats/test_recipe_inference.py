# SPDX-License-Identifier: Apache-2.0
"""A recipe with networks whose outputs are columns: what it says, and what is refused."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealroom.encoding import to_base64
from sealroom.errors import RecipeError
from sealroom.privacy.kind import Columns
from sealroom.recipe import Recipe, parse, render, yamltext
from sealroom.safetensors import Tensor, write
from sealroom.schema import List, Real
from tests.formats.test_recipe_relation import STUDY

WEIGHTS = struct.pack("<19f", *(place / 16 for place in range(19)))
TOLD = {
    "features": [{"name": "age", "lower": 0, "upper": 120}, {"name": "visits", "lower": 0, "upper": 10}],
    "groups": ["sex"],
    "layers": [{"linear": 3}, "tanh", {"linear": 1}],
}
SECTION: list[dict[str, Any]] = [
    {"name": "risk", **TOLD, "weights": {"owner": "maker", "name": "net"}},
    {"name": "inside", **TOLD, "depth": 2, "weights": {"base64": to_base64(WEIGHTS)}},
]
FIELDS: list[dict[str, Any]] = [
    {"name": "people", "kind": "count", "by": ["sex"], "epsilon": "0.5"},
    {"name": "score", "kind": "mean", "column": "risk", "by": [], "lower": -2, "upper": 2, "decimals": 2},
    {
        "name": "means", "kind": "vector_mean", "column": "inside", "length": 3, "centre": "0", "entry": 1,
        "norm": 2, "decimals": 3,
    },
]  # fmt: skip

Change = Callable[[dict[str, Any]], object]


def study(change: Change = lambda study: None) -> str:
    """The study, as a person writes it, with something changed."""
    whole = yamltext.load(STUDY)
    whole["privacy"]["delta"] = "1e-6"
    whole["output"]["fields"] = copy.deepcopy(FIELDS)
    whole["datasets"].append({"owner": "maker", "name": "net", "kind": "files"})
    whole["inference"] = copy.deepcopy(SECTION)
    change(whole)
    return json.dumps(whole)


def rendered(folder: Path, change: Change = lambda study: None) -> Recipe:
    (folder / "study.yaml").write_text(study(change))
    return parse(render(folder))


def test_outputs_are_columns_that_fields_read_and_the_relation_gives_what_networks_are_told(
    tmp_path: Path,
) -> None:
    recipe = rendered(tmp_path)
    risk, inside = recipe.inferences
    assert (risk.width, risk.type, risk.row_bytes) == (1, Real(64), 8)
    assert (inside.width, inside.type, inside.row_bytes) == (3, List(Real(32)), 12)
    assert risk.dataset is not None and risk.dataset.path == "maker/net.tar" and risk.measured == b""
    assert inside.dataset is None and inside.measured == WEIGHTS
    assert [len(each.computed.layers) for each in (risk, inside)] == [3, 2]
    told = Columns(numbers=("age", "visits"), groups=("sex",))
    people, score, means = (recipe.handed_over(field.columns) for field in recipe.output.fields)
    assert people == Columns(groups=("sex",)) and score == means == told
    assert [recipe.inferred_bytes(field.columns) for field in recipe.output.fields] == [0, 8, 12]
    assert "which maker sealed as net" in risk.sentence()
    assert "protects people, and not the weights" in inside.sentence()


def test_a_file_of_the_study_stands_in_the_recipe(tmp_path: Path) -> None:
    at, tensors = 0, []
    for name, shape in (("0.weight", (3, 4)), ("0.bias", (3,)), ("2.weight", (1, 3)), ("2.bias", (1,))):
        size = 4 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        tensors.append(Tensor(name=name, shape=shape, data=WEIGHTS[at : at + size]))
        at += size
    (tmp_path / "net.safetensors").write_bytes(write(tensors))
    by_file = rendered(
        tmp_path, lambda study: study["inference"][1].update(weights={"file": "net.safetensors"})
    )
    assert by_file.compose == rendered(tmp_path).compose
    (tmp_path / "net.safetensors").write_bytes(write(tensors[:-1]))
    for name, code in (
        ("net.safetensors", "recipe-inference"),
        ("none.safetensors", "recipe-unreadable"),
        ("../net.safetensors", "recipe-inference"),
    ):
        with pytest.raises(RecipeError) as caught:
            rendered(tmp_path, lambda study, name=name: study["inference"][1].update(weights={"file": name}))
        assert caught.value.code == code


def _first(**members: Any) -> Change:
    return lambda study: study["inference"][0].update(members)


def _told(column: str) -> Change:
    return _first(features=[{"name": column, "lower": 0, "upper": 1}], groups=[], layers=[{"linear": 1}])


def _base64(*weights: float) -> Change:
    data = to_base64(struct.pack(f"<{len(weights)}f", *weights))
    return lambda study: study["inference"][1].update(weights={"base64": data})


def _by_reading(study: dict[str, Any]) -> None:
    study["guarantee"] = "by-reading"
    del study["relation"]


def _tables(study: dict[str, Any]) -> None:
    study["inference"][0]["weights"] = {"owner": "hospital-A", "name": "visits-A"}


WRONG: dict[str, tuple[str, Change]] = {
    "a script computes": ("recipe-inference", _by_reading),
    "no network": ("recipe-inference", lambda study: study.update(inference=[])),
    "too many": ("recipe-malformed", lambda study: study.update(inference=SECTION[:1] * 17)),
    "a member more": ("recipe-inference", _first(python="x")),
    "no weights": ("recipe-inference", lambda study: study["inference"][0].pop("weights")),
    "weights of nobody": ("recipe-inference", _first(weights={"owner": "maker", "name": "other"})),
    "weights that are a table": ("recipe-inference", _tables),
    "too few weights": ("recipe-inference", _base64(*[0.5] * 18)),
    "NaN": ("recipe-inference", _base64(*[0.5] * 18, float("nan"))),
    "a weight beyond the grid": ("recipe-inference", _base64(*[0.5] * 18, 64.01)),
    "infinity": ("recipe-inference", _base64(*[0.5] * 18, float("-inf"))),
    "the name of a column": ("recipe-inference", _first(name="Height")),
    "the name of the person": ("recipe-inference", _first(name="person")),
    "the name of a group": ("recipe-inference", lambda study: study["output"]["groups"].update(risk=["a"])),
    "one name twice": ("recipe-inference", lambda study: study["inference"][1].update(name="risk")),
    "two networks of one file": (
        "recipe-inference",
        lambda study: study["inference"][1].update(
            layers=[{"linear": 3}, "relu", {"linear": 1}], weights=SECTION[0]["weights"]
        ),
    ),
    "nobody reads it": ("recipe-inference", lambda study: study["output"]["fields"].pop(1)),
    "another length": (
        "recipe-inference", lambda study: study["output"]["fields"][2].update(length=4)
    ),
    "a number as a list": (
        "recipe-inference", lambda study: study["output"]["fields"][2].update(column="risk")
    ),
    "a list as a number": (
        "recipe-column",
        lambda study: study["output"]["fields"].append(FIELDS[1] | {"name": "more", "column": "inside"}),
    ),
    "an output as a group": (
        "recipe-inference", lambda study: study["output"]["groups"].update(inside=["1"])
    ),
    "an input that the relation lacks": ("recipe-column", _told("bmi")),
    "an input that is text": ("recipe-column", _told("sex")),
    "a network on a network": ("recipe-column", _told("inside")),
    "a depth of none": ("recipe-inference", _first(depth=0)),
    "a depth of all": ("recipe-inference", _first(depth=3)),
    "a picture comes out": (
        "recipe-inference",
        _first(layers=[{"unflatten": [1, 2, 2]}, {"conv2d": {"channels": 2, "kernel": 1}}]),
    ),
    "no weights in what is computed": (
        "recipe-inference", _first(layers=["tanh", {"linear": 1}], depth=1)
    ),
    "a layer that mixes rows": ("recipe-field", _first(layers=["batch_norm", {"linear": 1}])),
    "more weights than any": (
        "recipe-bounds", _first(layers=[{"linear": 2047}, {"linear": 2047}, {"linear": 1}])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_network_that_breaks_a_rule_is_refused_by_name(case: str, tmp_path: Path) -> None:
    """DP-03, DP-12: before anybody approves it."""
    code, change = WRONG[case]
    if case == "a script computes":
        (tmp_path / "analysis.py").write_text("print()\n")
    with pytest.raises(RecipeError) as caught:
        rendered(tmp_path, change)
    assert caught.value.code == code


def _centred(centre: Any) -> Change:
    def change(study: Any) -> None:
        (means,) = [each for each in study["output"]["fields"] if each["name"] == "means"]
        means["centre"] = centre

    return change


def test_a_long_list_may_stand_in_a_file_and_the_recipe_is_the_same(tmp_path: Path) -> None:
    inline = rendered(tmp_path, _centred(["0.50", "1", "0.25"]))
    (tmp_path / "centres.txt").write_text("0.50 1\n  0.25\n")
    assert rendered(tmp_path, _centred({"file": "centres.txt"})).compose == inline.compose


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("../centres.txt", "recipe-field", "lies in another folder"),
        ("/etc/passwd", "recipe-field", "lies in another folder"),
        ("..", "recipe-field", "lies in another folder"),
        ("none.txt", "recipe-unreadable", "cannot read"),
        ("large.txt", "recipe-too-large", "more than 1048576 bytes"),
        ("bytes.txt", "recipe-malformed", "is not UTF-8"),
        ("words.txt", "recipe-field", "has centre that is wrong"),
        ("two.txt", "recipe-field", "one centre, or one for each entry"),
    ],
)
def test_a_file_of_numbers_is_bounded_and_lies_in_the_study(
    tmp_path: Path, name: str, code: str, says: str
) -> None:
    (tmp_path / "large.txt").write_text("0 " * 600_000)
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    (tmp_path / "words.txt").write_text("0 one 0")
    (tmp_path / "two.txt").write_text("0 0")
    with pytest.raises(RecipeError, match=says) as caught:
        rendered(tmp_path, _centred({"file": name}))
    assert caught.value.code == code
