# SPDX-License-Identifier: Apache-2.0
"""What SmartNoise SQL 1.0 releases."""

import numpy as np
from utility_scores import (
    FINDING,
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
)  # fmt: skip


def smartnoise(columns, epsilon):
    """A table of people is read by queries. Labels and tables are made of its counts."""
    import pandas as pd
    import snsql
    from snsql.sql._mechanisms.approx_bounds import approx_bounds

    count = len(columns["x"])
    label = columns["label"]
    table = pd.DataFrame(
        {
            "pid": np.arange(count),
            "x": columns["x"],
            "g": columns["group"].astype(str),
            "l": label.astype(str),
            "c": (columns["site"] * GRADES + columns["grade"]).astype(str),
        }
    )
    number = {"type": "float", "lower": LOW, "upper": HIGH, "nullable": False}
    described = {
        "max_ids": 1, "censor_dims": False, "clamp_counts": False,
        "pid": {"type": "int", "private_id": True}, "x": number,
        **{name: {"type": "string"} for name in "glc"},
    }  # fmt: skip
    metadata = {"": {"": {"t": described}}}

    def asked(query, parts, read):
        # an ε is of one column of a query: the columns that a number needs divide it
        def draw():
            privacy = snsql.Privacy(epsilon=epsilon / parts, delta=1e-6)
            return read(snsql.from_df(table, privacy=privacy, metadata=metadata).execute(query)[1:])

        return draw

    def by(groups):
        def read(rows):
            found = {int(row[0]): float(row[1]) for row in rows}
            return [found.get(each, 0.0) for each in range(groups)]

        return read

    def counts(name, groups, read=list):
        query = f"SELECT {name}, COUNT(DISTINCT pid) AS n FROM t GROUP BY {name}"
        return asked(query, 1, lambda rows: read(by(groups)(rows)))

    def found_bounds():
        # its finder of bounds, of powers of two, is called by itself: its queries have no use of it
        low, high = approx_bounds(columns["cost"], epsilon * FINDING)
        low, high = max(low, 0.0), min(high, float(LIMIT))
        described = {
            "max_ids": 1, "clamp_counts": False, "pid": {"type": "int", "private_id": True},
            "x": {"type": "float", "lower": low, "upper": high, "nullable": False},
        }  # fmt: skip
        people = pd.DataFrame({"pid": np.arange(count), "x": columns["cost"]})
        privacy = snsql.Privacy(epsilon=epsilon * (1 - FINDING), delta=1e-6)
        reader = snsql.from_df(people, privacy=privacy, metadata={"": {"": {"t": described}}})
        return [float(reader.execute("SELECT SUM(x) AS s FROM t")[1][0])]

    return {
        "count by group": counts("g", GROUPS),
        "the largest label": counts("l", LABELS, lambda found: named(largest(found, 1), label)),
        f"the {SHOWN} largest labels": counts("l", LABELS, lambda found: named(largest(found, SHOWN), label)),
        f"table of {SITES} × {GRADES}": counts("c", SITES * GRADES),
        "its Cramér's V": counts("c", SITES * GRADES, lambda found: [association(found)]),
        "sum, bounds found": found_bounds,
        "sum": asked("SELECT SUM(x) AS s FROM t", 1, lambda rows: [float(rows[0][0])]),
        "mean": asked("SELECT AVG(x) AS s FROM t", 2, lambda rows: [float(rows[0][0])]),
        "mean by group": asked("SELECT g, AVG(x) AS s FROM t GROUP BY g", 2, by(GROUPS)),
        "variance": asked("SELECT VARIANCE(x) AS s FROM t", 3, lambda rows: [float(rows[0][0])]),
    }
