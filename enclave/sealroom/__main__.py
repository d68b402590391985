# SPDX-License-Identifier: Apache-2.0
"""`python -m sealroom`: one run inside the enclave, from attestation to the signed envelope.

Progress is one JSON object a line on standard output, with "phase": attesting, granted, computing, final (the
run's opening is; before or after the analysis ends), emitting, done; or refused, lease-ended, failed, each
with "code" and "message". Nothing in it comes from data.

Without arguments it reads its host's hints (`SEALROOM_HINTS`, else `/run/hints.json`): which run this is, and
where datasets lie. The same lines, the outcome and the exit status then go to the runner that the hints name.

`python -m sealroom job [DIR]`: the service `job` of the same machine, which makes the processes that analyse,
and listens in DIR (/run/sealroom).

Exit status: 0 done, 3 refused, 4 the lease ended, 5 the analysis failed, 78 wrong
configuration (sysexits' EX_CONFIG).
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from sealroom.codes import Code, Exit

LATE = ("numpy", "opendp", "pandas", "sklearn")
"""What a run imports only after it has begun: a machine without it must end before it asks for keys."""


def main(arguments: list[str]) -> int:
    """Run once, or be the service; returns the exit status."""
    if arguments[:1] == ["job"]:
        # This process is copied for each job, so it loads nothing that a job does not need.
        from sealroom.runtime.launcher import CHANNEL_FOLDER, serve

        return serve(Path(arguments[1]) if arguments[1:] else CHANNEL_FOLDER)
    try:
        for name in LATE:
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
        from sealroom.runtime import command
    except ModuleNotFoundError as missing:
        if (missing.name or "sealroom").partition(".")[0] == "sealroom":
            raise
        message = f'this needs the Python package {missing.name}: pip install "sealroom[enclave]"'
        print(json.dumps({"phase": "failed", "code": Code.PACKAGE_MISSING, "message": message}))
        return Exit.CONFIGURATION
    return command.main(arguments)


if __name__ == "__main__":
    # Not sys.exit: keys are wiped by now, and taking torch down properly would last seconds.
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
