# SPDX-License-Identifier: Apache-2.0
"""The links that need no network, in their order: signatures, digests, quotes, the recipe and its output
contract.

Each link is a list of single checks, and what was found in one line. Source: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from sealroom_agents.verification.attested import (
    EVENT_LOG,
    GATE_QUOTE,
    GRANT,
    KMS_CHAIN,
    QUOTE,
    REPORT_DATA,
)
from sealroom_agents.verification.computed import OUTPUT, RECIPE
from sealroom_agents.verification.signed import ANCHOR, RECEIPT, RESULT, STATEMENT
from sealroom_agents.verification.state import Step

OFFLINE: tuple[Step, ...] = (
    RESULT,
    STATEMENT,
    RECEIPT,
    GRANT,
    RECIPE,
    OUTPUT,
    QUOTE,
    REPORT_DATA,
    EVENT_LOG,
    KMS_CHAIN,
    GATE_QUOTE,
    ANCHOR,
)
"""Links that need nothing but the envelope and the root of trust."""
