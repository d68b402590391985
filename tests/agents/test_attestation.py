# SPDX-License-Identifier: Apache-2.0
"""Verification of evidence: each refusal stands beside its passing twin,
from which it differs in one line."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gate_answers import APP_ID, COMPOSE, gate_answer

from sealroom.key_release import GateIdentity
from sealroom.keys import GATE_SIGNER_PURPOSE, KeyInterface
from sealroom_agents.attestation import (
    INTEL,
    DirectoryCollateral,
    TrustRoot,
    load_simulated_root,
    read_event_log,
    require_local_chain,
    verify_evidence,
    verify_gate,
    verify_quote,
)
from sealroom_agents.attestation.eventlog import MAX_EVENTS, MAX_LOG_BYTES
from sealroom_agents.attestation.quote import MAX_COLLATERAL_BYTES, MAX_QUOTE_BYTES
from sealroom_agents.errors import AttestationError, ConfigurationError
from sealroom_agents.facts import Evidence
from sealroom_agents.simulator import (
    DEBUG,
    SIMULATED_OS_IMAGE,
    Event,
    SimulatedEnclave,
    SimulatedPlatform,
    TcbState,
    edit_event,
    runtime_event,
    to_json,
)

NOW = 1_780_000_000
DAY_S = 86_400
COMPOSE_HASH = hashlib.sha256(COMPOSE).digest()
REPORT_DATA = bytes(range(64))
LOCAL_CHAIN = 31337

PLATFORM = SimulatedPlatform(b"\x51" * 32)
COLLATERAL = PLATFORM.collateral(NOW)
TRUST = PLATFORM.trust()

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "quotes"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="no real quotes in ../shared/vectors")


@pytest.fixture(scope="module")
def enclave() -> SimulatedEnclave:
    return SimulatedEnclave(PLATFORM, COMPOSE, APP_ID)


def verify(
    subject: SimulatedEnclave,
    *,
    event_log: str | None = None,
    collateral: dict[str, Any] | None = None,
    trust: TrustRoot = TRUST,
    now: int = NOW,
    report_data: bytes = REPORT_DATA,
    **options: Any,
) -> Evidence:
    """Verify the enclave's evidence; every argument deviates from the good case in one thing."""
    quote, log, _ = subject.evidence(REPORT_DATA, **options)
    return verify_evidence(
        quote,
        log if event_log is None else event_log,
        COLLATERAL if collateral is None else collateral,
        trust=trust,
        now=now,
        report_data=report_data,
    )


def refused(call: Callable[[], object]) -> str:
    """The code with which the call is refused."""
    with pytest.raises(AttestationError) as caught:
        call()
    return caught.value.code


# --- the passing twin ----------------------------------------------------------------------------


def test_good_evidence_proves_what_was_booted(enclave: SimulatedEnclave) -> None:
    evidence = verify(enclave)

    assert evidence.app_id == APP_ID
    assert evidence.compose_hash == COMPOSE_HASH
    assert evidence.os_image_hash == SIMULATED_OS_IMAGE
    assert evidence.device_id == PLATFORM.machine().device_id
    assert evidence.instance_id == enclave.instance_id
    assert (evidence.key_provider, evidence.key_provider_id) == ("kms", PLATFORM.kms.key_provider_id)
    assert (evidence.tcb_status, evidence.advisory_ids) == ("UpToDate", ())
    assert evidence.rt_mr == enclave.measurements.rt_mr
    assert evidence.mr_aggregated.hex() == enclave.tcb_info()["mr_aggregated"]
    assert evidence.report_data == REPORT_DATA
    assert evidence.simulated


def test_a_log_without_runtime_digests_verifies_too() -> None:
    """dstack leaves them out from 0.5.6 on; they are recomputed in any case."""
    stripped = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, strip_digests=True)

    assert verify(stripped).compose_hash == COMPOSE_HASH


# --- roots and chains ----------------------------------------------------------------------------


