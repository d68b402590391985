# SPDX-License-Identifier: Apache-2.0
"""The whole release protocol over HTTP: simulated quotes under dcap-qvl, a real chain, real wraps.

Each refusal stands next to its twin: `test_an_enclave_that_keeps_every_rule_gets_its_keys` is the good case,
and every other test differs from it by one thing.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any

import pytest
from tests.gate_world import GATE_RECIPE, OWNERS, RECIPE, TOKEN, Enclave, World, granted, refused
from tests.lens import tells
from tests.local_chain import account
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy, honest

from sealroom import typed
from sealroom.encoding import sha256, to_hex
from sealroom.errors import KeyMaterialError, WrapError
from sealroom.key_release import (
    Hello,
    LeaseReply,
    WatchReport,
    datasets_root,
    open_key,
    report_data,
    transcript_1,
    verify_grant,
    verify_renewal,
)
from sealroom.keys import Secret
from sealroom.model import Opening
from sealroom.platform_policy import PlatformPolicy
from sealroom.sealed import UNWRAPPED, make_wrap, open_wrap
from sealroom_agents.attestation import verify_gate
from sealroom_agents.chain.contracts import interface
from sealroom_agents.errors import ConfigurationError, GateError
from sealroom_agents.gate import release, spending
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.audit import verify as verify_audit
from sealroom_agents.gate.service import CHALLENGE_LIFE_S
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.gate.wraps import OpenedKey, open_wraps
from sealroom_agents.simulator import (
    DEBUG,
    SEPT_VE_DISABLE,
    SimulatedPlatform,
    edit_event,
    runtime_event,
    to_json,
)

pytestmark = pytest.mark.anvil

# --- the good way -------------------------------------------------------------------------------


def test_the_gate_proves_who_it_is(approved: World) -> None:
    """AT-30."""
    identity = approved.identity()
    facts = verify_gate(identity, trust=approved.platform.trust(), now=approved.clock())
    assert facts.gate_root == identity.gate_root
    assert facts.compose_hash == sha256(GATE_RECIPE)
    assert facts.kms_root_key == approved.platform.kms.root_public_key


def test_an_enclave_that_keeps_every_rule_gets_its_keys(approved: World) -> None:
    enclave = Enclave(approved)
    transcript, challenge = enclave.hello()
    assert challenge.expires - challenge.issued <= 60
    reply = granted(enclave.send(enclave.evidence(transcript, challenge)))

    grant, signer = reply.grant, approved.identity().signer
    grant_hash = verify_grant(
        grant, reply.grant_signature, signer=signer, chain_id=31337, consortium=approved.room.consortium
    )
    assert (grant.run_id, grant.study, grant.compose_hash) == (enclave.run_id, approved.study, sha256(RECIPE))
    assert (grant.enclave_signer, grant.kem_key_hash) == (enclave.address, sha256(enclave.kem.public))
    assert (grant.transcript, grant.epsilon_micro) == (sha256(transcript), 1_500_000)
    assert grant.delta_pico == 400_000

    secret = transcript_1(
        transcript, kem_key=enclave.kem.public, signer=enclave.address, gate_signer=signer, grant=grant
    )
    for sealed, released in zip(approved.sealed, reply.keys, strict=True):
        key = open_key(
            enclave.kem,
            released.ciphertext,
            transcript=secret,
            owner=OWNERS[sealed.owner],
            dataset_id=released.dataset,
            header=sealed.header.digest,
            key_commitment=released.key_commitment,
        )
        assert key.reveal() == sealed.key.reveal()

    (run,) = approved.chain.reader().study_history(approved.room.consortium).runs
    assert (run.run_id, run.opening.run.grant_hash, run.opening.run.enclave_signer) == (
        enclave.run_id, grant_hash, enclave.address
    )  # fmt: skip
    assert (run.opening.run.epsilon_micro, run.opening.run.delta_pico) == (
        grant.epsilon_micro,
        grant.delta_pico,
    )
    assert ("0x" + reply.opened.tx.hex(), reply.opened.block) == (run.at.tx, run.at.block)


def test_the_audit_log_tells_of_grants_and_refusals_and_shows_tampering(approved: World) -> None:
    """RE-12."""
    granted(Enclave(approved).ask())
    refused(Enclave(approved, recipe=RECIPE + b" ").ask(), "compose-hash-mismatch")
    log = approved.state / "audit.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "booking", "granted", "refused"]
    assert verify_audit(log).sequence == 4
    for sealed in approved.sealed:
        assert sealed.key.reveal().hex() not in log.read_text()
    first, second, *_ = log.read_bytes().splitlines(keepends=True)
    for tampered in (first.replace(b"started", b"refused") + second, second, second + first):
        log.write_bytes(tampered)
        with pytest.raises(GateError, match="line 1"):
            verify_audit(log)


def test_each_grant_names_the_audit_logs_last_entry_and_its_hash_is_on_chain(approved: World) -> None:
    """RE-12: who holds an envelope can show that the log was cut since."""
    refused(Enclave(approved, recipe=RECIPE + b" ").ask(), "compose-hash-mismatch")
    before = verify_audit(approved.state / "audit.jsonl")

    grant = granted(Enclave(approved).ask()).grant

    assert grant.audit_head == before.digest != bytes(32)
    (run,) = approved.chain.reader().study_history(approved.room.consortium).runs
    entries = [json.loads(line) for line in (approved.state / "audit.jsonl").read_text().splitlines()]
    (booking,) = [entry for entry in entries if entry["event"] == "booking"]
    assert booking["previous"] == to_hex(before.digest) and to_hex(run.opening.note) == booking["digest"]
    assert run.opening.run.grant_hash == typed.digest(
        typed.grant(grant, chain_id=31337, consortium=approved.room.consortium)
    )


def test_a_gate_that_was_killed_while_it_wrote_its_audit_log_starts_again(approved: World) -> None:
    granted(Enclave(approved).ask())
    approved.stop_gate()
    log = approved.state / "audit.jsonl"
    with log.open("ab") as file:
        file.write(log.read_bytes()[:100])

    approved.start_gate()

    refused(Enclave(approved, recipe=RECIPE + b" ").ask(), "compose-hash-mismatch")
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == [
        "started", "booking", "granted", "torn-entry-set-aside", "started", "refused",
    ]  # fmt: skip


def test_keys_stay_where_they_are_while_the_audit_log_cannot_be_written(approved: World) -> None:
    """OP-05, RE-09: the answer names the trouble by its code, and says nothing of the disk."""
    granted(Enclave(approved, epsilon_micro=1, delta_pico=1).ask())
    log = approved.state / "audit.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])

    answer = Enclave(approved, epsilon_micro=1, delta_pico=1).ask()

    assert answer.status_code == 503
    assert answer.json() == {"code": "audit-cut", "message": "the gate cannot serve at the moment"}
    log.write_bytes(whole)
    granted(Enclave(approved, epsilon_micro=1, delta_pico=1).ask())


def test_a_second_gate_on_the_same_state_is_refused(approved: World) -> None:
    """Two writers would break the audit log's chain."""
    sessions = Sessions.open(approved.state)
    with pytest.raises(GateError) as error:
        AuditLog(approved.state / "audit.jsonl", sessions, clock=approved.clock)
    sessions.close()
    assert error.value.code == "state-in-use"
    approved.start_gate()


