# SPDX-License-Identifier: Apache-2.0
"""Columns that networks compute: exact, row by row, and from sealed weights to a released field.

DP-02, DP-24: what comes out for a person is of that person's row and of the weights alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.enclave.test_training import IMAGES, MLP, SMOOTH, module
from tests.formats.test_recipe_inference import WEIGHTS, rendered

from sealroom.errors import PrivacyError, SealError
from sealroom.privacy.kind import Columns
from sealroom.privacy.people import MISSING
from sealroom.privacy.release import check_table
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe, parse, render
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime import inference
from sealroom.runtime.inference import Inferences
from sealroom.safetensors import Tensor, write
from sealroom.training.forward import Network
from sealroom.training.graph import Graph
from sealroom.training.optimiser import Checkpoint
from sealroom_agents.studies.dry_run import dry_run
from sealroom_agents.studies.dry_watch import WouldFail

NETWORKS: list[tuple[list[Any], int]] = [(MLP, 10), (SMOOTH, 10), (IMAGES, 64), ([*MLP[:3], "sigmoid"], 10)]


@pytest.mark.parametrize("network", NETWORKS, ids=["relu", "smooth", "pictures", "ends in sigmoid"])
def test_outputs_are_those_of_torch_and_the_same_to_the_last_bit_whatever_computes_them(network: Any) -> None:
    layers, inputs = network
    graph = Graph.read(layers, inputs=inputs, outputs=None)
    weights = Checkpoint.first(graph, 7).weights * 2
    dice = np.random.default_rng(5)
    rows = np.rint(dice.uniform(-1, 1, (203, inputs)) * 65536).astype(np.float32)
    usual = Network(graph)
    known = np.concatenate(list(usual.outputs(weights, usual.rows(rows))))
    theirs = module(graph, weights)(torch.from_numpy(rows.astype(np.float64) / 65536)).detach().numpy()
    assert np.abs(known / 65536 - theirs).max() < 2e-3
    assert (np.rint(known) == known).all() and (known.astype(np.float32) == known).all()
    for threads, chunk in ((1, 1), (1, 7), (2, 64), (4, 33)):
        order = dice.permutation(len(rows))
        other = Network(graph, threads=threads, chunk=chunk)
        found = np.concatenate(list(other.outputs(weights, other.rows(rows[order]))))
        assert (found == known[order]).all()


def test_the_first_layers_alone_have_the_first_weights() -> None:
    graph = Graph.read(MLP, inputs=10, outputs=1)
    weights = Checkpoint.first(graph, 7).weights
    cut = graph.first(2)
    assert graph.tensors()[:2] == cut.tensors() and cut.outputs == (24,)
    rows = np.full((3, 10), 30_000, np.float32)
    network = Network(cut)
    [found] = network.outputs(weights[: cut.weights], network.rows(rows))
    theirs = module(graph, weights)[:2](torch.from_numpy(rows.astype(np.float64) / 65536))
    assert np.abs(found / 65536 - theirs.detach().numpy()).max() < 1e-3


# -- the columns of a table ---------------------------------------------------------------------------------


def never(spec: DatasetSpec) -> tuple[int, int]:
    raise AssertionError("these weights stand in the recipe")


@pytest.fixture
def measured(tmp_path: Path) -> Recipe:
    """Both networks have weights that stand in the recipe."""

    def change(study: dict[str, Any]) -> None:
        study["inference"][0]["weights"] = study["inference"][1]["weights"]

    return rendered(tmp_path, change)


def told(count: int, seed: int = 1) -> Rows:
    """Rows of a relation with missing values and others beyond all bounds."""
    dice = np.random.default_rng(seed)
    age, visits = dice.uniform(-20, 150, count), dice.integers(0, 12, count).astype(float)
    age[::17] = np.nan
    visits[::23] = np.inf
    visits[1::23] = -np.inf
    return Rows(
        units=np.arange(count), numbers={"age": age, "visits": visits},
        groups={"sex": dice.integers(-1, 3, count)},
    )  # fmt: skip


BOTH = Columns(numbers=("risk",), groups=("sex",), vectors=(("inside", 3),))


def bits(rows: Rows) -> list[bytes]:
    """Of each row, all that a field reads."""
    columns = [rows.units, rows.numbers["risk"], rows.groups["sex"], rows.vectors["inside"]]
    return [
        b"".join(np.ascontiguousarray(column[n]).tobytes() for column in columns) for n in range(len(rows))
    ]


def test_outputs_go_into_the_table_and_inputs_do_not(measured: Recipe) -> None:
    rows = told(500)
    found = Inferences(measured, never).applied(BOTH, rows)
    assert (list(found.numbers), list(found.groups), list(found.vectors)) == (["risk"], ["sex"], ["inside"])
    weights = np.frombuffer(WEIGHTS, "<f4").astype(np.float64)
    whole = module(Graph.read([{"linear": 3}, "tanh", {"linear": 1}], inputs=4, outputs=1), weights)
    lacks = np.isnan(rows.numbers["age"]) | (rows.groups["sex"] < 0) | (rows.groups["sex"] > 1)
    age = np.clip(rows.numbers["age"], 0, 120) / 60 - 1
    visits = np.clip(rows.numbers["visits"], 0, 10) / 5 - 1
    sex = rows.groups["sex"]
    inputs = np.stack([age, visits, sex == 0, sex == 1], 1)[~lacks]
    expected = whole(torch.from_numpy(inputs)).detach().numpy()[:, 0]
    assert np.isnan(found.numbers["risk"][lacks]).all() and np.isnan(found.vectors["inside"][lacks]).all()
    assert np.abs(found.numbers["risk"][~lacks] - expected).max() < 1e-3
    inner = whole[:2](torch.from_numpy(inputs)).detach().numpy()
    assert np.abs(found.vectors["inside"][~lacks] - inner).max() < 1e-3
    # a field that reads no network keeps what it reads alone
    plain = Inferences(measured, never).applied(Columns(groups=("sex",)), rows)
    assert not plain.numbers and not plain.vectors and (plain.groups["sex"] == sex).all()


def test_a_table_without_what_a_network_is_told_is_refused_by_code(measured: Recipe) -> None:
    """OU-06: a job that was taken over hands in what it likes."""
    rows = told(20)
    check_table("score", measured.handed_over(BOTH), rows)
    without = Rows(units=rows.units, numbers={"age": rows.numbers["age"]}, groups=rows.groups)
    with pytest.raises(PrivacyError) as caught:
        check_table("score", measured.handed_over(BOTH), without)
    assert caught.value.code == "schema-mismatch"


def test_a_neighbour_changes_nobody_elses_output(measured: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """DP-02, DP-24: whoever comes or goes, wherever a piece or a chunk ends."""
    rows, networks = told(300), Inferences(measured, never)
    own = bits(networks.applied(BOTH, rows))
    monkeypatch.setattr(inference, "PIECE", 64)
    assert bits(networks.applied(BOTH, rows)) == own
    for gone in ([0], [63, 64], list(range(1, 300)), list(range(299))):
        kept = np.delete(np.arange(300), gone)
        assert bits(networks.applied(BOTH, rows.where(kept))) == [own[n] for n in kept]
    assert bits(networks.applied(BOTH, rows.where(np.arange(299, -1, -1)))) == own[::-1]
    assert bits(networks.applied(BOTH, told(0))) == []


def test_lists_are_told_number_by_number(tmp_path: Path) -> None:
    """A list in which a number is missing is told to no network."""

    def change(study: dict[str, Any]) -> None:
        study["relation"]["sql"] = (
            "SELECT person, max(sex) AS sex, first(scans ORDER BY age) AS scans\nFROM visits\n"
            "GROUP BY person\n"
        )
        study["schemas"]["visits"]["columns"]["scans"] = {"type": "list", "of": "int16"}
        study["output"]["fields"] = study["output"]["fields"][:2]
        study["inference"] = study["inference"][1:]
        study["inference"][0].update(
            name="risk", vectors=[{"name": "scans", "length": 2, "lower": 0, "upper": 4}], features=[],
            depth=None, layers=[{"linear": 1}], weights={"base64": "AACAPwAAAEAAAEBAAACAQAAAAAA="},
        )  # fmt: skip
        del study["inference"][0]["depth"]

    recipe = rendered(tmp_path, change)
    assert recipe.handed_over(recipe.output.fields[1].columns).vectors == (("scans", 2),)
    rows = Rows(
        units=np.arange(4), numbers={}, groups={"sex": np.array([0, 1, 0, 0])},
        vectors={"scans": np.array([[0, 4], [4, 9], [MISSING, 1], [2, 2]], np.int16)},
    )  # fmt: skip
    found = Inferences(recipe, never).applied(Columns(numbers=("risk",)), rows).numbers["risk"]
    # weights 1, 2 of the list; 3 of women, 4 of men
    assert np.array_equal(found, [-1 + 2 + 3, 1 + 2 + 4, np.nan, 3], equal_nan=True)


# -- from sealed weights to a released field ----------------------------------------------------------------

COHORT = {
    "unit": "person",
    "columns": {"person": "int64", "age": "float64", "dose": "float64", "ill": "bool", "held": "bool"},
}
BASE = {
    "features": [{"name": "age", "lower": 20, "upper": 80}, {"name": "dose", "lower": 0, "upper": 10}],
    "layers": [{"linear": 8}, "tanh", {"linear": 1}],
    "weights": {"owner": "maker", "name": "net"},
}
WHOLE: dict[str, Any] = {
    "version": 2,
    "name": "bought-model",
    "question": "How well does a bought model tell who is ill, and how well with a head of our own?",
    "image": "registry.example/sealroom/enclave@sha256:" + "0" * 64,
    "gpu": "none",
    "guarantee": "by-construction",
    "schemas": {"cohort": COHORT},
    "datasets": [
        {"owner": "hospital-A", "name": "cohort", "schema": "cohort"},
        {"owner": "hospital-B", "name": "cohort", "schema": "cohort"},
        {"owner": "maker", "name": "net", "kind": "files"},
    ],
    "relation": {"rows": 1, "sql": "SELECT person, age, dose, ill, held\nFROM cohort\n"
                 "QUALIFY row_number() OVER (PARTITION BY person ORDER BY age) = 1\n"},
    "inference": [{"name": "risk", **BASE}, {"name": "inside", "depth": 2, **BASE}],
    "privacy": {
        "adjacency": "add-remove", "epsilon": 20, "delta": "1e-6", "minimum_cohort": 20,
        "release_after_seconds": 600,
    },
    "output": {
        "limit_bytes": 16384,
        "groups": {},
        "fields": [
            {
                "name": "bought", "kind": "auc", "score": "risk", "label": "ill", "lower": -8, "upper": 8,
                "bins": 64, "bands": 4, "decimals": 3,
            },
            {
                "name": "head", "kind": "model", "vectors": [
                    {"name": "inside", "length": 8, "lower": -1, "upper": 1}
                ],
                "layers": [{"linear": 1}], "loss": "binary", "label": "ill", "held_out": "held", "batch": 1,
                "clip": 1, "steps": 60, "learning_rate": 4, "momentum": "0.5", "seed": 1, "curve": 2,
                "decimals": 3,
            },
        ],
    },
}  # fmt: skip


def people(letter: str, count: int = 3000) -> pa.Table:
    """Made up: the risk bends with age and falls with the dose. One fifth is held out."""
    dice = np.random.default_rng(ord(letter))
    age, dose = dice.uniform(20, 80, count), dice.uniform(0, 10, count)
    score = 4 * np.cos((age - 50) / 10) - (dose - 5) / 2 + dice.normal(0, 0.5, count)
    return pa.table(
        {
            "person": np.arange(count) + 10_000 * ord(letter), "age": age, "dose": dose,
            "ill": dice.random(count) < 1 / (1 + np.exp(-score)), "held": np.arange(count) % 5 == 0,
        }
    )  # fmt: skip


def scaled(table: pa.Table) -> torch.Tensor:
    age, dose = table.column("age").to_numpy(), table.column("dose").to_numpy()
    return torch.from_numpy(np.stack([(age - 50) / 30, (dose - 5) / 5], 1)).float()


def fitted(net: torch.nn.Module, inputs: torch.Tensor, ill: torch.Tensor, steps: int) -> torch.nn.Module:
    """Trained by plain torch."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(inputs)[:, 0], ill).backward()
        optimiser.step()
    return net


