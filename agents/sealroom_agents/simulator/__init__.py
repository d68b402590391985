# SPDX-License-Identifier: Apache-2.0
"""A software TDX platform for tests and the demonstration: SIMULATED - not Intel.

It mints what the real verifier checks — certificates, collateral, quotes, event logs — under a root of its
own, and serves them through a guest agent that the real dstack SDK drives. So everything runs the
production verification code, and the root of trust alone differs. The gate refuses that root on any chain
but a local one.
"""

from sealroom_agents.simulator.enclave import SimulatedEnclave
from sealroom_agents.simulator.gpu import SimulatedGpu, SimulatedGpus
from sealroom_agents.simulator.guest import GuestAgent, Interfaces
from sealroom_agents.simulator.kms import SimulatedKms
from sealroom_agents.simulator.machine import Machine
from sealroom_agents.simulator.measurement import (
    SIMULATED_OS_IMAGE,
    Event,
    Measurements,
    edit_event,
    guest_events,
    runtime_event,
    to_json,
)
from sealroom_agents.simulator.pccs import TcbState
from sealroom_agents.simulator.platform import (
    DEFAULT_MACHINE,
    OS_IMAGES_FILE,
    POLICY_FILE,
    SimulatedPlatform,
)
from sealroom_agents.simulator.quoting import DEBUG, SEPT_VE_DISABLE
from sealroom_agents.simulator.sgx import Hardware
from sealroom_agents.simulator.socket_server import AgentServer

__all__ = [
    "DEBUG",
    "DEFAULT_MACHINE",
    "OS_IMAGES_FILE",
    "POLICY_FILE",
    "SEPT_VE_DISABLE",
    "SIMULATED_OS_IMAGE",
    "AgentServer",
    "Event",
    "GuestAgent",
    "Hardware",
    "Interfaces",
    "Machine",
    "Measurements",
    "SimulatedEnclave",
    "SimulatedGpu",
    "SimulatedGpus",
    "SimulatedKms",
    "SimulatedPlatform",
    "TcbState",
    "edit_event",
    "guest_events",
    "runtime_event",
    "to_json",
]
