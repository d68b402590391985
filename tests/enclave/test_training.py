# SPDX-License-Identifier: Apache-2.0
"""Training by exact arithmetic: the same sums to the last bit, whatever computes them, and good models.

DP-02 (sensitivity in integers), DP-17 (training).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from tests.enclave.kinds import kit
from tests.gpu import __main__ as on_gpu

from sealroom.encoding import lp
from sealroom.errors import RecipeError
from sealroom.privacy.features import FeatureList
from sealroom.privacy.kind import PEOPLE
from sealroom.privacy.kinds import KINDS, model
from sealroom.privacy.members import Members
from sealroom.privacy.parts import Cost, noise_of
from sealroom.privacy.people import MISSING, People
from sealroom.recipe import Field
from sealroom.training import grids
from sealroom.training.checkpoints import Checkpoints, first_head
from sealroom.training.exact import Trainer
from sealroom.training.graph import Graph, Layer
from sealroom.training.initial import initial
from sealroom.training.optimiser import Checkpoint, packed
from sealroom.training.rows import Lists

MLP = [{"linear": 24}, "relu", {"linear": 12}, "tanh", {"linear": 1}]
SMOOTH = [{"linear": 16}, "gelu", {"linear": 8}, "silu", {"linear": 4}]
IMAGES = [
    {"unflatten": [1, 8, 8]}, {"conv2d": {"channels": 6, "kernel": 3, "padding": 1, "stride": 1}}, "relu",
    {"max_pool2d": 2}, {"conv2d": {"channels": 8, "kernel": 3, "padding": 0, "stride": 1}}, "tanh",
    {"avg_pool2d": 2}, "flatten", {"linear": 3},
]  # fmt: skip
NETWORKS: list[tuple[list[Any], int, str, int]] = [
    (MLP, 10, "binary", 1),
    (SMOOTH, 10, "classes", 4),
    ([{"linear": 8}, "sigmoid", {"linear": 1}], 5, "squared", 1),
    (IMAGES, 64, "classes", 3),
]
CLIP = grids.Clip(value=Decimal("0.5"))


def module(graph: Graph, weights: Any) -> torch.nn.Module:
    """The same network of torch's own layers, in doubles."""
    nn = torch.nn

    def made(layer: Layer) -> torch.nn.Module:
        makers: dict[str, Any] = {
            "linear": lambda: nn.Linear(layer.before[0], layer.after[0]),
            "conv2d": lambda: nn.Conv2d(
                layer.before[0], layer.after[0], layer.kernel, stride=layer.stride, padding=layer.padding
            ),
            "avg_pool2d": lambda: nn.AvgPool2d(layer.kernel),
            "max_pool2d": lambda: nn.MaxPool2d(layer.kernel),
            "unflatten": lambda: nn.Unflatten(1, layer.after),
            "flatten": nn.Flatten, "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU,
            "silu": nn.SiLU,
        }  # fmt: skip
        return makers[layer.name]()

    whole = nn.Sequential(*map(made, graph.layers)).double()
    at = 0
    for (name, shape), held in zip(graph.tensors(), whole.named_parameters(), strict=True):
        assert held[0] == name and tuple(held[1].shape) == shape
        held[1].data = torch.from_numpy(weights[at : at + held[1].numel()]).reshape(shape).clone()
        at += held[1].numel()
    return whole


def data(count: int, inputs: int, loss: str, outputs: int, seed: int = 3) -> tuple[Any, Any]:
    dice = np.random.default_rng(seed)
    rows = np.rint(dice.uniform(-1, 1, (count, inputs)) * 65536).astype(np.float32)
    if loss == "squared":
        return rows, np.rint(dice.uniform(-1, 1, count) * 65536)
    return rows, dice.integers(0, max(outputs, 2), count).astype(np.float64)


def of_torch(loss: str, outputs: Any, target: float) -> Any:
    if loss == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(
            outputs[:, 0], torch.tensor([target], dtype=torch.float64)
        )
    if loss == "classes":
        return torch.nn.functional.cross_entropy(outputs, torch.tensor([int(target)]))
    return ((outputs[:, 0] - target / 65536) ** 2 / 2).sum()