def auc(score: Any, ill: Any) -> float:
    """Of Mann and Whitney."""
    rank = np.argsort(np.argsort(score)) + 1
    some = ill.sum()
    return float((rank[ill].sum() - some * (some + 1) / 2) / (some * (len(ill) - some)))


def study(folder: Path) -> Recipe:
    (folder / "study.yaml").write_text(json.dumps(WHOLE))
    return parse(render(folder))


@pytest.fixture(scope="module")
def bought() -> torch.nn.Sequential:
    """What a maker trained on people of its own."""
    torch.manual_seed(1)
    theirs = people("M", 2000)
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    fitted(net, scaled(theirs), torch.from_numpy(theirs.column("ill").to_numpy()).float(), 300)
    return net


def tensors(net: torch.nn.Sequential) -> list[Tensor]:
    return [
        Tensor(name=name, shape=tuple(each.shape), data=each.detach().numpy().astype("<f4").tobytes())
        for name, each in net.named_parameters()
    ]


def homes(folder: Path, files: dict[str, bytes]) -> dict[str, Path]:
    """What the owners have at home."""
    found = {}
    for letter in "AB":
        found[f"hospital-{letter}/cohort"] = folder / f"{letter}.parquet"
        pq.write_table(people(letter), folder / f"{letter}.parquet")
    found["maker/net"] = folder / "net"
    found["maker/net"].mkdir()
    for name, data in files.items():
        (found["maker/net"] / name).write_bytes(data)
    return found


