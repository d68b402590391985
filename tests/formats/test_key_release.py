# SPDX-License-Identifier: Apache-2.0
"""The release protocol: messages, transcripts, report data, and the keys that pass."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, to_base64
from sealroom.errors import KeyReleaseError
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import (
    Challenge,
    DatasetOffer,
    EvidenceMessage,
    FinalityReply,
    FinalityRequest,
    GateIdentity,
    GrantReply,
    Hello,
    KeyRelease,
    LeaseReply,
    LeaseRequest,
    Opened,
    Refusal,
    SeenRevocation,
    WatchReport,
    check_kms_chain,
    datasets_root,
    evidence_digest,
    gate_report_data,
    gpu_nonce,
    open_key,
    report_data,
    seal_key,
    sign_challenge,
    sign_finalized,
    sign_lease,
    transcript_0,
    transcript_1,
    verify_challenge,
    verify_grant,
    verify_lease,
)
from sealroom.keys import KemPrivateKey, address_of
from tests.formats.worked import (
    CHAIN_ID,
    CHALLENGE,
    CONSORTIUM,
    DATA_KEY,
    ENCLAVE_KEM,
    ENCLAVE_SIGNER,
    GATE_SIGNER,
    GRANT,
    GRANT_SIGNATURE,
    HELLO,
    NOW,
    QUOTE,
    flip,
    gate_identity,
    kms_signature_chain,
)


class Message(Protocol):
    def encode(self) -> bytes: ...


T0 = transcript_0(HELLO, CHALLENGE)
SIGNER = address_of(ENCLAVE_SIGNER)
T1 = transcript_1(
    T0, kem_key=ENCLAVE_KEM.public, signer=SIGNER, gate_signer=address_of(GATE_SIGNER), grant=GRANT
)
MESSAGES: list[Any] = [
    gate_identity(),
    HELLO,
    replace(HELLO, gpu=GpuDemand(kind="h100", count=2, mode="passthrough")),
    CHALLENGE,
    EvidenceMessage(
        nonce=CHALLENGE.nonce,
        kem_key=ENCLAVE_KEM.public,
        signer=SIGNER,
        quote=QUOTE,
        event_log="[]",
        gpu_evidence=b"",
        datasets=(DatasetOffer(header=b"{}", wrap=b"{}"),),
    ),
    GrantReply(
        grant=GRANT,
        grant_signature=GRANT_SIGNATURE,
        keys=(
            KeyRelease(
                dataset=b"\x0a" * 32, index_digest=b"\x01" * 32, key_commitment=b"\x02" * 32, ciphertext=b"x"
            ),
        ),
        collateral={"tcb_info": "{}"},
        gpu_material=b"rim",
        opened=Opened(tx=b"\x03" * 32, block=9),
    ),
    Refusal(Code.COMPOSE_HASH_MISMATCH, "another recipe", {"composeHash": "0x01"}, {"composeHash": "0x02"}),
    Refusal(Code.REVOKED, "hospital-C has revoked"),
    sign_lease(HELLO.run_id, 1, chain_id=CHAIN_ID, consortium=CONSORTIUM, private_key=ENCLAVE_SIGNER),
    LeaseReply(lease_seconds=30, until=NOW, opening_final=True, signature=GRANT_SIGNATURE),
    WatchReport(
        observed=NOW,
        seen=(CONSORTIUM, "0x" + "d2" * 20),
        revoked=(SeenRevocation(consortium=CONSORTIUM, block=1, block_hash=b"\x01" * 32),),
    ),
    FinalityRequest(consortium=CONSORTIUM, numbers=(7, 9)),
    FinalityReply(
        blocks=(
            sign_finalized(
                7, b"\x01" * 32, chain_id=CHAIN_ID, consortium=CONSORTIUM, private_key=GATE_SIGNER
            ),
        )
    ),
]
NAMES = [f"{type(message).__name__}-{place}" for place, message in enumerate(MESSAGES)]


def test_a_hello_speaks_of_gpus_only_where_the_recipe_demands_some() -> None:
    """GP-04: so what was said before there were GPUs is what is said without them, to the byte."""
    assert "gpu" not in HELLO.to_json()
    asks = replace(HELLO, gpu=GpuDemand(kind="h100", count=8, mode="protected-pcie"))
    assert asks.to_json() == {
        **HELLO.to_json(), "gpu": {"kind": "h100", "count": 8, "mode": "protected-pcie"}
    }  # fmt: skip
    assert transcript_0(asks, CHALLENGE) != T0


@pytest.mark.parametrize(
    "gpu",
    ["none", None, "h100", {}, {"kind": "h100", "count": 0, "mode": "passthrough"},
     {"kind": "h100", "count": True, "mode": "passthrough"}, {"kind": "h100", "count": 1, "mode": ""},
     {"kind": "h100", "count": 1}, {"kind": "h100", "count": 1, "mode": "passthrough", "driver": "1"}],
)  # fmt: skip
def test_another_demand_in_a_hello_is_malformed(gpu: Any) -> None:
    with pytest.raises(KeyReleaseError) as caught:
        Hello.parse(canonical({**HELLO.to_json(), "gpu": gpu}))
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_messages_read_back(message: Any) -> None:
    assert type(message).parse(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_messages_with_a_field_more_or_less_are_malformed(message: Any) -> None:
    value = json.loads(message.encode())
    optional = {"seen", "pinned", "gpu"}
    for changed in [{**value, "more": 1}, *({k: v for k, v in value.items() if k != name} for name in value)]:
        if set(value) - set(changed) <= optional and "more" not in changed:
            continue
        with pytest.raises(KeyReleaseError) as caught:
            type(message).parse(canonical(changed))
        assert caught.value.code in ("malformed", "unsupported-version")


@pytest.mark.parametrize(
    "kind",
    [GateIdentity, Hello, Challenge, EvidenceMessage, LeaseRequest, WatchReport, FinalityRequest],
)
def test_another_version_is_told_before_all_that_it_lacks(kind: Any) -> None:
    with pytest.raises(KeyReleaseError) as caught:
        kind.parse(canonical({"version": kind.version + 1}))
    assert caught.value.code == Code.UNSUPPORTED_VERSION


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_decoders_raise_only_our_error(message: Any, data: st.DataObject) -> None:
    body = message.encode()
    changed = flip(body, data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7)))
    with suppress(KeyReleaseError):
        type(message).parse(changed)


@pytest.mark.parametrize(
    "kind, limit",
    [
        (Hello, 64),
        (Challenge, 64),
        (FinalityRequest, 64),
        (FinalityReply, 64),
        (LeaseRequest, 64),
        (EvidenceMessage, 12 * 1024),
        (GateIdentity, 2048),
    ],
)
def test_messages_are_bounded(kind: Any, limit: int) -> None:
    """AT-31."""
    with pytest.raises(KeyReleaseError) as caught:
        kind.parse(b" " * (limit * 1024 + 1))
    assert caught.value.code == "too-large"


def test_a_challenge_lives_for_sixty_seconds_at_most() -> None:
    """AT-01."""
    long = {**CHALLENGE.to_json(), "expires": CHALLENGE.issued + 61}
    assert Challenge.parse(CHALLENGE.encode())
    with pytest.raises(KeyReleaseError):
        Challenge.parse(canonical(long))


def test_the_gate_s_challenge_is_its_own() -> None:
    gate = address_of(GATE_SIGNER)
    assert verify_challenge(HELLO, CHALLENGE, signer=gate) == T0
    forged = sign_challenge(
        HELLO, nonce=CHALLENGE.nonce, issued=NOW, expires=NOW + 60, private_key=ENCLAVE_SIGNER
    )
    for hello, challenge in [
        (HELLO, forged),
        (HELLO, replace(CHALLENGE, nonce=bytes(32))),
        (HELLO, replace(CHALLENGE, expires=NOW + 59)),
        (replace(HELLO, run_id=bytes(32)), CHALLENGE),
        (replace(HELLO, compose_hash=bytes(32)), CHALLENGE),
        (replace(HELLO, consortium="0x" + "00" * 20), CHALLENGE),
        (replace(HELLO, epsilon_micro=1), CHALLENGE),
        (replace(HELLO, delta_pico=0), CHALLENGE),
    ]:
        with pytest.raises(KeyReleaseError) as caught:
            verify_challenge(hello, challenge, signer=gate)
        assert caught.value.code == "challenge-forged"


def test_report_data_covers_each_part_of_what_was_said() -> None:
    """AT-03: one bit in any of them gives other report data."""
    arguments: dict[str, Any] = {"kem_key": ENCLAVE_KEM.public, "signer": SIGNER, "gpu_evidence": b"gpu"}
    seen = {report_data(T0, **arguments)}
    transcripts = [
        transcript_0(replace(HELLO, run_id=flip(HELLO.run_id, 0)), CHALLENGE),
        transcript_0(replace(HELLO, chain_id=1), CHALLENGE),
        transcript_0(replace(HELLO, consortium="0x" + "c2" * 20), CHALLENGE),
        transcript_0(replace(HELLO, compose_hash=flip(HELLO.compose_hash, 0)), CHALLENGE),
        transcript_0(replace(HELLO, epsilon_micro=1), CHALLENGE),
        transcript_0(replace(HELLO, delta_pico=0), CHALLENGE),
        transcript_0(HELLO, replace(CHALLENGE, nonce=flip(CHALLENGE.nonce, 31))),
        transcript_0(HELLO, replace(CHALLENGE, issued=NOW + 1)),
        transcript_0(HELLO, replace(CHALLENGE, expires=NOW + 1)),
    ]
    seen.update(report_data(transcript, **arguments) for transcript in transcripts)
    seen.add(report_data(T0, **{**arguments, "kem_key": flip(ENCLAVE_KEM.public, 1215)}))
    seen.add(report_data(T0, **{**arguments, "signer": address_of(GATE_SIGNER)}))
    seen.add(report_data(T0, **{**arguments, "gpu_evidence": b"gpv"}))

    assert len(seen) == 13 and {len(value) for value in seen} == {64}


def test_the_gpu_nonce_is_of_the_same_transcript() -> None:
    nonce = gpu_nonce(T0, kem_key=ENCLAVE_KEM.public, signer=SIGNER)
    assert len(nonce) == 32
    assert nonce != gpu_nonce(flip(T0, 0), kem_key=ENCLAVE_KEM.public, signer=SIGNER)


RELEASE: dict[str, Any] = {
    "transcript": T1,
    "owner": "hospital-A",
    "dataset_id": b"\x0a" * 32,
    "header": b"\x1a" * 32,
    "key_commitment": b"\x02" * 32,
}


@pytest.mark.parametrize(
    "change",
    [
        {"transcript": flip(T1, 63)},
        {"owner": "hospital-B"},
        {"dataset_id": b"\x0b" * 32},
        {"header": b"\x1b" * 32},
        {"key_commitment": b"\x03" * 32},
    ],
)
def test_a_released_key_opens_for_its_run_and_dataset_only(change: dict[str, Any]) -> None:
    """CE-08, AT-04."""
    sealed = seal_key(DATA_KEY.reveal(), kem_key=ENCLAVE_KEM.public, **RELEASE)
    assert open_key(ENCLAVE_KEM, sealed, **RELEASE).reveal() == DATA_KEY.reveal()
    with pytest.raises(KeyReleaseError) as caught:
        open_key(ENCLAVE_KEM, sealed, **{**RELEASE, **change})
    assert caught.value.code == "release-does-not-open"


def test_a_released_key_opens_in_no_other_enclave() -> None:
    """AT-04."""
    sealed = seal_key(DATA_KEY.reveal(), kem_key=ENCLAVE_KEM.public, **RELEASE)
    with pytest.raises(KeyReleaseError):
        open_key(KemPrivateKey.generate(), sealed, **RELEASE)


def test_a_release_of_something_else_than_a_key_is_refused() -> None:
    """CE-12."""
    sealed = seal_key(b"\x01" * 31, kem_key=ENCLAVE_KEM.public, **RELEASE)
    with pytest.raises(KeyReleaseError):
        open_key(ENCLAVE_KEM, sealed, **RELEASE)


GRANT_CHANGES: tuple[dict[str, Any], ...] = (
    {"epsilon_micro": 1},
    {"delta_pico": 0},
    {"block_hash": bytes(32)},
    {"lease_seconds": 31},
)


def test_the_grant_is_part_of_the_transcript() -> None:
    arguments: dict[str, Any] = {
        "kem_key": ENCLAVE_KEM.public,
        "signer": SIGNER,
        "gate_signer": address_of(GATE_SIGNER),
    }
    for change in GRANT_CHANGES:
        assert transcript_1(T0, grant=replace(GRANT, **change), **arguments) != T1


def test_the_gates_signer_is_part_of_the_transcript() -> None:
    """AT-04, OP-10: a relay that puts its own signer in the gate's place gets keys that do not open."""
    told = transcript_1(T0, kem_key=ENCLAVE_KEM.public, signer=SIGNER, gate_signer=SIGNER, grant=GRANT)
    sealed = seal_key(b"\x01" * 32, kem_key=ENCLAVE_KEM.public, **RELEASE)
    assert open_key(ENCLAVE_KEM, sealed, **RELEASE).reveal() == b"\x01" * 32
    with pytest.raises(KeyReleaseError) as caught:
        open_key(ENCLAVE_KEM, sealed, **{**RELEASE, "transcript": told})
    assert caught.value.code == "release-does-not-open"