@pytest.mark.parametrize("network", NETWORKS, ids=lambda each: each[2])
def test_gradients_and_losses_are_those_of_torch(network: Any) -> None:
    layers, inputs, loss, outputs = network
    graph = Graph.read(layers, inputs=inputs, outputs=outputs)
    weights = Checkpoint.first(graph, 7).weights * 1.5
    rows, targets = data(120, inputs, loss, outputs)
    trainer = Trainer(graph, loss, CLIP)
    found = trainer.sums(weights, trainer.rows(rows, targets))
    theirs, losses, whole = np.zeros(graph.weights), 0.0, module(graph, weights)
    for row, target in zip(rows, targets, strict=True):
        whole.zero_grad()
        lost = of_torch(loss, whole(torch.from_numpy(row[None].astype(np.float64) / 65536)), target)
        lost.backward()
        gradient = torch.cat([each.grad.reshape(-1) for each in whole.parameters()]).numpy()
        theirs += gradient * min(1.0, 0.5 / np.linalg.norm(gradient))
        losses += lost.item()
    ours = found.gradient / 2.0**CLIP.bits
    # lengths of gradients of kernels are rounded up by half a step a weight
    assert np.linalg.norm(ours - theirs) < (2e-3 if layers is IMAGES else 3e-4) * np.linalg.norm(theirs)
    assert abs(found.loss / grids.LOSS_STEPS - losses) < 1e-3 * len(rows)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda each: each[2])
def test_sums_are_the_same_to_the_last_bit_whatever_computes_them(network: Any) -> None:
    layers, inputs, loss, outputs = network
    graph = Graph.read(layers, inputs=inputs, outputs=outputs)
    weights = Checkpoint.first(graph, 7).weights * 3
    rows, targets = data(301, inputs, loss, outputs)
    usual = Trainer(graph, loss, CLIP)
    known = usual.sums(weights, usual.rows(rows, targets))
    dice = np.random.default_rng(1)
    for threads, chunk in ((1, 1), (1, 7), (2, 64), (4, 33), (2, 1000)):
        order = dice.permutation(len(rows))
        trainer = Trainer(graph, loss, CLIP, threads=threads, chunk=chunk)
        found = trainer.sums(weights, trainer.rows(rows[order], targets[order]))
        assert (found.gradient == known.gradient).all() and found.loss == known.loss
    alone = [usual.sums(weights, usual.rows(rows[n : n + 1], targets[n : n + 1])) for n in range(40)]
    first = usual.sums(weights, usual.rows(rows[:40], targets[:40]))
    assert (first.gradient == sum(each.gradient for each in alone)).all()
    for each in alone:
        whole = each.gradient.astype(object)
        assert (whole * whole).sum() <= CLIP.reach**2


def test_labels_that_are_inputs_take_room_a_chunk_at_a_time() -> None:
    """OU-03. A model takes a few times its table, as the custodian's limit of a table counts on; spelt out,
    four groups of 256 labels take a hundred times as much, and more people would end the custodian."""
    count, dice, kind = 20_000, np.random.default_rng(1), KINDS["model"]
    groups = {f"g{n}": tuple(f"label {m}" for m in range(256)) for n in range(4)}
    groups["told"] = tuple(f"class {n}" for n in range(32))
    members = {
        "features": [], "groups": list(groups)[:4], "layers": [{"linear": 32}], "loss": "classes",
        "label": "told", "held_out": "h", "batch": "1", "clip": "1", "steps": 1, "learning_rate": "1",
        "momentum": "0", "seed": 1, "curve": 1, "decimals": 3,
    }  # fmt: skip
    spec = kind.read(Members(members, "field"), groups)
    assert "from g0 (256 labels), g1 (256 labels)" in kind.sentence(spec, PEOPLE)
    numbers = {"h": dice.integers(0, 2, count).astype(np.float64)}
    places = {name: dice.integers(0, len(labels), count) for name, labels in groups.items()}

    def first(some: int) -> People:
        return People(
            count=some, numbers={name: each[:some] for name, each in numbers.items()},
            groups={name: each[:some] for name, each in places.items()},
        )  # fmt: skip

    people = first(count)
    weights, table = Checkpoint.first(spec.layers, 1).weights, count * (8 + 8 + 5 * 4)
    kind.prepare(spec, "gaussian", first(9)).tested(
        weights, (0.0,)
    )  # what is made once a process is there then
    tracemalloc.start()
    try:
        prepared = kind.prepare(spec, "gaussian", people)
        found = prepared.tested(weights, (0.0,))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["held_table"].sum() == found["held_people"][0] == people.numbers["h"].sum()
    assert most < 7 * table
    assert prepared.train.chunk(0, 3)[0].sum(1).tolist() == [4 * 65536.0] * 3