def test_quote_of_another_root_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-14."""
    assert verify(enclave).simulated
    assert refused(lambda: verify(enclave, trust=SimulatedPlatform(b"\x52" * 32).trust())) == "quote-invalid"


def test_simulated_quote_is_refused_under_intels_root(enclave: SimulatedEnclave) -> None:
    """AT-14."""
    assert refused(lambda: verify(enclave, trust=INTEL)) == "quote-invalid"


def test_simulated_root_is_for_local_chains_only() -> None:
    """AT-14."""
    require_local_chain(TRUST, LOCAL_CHAIN)
    require_local_chain(INTEL, 1)
    assert refused(lambda: require_local_chain(TRUST, 1)) == "simulated-root-off-local-chain"


def test_intels_root_cannot_be_replaced() -> None:
    """AT-14: a root from configuration never stands in for Intel's."""
    with pytest.raises(ConfigurationError, match="built in"):
        TrustRoot(kind="intel", root_der=PLATFORM.root_der)


@pytest.mark.parametrize("root", [None, b"", b"\x30\x00", b"\x00" * 5000])
def test_simulated_anchor_needs_a_root_that_says_so(root: bytes | None) -> None:
    with pytest.raises(ConfigurationError, match="SIMULATED"):
        TrustRoot(kind="simulated", root_der=root)


def test_root_file_makes_an_anchor(tmp_path: Path, enclave: SimulatedEnclave) -> None:
    (tmp_path / "root.der").write_bytes(PLATFORM.root_der)

    trust = load_simulated_root(tmp_path / "root.der")

    assert verify(enclave, trust=trust).compose_hash == COMPOSE_HASH
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_simulated_root(tmp_path / "nothing")


# --- the TD --------------------------------------------------------------------------------------


def test_debug_td_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-05."""
    assert refused(lambda: verify(enclave, td_attributes=DEBUG)) == "debug-td"


@pytest.mark.parametrize("bit", range(64))
def test_every_other_td_attribute_is_refused(enclave: SimulatedEnclave, bit: int) -> None:
    """AT-05: the allowed set is exactly bit 28, so its absence is refused like the presence of any other."""
    attributes = ((1 << 28) ^ (1 << bit)).to_bytes(8, "little")

    code = refused(lambda: verify(enclave, td_attributes=attributes))

    assert code == ("debug-td" if bit < 8 else "td-attributes")


@pytest.mark.parametrize(
    "options",
    [{"mr_signer_seam": b"\x01" * 48}, {"seam_attributes": b"\x01" + bytes(7)}],
    ids=["signer", "attributes"],
)
def test_tdx_module_of_anybody_else_is_refused(enclave: SimulatedEnclave, options: dict[str, bytes]) -> None:
    """AT-11."""
    assert refused(lambda: verify(enclave, **options)) == "td-attributes"


def test_quoting_enclave_of_another_vendor_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-11."""
    assert refused(lambda: verify(enclave, qe_vendor_id=bytes(16))) == "quote-invalid"


def test_only_listed_tdx_modules_are_accepted_where_there_is_a_list(enclave: SimulatedEnclave) -> None:
    """AT-11."""
    known, other = b"\x01" * 48, b"\x02" * 48
    trust = PLATFORM.trust(tdx_modules=frozenset({known}))

    assert verify(enclave, trust=trust, mr_seam=known)
    assert refused(lambda: verify(enclave, trust=trust, mr_seam=other)) == "td-attributes"


def test_version_5_quote_needs_a_grant_and_no_service_td(enclave: SimulatedEnclave) -> None:
    """AT-12, AT-13."""
    granted = PLATFORM.trust(allow_v5_quotes=True)

    assert verify(enclave, trust=granted, version=5).compose_hash == COMPOSE_HASH
    assert refused(lambda: verify(enclave, version=5)) == "quote-not-tdx"
    service = {"version": 5, "mr_service_td": b"\x01" * 48}
    assert refused(lambda: verify(enclave, trust=granted, **service)) == "td-attributes"


