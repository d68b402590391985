# SPDX-License-Identifier: Apache-2.0
"""What diffprivlib 0.6 releases."""

import numpy as np
from utility_scores import (
    AXES,
    EDGES,
    FAR,
    FINDING,
    GRADES,
    GROUPS,
    HIGH,
    LABELS,
    LIMIT,
    LOW,
    POINTS,
    SHOWN,
    SITES,
    TOP,
    association,
    largest,
    named,
    principal,
    ranges,
    sine,
)  # fmt: skip


def diffprivlib(columns, epsilon):
    """Floating noise. Its means, variances and axes take the number of people as public. Labels, tables and
    shares are made of the counts of its histograms."""
    import diffprivlib.models as models
    import diffprivlib.tools as tools

    x, y, z, group = (columns[name] for name in ("x", "y", "z", "group"))
    inputs, variants, bounds = np.column_stack([x, z]), columns["variants"], (LOW, HIGH)
    count = variants.shape[1]

    label, cost, axes = columns["label"], columns["cost"], columns["axes"]
    exact = principal(np.cov(axes, rowvar=False))

    def counts(places, size):
        return np.ravel(tools.histogram(places, epsilon=epsilon, bins=size, range=(-0.5, size - 0.5))[0])

    def crossed():
        ends = [(-0.5, SITES - 0.5), (-0.5, GRADES - 0.5)]
        sample = np.column_stack([columns["site"], columns["grade"]])
        return np.ravel(
            tools.histogramdd(sample, epsilon=epsilon, bins=(SITES, GRADES), range=ends)[0]
        ).tolist()

    def found_bounds():
        # it finds no bounds itself: those of a high quantile
        upper = tools.quantile(cost, TOP, epsilon=epsilon * FINDING, bounds=(0.0, float(LIMIT)))
        ends = (0.0, float(upper))
        return [float(tools.sum(np.clip(cost, *ends), epsilon=epsilon * (1 - FINDING), bounds=ends))]

    def share_below():
        found = np.cumsum(counts(ranges(x), POINTS + 1))
        return (found[:-1] / found[-1]).tolist()

    def principal_axis():
        # the norm of a row is that of a corner of the bounds
        fitted = models.PCA(
            n_components=1, epsilon=epsilon, bounds=(-FAR, FAR), data_norm=FAR * AXES**0.5
        ).fit(axes.copy())
        return sine(fitted.components_[0], exact)

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
        "count by group": lambda: counts(group, GROUPS).tolist(),
        "the largest label": lambda: named(largest(counts(label, LABELS), 1), label),
        f"the {SHOWN} largest labels": lambda: named(largest(counts(label, LABELS), SHOWN), label),
        f"table of {SITES} × {GRADES}": crossed,
        "its Cramér's V": lambda: [association(crossed())],
        "sum": lambda: [float(tools.sum(x, epsilon=epsilon, bounds=bounds))],
        "sum, bounds found": found_bounds,
        "mean": lambda: [float(tools.mean(x, epsilon=epsilon, bounds=bounds))],
        "mean by group": lambda: [
            float(tools.mean(x[group == each], epsilon=epsilon, bounds=bounds)) for each in range(GROUPS)
        ],
        "variance": lambda: [float(tools.var(x, epsilon=epsilon, bounds=bounds))],
        "histogram": lambda: np.ravel(
            tools.histogram(x, epsilon=epsilon, bins=EDGES - 1, range=bounds)[0]
        ).tolist(),
        "distribution function": share_below,
        "median": lambda: [float(tools.quantile(x, 0.5, epsilon=epsilon, bounds=bounds))],
        "quantiles 0.1, 0.5, 0.9": lambda: [
            float(tools.quantile(x, each, epsilon=epsilon / 3, bounds=bounds)) for each in (0.1, 0.5, 0.9)
        ],
        f"means of {count} columns": lambda: np.ravel(
            tools.mean(variants, axis=0, epsilon=epsilon, bounds=(np.zeros(count), np.full(count, 2.0)))
        ).tolist(),
        "principal axis": principal_axis,
        "linear regression": linear,
        "logistic regression": logistic,
    }
