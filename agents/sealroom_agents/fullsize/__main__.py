# SPDX-License-Identifier: Apache-2.0
"""``python -m sealroom_agents.fullsize``: the command behind ``make study``."""

import sys

from sealroom.errors import SealroomError
from sealroom_agents.cli.terminal import complain
from sealroom_agents.errors import CommandExit
from sealroom_agents.fullsize.command import command

if __name__ == "__main__":
    try:
        command()
    except SealroomError as error:
        complain(error.message, error.hint)
        sys.exit(CommandExit.FAILED)