def test_a_grant_by_anyone_else_is_forged() -> None:
    """CE-12."""
    arguments: dict[str, Any] = {"chain_id": CHAIN_ID, "consortium": CONSORTIUM}
    assert verify_grant(GRANT, GRANT_SIGNATURE, signer=address_of(GATE_SIGNER), **arguments)
    for grant, signer in [
        (replace(GRANT, epsilon_micro=2_000_000), address_of(GATE_SIGNER)),
        (replace(GRANT, delta_pico=0), address_of(GATE_SIGNER)),
        (GRANT, SIGNER),
    ]:
        with pytest.raises(KeyReleaseError) as caught:
            verify_grant(grant, GRANT_SIGNATURE, signer=signer, **arguments)
        assert caught.value.code == "grant-forged"


def test_a_lease_is_renewed_by_its_enclave_and_counter_only() -> None:
    arguments: dict[str, Any] = {"chain_id": CHAIN_ID, "consortium": CONSORTIUM}
    request = sign_lease(HELLO.run_id, 1, private_key=ENCLAVE_SIGNER, **arguments)
    verify_lease(request, signer=SIGNER, **arguments)
    for changed, signer in [
        (replace(request, counter=2), SIGNER),
        (replace(request, run_id=bytes(32)), SIGNER),
        (request, address_of(GATE_SIGNER)),
    ]:
        with pytest.raises(KeyReleaseError) as caught:
            verify_lease(changed, signer=signer, **arguments)
        assert caught.value.code == "lease-forged"


