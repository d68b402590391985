# SPDX-License-Identifier: Apache-2.0
"""What other libraries release of the people of `tests.bench.utility`: a script for their own environments.

    python utility_peers.py people.npz EPSILON DRAWS

Prints JSON: {library: {statistic: [[number…]…]}}, one list a draw. What a library does not offer is left out.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version

import numpy as np

warnings.simplefilter("ignore")

GROUPS, EDGES = 6, 11
LOW, HIGH = 0.3, 3.0


def diffprivlib(columns, epsilon):
    """diffprivlib 0.6: floating noise. Its mean and variance take the number of people as public."""
    import diffprivlib.models as models
    import diffprivlib.tools as tools

    x, y, z, group = (columns[name] for name in ("x", "y", "z", "group"))
    inputs, variants, bounds = np.column_stack([x, z]), columns["variants"], (LOW, HIGH)
    count = variants.shape[1]

    def linear():
        fitted = models.LinearRegression(
            epsilon=epsilon, bounds_X=(np.array([LOW, 0.0]), np.array([HIGH, 8.0])), bounds_y=(-2.0, 4.0)
        ).fit(inputs, y)
        return [float(np.ravel(fitted.intercept_)[0]), *np.ravel(fitted.coef_).tolist()]

    def logistic():
        # its inputs are scaled to the unit ball, as its documentation asks
        middle, half = np.array([1.65, 4.0]), np.array([1.35, 4.0])
        fitted = models.LogisticRegression(epsilon=epsilon, data_norm=2**0.5, C=1e6).fit(
            (inputs - middle) / half, columns["died"]
        )
        slopes = np.ravel(fitted.coef_) / half
        return [float(np.ravel(fitted.intercept_)[0] - slopes @ middle), *slopes.tolist()]

    return {
        "count by group": lambda: np.ravel(
            tools.histogram(group, epsilon=epsilon, bins=GROUPS, range=(-0.5, GROUPS - 0.5))[0]
        ).tolist(),
        "sum": lambda: [float(tools.sum(x, epsilon=epsilon, bounds=bounds))],
        "mean": lambda: [float(tools.mean(x, epsilon=epsilon, bounds=bounds))],
        "mean by group": lambda: [
            float(tools.mean(x[group == each], epsilon=epsilon, bounds=bounds)) for each in range(GROUPS)
        ],
        "variance": lambda: [float(tools.var(x, epsilon=epsilon, bounds=bounds))],
        "histogram": lambda: np.ravel(
            tools.histogram(x, epsilon=epsilon, bins=EDGES - 1, range=bounds)[0]
        ).tolist(),
        "median": lambda: [float(tools.quantile(x, 0.5, epsilon=epsilon, bounds=bounds))],
        "quantiles 0.1, 0.5, 0.9": lambda: [
            float(tools.quantile(x, each, epsilon=epsilon / 3, bounds=bounds)) for each in (0.1, 0.5, 0.9)
        ],
        f"means of {count} columns": lambda: np.ravel(
            tools.mean(variants, axis=0, epsilon=epsilon, bounds=(np.zeros(count), np.full(count, 2.0)))
        ).tolist(),
        "linear regression": linear,
        "logistic regression": logistic,
    }


def opendp(columns, epsilon):
    """OpenDP 0.16, on whole numbers and floats as its constructors allow; its means take a public number."""
    import opendp.prelude as dp

    if not version("opendp").startswith("0.16."):
        raise ImportError("smartnoise-sql holds it at an older version")
    dp.enable_features("contrib")
    x, group = columns["x"], columns["group"]
    steps, low, high = np.rint(x * 1000).astype(int).tolist(), 300, 3000
    edges = np.linspace(LOW, HIGH, EDGES)
    places = np.clip(np.digitize(x, edges) - 1, 0, EDGES - 2).astype(int).tolist()
    labels = group.astype(int).tolist()

    def scaled(make, d_in, target):
        return dp.binary_search_chain(make, d_in=d_in, d_out=target)

    def counts(values, keys):
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
        by = space >> dp.t.then_count_by_categories(list(range(keys)), TOA="i64", null_category=False)
        made = scaled(lambda scale: by >> dp.m.then_laplace(scale), 1, epsilon)
        return lambda: [float(each) for each in made(values)]

    def total():
        space = dp.vector_domain(dp.atom_domain(bounds=(low, high), T="i64")), dp.symmetric_distance()
        made = scaled(lambda scale: space >> dp.t.then_sum() >> dp.m.then_laplace(scale), 1, epsilon)
        return lambda: [made(steps) / 1000]

    def sized(make, values):
        space = (
            dp.vector_domain(dp.atom_domain(bounds=(LOW, HIGH), T="f64", nan=False), size=len(values)),
            dp.symmetric_distance(),
        )
        made = scaled(lambda scale: space >> make() >> dp.m.then_laplace(scale), 2, epsilon)
        return lambda: float(made(values))

    def quantiles(shares):
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
        candidates = list(range(low, high + 1, 1))
        makers = [
            scaled(
                lambda scale, alpha=alpha: (
                    space >> dp.m.then_private_quantile(dp.max_divergence(), candidates, alpha, scale)
                ),
                1,
                epsilon / len(shares),
            )
            for alpha in shares
        ]
        return lambda: [made(steps) / 1000 for made in makers]

    made = {}
    for name, make in {
        "count by group": lambda: counts(labels, GROUPS),
        "histogram": lambda: counts(places, EDGES - 1),
        "sum": total,
        "mean": lambda: (lambda one: lambda: [one()])(sized(dp.t.then_mean, x.tolist())),
        "mean by group": lambda: (lambda all_of: lambda: [one() for one in all_of])(
            [sized(dp.t.then_mean, x[group == each].tolist()) for each in range(GROUPS)]
        ),
        "variance": lambda: (lambda one: lambda: [one()])(sized(dp.t.then_variance, x.tolist())),
        "median": lambda: quantiles((0.5,)),
        "quantiles 0.1, 0.5, 0.9": lambda: quantiles((0.1, 0.5, 0.9)),
    }.items():
        try:
            made[name] = make()
        except Exception as error:
            print(f"opendp: {name}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
    return made


def smartnoise(columns, epsilon):
    """SmartNoise SQL 1.0, which reads a table of people by queries."""
    import pandas as pd
    import snsql

    count = len(columns["x"])
    table = pd.DataFrame({"pid": np.arange(count), "x": columns["x"], "g": columns["group"].astype(str)})
    number = {"type": "float", "lower": LOW, "upper": HIGH, "nullable": False}
    described = {
        "max_ids": 1, "censor_dims": False, "clamp_counts": False,
        "pid": {"type": "int", "private_id": True}, "x": number, "g": {"type": "string"},
    }  # fmt: skip
    metadata = {"": {"": {"t": described}}}

    def asked(query, parts, read):
        # an ε is of one column of a query: the columns that a number needs divide it
        def draw():
            privacy = snsql.Privacy(epsilon=epsilon / parts, delta=1e-6)
            return read(snsql.from_df(table, privacy=privacy, metadata=metadata).execute(query)[1:])

        return draw

    def by_group(rows):
        found = {int(row[0]): float(row[1]) for row in rows}
        return [found[each] for each in range(GROUPS)]

    return {
        "count by group": asked("SELECT g, COUNT(DISTINCT pid) AS n FROM t GROUP BY g", 1, by_group),
        "sum": asked("SELECT SUM(x) AS s FROM t", 1, lambda rows: [float(rows[0][0])]),
        "mean": asked("SELECT AVG(x) AS s FROM t", 2, lambda rows: [float(rows[0][0])]),
        "mean by group": asked("SELECT g, AVG(x) AS s FROM t GROUP BY g", 2, by_group),
        "variance": asked("SELECT VARIANCE(x) AS s FROM t", 3, lambda rows: [float(rows[0][0])]),
    }


MOST = {"smartnoise": 10, "means of 200 columns": 20}
"""Draws of what takes long."""


def main(file, epsilon, draws):
    with np.load(file) as stored:
        columns = {name: stored[name] for name in stored.files}
    found = {}
    for library in (diffprivlib, opendp, smartnoise):
        try:
            offered = library(columns, epsilon)
        except ImportError:
            continue
        found[library.__name__] = {
            name: [
                draw()
                for _ in range(min(draws, *(MOST.get(each, draws) for each in (library.__name__, name))))
            ]
            for name, draw in offered.items()
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
