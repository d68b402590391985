# SPDX-License-Identifier: Apache-2.0
"""The decision: request + evidence + chain state → `Grant` or `Refusal`. No IO, no clock, no environment.

The rules, in the order in which they are checked; the first that fails names the refusal. Evidence has been
verified as evidence (quote, report data, event log) before it comes here; what it *says* is judged here.

1.  the platform is simulated only on a local chain                        simulated-root-off-local-chain
2.  the TCB is up to date                                                  tcb-not-up-to-date
3.  the owners adopted this gate: root key, signer, compose hash           gate-not-registered
    · with the platform policy by which it judges                          platform-policy-mismatch
4.  nobody revoked: at the finalized block, at the latest of any node,     revoked
    or earlier, until a finalized block as new as that shows otherwise (CH-02)
5.  the machine booted for this consortium's app                           app-id-mismatch
6.  the measured recipe is the one that was announced and is pinned        compose-hash-mismatch
    · proposed, but with too few approvals                                 not-approved
    · proposed, but another study was pinned since                         not-approved
    · proposed, but the owner of a used dataset is missing                 owner-not-approved
    · pinned at the latest block, but not in the finalized one (CH-01)     not-finalized
7.  its keys come from the same KMS as the gate's                          key-provider-mismatch
8.  OS image and machine are on the owners' lists (CH-22, CH-24, AT-27)    os-image-not-allowed
                                                                           device-not-allowed
9.  no GPU evidence came, since nobody could verify it                     gpu-evidence-unverified
10. the study has not expired                                              study-expired
11. the study is live, and the standing is the same at the latest block    standing-mismatch
12. approvals are counted again: k, and the owner of each dataset          not-approved, owner-not-approved
13. the datasets presented are the versions that the study uses            dataset-mismatch
14. a run is left, and ε and δ: of the study, and of each dataset, for     runs-exhausted, budget-exceeded
    its lifetime, for this consortium, and today
15. the watcher sees it                                                     watcher-dead

Granting takes k, stopping takes one; approve late, revoke early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.key_release import Refusal, datasets_root
from sealroom.model import Grant, Study
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    DatasetRecord,
    Evidence,
    Halt,
    LatestView,
)

MAX_WATCH_AGE_S = 30
"""Seconds without a heartbeat after which the watcher counts as dead."""
UP_TO_DATE = "UpToDate"
"""The one TCB status that is accepted."""
KEY_PROVIDER = "kms"
"""The one kind of key provider that is accepted (AT-19)."""
ZERO_HASH = bytes(32)
DAY_S = 86_400
"""A day of the ledger, UTC, seconds."""


@dataclass(frozen=True)
class PresentedDataset:
    """One sealed dataset as the enclave presented it: what its header says."""

    id: bytes
    """Dataset id, 32 bytes: of account and name in the header."""
    owner: str
    """Account in the header."""
    name: str
    """Dataset name in the header."""
    version: int
    """Number of the dataset's version in the header."""
    header: bytes
    """Header digest, 32 bytes."""


@dataclass(frozen=True)
class Request:
    """What an enclave asks for."""

    run_id: bytes
    """Run id, 32 bytes."""
    compose_hash: bytes
    """Compose hash that the hello announced."""
    epsilon_micro: int
    """What the run will spend, as its measured recipe says; the transcript binds it."""
    delta_pico: int
    """The same for δ."""
    kem_key: bytes
    """The enclave's X-Wing public key."""
    enclave_signer: str
    """The enclave's signing address."""
    transcript: bytes
    """SHA-256 of T0."""
    evidence_digest: bytes
    """SHA-256 over quote, event log and GPU evidence."""
    datasets: tuple[PresentedDataset, ...]
    """Datasets whose keys it asks for."""
    has_gpu_evidence: bool
    """Whether GPU evidence came along: bytes that prove nothing yet."""


