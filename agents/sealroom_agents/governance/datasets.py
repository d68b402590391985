# SPDX-License-Identifier: Apache-2.0
"""Actions on datasets: registration, versions, budgets, and another holder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Limits
from sealroom.model.units import delta_text, epsilon_text, read_delta, read_epsilon
from sealroom_agents.errors import ToolError
from sealroom_agents.governance import words
from sealroom_agents.governance.acts import Act, Call
from sealroom_agents.governance.desk import Answer, Desk
from sealroom_agents.governance.standing import NOBODY

if TYPE_CHECKING:
    from sealroom_agents.owner.registration import Registration


def register(
    desk: Desk,
    *,
    registration: Path,
    lifetime: str,
    lifetime_delta: str,
    cap: str | None,
    delta: str,
    per_day: str | None,
    runs_per_day: int,
) -> Answer:
    """Register a dataset with its lifetime account, and let this consortium spend of it."""
    from sealroom_agents.owner.registration import registration_in

    given = registration_in(registration)
    if given.number != 1:
        raise ToolError(
            Code.REGISTRATION_DIFFERS,
            f"{registration} is version {given.number} of {given.name}",
            "`govern add-version` registers it",
        )
    _require_registrant(desk, given)
    epsilon, pico = read_epsilon(lifetime, "--lifetime"), read_delta(lifetime_delta, "--lifetime-delta")
    ledger = desk.standing.ledger
    calls = [Call("Ledger", ledger, "register", (given.name, given.version.solidity(), epsilon, pico))]
    limits = None
    if cap is not None:
        limits = _limits(cap, delta, per_day, runs_per_day)
        _warn_beyond_life(desk, limits, epsilon, pico)
        calls.append(_allow(desk, given.dataset, limits))
    act = Act(f"Register the dataset {given.name}", tuple(calls))
    outcome = desk.perform(act, standing=desk.standing)
    facts = {
        "dataset": to_hex(given.dataset),
        "name": given.name,
        "rows": given.version.rows,
        "limits": None if limits is None else limits.to_json(),
        **outcome.facts,
    }
    lines = [
        ("dataset", f"{given.name}  {given.version.rows:,} rows  {to_hex(given.dataset)}"),
        ("here", "nothing is allowed yet: `govern allow`" if limits is None else str(limits)),
        *outcome.lines,
    ]
    return desk.answer(facts, lines)


def add_version(desk: Desk, *, registration: Path) -> Answer:
    """Register another sealed file of the same dataset: a corrected extract."""
    from sealroom_agents.owner.registration import registration_in

    given = registration_in(registration)
    (facts,) = desk.standing.datasets([given.dataset])
    if not facts.known:
        raise ToolError(
            Code.NOT_REGISTERED, f"nobody registered {given.name} yet", "`govern register` takes version 1"
        )
    if given.number != facts.dataset.versions + 1:
        raise ToolError(
            Code.REGISTRATION_DIFFERS,
            f"{registration} is version {given.number}, and the next one is {facts.dataset.versions + 1}",
            "seal it with that number",
        )
    call = Call("Ledger", desk.standing.ledger, "addVersion", (given.dataset, given.version.solidity()))
    outcome = desk.perform(
        Act(f"Add version {given.number} of {given.name}", (call,)), standing=desk.standing
    )
    return desk.answer(
        {
            "dataset": to_hex(given.dataset),
            "version": given.number,
            "rows": given.version.rows,
            **outcome.facts,
        },
        [
            ("dataset", f"{given.name}, version {given.number}, {given.version.rows:,} rows"),
            ("budget", "the same account: what was spent stays spent"),
            *outcome.lines,
        ],
    )


def lifetime(desk: Desk, *, dataset: str, epsilon: str, delta: str) -> Answer:
    """Set what may be spent on a dataset over its whole life, in all consortia."""
    which = desk.dataset_named(dataset)
    arguments = which, read_epsilon(epsilon, "--epsilon"), read_delta(delta, "--delta")
    call = Call("Ledger", desk.standing.ledger, "setLifetime", arguments)
    return _dataset_act(desk, Act(f"Set the lifetime budget of {dataset} to ε {epsilon}", (call,)), [which])


def allow(
    desk: Desk, *, dataset: str, cap: str, delta: str, per_day: str | None, runs_per_day: int
) -> Answer:
    """Set what this consortium may spend on a dataset, in all and in a day."""
    which = desk.dataset_named(dataset)
    limits = _limits(cap, delta, per_day, runs_per_day)
    (facts,) = desk.standing.datasets([which])
    if facts.known:
        _warn_beyond_life(desk, limits, facts.account.epsilon_cap, facts.account.delta_cap)
    return _dataset_act(desk, Act(f"Allow {limits} on {dataset}", (_allow(desk, which, limits),)), [which])


def offer_datasets(desk: Desk, *, datasets: tuple[str, ...], to: str | None, take_back: bool) -> Answer:
    """Offer datasets to another account, which can take them two days later."""
    if (to is None) == (not take_back):
        raise ToolError(Code.WAY_UNCLEAR, "needs --to ADDRESS, or --take-back")
    which = [desk.dataset_named(one) for one in datasets]
    call = Call("Ledger", desk.standing.ledger, "offer", (which, to or NOBODY))
    return _dataset_act(desk, Act(f"Offer {', '.join(datasets)} to {to or 'nobody'}", (call,)), which)


def accept_datasets(desk: Desk, *, datasets: tuple[bytes, ...]) -> Answer:
    """Take datasets that were offered to this account; what was allowed on them is void."""
    which = list(datasets)
    call = Call("Ledger", desk.standing.ledger, "accept", (which,))
    desk.warnings.append("all allowances on them are void: `govern allow` each consortium anew")
    return _dataset_act(desk, Act(f"Take {len(which)} datasets", (call,)), which)


def _dataset_act(desk: Desk, act: Act, which: Sequence[bytes]) -> Answer:
    outcome = desk.perform(act, standing=desk.standing)
    at = desk.fresh() if outcome.sent else desk.standing
    found = at.datasets(which)
    return desk.answer(
        {"datasets": [words.dataset_json(at, one) for one in found if one.known], **outcome.facts},
        [*(("dataset", words.dataset_line(at, one)) for one in found if one.known), *outcome.lines],
    )


def _require_registrant(desk: Desk, given: Registration) -> None:
    account = desk.way.acting
    if account is not None and account != given.owner:
        raise ToolError(
            Code.SIGNER_NOT_OWNER,
            f"the file was sealed for the account {given.owner}, and {account} would register it",
            "its id follows from that account: register with it, or seal the data for this one",
        )


def _limits(cap: str, delta: str, per_day: str | None, runs_per_day: int) -> Limits:
    epsilon = 0 if cap.strip() == "0" else read_epsilon(cap, "--cap")
    return Limits(
        epsilon_micro=epsilon,
        delta_pico=read_delta(delta, "--delta"),
        epsilon_per_day=epsilon if per_day is None else read_epsilon(per_day, "--per-day"),
        runs_per_day=runs_per_day,
    )


def _warn_beyond_life(desk: Desk, limits: Limits, epsilon_micro: int, delta_pico: int) -> None:
    """Warn of what is allowed here beyond the dataset's lifetime account: that much is never spent."""
    for what, allowed, life, text in (
        ("ε", limits.epsilon_micro, epsilon_micro, epsilon_text),
        ("δ", limits.delta_pico, delta_pico, delta_text),
    ):
        if allowed > life:
            desk.warnings.append(
                f"{what} {text(allowed)} is more than the dataset's lifetime account of {text(life)}: the "
                "account bounds what is spent, here and in all other consortia together"
            )


def _allow(desk: Desk, dataset: bytes, limits: Limits) -> Call:
    return Call("Ledger", desk.standing.ledger, "allow", (dataset, desk.consortium, limits.solidity()))
