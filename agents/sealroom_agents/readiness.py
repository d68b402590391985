# SPDX-License-Identifier: Apache-2.0
"""What a run still lacks, in words for the researcher; it decides nothing, the gate does.

Two kinds of things can be missing. Some can still arrive, such as an approval, a finalized block or the next
day's budget: a run waits for them. Others can't, such as an expired study: the run goes on at once, so that
the gate gives the refusal, with the chain state that it saw. `missing` is pure; `check_readiness` reads the
chain and calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealroom.codes import Code
from sealroom.model import Owner, Study
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord, LatestView

DAY_S = 86_400
FINAL = frozenset({Code.REVOKED, Code.EXPIRED, Code.BUDGET})
"""Codes that no further approval of this study mends."""
OPERATORS = frozenset({Code.DATASET_NOT_READY, Code.RUNNER_NOT_READY, Code.GATE_NOT_READY})
"""What a runner finds missing, and no chain shows: the run waits until its operator has seen to it."""


class DatasetName(Protocol):
    """How a recipe names a dataset."""

    @property
    def owner(self) -> str:
        """Owner id."""

    @property
    def name(self) -> str:
        """Name among that owner's datasets."""


class RecipeFacts(Protocol):
    """What of a recipe matters here; `sealroom.recipe.Recipe` has it."""

    @property
    def compose_hash(self) -> bytes:
        """SHA-256 of the recipe's bytes."""

    @property
    def epsilon_micro(self) -> int:
        """Budget of one run, micro-epsilon."""

    @property
    def delta_pico(self) -> int:
        """The same for δ, pico-delta."""

    @property
    def datasets(self) -> Sequence[DatasetName]:
        """Datasets it reads."""


@dataclass(frozen=True)
class Missing:
    """One thing that a run lacks."""

    code: Code
    """Stable word, such as `approval-missing`."""
    message: str
    """One line for people."""
    owner: str | None = None
    """Id of the owner whom it concerns."""

    def to_json(self) -> dict[str, str]:
        """As the REST interface and the store write it."""
        return {"code": self.code, "message": self.message} | ({"owner": self.owner} if self.owner else {})