# --- TCB and collateral --------------------------------------------------------------------------

BAD_STATUSES = (
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
)


@pytest.mark.parametrize("part", ["status", "module_status", "qe_status"])
@pytest.mark.parametrize("status", BAD_STATUSES)
def test_only_an_up_to_date_tcb_passes(enclave: SimulatedEnclave, part: str, status: str) -> None:
    """AT-06: platform, TDX module and quoting enclave alike."""
    collateral = PLATFORM.collateral(NOW, state=TcbState(**{part: status}))

    assert refused(lambda: verify(enclave, collateral=collateral)) == "tcb-not-up-to-date"


def test_machine_below_every_tcb_level_is_refused() -> None:
    """AT-06."""
    old = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, PLATFORM.machine("old", cpu_svn=bytes(16)))

    assert refused(lambda: verify(old)) == "tcb-not-up-to-date"


def test_refusal_says_how_far_the_tcb_is_out_of_date(enclave: SimulatedEnclave) -> None:
    state = TcbState(status="OutOfDate", advisories=("INTEL-SA-00837",))

    with pytest.raises(AttestationError, match=r"OutOfDate, of level 20\d\d-\d\d-\d\d; .*INTEL-SA-00837"):
        verify(enclave, collateral=PLATFORM.collateral(NOW, state=state))


def test_rejected_advisory_is_refused_though_the_tcb_is_up_to_date(enclave: SimulatedEnclave) -> None:
    """AT-06."""
    collateral = PLATFORM.collateral(NOW, state=TcbState(advisories=("INTEL-SA-00837",)))
    strict = PLATFORM.trust(rejected_advisories=("INTEL-SA-00837",))

    assert verify(enclave, collateral=collateral).advisory_ids == ("INTEL-SA-00837",)
    assert refused(lambda: verify(enclave, collateral=collateral, trust=strict)) == "tcb-not-up-to-date"


