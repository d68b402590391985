# SPDX-License-Identifier: Apache-2.0
"""What the chain says of a dataset before it is sealed: one answer a question, in a fixed order.

What was read comes in; nothing is asked here. What the owner alone can mend fails, and nothing is sealed
before it is mended. What others have yet to do, such as an approval, is a doubt: the sealed file keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.owner.approval import NOT_PROPOSED, ApprovalState
from sealroom_agents.readiness import RecipeFacts, over_dataset

NOBODY = "0x" + 40 * "0"


class Verdict(StrEnum):
    """What an answer means for who is about to seal."""

    HOLDS = "holds"
    DOUBT = "doubt"
    FAILS = "fails"


@dataclass(frozen=True)
class Answer:
    """The answer to one question."""

    name: str
    """What was asked: `name`, `version`, `approval`, `standing`, `gate`, `budget`, `space`."""
    verdict: Verdict
    """What it means."""
    detail: str
    """What was found."""
    code: Code | None = None
    """Stable word for what fails or is in doubt."""
    hint: str | None = None
    """What to do."""

    def json(self) -> dict[str, object]:
        """The same as JSON."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
        }


@dataclass(frozen=True)
class Asked:
    """All answers, and of which block they are."""

    chain_id: int
    """The chain."""
    block: int
    """Finalized block."""
    answers: tuple[Answer, ...]
    """In the order in which they are told."""

    @property
    def failed(self) -> Answer | None:
        """The first that fails."""
        return next((one for one in self.answers if one.verdict is Verdict.FAILS), None)

    def json(self) -> dict[str, object]:
        """The same as JSON."""
        answers = [one.json() for one in self.answers]
        return {"chainId": self.chain_id, "block": self.block, "answers": answers}


@dataclass(frozen=True)
class Wanted:
    """What is about to be sealed."""

    account: str
    """Account that registers the dataset, or did."""
    holder: str
    """Account that must hold it: that of the owner who seals."""
    name: str
    """Name of the dataset."""
    version: int
    """Number that the file shall have."""


def of_registry(wanted: Wanted, found: DatasetRecord, newest: Sequence[DatasetRecord]) -> Iterator[Answer]:
    """`name`, then `version`.

    found: the dataset at a finalized block. newest: as each node shows it now; one that is registered there
    and not final yet is waited for, whoever shows it.
    """
    title = f"{wanted.name} of {wanted.account}"
    known = found.holder != NOBODY
    ahead = max((one.number for one in newest), default=0)
    if ahead > found.number:
        said = f"version {ahead} of {title} is registered, and not final yet"
        yield Answer("name", Verdict.FAILS, said, Code.NOT_FINAL, "ask again in some minutes")
        return
    if not known:
        yield Answer("name", Verdict.HOLDS, f"{title} is free: nobody registered it")
    elif found.holder != wanted.holder:
        yield Answer(
            "name",
            Verdict.FAILS,
            f"{title} is held by {found.holder}, not by {wanted.holder}",
            Code.HELD_BY_ANOTHER,
            "its holder alone registers a version; other data takes another --name",
        )
    elif wanted.version == 1:
        yield Answer(
            "name",
            Verdict.FAILS,
            f"{title} is registered, and its newest version is {found.number}",
            Code.NAME_TAKEN,
            "for a corrected extract: --new-version; for another study: sealroom reseal; other data takes "
            "another --name",
        )
    else:
        yield Answer("name", Verdict.HOLDS, f"{title} is registered, and yours")
    yield _version(wanted.version, found.number, known=known)


def _version(number: int, newest: int, *, known: bool) -> Answer:
    wanted = newest + 1
    if number == wanted:
        after = f"follows version {newest}, the newest" if known else "is the first"
        return Answer("version", Verdict.HOLDS, f"{number} {after}")
    hint = f"--new-version takes number {wanted}"
    if not known:
        hint = "register the first one: sealroom govern register; or seal this file as the first"
    has = f"the newest is {newest}" if known else "none is registered"
    return Answer(
        "version",
        Verdict.FAILS,
        f"{number} is not the next one: {has}, so the next is {wanted}",
        Code.VERSION_NOT_NEXT,
        hint,
    )


