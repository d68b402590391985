# SPDX-License-Identifier: Apache-2.0
"""What is released at ε 1.5 beside what numpy, scipy or scikit-learn make of the same few thousand people.

The noise has a seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.stats.contingency import association, odds_ratio
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from tests.enclave.kinds import kit

from sealroom.privacy.intervals import LEVEL
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Members
from sealroom.privacy.parts import LAWS, Cost, Law, noise_of
from sealroom.privacy.people import People
from sealroom.privacy.shape import check

COSTS = {
    "laplace": Cost(law="laplace", amount=1_500_000),
    "gaussian": Cost(law="gaussian", amount=344_000_000),
}
"""ε 1.5, and the μ of (1.5, 1e-6)."""
COUNT = 4000


def released(
    kind: str,
    members: Mapping[str, Any],
    law: Law,
    numbers: Mapping[str, Any],
    groups: Mapping[str, Any] | None = None,
    seed: int = 1,
    labels: Mapping[str, Any] = kit.GROUPS,
) -> Any:
    """A field's value, of all of these people; `labels` are the declared ones of each group."""
    made, dice = KINDS[kind], np.random.default_rng(seed)
    spec = made.read(Members(members, "field"), {name: tuple(texts) for name, texts in labels.items()})
    count = len(next(iter([*numbers.values(), *(groups or {}).values()])))
    people = People(count=count, numbers=dict(numbers), groups=dict(groups or {}))
    noise = {name: noise_of(part, COSTS[law]) for name, part in kit.parts_of(made, spec, law).items()}
    state = None
    for _ in range(made.rounds(spec)):
        exact = made.aggregate(spec, law, made.prepare(spec, law, people), state)
        noisy = {name: kit.seeded(sums, noise[name], dice) for name, sums in exact.items()}
        state = made.advance(spec, law, state, noisy, noise)
    value = made.finish(spec, law, state, noise, kit.COHORT)
    check(value, made.shape(spec), "field")
    return value


def near(rows: Any, name: str, plain: Any, limit: float) -> None:
    """Intervals of a number reach no farther than the limit, and the plain one is not twice as far away."""
    shown, low, high = (
        np.array([float(row[each]) for row in rows]) for each in (name, f"{name}_low", f"{name}_high")
    )
    assert np.maximum(high - shown, shown - low).max() < limit, (name, low, shown, high)
    assert ((2 * low - shown <= plain) & (plain <= 2 * high - shown)).all(), (name, low, plain, high)


@pytest.mark.parametrize("law", LAWS)
def test_variance(law: Law) -> None:
    dice = np.random.default_rng(2)
    sex, values = dice.integers(0, 2, COUNT), dice.normal(1.2, 0.3, COUNT)
    members = {"by": ["sex"], "column": "x", "lower": "0.3", "upper": "3", "decimals": 4}
    value = released("variance", members, law, {"x": values}, {"sex": sex})
    held = [np.clip(values[sex == place], 0.3, 3.0) for place in (0, 1)]
    for name, statistic in (
        ("mean", np.mean),
        ("variance", lambda each: np.var(each, ddof=1)),
        ("standard_deviation", lambda each: np.std(each, ddof=1)),
    ):
        plain = np.array([statistic(each) for each in held])
        near(value["groups"], name, plain, 0.01 if law == "laplace" else 0.04)


@pytest.mark.parametrize("law", LAWS)
def test_a_spread_of_a_heavy_tail_is_told_by_bounds_that_are_found(law: Law) -> None:
    """Declared bounds a hundred times too wide make the noise on a variance ten thousand times as large."""
    dice, limits = np.random.default_rng(4), {"by": [], "column": "x", "lower": "0", "decimals": 0}
    fields = {"found": {"upper": "100000000", "bounds": "private"}, "declared": {"upper": "1000000"}}
    off: dict[str, list[float]] = {name: [] for name in fields}
    for seed in range(12):
        values = np.exp(dice.normal(8, 1, 50_000))
        for name, more in fields.items():
            value = released("variance", {**limits, **more}, law, {"x": values}, seed=seed)
            off[name].append(float(value["groups"][0]["standard_deviation"]) / values.std(ddof=1) - 1)
    found, declared = (math.sqrt(np.mean(np.square(each))) for each in off.values())
    assert found < 0.05 and declared > 0.2, (found, declared)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("points", [["0.5", "1", "2"], [f"0.{n:02d}" for n in range(1, 99, 2)]])
