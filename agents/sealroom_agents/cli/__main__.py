# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.cli``, the same as ``sealroom``."""

from sealroom_agents.cli import main

if __name__ == "__main__":
    main(prog_name="sealroom")
