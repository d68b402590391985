# SPDX-License-Identifier: Apache-2.0
"""The guest agent of the confidential VM in which a process of ours runs: the gate, and the console."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import GuestError
from sealroom.runtime.guest_agent import PRODUCTION_SOCKET, Guest
from sealroom_agents.errors import ConfigurationError

_HINTS = {
    Code.SIMULATOR_ENDPOINT_SET: "; to use a simulated platform on a local chain pass --guest-agent SOCKET",
    Code.SIMULATOR_OFF_LOCAL_CHAIN: "leave out --guest-agent",
    Code.GUEST_AGENT_MISSING: "mount /var/run/dstack.sock into the container",
}


def connect_guest(*, chain_id: int, environment: Mapping[str, str], guest_agent: Path | None = None) -> Guest:
    """The guest agent on its fixed socket or, on a local chain only, on the one named.

    Raises `ConfigurationError` (exit 78): `simulator-endpoint-set` when a variable would have dstack's tools
    talk to something else (AT-22), `simulator-off-local-chain`, `guest-agent-missing`.
    """
    other = None if guest_agent == PRODUCTION_SOCKET else guest_agent
    try:
        return Guest.connect(chain_id=chain_id, environment=environment, simulator=other)
    except GuestError as error:
        raise ConfigurationError(error.code, error.message, (error.hint or "") + _HINTS[error.code]) from None