@dataclass(frozen=True)
class Config:
    """The gate's own facts, and the moment of the decision."""

    gate_root: bytes
    """Fingerprint of the gate's root public key."""
    gate_signer: str
    """The gate's signing address."""
    gate_compose: bytes
    """Compose hash of the gate's own app."""
    policy_hash: bytes
    """Hash of the platform policy by which the gate judges machines."""
    key_provider_id: bytes
    """Id of the gate's own key provider, as measured in the gate's own quote."""
    lease_seconds: int
    """How long a grant lives unless renewed."""
    audit_head: bytes
    """Digest of the last entry of the gate's audit log."""
    now: int
    """Unix seconds."""
    watcher_seen: int | None
    """Unix seconds at which the watcher last saw this consortium; `None` when it never did."""
    halt: Halt | None = None
    """A revocation that was seen: no view of an older block counts (CH-02)."""


@dataclass(frozen=True)
class Case:
    """A request and all that it is judged by."""

    request: Request
    evidence: Evidence
    view: ChainView
    latest: LatestView
    config: Config


@dataclass(frozen=True)
class Renewal:
    """A run whose lease is to be renewed, and all that it is judged by."""

    view: ChainView
    latest: LatestView
    config: Config
    study: bytes
    """Id of the run's study, 32 bytes."""
    standing: bytes
    """Standing under which the run was opened, 32 bytes."""


Judged = TypeVar("Judged", Case, Renewal)


@dataclass(frozen=True)
class Rule(Generic[Judged]):
    """One check of a decision, as the release protocol's page publishes it."""

    check: str
    """What the gate checks: the page's words."""
    codes: tuple[Code, ...]
    """What it answers where the check fails."""
    judge: Callable[[Judged], Refusal | None]
    """The check."""


def decide(
    request: Request, evidence: Evidence, view: ChainView, latest: LatestView, config: Config
) -> Grant | Refusal:
    """Judge one request; the module's head lists the rules in order.

    `view` is the agreed state at one finalized block, `latest` the newest that most nodes show. A `Grant` has
    everything but a signature; nothing is released before its run is booked in the ledger.
    """
    case = Case(request=request, evidence=evidence, view=view, latest=latest, config=config)
    refusal = _first(rule.judge(case) for rule in RULES)
    if refusal is not None:
        return refusal
    study = view.study
    if study is None:
        return _wrong_recipe(evidence.compose_hash, ZERO_HASH)
    headers = {record.id: record.version.header for record in view.datasets}
    return Grant(
        run_id=request.run_id,
        study=study.id,
        ledger=view.ledger,
        compose_hash=evidence.compose_hash,
        enclave_signer=request.enclave_signer,
        kem_key_hash=sha256(request.kem_key),
        transcript=request.transcript,
        evidence=request.evidence_digest,
        datasets_root=datasets_root([(dataset, headers[dataset]) for dataset in study.datasets]),
        epsilon_micro=request.epsilon_micro,
        delta_pico=request.delta_pico,
        standing=view.standing,
        block_number=view.block_number,
        block_hash=view.block_hash,
        issued=config.now,
        lease_seconds=config.lease_seconds,
        audit_head=config.audit_head,
    )


def renew(
    view: ChainView, latest: LatestView, config: Config, *, study: bytes, standing: bytes
) -> Refusal | None:
    """Whether a lease of a run of `study`, opened under `standing`, may be renewed; `None` means yes.

    Refuses: `gate-not-registered`, `platform-policy-mismatch`, `revoked`, `lease-ended` (another standing or
    study), `study-expired`, `watcher-dead`. Machines that are added change neither.
    """
    run = Renewal(view=view, latest=latest, config=config, study=study, standing=standing)
    return _first(rule.judge(run) for rule in RENEWAL)


def _first(refusals: Iterator[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in refusals if refusal is not None), None)


def _simulated(evidence: Evidence, view: ChainView) -> Refusal | None:
    if evidence.simulated and view.chain_id not in LOCAL_CHAIN_IDS:
        return Refusal(
            Code.SIMULATED_ROOT_OFF_LOCAL_CHAIN,
            f"the quote comes from a simulated platform, and chain {view.chain_id} is not a local one",
        )
    return None


