# SPDX-License-Identifier: Apache-2.0
"""Verify a TDX quote: signatures, collateral, TCB by dcap-qvl's strict policy,
then what the policy leaves open.

Each step may only refuse; a quote is accepted when all have passed:

1. sizes (AT-31)
2. type: a TD quote of an accepted version by Intel's quoting enclave (AT-11, AT-13)
3. the TD itself: attributes, TDX module, service TDs (AT-05, AT-11, AT-12)
4. signatures, certificates, revocation, TCB status (AT-06 to AT-10, AT-14), over the same bytes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dcap_qvl

from sealroom.codes import Code
from sealroom.platform_policy import PPID, USER_DATA
from sealroom_agents.attestation.pem import require_whole
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

MAX_QUOTE_BYTES = 16 * 1024
"""Largest quote; real ones have about 5 KiB."""
MAX_COLLATERAL_BYTES = 256 * 1024
"""Largest collateral, as JSON; real ones have about 25 KiB."""

MAX_READ = 16
"""Collaterals that are kept as dcap-qvl has read them."""

INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
ECDSA_P256 = 2
"""Attestation key type of the only signature that TDX quotes have today."""
TEE_TDX = 0x81

TD_ATTRIBUTES = bytes.fromhex("0000001000000000")
"""The only attributes a TD may have: bit 28, SEPT_VE_DISABLE. All others are debug, profiling, migration,
protection keys, key locker, performance counters, or reserved."""

USER_DATA_PLACE = slice(28, 48)
"""The 20 bytes of the quote's header in which the quoting enclave names the platform."""

UP_TO_DATE = "UpToDate"

PCK_CHAIN = "pck_certificate_chain"
CHAINS = ("tcb_info_issuer_chain", "qe_identity_issuer_chain", PCK_CHAIN)
"""Members of collateral that are certificates."""

_TCB_WORDS = ("TCB status", "TCB level")
"""What dcap-qvl says when a TCB status is so bad that it verifies under no policy."""


@dataclass(frozen=True)
class QuoteFacts:
    """What a verified quote proves; registers are 48 bytes each."""

    tcb_status: str
    """Worst status of platform, TDX module and quoting enclave; always `UpToDate` under the strict policy."""
    advisory_ids: tuple[str, ...]
    """Security advisories that apply nevertheless."""
    tcb_evaluation: int
    """tcbEvaluationDataNumber of the collateral."""
    ppid: bytes
    """Platform provisioning id, 16 bytes."""
    device_id: bytes
    """dstack's name for the machine, by the first of the rules that count."""
    other_devices: tuple[bytes, ...]
    """Its names by the other rules that count."""
    td_attributes: bytes
    """Attributes of the TD, 8 bytes."""
    mr_seam: bytes
    """Measurement of the TDX module."""
    mr_td: bytes
    """Measurement of the virtual firmware."""
    mr_config_id: bytes
    """Configuration that the host gave at creation."""
    mr_owner: bytes
    """Owner that the host gave at creation."""
    mr_owner_config: bytes
    """Owner's configuration that the host gave at creation."""
    rt_mr: tuple[bytes, bytes, bytes, bytes]
    """RTMR0 to RTMR3."""
    report_data: bytes
    """The guest's 64 bytes."""
    simulated: bool
    """Whether the root was a simulated one."""


def verify_quote(quote: bytes, collateral: Mapping[str, Any], *, trust: TrustRoot, now: int) -> QuoteFacts:
    """Verify `quote` with `collateral` (JSON form of `dcap_qvl.QuoteCollateralV3`) at `now` (unix seconds).

    Raises `AttestationError` with one of the codes `evidence-too-large`, `quote-invalid`, `quote-not-tdx`,
    `tcb-not-up-to-date`, `debug-td`, `td-attributes`, `device-not-allowed`.
    """
    material = _collateral(collateral)
    parsed = _parse(quote)
    _require_tdx(parsed, trust)
    _require_production_td(parsed.report, trust)
    _require_certificates(parsed, collateral)
    claims = _authenticate(quote, material, trust, now)
    return _facts(quote, claims, trust)


