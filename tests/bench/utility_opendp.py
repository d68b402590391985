# SPDX-License-Identifier: Apache-2.0
"""What OpenDP 0.16 releases."""

from importlib.metadata import version

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


def opendp(columns, epsilon):
    """On whole numbers and floats as its constructors allow; its means and axes take a public number. Labels,
    tables and shares are made of its counts; the one largest label is chosen by permute-and-flip."""
    import opendp.prelude as dp

    if not version("opendp").startswith("0.16."):
        raise ImportError("smartnoise-sql holds it at an older version")
    dp.enable_features("contrib", "idealized-numerics")
    x, group = columns["x"], columns["group"]
    steps, low, high = np.rint(x * 1000).astype(int).tolist(), 300, 3000
    edges = np.linspace(LOW, HIGH, EDGES)
    places = np.clip(np.digitize(x, edges) - 1, 0, EDGES - 2).astype(int).tolist()
    label, axes = columns["label"], columns["axes"]
    groups, ranked = group.astype(int).tolist(), label.astype(int).tolist()
    crossed = (columns["site"] * GRADES + columns["grade"]).astype(int).tolist()
    between, costs = ranges(x).astype(int).tolist(), columns["cost"].astype(int).tolist()

    def scaled(make, d_in, target):
        return dp.binary_search_chain(make, d_in=d_in, d_out=target)

    def counts(values, keys):
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
        by = space >> dp.t.then_count_by_categories(list(range(keys)), TOA="i64", null_category=False)
        made = scaled(lambda scale: by >> dp.m.then_laplace(scale), 1, epsilon)
        return lambda: [float(each) for each in made(values)]

    def the_largest():
        # of counts, of which a person changes one
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.linf_distance(T="i64", monotonic=True)
        made = scaled(
            lambda scale: dp.m.make_noisy_top_k(*space, dp.max_divergence(), k=1, scale=scale), 1, epsilon
        )
        exact = np.bincount(label, minlength=LABELS).tolist()
        return lambda: named(made(exact), label)

    def summed(lower, upper, share):
        space = dp.vector_domain(dp.atom_domain(bounds=(lower, upper), T="i64")), dp.symmetric_distance()
        return scaled(lambda scale: space >> dp.t.then_sum() >> dp.m.then_laplace(scale), 1, epsilon * share)

    def found_bounds():
        # it finds no bounds itself: those of a high quantile
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.symmetric_distance()
        candidates = sorted({round(10 ** (place / 50)) for place in range(round(50 * np.log10(LIMIT)) + 1)})
        find = scaled(
            lambda scale: space >> dp.m.then_private_quantile(dp.max_divergence(), candidates, TOP, scale),
            1,
            epsilon * FINDING,
        )

        def draw():
            upper = find(costs)
            return [float(summed(0, upper, 1 - FINDING)(np.minimum(costs, upper).tolist()))]

        return draw

    def share_below(made):
        found = np.cumsum(made())
        return (found[:-1] / found[-1]).tolist()

    def principal_axis():
        # the norm of a row is that of a corner of the bounds; ε is for one person exchanged
        size, count = axes.shape
        space = dp.numpy.array2_domain(num_columns=count, size=size, T=float), dp.symmetric_distance()
        made = dp.sklearn.decomposition.make_private_pca(
            *space, unit_epsilon=epsilon, norm=FAR * AXES**0.5, num_components=1
        )
        exact = principal(np.cov(axes, rowvar=False))
        return lambda: sine(made(axes).Vt[0], exact)

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

    ranking, table, cumulated = (
        counts(of, number)
        for of, number in ((ranked, LABELS), (crossed, SITES * GRADES), (between, POINTS + 1))
    )
    total = summed(low, high, 1.0)
    mean, variance = (sized(what, x.tolist()) for what in (dp.t.then_mean, dp.t.then_variance))
    means = [sized(dp.t.then_mean, x[group == each].tolist()) for each in range(GROUPS)]
    return {
        "count by group": counts(groups, GROUPS),
        "histogram": counts(places, EDGES - 1),
        "the largest label": the_largest(),
        f"the {SHOWN} largest labels": lambda: named(largest(ranking(), SHOWN), label),
        f"table of {SITES} × {GRADES}": table,
        "its Cramér's V": lambda: [association(table())],
        "distribution function": lambda: share_below(cumulated),
        "sum": lambda: [total(steps) / 1000],
        "sum, bounds found": found_bounds(),
        "principal axis": principal_axis(),
        "mean": lambda: [mean()],
        "mean by group": lambda: [one() for one in means],
        "variance": lambda: [variance()],
        "median": quantiles((0.5,)),
        "quantiles 0.1, 0.5, 0.9": quantiles((0.1, 0.5, 0.9)),
    }