# --- what is measured ---------------------------------------------------------------------------


def test_a_recipe_changed_by_one_byte_is_refused_with_both_hashes_and_its_wrap_stays_shut(
    approved: World,
) -> None:
    changed = RECIPE.replace(b"renal", b"renak")
    body = refused(Enclave(approved, recipe=changed).ask(), "compose-hash-mismatch")
    assert body["seen"] == {"composeHash": to_hex(sha256(changed))}
    assert body["pinned"] == {"composeHash": to_hex(sha256(RECIPE))}
    # And the key would not come out either: the owner wrapped it for the other recipe.
    wrap = make_wrap(approved.sealed[0].key, header=approved.sealed[0].header, recipient=approved.context())
    root = approved.gate._root.root_key
    open_wrap(wrap, root, context=approved.context())
    with pytest.raises(WrapError) as error:
        open_wrap(wrap, root, context=approved.context(compose_hash=sha256(changed)))
    assert error.value.code == "wrap-does-not-open"


def test_a_quote_from_another_root_is_refused(approved: World) -> None:
    """AT-14."""
    stranger = SimulatedPlatform(b"\x08" * 32)
    refused(Enclave(approved, platform=stranger).ask(), "quote-invalid")


def test_a_debug_machine_is_refused(approved: World) -> None:
    """AT-05."""
    attributes = bytes(a | b for a, b in zip(SEPT_VE_DISABLE, DEBUG, strict=True))
    refused(Enclave(approved).ask(quote={"td_attributes": attributes}), "debug-td")


def test_an_event_log_with_an_edited_payload_and_its_digest_kept_is_refused(approved: World) -> None:
    """AT-15."""
    enclave = Enclave(approved, recipe=RECIPE + b" ")
    forged = to_json(edit_event(enclave.machine.events, "compose-hash", payload=sha256(RECIPE)))
    enclave.recipe = RECIPE + b" "
    refused(enclave.ask(event_log=forged), "event-log-mismatch")


def test_a_second_compose_hash_after_boot_is_refused(approved: World) -> None:
    """AT-16."""
    extra = {"extra_events": [runtime_event("compose-hash", sha256(RECIPE))]}
    refused(Enclave(approved, options=extra).ask(), "event-log-duplicate")


