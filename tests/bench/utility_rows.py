# SPDX-License-Identifier: Apache-2.0
"""The made-up people of `tests.bench.utility`, every statistic of theirs without noise, and ours with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from tests.bench.utility_scores import (
    AXES,
    COLUMNS,
    EDGES,
    FAR,
    GRADES,
    GROUPS,
    HIGH,
    LABELS,
    LIMIT,
    LOW,
    SHOWN,
    SITES,
    association,
    largest,
    named,
    points,
    principal,
    sine,
)  # fmt: skip

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Members
from sealroom.privacy.people import People
from sealroom.privacy.plan import Draft, plan
from sealroom.privacy.release import compute
from sealroom.recipe import Field

PEOPLE = 7_874
DELTA = Decimal("1e-6")

Numbers = list[float]


def data() -> dict[str, Any]:
    """Columns of the people, all within their bounds: 0.3 to 3 for x, 0 to 8 for z, -3 to 3 for axes."""
    dice = np.random.default_rng(2026)
    x = np.clip(dice.lognormal(0.0, 0.35, PEOPLE), LOW, HIGH)
    z = np.clip(dice.gamma(2.0, 1.2, PEOPLE), 0.0, 8.0)
    y = np.clip(1.0 + 0.8 * x - 0.15 * z + dice.normal(0, 0.3, PEOPLE), -2.0, 4.0)
    died = (dice.random(PEOPLE) < 1 / (1 + np.exp(-(2.2 * (x - 1.2) + 0.4 * (z - 3))))).astype(float)
    variants = dice.binomial(2, np.linspace(0.05, 0.5, COLUMNS), (PEOPLE, COLUMNS)).astype(float)
    group = dice.integers(0, GROUPS, PEOPLE)
    label, site = dice.integers(0, LABELS, PEOPLE), dice.integers(0, SITES, PEOPLE)
    grade = np.clip(dice.binomial(GRADES - 1, 0.3 + 0.03 * site), 0, GRADES - 1)
    cost = np.minimum(np.round(dice.lognormal(6.0, 1.6, PEOPLE)), LIMIT)
    shared, own = dice.normal(0, 1, (PEOPLE, 1)), dice.normal(0, 1, (PEOPLE, AXES))
    axes = np.clip(math.sqrt(0.6) * shared + math.sqrt(0.4) * own, -FAR, FAR)
    return {
        "x": x, "y": y, "z": z, "died": died, "group": group, "variants": variants,
        "label": label, "site": site, "grade": grade, "cost": cost, "axes": axes,
    }  # fmt: skip


def plain(columns: Mapping[str, Any]) -> dict[str, Numbers]:
    """Every statistic without noise."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    x, y, z = columns["x"], columns["y"], columns["z"]
    inputs = np.column_stack([x, z])
    line = LinearRegression().fit(inputs, y)
    model = LogisticRegression(C=1e6).fit(inputs, columns["died"])
    labels = np.bincount(columns["label"], minlength=LABELS)
    crossed = np.bincount(columns["site"] * GRADES + columns["grade"], minlength=SITES * GRADES)
    return {
        "count by group": np.bincount(columns["group"], minlength=GROUPS).astype(float).tolist(),
        "the largest label": named(largest(labels, 1), columns["label"]),
        f"the {SHOWN} largest labels": named(largest(labels, SHOWN), columns["label"]),
        f"table of {SITES} × {GRADES}": crossed.astype(float).tolist(),
        "its Cramér's V": [association(crossed)],
        "sum": [float(x.sum())],
        "sum, bounds found": [float(columns["cost"].sum())],
        "mean": [float(x.mean())],
        "mean by group": [float(x[columns["group"] == each].mean()) for each in range(GROUPS)],
        "variance": [float(x.var())],
        "histogram": np.histogram(x, np.linspace(LOW, HIGH, EDGES))[0].astype(float).tolist(),
        "distribution function": [float((x <= point).mean()) for point in points()],
        "median": [float(np.median(x))],
        "quantiles 0.1, 0.5, 0.9": np.quantile(x, [0.1, 0.5, 0.9]).tolist(),
        f"means of {COLUMNS} columns": columns["variants"].mean(axis=0).tolist(),
        "principal axis": [0.0],
        "linear regression": [float(line.intercept_), *line.coef_.tolist()],
        "logistic regression": [float(model.intercept_[0]), *model.coef_[0].tolist()],
    }


