# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.demo``, the same as ``sealroom demo``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]], prog_name="sealroom")