def said_report_data(quote: bytes, *, trust: TrustRoot) -> bytes:
    """The 64 bytes that a quote says its guest gave. No signature is verified; type and attributes are.

    Cheap, so it comes before anything that asks others. Raises `AttestationError`: `evidence-too-large`,
    `quote-invalid`, `quote-not-tdx`, `debug-td`, `td-attributes`.
    """
    parsed = _parse(quote)
    _require_tdx(parsed, trust)
    _require_production_td(parsed.report, trust)
    return bytes(parsed.report.report_data)


def said_facts(quote: bytes, *, trust: TrustRoot) -> QuoteFacts:
    """What a quote says of itself, for people; no signature is verified, type and attributes are judged.

    Its TCB is empty, since only collateral tells it. Raises `AttestationError` as `said_report_data`.
    """
    parsed = _parse(quote)
    _require_tdx(parsed, trust)
    _require_production_td(parsed.report, trust)
    try:
        ppid = bytes(parsed.pck_extension().ppid)
    except (ValueError, AttributeError, TypeError) as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the quote has no certificates: {error}") from error
    report = parsed.report
    by_rule = device_ids(quote, ppid)
    first, *others = (by_rule[rule] for rule in trust.device_rules)
    return QuoteFacts(
        tcb_status="",
        advisory_ids=(),
        tcb_evaluation=0,
        ppid=ppid,
        device_id=first,
        other_devices=tuple(others),
        td_attributes=bytes(report.td_attributes),
        mr_seam=bytes(report.mr_seam),
        mr_td=bytes(report.mr_td),
        mr_config_id=bytes(report.mr_config_id),
        mr_owner=bytes(report.mr_owner),
        mr_owner_config=bytes(report.mr_owner_config),
        rt_mr=(
            bytes(report.rt_mr0),
            bytes(report.rt_mr1),
            bytes(report.rt_mr2),
            bytes(report.rt_mr3),
        ),
        report_data=bytes(report.report_data),
        simulated=trust.is_simulated,
    )


def said_registers(quote: bytes) -> dict[str, bytes]:
    """The registers that a quote says, 48 bytes each, by name. Nothing is verified.

    Raises `AttestationError`: `evidence-too-large`, `quote-invalid`.
    """
    report = _parse(quote).report
    names = {
        "mrSeam": "mr_seam", "mrTd": "mr_td",
        "rtMr0": "rt_mr0", "rtMr1": "rt_mr1", "rtMr2": "rt_mr2", "rtMr3": "rt_mr3",
    }  # fmt: skip
    return {name: bytes(getattr(report, member)) for name, member in names.items()}


def _collateral(collateral: Mapping[str, Any]) -> dcap_qvl.QuoteCollateralV3:
    texts = tuple(collateral.items())
    # The same collateral serves for days, and reading it takes half as long as verifying a quote with it.
    return _read(texts) if all(type(text) is str for _, text in texts) else _read.__wrapped__(texts)


@lru_cache(MAX_READ)
def _read(members: tuple[tuple[str, Any], ...]) -> dcap_qvl.QuoteCollateralV3:
    try:
        text = json.dumps(dict(members))
    except (TypeError, ValueError, RecursionError) as error:
        raise AttestationError(Code.QUOTE_INVALID, "the collateral is not JSON") from error
    if len(text) > MAX_COLLATERAL_BYTES:
        raise AttestationError(
            Code.EVIDENCE_TOO_LARGE, f"the collateral has {len(text)} bytes, at most {MAX_COLLATERAL_BYTES}"
        )
    try:
        collateral = dcap_qvl.QuoteCollateralV3.from_json(text)
    except ValueError as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the collateral is malformed: {error}") from error
    for name in CHAINS:
        if isinstance(chain := dict(members).get(name), str):
            require_whole(chain, f"the collateral's {name}")
    return collateral


def _parse(quote: bytes) -> dcap_qvl.Quote:
    if len(quote) > MAX_QUOTE_BYTES:
        raise AttestationError(
            Code.EVIDENCE_TOO_LARGE, f"the quote has {len(quote)} bytes, at most {MAX_QUOTE_BYTES}"
        )
    try:
        return dcap_qvl.Quote.parse(quote)
    except ValueError as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the quote is malformed: {error}") from error


