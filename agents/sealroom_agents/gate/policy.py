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

from dataclasses import dataclass

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


def decide(
    request: Request, evidence: Evidence, view: ChainView, latest: LatestView, config: Config
) -> Grant | Refusal:
    """Judge one request; the module's head lists the rules in order.

    `view` is the agreed state at one finalized block, `latest` the newest that any node shows. A `Grant` has
    everything but a signature; nothing is released before its run is booked in the ledger.
    """
    return (
        _platform(evidence, view)
        or _registered(view, config)
        or _revoked(view, latest, config)
        or _measured(request, evidence, view, latest)
        or _machine(request, evidence, view, config)
        or _study(request, evidence, view, latest, config)
    )


def renew(view: ChainView, latest: LatestView, config: Config, *, study: bytes, epoch: int) -> Refusal | None:
    """Whether a lease of a run of `study`, opened in `epoch`, may be renewed; `None` means yes.

    Refuses: `gate-not-registered`, `revoked`, `lease-ended` (another epoch or
    study), `study-expired`, `watcher-dead`.
    """
    refusal = _registered(view, config) or _revoked(view, latest, config)
    if refusal is not None:
        return refusal
    if view.epoch != epoch or latest.epoch != epoch:
        return Refusal(
            "lease-ended",
            f"the run is of epoch {epoch}, the consortium is in {max(view.epoch, latest.epoch)}",
        )
    if view.study is None or view.study.id != study or latest.active_study != study:
        return Refusal("lease-ended", "the study of this run is no longer the active one")
    return _expired(view.study, view, config) or _watched(config)