def test_the_gate_s_keys_lead_to_its_kms() -> None:
    """AT-30."""
    identity = gate_identity()
    check_kms_chain(identity)
    for changed in [
        replace(identity, app_id=b"\x9b" * 20),
        replace(identity, signature_chain=kms_signature_chain(b"\x9b" * 20)),
        replace(identity, kms_root_key=identity.signer_key),
        replace(identity, signature_chain=(bytes(65), bytes(65))),
    ]:
        with pytest.raises(KeyReleaseError) as caught:
            check_kms_chain(changed)
        assert caught.value.code == "kms-chain-broken"


@pytest.mark.parametrize(
    "change",
    [{"gateRoot": "0x" + "00" * 32}, {"signer": "0x" + "00" * 20}, {"signerKey": "0x05" + "00" * 32}],
)
def test_a_gate_identity_cannot_contradict_itself(change: dict[str, str]) -> None:
    value = gate_identity().to_json()
    assert GateIdentity.from_json(value)
    with pytest.raises(KeyReleaseError):
        GateIdentity.from_json({**value, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"policy": []},
        {"policy": None},
        {"policy": {"root": "x" * (64 * 1024)}},
        {"policy": {"root": "\ud800"}},
        {"compose": "{}"},
        {"compose": to_base64(bytes(256 * 1024 + 1))},
    ],
    ids=["list", "null", "too long", "no text", "no base64", "too large"],
)
def test_what_a_gate_carries_is_bounded(change: dict[str, Any]) -> None:
    """AT-31: policy and app-compose, which an enclave hands on as they are."""
    value = gate_identity().to_json()
    with pytest.raises(KeyReleaseError) as caught:
        GateIdentity.from_json({**value, **change})
    assert caught.value.code == "malformed"


