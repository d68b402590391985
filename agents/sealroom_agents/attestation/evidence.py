# SPDX-License-Identifier: Apache-2.0
"""From a quote, its collateral and its event log to the facts about one machine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from sealroom.codes import Code
from sealroom.platform_policy import Image, OsImage
from sealroom_agents.attestation.config_id import require_config_id
from sealroom_agents.attestation.dev_images import require_production_image
from sealroom_agents.attestation.eventlog import Claims, EventLog, read_event_log
from sealroom_agents.attestation.lite import is_booted
from sealroom_agents.attestation.quote import QuoteFacts, said_report_data, verify_quote
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError
from sealroom_agents.facts import Evidence

REPORT_DATA_BYTES = 64


def verify_evidence(
    quote: bytes,
    event_log: str,
    collateral: Mapping[str, Any],
    *,
    trust: TrustRoot,
    now: int,
    report_data: bytes,
) -> Evidence:
    """Verify everything that a guest hands in about itself, and return what it proves.

    `report_data` is what the quote must bind, 64 bytes; `now` is in unix seconds, and must not come from the
    guest. Raises `AttestationError` with one of the gate's refusal codes, in the order of the checks: those
    of `verify_quote`, `report-data-mismatch`, those of `read_event_log`, `event-log-mismatch` where the log
    does not replay to the registers, `event-log-duplicate`, those of `require_config_id`,
    `os-image-dev`, `os-image-not-allowed`.

    Whether the app, its compose hash, machine and key provider are the right ones is for the caller to judge.
    """
    facts = verify_quote(quote, collateral, trust=trust, now=now)
    _require_equal(facts.report_data, report_data)
    return replayed(facts, event_log, trust=trust)


def require_made_for(quote: bytes, *, trust: TrustRoot, report_data: bytes) -> None:
    """What can be seen of a quote without asking anybody: that it says to be of an accepted TD, and made for
    this exchange. It proves nothing, and can only refuse.

    A stranger's quote gets no further, so it causes no request for collateral. Raises `AttestationError`:
    those of `said_report_data`, `report-data-mismatch`.
    """
    _require_equal(said_report_data(quote, trust=trust), report_data)


def _require_equal(seen: bytes, report_data: bytes) -> None:
    if len(report_data) != REPORT_DATA_BYTES or not hmac.compare_digest(seen, report_data):
        raise AttestationError(
            Code.REPORT_DATA_MISMATCH, "the quote was made for something else than this exchange"
        )


def replayed(facts: QuoteFacts, event_log: str, *, trust: TrustRoot) -> Evidence:
    """What a verified quote and its event log prove together:
    the half of `verify_evidence` that reads the log."""
    log = read_event_log(event_log, versions=trust.event_log_versions)
    require_replay(facts, log)
    claims = log.claims()
    require_config_id(facts.mr_config_id, claims, trust)
    image = known_image(facts, log, trust)
    return Evidence(
        app_id=claims.app_id,
        compose_hash=claims.compose_hash,
        instance_id=claims.instance_id,
        os_image_hash=claims.os_image_hash if image is None else image.digest,
        key_provider=claims.key_provider,
        key_provider_id=claims.key_provider_id,
        device_id=facts.device_id,
        mr_td=facts.mr_td,
        rt_mr=facts.rt_mr,
        mr_system=_mr_system(facts, claims),
        mr_aggregated=_mr_aggregated(facts),
        tcb_status=facts.tcb_status,
        advisory_ids=facts.advisory_ids,
        report_data=facts.report_data,
        simulated=facts.simulated,
        other_devices=facts.other_devices,
    )


def require_replay(facts: QuoteFacts, log: EventLog) -> None:
    """That the log replays to the registers of the quote: RTMR3 always, and the others unless firmware's
    events are left out, as dstack's newer answers do. Of those nothing is taken but the registers.

    Raises `AttestationError` `event-log-mismatch`.
    """
    for number, (seen, made) in enumerate(zip(facts.rt_mr, log.registers(), strict=True)):
        if seen != made and (number == 3 or not log.is_stripped):
            raise AttestationError(
                Code.EVENT_LOG_MISMATCH, f"the event log does not replay to RTMR{number} of the quote"
            )


def known_image(facts: QuoteFacts, log: EventLog, trust: TrustRoot) -> Image | None:
    """The image of `trust` that the machine booted, by its registers alone; `None` where `trust` names none.

    The event `os-image-hash` decides nothing: dstack takes it from the KMS, and it may name another image.
    Raises `AttestationError`: `os-image-dev`, `os-image-not-allowed`.
    """
    require_production_image(facts.rt_mr)
    if not trust.os_images:
        return None
    for image in trust.os_images:
        if isinstance(image, OsImage):
            booted = image.is_booted(facts.mr_td, facts.rt_mr)
        else:
            booted = is_booted(image, facts.mr_td, facts.rt_mr, log.acpi())
        if booted:
            return image
    raise AttestationError(
        Code.OS_IMAGE_NOT_ALLOWED,
        f"the machine booted no known OS image: MRTD {facts.mr_td.hex()[:16]}…, RTMR0 to RTMR2 "
        + ", ".join(f"{register.hex()[:16]}…" for register in facts.rt_mr[:3]),
    )


def _mr_system(facts: QuoteFacts, claims: Claims) -> bytes:
    """dstack's `mr_system`: firmware, kernel, command line and key provider, without the app."""
    info = claims.key_provider_info
    provider = hashlib.sha256(info).digest() if info else bytes(32)
    return hashlib.sha256(facts.mr_td + b"".join(facts.rt_mr[:3]) + provider).digest()


def _mr_aggregated(facts: QuoteFacts) -> bytes:
    """dstack's `mr_aggregated`: all registers, and what the host gave at creation when any of that is set."""
    host_given = facts.mr_config_id + facts.mr_owner + facts.mr_owner_config
    registers = facts.mr_td + b"".join(facts.rt_mr)
    return hashlib.sha256(registers + (host_given if any(host_given) else b"")).digest()