def test_cdf(law: Law, points: list[str]) -> None:
    """A value that equals a point is at or below it; shares never fall, and intervals include sampling."""
    points = [str(float(point)) if "." in point else point for point in points]
    values = np.round(np.exp(np.random.default_rng(3).normal(-0.5, 1, COUNT)), 1)
    members = {"by": [], "column": "x", "points": points, "decimals": 4}
    value = released("cdf", members, law, {"x": values})
    plain = np.array([(values <= float(point)).mean() for point in points])
    near(value["groups"], "share", plain, 0.03)
    shares = [float(row["share"]) for row in value["groups"]]
    assert shares == sorted(shares)
    half = [(float(row["share_high"]) - float(row["share_low"])) / 2 for row in value["groups"]]
    assert (np.array(half) > 1.9 * np.sqrt(plain * (1 - plain) / COUNT)).all()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("people", [80, 2000])
def test_intervals_of_a_cdf_hold_the_shares_of_the_population(law: Law, people: int) -> None:
    dice, points, inside = np.random.default_rng(7), ["0.02", "0.3", "0.9", "0.999"], []
    members = {"by": [], "column": "x", "points": points, "decimals": 5}
    for seed in range(300):
        value = released("cdf", members, law, {"x": dice.random(people)}, seed=seed)
        inside += [
            float(row["share_low"]) <= float(row["up_to"]) <= float(row["share_high"])
            for row in value["groups"]
        ]
    assert np.mean(inside) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(inside))


@pytest.mark.parametrize("law", LAWS)
def test_top_k(law: Law) -> None:
    """What is shown is the true order where counts differ by more than noise; intervals of ranks and counts
    hold the true ones, of all that are shown at once."""
    labels = [f"c{n:02d}" for n in range(30)]
    counts = np.array([900, 700, 500] + [3 * n for n in range(27, 0, -1)])
    code, inside = np.repeat(np.arange(30), counts), []
    dice = np.random.default_rng(5)
    dice.shuffle(code)
    for seed in range(200):
        value = released("top_k", {"by": ["code"], "k": 8}, law, {}, {"code": code}, seed, {"code": labels})
        assert [row["code"] for row in value["groups"][:3]] == labels[:3]
        for row in value["groups"][:3]:
            assert row["rank_low"] == row["rank"] == row["rank_high"]
        inside.append(
            all(
                row["people_low"] <= counts[labels.index(row["code"])] <= row["people_high"]
                and row["rank_low"] <= 1 + labels.index(row["code"]) <= row["rank_high"]
                for row in value["groups"]
            )
        )
    assert np.mean(inside) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(inside))


def test_top_k_withholds_labels_of_few_people() -> None:
    """Which rare label is the next frequent one is told no more than its number (DP-12)."""
    code = np.repeat(np.arange(3), [400, 3, 1])
    value = released("top_k", {"by": ["code"], "k": 3}, "laplace", {}, {"code": code}, 1, {"code": "abc"})
    first, *others = value["groups"]
    assert first["code"] == "a" and first["people"] is not None
    assert all(set(row.values()) == {None} for row in others)


@pytest.mark.parametrize("law", LAWS)
def test_contingency(law: Law) -> None:
    dice = np.random.default_rng(6)
    sex = dice.integers(0, 2, COUNT)
    band = dice.integers(0, 3, COUNT)
    sick = (dice.random(COUNT) < np.where(sex == 0, 0.2, 0.35)).astype(np.int64)
    labels = {"sex": ("F", "M"), "band": ("a", "b", "c"), "sick": ("no", "yes")}
    for by in (["sex", "sick"], ["band", "sex", "sick"]):
        groups = {"sex": sex, "band": band, "sick": sick}
        members = {"by": by, "decimals": 4}
        value = released("contingency", members, law, {}, {name: groups[name] for name in by}, 2, labels)
        cells = np.zeros([len(labels[name]) for name in by], dtype=np.int64)
        np.add.at(cells, tuple(groups[name] for name in by), 1)
        crossed = cells.reshape(-1, 2)
        near(value["groups"], "people", cells.ravel(), 12)
        near(value["groups"], "share", (crossed / crossed.sum(axis=1, keepdims=True)).ravel(), 0.06)
        if len(by) == 2:
            near(value["association"], "odds_ratio", odds_ratio(crossed, kind="sample").statistic, 0.5)
        else:
            near(value["association"], "cramers_v", association(crossed, method="cramer"), 0.05)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("linked", [0.0, 0.15])
