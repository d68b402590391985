# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.simulator``, the same as ``sealroom simulate``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["simulate", *sys.argv[1:]], prog_name="sealroom")