def _tcb(evidence: Evidence, view: ChainView) -> Refusal | None:
    # The gate asks for it whatever the app contract says; an app that does not is set up wrongly (CH-23).
    if evidence.tcb_status != UP_TO_DATE or not view.require_tcb:
        return Refusal(
            Code.TCB_NOT_UP_TO_DATE,
            f"TCB status is {evidence.tcb_status}, not {UP_TO_DATE}"
            if evidence.tcb_status != UP_TO_DATE
            else "the app contract does not require an up-to-date TCB",
            seen={"tcbStatus": evidence.tcb_status},
            pinned={"tcbStatus": UP_TO_DATE},
        )
    return None


def _registered(view: ChainView, config: Config) -> Refusal | None:
    platform = view.platform
    if platform is None:
        return Refusal(Code.GATE_NOT_REGISTERED, "the owners have not adopted any gate yet")
    adopted = (platform.gate_root, platform.gate_signer, platform.gate_compose)
    if adopted != (config.gate_root, config.gate_signer, config.gate_compose):
        return Refusal(
            Code.GATE_NOT_REGISTERED,
            "the owners adopted another gate",
            seen=_gate(config.gate_root, config.gate_signer, config.gate_compose),
            pinned=_gate(*adopted),
        )
    if platform.policy_hash != config.policy_hash:
        return Refusal(
            Code.PLATFORM_POLICY_MISMATCH,
            "the owners adopted this gate with another platform policy",
            seen={"policyHash": to_hex(config.policy_hash)},
            pinned={"policyHash": to_hex(platform.policy_hash)},
        )
    return None


def _revoked(view: ChainView, latest: LatestView, config: Config) -> Refusal | None:
    # What a node showed in a block as old as the view, the view has decided: the node is behind.
    old = latest.halt is not None and latest.halt.block_number <= view.block_number
    for state in (view,) if old else (latest, view):
        if state.revoked_by is not None:
            who = _owner_name(view, state.revoked_by)
            reason = f": {state.revocation_reason}" if state.revocation_reason else ""
            return Refusal(Code.REVOKED, f"{who} revoked{reason}", seen={"revokedBy": state.revoked_by})
    if config.halt is not None and view.block_number < config.halt.block_number:
        number = config.halt.block_number
        return Refusal(
            Code.REVOKED,
            f"a revocation was seen in block {number}: nothing is released until a final block decides",
            seen={"block": view.block_number},
            pinned={"block": number},
        )
    return None


def _booted(evidence: Evidence, view: ChainView) -> Refusal | None:
    app = to_hex(evidence.app_id)
    if app != view.app:
        return Refusal(
            Code.APP_ID_MISMATCH,
            f"the machine booted for app {app}, not for {view.app}",
            seen={"appId": app},
            pinned={"appId": view.app},
        )
    return None


def _measured(request: Request, evidence: Evidence, view: ChainView, latest: LatestView) -> Refusal | None:
    seen = evidence.compose_hash
    pinned = view.study
    if seen != request.compose_hash:
        return _wrong_recipe(seen, pinned.compose_hash if pinned else request.compose_hash)
    if pinned is not None and pinned.compose_hash == seen:
        if not view.app_allows:
            return Refusal(
                Code.COMPOSE_HASH_MISMATCH, "the app contract does not allow the recipe", seen=_compose(seen)
            )
        return None
    newest = latest.best
    if newest is not None and newest.study is not None and newest.study.compose_hash == seen:
        return Refusal(
            Code.NOT_FINALIZED,
            f"the approval is not final yet: the head is block {newest.block_number}, "
            f"finalized is {view.block_number}",
            seen={"block": newest.block_number},
            pinned={"block": view.block_number},
        )
    newer = newest is not None and newest.candidate is not None
    proposed_in = newest if newest is not None and newer else view
    candidate = proposed_in.candidate
    if candidate is not None and candidate.study.basis != proposed_in.basis:
        return Refusal(
            Code.STANDING_MISMATCH,
            "owners, platform or machines changed, or an owner revoked, since the study was proposed: "
            "it takes a new proposal",
            seen={"basis": to_hex(candidate.study.basis)},
            pinned={"basis": to_hex(proposed_in.basis)},
        )
    if candidate is not None and candidate.study.nonce < view.nonce:
        return _wrong_recipe(seen, pinned.compose_hash) if pinned is not None else _overtaken(candidate, view)
    if candidate is not None:
        lacking = _lacking(candidate.approvals, candidate.required, view)
        if lacking is not None:
            return lacking
        if candidate.study.expiry <= view.block_time:
            return Refusal(
                Code.STUDY_EXPIRED,
                f"the study expired at {candidate.study.expiry} without having been pinned",
            )
    if pinned is not None:
        return _wrong_recipe(seen, pinned.compose_hash)
    if candidate is not None:
        return _count_short(candidate, view)
    return Refusal(
        Code.NOT_APPROVED,
        f"no owner has proposed this recipe as things stand: 0 of {view.threshold} approvals"
        + (f" (proposals before block {view.unsearched} were not looked for)" if view.unsearched else ""),
        seen={**_compose(seen), "approvals": 0},
        pinned={"threshold": view.threshold},
    )