def pictures(count: int, seed: int = 4) -> tuple[People, Any]:
    """Grey squares of 8 × 8, bright in the upper half or in the lower one, by `label`; some lack a pixel."""
    dice, kind = np.random.default_rng(seed), KINDS["model"]
    told = dice.integers(0, 2, count)
    grey = dice.integers(0, 120, (count, 8, 8))
    grey[told == 0, :4] += 60
    grey[told == 1, 4:] += 60
    held = grey.reshape(count, 64).astype(np.int16)
    held[::50, 7] = MISSING
    members = {
        "features": [], "groups": [], "layers": [*IMAGES[:-1], {"linear": 2}], "loss": "classes",
        "vectors": [{"length": 64, "lower": "0", "name": "pixels", "upper": "255"}], "label": "half",
        "held_out": "h", "batch": "1", "clip": "1", "steps": 30, "learning_rate": "0.5", "momentum": "0.9",
        "seed": 1, "curve": 2, "decimals": 3,
    }  # fmt: skip
    spec = kind.read(Members(members, "field"), {"half": ("upper", "lower")})
    table = People(
        count=count, numbers={"h": (np.arange(count) % 4 == 1).astype(np.float64)}, groups={"half": told},
        vectors={"pixels": held},
    )  # fmt: skip
    return table, spec


def test_pixels_are_clamped_and_scaled_to_the_grid_one_row_at_a_time() -> None:
    """As features of the same bounds are, whatever type holds them. DP-03: no pixel scales another."""
    dice, kind = np.random.default_rng(2), KINDS["model"]
    given = np.concatenate([dice.uniform(-50, 300, (40, 6)), [[0, 255, -1, 256, 127.5, 1e30]]])
    bounds = {"lower": "0", "upper": "255"}
    shared = {
        "groups": ["sex"], "label": "told", "held_out": "h", "loss": "binary", "layers": [{"linear": 1}],
        "batch": "1", "clip": "1", "steps": 1, "learning_rate": "1", "momentum": "0", "seed": 1, "curve": 1,
        "decimals": 3,
    }  # fmt: skip
    listed = {
        **shared,
        "features": [{"name": "x", **bounds}],
        "vectors": [{"name": "p", "length": 5, **bounds}],
    }
    single = {**shared, "features": [{"name": name, **bounds} for name in "xabcde"]}
    numbers = {name: given[:, n].astype(np.float32).astype(np.float64) for n, name in enumerate("xabcde")}
    numbers |= {"told": np.zeros(41), "h": np.zeros(41)}
    people = People(
        count=41, numbers=numbers, groups={"sex": np.arange(41) % 2},
        vectors={"p": given[:, 1:].astype(np.float32)},
    )  # fmt: skip
    chunks = [
        kind.prepare(kit.spec_of(kind, members), "gaussian", people).train.chunk(0, 41)[0].numpy()
        for members in (listed, single)
    ]
    assert np.array_equal(*chunks) and np.abs(chunks[0]).max() == 65536
    assert (chunks[0][:, 6:].sum(1) == 65536).all()


def test_rows_with_a_missing_number_in_a_list_count_nowhere() -> None:
    table, spec = pictures(400)
    inputs = KINDS["model"].prepare(spec, "gaussian", table)
    without = np.arange(400) % 50 == 0
    held = table.numbers["h"] > 0.5
    assert inputs.train.count == (~held & ~without).sum() and inputs.held.count == (held & ~without).sum()


def test_a_small_convolutional_network_learns_from_lists_of_pixels() -> None:
    """Beside the share that guessing gets; intervals hold what the released weights get."""
    kind = model.KIND
    table, spec = pictures(4_000)
    field = Field(name="side", kind=kind, spec=spec, cost=Cost(law="gaussian", amount=10**9))
    value = kit.released(field, table)
    tested = value["held_out"][0]
    assert float(tested["accuracy_low"]) > 0.8
    weights = np.frombuffer(base64.b64decode(value["model"][0]["weights"]), dtype="<i4") / 2.0**24
    kept = (table.numbers["h"] > 0.5) & (np.arange(4_000) % 50 != 0)
    rows = torch.from_numpy((table.vectors["pixels"][kept].astype(np.float64) - 127.5) / 127.5)
    said = module(spec.layers, weights)(rows).argmax(1).numpy()
    right = (said == table.groups["half"][kept]).mean()
    assert float(tested["accuracy_low"]) <= right <= float(tested["accuracy_high"])