def _require_tdx(quote: dcap_qvl.Quote, trust: TrustRoot) -> None:
    header = quote.header
    if not quote.is_tdx() or header.tee_type != TEE_TDX:
        raise AttestationError(Code.QUOTE_NOT_TDX, f"a {quote.quote_type()} quote where a TDX quote must be")
    report = type(quote.report).__name__
    accepted = {(4, "PyTdReport10")} | ({(5, "PyTdReport15")} if trust.allow_v5_quotes else set())
    if (header.version, report) not in accepted:
        raise AttestationError(Code.QUOTE_NOT_TDX, f"a TDX quote of version {header.version} is not accepted")
    if header.attestation_key_type != ECDSA_P256:
        raise AttestationError(
            Code.QUOTE_NOT_TDX, f"attestation key type {header.attestation_key_type} is unknown"
        )
    if header.qe_vendor_id != INTEL_QE_VENDOR_ID:
        raise AttestationError(Code.QUOTE_INVALID, "the quoting enclave's vendor is not Intel")


def _require_production_td(report: Any, trust: TrustRoot) -> None:
    """Judge the TD before its signature is checked: that can only refuse,
    and so gives each reason its own code."""
    attributes = bytes(report.td_attributes)
    # The whole first byte is "TD under debug": bit 0 and seven reserved bits,
    # any of which may come to mean worse.
    if attributes[0] != 0:
        raise AttestationError(Code.DEBUG_TD, "the TD can be debugged by its host")
    if attributes != TD_ATTRIBUTES:
        raise AttestationError(
            Code.TD_ATTRIBUTES,
            f"TD attributes are {attributes.hex()}, and must be {TD_ATTRIBUTES.hex()} (SEPT_VE_DISABLE only)",
        )
    if any(report.mr_signer_seam) or any(report.seam_attributes):
        raise AttestationError(Code.TD_ATTRIBUTES, "the TDX module is not Intel's production module")
    if trust.tdx_modules and bytes(report.mr_seam) not in trust.tdx_modules:
        raise AttestationError(
            Code.TD_ATTRIBUTES, f"TDX module {bytes(report.mr_seam).hex()[:16]}… is not a known one"
        )
    if any(getattr(report, "mr_service_td", b"")):
        raise AttestationError(Code.TD_ATTRIBUTES, "a service TD is bound to the TD, and could migrate it")


def _require_certificates(quote: dcap_qvl.Quote, collateral: Mapping[str, Any]) -> None:
    if collateral.get(PCK_CHAIN) is not None:
        return  # it takes the place of the quote's own, and was checked with the others
    try:
        chain = bytes(quote.cert_chain_pem_bytes()).decode()
    except (ValueError, AttributeError, TypeError) as error:
        raise AttestationError(Code.QUOTE_INVALID, f"the quote has no certificates: {error}") from error
    require_whole(chain, "the quote")


def _authenticate(
    quote: bytes, collateral: dcap_qvl.QuoteCollateralV3, trust: TrustRoot, now: int
) -> dict[str, Any]:
    verifier = dcap_qvl.QuoteVerifier(trust.root_der)
    policy = (
        dcap_qvl.QuotePolicy.strict(now)
        .allow_dynamic_platform(trust.allow_dynamic_platform)
        .allow_cached_keys(trust.allow_cached_keys)
        .allow_smt(trust.allow_smt)
        .min_tcb_eval_data_number(trust.min_tcb_evaluation)
        .reject_advisories(list(trust.rejected_advisories))
    )
    try:
        claims = verifier.verify_with_policy(quote, collateral, now, policy)
    except ValueError as error:
        raise _reason(verifier, quote, collateral, trust, now, error) from error
    verified: dict[str, Any] = json.loads(claims.to_json())
    _require_up_to_date(verified)
    return verified


