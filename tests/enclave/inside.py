# SPDX-License-Identifier: Apache-2.0
"""Run a script in a real sandbox, with a channel that lets it tell a test what it found.

A custodian would take no such message; here the test itself sits at the other end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from sealroom.runtime.channel import Channel
from sealroom.runtime.sandbox import Sandbox

SECONDS = 300.0
"""Longest wait for a script's word, on a machine however busy."""

_TELL_CUSTODIAN = """
def tell(value):
    from sealroom.runtime import job
    job._session._channel.send({"told": value})
    job._session._channel.receive()
"""
_TELL_STANDARD_OUTPUT = """
def tell(value):
    import json
    print(json.dumps({"told": value}), flush=True)
"""


class Inside:
    """A script in a sandbox, which lives on after `tell` until this context ends."""

    def __init__(self, script: str) -> None:
        self.sandbox = Sandbox.start()
        try:
            self.walls = self.sandbox.ready()
            self._channel = Channel(self.sandbox.channel)
            begin = {"analysis": _TELL_CUSTODIAN + script, "unit": "person_id", "fields": {}, "groups": {}}
            self.sandbox.begin(begin)
            self.sandbox.channel.settimeout(SECONDS)
        except BaseException:
            self.sandbox.kill()
            raise

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sandbox.__exit__(*exception)

    def told(self) -> Any:
        """What the script told."""
        frame = self._channel.receive()
        assert frame is not None, f"the script ended with {self.sandbox.ended(within=10)} and told nothing"
        return frame.head["told"]


def inside(script: str) -> Any:
    """What a script tells in a sandbox."""
    with Inside(script) as running:
        return running.told()


def outside(script: str) -> Any:
    """What the same script tells in an ordinary process."""
    done = subprocess.run(
        [sys.executable, "-c", _TELL_STANDARD_OUTPUT + script],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["told"]