def test_pixels_take_room_a_chunk_at_a_time() -> None:
    """OU-03. Of lists a model has little beside the table that the custodian lets in; as doubles they take
    four times as much."""
    kind = KINDS["model"]
    table, spec = pictures(40_000)
    weights = Checkpoint.first(spec.layers, 1).weights
    small, _ = pictures(9)
    kind.prepare(spec, "gaussian", small).tested(weights, (0.0,))  # made once a process
    tracemalloc.start()
    try:
        prepared = kind.prepare(spec, "gaussian", table)
        some = prepared.of(np.arange(40_000) % 2 == 0)
        prepared.tested(weights, (0.0,))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = prepared.train.lists[0].held
    assert held.data_ptr() == table.vectors["pixels"].ctypes.data  # no copy of it
    assert some.batch.lists is prepared.train.lists and some.batch.count < prepared.train.count
    assert most < 4 * 2**23 + 40 * table.count


def test_a_row_that_would_be_longer_than_the_clip_counts_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """DP-02. The last check is on the whole numbers that are added, and trusts no factor before it."""
    graph = Graph.read(MLP, inputs=10, outputs=1)
    weights = Checkpoint.first(graph, 7).weights * 8
    rows, targets = data(50, 10, "binary", 1)
    trainer = Trainer(graph, "binary", grids.Clip(value=Decimal("0.125")))

    def lengths() -> list[int]:
        each = [trainer.rows(rows[n : n + 1], targets[n : n + 1]) for n in range(50)]
        sums = [trainer.sums(weights, row).gradient.astype(object) for row in each]
        return [int((whole * whole).sum()) for whole in sums]

    clipped = lengths()
    assert all(clipped) and max(clipped) <= trainer.clip.reach**2
    honest = Trainer._factor
    monkeypatch.setattr(Trainer, "_factor", lambda self, *args: honest(self, *args) * 1.001)
    longer = lengths()
    assert 0 in longer and max(longer) <= trainer.clip.reach**2
    for once, now in zip(clipped, longer, strict=True):
        assert now == 0 if once > 0.999 * trainer.clip.reach**2 else now >= once


def test_the_grids_leave_room_for_every_sum() -> None:
    """Largest magnitudes times the numbers that are summed stay within 53 bits, for every layer there is."""
    for outputs in (1, 2, 3, 31, 32, 33, 100, 1000, 2047):
        layer = Layer(name="linear", before=(2047,), after=(outputs,))
        most = grids.ERROR_LIMIT << grids.error_bits(layer)
        assert most * most * outputs <= 2**53 and most * grids.WEIGHT_MOST * outputs <= 2**53
        assert grids.error_bits(layer) >= 16
    assert grids.INPUT_MOST * grids.WEIGHT_MOST * 2048 <= 2**53
    assert grids.INPUT_MOST**2 * 2047 + 2**32 <= 2**53
    assert grids.MAX_CHUNK << grids.REACH_BITS <= 2**53
    for channels, kernel, edge in ((1, 1, 64), (16, 3, 64), (64, 5, 8), (32, 3, 28)):
        layer = Layer(name="conv2d", before=(8, edge, edge), after=(channels, edge, edge), kernel=kernel)
        most = grids.ERROR_LIMIT << grids.error_bits(layer)
        assert most * grids.WEIGHT_MOST * channels * kernel**2 <= 2**53
        assert most * grids.INPUT_MOST * edge**2 <= 2**53
    for clip in ("0.001", "0.25", "0.3", "1", "1.5", "1024"):
        found = grids.Clip(value=Decimal(clip))
        assert 2**35 <= found.reach + 1 <= 2**36 + 1