def test_old_tcb_evaluation_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-07."""
    assert verify(enclave, trust=PLATFORM.trust(min_tcb_evaluation=17))
    later = PLATFORM.trust(min_tcb_evaluation=18)
    assert refused(lambda: verify(enclave, trust=later)) == "tcb-not-up-to-date"


@pytest.mark.parametrize("days", [-400, -1, 31])
def test_collateral_counts_between_its_dates_only(enclave: SimulatedEnclave, days: int) -> None:
    """AT-08."""
    assert verify(enclave, now=NOW + DAY_S)
    assert refused(lambda: verify(enclave, now=NOW + days * DAY_S)) == "quote-invalid"


def test_revoked_certificates_are_refused(enclave: SimulatedEnclave) -> None:
    """AT-09."""
    pck = PLATFORM.collateral(NOW, state=TcbState(revoked_pck=(enclave.machine.pck_serial,)))
    ca = PLATFORM.collateral(NOW, state=TcbState(pck_ca_revoked=True))

    assert refused(lambda: verify(enclave, collateral=pck)) == "quote-invalid"
    assert refused(lambda: verify(enclave, collateral=ca)) == "quote-invalid"


@pytest.mark.parametrize(
    "field", ["root_ca_crl", "pck_crl", "tcb_info", "qe_identity", "qe_identity_signature"]
)
def test_collateral_that_lacks_a_part_is_refused(enclave: SimulatedEnclave, field: str) -> None:
    """AT-09, AT-10."""
    lacking = {name: value for name, value in COLLATERAL.items() if name != field}

    assert refused(lambda: verify(enclave, collateral=lacking)) == "quote-invalid"
    assert refused(lambda: verify(enclave, collateral={**COLLATERAL, field: ""})) == "quote-invalid"


@pytest.mark.parametrize("part", ["tcb_info_issuer_chain", "qe_identity_issuer_chain"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BEGIN CERTIFICATE", "BEGIN CERTIFICATF"),
        ("-----END", "----END"),
        ("\n-----END", "\f-----END"),
        ("\n-----END", "A\n-----END"),
    ],
)
def test_certificates_that_the_verifier_would_read_past_are_refused(
    enclave: SimulatedEnclave, part: str, old: str, new: str
) -> None:
    """AT-10: even of the root, which it has itself. Without it the chain is whole."""
    chain = COLLATERAL[part]
    alone = chain[: chain.rindex("-----BEGIN")]
    assert verify(enclave, collateral={**COLLATERAL, part: alone}) == verify(enclave)
    broken = {**COLLATERAL, part: new.join(chain.rsplit(old, 1))}
    assert refused(lambda: verify(enclave, collateral=broken)) == "quote-invalid"


@pytest.mark.parametrize("text", ["tcb_info", "qe_identity"])
def test_edited_collateral_is_refused(enclave: SimulatedEnclave, text: str) -> None:
    """AT-10: QE identity and TCB info are signed."""
    edited = {**COLLATERAL, text: COLLATERAL[text].replace('"version":', '"version": ')}

    assert refused(lambda: verify(enclave, collateral=edited)) == "quote-invalid"


@pytest.mark.parametrize(
    ("hardware", "grant"),
    [
        ("dynamic_platform", "allow_dynamic_platform"),
        ("cached_keys", "allow_cached_keys"),
        ("smt_enabled", "allow_smt"),
    ],
)
def test_platform_decisions_are_refused_until_granted(hardware: str, grant: str) -> None:
    """AT-29, and the two decisions about multi-package platforms."""
    machine = PLATFORM.machine("shared", **{hardware: True})
    subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, machine)

    assert verify(subject, trust=PLATFORM.trust(**{grant: True})).compose_hash == COMPOSE_HASH
    assert refused(lambda: verify(subject)) == "device-not-allowed"


# --- sizes and malformed input -------------------------------------------------------------------


def test_oversized_evidence_is_refused_before_it_is_read(enclave: SimulatedEnclave) -> None:
    """AT-31."""
    quote, log, _ = enclave.evidence(REPORT_DATA)
    padded = quote.ljust(MAX_QUOTE_BYTES + 1, b"\0")
    fat = {**COLLATERAL, "tcb_info": "x" * MAX_COLLATERAL_BYTES}

    assert refused(lambda: verify_quote(padded, COLLATERAL, trust=TRUST, now=NOW)) == "evidence-too-large"
    assert refused(lambda: verify_quote(quote, fat, trust=TRUST, now=NOW)) == "evidence-too-large"
    assert refused(lambda: read_event_log(log.ljust(MAX_LOG_BYTES + 1))) == "evidence-too-large"
    many = json.dumps(json.loads(log)[:1] * (MAX_EVENTS + 1))
    assert refused(lambda: read_event_log(many)) == "evidence-too-large"


@pytest.mark.parametrize("quote", [b"", b"\x04\x00", bytes(700)], ids=["empty", "two bytes", "zeros"])
def test_something_that_is_no_quote_is_refused(quote: bytes) -> None:
    assert refused(lambda: verify_quote(quote, COLLATERAL, trust=TRUST, now=NOW)) == "quote-invalid"


@given(offset=st.integers(0, 631), bit=st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_no_bit_of_the_signed_body_can_be_changed(offset: int, bit: int) -> None:
    quote = bytearray(SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).quote(REPORT_DATA))
    quote[offset] ^= 1 << bit

    code = refused(lambda: verify_quote(bytes(quote), COLLATERAL, trust=TRUST, now=NOW))

    assert code in {"quote-invalid", "quote-not-tdx", "debug-td", "td-attributes", "tcb-not-up-to-date"}


@given(data=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_decoders_raise_nothing_but_our_error(data: bytes) -> None:
    assert refused(lambda: verify_quote(data, COLLATERAL, trust=TRUST, now=NOW)) == "quote-invalid"
    with suppress(AttestationError):  # "[]" is a log, of a machine that never booted
        read_event_log("[" + data.decode("latin-1"))


# --- report data and event log -------------------------------------------------------------------


def test_quote_made_for_another_exchange_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-03."""
    assert refused(lambda: verify(enclave, report_data=bytes(64))) == "report-data-mismatch"
    assert refused(lambda: verify(enclave, report_data=REPORT_DATA[:32])) == "report-data-mismatch"