def test_intervals_of_association_hold_those_of_the_population(law: Law, linked: float) -> None:
    """Also where nothing is linked, and all that is seen of V is noise and sampling."""
    dice, inside = np.random.default_rng(8), []
    chances = np.array([0.25 + linked, 0.25 - linked, 0.25 - linked, 0.25 + linked])
    three = np.full((3, 3), (1 - linked) / 9) + np.eye(3) * linked / 3
    odds = (chances[0] / chances[1]) ** 2
    v = math.sqrt(float((9 * (three - 1 / 9) ** 2).sum()) / 2)
    for seed in range(250):
        two, nine = (dice.multinomial(600, each) for each in (chances, three.ravel()))
        for by, counts, name, truth in (
            (["a", "b"], two, "odds_ratio", odds),
            (["c", "d"], nine, "cramers_v", v),
        ):
            size = 2 if by[0] == "a" else 3
            code = np.repeat(np.arange(size**2), counts)
            groups = {by[0]: code // size, by[1]: code % size}
            labels = {"a": "xy", "b": "xy", "c": "xyz", "d": "xyz"}
            value = released("contingency", {"by": by, "decimals": 4}, law, {}, groups, seed, labels)
            [found] = value["association"]
            inside.append((float(found[f"{name}_low"]) <= truth <= float(found[f"{name}_high"]), name))
    for name in ("odds_ratio", "cramers_v"):
        seen = [holds for holds, of in inside if of == name]
        assert np.mean(seen) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(seen)), name


EVALUATED = {
    "score": "s", "label": "y", "lower": "0", "upper": "1", "bins": 50, "bands": 5, "decimals": 4,
}  # fmt: skip


def scored(dice: np.random.Generator, count: int) -> tuple[Any, Any]:
    """Scores, and outcomes that are as frequent as these say."""
    scores = dice.beta(1.2, 2, count)
    return scores, (dice.random(count) < scores).astype(float)


@pytest.mark.parametrize("law", LAWS)
def test_auc(law: Law) -> None:
    scores, label = scored(np.random.default_rng(9), COUNT)
    value = released("auc", EVALUATED, law, {"s": scores, "y": label})
    near(value["area"], "auc", roc_auc_score(label, scores), 0.03)
    band = np.minimum((scores * 5).astype(int), 4)
    near(value["groups"], "share", [label[band == place].mean() for place in range(5)], 0.14)
    near(value["groups"], "score", [scores[band == place].mean() for place in range(5)], 0.02)
    for name, outcome in (("sensitivity", 1.0), ("false_positives", 0.0)):
        of = scores[label == outcome]
        near(value["roc"], name, [(of >= place / 5).mean() for place in range(5)], 0.05)


@pytest.mark.parametrize("law", LAWS)
def test_intervals_of_auc_and_calibration_hold_those_of_the_population(law: Law) -> None:
    dice = np.random.default_rng(10)
    many, outcomes = scored(dice, 400_000)
    auc = roc_auc_score(outcomes, np.floor(many * 50))
    band = np.minimum((many * 5).astype(int), 4)
    truth = {"auc": [auc], "share": [outcomes[band == place].mean() for place in range(5)]}
    inside: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in range(250):
        scores, label = scored(dice, 1500)
        value = released("auc", EVALUATED, law, {"s": scores, "y": label}, seed=seed)
        for name, rows in (("auc", value["area"]), ("share", value["groups"])):
            for row, true in zip(rows, truth[name], strict=True):
                if row[name] is not None:
                    inside[name].append(float(row[f"{name}_low"]) <= true <= float(row[f"{name}_high"]))
    for name, seen in inside.items():
        assert np.mean(seen) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(seen)), name


def feature(name: str, lower: str, upper: str) -> dict[str, str]:
    return {"lower": lower, "name": name, "upper": upper}


FITTED = {
    "features": [feature("age", "40", "90"), feature("bmi", "15", "45")],
    "target": feature("pressure", "80", "200"), "lower": "-200", "upper": "200", "decimals": 4,
}  # fmt: skip
TRUE = np.array([70.0, 0.6, 0.9])
"""Intercept and slopes."""


def cohort(dice: np.random.Generator, count: int) -> dict[str, Any]:
    """Age and weight go together, and pressure rises with both."""
    age = dice.uniform(42, 88, count)
    bmi = 27 + 0.05 * (age - 65) + dice.uniform(-10, 10, count)
    pressure = TRUE[0] + TRUE[1] * age + TRUE[2] * bmi + dice.normal(0, 8, count)
    return {"age": age, "bmi": bmi, "pressure": pressure}


