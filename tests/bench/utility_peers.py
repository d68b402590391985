# SPDX-License-Identifier: Apache-2.0
"""What other libraries release of the people of `tests.bench.utility`: a script for their own environments.

    python utility_peers.py people.npz EPSILON DRAWS

Prints JSON: {library: {statistic: [[number…]…]}}, one list a draw. What a library does not offer, and cannot
make of its counts, is left out.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
from utility_diffprivlib import diffprivlib
from utility_opendp import opendp
from utility_pipelinedp import pipelinedp
from utility_smartnoise import smartnoise

MOST = {"smartnoise": 20, "pipelinedp": 30, "means of 200 columns": 20, "principal axis": 50}
"""Draws of what takes long."""


def main(file, epsilon, draws):
    with np.load(file) as stored:
        columns = {name: stored[name] for name in stored.files}
    found = {}
    for library in (diffprivlib, opendp, smartnoise, pipelinedp):
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
    warnings.simplefilter("ignore")
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