def of_approval(state: ApprovalState, *, owner: str, early: bool) -> Answer:
    """`approval`: a wrap is good for a recipe whenever its owners approve it, so a lack is a doubt.

    early: whether no study is to be expected yet. Then its lack is the order of things, and no doubt: a study
    is drawn up of datasets that are registered.
    """
    if early and state.state == NOT_PROPOSED and state.revoked_by is None:
        return Answer("approval", Verdict.HOLDS, "none yet: a study is proposed once its data are registered")
    verdict = Verdict.HOLDS if state.code is None else Verdict.DOUBT
    return Answer("approval", verdict, state.sentence(owner), state.code)


def of_standing(view: ChainView, account: str) -> Answer:
    """`standing`: whether the account votes for an owner, and that owner's veto does not stand."""
    owner = next((one for one in view.owners if one.account == account), None)
    if owner is None:
        return Answer(
            "standing",
            Verdict.DOUBT,
            f"{account} votes for no owner of {view.consortium}",
            Code.OWNER_UNKNOWN,
            "a study of this consortium uses datasets of its owners only",
        )
    said = f"{owner.id} votes with {account}, one of {len(view.owners)} owners"
    if account in view.revokers:
        return Answer(
            "standing", Verdict.DOUBT, f"{said}, and has revoked itself", Code.REVOKED, "approve again"
        )
    return Answer("standing", Verdict.HOLDS, said)


def of_gate(*, policy: bytes, issued: int, now: int, limit_s: int) -> Answer:
    """`gate`: how old its evidence is, once that was judged."""
    days, most = max(0, now - issued) // 86_400, limit_s // 86_400
    said = f"its evidence is {days} days old, of at most {most}, and holds under the owners' policy "
    return Answer("gate", Verdict.HOLDS, said + to_hex(policy))


def of_budget(recipe: RecipeFacts, found: DatasetRecord, view: ChainView, *, now: float) -> Answer:
    """`budget`: whether one run fits the dataset's account and allowance; then whether the study's do."""
    run = f"a run takes ε {epsilon_text(recipe.epsilon_micro)}"
    if recipe.delta_pico:
        run += f" and δ {delta_text(recipe.delta_pico)}"
    if found.holder == NOBODY:
        return Answer("budget", Verdict.HOLDS, f"{run}; what may be spent is said when it is registered")
    account, allowance = found.account, found.allowance
    life = f"ε {epsilon_text(max(0, account.epsilon_cap - account.epsilon_spent))} left in its life"
    if not allowance.epsilon_cap and not allowance.epsilon_spent:
        return Answer(
            "budget",
            Verdict.DOUBT,
            f"{run}; {life}, and this consortium may spend nothing yet",
            Code.BUDGET,
            "sealroom govern allow says what it may spend",
        )
    short = list(over_dataset(recipe, found, now))
    lasting = [one for one in short if one.code == Code.BUDGET]
    here = f"ε {epsilon_text(max(0, allowance.epsilon_cap - allowance.epsilon_spent))} here"
    if lasting:
        return Answer(
            "budget",
            Verdict.FAILS,
            "; ".join(one.message for one in lasting),
            Code.BUDGET,
            "raise it first: sealroom govern lifetime, sealroom govern allow",
        )
    if short:
        return Answer("budget", Verdict.DOUBT, short[0].message, Code.BUDGET_TODAY, "tomorrow there is more")
    left = min(account.epsilon_cap - account.epsilon_spent, allowance.epsilon_cap - allowance.epsilon_spent)
    runs = left // recipe.epsilon_micro
    said = f"{run}; {life}, {here}: enough for {runs:,} runs"
    wanted = _runs_left(recipe, view)
    if runs < wanted:
        more = f"{said}, and the study has {wanted:,} left"
        return Answer("budget", Verdict.DOUBT, more, Code.BUDGET, "sealroom govern allow allows more")
    return Answer("budget", Verdict.HOLDS, said)


def _runs_left(recipe: RecipeFacts, view: ChainView) -> int:
    """Runs that the recipe's study may still open; 0 where there is none."""
    if view.candidate is not None:
        return view.candidate.study.max_runs
    if view.study is None or view.study.compose_hash != recipe.compose_hash:
        return 0
    return view.study.max_runs - view.spending.runs
