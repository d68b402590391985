# SPDX-License-Identifier: Apache-2.0
"""Fields of every kind, with the bounds that awkward values are tried beside. Add a kind's here."""

from __future__ import annotations

from typing import Any, NamedTuple

from sealroom.privacy.kinds import KINDS


class Case(NamedTuple):
    """One field."""

    kind: str
    members: dict[str, Any]
    bounds: tuple[float, ...]
    optional: str = ""
    """A member that another field of the kind is without."""


NARROW = {"lower": "0.3", "upper": "3", "decimals": 2}
WIDE = {"lower": "-1e-6", "upper": "250000", "decimals": 2}
BELOW = {"lower": "-7", "upper": "0", "decimals": 0}
FOUND = {"lower": "-20", "upper": "100000", "decimals": 1, "bounds": "private"}
MODEL = {
    "features": [{"lower": "0", "name": "x", "upper": "100"}, {"lower": "-1", "name": "y", "upper": "0.001"}],
    "label": "x", "clip": "1.5", "steps": 4, "learning_rate": "0.5", "lower": "-20", "upper": "20",
    "decimals": 3,
}  # fmt: skip

VECTOR = {
    "columns": [f"v{n}" for n in range(40)], "centre": ["0.7"] * 40, "entry": "1", "norm": "6", "decimals": 3,
}  # fmt: skip

NETWORK = {
    "features": MODEL["features"], "groups": ["band"], "held_out": "z", "batch": "1", "clip": "0.25",
    "steps": 2, "learning_rate": "200", "momentum": "0.9", "seed": 7, "curve": 2, "decimals": 3,
}  # fmt: skip
SMALL = [{"linear": 4}, "relu", {"linear": 1}]
"""Layers of a network."""
IMAGES = [
    {"unflatten": [1, 1, 5]}, {"conv2d": {"channels": 2, "kernel": 2, "padding": 1, "stride": 1}}, "gelu",
    {"max_pool2d": 2}, "flatten", {"linear": 2},
]  # fmt: skip
PIXELS = {"length": 5, "lower": "0", "name": "g", "upper": "255"}
LISTS = {"column": "g", "length": 30, "centre": "0.7", "entry": "1", "norm": "5", "decimals": 3}

