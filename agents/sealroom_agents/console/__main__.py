# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.console``, the same as ``sealroom console``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["console", *sys.argv[1:]], prog_name="sealroom")