def _key_provider(evidence: Evidence, config: Config) -> Refusal | None:
    if evidence.key_provider != KEY_PROVIDER or evidence.key_provider_id != config.key_provider_id:
        return Refusal(
            Code.KEY_PROVIDER_MISMATCH,
            "the machine takes its keys from another key provider than the gate",
            seen={"name": evidence.key_provider, "id": to_hex(evidence.key_provider_id)},
            pinned={"name": KEY_PROVIDER, "id": to_hex(config.key_provider_id)},
        )
    return None


def _os_image(evidence: Evidence, view: ChainView) -> Refusal | None:
    if view.platform is None or evidence.os_image_hash not in view.platform.os_images:
        return Refusal(
            Code.OS_IMAGE_NOT_ALLOWED,
            "the owners did not allow this OS image",
            seen={"osImage": to_hex(evidence.os_image_hash)},
        )
    return None


def _device(evidence: Evidence, view: ChainView) -> Refusal | None:
    if view.allow_any_device:
        return Refusal(
            Code.DEVICE_NOT_ALLOWED, "the app contract allows any device, so the owners' list means nothing"
        )
    if view.platform is None or evidence.device_id not in view.platform.devices:
        return Refusal(
            Code.DEVICE_NOT_ALLOWED,
            "the owners did not allow this machine",
            seen={"device": to_hex(evidence.device_id)},
        )
    return None


def _gpu(request: Request) -> Refusal | None:
    if request.has_gpu_evidence:
        return Refusal(
            Code.GPU_EVIDENCE_UNVERIFIED,
            "the enclave brought GPU evidence, which this version cannot verify",
        )
    return None


def _expired(study: Study, view: ChainView, config: Config) -> Refusal | None:
    # The later of the two clocks: an operator who sets the gate's back cannot set the chain's back (AT-08).
    now = max(config.now, view.block_time)
    if now >= study.expiry:
        return Refusal(
            Code.STUDY_EXPIRED,
            f"the study expired {now - study.expiry} s ago",
            seen={"now": now},
            pinned={"expiry": study.expiry},
        )
    return None


def _stands(view: ChainView, latest: LatestView) -> Refusal | None:
    if not view.live:
        return Refusal(Code.STANDING_MISMATCH, "the contract does not call the study live")
    if latest.standing != view.standing:
        return Refusal(
            Code.STANDING_MISMATCH,
            "owners or platform changed since the study was approved: it takes a new approval",
            seen={"standing": to_hex(view.standing)},
            pinned={"standing": to_hex(latest.standing)},
        )
    return None


def _superseded(study: Study, evidence: Evidence, latest: LatestView) -> Refusal | None:
    """Losing the pin counts at once, like a revocation."""
    if latest.active_study == study.id:
        return None
    newest = latest.best.study if latest.best is not None else None
    return _wrong_recipe(evidence.compose_hash, newest.compose_hash if newest is not None else ZERO_HASH)