def _platform(evidence: Evidence, view: ChainView) -> Refusal | None:
    if evidence.simulated and view.chain_id not in LOCAL_CHAIN_IDS:
        return Refusal(
            "simulated-root-off-local-chain",
            f"the quote comes from a simulated platform, and chain {view.chain_id} is not a local one",
        )
    # The gate asks for it whatever the app contract says; an app that does not is set up wrongly (CH-23).
    if evidence.tcb_status != UP_TO_DATE or not view.require_tcb:
        return Refusal(
            "tcb-not-up-to-date",
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
        return Refusal("gate-not-registered", "the owners have not adopted any gate yet")
    adopted = (platform.gate_root, platform.gate_signer, platform.gate_compose)
    if adopted != (config.gate_root, config.gate_signer, config.gate_compose):
        return Refusal(
            "gate-not-registered",
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
            return Refusal("revoked", f"{who} revoked{reason}", seen={"revokedBy": state.revoked_by})
    if config.halt is not None and view.block_number < config.halt.block_number:
        number = config.halt.block_number
        return Refusal(
            "revoked",
            f"a revocation was seen in block {number}: nothing is released until a final block decides",
            seen={"block": view.block_number},
            pinned={"block": number},
        )
    return None


def _measured(request: Request, evidence: Evidence, view: ChainView, latest: LatestView) -> Refusal | None:
    app = to_hex(evidence.app_id)
    if app != view.app:
        return Refusal(
            "app-id-mismatch",
            f"the machine booted for app {app}, not for {view.app}",
            seen={"appId": app},
            pinned={"appId": view.app},
        )
    seen = evidence.compose_hash
    pinned = view.study
    if seen != request.compose_hash:
        return _wrong_recipe(seen, pinned.compose_hash if pinned else request.compose_hash)
    if pinned is not None and pinned.compose_hash == seen:
        if not view.app_allows:
            return Refusal(
                "compose-hash-mismatch", "the app contract does not allow the recipe", seen=_compose(seen)
            )
        return None
    newest = latest.best
    if newest is not None and newest.study is not None and newest.study.compose_hash == seen:
        return Refusal(
            "not-finalized",
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
                "study-expired", f"the study expired at {candidate.study.expiry} without having been pinned"
            )
    if pinned is not None:
        return _wrong_recipe(seen, pinned.compose_hash)
    if candidate is not None:
        return _count_short(candidate, view)
    return Refusal(
        "not-approved",
        f"no owner has proposed this recipe in this epoch: 0 of {view.threshold} approvals",
        seen={**_compose(seen), "approvals": 0},
        pinned={"threshold": view.threshold},
    )


def _machine(request: Request, evidence: Evidence, view: ChainView, config: Config) -> Refusal | None:
    if evidence.key_provider != KEY_PROVIDER or evidence.key_provider_id != config.key_provider_id:
        return Refusal(
            "key-provider-mismatch",
            "the machine takes its keys from another key provider than the gate",
            seen={"name": evidence.key_provider, "id": to_hex(evidence.key_provider_id)},
            pinned={"name": KEY_PROVIDER, "id": to_hex(config.key_provider_id)},
        )
    platform = view.platform
    if platform is None or evidence.os_image_hash not in platform.os_images:
        return Refusal(
            "os-image-not-allowed",
            "the owners did not allow this OS image",
            seen={"osImage": to_hex(evidence.os_image_hash)},
        )
    if view.allow_any_device:
        return Refusal(
            "device-not-allowed", "the app contract allows any device, so the owners' list means nothing"
        )
    if evidence.device_id not in platform.devices:
        return Refusal(
            "device-not-allowed",
            "the owners did not allow this machine",
            seen={"device": to_hex(evidence.device_id)},
        )
    if request.has_gpu_evidence:
        return Refusal(
            "gpu-evidence-unverified", "the enclave brought GPU evidence, which this version cannot verify"
        )
    return None


def _study(
    request: Request, evidence: Evidence, view: ChainView, latest: LatestView, config: Config
) -> Grant | Refusal:
    study = view.study
    if study is None:
        return _wrong_recipe(evidence.compose_hash, ZERO_HASH)
    return (
        _expired(study, view, config)
        or _epochs(study, view, latest)
        or _superseded(study, evidence, latest)
        or _lacking(view.approvals, tuple(dataset.owner for dataset in view.datasets), view)
        or _datasets(request, study, view)
        or _budget(request, study, view)
        or _watched(config)
        or Grant(
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
    )


def _expired(study: Study, view: ChainView, config: Config) -> Refusal | None:
    # The later of the two clocks: an operator who sets the gate's back cannot set the chain's back (AT-08).
    now = max(config.now, view.block_time)
    if now >= study.expiry:
        return Refusal(
            "study-expired",
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
            "not-approved",
            f"{len(approved)} of {view.threshold} approvals",
            seen={"approvals": len(approved)},
            pinned={"threshold": view.threshold},
        )
    missing = sorted({_owner_name(view, account) for account in required if account not in approved})
    if missing:
        return Refusal(
            "owner-not-approved",
            f"{', '.join(missing)} must approve, and has not",
            seen={"approvals": len(approved)},
            pinned={"required": missing},
        )
    return None


def _datasets(request: Request, study: Study, view: ChainView) -> Refusal | None:
    presented = tuple(dataset.id for dataset in request.datasets)
    if sorted(presented) != list(study.datasets) or len(set(presented)) != len(presented):
        return Refusal(
            "dataset-mismatch",
            "the datasets are not those of the study",
            seen={"datasets": [to_hex(one) for one in presented]},
            pinned={"datasets": [to_hex(one) for one in study.datasets]},
        )
    records = {record.id: record for record in view.datasets}
    for dataset in request.datasets:
        record = records.get(dataset.id)
        if record is None or not _same(dataset, record, view):
            return Refusal(
                "dataset-mismatch",
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


def _watched(config: Config) -> Refusal | None:
    if config.watcher_seen is None:
        return Refusal("watcher-dead", "no watcher has reported on this consortium yet")
    age = config.now - config.watcher_seen
    if age > MAX_WATCH_AGE_S:
        return Refusal(
            "watcher-dead", f"the watcher last saw this consortium {age} s ago (limit {MAX_WATCH_AGE_S} s)"
        )
    return None


def _no_run_left(what: str, runs: int, limit: int) -> Refusal:
    return Refusal(
        "runs-exhausted",
        f"all {limit} runs that {what} allows were opened",
        seen={"runs": runs},
        pinned={"maxRuns": limit},
    )


def _over(what: str, request: Request, left_micro: int, left_pico: int) -> Refusal | None:
    """Refuse unless as much is left as the run needs."""
    left_micro, left_pico = max(0, left_micro), max(0, left_pico)
    if request.epsilon_micro > left_micro:
        return Refusal(
            "budget-exceeded",
            f"a run needs ε {epsilon_text(request.epsilon_micro)}, "
            f"and {what} has {epsilon_text(left_micro)} left",
            seen={"epsilonMicro": request.epsilon_micro},
            pinned={"leftMicro": left_micro},
        )
    if request.delta_pico > left_pico:
        return Refusal(
            "budget-exceeded",
            f"a run needs δ {delta_text(request.delta_pico)}, and {what} has {delta_text(left_pico)} left",
            seen={"deltaPico": request.delta_pico},
            pinned={"leftPico": left_pico},
        )
    return None


def _overtaken(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        "not-approved",
        "another study was pinned since this one was proposed: it takes a new proposal",
        seen={"nonce": candidate.study.nonce},
        pinned={"nonce": view.nonce},
    )


def _old_epoch(study: Study, epoch: int) -> Refusal:
    return Refusal(
        "epoch-mismatch",
        f"the study is of epoch {study.epoch}, the consortium is in {epoch}: it takes a new approval",
        seen={"epoch": study.epoch},
        pinned={"epoch": epoch},
    )


def _wrong_recipe(seen: bytes, pinned: bytes) -> Refusal:
    approved = "none" if pinned == ZERO_HASH else to_hex(pinned)
    return Refusal(
        "compose-hash-mismatch",
        f"the machine runs recipe {to_hex(seen)}, pinned is {approved}",
        seen=_compose(seen),
        pinned=_compose(pinned),
    )


def _count_short(candidate: CandidateRecord, view: ChainView) -> Refusal:
    return Refusal(
        "not-approved",
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