def test_another_machine_os_image_or_key_provider_is_refused(approved: World) -> None:
    """AT-19, AT-20, AT-27, CH-22."""
    refused(Enclave(approved, options={"machine": "machine-2"}).ask(), "device-not-allowed")
    refused(Enclave(approved, options={"os_image": sha256(b"dev image")}).ask(), "os-image-not-allowed")
    refused(Enclave(approved, options={"key_provider": "local-sgx"}).ask(), "key-provider-mismatch")
    refused(Enclave(approved, options={"key_provider_id": b"other"}).ask(), "key-provider-mismatch")


def test_a_machine_that_booted_for_another_app_is_refused(approved: World) -> None:
    """AT-19."""
    enclave = Enclave(approved)
    good, approved.room = approved.room, replace(approved.room, app="0x" + "77" * 20)
    other = enclave.machine
    approved.room = good
    transcript, challenge = enclave.hello()
    data = report_data(transcript, kem_key=enclave.kem.public, signer=enclave.address, gpu_evidence=b"")
    quote, log, _ = other.evidence(data)
    message = enclave.evidence(transcript, challenge, quote={})
    refused(enclave.send(replace(message, quote=quote, event_log=log)), "app-id-mismatch")


@pytest.mark.parametrize("changed", ["kem_key", "signer", "gpu_evidence", "nonce"])
def test_report_data_that_binds_something_else_is_refused(approved: World, changed: str) -> None:
    """AT-03: every part of the transcript that a relay could swap."""
    enclave, other = Enclave(approved), Enclave(approved)
    transcript, challenge = enclave.hello()
    _, other_challenge = other.hello()
    value: Any = {
        "kem_key": other.kem.public,
        "signer": other.address,
        "gpu_evidence": b"x",
        "nonce": other_challenge.nonce,
    }[changed]
    message = enclave.evidence(transcript, challenge, **{changed: value})
    refused(enclave.send(message), "report-data-mismatch")
    assert message.quote not in approved.collateral.asked  # a stranger's quote costs no request


def test_gpu_evidence_opens_nothing(approved: World) -> None:
    """GP-01: nobody verifies it, so it is no evidence, also where the quote binds it."""
    enclave = Enclave(approved)
    transcript, challenge = enclave.hello()
    bound = report_data(transcript, kem_key=enclave.kem.public, signer=enclave.address, gpu_evidence=b"x")
    quote, log, _ = enclave.machine.evidence(bound)
    message = enclave.evidence(transcript, challenge, gpu_evidence=b"x")
    refused(enclave.send(replace(message, quote=quote, event_log=log)), "gpu-evidence-unverified")


# --- nonces -------------------------------------------------------------------------------------


def test_a_nonce_is_good_once_also_with_other_quote_bytes_and_after_a_restart(approved: World) -> None:
    """AT-01, AT-02."""
    enclave = Enclave(approved)
    transcript, challenge = enclave.hello()
    message = enclave.evidence(transcript, challenge)
    granted(enclave.send(message))
    refused(enclave.send(message), "nonce-replayed", 409)
    refused(enclave.send(replace(message, quote=message.quote + b"\0")), "nonce-replayed", 409)
    approved.start_gate()
    refused(enclave.send(message), "nonce-unknown")


def test_a_nonce_is_used_up_by_evidence_that_fails(approved: World) -> None:
    """AT-01: marked before anything is verified."""
    enclave = Enclave(approved)
    transcript, challenge = enclave.hello()
    message = enclave.evidence(transcript, challenge)
    refused(enclave.send(replace(message, quote=bytes(5000))), "quote-invalid")
    refused(enclave.send(message), "nonce-replayed", 409)


def test_a_nonce_that_is_foreign_or_expired_is_refused(approved: World) -> None:
    enclave = Enclave(approved)
    transcript, challenge = enclave.hello()
    message = enclave.evidence(transcript, challenge)
    refused(enclave.send(replace(message, nonce=secrets.token_bytes(32))), "nonce-unknown")
    approved.clock.ahead = CHALLENGE_LIFE_S + 2
    refused(enclave.send(message), "nonce-expired")


def test_a_run_id_gets_keys_once(approved: World) -> None:
    enclave = Enclave(approved)
    granted(enclave.ask())
    hello = Hello(
        run_id=enclave.run_id,
        chain_id=31337,
        consortium=approved.room.consortium,
        compose_hash=sha256(RECIPE),
        epsilon_micro=1_500_000,
        delta_pico=0,
        guarantee="by-reading",
    )
    answer = approved.http.post("/v1/hello", content=hello.encode())
    refused(answer, "unknown-run-id-reused", 409)


# --- what the owners decided --------------------------------------------------------------------


def test_fewer_than_k_approvals_are_refused_with_their_number(world: World) -> None:
    world.approve(0)
    body = refused(Enclave(world).ask(), "not-approved")
    assert body["message"] == "1 of 2 approvals"
    world.approve(1)
    granted(Enclave(world).ask())