def _lacking(approvals: tuple[str, ...], required: tuple[str, ...], view: ChainView) -> Refusal | None:
    owners = {owner.account for owner in view.owners}
    approved = set(approvals) & owners
    if len(approved) < view.threshold:
        return Refusal(
            Code.NOT_APPROVED,
            f"{len(approved)} of {view.threshold} approvals",
            seen={"approvals": len(approved)},
            pinned={"threshold": view.threshold},
        )
    missing = sorted({_owner_name(view, account) for account in required if account not in approved})
    if missing:
        return Refusal(
            Code.OWNER_NOT_APPROVED,
            f"{', '.join(missing)} must approve, and has not",
            seen={"approvals": len(approved)},
            pinned={"required": missing},
        )
    return None


def _datasets(request: Request, study: Study, view: ChainView) -> Refusal | None:
    presented = tuple(dataset.id for dataset in request.datasets)
    if sorted(presented) != list(study.datasets) or len(set(presented)) != len(presented):
        return Refusal(
            Code.DATASET_MISMATCH,
            "the datasets are not those of the study",
            seen={"datasets": [to_hex(one) for one in presented]},
            pinned={"datasets": [to_hex(one) for one in study.datasets]},
        )
    records = {record.id: record for record in view.datasets}
    for dataset in request.datasets:
        record = records.get(dataset.id)
        if record is not None and record.number == 0:
            return Refusal(
                Code.DATASET_MISMATCH,
                f"{dataset.name} is not registered, or lacks the version that the study names",
                seen={"dataset": to_hex(dataset.id), "version": dataset.version},
            )
        if record is None or not _same(dataset, record):
            return Refusal(
                Code.DATASET_MISMATCH,
                f"the header of {dataset.owner}/{dataset.name} differs from what its owner registered",
                seen={
                    "dataset": to_hex(dataset.id),
                    "version": dataset.version,
                    "header": to_hex(dataset.header),
                },
                pinned=None
                if record is None
                else {"version": record.number, "header": to_hex(record.version.header)},
            )
    return None


def _same(dataset: PresentedDataset, record: DatasetRecord) -> bool:
    return dataset.header == record.version.header and dataset.version == record.number