def test_edited_payload_with_its_digest_kept_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-15: the forgery that the SDK's own replay accepts."""
    forged = edit_event(enclave.events, "compose-hash", payload=bytes(32))

    assert refused(lambda: verify(enclave, event_log=to_json(forged))) == "event-log-mismatch"


def test_edited_payload_without_digest_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-15."""
    forged = to_json(edit_event(enclave.events, "compose-hash", payload=bytes(32)), strip_digests=True)

    assert refused(lambda: verify(enclave, event_log=forged)) == "event-log-mismatch"


@pytest.mark.parametrize("edit", ["drop", "swap", "repeat", "boot"])
def test_log_that_does_not_replay_is_refused(enclave: SimulatedEnclave, edit: str) -> None:
    """AT-15."""
    events: list[Event] = list(enclave.events)
    if edit == "drop":
        del events[10]
    elif edit == "swap":
        events[4], events[5] = events[5], events[4]
    elif edit == "repeat":
        events.insert(10, events[10])
    else:
        events[1] = replace(events[1], digest=bytes(48))

    assert refused(lambda: verify(enclave, event_log=to_json(events))) == "event-log-mismatch"


@pytest.mark.parametrize("name", ["compose-hash", "app-id", "os-image-hash", "system-ready", "boot-mr-done"])
def test_second_claim_after_boot_condemns_the_log(enclave: SimulatedEnclave, name: str) -> None:
    """AT-16: an app can extend RTMR3 with any event, and this log does replay to the quote."""
    again = next(event for event in enclave.events if event.name == name)
    subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, extra_events=[again])

    assert refused(lambda: verify(subject)) == "event-log-duplicate"


def test_claim_only_after_system_ready_does_not_count(enclave: SimulatedEnclave) -> None:
    """AT-16."""
    runtime = [event for event in enclave.events if event.imr == 3]
    late = [event for event in runtime if event.name == "compose-hash"]
    early = [event for event in runtime if event.name != "compose-hash"]
    subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, events=early + late)

    assert refused(lambda: verify(subject)) == "event-log-mismatch"


def test_app_may_measure_events_of_its_own_after_boot() -> None:
    mine = [runtime_event("my-app.step", b"1"), runtime_event("my-app.step", b"2")]

    assert verify(SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, extra_events=mine)).compose_hash == COMPOSE_HASH


def test_name_measured_twice_before_boot_is_done_condemns_the_log(enclave: SimulatedEnclave) -> None:
    """AT-16."""
    runtime = [event for event in enclave.events if event.imr == 3]
    subject = SimulatedEnclave(
        PLATFORM, COMPOSE, APP_ID, events=[*runtime[:2], runtime_event("x"), runtime_event("x"), *runtime[2:]]
    )

    assert refused(lambda: verify(subject)) == "event-log-duplicate"


@pytest.mark.parametrize(
    "missing", ["app-id", "compose-hash", "os-image-hash", "key-provider", "system-ready"]
)
def test_log_without_a_claim_is_refused(enclave: SimulatedEnclave, missing: str) -> None:
    rest = [event for event in enclave.events if event.imr == 3 and event.name != missing]

    subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, events=rest)

    assert refused(lambda: verify(subject)) == "event-log-mismatch"


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("app-id", bytes(19)),
        ("app-id", bytes(21)),
        ("compose-hash", bytes(31)),
        ("instance-id", bytes(19)),
        ("os-image-hash", b""),
        ("system-ready", b"\0"),
        ("key-provider", b'{"name":"kms"}'),
        ("key-provider", b'{"name":"kms","id":"00","id":"01"}'),
        ("key-provider", b"kms"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_claim_of_wrong_shape_is_refused_though_it_replays(
    enclave: SimulatedEnclave, name: str, payload: bytes
) -> None:
    """AT-17."""
    runtime = [event for event in enclave.events if event.imr == 3]
    bent = [runtime_event(name, payload) if event.name == name else event for event in runtime]

    subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, events=bent)

    assert refused(lambda: verify(subject)) == "event-log-mismatch"


def test_name_that_swallows_a_separator_is_refused_though_it_replays(enclave: SimulatedEnclave) -> None:
    """AT-17: `app-id` + payload and `app-id:x` + shorter payload have one digest."""
    log = json.loads(enclave.event_log)
    app_id = next(event for event in log if event["event"] == "app-id")
    split = {**app_id, "event": "app-id:" + chr(APP_ID[0]), "event_payload": APP_ID[1:].hex()}

    forged = json.dumps([split if event is app_id else event for event in log])

    assert refused(lambda: verify(enclave, event_log=forged)) == "event-log-mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"imr": 4},
        {"imr": True},
        {"imr": 2},
        {"event_type": -1},
        {"event_type": 0x80000001},
        {"event_payload": "AA"},
        {"event_payload": None},
        {"digest": "00"},
        {"event": "a b"},
        {"event": "n" * 65},
    ],
    ids=str,
)
def test_event_of_another_format_is_refused(enclave: SimulatedEnclave, change: dict[str, Any]) -> None:
    """AT-18, and strictness in general."""
    log = json.loads(enclave.event_log)
    assert read_event_log(json.dumps(log)).registers() == enclave.measurements.rt_mr

    log[-1].update(change)

    assert refused(lambda: read_event_log(json.dumps(log))) == "event-log-mismatch"


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 100_000, '[{"imr":0,"imr":0}]', "[NaN]", "\ud800"])
def test_text_that_is_no_event_log_is_refused(text: str) -> None:
    assert refused(lambda: read_event_log(text)) == "event-log-mismatch"


def test_machine_that_booted_something_else_than_it_claims_is_refused(enclave: SimulatedEnclave) -> None:
    """AT-20: the claimed image is known, and the registers are another one's."""
    runtime = [event for event in enclave.events if event.imr == 3]
    liar = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, os_image=bytes(32), events=runtime)

    assert refused(lambda: verify(liar)) == "os-image-not-allowed"
    assert verify(liar, trust=PLATFORM.trust(os_images=())).os_image_hash == SIMULATED_OS_IMAGE


