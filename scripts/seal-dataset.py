#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seal one dataset at its source; the same as `sealroom seal`, in one line.

    python scripts/seal-dataset.py --owner hospital-A --in cohort-A.parquet

The study card is `study.json` in the current folder, unless `--study` names another.
"""

import os
import sys


def main() -> None:
    """Become `sealroom seal` with the same arguments; everything about sealing is said there, once."""
    os.execv(sys.executable, [sys.executable, "-m", "sealroom_agents.cli", "seal", *sys.argv[1:]])


if __name__ == "__main__":
    main()