def test_the_owner_of_a_used_dataset_must_be_among_the_approvers(world: World) -> None:
    """CH-17."""
    world.approve(0, 2)
    body = refused(Enclave(world).ask(), "owner-not-approved")
    assert "hospital-B" in body["message"]
    world.approve(1)
    granted(Enclave(world).ask())


def test_an_approval_counts_only_when_its_block_is_final(world: World) -> None:
    """CH-01."""
    world.chain.approve(world.room, world.study, 0, 1)
    refused(Enclave(world).ask(), "not-finalized")
    world.chain.finalize()
    granted(Enclave(world).ask())


def test_an_approval_that_a_reorganisation_dropped_does_not_count(world: World) -> None:
    """CH-01."""
    world.approve(0)
    world.chain.approve(world.room, world.study, 1)
    refused(Enclave(world).ask(), "not-finalized")
    world.chain.reorg(1)
    world.chain.finalize()
    refused(Enclave(world).ask(), "not-approved")


def test_a_revocation_counts_in_the_block_it_is_in_and_says_who_and_why(approved: World) -> None:
    """CH-02."""
    granted(Enclave(approved).ask())
    approved.chain.revoke(approved.room, 2, "consent withdrawn")
    body = refused(Enclave(approved).ask(), "revoked")
    assert body["message"] == "hospital-C revoked: consent withdrawn"
    approved.chain.finalize()
    refused(Enclave(approved).ask(), "revoked")


def test_a_revocation_that_a_reorganisation_dropped_counts_until_the_chain_decides(approved: World) -> None:
    """CH-02: also over a restart; a final block as new as the one that showed it lifts it."""
    approved.chain.revoke(approved.room, 2)
    refused(Enclave(approved).ask(), "revoked")
    approved.chain.reorg(1)
    assert approved.chain.state(approved.room).revokers == ()
    refused(Enclave(approved).ask(), "revoked")
    approved.start_gate()
    refused(Enclave(approved).ask(), "revoked")
    approved.chain.finalize()
    granted(Enclave(approved).ask())


def test_a_revocation_between_decision_and_release_is_caught(approved: World) -> None:
    """CH-06: the owner revokes in the block after the run was booked."""
    opener = approved.gate._bookings._opener

    class Racing:
        def book(self, *order: Any, note: bytes) -> Any:
            booked = list(opener.book(*order, note=note))
            approved.chain.revoke(approved.room, 0, "in time")
            return booked

    approved.gate._bookings._opener = Racing()
    refused(Enclave(approved).ask(), "revoked")


@pytest.mark.parametrize("revoked", [False, True], ids=["released", "refused"])
def test_no_data_key_stays_in_the_gate(
    approved: World, monkeypatch: pytest.MonkeyPatch, revoked: bool
) -> None:
    """OP-01: whatever the ledger and the owners say, once the wraps were opened."""
    opened: list[OpenedKey] = []

    def seen(*arguments: Any, **options: Any) -> list[OpenedKey]:
        opened.extend(open_wraps(*arguments, **options))
        assert all(key.data_key.reveal() for key in opened)
        if revoked:
            approved.chain.revoke(approved.room, 0, "in time")
        return opened

    monkeypatch.setattr(release, "open_wraps", seen)
    answer = Enclave(approved).ask()
    assert answer.status_code == (403 if revoked else 200)
    assert len(opened) == 2
    for key in opened:
        with pytest.raises(KeyMaterialError, match="wiped"):
            key.data_key.reveal()


def test_a_revocation_just_before_the_booking_is_told_as_one(approved: World) -> None:
    """CH-06: the ledger refuses, and the reason is the revocation."""
    opener = approved.gate._bookings._opener

    class Racing:
        def book(self, *order: Any, note: bytes) -> Any:
            approved.chain.revoke(approved.room, 0, "in time")
            return opener.book(*order, note=note)

    approved.gate._bookings._opener = Racing()
    refused(Enclave(approved).ask(), "revoked")


def test_after_a_revocation_a_new_quorum_with_the_revoker_opens_the_room_again(approved: World) -> None:
    approved.chain.revoke(approved.room, 2)
    refused(Enclave(approved).ask(), "revoked")
    approved.study = approved.chain.draft(
        approved.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in approved.sealed]
    )
    approved.approve(0, 1)
    refused(Enclave(approved).ask(), "revoked")
    approved.approve(2)
    granted(Enclave(approved).ask())


def test_a_gate_that_the_owners_replaced_refuses(approved: World) -> None:
    """AT-34."""
    approved.adopt(gate_root=b"\x01" * 32, gate_signer=account(9), gate_compose=b"\x02" * 32)
    approved.chain.finalize()
    refused(Enclave(approved).ask(), "gate-not-registered")


