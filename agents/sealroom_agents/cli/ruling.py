# SPDX-License-Identifier: Apache-2.0
"""Which platform policy rules when an envelope is verified: a file's, or the one that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom_agents.errors import ConfigurationError, ToolError

if TYPE_CHECKING:
    # Who asks for help alone should not wait for what verifies.
    from sealroom.envelope import Envelope
    from sealroom.platform_policy import PlatformPolicy
    from sealroom_agents.attestation import TrustRoot


def rules_of(
    policy_file: Path | None, envelope: Envelope, trust: TrustRoot
) -> tuple[PlatformPolicy | None, TrustRoot, ConfigurationError | None]:
    """The platform policy that rules, and the root of trust with its rules.

    Where the one that is carried cannot rule, `None` and the error: it is told unless a link is broken, and
    nothing counts as proven. Raises what `_held` does for a document in a file.
    """
    from sealroom.platform_policy import PlatformPolicy
    from sealroom_agents.attestation import trust_under

    if policy_file is not None:
        policy = _held(policy_file, envelope)
        return policy, trust_under(policy, trust), None
    try:
        policy = PlatformPolicy.of_document(envelope.gate.policy)
        if policy.hash != envelope.gate.policy_hash:
            return None, trust, None  # the walk says so, at the gate's quote
        return policy, trust_under(policy, trust), None
    except FormatError as error:
        unread = ConfigurationError(
            Code.PLATFORM_POLICY,
            f"the platform policy that the envelope carries: {error.message}",
            "its machines are held against rules that this release cannot read: take a release that can",
        )
        return None, trust, unread
    except ConfigurationError as error:
        return None, trust, error


def _held(policy_file: Path, envelope: Envelope) -> PlatformPolicy:
    """The platform policy, which must be the one that the gate's quote binds."""
    from sealroom_agents.gate.policy_file import load_policy

    policy = load_policy(policy_file)
    if policy.hash != envelope.gate.policy_hash:
        raise ToolError(
            Code.PLATFORM_POLICY_MISMATCH,
            f"the gate judged by policy {to_hex(envelope.gate.policy_hash)}, and {policy_file} is "
            f"{to_hex(policy.hash)}",
            "the gate that granted shows its policy at GET /v1/policy",
        )
    return policy


def told_rules(policy: PlatformPolicy, policy_file: Path | None) -> str:
    """One line for people: by which document machines, GPUs and lease were judged, and where it is from."""
    whose = "that the envelope carries" if policy_file is None else f"in {policy_file}"
    return f"rules: the platform policy {to_hex(policy.hash)} {whose}"
