# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.gate``, the same as ``sealroom gate``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["gate", *sys.argv[1:]], prog_name="sealroom")