def test_a_gate_starts_only_with_the_platform_policy_that_owners_adopted(approved: World) -> None:
    """AT-35: another one takes a new platform. Its identity, under its quote, names the one it has."""
    adopted = approved.policy
    assert approved.identity().policy_hash == adopted.hash
    assert PlatformPolicy.parse(approved.http.get("/v1/policy").content) == adopted
    approved.policy = replace(adopted, tcb=replace(adopted.tcb, smt=True))
    approved.start_gate()  # it is told of no consortium, and released nothing: it serves, and grants nothing
    refused(Enclave(approved).ask(), "platform-policy-mismatch")
    with pytest.raises(ConfigurationError) as error:
        approved.start_gate(consortia=frozenset({approved.room.consortium}))
    assert error.value.code == "platform-policy-mismatch"
    assert error.value.hint is not None and "new platform" in error.value.hint

    lenient = approved.policy.hash
    approved.start_gate()
    approved.adopt()
    approved.chain.finalize()
    approved.start_gate(consortia=frozenset({approved.room.consortium}))
    assert approved.identity().policy_hash == lenient


def test_whoever_once_got_keys_cannot_keep_a_gate_from_starting(approved: World) -> None:
    """AT-35: anybody may create a consortium, and adopt with it what he likes. It gets nothing more."""
    enclave = Enclave(approved, epsilon_micro=1, delta_pico=1)
    granted(enclave.ask())
    approved.policy = replace(approved.policy, tcb=replace(approved.policy.tcb, cached_keys=True))
    approved.start_gate()
    refused(enclave.renew(1), "platform-policy-mismatch")
    refused(Enclave(approved, epsilon_micro=1, delta_pico=1).ask(), "platform-policy-mismatch")
    with pytest.raises(ConfigurationError, match="adopted this gate with platform policy"):
        approved.start_gate(consortia=frozenset({approved.room.consortium}))


def test_a_gate_releases_no_key_for_a_guarantee_that_its_policy_does_not_accept(approved: World) -> None:
    """DP-22."""
    approved.policy = replace(approved.policy, guarantees=("by-construction",))
    approved.start_gate()
    approved.adopt()
    approved.study = approved.chain.draft(
        approved.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in approved.sealed]
    )
    approved.approve(0, 1)
    approved.heartbeat()
    refused(Enclave(approved).ask(), "guarantee-not-accepted")
    granted(Enclave(approved, guarantee="by-construction").ask())


def test_a_gate_whose_kms_is_not_the_policys_does_not_start(approved: World) -> None:
    """AT-19."""
    approved.policy = replace(approved.policy, kms_root=bytes(32))
    with pytest.raises(ConfigurationError) as error:
        approved.start_gate()
    assert error.value.code == "platform-policy"


def test_machines_that_owners_add_end_no_run_and_take_no_new_wrap(approved: World) -> None:
    """AT-27, CH-22: the same sealed files, the same study, one machine more."""
    running, other = Enclave(approved), Enclave(approved, options={"machine": "machine-2"})
    for one in approved.sealed:
        approved.allow(one, cap_micro=4_500_000)
    approved.chain.finalize()
    offers = [approved.offer(one) for one in approved.sealed]
    granted(running.ask(offers=offers))
    refused(other.ask(offers=offers), "device-not-allowed")

    added = [approved.platform.machine("machine-2").device_id]
    approved.chain.add_machines(approved.room, 0, 1, devices=added)
    approved.chain.finalize()

    assert running.renew(1).status_code == 200
    granted(other.ask(offers=offers))


def test_a_new_roster_ends_what_runs(approved: World) -> None:
    """CH-13: nobody revoked, and the run goes on under owners who did not let it."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.chain.change_roster(approved.room, remove=["hospital-C"], threshold=2)
    refused(enclave.renew(1), "lease-ended")
    refused(Enclave(approved).ask(), "standing-mismatch")
    approved.chain.finalize()
    refused(Enclave(approved).ask(), "standing-mismatch")


def test_a_corrected_extract_is_used_without_a_new_quorum(approved: World) -> None:
    """The study pins no version, so a run uses the newest; the old file is refused from then on."""
    first, second = approved.sealed
    later = replace(first, header=replace(first.header, dataset_version=2, salt=secrets.token_bytes(32)))
    data = interface("Ledger").encode("addVersion", first.id, later.registered().version.solidity())
    approved.chain.send(first.owner, approved.room.ledger, data)
    approved.chain.finalize()
    refused(Enclave(approved).ask(), "dataset-mismatch")

    approved.sealed = [later, second]
    reply = granted(Enclave(approved).ask())

    pairs = [(one.id, one.header.digest) for one in approved.sealed]
    assert reply.grant.datasets_root == datasets_root(pairs)


def test_an_address_that_is_no_consortium_is_refused(approved: World) -> None:
    enclave = Enclave(approved)
    approved.room = replace(approved.room, consortium="0x" + "77" * 20)
    refused(enclave.ask(offers=[approved.offer(approved.seal(0))]), "gate-not-registered")


def test_an_expired_study_is_refused(approved: World) -> None:
    """CH-14."""
    world = approved
    expiry = world.chain.head_time() + 3600
    world.study = world.chain.draft(
        world.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in world.sealed], expiry=expiry
    )
    world.approve(0, 1)
    granted(Enclave(world).ask())
    world.clock.at = expiry
    world.heartbeat()
    refused(Enclave(world).ask(), "study-expired")


# --- budget -------------------------------------------------------------------------------------


def test_a_second_run_beyond_a_datasets_budget_is_refused(approved: World) -> None:
    """Each dataset's cap has room for one run of the three that the study allows."""
    granted(Enclave(approved).ask())
    refused(Enclave(approved).ask(), "budget-exceeded")
    approved.chain.finalize()
    refused(Enclave(approved).ask(), "budget-exceeded")
    for one in approved.sealed:
        approved.allow(one, cap_micro=3_000_000)
    approved.chain.finalize()
    granted(Enclave(approved).ask())


