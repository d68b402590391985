# SPDX-License-Identifier: Apache-2.0
"""All that the product knows of TDX: from a quote, its collateral and an event log to facts, or a refusal.

Verification takes everything it needs as arguments, the time included; only `collateral` and `pccs` do IO.
"""

from sealroom_agents.attestation.collateral import CollateralSource, DirectoryCollateral, PccsCollateral
from sealroom_agents.attestation.collateral_check import good_until
from sealroom_agents.attestation.eventlog import Claims, EventLog, read_event_log
from sealroom_agents.attestation.evidence import replayed, require_made_for, verify_evidence
from sealroom_agents.attestation.gate_identity import GateFacts, attested_gate, verify_gate
from sealroom_agents.attestation.osimage import encode_os_images, load_os_images
from sealroom_agents.attestation.pccs import Pccs
from sealroom_agents.attestation.quote import QuoteFacts, said_registers, verify_quote
from sealroom_agents.attestation.trust import (
    INTEL,
    INTEL_UNDER_ANY_POLICY,
    TrustRoot,
    load_simulated_root,
    require_local_chain,
    trust_under,
)

__all__ = [
    "INTEL",
    "INTEL_UNDER_ANY_POLICY",
    "Claims",
    "CollateralSource",
    "DirectoryCollateral",
    "EventLog",
    "GateFacts",
    "Pccs",
    "PccsCollateral",
    "QuoteFacts",
    "TrustRoot",
    "attested_gate",
    "encode_os_images",
    "good_until",
    "load_os_images",
    "load_simulated_root",
    "read_event_log",
    "replayed",
    "require_local_chain",
    "require_made_for",
    "said_registers",
    "trust_under",
    "verify_evidence",
    "verify_gate",
    "verify_quote",
]
