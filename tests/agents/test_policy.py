# SPDX-License-Identifier: Apache-2.0
"""The decision without any IO: the passing twin first, then each refusal by one line of difference."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.agents.worked import unspent
from tests.refusals import CODES, REFUSAL_CODES

from sealroom.encoding import sha256
from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import Refusal, datasets_root
from sealroom.model import Account, Grant, Owner, Platform, Spending, Study, Version
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord, Evidence, Halt, LatestView
from sealroom_agents.gate import cases, policy

NOW = 1_800_000_000
ACCOUNTS = tuple("0x" + f"{n:02x}" * 20 for n in (0xA1, 0xB2, 0xC3, 0xD4))
APP = "0x" + "ab" * 20
GATE = "0x" + "9a" * 20
CONSORTIUM = "0x" + "c0" * 20
RECIPE = sha256(b"recipe")
IMAGE, DEVICE = sha256(b"image"), sha256(b"device")
DATASETS = tuple(sorted(sha256(name) for name in (b"A", b"B")))
POLICY = sha256(b"platform policy")
STANDING, BASIS = sha256(b"standing"), sha256(b"basis")
TODAY = NOW // 86_400


@dataclass(frozen=True)
class Case:
    """One situation; `but` makes its twin with one thing changed."""

    request: cases.Request
    evidence: Evidence
    view: ChainView
    latest: LatestView
    config: cases.Config

    def but(self, part: str, **changes: Any) -> Case:
        return replace(self, **{part: replace(getattr(self, part), **changes)})

    def study(self, **changes: Any) -> Case:
        study = self.view.study
        if study is None:
            raise ValueError("no study")
        changed = replace(study, **changes)
        active = changed.id if self.latest.active_study == study.id else self.latest.active_study
        return self.but("view", study=changed).but("latest", active_study=active)

    def dataset(self, **changes: Any) -> Case:
        first, *rest = self.view.datasets
        return self.but("view", datasets=(replace(first, **changes), *rest))

    def account(self, **changes: int) -> Case:
        return self.dataset(account=replace(self.view.datasets[0].account, **changes))

    def allowance(self, **changes: int) -> Case:
        return self.dataset(allowance=replace(self.view.datasets[0].allowance, **changes))

    def spending(self, **changes: int) -> Case:
        return self.but("view", spending=replace(self.view.spending, **changes))

    def unpinned(self) -> Case:
        """The same before the study was pinned anywhere."""
        view = replace(self.view, study=None, nonce=4, approvals=(), datasets=(), live=False)
        best = replace(view, block_number=self.latest.block_number)
        return replace(self, view=view, latest=replace(self.latest, active_study=None, best=best))

    def proposed(self, *approvals: str, at: str = "latest") -> Case:
        """Unpinned, but proposed and approved by some."""
        study = self.view.study
        if study is None:
            raise ValueError("no study")
        candidate = CandidateRecord(study=study, approvals=approvals, required=ACCOUNTS[:2])
        case = self.unpinned()
        if at == "finalized":
            return case.but("view", candidate=candidate)
        best = case.latest.best
        if best is None:
            raise ValueError("no latest view")
        return case.but("latest", best=replace(best, candidate=candidate))

    def decide(self) -> Grant | Refusal:
        return policy.decide(self.request, self.evidence, self.view, self.latest, self.config)


@pytest.fixture
def good() -> Case:
    """Everything is as it must be: four owners, three needed, two datasets."""
    owners = tuple(
        Owner(account=account, id=f"hospital-{letter}", jurisdiction="DE", regimes=("GDPR",))
        for account, letter in zip(ACCOUNTS, "ABCD", strict=True)
    )
    study = Study(
        compose_hash=RECIPE,
        output_hash=sha256(b"output"),
        privacy_hash=sha256(b"privacy"),
        datasets=DATASETS,
        epsilon_micro=4_500_000,
        delta_pico=3_000_000,
        max_runs=3,
        expiry=NOW + 1000,
        versions=(0, 2),
        basis=BASIS,
        nonce=4,
    )
    datasets = tuple(
        DatasetRecord(
            id=dataset,
            holder=ACCOUNTS[n],
            holder_id=f"hospital-{'AB'[n]}",
            name="cohort",
            number=n + 1,
            version=Version(
                header=sha256(b"header" + dataset),
                index=sha256(b"index"),
                key_commitment=sha256(b"commitment"),
                schema_hash=sha256(b"schema"),
                rows=100,
            ),
            account=Account(
                epsilon_cap=9_000_000, epsilon_spent=4_500_000, delta_cap=6_000_000, delta_spent=3_000_000
            ),
            allowance=unspent(epsilon_per_day=4_500_000, runs_per_day=10, day=TODAY),
        )
        for n, dataset in enumerate(DATASETS)
    )
    view = ChainView(
        chain_id=31337,
        consortium=CONSORTIUM,
        app=APP,
        ledger="0x" + "1e" * 20,
        block_number=100,
        block_hash=sha256(b"block"),
        block_time=NOW - 4,
        roster_digest=sha256(b"roster"),
        charter=sha256(b"charter"),
        standing=STANDING,
        basis=BASIS,
        steps=2,
        nonce=5,
        threshold=3,
        owners=owners,
        platform=Platform(
            gate_root=sha256(b"root"),
            gate_signer=GATE,
            gate_compose=sha256(b"gate"),
            policy_hash=POLICY,
            os_images=(IMAGE,),
            devices=(DEVICE,),
        ),
        study=study,
        live=True,
        approved_at=NOW - 500,
        approvals=ACCOUNTS[:3],
        revokers=(),
        revoked_by=None,
        revoked_at=0,
        revocation_reason="",
        datasets=datasets,
        spending=Spending(epsilon_micro=0, delta_pico=0, runs=0),
        app_allows=True,
        require_tcb=True,
        allow_any_device=False,
    )
    latest = LatestView(
        block_number=102,
        block_time=NOW - 2,
        steps=2,
        standing=STANDING,
        revoked_by=None,
        revocation_reason="",
        active_study=study.id,
        best=replace(view, block_number=102),
    )
    evidence = Evidence(
        app_id=bytes.fromhex("ab" * 20),
        compose_hash=RECIPE,
        instance_id=bytes(20),
        os_image_hash=IMAGE,
        key_provider="kms",
        key_provider_id=b"kms-ca",
        device_id=DEVICE,
        mr_td=bytes(48),
        rt_mr=(bytes(48), bytes(48), bytes(48), bytes(48)),
        mr_system=bytes(32),
        mr_aggregated=bytes(32),
        tcb_status="UpToDate",
        advisory_ids=(),
        report_data=bytes(64),
        simulated=True,
    )
    request = cases.Request(
        run_id=sha256(b"run"),
        compose_hash=RECIPE,
        epsilon_micro=1_500_000,
        delta_pico=1_000_000,
        guarantee="by-reading",
        kem_key=bytes(1216),
        enclave_signer="0x" + "e5" * 20,
        transcript=sha256(b"transcript"),
        evidence_digest=sha256(b"evidence"),
        datasets=tuple(
            cases.PresentedDataset(
                id=record.id,
                owner="0x" + "a1" * 20,
                name="cohort",
                version=record.number,
                header=record.version.header,
            )
            for record in datasets
        ),
        gpu=None,
        has_gpu_evidence=False,
    )
    config = cases.Config(
        gate_root=sha256(b"root"),
        gate_signer=GATE,
        gate_compose=sha256(b"gate"),
        policy_hash=POLICY,
        guarantees=("by-construction", "by-reading"),
        gpu_rules=True,
        key_provider_id=b"kms-ca",
        lease_seconds=30,
        staleness_seconds=90,
        heartbeat_seconds=30,
        audit_head=sha256(b"audit"),
        now=NOW,
        watcher_seen=NOW - 3,
    )
    return Case(request=request, evidence=evidence, view=view, latest=latest, config=config)


def refused(case: Case, code: str) -> Refusal:
    decision = case.decide()
    assert isinstance(decision, Refusal), decision
    assert decision.code == code
    assert decision.code in REFUSAL_CODES
    assert "\n" not in decision.message
    return decision


def test_a_request_that_keeps_every_rule_is_granted_as_the_chain_says(good: Case) -> None:
    decision = good.decide()
    assert isinstance(decision, Grant)
    assert good.view.study is not None and decision.study == good.view.study.id
    assert decision.compose_hash == RECIPE
    assert decision.kem_key_hash == sha256(bytes(1216))
    assert decision.datasets_root == datasets_root([(one, sha256(b"header" + one)) for one in DATASETS])
    assert decision.evidence == sha256(b"evidence")
    assert (decision.block_number, decision.block_hash) == (100, sha256(b"block"))
    assert decision.standing == STANDING
    assert (decision.issued, decision.lease_seconds) == (NOW, 30)


def test_a_run_books_what_its_recipe_spends_and_no_more_than_was_approved(good: Case) -> None:
    """DP-05, DP-16."""
    decision = good.decide()
    assert isinstance(decision, Grant)
    assert (decision.epsilon_micro, decision.delta_pico) == (1_500_000, 1_000_000)
    assert isinstance(good.but("request", epsilon_micro=4_500_000).decide(), Grant)
    refused(good.but("request", epsilon_micro=4_500_001), "budget-exceeded")
    assert isinstance(good.but("request", delta_pico=3_000_000).decide(), Grant)
    refused(good.but("request", delta_pico=3_000_001), "budget-exceeded")


def test_datasets_are_accepted_in_any_order(good: Case) -> None:
    assert isinstance(good.but("request", datasets=good.request.datasets[::-1]).decide(), Grant)


def test_a_simulated_platform_is_refused_off_local_chains(good: Case) -> None:
    """AT-14."""
    refused(good.but("view", chain_id=1), "simulated-root-off-local-chain")


@pytest.mark.parametrize(
    "status", ["OutOfDate", "SWHardeningNeeded", "ConfigurationNeeded", "TDRelaunchAdvised", ""]
)
def test_every_tcb_status_but_up_to_date_is_refused(good: Case, status: str) -> None:
    """AT-06."""
    assert refused(good.but("evidence", tcb_status=status), "tcb-not-up-to-date").seen == {
        "tcbStatus": status
    }


def test_an_app_that_does_not_ask_for_an_up_to_date_tcb_is_refused(good: Case) -> None:
    """CH-23."""
    refused(good.but("view", require_tcb=False), "tcb-not-up-to-date")


@pytest.mark.parametrize(
    "change", [{"gate_root": bytes(32)}, {"gate_signer": "0x" + "00" * 20}, {"gate_compose": bytes(32)}]
)
def test_a_gate_that_the_owners_did_not_adopt_refuses(good: Case, change: dict[str, Any]) -> None:
    """AT-34."""
    platform = good.view.platform
    assert platform is not None
    refused(good.but("view", platform=replace(platform, **change)), "gate-not-registered")


def test_a_gate_that_judges_by_another_policy_than_the_adopted_one_refuses(good: Case) -> None:
    """AT-35: the owners' rules for machines are theirs, not the operator's."""
    refusal = refused(good.but("config", policy_hash=sha256(b"lenient")), "platform-policy-mismatch")
    assert refusal.pinned == {"policyHash": "0x" + POLICY.hex()}
    assert renew(good.but("config", policy_hash=sha256(b"lenient"))) == "platform-policy-mismatch"


def test_before_any_platform_was_adopted_the_gate_refuses(good: Case) -> None:
    refused(good.but("view", platform=None), "gate-not-registered")


def test_a_revocation_at_the_latest_block_counts_at_once_and_names_who_and_why(good: Case) -> None:
    """CH-02."""
    refusal = refused(
        good.but("latest", revoked_by=ACCOUNTS[2], revocation_reason="consent withdrawn"), "revoked"
    )
    assert refusal.message == "hospital-C revoked: consent withdrawn"


def test_a_revocation_at_the_finalized_block_refuses(good: Case) -> None:
    refused(good.unpinned().but("view", revoked_by=ACCOUNTS[0]), "revoked")


def seen_in(block: int) -> Halt:
    """A revocation that a node showed."""
    return Halt(block_number=block, block_hash=bytes(32), by="http://node")


def test_a_revocation_that_was_seen_refuses_until_a_block_as_new_is_final(good: Case) -> None:
    """CH-02: also one that no node shows any more; then the chain decides, and lifts it."""
    refused(good.but("config", halt=seen_in(good.view.block_number + 1)), "revoked")
    assert isinstance(good.but("config", halt=seen_in(good.view.block_number)).decide(), Grant)


def test_a_node_that_is_behind_the_finalized_block_revokes_nothing(good: Case) -> None:
    behind = good.but("latest", revoked_by=ACCOUNTS[0], halt=seen_in(good.view.block_number - 1))
    assert isinstance(behind.decide(), Grant)
    refused(behind.but("latest", halt=seen_in(good.view.block_number + 1)), "revoked")


def test_a_machine_that_booted_for_another_app_is_refused(good: Case) -> None:
    """AT-19."""
    refused(good.but("evidence", app_id=bytes(20)), "app-id-mismatch")


def test_a_recipe_changed_by_one_byte_is_refused_with_both_hashes(good: Case) -> None:
    changed = sha256(b"recipd")
    refusal = refused(
        good.but("evidence", compose_hash=changed).but("request", compose_hash=changed),
        "compose-hash-mismatch",
    )
    assert refusal.seen == {"composeHash": "0x" + changed.hex()}
    assert refusal.pinned == {"composeHash": "0x" + RECIPE.hex()}
    assert changed.hex() in refusal.message and RECIPE.hex() in refusal.message


def test_a_machine_that_measured_another_recipe_than_it_announced_is_refused(good: Case) -> None:
    refused(good.but("request", compose_hash=sha256(b"other")), "compose-hash-mismatch")


def test_a_recipe_that_the_app_does_not_allow_is_refused(good: Case) -> None:
    refused(good.but("view", app_allows=False), "compose-hash-mismatch")


def test_a_recipe_that_lost_its_pin_at_the_latest_block_is_refused(good: Case) -> None:
    refused(good.but("latest", active_study=sha256(b"next")), "compose-hash-mismatch")


def test_a_recipe_that_nobody_proposed_has_no_approvals(good: Case) -> None:
    assert refused(good.unpinned(), "not-approved").message.startswith("no owner has proposed")


@pytest.mark.parametrize("at", ["latest", "finalized"])
def test_fewer_than_k_approvals_are_refused_with_their_number(good: Case, at: str) -> None:
    refusal = refused(good.proposed(*ACCOUNTS[:2], at=at), "not-approved")
    assert refusal.message == "2 of 3 approvals"


def test_k_approvals_without_the_owner_of_a_used_dataset_are_refused_with_its_name(good: Case) -> None:
    """CH-17."""
    refusal = refused(good.proposed(*ACCOUNTS[1:]), "owner-not-approved")
    assert "hospital-A" in refusal.message


def test_a_study_pinned_at_latest_only_is_not_final(good: Case) -> None:
    """CH-01."""
    best = good.latest.best
    case = good.unpinned()
    refused(replace(case, latest=replace(good.latest, best=best)), "not-finalized")


def test_a_proposal_on_an_older_basis_takes_a_new_one(good: Case) -> None:
    """CH-13: its approvals have not seen what changed since; judged in the block that shows the proposal."""
    moved = sha256(b"a machine more")
    finalized = good.proposed(at="finalized").but("latest", best=None)
    refused(finalized.but("view", basis=moved), "standing-mismatch")
    proposed = good.proposed(*ACCOUNTS[:2])
    best = proposed.latest.best
    assert best is not None
    refused(proposed.but("latest", best=replace(best, basis=moved)), "standing-mismatch")
    refused(proposed.but("view", basis=moved), "not-approved")


def test_a_proposal_that_another_study_overtook_takes_a_new_one(good: Case) -> None:
    """An approval is good for one pin: k of them for an older nonce pin nothing."""
    assert refused(good.proposed(*ACCOUNTS[:2]), "not-approved").message == "2 of 3 approvals"
    overtaken = good.proposed(*ACCOUNTS[:3]).but("view", nonce=5)
    assert "another study was pinned" in refused(overtaken, "not-approved").message
    assert good.view.study is not None
    other = replace(good.view.study, compose_hash=sha256(b"other"))
    pinned = overtaken.but("view", study=other).but("latest", active_study=other.id)
    refused(pinned, "compose-hash-mismatch")


def test_a_key_provider_that_is_no_kms_is_refused(good: Case) -> None:
    """AT-19."""
    refused(good.but("evidence", key_provider="local-sgx"), "key-provider-mismatch")


def test_another_kms_than_the_gates_is_refused(good: Case) -> None:
    """AT-19."""
    refused(good.but("evidence", key_provider_id=b"other"), "key-provider-mismatch")


def test_an_os_image_that_the_owners_did_not_allow_is_refused(good: Case) -> None:
    """CH-22."""
    refused(good.but("evidence", os_image_hash=bytes(32)), "os-image-not-allowed")


def test_a_machine_that_the_owners_did_not_allow_is_refused(good: Case) -> None:
    """AT-27."""
    refused(good.but("evidence", device_id=bytes(32)), "device-not-allowed")


def test_an_app_that_allows_any_device_is_refused(good: Case) -> None:
    """CH-24."""
    refused(good.but("view", allow_any_device=True), "device-not-allowed")


def test_a_guarantee_that_the_owners_do_not_accept_is_refused(good: Case) -> None:
    """DP-22."""
    strict = good.but("config", guarantees=("by-construction",))
    assert isinstance(strict.but("request", guarantee="by-construction").decide(), Grant)
    refusal = refused(strict, "guarantee-not-accepted")
    assert (refusal.seen, refusal.pinned) == (
        {"guarantee": "by-reading"},
        {"guarantees": ["by-construction"]},
    )


def test_gpu_evidence_is_there_where_the_recipe_demands_gpus_and_nowhere_else(good: Case) -> None:
    """GP-01: an enclave omits it, or brings what nobody asked for, or owners have no rules for it."""
    demand = GpuDemand(kind="h100", count=1, mode="passthrough")
    refused(good.but("request", has_gpu_evidence=True), "gpu-evidence-unverified")
    refused(good.but("request", gpu=demand), "gpu-evidence-unverified")
    shown = good.but("request", gpu=demand, has_gpu_evidence=True)
    refused(shown.but("config", gpu_rules=False), "gpu-evidence-unverified")
    assert isinstance(shown.decide(), Grant)


def test_an_expired_study_is_refused_by_either_clock(good: Case) -> None:
    """AT-08, CH-14."""
    refused(good.but("config", now=NOW + 1000), "study-expired")
    refused(good.but("view", block_time=NOW + 1000), "study-expired")


def test_a_standing_that_moved_at_the_latest_block_is_refused(good: Case) -> None:
    """CH-13."""
    refused(good.but("latest", standing=sha256(b"another roster"), steps=3), "standing-mismatch")


def test_a_study_that_the_contract_does_not_call_live_is_refused(good: Case) -> None:
    refused(good.but("view", live=False), "standing-mismatch")


def test_machines_that_are_added_stop_no_study(good: Case) -> None:
    """CH-22, AT-27: they move the basis of what is approved next, not the standing, nor what is live."""
    platform = good.view.platform
    assert platform is not None
    other = good.but("evidence", device_id=sha256(b"new"), os_image_hash=sha256(b"new image"))
    refused(other, "os-image-not-allowed")
    grown = replace(
        platform,
        os_images=(*platform.os_images, sha256(b"new image")),
        devices=(*platform.devices, sha256(b"new")),
    )
    after = {"basis": sha256(b"after the addition"), "platform": grown}
    assert isinstance(other.but("view", **after).decide(), Grant)
    assert isinstance(good.but("view", **after).decide(), Grant)
    assert renew(good.but("view", **after)) is None


def test_approvals_of_strangers_do_not_count(good: Case) -> None:
    """CH-16."""
    strangers = (*ACCOUNTS[:2], "0x" + "77" * 20)
    assert refused(good.but("view", approvals=strangers), "not-approved").message == "2 of 3 approvals"


def test_one_owner_counted_twice_is_one_approval(good: Case) -> None:
    """CH-11."""
    refused(good.but("view", approvals=(ACCOUNTS[0], ACCOUNTS[1], ACCOUNTS[1])), "not-approved")


def test_a_pinned_study_without_the_approval_of_a_datasets_owner_is_refused(good: Case) -> None:
    """CH-17."""
    refused(good.but("view", approvals=ACCOUNTS[1:]), "owner-not-approved")


def test_a_dataset_too_few_or_another_one_is_refused(good: Case) -> None:
    refused(good.but("request", datasets=good.request.datasets[:1]), "dataset-mismatch")
    foreign = replace(good.request.datasets[0], id=sha256(b"foreign"))
    refused(good.but("request", datasets=(foreign, good.request.datasets[1])), "dataset-mismatch")
    twice = (*good.request.datasets, good.request.datasets[0])
    refused(good.but("request", datasets=twice), "dataset-mismatch")


@pytest.mark.parametrize(
    "change",
    [
        {"header": sha256(b"another file")},
        {"version": 2},
    ],
)
def test_a_header_that_differs_from_what_its_owner_registered_is_refused(
    good: Case, change: dict[str, Any]
) -> None:
    first, second = good.request.datasets
    refused(good.but("request", datasets=(replace(first, **change), second)), "dataset-mismatch")


def test_a_holder_who_is_no_owner_here_has_not_approved(good: Case) -> None:
    """CH-17: also the account that took the dataset over since."""
    moved = "0x" + "77" * 20
    refusal = refused(good.dataset(holder=moved, holder_id=""), "owner-not-approved")
    assert moved in refusal.message


def test_a_version_that_does_not_exist_is_refused(good: Case) -> None:
    none = Version(header=bytes(32), index=bytes(32), key_commitment=bytes(32), schema_hash=bytes(32), rows=0)
    first, second = good.request.datasets
    case = good.dataset(number=0, version=none, holder="0x" + "00" * 20, holder_id="")
    asked = case.but("request", datasets=(replace(first, version=0, header=bytes(32)), second))
    refused(asked, "dataset-mismatch")


def test_a_run_too_many_is_refused(good: Case) -> None:
    assert isinstance(good.spending(runs=2).decide(), Grant)
    refused(good.spending(runs=3), "runs-exhausted")


def test_a_budget_that_the_study_or_a_dataset_has_not_got_is_refused(good: Case) -> None:
    """DP: never beyond what was approved."""
    assert isinstance(good.spending(epsilon_micro=3_000_000).decide(), Grant)
    refused(good.spending(epsilon_micro=3_000_001), "budget-exceeded")
    for purse in (good.allowance, lambda **spent: good.account(epsilon_cap=4_500_000, **spent)):
        assert isinstance(purse(epsilon_spent=3_000_000).decide(), Grant)
        refusal = refused(purse(epsilon_spent=3_000_001), "budget-exceeded")
        assert "hospital-A/cohort" in refusal.message
    assert "lifetime" in refusal.message


def test_a_delta_that_the_study_or_a_dataset_has_not_got_is_refused(good: Case) -> None:
    """DP-05: δ is booked like ε."""
    assert isinstance(good.spending(delta_pico=2_000_000).decide(), Grant)
    refusal = refused(good.spending(delta_pico=2_000_001), "budget-exceeded")
    assert refusal.message == "a run needs δ 1e-6, and the study has 9.99999e-7 left"
    assert (refusal.seen, refusal.pinned) == ({"deltaPico": 1_000_000}, {"leftPico": 999_999})
    for purse in (good.allowance, lambda **spent: good.account(delta_cap=3_000_000, **spent)):
        assert isinstance(purse(delta_spent=2_000_000).decide(), Grant)
        refusal = refused(purse(delta_spent=2_000_001), "budget-exceeded")
        assert "δ" in refusal.message and "hospital-A/cohort" in refusal.message
    pure = good.but("request", delta_pico=0)
    assert isinstance(pure.allowance(delta_spent=3_000_000).decide(), Grant)


def test_a_run_beyond_the_number_that_a_datasets_owner_allows_is_refused(good: Case) -> None:
    assert isinstance(good.allowance(runs_today=9).decide(), Grant)
    refusal = refused(good.allowance(runs_today=10), "runs-exhausted")
    assert refusal.message == "no run is left of the 10 that hospital-A/cohort today allows"


def test_what_a_holder_allows_a_day_comes_back_with_the_next_utc_day(good: Case) -> None:
    """AT-36: bounds what a stolen gate key spends; counted by the newer of gate's and chain's clocks."""
    assert isinstance(good.allowance(epsilon_today=3_000_000).decide(), Grant)
    spent = good.allowance(epsilon_today=3_000_001, runs_today=10)
    assert "today" in refused(spent, "budget-exceeded").message
    assert isinstance(spent.allowance(day=TODAY - 1).decide(), Grant)
    tomorrow = spent.study(expiry=NOW + 200_000).but("latest", block_time=(TODAY + 1) * 86_400)
    assert isinstance(tomorrow.decide(), Grant)
    refused(good.allowance(epsilon_per_day=0, runs_per_day=0), "budget-exceeded")


def test_without_a_living_watcher_nothing_is_released(good: Case) -> None:
    """CH-04, OP-09: as lately as the owners' platform policy asks."""
    for limit in (15, 30, 60):
        told = good.but("config", heartbeat_seconds=limit)
        assert isinstance(told.but("config", watcher_seen=NOW - limit).decide(), Grant)
        late = refused(told.but("config", watcher_seen=NOW - limit - 1), "watcher-dead")
        assert f"{limit} s)" in late.message
    refused(good.but("config", watcher_seen=None), "watcher-dead")