CASES: dict[str, Case] = {
    "count": Case("count", {"by": ["band", "sex"]}, (0, 1)),
    "count of all": Case("count", {"by": []}, (0, 1)),
    "mean": Case("mean", {"by": ["band", "sex"], "column": "x", **NARROW}, (0.3, 3.0)),
    "mean of all": Case("mean", {"by": [], "column": "x", **WIDE}, (-1e-6, 250_000.0)),
    "mean from below zero": Case("mean", {"by": ["sex"], "column": "x", **BELOW}, (-7.0, 0.0)),
    "sum": Case("sum", {"by": ["band", "sex"], "column": "x", **NARROW}, (0.3, 3.0)),
    "sum of all": Case("sum", {"by": [], "column": "x", **WIDE}, (-1e-6, 250_000.0)),
    "sum from below zero": Case("sum", {"by": ["sex"], "column": "x", **BELOW}, (-7.0, 0.0)),
    "histogram": Case(
        "histogram", {"by": ["sex"], "column": "x", "edges": ["0.3", "0.5", "1", "3"]}, (0.3, 0.5, 3.0)
    ),
    "histogram of all": Case(
        "histogram", {"by": [], "column": "x", "edges": ["-7", "0", "250000"]}, (-7.0, 0.0, 250_000.0)
    ),
    "variance": Case("variance", {"by": ["band", "sex"], "column": "x", **NARROW}, (0.3, 1.65, 3.0)),
    "variance of all": Case("variance", {"by": [], "column": "x", **WIDE}, (-1e-6, 125_000.0, 250_000.0)),
    "quantiles": Case(
        "quantiles",
        {"by": ["sex"], "column": "x", "quantiles": ["0.5", "0.9"], "scale": "linear", **NARROW},
        (0.3, 3.0),
    ),
    "quantiles on a log scale": Case(
        "quantiles",
        {"by": [], "column": "x", "quantiles": ["0.01"], "scale": "log", **NARROW},
        (0.3, 1.0, 3.0),
    ),
    "cdf": Case(
        "cdf",
        {"by": ["sex"], "column": "x", "points": ["0.3", "1", "2", "3"], "decimals": 4},
        (0.3, 1.0, 2.0, 3.0),
    ),
    "cdf of many points": Case(
        "cdf",
        {"by": [], "column": "x", "points": [f"{n}" for n in range(-3, 87)], "decimals": 3},
        (-3.0, 12.0, 13.0, 86.0),
    ),
    "top k": Case("top_k", {"by": ["band", "sex"], "k": 4}, (0, 1)),
    "top k of one group": Case("top_k", {"by": ["band"], "k": 1}, (0, 1)),
    "contingency": Case("contingency", {"by": ["band", "sex"], "decimals": 3}, (0, 1)),
    "contingency of two by two": Case("contingency", {"by": ["sex", "arm"], "decimals": 3}, (0, 1)),
    "auc": Case(
        "auc",
        {"score": "x", "label": "y", "lower": "0", "upper": "1", "bins": 20, "bands": 5, "decimals": 3},
        (0.0, 0.05, 0.5, 0.95, 1.0),
    ),
    "linear": Case(
        "linear",
        {
            "features": MODEL["features"],
            "target": {"lower": "0", "name": "z", "upper": "70"},
            "lower": "-1000",
            "upper": "1000",
            "decimals": 3,
        },
        (0.0, 100.0),
    ),
    "pca": Case("pca", {"columns": MODEL["features"], "axes": 2, "decimals": 4}, (0.0, 100.0)),
    "mean with private bounds": Case(
        "mean", {"by": ["sex"], "column": "x", **FOUND}, (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5), "bounds"
    ),
    "sum with private bounds": Case(
        "sum", {"by": ["sex"], "column": "x", **FOUND}, (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5), "bounds"
    ),
    "histogram with private bounds": Case(
        "histogram",
        {"by": ["sex"], "column": "x", "ranges": 7, **FOUND},
        (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5),
    ),
    "quantiles with private bounds": Case(
        "quantiles",
        {"by": [], "column": "x", "quantiles": ["0.5", "0.9"], "scale": "linear", **FOUND},
        (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5),
        "bounds",
    ),
    "quantiles with private bounds on a log scale": Case(
        "quantiles",
        {"by": ["sex"], "column": "x", "quantiles": ["0.5"], "scale": "log", **FOUND, "lower": "0.1"},
        (0.1, 0.2, 500.0, 1e5),
        "bounds",
    ),
    "variance with private bounds": Case(
        "variance", {"by": ["sex"], "column": "x", **FOUND}, (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5), "bounds"
    ),
    "cdf with private bounds": Case(
        "cdf",
        {"by": ["sex"], "column": "x", "ranges": 7, "point_decimals": 1, **FOUND, "decimals": 3},
        (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5),
    ),
    "cdf of many points with private bounds": Case(
        "cdf",
        {"by": [], "column": "x", "ranges": 60, "point_decimals": 1, **FOUND, "decimals": 4},
        (-20.0, -2.0, 0.0, 0.1, 500.0, 1e5),
    ),
    "vector sum": Case("vector_sum", VECTOR, (0.0, 2.0)),
    "vector sum that clips": Case("vector_sum", {**VECTOR, "norm": "2.5", "entry": "2"}, (0.0, 2.0)),
    "vector mean": Case("vector_mean", LISTS, (0.0, 2.0)),
    "vector mean with a centre for each entry": Case(
        "vector_mean", {**LISTS, "centre": "0 1 0.5", "length": 3, "norm": "1.25"}, (0.0, 2.0)
    ),
    "block mean": Case("block_mean", NARROW, (0.3, 3.0)),
    "block mean from below zero": Case("block_mean", BELOW, (-7.0, 0.0)),
    "survival": Case(
        "survival",
        {"by": ["sex"], "time": "x", "event": "y", "edges": ["0", "0.25", "0.5", "1"], "decimals": 3},
        (0.0, 1.0),
    ),
    "survival of all": Case(
        "survival",
        {"by": [], "time": "x", "event": "y", "edges": ["-7", "0", "0.1", "9"], "decimals": 2},
        (-7.0, 9.0),
    ),
    "hazards": Case(
        "hazards",
        {"by": ["band", "sex"], "time": "x", "event": "y", "edges": ["0", "0.5", "1"], "decimals": 3},
        (0.0, 1.0),
    ),
    "odds": Case("odds", {"by": ["band", "sex"], "outcome": "x", "decimals": 3}, (0.0, 0.5, 1.0)),
    "poisson": Case(
        "poisson",
        {
            "by": ["band", "sex"],
            "events": "x",
            "events_upper": 3,
            "exposure": "y",
            "exposure_upper": "2.5",
            "decimals": 3,
        },
        (0.0, 2.5, 3.0),
    ),
    "gamma": Case("gamma", {"by": ["band", "sex"], "column": "x", **NARROW}, (0.3, 3.0)),
    "gamma of wide bounds": Case(
        "gamma",
        {"by": ["sex"], "column": "x", "lower": "0", "upper": "250000", "decimals": 3},
        (0.0, 250_000.0),
    ),
    "model": Case("model", {**NETWORK, "layers": SMALL, "loss": "binary", "label": "w"}, (0.0, 100.0)),
    "model of classes": Case(
        "model", {**NETWORK, "layers": IMAGES, "loss": "classes", "label": "sex"}, (0.0, 100.0)
    ),
    "model of batches": Case(
        "model", {**NETWORK, "layers": SMALL, "loss": "binary", "label": "w", "batch": "0.25"}, (0.0, 100.0)
    ),
    "model of lists": Case(
        "model",
        {
            **NETWORK,
            "vectors": [PIXELS, {**PIXELS, "length": 3, "name": "h"}],
            "layers": [{"linear": 2}],
            "loss": "classes",
            "label": "sex",
        },
        (0.0, 255.0),
        "vectors",
    ),
    "model of images": Case(
        "model",
        {
            **NETWORK,
            "features": [],
            "groups": [],
            "vectors": [PIXELS],
            "layers": IMAGES,
            "loss": "classes",
            "label": "sex",
            "batch": "0.5",
        },
        (0.0, 255.0),
    ),
    "model of a number": Case(
        "model",
        {**NETWORK, "layers": [{"linear": 1}], "loss": "squared", "label": "w", "lower": "0", "upper": "1"},
        (0.0, 100.0),
    ),
    "logistic": Case("logistic", MODEL, (0.0, 100.0)),
}

EACH = [(name, law) for name, case in CASES.items() for law in KINDS[case.kind].laws]
"""Each case under each law that its kind has."""
