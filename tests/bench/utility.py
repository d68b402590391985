# SPDX-License-Identifier: Apache-2.0
"""The error of each statistic at equal ε, beside other libraries for differential privacy.

Each statistic is released alone, many times, from the same people, at the whole ε. The error of a release is
the mean distance of its numbers from what they are without noise, and a row has the median of these over the
draws. Our fields have the law of noise that planning picks at δ 10⁻⁶.

Peers are asked as their documentation says, with the same bounds. The means and variances of diffprivlib and
OpenDP take the number of people as public, and their ε is for one person exchanged for another; here that
number is private and released too, and ε is for one person more or less. A peer that has too little noise for
its ε by a known fault is shown in brackets, and is not the one that is compared with.

The page `docs/utility.md` is what a run with peers wrote.

Peers need versions of other libraries that this project does not use, so each runs in an environment of its
own. `SEALROOM_PEERS` names their Pythons, with `:` between them:

    python3 -m venv one && one/bin/pip install diffprivlib==0.6.6 'scikit-learn<1.6' opendp==0.16.0
    python3 -m venv two && two/bin/pip install smartnoise-sql==1.0.10
    SEALROOM_PEERS=one/bin/python:two/bin/python python -m tests.bench utility
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from tests.enclave.kinds import kit

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.people import Floats, People
from sealroom.privacy.plan import Draft, plan
from sealroom.privacy.release import compute
from sealroom.recipe import Field

PEOPLE = 7_874
EPSILONS = ("1.5", "0.25")
DELTA = Decimal("1e-6")
DRAWS = 50
PAGE = Path(__file__).parents[2] / "docs" / "utility.md"
FAULTY = {("diffprivlib", "linear regression")}
"""Peers whose noise is too small: this one takes the lower bound of a feature for both (diffprivlib#104)."""
SLOW = {"means of 200 columns": 20}
"""Draws of what takes long."""
RESAMPLES = 2_000
PEER_SCRIPT = Path(__file__).with_name("utility_peers.py")
GROUPS, EDGES, COLUMNS = 6, 11, 200

Numbers = list[float]


def data() -> dict[str, Any]:
    """Columns of the people, all within their bounds: 0.3 to 3 for x, 0 to 8 for z."""
    dice = np.random.default_rng(2026)
    x = np.clip(dice.lognormal(0.0, 0.35, PEOPLE), 0.3, 3.0)
    z = np.clip(dice.gamma(2.0, 1.2, PEOPLE), 0.0, 8.0)
    y = np.clip(1.0 + 0.8 * x - 0.15 * z + dice.normal(0, 0.3, PEOPLE), -2.0, 4.0)
    died = (dice.random(PEOPLE) < 1 / (1 + np.exp(-(2.2 * (x - 1.2) + 0.4 * (z - 3))))).astype(float)
    variants = dice.binomial(2, np.linspace(0.05, 0.5, COLUMNS), (PEOPLE, COLUMNS)).astype(float)
    return {
        "x": x, "y": y, "z": z, "died": died, "group": dice.integers(0, GROUPS, PEOPLE), "variants": variants,
    }  # fmt: skip


def run() -> Iterator[str]:
    columns = data()
    truth = plain(columns)
    peers = [each for each in os.environ.get("SEALROOM_PEERS", "").split(":") if each]
    if not peers:
        yield "no peers: SEALROOM_PEERS names no Python (see tests/bench/utility.py)"
    tables: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as folder:
        file = Path(folder) / "people.npz"
        np.savez(file, **columns)
        pool = ThreadPoolExecutor()
        waiting = {each: [pool.submit(asked, python, file, each) for python in peers] for each in EPSILONS}
        for epsilon in EPSILONS:
            found = {
                "sealroom": {
                    name: [draw() for _ in range(SLOW.get(name, DRAWS))]
                    for name, draw in ours(columns, epsilon)
                }
            }
            for answer in waiting[epsilon]:
                found |= answer.result()
            lines = ["", f"## ε {epsilon}", "", *table(found, truth)]
            tables += lines
            yield from lines
    if peers:
        PAGE.write_text(
            "\n".join([_INTRODUCTION.format(people=PEOPLE, draws=DRAWS, day=date.today()), *tables, ""])
        )
        yield f"\nwritten to {PAGE.name}"


_INTRODUCTION = """# Error beside other libraries

Written by `SEALROOM_PEERS=… python -m tests.bench utility` (`tests/bench/utility.py` says which environments
that needs): diffprivlib 0.6.6, OpenDP 0.16.0 and smartnoise-sql 1.0.10, {people:,} made-up people, δ 10⁻⁶,
{day}.

How to read it: each library releases each statistic alone at the whole ε, from the same people with the same
bounds. A number is the median, over {draws} releases (20 of 200 columns, 10 of SmartNoise), of how far a
release is from the answer without privacy, on average over its numbers. The last columns divide our error by
the best peer's: below 1 ours is smaller. The interval is of 95 %, by resampling of the draws; where it holds
1, the draws do not tell the two apart.

Numbers in brackets are of a peer with too little noise for its ε, and are not compared with: diffprivlib's
linear regression takes the lower bound of a feature for both bounds. The means and variances of diffprivlib
and OpenDP take the number of people as public; ours is private, and released too. Ours have intervals at the
same ε; these peers give none.

A single quantile is worse here than there where noise is large: a peer puts all of its ε into one choice, and
ours counts three times. Several quantiles share these counts."""


def asked(python: str, file: Path, epsilon: str) -> dict[str, dict[str, list[Numbers]]]:
    """What the libraries of this Python released, by library and statistic."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, str(PEER_SCRIPT), str(file), epsilon, str(DRAWS)],
        stdout=subprocess.PIPE, env=environment, check=True, timeout=1200,
    )  # fmt: skip
    found: dict[str, dict[str, list[Numbers]]] = json.loads(done.stdout)
    return found


def table(found: Mapping[str, Mapping[str, list[Numbers]]], truth: Mapping[str, Numbers]) -> Iterator[str]:
    """One row a statistic: the errors, and how many times the best peer's ours is."""
    others = [name for name in found if name != "sealroom"]
    yield f"| statistic | sealroom | {' | '.join(others)} | ours / best | 95 % |"
    yield f"|---|---|{'---|' * len(others)}---|---|"
    dice = np.random.default_rng(1)
    for name, exact in truth.items():
        errors = {
            library: np.nanmean(np.abs(np.array(each[name]) - np.array(exact)), axis=1)
            for library, each in found.items()
            if name in each
        }
        middle = {library: float(np.median(each)) for library, each in errors.items()}
        shown = [f"{middle[each]:.4g}" if each in middle else "–" for each in others]
        shown = [
            f"({text})" if (each, name) in FAULTY else text for each, text in zip(others, shown, strict=True)
        ]
        able = [each for each in others if each in middle and (each, name) not in FAULTY]
        ratio = "– | –"
        if able:
            best = min(able, key=lambda each: middle[each])
            ratio = _ratio(errors["sealroom"], errors[best], dice)
        yield f"| {name} | {middle['sealroom']:.4g} | {' | '.join(shown)} | {ratio} |"


def _ratio(own: Floats, other: Floats, dice: np.random.Generator) -> str:
    """Of the medians, and its interval."""
    one, two = (np.median(dice.choice(each, (RESAMPLES, len(each))), axis=1) for each in (own, other))
    low, high = np.quantile(one / np.maximum(two, 1e-12), [0.025, 0.975])
    return f"{np.median(own) / max(float(np.median(other)), 1e-12):.2f} | {low:.2f} to {high:.2f}"


def plain(columns: Mapping[str, Any]) -> dict[str, Numbers]:
    """Every statistic without noise."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    x, y, z = columns["x"], columns["y"], columns["z"]
    inputs = np.column_stack([x, z])
    line = LinearRegression().fit(inputs, y)
    model = LogisticRegression(C=1e6).fit(inputs, columns["died"])
    return {
        "count by group": np.bincount(columns["group"], minlength=GROUPS).astype(float).tolist(),
        "sum": [float(x.sum())],
        "mean": [float(x.mean())],
        "mean by group": [float(x[columns["group"] == each].mean()) for each in range(GROUPS)],
        "variance": [float(x.var())],
        "histogram": np.histogram(x, np.linspace(0.3, 3.0, EDGES))[0].astype(float).tolist(),
        "median": [float(np.median(x))],
        "quantiles 0.1, 0.5, 0.9": np.quantile(x, [0.1, 0.5, 0.9]).tolist(),
        f"means of {COLUMNS} columns": columns["variants"].mean(axis=0).tolist(),
        "linear regression": [float(line.intercept_), *line.coef_.tolist()],
        "logistic regression": [float(model.intercept_[0]), *model.coef_[0].tolist()],
    }


def ours(columns: Mapping[str, Any], epsilon: str) -> Iterator[tuple[str, Callable[[], Numbers]]]:
    """For each statistic, one release."""
    people = People(
        count=PEOPLE,
        numbers={
            **{name: columns[name] for name in ("x", "y", "z", "died")},
            **{f"v{place}": columns["variants"][:, place].copy() for place in range(COLUMNS)},
        },
        groups={"band": columns["group"] // 2, "sex": columns["group"] % 2},
    )
    bounds = {"lower": "0.3", "upper": "3", "decimals": 6}
    by_all: dict[str, Any] = {"by": [], "column": "x", **bounds}
    by_group = {**by_all, "by": ["band", "sex"]}
    edges = [f"{each:.2f}".rstrip("0").rstrip(".") for each in np.linspace(0.3, 3.0, EDGES)]
    inputs = [{"name": "x", "lower": "0.3", "upper": "3"}, {"name": "z", "lower": "0", "upper": "8"}]
    wide = {"lower": "-20", "upper": "20", "decimals": 6}

    def of(kind: str, members: dict[str, Any], read: Callable[[Any], Numbers]) -> Callable[[], Numbers]:
        made = KINDS[kind]
        spec = kit.spec_of(made, members)
        [cost] = plan([Draft(name="field", kind=made, spec=spec)], epsilon=Decimal(epsilon), delta=DELTA)
        field = Field(name="field", kind=made, spec=spec, cost=cost)
        return lambda: read(compute(field, people, cohort=1))

    def rows(name: str) -> Callable[[Any], Numbers]:
        return lambda value: [math.nan if row[name] is None else float(row[name]) for row in value["groups"]]

    yield "count by group", of("count", {"by": ["band", "sex"]}, rows("people"))
    yield "sum", of("sum", by_all, rows("sum"))
    yield "mean", of("mean", by_all, rows("mean"))
    yield "mean by group", of("mean", by_group, rows("mean"))
    yield "variance", of("variance", by_all, rows("variance"))
    yield "histogram", of("histogram", {"by": [], "column": "x", "edges": edges}, rows("people"))
    quantiles = {**by_all, "quantiles": ["0.1", "0.5", "0.9"], "scale": "linear"}
    yield "median", of("quantiles", {**quantiles, "quantiles": ["0.5"]}, rows("value"))
    yield "quantiles 0.1, 0.5, 0.9", of("quantiles", quantiles, rows("value"))
    vector = {
        "columns": [f"v{place}" for place in range(COLUMNS)],
        "centre": [f"{2 * each:.3f}".rstrip("0").rstrip(".") for each in np.linspace(0.05, 0.5, COLUMNS)],
        "entry": "2", "norm": "11", "decimals": 6,
    }  # fmt: skip
    yield f"means of {COLUMNS} columns", of("vector_sum", vector, rows("mean"))
    line = {"features": inputs, "target": {"name": "y", "lower": "-2", "upper": "4"}, **wide}
    yield "linear regression", of("linear", line, rows("coefficient"))
    logistic = {
        "features": inputs, "label": "died", "clip": "1.5", "steps": 16, "learning_rate": "4", **wide,
    }  # fmt: skip
    yield "logistic regression", of("logistic", logistic, rows("coefficient"))