def test_a_run_beyond_the_studys_number_is_refused(world: World) -> None:
    world.study = world.chain.draft(
        world.room,
        compose_hash=sha256(RECIPE),
        datasets=[one.id for one in world.sealed],
        epsilon_micro=1_000_000,
        max_runs=1,
    )
    world.approve(0, 1)
    granted(Enclave(world, epsilon_micro=1_000_000).ask())
    refused(Enclave(world, epsilon_micro=1_000_000).ask(), "runs-exhausted")


@pytest.mark.parametrize(
    ("cap", "code"),
    [
        ({"cap_pico": 400_000}, "budget-exceeded"),
        ({"micro_per_day": 1_500_000}, "budget-exceeded"),
        ({"runs_per_day": 1}, "runs-exhausted"),
    ],
    ids=["delta", "epsilon a day", "runs a day"],
)
def test_a_second_run_beyond_the_delta_or_the_runs_of_a_dataset_is_refused(
    approved: World, cap: dict[str, int], code: str
) -> None:
    """DP-05: and what is refused books nothing; the ledger would refuse it as well."""
    approved.early_in_the_day()
    first, second = approved.sealed
    for one, limits in ((first, {}), (second, cap)):
        approved.allow(one, cap_micro=4_500_000, **limits)
    approved.chain.finalize()
    granted(Enclave(approved).ask())
    refused(Enclave(approved).ask(), code)
    approved.chain.finalize()
    refused(Enclave(approved).ask(), code)
    approved.allow(second, cap_micro=4_500_000)
    approved.chain.finalize()
    granted(Enclave(approved).ask())


def test_a_gate_without_gas_money_releases_nothing(approved: World) -> None:
    approved.chain.rpc("anvil_setBalance", approved.identity().signer, "0x0")
    body = refused(Enclave(approved).ask(), "chain-unreachable", 503)
    assert "could not be booked" in body["message"]


# --- wraps --------------------------------------------------------------------------------------


def test_a_wrap_of_another_owner_does_not_open(approved: World) -> None:
    first, second = (approved.offer(one) for one in approved.sealed)
    swapped = [replace(first, wrap=second.wrap), second]
    body = refused(Enclave(approved).ask(offers=swapped), "wrap-does-not-open")
    assert set(body["seen"]) == {"dataset", "header"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("composeHash", sha256(b"other")),
        ("consortium", "0x" + "77" * 20),
        ("app", "0x" + "77" * 20),
        ("kmsRoot", bytes(32)),
    ],
)
def test_a_wrap_for_another_context_does_not_open_and_says_where_it_differs(
    approved: World, name: str, value: Any
) -> None:
    """CE-08."""
    changes = {{"composeHash": "compose_hash", "kmsRoot": "kms_root"}.get(name, name): value}
    offers = [approved.offer(approved.sealed[0], **changes), approved.offer(approved.sealed[1])]
    body = refused(Enclave(approved).ask(offers=offers), "wrap-does-not-open")
    assert set(body["seen"]) == {name}


def test_a_file_that_is_not_wrapped_is_refused_by_its_own_code(approved: World) -> None:
    first, second = (approved.offer(one) for one in approved.sealed)
    body = refused(Enclave(approved).ask(offers=[first, replace(second, wrap=UNWRAPPED)]), "not-wrapped")
    assert "wrapped for no recipe yet" in body["message"]
    granted(Enclave(approved).ask())


def test_a_wrap_with_another_key_than_the_registered_one_is_refused(approved: World) -> None:
    """CE-12."""
    forged = replace(approved.sealed[0], key=Secret.generate(32))
    offers = [approved.offer(forged), approved.offer(approved.sealed[1])]
    refused(Enclave(approved).ask(offers=offers), "wrong-key")


