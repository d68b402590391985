# SPDX-License-Identifier: Apache-2.0
"""A client of the console's REST interface, which believes no answer before its signature holds.

from sealroom_agents.client import Connection, Pinned

with Connection("https://console.example", Pinned(bytes.fromhex("…"))) as console:
    print(console.call("GET", "/v1/studies").json())
"""

from sealroom_agents.client.asking import Signer
from sealroom_agents.client.connection import Answer, Connection
from sealroom_agents.client.console import Console
from sealroom_agents.client.trust import Attested, Pinned, Trust, Unverified
from sealroom_agents.client.verifying import Event

__all__ = ["Answer", "Attested", "Connection", "Console", "Event", "Pinned", "Signer", "Trust", "Unverified"]
