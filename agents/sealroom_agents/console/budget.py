# SPDX-License-Identifier: Apache-2.0
"""The lifetime budget of the datasets that a study uses: what is spent, what it may take, what is left.

The page's script computes the same from the wallet's node (`face/decide/budget.ts`); the two must not differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealroom.model import Account, Allowance, Study
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.console.buys import life
from sealroom_agents.console.display import count
from sealroom_agents.facts import DatasetRecord


@dataclass(frozen=True)
class Line:
    """One dataset beside one study; amounts are micro-epsilon."""

    owner: str
    """Name of the owner who holds it, or the account."""
    name: str
    spent: int
    takes: int
    left: int
    cap: int
    life: str
    """The most right guesses in 100 over its whole life."""
    fits: str
    runs: int
    """How many of the study's runs fit."""

    @property
    def bars(self) -> tuple[float, float]:
        """Spent and taken, in percent of the cap."""
        if not self.cap:
            return 0, 0
        takes = min(self.takes, max(self.cap - self.spent, 0))
        return min(100.0, 100 * self.spent / self.cap), min(100.0, 100 * takes / self.cap)


def lines(datasets: Iterable[DatasetRecord], study: Study, run: tuple[int, int]) -> list[Line]:
    """A line each, by owner and name; `run` is what one run costs, micro-epsilon and pico-delta."""
    found = sorted(datasets, key=lambda one: (_owner(one), one.name, one.id))
    return [_line(one, study, run) for one in found]


def run_cost(study: Study, epsilon_micro: int | None, delta_pico: int | None) -> tuple[int, int]:
    """What one run costs: as the recipe says, or a share of the whole where its bytes are not here."""
    if epsilon_micro is not None and delta_pico is not None:
        return epsilon_micro, delta_pico
    return -(-study.epsilon_micro // study.max_runs), -(-study.delta_pico // study.max_runs)


def verdict(found: Sequence[Line], study: Study) -> str:
    """Whether all of the study's runs fit, in one sentence."""
    most = study.max_runs
    runs = min([one.runs for one in found], default=most)
    if runs == most:
        every = "The one run fits" if most == 1 else f"All {count(most)} runs fit"
        return f"{every} into what the datasets have left."
    fit = f"Only {count(runs)} of {count(most)} runs can open" if runs else "No run can open"
    return f"{fit}: this proposal does not fit."


def _line(one: DatasetRecord, study: Study, run: tuple[int, int]) -> Line:
    account, allowance, most = one.account, one.allowance, study.max_runs
    left = max(account.epsilon_cap - account.epsilon_spent, 0)
    ever, leaves = _room(account, run, most)
    here, allows = _room(allowance, run, most)
    runs, fits = min(ever, here), "fits"
    if runs < most:
        where = f"its lifetime leaves {leaves}" if ever <= here else f"it allows {allows} more here"
        one_run = "run fits" if most == 1 else "runs fit"
        fits = (f"only {count(runs)} of {count(most)} {one_run}" if runs else "no run fits") + f": {where}"
    return Line(
        owner=_owner(one),
        name=one.name,
        spent=account.epsilon_spent,
        takes=study.epsilon_micro,
        left=max(left - study.epsilon_micro, 0),
        cap=account.epsilon_cap,
        life=life(one),
        fits=fits,
        runs=runs,
    )


def _owner(one: DatasetRecord) -> str:
    return one.holder_id or one.holder


def _room(books: Account | Allowance, run: tuple[int, int], most: int) -> tuple[int, str]:
    """How many runs an account has room for, at most so many, and what it has left of what ends first."""
    epsilon = max(books.epsilon_cap - books.epsilon_spent, 0)
    delta = max(books.delta_cap - books.delta_spent, 0)
    by_epsilon, by_delta = (
        min(most, left // each) if each else most for left, each in ((epsilon, run[0]), (delta, run[1]))
    )
    if by_epsilon <= by_delta:
        return by_epsilon, f"ε {epsilon_text(epsilon)}"
    return by_delta, f"δ {delta_text(delta)}"