def ours(columns: Mapping[str, Any], epsilon: str) -> Iterator[tuple[str, Callable[[], Numbers]]]:
    """For each statistic, one release."""
    people = People(
        count=PEOPLE,
        numbers={
            **{name: columns[name] for name in ("x", "y", "z", "died", "cost")},
            **{f"v{place}": columns["variants"][:, place].copy() for place in range(COLUMNS)},
            **{f"a{place}": columns["axes"][:, place].copy() for place in range(AXES)},
        },
        groups={
            "band": columns["group"] // 2, "sex": columns["group"] % 2,
            **{name: columns[name] for name in ("label", "site", "grade")},
        },
    )  # fmt: skip
    sizes = {"band": GROUPS // 2, "sex": 2, "label": LABELS, "site": SITES, "grade": GRADES}
    groups = {name: tuple(str(each) for each in range(size)) for name, size in sizes.items()}

    def of(kind: str, members: dict[str, Any], read: Callable[[Any], Numbers]) -> Callable[[], Numbers]:
        made = KINDS[kind]
        found = Members(members, "field", blocks=None)
        spec = made.read(found, groups)
        found.done()
        [cost] = plan([Draft(name="field", kind=made, spec=spec)], epsilon=Decimal(epsilon), delta=DELTA)
        field = Field(name="field", kind=made, spec=spec, cost=cost)
        return lambda: read(compute(field, people, cohort=1))

    def rows(name: str) -> Callable[[Any], Numbers]:
        return lambda value: [math.nan if row[name] is None else float(row[name]) for row in value["groups"]]

    def top(value: Any) -> Numbers:
        return named([int(row["label"]) for row in value["groups"]], columns["label"])

    exact = principal(np.corrcoef(columns["axes"], rowvar=False))
    bounds = {"lower": _text(LOW), "upper": _text(HIGH), "decimals": 6}
    by_all: dict[str, Any] = {"by": [], "column": "x", **bounds}
    by_group = {**by_all, "by": ["band", "sex"]}
    yield "count by group", of("count", {"by": ["band", "sex"]}, rows("people"))
    yield "the largest label", of("top_k", {"by": ["label"], "k": 1}, top)
    yield f"the {SHOWN} largest labels", of("top_k", {"by": ["label"], "k": SHOWN}, top)
    crossed = {"by": ["site", "grade"], "decimals": 6}
    yield f"table of {SITES} × {GRADES}", of("contingency", crossed, rows("people"))
    yield (
        "its Cramér's V",
        of("contingency", crossed, lambda value: [float(value["association"][0]["cramers_v"])]),
    )
    yield "sum", of("sum", by_all, rows("sum"))
    costs = {
        "by": [], "column": "cost", "lower": "0", "upper": str(LIMIT), "decimals": 0, "bounds": "private",
    }  # fmt: skip
    yield "sum, bounds found", of("sum", costs, rows("sum"))
    yield "mean", of("mean", by_all, rows("mean"))
    yield "mean by group", of("mean", by_group, rows("mean"))
    yield "variance", of("variance", by_all, rows("variance"))
    edges = [_text(each) for each in np.linspace(LOW, HIGH, EDGES)]
    yield "histogram", of("histogram", {"by": [], "column": "x", "edges": edges}, rows("people"))
    at = {"by": [], "column": "x", "points": [_text(each) for each in points()], "decimals": 6}
    yield "distribution function", of("cdf", at, rows("share"))
    quantiles = {**by_all, "quantiles": ["0.1", "0.5", "0.9"], "scale": "linear"}
    yield "median", of("quantiles", {**quantiles, "quantiles": ["0.5"]}, rows("value"))
    yield "quantiles 0.1, 0.5, 0.9", of("quantiles", quantiles, rows("value"))
    vector = {
        "columns": [f"v{place}" for place in range(COLUMNS)],
        "centre": [_text(2 * each) for each in np.linspace(0.05, 0.5, COLUMNS)],
        "entry": "2", "norm": "11", "decimals": 6,
    }  # fmt: skip
    yield f"means of {COLUMNS} columns", of("vector_sum", vector, rows("mean"))
    square = [{"name": f"a{place}", "lower": _text(-FAR), "upper": _text(FAR)} for place in range(AXES)]
    yield (
        "principal axis",
        of(
            "pca",
            {"columns": square, "axes": 1, "decimals": 6},
            lambda value: sine([row["weight"] and float(row["weight"]) for row in value["groups"]], exact),
        ),
    )
    inputs = [{"name": "x", "lower": "0.3", "upper": "3"}, {"name": "z", "lower": "0", "upper": "8"}]
    wide = {"lower": "-20", "upper": "20", "decimals": 6}
    line = {"features": inputs, "target": {"name": "y", "lower": "-2", "upper": "4"}, **wide}
    yield "linear regression", of("linear", line, rows("coefficient"))
    logistic = {
        "features": inputs, "label": "died", "clip": "1.5", "steps": 16, "learning_rate": "4", **wide,
    }  # fmt: skip
    yield "logistic regression", of("logistic", logistic, rows("coefficient"))


def _text(number: float) -> str:
    """A decimal of at most three places."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
