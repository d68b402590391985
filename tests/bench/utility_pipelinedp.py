# SPDX-License-Identifier: Apache-2.0
"""What PipelineDP 0.3 releases: floating Laplace noise of Google's library, on one machine."""

import numpy as np
from utility_scores import (
    EDGES,
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
    ranges,
)  # fmt: skip

DELTA = 1e-6


def pipelinedp(columns, epsilon):
    """Groups are public. A mean and a variance divide ε among the counts and sums that these need."""
    import pipeline_dp as dp

    x, group, label, cost = (columns[name] for name in ("x", "group", "label", "cost"))

    def rows(places, values):
        return list(zip(range(len(values)), np.asarray(places).tolist(), values.tolist(), strict=True))

    def release(people, groups, metric, bounds=(None, None), share=1.0):
        budget = dp.NaiveBudgetAccountant(total_epsilon=epsilon * share, total_delta=DELTA)
        asked = dp.AggregateParams(
            metrics=[metric], noise_kind=dp.NoiseKind.LAPLACE, max_partitions_contributed=1,
            max_contributions_per_partition=1, min_value=bounds[0], max_value=bounds[1],
        )  # fmt: skip
        columns_of = dp.DataExtractors(
            privacy_id_extractor=lambda row: row[0],
            partition_extractor=lambda row: row[1],
            value_extractor=lambda row: row[2],
        )
        engine = dp.DPEngine(budget, dp.LocalBackend())
        lazily = engine.aggregate(people, asked, columns_of, public_partitions=list(range(groups)))
        budget.compute_budgets()
        found = dict(lazily)
        return [float(found[each][0]) for each in range(groups)]

    def counts(places, groups):
        people = rows(places, x)
        return lambda: release(people, groups, dp.Metrics.COUNT)

    everybody, by_group = rows(np.zeros(len(x), dtype=int), x), rows(group, x)
    bounds = (LOW, HIGH)
    of_labels = counts(label, LABELS)
    crossed = counts(columns["site"] * GRADES + columns["grade"], SITES * GRADES)
    costs = rows(np.zeros(len(x), dtype=int), cost)

    def share_below():
        found = np.array(counts_between())
        return (np.cumsum(found)[:-1] / found.sum()).tolist()

    counts_between = counts(ranges(x), POINTS + 1)

    def found_bounds():
        # it finds no bounds itself: those of a high quantile
        [upper] = release(costs, 1, dp.Metrics.PERCENTILE(100 * TOP), (0.0, float(LIMIT)), FINDING)
        return release(costs, 1, dp.Metrics.SUM, (0.0, max(upper, 1.0)), 1 - FINDING)

    def quantiles(*shares):
        return lambda: [
            release(everybody, 1, dp.Metrics.PERCENTILE(100 * each), bounds, 1 / len(shares))[0]
            for each in shares
        ]

    return {
        "count by group": counts(group, GROUPS),
        "the largest label": lambda: named(largest(of_labels(), 1), label),
        f"the {SHOWN} largest labels": lambda: named(largest(of_labels(), SHOWN), label),
        f"table of {SITES} × {GRADES}": crossed,
        "its Cramér's V": lambda: [association(crossed())],
        "sum": lambda: release(everybody, 1, dp.Metrics.SUM, bounds),
        "sum, bounds found": found_bounds,
        "mean": lambda: release(everybody, 1, dp.Metrics.MEAN, bounds),
        "mean by group": lambda: release(by_group, GROUPS, dp.Metrics.MEAN, bounds),
        "variance": lambda: release(everybody, 1, dp.Metrics.VARIANCE, bounds),
        "histogram": counts(
            np.clip(np.digitize(x, np.linspace(LOW, HIGH, EDGES)) - 1, 0, EDGES - 2), EDGES - 1
        ),
        "distribution function": share_below,
        "median": quantiles(0.5),
        "quantiles 0.1, 0.5, 0.9": quantiles(0.1, 0.5, 0.9),
    }