def test_a_policy_of_any_version_is_carried() -> None:
    """An enclave is not of the release of each policy that owners will adopt."""
    largest = {"root": "x" * (64 * 1024 - len('{"root":""}'))}
    for policy in ({}, {"version": 99, "more": [1, {"deep": None}]}, largest):
        carried = replace(gate_identity(), policy=policy)
        assert GateIdentity.parse(carried.encode()) == carried
        assert carried.policy_digest == sha256(canonical(policy))


@pytest.mark.parametrize("said", ["v0", "v2", "V1", "", None, 1, True, ["v1"]])
def test_only_version_1_of_dstacks_interface_is_named(said: object) -> None:
    """AT-30: there is one way to write each identity, and an unknown one is refused."""
    value = gate_identity().to_json()
    assert "keyInterface" not in value
    with pytest.raises(KeyReleaseError) as caught:
        GateIdentity.from_json({**value, "keyInterface": said})
    assert caught.value.code == "malformed"
    named = replace(gate_identity(), key_interface="v1")
    assert GateIdentity.from_json(named.to_json()) == named
    with pytest.raises(KeyReleaseError) as caught:
        check_kms_chain(named)
    assert caught.value.code == "kms-chain-broken"


def test_the_gate_s_report_data_binds_its_keys() -> None:
    identity = gate_identity()
    arguments: dict[str, Any] = {
        "chain_id": identity.chain_id,
        "root_public_key": identity.root_public_key,
        "signer": identity.signer,
        "kms_root_key": identity.kms_root_key,
        "policy_hash": identity.policy_hash,
    }
    seen = {gate_report_data(**arguments)}
    for change in (
        {"chain_id": 1},
        {"root_public_key": flip(identity.root_public_key, 0)},
        {"signer": SIGNER},
        {"kms_root_key": flip(identity.kms_root_key, 32)},
        {"policy_hash": flip(identity.policy_hash, 31)},
    ):
        seen.add(gate_report_data(**{**arguments, **change}))
    assert len(seen) == 6