def test_a_sealed_model_is_tested_on_private_people_and_its_head_fine_tuned(
    bought: torch.nn.Sequential, tmp_path: Path
) -> None:
    """From sealed files through the sandbox and the custodian, beside the same by plain torch."""
    files = {"model.safetensors": write(tensors(bought)), "LICENCE": b"for this study alone"}
    done = dry_run(study(tmp_path), data=homes(tmp_path, files))
    table = pa.concat_tables([people("A"), people("B")])
    ill, held = (table.column(name).to_numpy(zero_copy_only=False) for name in ("ill", "held"))
    with torch.no_grad():
        scores = bought(scaled(table))[:, 0].numpy()
        inner = bought[:2](scaled(table))
    fields = done.result["fields"]
    assert abs(float(fields["bought"]["area"][0]["auc"]) - auc(scores, ill)) < 0.02
    train = torch.from_numpy(~held)
    head = fitted(torch.nn.Linear(8, 1), inner[train], torch.from_numpy(ill).float()[train], 300)
    with torch.no_grad():
        plain = auc(head(inner)[:, 0].numpy()[held], ill[held])
    [ours] = fields["head"]["held_out"]
    assert abs(float(ours["auc"]) - plain) < 0.05
    assert [each.files for each in done.read] == [None, None, 2]


