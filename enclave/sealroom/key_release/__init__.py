# SPDX-License-Identifier: Apache-2.0
"""The release protocol between enclave and gate: hello → challenge → evidence → grant → lease.

`messages` and `replies` are what each side says, `protocol` the hashes and signatures that bind
it. Spec: `enclave/spec/key-release.md`.
"""

from sealroom.key_release.finality import FinalBlock, FinalityReply, FinalityRequest
from sealroom.key_release.messages import (
    WATCH_VERSION,
    Challenge,
    DatasetOffer,
    EvidenceMessage,
    GateIdentity,
    Hello,
)
from sealroom.key_release.protocol import (
    check_kms_chain,
    check_lease_seconds,
    datasets_root,
    evidence_digest,
    gate_report_data,
    gpu_nonce,
    open_key,
    report_data,
    seal_key,
    sign_challenge,
    sign_finalized,
    sign_grant,
    sign_lease,
    sign_renewal,
    transcript_0,
    transcript_1,
    verify_challenge,
    verify_finalized,
    verify_grant,
    verify_lease,
    verify_renewal,
)
from sealroom.key_release.replies import (
    GrantReply,
    KeyRelease,
    LeaseReply,
    LeaseRequest,
    Opened,
    Refusal,
    SeenRevocation,
    WatchReport,
)
from sealroom.model import Grant, Receipt

__all__ = [
    "WATCH_VERSION",
    "Challenge",
    "DatasetOffer",
    "EvidenceMessage",
    "FinalBlock",
    "FinalityReply",
    "FinalityRequest",
    "GateIdentity",
    "Grant",
    "GrantReply",
    "Hello",
    "KeyRelease",
    "LeaseReply",
    "LeaseRequest",
    "Opened",
    "Receipt",
    "Refusal",
    "SeenRevocation",
    "WatchReport",
    "check_kms_chain",
    "check_lease_seconds",
    "datasets_root",
    "evidence_digest",
    "gate_report_data",
    "gpu_nonce",
    "open_key",
    "report_data",
    "seal_key",
    "sign_challenge",
    "sign_finalized",
    "sign_grant",
    "sign_lease",
    "sign_renewal",
    "transcript_0",
    "transcript_1",
    "verify_challenge",
    "verify_finalized",
    "verify_grant",
    "verify_lease",
    "verify_renewal",
]
