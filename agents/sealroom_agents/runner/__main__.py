# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.runner``, the same as ``sealroom runner``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["runner", *sys.argv[1:]], prog_name="sealroom")