def test_nothing_is_released_on_a_newest_block_that_is_older_than_the_owners_accept(good: Case) -> None:
    """CH-04: a node that is frozen before a revocation shows only what came before it."""
    for limit in (15, 90):
        told = good.but("config", staleness_seconds=limit)
        assert isinstance(told.but("latest", block_time=NOW - limit).decide(), Grant)
        late = refused(told.but("latest", block_time=NOW - limit - 1), "chain-stale")
        assert f"{limit} s)" in late.message


def test_a_lease_is_as_long_as_the_owners_say(good: Case) -> None:
    """OP-10: no operator makes it outlive a revocation."""
    decision = good.but("config", lease_seconds=10).decide()
    assert isinstance(decision, Grant) and decision.lease_seconds == 10


# --- the order ----------------------------------------------------------------------------------

WRONG: dict[int, Callable[[Case], Case]] = {
    23: lambda case: case.but("view", chain_id=1),
    24: lambda case: case.but("evidence", tcb_status="OutOfDate"),
    25: lambda case: case.but("view", platform=None),
    26: lambda case: case.but("latest", revoked_by=ACCOUNTS[2]),
    27: lambda case: case.but("evidence", app_id=bytes(20)),
    28: lambda case: case.but("request", compose_hash=sha256(b"other")),
    29: lambda case: case.but("evidence", key_provider="local-sgx"),
    30: lambda case: case.but("evidence", os_image_hash=bytes(32)),
    31: lambda case: case.but("evidence", device_id=bytes(32)),
    32: lambda case: case.but("request", has_gpu_evidence=True),
    33: lambda case: case.but("view", block_time=NOW + 1000),
    34: lambda case: case.but("latest", standing=bytes(32)),
    35: lambda case: case.but("view", approvals=ACCOUNTS[:2]),
    36: lambda case: case.but("request", datasets=case.request.datasets[:1]),
    37: lambda case: case.spending(runs=3),
    38: lambda case: case.but("config", watcher_seen=None),
}
"""What fails each check of the decision, by its number on the release protocol's page."""