class Chain(Protocol):
    """What `check_readiness` reads of `sealroom_agents.chain.ChainReader`."""

    def latest_view(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        """Newest state."""

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """State at the newest finalized block."""

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that owners let the consortium use."""


def should_wait(missing: Sequence[Missing]) -> bool:
    """Whether a run that lacks this should wait: something can still
    arrive, and nothing is beyond mending."""
    return bool(missing) and not any(item.code in FINAL for item in missing)


def check_readiness(chain: Chain, consortium: str, recipe: RecipeFacts, *, now: float) -> tuple[Missing, ...]:
    """What a run of `recipe` lacks by the chain as it is now. Raises `ChainError`."""
    latest = chain.latest_view(consortium, compose_hash=recipe.compose_hash).best
    if latest is None:
        raise ChainError(Code.CHAIN_UNREACHABLE, "the node gave no whole view")
    finalized: ChainView | None
    try:
        finalized = chain.finalized_view(consortium, compose_hash=recipe.compose_hash)
    except ChainError as error:
        if error.code != Code.NOT_A_CONSORTIUM:
            raise
        finalized = None  # so new that its own creation is not final
    registered = None
    if latest.study is None and proposed(latest) is None:
        registered = frozenset((item.holder, item.name) for item in chain.offered(consortium))
    return missing(recipe, latest=latest, finalized=finalized, registered=registered, now=now)


def proposed(view: ChainView) -> CandidateRecord | None:
    """The proposal that the view was asked for, where it still counts: approvals that follow another basis
    are dead, and those of a study that another one overtook."""
    candidate = view.candidate
    if candidate is None or (candidate.study.basis, candidate.study.nonce) != (view.basis, view.nonce):
        return None
    return candidate


def missing(
    recipe: RecipeFacts,
    *,
    latest: ChainView,
    finalized: ChainView | None,
    registered: frozenset[tuple[str, str]] | None,
    now: float,
) -> tuple[Missing, ...]:
    """Everything that a run of `recipe` lacks, in the order in which it is got.

    `latest` and `finalized` were read with the recipe's compose hash, so that a proposal stands in
    `candidate`. `registered` holds (account, dataset name) of the datasets that the consortium may use, or
    `None` when that was not looked up. `now`: unix seconds.
    """
    return tuple(_missing(recipe, latest, finalized, registered, now))


def _missing(
    recipe: RecipeFacts,
    latest: ChainView,
    finalized: ChainView | None,
    registered: frozenset[tuple[str, str]] | None,
    now: float,
) -> Iterator[Missing]:
    study = latest.study
    if study is not None and study.compose_hash == recipe.compose_hash:
        yield from _of_active(recipe, study, latest, finalized, now)
    elif (candidate := proposed(latest)) is not None:
        yield from _of_candidate(candidate, latest, now)
    else:
        yield from _of_nothing(recipe, latest, registered)


def _of_active(
    recipe: RecipeFacts, study: Study, latest: ChainView, finalized: ChainView | None, now: float
) -> Iterator[Missing]:
    if study.expiry <= now:
        yield _expired(study)
        return
    yield from _over_budget(recipe, study, latest, now)
    if finalized is None or finalized.study is None or finalized.study.id != study.id:
        final = f" (final: {finalized.block_number}, newest: {latest.block_number})" if finalized else ""
        yield Missing(Code.NOT_FINALIZED, f"pinned, but not yet in a finalized block{final}")


def _over_budget(recipe: RecipeFacts, study: Study, latest: ChainView, now: float) -> Iterator[Missing]:
    if latest.spending.runs >= study.max_runs:
        yield Missing(Code.BUDGET, f"all {study.max_runs} runs of the study are used")
    yield from _short(
        recipe,
        "the study has {left} left",
        study.epsilon_micro - latest.spending.epsilon_micro,
        study.delta_pico - latest.spending.delta_pico,
    )
    for dataset in latest.datasets:
        yield from over_dataset(recipe, dataset, now)


def over_dataset(recipe: RecipeFacts, dataset: DatasetRecord, now: float) -> Iterator[Missing]:
    """What one dataset's lifetime account and allowance lack for one run. `now`: unix seconds."""
    who = dataset.holder_id or dataset.holder
    account, allowance = dataset.account, dataset.allowance
    for says, books in (
        (f"{dataset.name} has {{left}} left in its life", account),
        (f"{who} leaves {{left}} for {dataset.name}", allowance),
    ):
        yield from _short(
            recipe,
            says,
            books.epsilon_cap - books.epsilon_spent,
            books.delta_cap - books.delta_spent,
            who,
        )
    yield from _over_day(recipe, dataset, who, now)


def _over_day(recipe: RecipeFacts, dataset: DatasetRecord, who: str, now: float) -> Iterator[Missing]:
    """What the day's limits lack. The next day mends it, unless a run needs more than a whole day has."""
    allowance = dataset.allowance
    today = allowance.day == int(now) // DAY_S
    spent, runs = (allowance.epsilon_today, allowance.runs_today) if today else (0, 0)
    needs = f"a run needs ε = {epsilon_text(recipe.epsilon_micro)}"
    if recipe.epsilon_micro > allowance.epsilon_per_day:
        has = f"{who} allows {epsilon_text(allowance.epsilon_per_day)} a day for {dataset.name}"
        yield Missing(Code.BUDGET, f"{needs}; {has}", who)
    elif recipe.epsilon_micro > allowance.epsilon_per_day - spent:
        has = f"{who} leaves {epsilon_text(allowance.epsilon_per_day - spent)} today for {dataset.name}"
        yield Missing(Code.BUDGET_TODAY, f"{needs}; {has}", who)
    if runs >= allowance.runs_per_day:
        allows = f"{who} allows {allowance.runs_per_day} runs a day on {dataset.name}"
        if allowance.runs_per_day:
            yield Missing(Code.BUDGET_TODAY, f"{allows}, and {runs} were opened today", who)
        else:
            yield Missing(Code.BUDGET, allows, who)


def _short(
    recipe: RecipeFacts, says: str, left_micro: int, left_pico: int, owner: str | None = None
) -> Iterator[Missing]:
    """What of ε and δ is too little for one run; `says` has a place for what is left."""
    for letter, wanted, left, text in (
        ("ε", recipe.epsilon_micro, left_micro, epsilon_text),
        ("δ", recipe.delta_pico, left_pico, delta_text),
    ):
        if wanted > left:
            has = says.format(left=text(max(left, 0)))
            yield Missing(Code.BUDGET, f"a run needs {letter} = {text(wanted)}; {has}", owner)


def _of_candidate(candidate: CandidateRecord, latest: ChainView, now: float) -> Iterator[Missing]:
    if candidate.study.expiry <= now:
        # Not the end: any owner may have proposed this last, and a proposal before it may still be pinned.
        yield Missing(
            Code.PROPOSAL_EXPIRED,
            f"the newest proposal expired on {time_text(candidate.study.expiry)}: it takes a new one",
        )
        return
    have = f"{len(candidate.approvals)} of {latest.threshold}"
    short = len(candidate.approvals) < latest.threshold
    for owner in latest.owners:
        if owner.account in candidate.approvals:
            continue
        if owner.account in latest.revokers:
            words = latest.revocation_reason if owner.account == latest.revoked_by else ""
            reason = f' ("{words}")' if words else ""
            yield Missing(
                Code.APPROVAL_MISSING, f"{owner.id} revoked{reason} and has not approved again", owner.id
            )
        elif owner.account in candidate.required:
            yield Missing(
                Code.DATA_OWNER_APPROVAL_MISSING,
                f"{owner.id}, whose data it uses, has not approved ({have})",
                owner.id,
            )
        elif short:
            yield Missing(Code.APPROVAL_MISSING, f"{owner.id} has not approved ({have})", owner.id)


def _of_nothing(
    recipe: RecipeFacts, latest: ChainView, registered: frozenset[tuple[str, str]] | None
) -> Iterator[Missing]:
    if latest.revoked_by is not None:
        who = next(
            (owner.id for owner in latest.owners if owner.account == latest.revoked_by), latest.revoked_by
        )
        yield Missing(Code.REVOKED, f'revoked by {who}: "{latest.revocation_reason}"', who)
        return
    if latest.platform is None:
        yield Missing(Code.PLATFORM_MISSING, "the owners have not adopted a gate and its machines yet")
    if registered is not None:
        for dataset in recipe.datasets:
            owner = _owner(latest, dataset.owner)
            if owner is None or (owner.account, dataset.name) not in registered:
                yield Missing(
                    Code.NOT_REGISTERED,
                    f"{dataset.owner} has not registered {dataset.name}, and allowed its use here, yet",
                    dataset.owner,
                )
    yield Missing(
        Code.NOT_PROPOSED,
        "no owner has approved this recipe on the present basis yet; the first approval proposes it",
    )


def _owner(view: ChainView, owner_id: str) -> Owner | None:
    return next((owner for owner in view.owners if owner.id == owner_id), None)


def _expired(study: Study) -> Missing:
    return Missing(Code.EXPIRED, f"the approval expired on {time_text(study.expiry)}")
