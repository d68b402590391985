# SPDX-License-Identifier: Apache-2.0
"""`sealroom.toml`: every option of every process, each defined once.

* `model`: the sections, frozen. A field has its help, its bounds, and the option of the command line by which
  it is given too.
* `load`: command line over environment over file, parsed once; what does not fit is named by its field.
* `options`: commands whose options are those fields.
* `display`: the schema, and the values with secrets masked.
"""

from sealroom_agents.config.load import FILE, load, load_shared
from sealroom_agents.config.model import PROCESSES, Config
from sealroom_agents.config.options import process_command, required

__all__ = ["FILE", "PROCESSES", "Config", "load", "load_shared", "process_command", "required"]
