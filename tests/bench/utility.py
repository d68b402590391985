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

    python3 -m venv one && one/bin/pip install diffprivlib==0.6.6 'scikit-learn<1.6' opendp==0.16.0 randomgen
    python3 -m venv two && two/bin/pip install smartnoise-sql==1.0.10
    python3 -m venv three && three/bin/pip install pipeline-dp==0.3.1 python-dp==1.1.5
    SEALROOM_PEERS=one/bin/python:two/bin/python:three/bin/python python -m tests.bench utility

`SEALROOM_DRAWS=5` draws less, to see that all runs; the page is then left as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from tests.bench.utility_rows import PEOPLE, Numbers, data, ours, plain
from tests.bench.utility_scores import SHOWN, TOP

from sealroom.privacy.people import Floats

EPSILONS = ("1.5", "0.25")
DRAWS = 200
PAGE = Path(__file__).parents[2] / "docs" / "utility.md"
FAULTY = {("diffprivlib", "linear regression")}
"""Peers whose noise is too small: this one takes the lower bound of a feature for both (diffprivlib#104)."""
AVERAGED = {"the largest label", f"the {SHOWN} largest labels"}
"""Rows with the mean of the draws: as a rule a label is the right one, and the median of its errors zero."""
RESAMPLES = 2_000
PEER_SCRIPT = Path(__file__).with_name("utility_peers.py")


def run() -> Iterator[str]:
    columns = data()
    truth = plain(columns)
    draws = int(os.environ.get("SEALROOM_DRAWS", DRAWS))
    peers = [each for each in os.environ.get("SEALROOM_PEERS", "").split(":") if each]
    if not peers:
        yield "no peers: SEALROOM_PEERS names no Python (see tests/bench/utility.py)"
    tables: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as folder:
        file = Path(folder) / "people.npz"
        np.savez(file, **columns)
        pool = ThreadPoolExecutor()
        waiting = {
            each: [pool.submit(asked, python, file, each, draws) for python in peers] for each in EPSILONS
        }
        for epsilon in EPSILONS:
            found = {
                "sealroom": {name: [draw() for _ in range(draws)] for name, draw in ours(columns, epsilon)}
            }
            for answer in waiting[epsilon]:
                found |= {name: each for name, each in answer.result().items() if each}
            lines = ["", f"## ε {epsilon}", "", *table(found, truth)]
            tables += lines
            yield from lines
    if peers and draws == DRAWS:
        PAGE.write_text(
            "\n".join(
                [_INTRODUCTION.format(people=PEOPLE, draws=DRAWS, top=TOP, day=date.today()), *tables, ""]
            )
        )
        yield f"\nwritten to {PAGE.name}"


_INTRODUCTION = """# Error beside other libraries

Written by `SEALROOM_PEERS=… python -m tests.bench utility` (`tests/bench/utility.py` says which environments
that needs): diffprivlib 0.6.6, OpenDP 0.16.0, smartnoise-sql 1.0.10 and PipelineDP 0.3.1 with python-dp
1.1.5, {people:,} made-up people, δ 10⁻⁶, {day}.

How to read it: each library releases each statistic alone at the whole ε, from the same people with the same
bounds. A number is the median, over {draws} releases (of peers 20 of 200 columns and of SmartNoise, 30 of
PipelineDP, 50 of the axis), of how far a release is from the answer without privacy, on average over its
numbers. The last columns divide our error by the best peer's: below 1 ours is smaller. The interval is of
95 %, by resampling of the draws; where it holds 1, the draws do not tell the two apart.

* **Labels**: of 400 with about 20 people each, how many people a label that is named lacks, on average,
  beside one that should be; the mean over the releases, not the median. Peers name the largest of their noisy
  counts, as we do; OpenDP's one largest label is chosen by `make_noisy_top_k`, which tells no count.
* **Table**: counts of two groups together. Peers' Cramér's V is that of their counts.
* **Sum, bounds found**: of costs with a long tail, of which no more is known than that they lie between 0 and
  1,000,000. A fifth of ε finds bounds. SmartNoise has a finder, which its queries do not use; the other peers
  have none, and get the quantile {top} of their own as the upper bound.
* **Distribution function**: shares of people up to 40 points; of peers, from counts between the points.
* **Principal axis**: of four columns, the sine of the angle between the released axis and the right one. The
  norm that peers hold a row to is that of a corner of the bounds.

Numbers in brackets are of a peer with too little noise for its ε, and are not compared with: diffprivlib's
linear regression takes the lower bound of a feature for both bounds. The means, variances and axes of
diffprivlib and OpenDP take the number of people as public; ours is private, and released too. OpenDP's axis
is made by `make_private_pca`: by its own account, its class `PCA` spends twice the ε that it is given. Ours
have intervals at the same ε; these peers give none.

Three rows are worse here. A single quantile, and the one largest label: a peer puts all of its ε into one
choice, and ours counts, which several quantiles or labels share, and which intervals come from. A sum whose
bounds are found: the two largest of these costs are 3 % of the sum, and a fifth of ε cannot show two people;
a quantile of somebody's choice keeps more of them."""


def asked(python: str, file: Path, epsilon: str, draws: int) -> dict[str, dict[str, list[Numbers]]]:
    """What the libraries of this Python released, by library and statistic."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, str(PEER_SCRIPT), str(file), epsilon, str(draws)],
        stdout=subprocess.PIPE, env=environment, check=True, timeout=3600,
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
        of = np.mean if name in AVERAGED else np.median
        middle = {library: float(of(each)) for library, each in errors.items()}
        shown = [f"{middle[each]:.4g}" if each in middle else "–" for each in others]
        shown = [
            f"({text})" if (each, name) in FAULTY else text for each, text in zip(others, shown, strict=True)
        ]
        able = [each for each in others if each in middle and (each, name) not in FAULTY]
        ratio = "– | –"
        if able:
            best = min(able, key=lambda each: middle[each])
            ratio = _ratio(errors["sealroom"], errors[best], of, dice)
        yield f"| {name} | {middle['sealroom']:.4g} | {' | '.join(shown)} | {ratio} |"


def _ratio(own: Floats, other: Floats, of: Any, dice: np.random.Generator) -> str:
    """Of the medians, or means, and its interval."""
    one, two = (of(dice.choice(each, (RESAMPLES, len(each))), axis=1) for each in (own, other))
    low, high = np.quantile(one / np.maximum(two, 1e-12), [0.025, 0.975])
    if not of(other):
        return "– | –"
    return f"{of(own) / of(other):.2f} | {low:.2f} to {high:.2f}"
