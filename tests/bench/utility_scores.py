# SPDX-License-Identifier: Apache-2.0
"""What `tests.bench.utility` and the scripts of the peers share: the sizes of the made-up columns, and how a
statistic that is no number of its own is scored. It needs numpy alone: it runs in the peers' environments.
"""

from __future__ import annotations

import numpy as np

GROUPS, EDGES, COLUMNS = 6, 11, 200
LOW, HIGH = 0.3, 3.0
"""Bounds of x."""
LABELS, SHOWN = 400, 20
"""Of the column whose most frequent labels are asked for."""
SITES, GRADES = 10, 5
"""Of the contingency table."""
POINTS = 40
"""Of the distribution function of x."""
LIMIT = 1_000_000
"""Of costs: all that is known of them beforehand, beside that none is negative."""
AXES, FAR = 4, 3.0
"""Columns that the principal axis is of, and the bound of each, of both signs."""
FINDING = 0.2
"""Share of ε that bounds are found with."""
TOP = 0.999
"""The quantile that a peer without a finder of bounds is given for the upper one."""


def points():
    """Of the distribution function, rising, within the bounds of x."""
    return np.round(np.linspace(LOW, HIGH, POINTS + 2)[1:-1], 3)


def ranges(x):
    """The range between points that each value is in, each with its upper end; one more is above the last."""
    return np.searchsorted(points(), x, side="left")


def named(places, labels):
    """How many people, in truth, the labels at these places have on average."""
    return [float(np.bincount(labels, minlength=LABELS)[list(places)].mean())]


def largest(counts, shown):
    """The places of the largest counts."""
    return np.argsort(-np.asarray(counts), kind="stable")[:shown]


def association(counts):
    """Cramér's V of the counts of a table, those below zero taken for zero."""
    table = np.maximum(np.reshape(counts, (SITES, GRADES)).astype(float), 0.0)
    whole = table.sum()
    alone = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / whole
    away = np.divide((table - alone) ** 2, alone, out=np.zeros_like(table), where=alone > 0)
    return float(np.sqrt(away.sum() / whole / (min(table.shape) - 1)))


def principal(matrix):
    """The axis of a symmetric matrix that explains most."""
    return np.linalg.eigh(matrix)[1][:, -1]


def sine(axis, exact):
    """Of the angle between two axes; 1 where the first is not shown."""
    if any(each is None for each in axis):
        return [1.0]
    axis = np.asarray(axis, dtype=float)
    cosine = abs(axis @ exact) / np.linalg.norm(axis) / np.linalg.norm(exact)
    return [float(np.sqrt(max(0.0, 1.0 - min(cosine, 1.0) ** 2)))]