@pytest.mark.parametrize("second", WRONG)
@pytest.mark.parametrize("first", WRONG)
def test_of_two_faults_the_one_that_is_published_first_is_told(good: Case, first: int, second: int) -> None:
    decision = WRONG[second](WRONG[first](good)).decide()

    assert isinstance(decision, Refusal)
    assert decision.code in CODES[min(first, second)]


def test_the_head_of_the_policy_lists_the_published_checks() -> None:
    text = policy.__doc__ or ""
    written = [
        code for line in text.splitlines() for code in re.findall(r"[a-z]+(?:-[a-z]+)+|revoked$", line)
    ]
    listed = [code for code in written if code in REFUSAL_CODES]

    assert set(listed) <= {code for row in WRONG for code in CODES[row]}
    rest = iter(listed)
    assert all(CODES[row][0] in rest for row in WRONG), "not in the published order"


# --- leases -------------------------------------------------------------------------------------


def renew(case: Case, **run: Any) -> str | None:
    pinned = case.view.study
    run = {"study": pinned.id if pinned is not None else bytes(32), "standing": STANDING, **run}
    refusal = policy.renew(case.view, case.latest, case.config, **run)
    return None if refusal is None else refusal.code


def test_a_lease_is_renewed_while_everything_stands(good: Case) -> None:
    assert renew(good) is None
    # A run that goes on needs no further budget, and no second look at its approvals.
    assert renew(good.spending(runs=3, epsilon_micro=4_500_000)) is None


def test_a_lease_ends_with_revocation_standing_study_expiry_gate_or_watcher(good: Case) -> None:
    assert renew(good.but("latest", revoked_by=ACCOUNTS[0])) == "revoked"
    assert renew(good.but("config", halt=seen_in(good.view.block_number + 1))) == "revoked"
    assert renew(good.but("latest", standing=bytes(32))) == "lease-ended"
    assert renew(good.but("latest", block_time=NOW - 91)) == "chain-stale"
    assert renew(good.but("view", standing=bytes(32))) == "lease-ended"
    assert renew(good, standing=bytes(32)) == "lease-ended"
    assert renew(good, study=bytes(32)) == "lease-ended"
    assert renew(good.but("latest", active_study=None)) == "lease-ended"
    assert renew(good.but("config", now=NOW + 1000, watcher_seen=NOW + 1000)) == "study-expired"
    assert renew(good.but("view", platform=None)) == "gate-not-registered"
    assert renew(good.but("config", watcher_seen=None)) == "watcher-dead"
