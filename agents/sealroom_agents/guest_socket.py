# SPDX-License-Identifier: Apache-2.0
"""The guest agent of the confidential VM in which a process of ours runs: the gate, and the console."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dstack_sdk import DstackClient

from sealroom.codes import Code
from sealroom.runtime.guest_agent import PRODUCTION_SOCKET, REDIRECTING_VARIABLES
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.errors import ConfigurationError

GUEST_TIMEOUT_S = 20.0
"""Seconds for one call of the guest agent; a quote takes about a second on hardware."""


def connect_guest(
    *, chain_id: int, environment: Mapping[str, str], guest_agent: Path | None = None
) -> DstackClient:
    """The guest agent on its fixed socket or, on a local chain only, on the one named.

    Raises `ConfigurationError` (exit 78): `simulator-endpoint-set` when a variable would let the SDK talk to
    something else (AT-22), `simulator-off-local-chain`, `guest-agent-missing`.
    """
    for name in REDIRECTING_VARIABLES:
        if name in environment:
            raise ConfigurationError(
                Code.SIMULATOR_ENDPOINT_SET,
                f"{name} is set, so something else could answer for the guest agent",
                f"unset {name}; to use a simulated platform on a local chain pass --guest-agent SOCKET",
            )
    if guest_agent is not None and guest_agent != PRODUCTION_SOCKET and chain_id not in LOCAL_CHAIN_IDS:
        raise ConfigurationError(
            Code.SIMULATOR_OFF_LOCAL_CHAIN,
            f"chain {chain_id} is not local, so no guest agent but {PRODUCTION_SOCKET} is allowed",
            "leave out --guest-agent",
        )
    socket = guest_agent or PRODUCTION_SOCKET
    try:
        return DstackClient(str(socket), timeout=GUEST_TIMEOUT_S)
    except FileNotFoundError as error:
        raise ConfigurationError(
            Code.GUEST_AGENT_MISSING,
            f"there is no dstack guest agent at {socket}",
            "mount /var/run/dstack.sock into the container",
        ) from error