def test_linear() -> None:
    data = cohort(np.random.default_rng(12), COUNT)
    value = released("linear", FITTED, "gaussian", data)
    inputs = np.column_stack([data["age"], data["bmi"]])
    plain = LinearRegression().fit(inputs, data["pressure"])
    for row, true, limit in zip(
        value["groups"], [plain.intercept_, *plain.coef_], [6.0, 0.1, 0.2], strict=True
    ):
        near([row], "coefficient", true, limit)
    near(value["fit"], "r_squared", plain.score(inputs, data["pressure"]), 0.15)


def test_intervals_of_linear_hold_the_coefficients_of_the_population() -> None:
    dice, inside = np.random.default_rng(13), []
    many = cohort(dice, 400_000)
    inputs = np.column_stack([many["age"], many["bmi"]])
    explained = LinearRegression().fit(inputs, many["pressure"]).score(inputs, many["pressure"])
    for seed in range(200):
        value = released("linear", FITTED, "gaussian", cohort(dice, 2500), seed=seed)
        pairs = [*zip(value["groups"], TRUE, strict=True), (value["fit"][0], explained)]
        for row, true in pairs:
            name = "coefficient" if "term" in row else "r_squared"
            if row[name] is not None:
                inside.append((name, float(row[f"{name}_low"]) <= true <= float(row[f"{name}_high"])))
    for name in ("coefficient", "r_squared"):
        seen = [holds for of, holds in inside if of == name]
        assert len(seen) > 100
        assert np.mean(seen) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(seen)), name


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
def test_intervals_of_linear_hold_what_noise_does_where_features_tell_little(width: int) -> None:
    """A feature that fills little of its bounds: coefficients are null, or their intervals are right."""
    dice = np.random.default_rng(14)
    data = {"x": dice.uniform(-width, width, COUNT)}
    data["y"] = data["x"] / width + dice.normal(0, 1e-3, COUNT)
    members = {
        "features": [feature("x", "-50", "50")], "target": feature("y", "-5", "5"), "lower": "-9",
        "upper": "9", "decimals": 5,
    }  # fmt: skip
    inside = []
    for seed in range(200):
        [_, row] = released("linear", members, "gaussian", data, seed=seed)["groups"]
        if row["coefficient"] is not None:
            inside.append(float(row["coefficient_low"]) <= 1 / width <= float(row["coefficient_high"]))
    assert len(inside) == 200 if width == 16 else width > 4 or len(inside) < 50
    if len(inside) > 20:
        assert np.mean(inside) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(inside))


CORRELATED = {"columns": [feature(name, "-3", "3") for name in "abcd"], "axes": 3, "decimals": 4}


def test_pca() -> None:
    dice = np.random.default_rng(15)
    common, second = dice.normal(0, 1, (2, COUNT, 1))
    data = 0.8 * common + 0.5 * second * [1, 1, -1, -1] + dice.normal(0, 0.4, (COUNT, 4))
    columns = dict(zip("abcd", data.T, strict=True))
    value = released("pca", CORRELATED, "gaussian", columns)
    held = StandardScaler().fit_transform(np.clip(data, -3, 3))
    plain = PCA(3).fit(held)
    near(value["explained"], "share", plain.explained_variance_ratio_, 0.05)
    weights = plain.components_ * np.sign(plain.components_[:, :1])
    near(value["groups"][:8], "weight", weights[:2].ravel(), 0.12)
    assert {row["weight"] for row in value["groups"][8:]} == {None}  # the rest is alike in all directions


def test_intervals_of_pca_hold_what_noise_does() -> None:
    dice, inside = np.random.default_rng(16), []
    data = dice.normal(0, 1, (2500, 1)) * [1, 1, 1, 0.3] + dice.normal(0, 0.7, (2500, 4))
    plain = PCA(3).fit(StandardScaler().fit_transform(np.clip(data, -3, 3)))
    for seed in range(200):
        value = released("pca", CORRELATED, "gaussian", dict(zip("abcd", data.T, strict=True)), seed=seed)
        for row, true in zip(value["groups"][:4], np.abs(plain.components_[0]), strict=True):
            if row["weight"] is not None:
                inside.append(float(row["weight_low"]) <= true <= float(row["weight_high"]))
        for row, true in zip(value["explained"], plain.explained_variance_ratio_, strict=True):
            if row["share"] is not None:
                inside.append(float(row["share_low"]) <= true <= float(row["share_high"]))
    assert len(inside) > 1000
    assert np.mean(inside) > LEVEL - 6 * math.sqrt(LEVEL * (1 - LEVEL) / len(inside))