def test_the_datasets_root_is_of_ids_and_files_in_their_order() -> None:
    first, second = (b"\x01" * 32, b"\x11" * 32), (b"\x02" * 32, b"\x12" * 32)
    root = datasets_root([first, second])
    assert root == sha256(b"".join((*first, *second)))
    assert len({root, datasets_root([second, first]), datasets_root([(first[0], second[1]), second])}) == 3
    with pytest.raises(KeyReleaseError):
        datasets_root([(first[0], first[1][:31])])


def test_a_grants_evidence_is_quote_event_log_and_what_is_of_gpus_each_for_itself() -> None:
    """AT-36: what stands in one of them cannot stand in another."""
    parts: dict[str, Any] = {
        "quote": QUOTE,
        "event_log": "[]",
        "gpu_evidence": b"gpu",
        "gpu_material": b"rim",
    }
    moved: list[dict[str, Any]] = [
        {"quote": flip(QUOTE, 0)},
        {"event_log": "[ ]"},
        {"gpu_evidence": b""},
        {"quote": QUOTE + b"[", "event_log": "]"},
        {"event_log": "[]gpu", "gpu_evidence": b""},
        {"gpu_material": b""},
        {"gpu_evidence": b"gpurim", "gpu_material": b""},
    ]
    seen = {evidence_digest(**{**parts, **change}) for change in ({}, *moved)}
    assert len(seen) == 8 and {len(digest) for digest in seen} == {32}


def test_a_message_of_version_1_is_refused_by_its_version() -> None:
    for message in (gate_identity(), HELLO, CHALLENGE):
        value = {**json.loads(message.encode()), "version": 1}
        with pytest.raises(KeyReleaseError) as caught:
            type(message).parse(canonical(value))
        assert caught.value.code == Code.UNSUPPORTED_VERSION