def _require_up_to_date(claims: dict[str, Any]) -> None:
    """Every part must be up to date by itself.

    dcap-qvl 0.7.0 folds the parts into one status, but leaves out a quoting enclave that needs
    configuration: its strict policy then says `UpToDate`.
    """
    platform, enclave = claims["platform"]["tcb_level"], claims["qe"]["tcb_level"]
    for what, status, level in (
        ("the quoting enclave", enclave["tcbStatus"], enclave),
        ("the platform's TCB", platform["tcbStatus"], platform),
        ("TCB", claims["tcb"]["status"], platform),
    ):
        if status != UP_TO_DATE:
            advisories = ", ".join(claims["tcb"]["advisory_ids"]) or "none named"
            raise AttestationError(
                Code.TCB_NOT_UP_TO_DATE,
                f"{what} is {status}, of level {level['tcbDate'][:10]}; advisories: {advisories}",
            )


def _reason(
    verifier: dcap_qvl.QuoteVerifier,
    quote: bytes,
    collateral: dcap_qvl.QuoteCollateralV3,
    trust: TrustRoot,
    now: int,
    cause: ValueError,
) -> AttestationError:
    """Why the strict policy refused. dcap-qvl says it in prose only, so ask
    again without a policy and compare."""
    text = str(cause).removeprefix("Verification failed: ")
    try:
        verified = verifier.verify_with_policy(quote, collateral, now, dcap_qvl.QuotePolicy.claims_only(now))
    except ValueError:
        about_tcb = any(words in text for words in _TCB_WORDS)
        return AttestationError(Code.TCB_NOT_UP_TO_DATE if about_tcb else Code.QUOTE_INVALID, text)
    claims = json.loads(verified.to_json())
    try:
        _require_up_to_date(claims)
    except AttestationError as error:
        return error
    pck = claims["platform"]["pck"]
    ungranted = [name for name, granted in _platform_grants(trust) if not granted and pck[name] != "False"]
    if ungranted:
        return AttestationError(
            Code.DEVICE_NOT_ALLOWED, f"the platform has {', '.join(ungranted)}, which is not granted here"
        )
    return AttestationError(Code.TCB_NOT_UP_TO_DATE, text)


def _platform_grants(trust: TrustRoot) -> tuple[tuple[str, bool], ...]:
    return (
        ("dynamic_platform", trust.allow_dynamic_platform),
        ("cached_keys", trust.allow_cached_keys),
        ("smt_enabled", trust.allow_smt),
    )


def device_ids(quote: bytes, ppid: bytes) -> dict[str, bytes]:
    """dstack's names for the machine of a verified quote, 32 bytes, by rule: SHA-256 of its PPID (from 0.5.6
    on), and of the user data in the quote's header (before)."""
    return {
        PPID: hashlib.sha256(ppid).digest(),
        USER_DATA: hashlib.sha256(quote[USER_DATA_PLACE]).digest(),
    }


def _facts(quote: bytes, claims: dict[str, Any], trust: TrustRoot) -> QuoteFacts:
    report: dict[str, Any] = claims["report"].get("TD10") or claims["report"]["TD15"]["base"]
    ppid = bytes(claims["platform"]["pck"]["ppid"])
    by_rule = device_ids(quote, ppid)
    first, *others = (by_rule[rule] for rule in trust.device_rules)

    def register(name: str) -> bytes:
        return bytes.fromhex(report[name])

    return QuoteFacts(
        tcb_status=claims["tcb"]["status"],
        advisory_ids=tuple(claims["tcb"]["advisory_ids"]),
        tcb_evaluation=claims["tcb"]["eval_data_number"],
        ppid=ppid,
        device_id=first,
        other_devices=tuple(others),
        td_attributes=register("td_attributes"),
        mr_seam=register("mr_seam"),
        mr_td=register("mr_td"),
        mr_config_id=register("mr_config_id"),
        mr_owner=register("mr_owner"),
        mr_owner_config=register("mr_owner_config"),
        rt_mr=(register("rt_mr0"), register("rt_mr1"), register("rt_mr2"), register("rt_mr3")),
        report_data=register("report_data"),
        simulated=trust.is_simulated,
    )
