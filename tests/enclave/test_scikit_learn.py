# SPDX-License-Identifier: Apache-2.0
"""Estimators of scikit-learn fit in the real sandbox: on one block of people, and on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.enclave.inside import inside
from tests.enclave.test_blocks import BLOCKS, KEY, STUDY, cohort, rows_by_block

from sealroom.recipe import parse, render
from sealroom.runtime.blocks import assign

TRAIN = """\
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def train(ages):
    # one informative column, and one that says nothing
    x = np.column_stack([ages, np.arange(len(ages)) % 7])
    y = (ages > 50).astype(int)
    found = {}
    for name, model in {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(n_estimators=5, random_state=0),
        "boosting": HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2, random_state=0),
    }.items():
        found[name] = 100 * roc_auc_score(y, model.fit(x, y).predict_proba(x)[:, 1])
    found["folds"] = 100 * cross_val_score(LogisticRegression(), x, y, cv=2).mean()
    found["centre"] = KMeans(2, n_init=1, random_state=0).fit(x).cluster_centers_[:, 0].min()
    found["axis"] = 100 * abs(PCA(1).fit(x).components_[0, 0])
    return found
"""

FIELDS = ("logistic", "forest", "boosting", "folds", "centre", "axis")

BY_READING = TRAIN + "\ntell({name: float(value) for name, value in train(np.arange(20.0, 80)).items()})\n"

BY_BLOCKS = (
    TRAIN
    + """\

from sealroom import emit_signed, unwrap

people = pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")])
emit_signed(train(people.age.to_numpy()))
"""
)


def train(ages: np.ndarray) -> dict[str, float]:
    """What the script's function finds outside of any job."""
    names: dict[str, Any] = {}
    exec(TRAIN, names)
    found: dict[str, float] = names["train"](ages)
    return found


def test_estimators_fit_on_each_block_as_they_do_elsewhere(tmp_path: Path) -> None:
    """Without a thread, a file or a call that a block has not: one that needs any hands nothing in."""
    fields = "".join(
        f"    - {{name: {name}, kind: block_mean, lower: 0, upper: 120, decimals: 1}}\n" for name in FIELDS
    )
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("blocks: 50", f"blocks: {BLOCKS}").partition("    - {name: age")[0] + fields
    )
    (tmp_path / "analysis.py").write_text(BY_BLOCKS)
    found = rows_by_block(parse(render(tmp_path)), {})
    people = pa.concat_tables([cohort("A"), cohort("B")])
    block = assign(people["person"], blocks=BLOCKS, key=KEY)
    assert len(found) == BLOCKS
    for number, each in enumerate(found):
        assert each == pytest.approx(train(people["age"].to_numpy()[block == number]), rel=1e-6)


def test_estimators_fit_in_a_sealed_job_as_they_do_elsewhere() -> None:
    assert inside(BY_READING) == pytest.approx(train(np.arange(20.0, 80)), rel=1e-6)
