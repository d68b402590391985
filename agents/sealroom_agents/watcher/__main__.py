# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.watcher``, the same as ``sealroom watcher``."""

import sys

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(["watcher", *sys.argv[1:]], prog_name="sealroom")