def test_initial_weights_follow_from_the_seed() -> None:
    graph = Graph.read(MLP, inputs=10, outputs=1)
    steps = initial(graph, 7)
    assert steps == initial(graph, 7) and steps != initial(graph, 8) and len(steps) == graph.weights
    first = np.array(steps[: graph.layers[0].weights]) / 2**24
    assert abs(first).max() <= 1 / math.sqrt(10) < abs(first).max() * 1.1


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([{"dropout": 0.5}, {"linear": 1}], "dropout is none of"),
        (["batch_norm", {"linear": 1}], "batch_norm is none of"),
        ([{"linear": 0}], "from 1 to"), ([{"linear": True}], "from 1 to"), (["linear"], "has no size"),
        ([{"linear": 3}], "with 1 outputs"), (["relu"], "must be linear"), ([], "list of 1"),
        ([{"linear": 1, "relu": 1}], "neither a name"), ([{"conv2d": {"channels": 1}}], "needs channels"),
        ([{"unflatten": [1, 2, 6]}, {"linear": 1}], "makes 1 × 2 × 6"),
        ([{"unflatten": [1, 2, 5]}, {"max_pool2d": 2}, "flatten", {"linear": 1}], "does not divide"),
        ([{"unflatten": [1, 2, 5]}, {"linear": 1}], "write flatten"),
        ([{"linear": 2000}, {"linear": 100}, {"linear": 1}], "more than 100000"),
        ([{"unflatten": [1, 2, 5]},
          {"conv2d": {"channels": 2, "kernel": 3, "padding": 3, "stride": 1}}, "flatten", {"linear": 1}],
         "does not fit"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_list_of_layers_is_refused(layers: Any, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Graph.read(layers, inputs=10, outputs=1)
    assert says in caught.value.message + str(caught.value.hint)


def test_a_convolution_may_leave_out_what_is_usual_in_a_study_alone() -> None:
    layers = [{"unflatten": [1, 2, 5]}, {"conv2d": {"channels": 2, "kernel": 2}}, "flatten", {"linear": 1}]
    loose = Graph.read(layers, inputs=10, outputs=1, loose=True)
    assert loose.plain()[1] == {"conv2d": {"channels": 2, "kernel": 2, "padding": 0, "stride": 1}}
    assert Graph.read(loose.plain(), inputs=10, outputs=1) == loose
    with pytest.raises(RecipeError, match="lacks"):
        Graph.read(layers, inputs=10, outputs=1)


# --- the kind ----------------------------------------------------------------------------------------------

NAMES = [f"x{n}" for n in range(8)]
MEMBERS = {
    "features": [{"lower": "-3", "name": name, "upper": "3"} for name in NAMES], "groups": ["sex"],
    "held_out": "held", "label": "event", "loss": "binary", "layers": [{"linear": 16}, "relu", {"linear": 1}],
    "batch": "1", "clip": "2", "steps": 60, "learning_rate": "1", "momentum": "0.9", "seed": 1, "curve": 5,
    "decimals": 3,
}  # fmt: skip


PIXELS = {"length": 3, "lower": "0", "name": "p", "upper": "255"}


def people(count: int, seed: int = 5) -> tuple[People, Any, Any]:
    """A table whose label is no linear function of its inputs, with the true chance of the label."""
    dice = np.random.default_rng(seed)
    x = dice.standard_normal((count, 8))
    sex = dice.integers(0, 2, count)
    score = 1.4 * x[:, 0] * (x[:, 1] > 0) - 1.2 * np.abs(x[:, 2]) + x[:, 3] + 0.7 * sex
    event = (dice.uniform(size=count) < 1 / (1 + np.exp(-score))).astype(np.float64)
    held = (dice.uniform(size=count) < 0.25).astype(np.float64)
    numbers = {name: x[:, n] for n, name in enumerate(NAMES)} | {"event": event, "held": held}
    return People(count=count, numbers=numbers, groups={"sex": sex}), score, event


def auc(score: Any, event: Any) -> float:
    order = np.argsort(np.argsort(score))
    some = event > 0.5
    return float((order[some].mean() - (some.sum() - 1) / 2) / (~some).sum())


def test_a_model_is_nearly_as_good_as_one_without_noise_and_says_how_good() -> None:
    """ε 1.5 and δ 1e-6 for 16,000 people: μ 0.344."""
    kind = model.KIND
    spec = kit.spec_of(kind, MEMBERS)
    table, _, event = people(16_000)
    value = kit.released(
        Field(name="risk", kind=kind, spec=spec, cost=Cost(law="gaussian", amount=344_000_000)), table
    )
    weights = np.frombuffer(base64.b64decode(value["model"][0]["weights"]), dtype="<f4").astype(np.float64)
    whole = module(spec.layers, weights)
    inputs = np.column_stack(
        [np.clip(table.numbers[name], -3, 3) / 3 for name in NAMES]
        + [(table.groups["sex"] == place).astype(np.float64) for place in (0, 1)]
    )
    held = table.numbers["held"] > 0.5
    told = whole(torch.from_numpy(inputs)).detach().numpy()[:, 0]

    plain = module(spec.layers, Checkpoint.first(spec.layers, 1).weights)
    optimiser = torch.optim.SGD(plain.parameters(), lr=1.0, momentum=0.9)
    rows, labels = torch.from_numpy(inputs[~held]), torch.from_numpy(event[~held])
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(plain(rows)[:, 0], labels).backward()
        optimiser.step()
    theirs = auc(plain(torch.from_numpy(inputs[held])).detach().numpy()[:, 0], event[held])
    ours = auc(told[held], event[held])
    assert theirs > 0.75 and ours > theirs - 0.02
    tested = value["held_out"][0]
    assert float(tested["auc_high"]) - float(tested["auc_low"]) < 0.1
    lost = np.mean(np.maximum(told, 0) - told * event + np.log1p(np.exp(-np.abs(told))))
    for name, true in (("auc", ours), ("loss", lost), ("people", held.sum())):
        # An interval of 95 % misses once in twenty runs; three of its widths never do.
        low, high = float(tested[f"{name}_low"]), float(tested[f"{name}_high"])
        assert low - (high - low) <= true <= high + (high - low), name
    first, *later = [float(row["loss"]) for row in value["groups"]]
    assert len(later) == 4 and np.mean(later) < first - 0.03  # falls by 0.12; the noise of this is 0.02


def test_intervals_of_the_loss_curve_hold_the_loss() -> None:
    kind, spec = model.KIND, kit.spec_of(model.KIND, MEMBERS | {"steps": 1, "curve": 1})
    table, _, _ = people(3000)
    prepared, law = kind.prepare(spec, "gaussian", table), "gaussian"
    cost, dice, inside = Cost(law="gaussian", amount=500_000_000), np.random.default_rng(2), []
    noise = {part.name: noise_of(part, cost) for part in kind.parts(spec, law)}
    sums = kind.aggregate(spec, law, prepared, None)
    true = sums["loss"][0] / 1024 / sums["people"][0]
    for _ in range(300):
        noisy = {name: kit.seeded(each, noise[name], dice) for name, each in sums.items()}
        value = kind.finish(spec, law, kind.advance(spec, law, None, noisy, noise), noise, 0)
        [row] = value["groups"]
        inside.append(float(row["loss_low"]) <= true <= float(row["loss_high"]))
    assert 0.95 - 6 * math.sqrt(0.95 * 0.05 / 300) < np.mean(inside) < 0.995


SUMS = [Fraction(1), Fraction(2), Fraction(3)]


def test_the_chain_of_checkpoints_is_what_the_specification_says() -> None:
    graph = Graph.read([{"linear": 1}], inputs=2, outputs=1)
    first = Checkpoint.first(graph, 0)
    moved = first.moved(SUMS, step=Fraction(1), learning_rate=0.5, momentum=0.0)
    packed = [each.weights.astype("<f4").tobytes() for each in (first, moved)]
    head = hashlib.sha256(lp("sealroom checkpoints v2", b'[{"linear":1}]', packed[0])).digest()
    assert (first.head, first.previous, first.step) == (head, head, 0)
    after = hashlib.sha256(lp("sealroom checkpoints v2", 1, head, packed[1])).digest()
    assert (moved.head, moved.previous, moved.step) == (after, head, 1)
    assert (moved.weights == first.weights - np.array([0.5, 1.0, 1.5])).all()


def test_weights_leave_as_floats_that_hold_them_and_without_a_second_zero() -> None:
    weights = np.array([-1e-9, 0.5, 63.00000001, 2.0**-24, -64.0])
    told = np.frombuffer(packed(weights), "<f4")
    assert told.tolist() == [0.0, 0.5, 63.0, 2.0**-24, -64.0]
    assert math.copysign(1, told[0]) == 1


def test_a_chain_of_checkpoints_ends_in_one_list_of_weights_after_one_number_of_steps() -> None:
    graph = Graph.read([{"linear": 1}], inputs=2, outputs=1)
    first = Checkpoint.first(graph, 0)
    made = [first]
    for _ in range(2):
        made.append(made[-1].moved(SUMS, step=Fraction(1), learning_rate=0.5, momentum=0.0))
    last = made[2]
    chain = Checkpoints(first=first_head(graph, 0), steps=2, previous=last.previous, head=last.head)
    weights = packed(last.weights)
    assert chain.first == first.head and chain.bind(weights)
    assert not chain.bind(packed(last.weights + 2.0**-20))
    assert not chain.bind(weights[4:]) and not chain.bind(b"")
    for lie in ({"steps": 3}, {"previous": first.head}, {"head": first.head}):
        assert not replace(chain, **lie).bind(weights)
    # of one step, what it started from is known to everybody
    of_one = Checkpoints(first=first.head, steps=1, previous=first.head, head=made[1].head)
    assert of_one.bind(packed(made[1].weights))
    assert not replace(of_one, first=last.head).bind(packed(made[1].weights))


def test_the_kind_names_its_refusals() -> None:
    kind = KINDS["model"]
    for change, says in (
        ({"label": "held"}, "is an input too"), ({"groups": ["nobody"]}, "does not declare"),
        ({"loss": "classes"}, "no group"), ({"clip": "0"}, "a clip from"), ({"momentum": "1"}, "momentum"),
        ({"features": [], "groups": []}, "features, vectors or groups"), ({"label": "x0"}, "is an input too"),
        ({"loss": "squared"}, "lacks lower"), ({"vectors": []}, "without a column of lists"),
        ({"vectors": [PIXELS | {"name": "x0"}]}, "each once"), ({"vectors": [PIXELS] * 17}, "at most 16"),
        ({"vectors": [PIXELS | {"length": 2**14 + 1}]}, "length"),
        ({"vectors": [PIXELS | {"upper": "0"}]}, "not below"), ({"vectors": [{"name": "p"}]}, "lacks lower"),
        ({"vectors": [PIXELS | {"name": f"p{n}", "length": 2**14} for n in range(4)]}, "65546 inputs"),
        ({"vectors": [PIXELS | {"length": 2048}]}, "more than 2047"),
        ({"label": "p", "vectors": [PIXELS]}, "is an input too"),
    ):  # fmt: skip
        with pytest.raises(RecipeError) as caught:
            kit.spec_of(kind, MEMBERS | change)
        assert says in caught.value.message, json.dumps(change)


def test_the_script_for_machines_with_cuda_runs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m tests.gpu`; with CUDA it compares the sums of both devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = list(on_gpu.lines(600))
    assert "600 rows, 4,097 weights" in told[0] and "4,097 sums equal as integers" in told[-1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("network", NETWORKS, ids=lambda each: each[2])
def test_cuda_computes_the_same_integers(network: Any) -> None:
    layers, inputs, loss, outputs = network
    graph = Graph.read(layers, inputs=inputs, outputs=outputs)
    weights = Checkpoint.first(graph, 7).weights * 3
    rows, targets = data(3001, inputs, loss, outputs)
    here, there = (Trainer(graph, loss, CLIP, device=device) for device in ("cuda", "cpu"))
    one, other = (each.sums(weights, each.rows(rows, targets)) for each in (here, there))
    assert (one.gradient == other.gradient).all() and one.loss == other.loss


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("bounds", [("0", "255"), ("-0.3", "7.1")])
def test_cuda_scales_the_numbers_of_lists_to_the_same_grid(bounds: tuple[str, str]) -> None:
    lower, upper = map(Decimal, bounds)
    listed = FeatureList(name="p", lower=lower, upper=upper, length=100)
    for held in (np.arange(-100, 400, dtype=np.int16), np.linspace(-9, 300, 500, dtype=np.float32)):
        places = torch.arange(4, -1, -1)
        here, there = (
            Lists.on(torch.device(device), held.reshape(5, 100), listed).inputs(places.to(device))
            for device in ("cuda", "cpu")
        )
        assert torch.equal(here.cpu(), there)
