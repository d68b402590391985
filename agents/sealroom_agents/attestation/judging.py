# SPDX-License-Identifier: Apache-2.0
"""A recorded machine held against a platform policy: each rule by itself, whatever the others say.

The gate stops at the first refusal. Whoever writes a policy, or brings a machine, wants all of them, from
what there is: a rule for which something is missing stays open. What a rule decides is decided by the gate's
code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.platform_policy import OsImage, PlatformPolicy
from sealroom_agents.attestation.config_id import require_config_id
from sealroom_agents.attestation.dev_images import is_dev_name, said_image
from sealroom_agents.attestation.eventlog import Claims, EventLog, read_event_log
from sealroom_agents.attestation.evidence import known_image, require_replay
from sealroom_agents.attestation.kms_identity import KmsInfo, require_app_chain, require_bound_keys
from sealroom_agents.attestation.quote import QuoteFacts, said_facts, verify_quote
from sealroom_agents.attestation.recording import Recording
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

KMS = "kms"
"""The one kind of key provider that a gate accepts (AT-19)."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one rule says."""

    rule: str
    """Its name."""
    verdict: Literal["ok", "refused", "open"]
    """`open` where the recording lacks what the rule needs."""
    detail: str
    """What was found, in words."""
    code: str = ""
    """Code of the refusal, else empty."""


class _Open(Exception):
    """Why a rule cannot be decided."""


def judge(
    recording: Recording, policy: PlatformPolicy, *, trust: TrustRoot, now: int, kms: KmsInfo | None = None
) -> list[Finding]:
    """What each rule says of a machine, in the order in which the gate asks.

    trust: the root with the rules of `policy`. now: the moment for which it is judged, unix seconds. kms: the
    KMS as its contract tells it, where that is known.
    """
    facts: QuoteFacts | None = None
    log: EventLog | None = None
    claims: Claims | None = None

    def seen() -> QuoteFacts:
        if facts is None:
            raise _Open("the quote says nothing that could be judged")
        return facts

    def measured() -> tuple[EventLog, Claims]:
        if log is None or claims is None:
            raise _Open("the event log says nothing that could be judged")
        return log, claims

    def td() -> str:
        nonlocal facts
        facts = said_facts(recording.quote, trust=trust)
        return "a TD of an accepted version, which its host cannot debug"

    def quote() -> str:
        nonlocal facts
        if recording.collateral is None:
            raise _Open("there is no collateral, so neither signature nor TCB can be verified")
        facts = verify_quote(recording.quote, recording.collateral, trust=trust, now=now)
        whose = "SIMULATED TDX, not Intel" if facts.simulated else "Intel TDX"
        return f"{whose}, TCB {facts.tcb_status}, evaluation {facts.tcb_evaluation}"

    def event_log() -> str:
        nonlocal log, claims
        log = read_event_log(recording.event_log, versions=trust.event_log_versions)
        require_replay(seen(), log)
        claims = log.claims()
        left_out = "; firmware's events are left out" if log.is_stripped else ""
        return f"{len(log.events)} events replay to the quote{left_out}; app {to_hex(claims.app_id)}"

    def config_id() -> str:
        form = require_config_id(seen().mr_config_id, measured()[1], trust)
        return f"form {form} binds what was measured" if form else "none, which the policy accepts"

    def recipe() -> str:
        booted = measured()[1].compose_hash
        if recording.app_compose is None:
            raise _Open(f"there is no app-compose.json to compare with {to_hex(booted)}")
        if sha256(recording.app_compose) != booted:
            raise AttestationError(
                Code.COMPOSE_HASH_MISMATCH, f"the machine booted {to_hex(booted)}, not this app-compose.json"
            )
        return f"app-compose.json is what booted, {to_hex(booted)}"

    def os_image() -> str:
        name = said_image(recording.vm_config) if recording.vm_config else ""
        image = known_image(seen(), measured()[0], trust)
        if is_dev_name(name):
            raise AttestationError(
                Code.OS_IMAGE_DEV, f"the host says that it booted {name}, an image for developers"
            )
        assert image is not None  # a policy names images
        by = image.by if isinstance(image, OsImage) else "tdx-lite"
        return f"{to_hex(image.digest)}, known by {by}" + (f"; the host calls it {name}" if name else "")

    def key_provider() -> str:
        provider = measured()[1]
        if provider.key_provider != KMS:
            raise AttestationError(
                Code.KEY_PROVIDER_MISMATCH, f"keys come from {provider.key_provider[:64]}, not a KMS"
            )
        return f"a KMS, {to_hex(sha256(provider.key_provider_id))}"

    def app_chain() -> str:
        provider = measured()[1]
        if recording.app_chain is None:
            raise _Open("there is no app_cert_chain.pem")
        require_app_chain(
            recording.app_chain, app_id=provider.app_id, key_provider_id=provider.key_provider_id, now=now
        )
        return "the app's certificate leads to the KMS that the guest measured"

    def kms_root() -> str:
        provider = measured()[1]
        if kms is None:
            raise _Open(f"which KMS has the root {to_hex(policy.kms_root)}, its contract says: --kms FILE")
        require_bound_keys(kms, trust=trust)
        if kms.root != policy.kms_root or kms.certificate_key != provider.key_provider_id:
            raise AttestationError(
                Code.KEY_PROVIDER_MISMATCH,
                f"keys come from another KMS than the policy's {to_hex(policy.kms_root)}",
            )
        return f"the policy's, {to_hex(kms.root)}; its quote says to bind both of its keys"

    def machine() -> str:
        (rule,) = trust.device_rules
        return f"{to_hex(seen().device_id)} by {rule}; whether owners allow it, their list on chain says"

    rules: tuple[tuple[str, Callable[[], str]], ...] = (
        ("td", td),
        ("quote", quote),
        ("event-log", event_log),
        ("config-id", config_id),
        ("recipe", recipe),
        ("os-image", os_image),
        ("key-provider", key_provider),
        ("app-chain", app_chain),
        ("kms-root", kms_root),
        ("machine", machine),
    )
    return [_asked(name, rule) for name, rule in rules]


def _asked(name: str, rule: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", rule())
    except _Open as error:
        return Finding(name, "open", str(error))
    except AttestationError as error:
        return Finding(name, "refused", error.message, str(error.code))
