# SPDX-License-Identifier: Apache-2.0
"""Ports for processes that tests start: no other test, and no connection, has them in the meantime."""

from __future__ import annotations

from sealroom_agents.local.ports import Ports

HELD = Ports()
"""Claimed until the tests' process ends."""


def free_port() -> int:
    return HELD.take(0)