# --- gates ---------------------------------------------------------------------------------------


def gate_identity(
    subject: SimulatedEnclave, *, chain_id: int = LOCAL_CHAIN, purpose: str = GATE_SIGNER_PURPOSE
) -> GateIdentity:
    """The identity that an honest gate in this enclave publishes."""
    return gate_answer(
        PLATFORM, issued=NOW, subject=subject, chain_id=chain_id, purpose=purpose, collateral=COLLATERAL
    )


def test_gate_proves_its_keys(enclave: SimulatedEnclave) -> None:
    """AT-30."""
    identity = gate_identity(enclave)

    facts = verify_gate(identity.to_json(), trust=TRUST, now=NOW)

    assert facts == verify_gate(identity, trust=TRUST, now=NOW)
    assert facts.gate_root == hashlib.sha256(identity.root_public_key).digest()
    assert (facts.signer, facts.compose_hash, facts.app_id) == (identity.signer, COMPOSE_HASH, APP_ID)
    assert facts.policy_hash == PLATFORM.policy().hash
    assert facts.kms_root_fingerprint == hashlib.sha256(PLATFORM.kms.root_public_key).digest()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"root_public_key": b"\x08" * 1216}, "report-data-mismatch"),
        ({"kms_root_key": b"\x02" + b"\x11" * 32}, "report-data-mismatch"),
        ({"policy_hash": bytes(32)}, "report-data-mismatch"),
        ({"chain_id": 1337}, "report-data-mismatch"),
        ({"chain_id": 1}, "simulated-root-off-local-chain"),
        ({"app_id": bytes(20)}, "app-id-mismatch"),
        ({"compose_hash": bytes(32)}, "compose-hash-mismatch"),
        ({"compose": b""}, "compose-hash-mismatch"),
        ({"compose": COMPOSE + b" "}, "compose-hash-mismatch"),
        ({"policy": {}}, "platform-policy-mismatch"),
        ({"policy": PLATFORM.policy(emit="safe").document()}, "platform-policy-mismatch"),
        ({"signature_chain": (bytes(65), bytes(65))}, "key-provider-mismatch"),
        ({"event_log": "[]"}, "event-log-mismatch"),
        ({"quote": b""}, "quote-invalid"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_gate_that_shows_another_thing_than_it_attests_is_refused(
    enclave: SimulatedEnclave, change: dict[str, Any], code: str
) -> None:
    """AT-30."""
    identity = replace(gate_identity(enclave), **change)

    assert refused(lambda: verify_gate(identity, trust=TRUST, now=NOW)) == code


def test_gate_key_of_another_purpose_is_refused(enclave: SimulatedEnclave) -> None:
    identity = gate_identity(enclave, purpose="another-purpose")

    assert refused(lambda: verify_gate(identity, trust=TRUST, now=NOW)) == "key-provider-mismatch"


def test_gate_whose_keys_come_from_version_1_says_so_and_is_believed_by_that_chain_alone(
    enclave: SimulatedEnclave,
) -> None:
    """AT-30: no chain is read in two ways, and none is put together from both."""
    old = gate_identity(enclave)
    new = gate_answer(PLATFORM, issued=NOW, subject=enclave, keys=KeyInterface.V1, collateral=COLLATERAL)
    assert (old.to_json().get("keyInterface"), new.to_json()["keyInterface"]) == (None, "v1")
    for one in (old, new):
        assert verify_gate(one.to_json(), trust=TRUST, now=NOW).signer == one.signer
    (app_0, root), (app_1, _) = old.signature_chain, new.signature_chain
    for wrong in (
        replace(new, key_interface="v0"),
        replace(old, key_interface="v1"),
        replace(new, signature_chain=(app_0, root)),
        replace(old, signature_chain=(app_1, root)),
        replace(new, signature_chain=(root, app_1)),
    ):
        assert refused(lambda wrong=wrong: verify_gate(wrong, trust=TRUST, now=NOW)) == (
            "key-provider-mismatch"
        )


def test_gate_without_a_kms_is_refused() -> None:
    """AT-19."""
    local = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, key_provider="local-sgx")

    assert refused(lambda: verify_gate(gate_identity(local), trust=TRUST, now=NOW)) == "key-provider-mismatch"


