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
9.  the platform policy accepts the recipe's guarantee                     guarantee-not-accepted
    · GPU evidence came where the recipe demands it, and only there        gpu-evidence-unverified
10. the study has not expired                                              study-expired
11. the study is live, and the standing is the same at the latest block    standing-mismatch
12. approvals are counted again: k, and the owner of each dataset          not-approved, owner-not-approved
13. the datasets presented are the versions that the study uses            dataset-mismatch
14. a run is left, and ε and δ: of the study, and of each dataset, for     runs-exhausted, budget-exceeded
    its lifetime, for this consortium, and today
15. the newest block is as new as the platform policy asks (CH-04)         chain-stale
    · and the watcher saw the consortium as lately (OP-09)                  watcher-dead

Granting takes k, stopping takes one; approve late, revoke early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.key_release import Refusal, datasets_root
from sealroom.model import Grant, Study
from sealroom_agents.facts import (
    ChainView,
    Evidence,
    LatestView,
)
from sealroom_agents.gate import data_rules, machine_rules, study_rules
from sealroom_agents.gate.cases import Case, Config, Renewal, Request

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
        return study_rules.wrong_recipe(evidence.compose_hash, study_rules.ZERO_HASH)
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
    study), `study-expired`, `chain-stale`, `watcher-dead`. Machines that are added change neither.
    """
    run = Renewal(view=view, latest=latest, config=config, study=study, standing=standing)
    return _first(rule.judge(run) for rule in RENEWAL)


def _first(refusals: Iterator[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in refusals if refusal is not None), None)


def _of_study(check: Callable[[Study, Case], Refusal | None]) -> Callable[[Case], Refusal | None]:
    """A check of the pinned study; where none is pinned, the recipe is not the pinned one."""

    def of_study(case: Case) -> Refusal | None:
        study = case.view.study
        if study is None:
            return study_rules.wrong_recipe(case.evidence.compose_hash, study_rules.ZERO_HASH)
        return check(study, case)

    return of_study


RULES: tuple[Rule[Case], ...] = (
    Rule(
        "the platform is simulated on a local chain only",
        (Code.SIMULATED_ROOT_OFF_LOCAL_CHAIN,),
        lambda case: machine_rules.simulated(case.evidence, case.view),
    ),
    Rule(
        "the TCB is up to date, and the app contract asks for it",
        (Code.TCB_NOT_UP_TO_DATE,),
        lambda case: machine_rules.tcb(case.evidence, case.view),
    ),
    Rule(
        "the owners adopted this gate, with the platform policy by which it judges",
        (Code.GATE_NOT_REGISTERED, Code.PLATFORM_POLICY_MISMATCH),
        lambda case: machine_rules.adopted(case.view, case.config),
    ),
    Rule(
        "nobody revoked, in the finalized block or in any newer one that a node shows",
        (Code.REVOKED,),
        lambda case: study_rules.revoked(case.view, case.latest, case.config),
    ),
    Rule(
        "the machine booted for the consortium's app",
        (Code.APP_ID_MISMATCH,),
        lambda case: machine_rules.booted(case.evidence, case.view),
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
        lambda case: study_rules.measured(case.request, case.evidence, case.view, case.latest),
    ),
    Rule(
        "the machine's keys come from the gate's KMS",
        (Code.KEY_PROVIDER_MISMATCH,),
        lambda case: machine_rules.key_provider(case.evidence, case.config),
    ),
    Rule(
        "the owners allow the OS image",
        (Code.OS_IMAGE_NOT_ALLOWED,),
        lambda case: machine_rules.os_image(case.evidence, case.view),
    ),
    Rule(
        "the owners allow the machine, and the app contract not any machine",
        (Code.DEVICE_NOT_ALLOWED,),
        lambda case: machine_rules.device(case.evidence, case.view),
    ),
    Rule(
        "the policy accepts the recipe's guarantee, and GPU evidence came if the recipe demands it, or none",
        (Code.GUARANTEE_NOT_ACCEPTED, Code.GPU_EVIDENCE_UNVERIFIED),
        lambda case: (
            machine_rules.guarantee(case.request, case.config)
            or machine_rules.gpu_evidence(case.request, case.config)
        ),
    ),
    Rule(
        "the study has not expired",
        (Code.STUDY_EXPIRED,),
        _of_study(lambda study, case: study_rules.expired(study, case.view, case.config)),
    ),
    Rule(
        "the study is live, the standing is that of the newest block, which has the study pinned too",
        (Code.STANDING_MISMATCH, Code.COMPOSE_HASH_MISMATCH),
        _of_study(
            lambda study, case: (
                study_rules.stands(case.view, case.latest)
                or study_rules.superseded(study, case.evidence, case.latest)
            )
        ),
    ),
    Rule(
        "the approvals, counted again, are k and those of all datasets' holders, who are owners",
        (Code.NOT_APPROVED, Code.OWNER_NOT_APPROVED),
        lambda case: study_rules.approved(
            case.view.approvals,
            tuple(dataset.holder for dataset in case.view.datasets if dataset.number != 0),
            case.view,
        ),
    ),
    Rule(
        "the datasets are the study's, with the headers of the versions that it uses",
        (Code.DATASET_MISMATCH,),
        _of_study(lambda study, case: data_rules.datasets(case.request, study, case.view)),
    ),
    Rule(
        "a run is left, and ε and δ, of the study and of each dataset: lifetime, this consortium, today",
        (Code.RUNS_EXHAUSTED, Code.BUDGET_EXCEEDED),
        _of_study(
            lambda study, case: data_rules.budget(
                case.request, study, case.view, max(case.config.now, case.latest.block_time)
            )
        ),
    ),
    Rule(
        "newest block and watcher's report are as new as the platform policy asks",
        (Code.CHAIN_STALE, Code.WATCHER_DEAD),
        lambda case: study_rules.recent(case.latest, case.config) or study_rules.watched(case.config),
    ),
)
"""The checks of `decide`, in their order."""
RENEWAL: tuple[Rule[Renewal], ...] = (
    Rule(
        "the owners still adopt this gate, with the platform policy by which it judges",
        (Code.GATE_NOT_REGISTERED, Code.PLATFORM_POLICY_MISMATCH),
        lambda run: machine_rules.adopted(run.view, run.config),
    ),
    Rule(
        "nobody revoked", (Code.REVOKED,), lambda run: study_rules.revoked(run.view, run.latest, run.config)
    ),
    Rule(
        "the standing is that of the run, and its study is pinned", (Code.LEASE_ENDED,), study_rules.goes_on
    ),
    Rule(
        "the study has not expired",
        (Code.STUDY_EXPIRED,),
        lambda run: (
            study_rules.expired(run.view.study, run.view, run.config)
            if run.view.study is not None
            else study_rules.goes_on(run)
        ),
    ),
    Rule(
        "newest block and watcher's report are as new as the platform policy asks",
        (Code.CHAIN_STALE, Code.WATCHER_DEAD),
        lambda run: study_rules.recent(run.latest, run.config) or study_rules.watched(run.config),
    ),
)
"""The checks of `renew`, in their order."""
