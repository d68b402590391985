# SPDX-License-Identifier: Apache-2.0
"""What `sealroom verify` and `sealroom-verify` tell of a folder of cases, by one program for both.

It runs in the environment that is asked, and imports nothing of the tests: `python told.py FOLDER PROGRAM`.
FOLDER holds `cases.json`: the arguments of each case, by its name, with files of FOLDER. What is printed is
one JSON object: status, stdout and stderr of each. Nothing may ask the network, save with a third word,
`online`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

ASKING = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
"""Audit events of whoever asks a network."""


def refuse(event: str, _: Any) -> None:
    if event in ASKING:
        raise AssertionError(f"{event}: the network was asked")


def alone() -> Callable[[Sequence[str]], int]:
    """The verifier's own program."""
    from sealroom_agents.cli.ending import status_of
    from sealroom_agents.cli.verify_alone import ALONE, VERIFIER

    return lambda given: status_of(
        partial(ALONE.main, given, VERIFIER.name, None, False), VERIFIER, given=given
    )


def among_all() -> Callable[[Sequence[str]], int]:
    """The command of `sealroom`."""
    from sealroom_agents.cli import SEALROOM, main
    from sealroom_agents.cli.ending import status_of

    def run(given: Sequence[str]) -> int:
        words = ["verify", *given]
        return status_of(partial(main.main, words, SEALROOM.name, None, False), SEALROOM, given=words)

    return run


def told(run: Callable[[Sequence[str]], int], given: Sequence[str]) -> dict[str, Any]:
    """What one command line ends with."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(given)
    return {"status": int(status), "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    folder, program, *online = sys.argv[1:]
    if not online:
        sys.addaudithook(refuse)
    os.chdir(folder)
    run = alone() if program == "sealroom-verify" else among_all()
    cases = json.loads(Path("cases.json").read_text())
    found = {name: told(run, given) for name, given in cases.items()}
    roots = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
    print(json.dumps({"told": found, "loaded": sorted(root for root in roots if root[0] != "_")}))


if __name__ == "__main__":
    main()