def test_datasets_that_are_not_the_studys_are_refused(approved: World) -> None:
    foreign = approved.seal(0)
    refused(Enclave(approved).ask(offers=[approved.offer(approved.sealed[0])]), "dataset-mismatch")
    refused(
        Enclave(approved).ask(offers=[approved.offer(foreign), approved.offer(approved.sealed[1])]),
        "dataset-mismatch",
    )


# --- the chain, and the watcher -----------------------------------------------------------------


def test_without_the_chain_nothing_is_released(approved: World) -> None:
    """CH-03, CH-04: down, stale, lying; and good again."""
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [approved.chain.url, proxy.url]
        approved.start_gate()
        approved.heartbeat()
        granted(Enclave(approved, epsilon_micro=1, delta_pico=1).ask())
        proxy.down = True
        approved.outlast()
        refused(Enclave(approved).ask(), "chain-unreachable", 503)
        proxy.down = False
        proxy.tamper = tells(lambda row: replace(row, require_tcb=not row.require_tcb), at=("finalized",))
        refused(Enclave(approved).ask(), "chain-disagrees", 503)

        def old(method: str, params: list[Any], result: Any) -> Any:
            if method != "eth_getBlockByNumber":
                return result
            return {**result, "timestamp": hex(int(result["timestamp"], 16) - 100)}

        proxy.tamper = old
        approved.outlast()
        refused(Enclave(approved).ask(), "chain-stale", 503)
        proxy.tamper = lambda method, params, result: result
        granted(Enclave(approved, epsilon_micro=1, delta_pico=1).ask())


def test_without_a_living_watcher_nothing_is_released(approved: World) -> None:
    approved.clock.ahead = 31
    refused(Enclave(approved).ask(), "watcher-dead", 503)
    approved.heartbeat()
    granted(Enclave(approved).ask())


def test_an_old_report_of_the_watcher_is_no_heartbeat(approved: World) -> None:
    report = WatchReport(observed=approved.clock(), seen=(approved.room.consortium,), revoked=())
    approved.clock.ahead = 31
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert approved.http.post("/v1/watch", content=report.encode(), headers=headers).status_code == 200
    refused(Enclave(approved).ask(), "watcher-dead", 503)


def test_what_the_watcher_reports_as_revoked_is_denied_before_the_gates_nodes_show_it(
    approved: World,
) -> None:
    """CH-04: the gate's nodes are behind; the watcher's are not."""
    head = approved.chain.block_number()
    approved.heartbeat(revoked=(approved.room.consortium,), block=head + 1)
    refused(Enclave(approved).ask(), "revoked")
    approved.heartbeat()
    refused(Enclave(approved).ask(), "revoked")
    approved.start_gate()
    refused(Enclave(approved).ask(), "revoked")
    approved.chain.mine()
    approved.chain.finalize()
    granted(Enclave(approved).ask())


def test_only_the_watcher_may_report(approved: World) -> None:
    """RE-03."""
    report = WatchReport(observed=1, seen=(), revoked=()).encode()
    for headers in ({}, {"authorization": "Bearer " + "x" * 40}, {"authorization": TOKEN}):
        assert approved.http.post("/v1/watch", content=report, headers=headers).status_code == 401
    assert approved.heartbeat().status_code == 200


# --- leases -------------------------------------------------------------------------------------


def test_a_lease_is_renewed_by_growing_counters_and_ends_with_a_revocation(approved: World) -> None:
    enclave = Enclave(approved)
    granted(enclave.ask())
    for counter in (1, 2):
        reply = LeaseReply.parse(enclave.renew(counter).content)
        assert reply.lease_seconds == 30
        verify_renewal(
            reply,
            enclave.renewal(counter),
            signer=approved.identity().signer,
            chain_id=31337,
            consortium=approved.room.consortium,
        )
    refused(enclave.renew(2), "lease-counter", 409)
    assert enclave.renew(4).status_code == 200
    refused(enclave.renew(3), "lease-counter", 409)
    approved.chain.revoke(approved.room, 1, "stop")
    refused(enclave.renew(5), "revoked")
    refused(enclave.renew(6), "lease-ended")


def test_a_lease_of_somebody_else_is_not_renewed(approved: World) -> None:
    enclave, other = Enclave(approved), Enclave(approved)
    granted(enclave.ask())
    other.run_id = enclave.run_id
    refused(other.renew(1), "malformed", 400)
    refused(Enclave(approved).renew(1), "lease-ended")
    assert enclave.renew(1).status_code == 200


def test_a_lease_that_was_not_renewed_in_time_is_over(approved: World) -> None:
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.clock.ahead = 32
    approved.heartbeat()
    refused(enclave.renew(1), "lease-ended")