def _budget(request: Request, study: Study, view: ChainView, now: int) -> Refusal | None:
    if view.spending.runs >= study.max_runs:
        return _no_run_left("the study", view.spending.runs, study.max_runs)
    refusal = _over(
        "the study",
        request,
        study.epsilon_micro - view.spending.epsilon_micro,
        study.delta_pico - view.spending.delta_pico,
    )
    if refusal is not None:
        return refusal
    return _first(
        refusal for dataset in view.datasets for refusal in _of_dataset(request, dataset, now // DAY_S)
    )


def _of_dataset(request: Request, dataset: DatasetRecord, day: int) -> Iterator[Refusal | None]:
    """What a dataset's accounts say, in the order of the ledger: lifetime, this consortium, today."""
    name, account, allowance = f"{dataset.holder_id}/{dataset.name}", dataset.account, dataset.allowance
    yield _over(
        f"the lifetime account of {name}",
        request,
        account.epsilon_cap - account.epsilon_spent,
        account.delta_cap - account.delta_spent,
    )
    yield _over(
        name,
        request,
        allowance.epsilon_cap - allowance.epsilon_spent,
        allowance.delta_cap - allowance.delta_spent,
    )
    today = allowance.day == day
    spent, runs = (allowance.epsilon_today, allowance.runs_today) if today else (0, 0)
    yield _over(f"{name} today", request, allowance.epsilon_per_day - spent, request.delta_pico)
    if runs >= allowance.runs_per_day:
        yield _no_run_left(f"{name} today", runs, allowance.runs_per_day)


def _of_the_run(run: Renewal) -> Refusal | None:
    view, latest = run.view, run.latest
    if view.standing != run.standing or latest.standing != run.standing:
        return Refusal(
            Code.LEASE_ENDED,
            "an owner revoked, or owners or platform changed, since the run was opened",
            seen={"standing": to_hex(run.standing)},
            pinned={"standing": to_hex(latest.standing)},
        )
    if view.study is None or view.study.id != run.study or latest.active_study != run.study:
        return Refusal(Code.LEASE_ENDED, "the study of this run is no longer the active one")
    return None


def _watched(config: Config) -> Refusal | None:
    if config.watcher_seen is None:
        return Refusal(Code.WATCHER_DEAD, "no watcher has reported on this consortium yet")
    age = config.now - config.watcher_seen
    if age > MAX_WATCH_AGE_S:
        return Refusal(
            Code.WATCHER_DEAD, f"the watcher last saw this consortium {age} s ago (limit {MAX_WATCH_AGE_S} s)"
        )
    return None


def _no_run_left(what: str, runs: int, limit: int) -> Refusal:
    return Refusal(
        Code.RUNS_EXHAUSTED,
        f"all {limit} runs that {what} allows were opened",
        seen={"runs": runs},
        pinned={"maxRuns": limit},
    )


def _over(what: str, request: Request, left_micro: int, left_pico: int) -> Refusal | None:
    """Refuse unless as much is left as the run needs."""
    left_micro, left_pico = max(0, left_micro), max(0, left_pico)
    if request.epsilon_micro > left_micro:
        return Refusal(
            Code.BUDGET_EXCEEDED,
            f"a run needs ε {epsilon_text(request.epsilon_micro)}, "
            f"and {what} has {epsilon_text(left_micro)} left",
            seen={"epsilonMicro": request.epsilon_micro},
            pinned={"leftMicro": left_micro},
        )
    if request.delta_pico > left_pico:
        return Refusal(
            Code.BUDGET_EXCEEDED,
            f"a run needs δ {delta_text(request.delta_pico)}, and {what} has {delta_text(left_pico)} left",
            seen={"deltaPico": request.delta_pico},
            pinned={"leftPico": left_pico},
        )
    return None


def _overtaken(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        Code.NOT_APPROVED,
        "another study was pinned since this one was proposed: it takes a new proposal",
        seen={"nonce": candidate.study.nonce},
        pinned={"nonce": view.nonce},
    )


def _wrong_recipe(seen: bytes, pinned: bytes) -> Refusal:
    approved = "none" if pinned == ZERO_HASH else to_hex(pinned)
    return Refusal(
        Code.COMPOSE_HASH_MISMATCH,
        f"the machine runs recipe {to_hex(seen)}, pinned is {approved}",
        seen=_compose(seen),
        pinned=_compose(pinned),
    )


def _count_short(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        Code.NOT_APPROVED,
        f"{len(candidate.approvals)} of {view.threshold} approvals, and the study is not pinned",
        seen={"approvals": len(candidate.approvals)},
        pinned={"threshold": view.threshold},
    )


def _gate(root: bytes, signer: str, compose_hash: bytes) -> dict[str, object]:
    return {"gateRoot": to_hex(root), "gateSigner": signer, "gateCompose": to_hex(compose_hash)}


def _compose(compose_hash: bytes) -> dict[str, object]:
    return {"composeHash": to_hex(compose_hash)}


def _owner_name(view: ChainView, account: str) -> str:
    return next((owner.id for owner in view.owners if owner.account == account), account)


def _of_study(check: Callable[[Study, Case], Refusal | None]) -> Callable[[Case], Refusal | None]:
    """A check of the pinned study; where none is pinned, the recipe is not the pinned one."""

    def of_study(case: Case) -> Refusal | None:
        study = case.view.study
        if study is None:
            return _wrong_recipe(case.evidence.compose_hash, ZERO_HASH)
        return check(study, case)

    return of_study


RULES: tuple[Rule[Case], ...] = (
    Rule(
        "the platform is simulated on a local chain only",
        (Code.SIMULATED_ROOT_OFF_LOCAL_CHAIN,),
        lambda case: _simulated(case.evidence, case.view),
    ),
    Rule(
        "the TCB is up to date, and the app contract asks for it",
        (Code.TCB_NOT_UP_TO_DATE,),
        lambda case: _tcb(case.evidence, case.view),
    ),
    Rule(
        "the owners adopted this gate, with the platform policy by which it judges",
        (Code.GATE_NOT_REGISTERED, Code.PLATFORM_POLICY_MISMATCH),
        lambda case: _registered(case.view, case.config),
    ),
    Rule(
        "nobody revoked, in the finalized block or in any newer one that a node shows",
        (Code.REVOKED,),
        lambda case: _revoked(case.view, case.latest, case.config),
    ),
    Rule(
        "the machine booted for the consortium's app",
        (Code.APP_ID_MISMATCH,),
        lambda case: _booted(case.evidence, case.view),
    ),
    Rule(
        "the measured recipe is the announced and the pinned one; if it is proposed only, how far that came",
        (
            Code.COMPOSE_HASH_MISMATCH,
            Code.NOT_FINALIZED,
            Code.STANDING_MISMATCH,
            Code.NOT_APPROVED,
            Code.OWNER_NOT_APPROVED,
            Code.STUDY_EXPIRED,
        ),
        lambda case: _measured(case.request, case.evidence, case.view, case.latest),
    ),
    Rule(
        "the machine's keys come from the gate's KMS",
        (Code.KEY_PROVIDER_MISMATCH,),
        lambda case: _key_provider(case.evidence, case.config),
    ),
    Rule(
        "the owners allow the OS image",
        (Code.OS_IMAGE_NOT_ALLOWED,),
        lambda case: _os_image(case.evidence, case.view),
    ),
    Rule(
        "the owners allow the machine, and the app contract not any machine",
        (Code.DEVICE_NOT_ALLOWED,),
        lambda case: _device(case.evidence, case.view),
    ),
    Rule(
        "no GPU evidence came, since nobody verifies it yet",
        (Code.GPU_EVIDENCE_UNVERIFIED,),
        lambda case: _gpu(case.request),
    ),
    Rule(
        "the study has not expired",
        (Code.STUDY_EXPIRED,),
        _of_study(lambda study, case: _expired(study, case.view, case.config)),
    ),
    Rule(
        "the study is live, the standing is that of the newest block, which has the study pinned too",
        (Code.STANDING_MISMATCH, Code.COMPOSE_HASH_MISMATCH),
        _of_study(
            lambda study, case: (
                _stands(case.view, case.latest) or _superseded(study, case.evidence, case.latest)
            )
        ),
    ),
    Rule(
        "the approvals, counted again, are k and those of all datasets' holders, who are owners",
        (Code.NOT_APPROVED, Code.OWNER_NOT_APPROVED),
        lambda case: _lacking(
            case.view.approvals,
            tuple(dataset.holder for dataset in case.view.datasets if dataset.number != 0),
            case.view,
        ),
    ),
    Rule(
        "the datasets are the study's, with the headers of the versions that it uses",
        (Code.DATASET_MISMATCH,),
        _of_study(lambda study, case: _datasets(case.request, study, case.view)),
    ),
    Rule(
        "a run is left, and ε and δ, of the study and of each dataset: lifetime, this consortium, today",
        (Code.RUNS_EXHAUSTED, Code.BUDGET_EXCEEDED),
        _of_study(
            lambda study, case: _budget(
                case.request, study, case.view, max(case.config.now, case.latest.block_time)
            )
        ),
    ),
    Rule(
        "the watcher saw the consortium within 30 s",
        (Code.WATCHER_DEAD,),
        lambda case: _watched(case.config),
    ),
)
"""The checks of `decide`, in their order."""
RENEWAL: tuple[Rule[Renewal], ...] = (
    Rule(
        "the owners still adopt this gate, with the platform policy by which it judges",
        (Code.GATE_NOT_REGISTERED, Code.PLATFORM_POLICY_MISMATCH),
        lambda run: _registered(run.view, run.config),
    ),
    Rule("nobody revoked", (Code.REVOKED,), lambda run: _revoked(run.view, run.latest, run.config)),
    Rule("the standing is that of the run, and its study is pinned", (Code.LEASE_ENDED,), _of_the_run),
    Rule(
        "the study has not expired",
        (Code.STUDY_EXPIRED,),
        lambda run: (
            _expired(run.view.study, run.view, run.config) if run.view.study is not None else _of_the_run(run)
        ),
    ),
    Rule(
        "the watcher saw the consortium within 30 s",
        (Code.WATCHER_DEAD,),
        lambda run: _watched(run.config),
    ),
)
"""The checks of `renew`, in their order."""