def test_something_that_is_no_identity_is_refused(enclave: SimulatedEnclave) -> None:
    good = gate_identity(enclave).to_json()

    assert verify_gate(good, trust=TRUST, now=NOW)
    assert refused(lambda: verify_gate({**good, "more": 1}, trust=TRUST, now=NOW)) == "malformed"
    assert refused(lambda: verify_gate({}, trust=TRUST, now=NOW)) == "malformed"


# --- where collateral comes from -----------------------------------------------------------------


def test_folder_gives_the_collateral_of_its_platform(tmp_path: Path) -> None:
    platform = SimulatedPlatform.create(tmp_path)
    subject = SimulatedEnclave(platform, COMPOSE, APP_ID)
    collateral = DirectoryCollateral(tmp_path).fetch(subject.quote(REPORT_DATA))

    assert verify(subject, collateral=collateral, trust=platform.trust(), now=int(time.time()))


def test_missing_collateral_is_a_refusal(tmp_path: Path, enclave: SimulatedEnclave) -> None:
    quote = enclave.quote(REPORT_DATA)

    assert refused(lambda: DirectoryCollateral(tmp_path).fetch(quote)) == "collateral-unavailable"
    (tmp_path / "collateral.json").write_bytes(b"[]")
    assert refused(lambda: DirectoryCollateral(tmp_path).fetch(quote)) == "collateral-unavailable"