def test_a_booking_that_not_every_node_shows_releases_nothing(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CH-03: the node that takes the transaction could invent its receipt, and book nothing."""
    monkeypatch.setattr(spending, "LAG_TIMEOUT_S", 0.5)
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [approved.chain.url, proxy.url]
        approved.start_gate()
        approved.heartbeat()
        proxy.tamper = tells(lambda row: replace(row, commitments=(bytes(32),) * len(row.commitments)))
        refused(Enclave(approved).ask(), "chain-disagrees", 503)
        proxy.tamper = honest
        monkeypatch.setattr(spending, "LAG_TIMEOUT_S", PATIENCE_S)
        for one in approved.sealed:  # the first attempt's ε stays spent
            approved.allow(one, cap_micro=3_000_000)
        approved.chain.finalize()
        granted(Enclave(approved).ask())


@pytest.mark.parametrize(
    "changes", [{"enclave_signer": "0x" + "66" * 20}, {"number": 9}], ids=["run", "place"]
)
def test_a_booking_of_something_else_releases_nothing(approved: World, changes: dict[str, Any]) -> None:
    """CH-03: the sending node reports another opening than the ledger's; its twin is every grant above."""
    opener = approved.gate._bookings._opener

    class Lying:
        def book(self, *order: Any, note: bytes) -> Any:
            for run_id, opened in opener.book(*order, note=note):
                yield run_id, replace(opened, opening=lie(opened.opening))

    def lie(opening: Opening) -> Opening:
        told = {name: value for name, value in changes.items() if name != "enclave_signer"}
        signer = changes.get("enclave_signer", opening.run.enclave_signer)
        return replace(opening, run=replace(opening.run, enclave_signer=signer), **told)

    approved.gate._bookings._opener = Lying()
    refused(Enclave(approved).ask(), "chain-disagrees", 503)


@pytest.mark.parametrize("hides", [True, False], ids=["hidden", "falsified"])
def test_without_the_content_of_the_pinned_study_nothing_is_released(approved: World, hides: bool) -> None:
    """CH-29: a node without the log of the pin, or with another in its place, is refused by name."""
    topic = "0x" + interface("Consortium").topic("StudyPinned").hex()

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        told = [log for log in result if log["topics"][0] != topic]
        if hides:
            return told
        pinned = [log for log in result if log["topics"][0] == topic]
        return told + [
            {**log, "data": log["data"].replace(sha256(RECIPE).hex(), "66" * 32)} for log in pinned
        ]

    with RpcProxy(approved.chain.url) as proxy:
        proxy.tamper = lie
        approved.rpc_urls = [proxy.url]
        approved.start_gate()
        refused(Enclave(approved).ask(), "chain-unreachable" if hides else "chain-disagrees", 503)
        proxy.tamper = honest
        granted(Enclave(approved).ask())


def test_a_lease_waits_for_a_chain_that_is_away_and_a_watcher_that_is_dead(approved: World) -> None:
    """CH-04: not renewed, but the enclave may try again until the lease runs out."""
    approved.judge_under(lease_seconds=60)
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [proxy.url]
        approved.start_gate()
        enclave = Enclave(approved)
        granted(enclave.ask())
        proxy.down = True
        assert enclave.renew(1).status_code == 200, "what is in memory is young enough"
        approved.outlast()
        refused(enclave.renew(2), "chain-unreachable", 503)
        proxy.down = False
        approved.clock.ahead = 31
        refused(enclave.renew(2), "watcher-dead", 503)
        approved.heartbeat()
        assert enclave.renew(2).status_code == 200


def test_a_lease_is_the_owners_and_rests_on_blocks_as_new_as_they_ask(
    approved: World,
) -> None:
    """CH-04, OP-10: the gate has no setting of its own, and waits for a new block."""
    approved.judge_under(lease_seconds=60, staleness_seconds=15, heartbeat_seconds=60)
    enclave = Enclave(approved)
    reply = granted(enclave.ask())
    assert reply.grant.lease_seconds == 60
    behind = approved.clock() - approved.chain.head_time()
    approved.clock.ahead = 16 - behind
    refused(enclave.renew(1), "chain-stale", 503)
    refused(Enclave(approved).ask(), "chain-stale", 503)
    approved.chain.advance(16)
    renewal = enclave.renew(1)
    assert renewal.status_code == 200 and LeaseReply.parse(renewal.content).lease_seconds == 60


def test_a_lease_survives_a_restart_of_the_gate(approved: World) -> None:
    enclave = Enclave(approved)
    granted(enclave.ask())
    assert enclave.renew(1).status_code == 200
    approved.start_gate()
    refused(enclave.renew(1), "lease-counter", 409)
    assert enclave.renew(2).status_code == 200


def test_a_grant_cannot_be_signed_for_two_consortia(approved: World) -> None:
    """CH-08: the domain names the consortium."""
    reply = granted(Enclave(approved).ask())
    message = typed.grant(reply.grant, chain_id=31337, consortium="0x" + "77" * 20)
    assert typed.recover(message, reply.grant_signature) != approved.identity().signer
