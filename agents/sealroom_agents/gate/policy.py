# SPDX-License-Identifier: Apache-2.0
"""The decision: request + evidence + chain state → `Grant` or `Refusal`. No IO, no clock, no environment.

The rules, in the order in which they are checked; the first that fails names the refusal. Evidence has been
verified as evidence (quote, report data, event log) before it comes here; what it *says* is judged here.

1.  the platform is simulated only on a local chain                        simulated-root-off-local-chain
2.  the TCB is up to date                                                  tcb-not-up-to-date
3.  the owners adopted this gate: root key, signer, compose hash           gate-not-registered
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
11. study, consortium and latest block are of one epoch                    epoch-mismatch
12. approvals are counted again: k, and the owner of each dataset          not-approved, owner-not-approved
13. the datasets presented are the study's, each with its owner            dataset-mismatch
14. a run is left, and ε and δ, of the study and of each dataset           runs-exhausted, budget-exceeded
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
from sealroom_agents.facts import (
    LOCAL_CHAIN_IDS,
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


@dataclass(frozen=True)
class PresentedDataset:
    """One sealed dataset as the enclave presented it: what its header says."""

    id: bytes
    """Dataset id, 32 bytes: digest of the header."""
    owner_id: str
    """Owner named in the header."""
    name: str
    """Dataset name in the header."""
    consortium: str
    """Consortium named in the header."""
    chain_id: int
    """Chain id named in the header."""


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
    epoch: int
    """Epoch in which the run was opened."""


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

    `view` is the agreed state at one finalized block, `latest` the newest that any node shows. A `Grant` has
    everything but a signature; nothing is released before its run is booked in the ledger.
    """
    case = Case(request=request, evidence=evidence, view=view, latest=latest, config=config)
    refusal = _first(rule.judge(case) for rule in RULES)
    if refusal is not None:
        return refusal
    study = view.study
    if study is None:
        return _wrong_recipe(evidence.compose_hash, ZERO_HASH)
    return Grant(
        run_id=request.run_id,
        study=study.id,
        ledger=view.ledger,
        compose_hash=evidence.compose_hash,
        enclave_signer=request.enclave_signer,
        kem_key_hash=sha256(request.kem_key),
        transcript=request.transcript,
        datasets_root=datasets_root(study.datasets),
        epsilon_micro=request.epsilon_micro,
        delta_pico=request.delta_pico,
        epoch=view.epoch,
        block_number=view.block_number,
        block_hash=view.block_hash,
        issued=config.now,
        lease_seconds=config.lease_seconds,
        audit_head=config.audit_head,
    )


def renew(view: ChainView, latest: LatestView, config: Config, *, study: bytes, epoch: int) -> Refusal | None:
    """Whether a lease of a run of `study`, opened in `epoch`, may be renewed; `None` means yes.

    Refuses: `gate-not-registered`, `revoked`, `lease-ended` (another epoch or
    study), `study-expired`, `watcher-dead`.
    """
    run = Renewal(view=view, latest=latest, config=config, study=study, epoch=epoch)
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
    candidate = (newest.candidate if newest is not None else None) or view.candidate
    if candidate is not None and candidate.study.epoch < view.epoch:
        return _old_epoch(candidate.study, view.epoch)
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
        f"no owner has proposed this recipe in this epoch: 0 of {view.threshold} approvals",
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


def _epochs(study: Study, view: ChainView, latest: LatestView) -> Refusal | None:
    if study.epoch != view.epoch or latest.epoch != view.epoch or not view.live:
        return _old_epoch(study, max(view.epoch, latest.epoch))
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
        if record is None or not _same(dataset, record, view):
            return Refusal(
                Code.DATASET_MISMATCH,
                f"the header of {dataset.owner_id}/{dataset.name} differs from what its owner registered",
                seen={"dataset": to_hex(dataset.id), "owner": dataset.owner_id, "name": dataset.name},
                pinned={"owner": record.owner_id, "name": record.name} if record is not None else None,
            )
    return None


def _same(dataset: PresentedDataset, record: DatasetRecord, view: ChainView) -> bool:
    return (
        dataset.owner_id == record.owner_id
        and dataset.name == record.name
        and dataset.consortium == view.consortium
        and dataset.chain_id == view.chain_id
        and record.key_commitment != ZERO_HASH
    )


def _budget(request: Request, study: Study, view: ChainView) -> Refusal | None:
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
    for dataset in view.datasets:
        what = f"{dataset.owner_id}/{dataset.name}"
        if dataset.budget.runs >= dataset.budget.run_cap:
            return _no_run_left(what, dataset.budget.runs, dataset.budget.run_cap)
        refusal = _over(
            what,
            request,
            dataset.budget.epsilon_cap - dataset.budget.epsilon_spent,
            dataset.budget.delta_cap - dataset.budget.delta_spent,
        )
        if refusal is not None:
            return refusal
    return None


def _of_the_run(run: Renewal) -> Refusal | None:
    view, latest = run.view, run.latest
    if view.epoch != run.epoch or latest.epoch != run.epoch:
        return Refusal(
            Code.LEASE_ENDED,
            f"the run is of epoch {run.epoch}, the consortium is in {max(view.epoch, latest.epoch)}",
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


def _old_epoch(study: Study, epoch: int) -> Refusal:
    return Refusal(
        Code.EPOCH_MISMATCH,
        f"the study is of epoch {study.epoch}, the consortium is in {epoch}: it takes a new approval",
        seen={"epoch": study.epoch},
        pinned={"epoch": epoch},
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
        "the owners adopted this gate",
        (Code.GATE_NOT_REGISTERED,),
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
            Code.EPOCH_MISMATCH,
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
        "study, consortium and newest block are of one epoch, and the newest block has the study pinned",
        (Code.EPOCH_MISMATCH, Code.COMPOSE_HASH_MISMATCH),
        _of_study(
            lambda study, case: (
                _epochs(study, case.view, case.latest) or _superseded(study, case.evidence, case.latest)
            )
        ),
    ),
    Rule(
        "the approvals, counted again, are k and those of all datasets' owners",
        (Code.NOT_APPROVED, Code.OWNER_NOT_APPROVED),
        lambda case: _lacking(
            case.view.approvals, tuple(dataset.owner for dataset in case.view.datasets), case.view
        ),
    ),
    Rule(
        "the datasets are the study's, with the headers that their owners registered",
        (Code.DATASET_MISMATCH,),
        _of_study(lambda study, case: _datasets(case.request, study, case.view)),
    ),
    Rule(
        "a run is left, and ε and δ, of the study and of each dataset",
        (Code.RUNS_EXHAUSTED, Code.BUDGET_EXCEEDED),
        _of_study(lambda study, case: _budget(case.request, study, case.view)),
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
        "the owners still adopt this gate",
        (Code.GATE_NOT_REGISTERED,),
        lambda run: _registered(run.view, run.config),
    ),
    Rule("nobody revoked", (Code.REVOKED,), lambda run: _revoked(run.view, run.latest, run.config)),
    Rule("the run's study is pinned in the epoch of the run", (Code.LEASE_ENDED,), _of_the_run),
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