# --- real hardware -------------------------------------------------------------------------------

REAL_NOW = 1_751_000_000
"""A moment at which the collateral of the real quote was valid."""
REAL_GRANTS = replace(INTEL, allow_dynamic_platform=True, allow_cached_keys=True, allow_smt=True)


def real(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


@needs_vectors
def test_real_tdx_quote_verifies_under_intels_root() -> None:
    quote, collateral = real("tdx_quote"), json.loads(real("tdx_quote_collateral.json"))

    facts = verify_quote(quote, collateral, trust=REAL_GRANTS, now=REAL_NOW)

    assert facts.tcb_status == "UpToDate"
    assert not facts.simulated
    assert facts.report_data == quote[568:632]


@needs_vectors
@pytest.mark.parametrize("grant", ["allow_dynamic_platform", "allow_cached_keys", "allow_smt"])
def test_real_platform_needs_each_decision_granted(grant: str) -> None:
    """A real server is dynamic, keeps its keys with Intel and runs two threads a core: each is a decision."""
    quote, collateral = real("tdx_quote"), json.loads(real("tdx_quote_collateral.json"))
    lacking = replace(REAL_GRANTS, **{grant: False})

    assert (
        refused(lambda: verify_quote(quote, collateral, trust=lacking, now=REAL_NOW)) == "device-not-allowed"
    )


@needs_vectors
@pytest.mark.parametrize("now", [REAL_NOW - 365 * DAY_S, REAL_NOW + 60 * DAY_S])
def test_real_collateral_counts_between_its_dates_only(now: int) -> None:
    """AT-08."""
    quote, collateral = real("tdx_quote"), json.loads(real("tdx_quote_collateral.json"))

    assert refused(lambda: verify_quote(quote, collateral, trust=REAL_GRANTS, now=now)) == "quote-invalid"


@needs_vectors
def test_real_quote_is_refused_under_a_simulated_root() -> None:
    quote, collateral = real("tdx_quote"), json.loads(real("tdx_quote_collateral.json"))

    assert refused(lambda: verify_quote(quote, collateral, trust=TRUST, now=REAL_NOW)) == "quote-invalid"


@needs_vectors
def test_real_sgx_quote_is_refused() -> None:
    """AT-13: it verifies cryptographically, and is no TD."""
    quote, collateral = real("sgx_quote"), json.loads(real("sgx_quote_collateral.json"))

    assert (
        refused(lambda: verify_quote(quote, collateral, trust=REAL_GRANTS, now=REAL_NOW)) == "quote-not-tdx"
    )


@pytest.fixture(scope="module")
def real_report() -> dict[str, str]:
    report: dict[str, str] = json.loads(real("dstack-quote-report.json"))
    return report


@needs_vectors
def test_real_event_log_replays_to_its_quote(real_report: dict[str, str]) -> None:
    quote = dcap_qvl.Quote.parse(bytes.fromhex(real_report["quote"])).report

    registers = read_event_log(real_report["event_log"]).registers()

    assert registers == (quote.rt_mr0, quote.rt_mr1, quote.rt_mr2, quote.rt_mr3)


@needs_vectors
def test_forged_payload_in_a_real_event_log_is_refused(real_report: dict[str, str]) -> None:
    """AT-15."""
    log = json.loads(real_report["event_log"])
    next(event for event in log if event["event"] == "compose-hash")["event_payload"] = "00" * 32

    assert refused(lambda: read_event_log(json.dumps(log))) == "event-log-mismatch"


@needs_vectors
def test_real_log_of_an_older_guest_lacks_a_claim(real_report: dict[str, str]) -> None:
    """It was made before dstack measured the OS image, so it proves too little for us."""
    log = read_event_log(real_report["event_log"])

    with pytest.raises(AttestationError, match="os-image-hash is missing"):
        log.claims()