def _nan(net: torch.nn.Sequential) -> bytes:
    first, *rest = tensors(net)
    broken = first.data[:-4] + np.float32("nan").tobytes()
    return write([Tensor(name=first.name, shape=first.shape, data=broken), *rest])


@pytest.mark.parametrize("lie", ["no file", "no tensors", "another network", "NaN"])
def test_a_hostile_artefact_ends_the_run_before_a_row_is_read(
    lie: str, bought: torch.nn.Sequential, tmp_path: Path
) -> None:
    files, code = {
        "no file": ({"net.safetensors": write(tensors(bought))}, "weights-missing"),
        "no tensors": ({"model.safetensors": b"\x80\x02}q\x00."}, "weights-malformed"),
        "another network": ({"model.safetensors": write(tensors(bought)[:2])}, "weights-mismatch"),
        "NaN": ({"model.safetensors": _nan(bought)}, "weights-mismatch"),
    }[lie]
    with pytest.raises(WouldFail) as caught:
        dry_run(study(tmp_path), data=homes(tmp_path, files))
    assert caught.value.code == code


def test_weights_are_read_from_nothing_but_their_file(tmp_path: Path) -> None:
    """AR-13: a folder that is none is refused as any."""
    recipe = study(tmp_path)

    def folder(spec: DatasetSpec) -> tuple[int, int]:
        descriptor = inference.os.memfd_create("dataset")
        inference.os.write(descriptor, b"no tar" * 200)
        return descriptor, 1200

    with pytest.raises(SealError) as caught:
        Inferences(recipe, folder)
    assert caught.value.code == "folder-malformed"
