# SPDX-License-Identifier: Apache-2.0
"""A study that an owner may propose: its content from the recipe's bytes and the chain, and what is wrong
with it, before anybody votes."""

from __future__ import annotations

from collections.abc import Iterator

from sealroom.encoding import to_hex
from sealroom.model import Study
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom.recipe import Recipe
from sealroom.schema import schema_hash
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.console.changes import Change, Doubt, Row, desk, voters
from sealroom_agents.console.display import plain, short
from sealroom_agents.console.tasks import left
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.governance.acts import Call
from sealroom_agents.governance.drafting import terms_of
from sealroom_agents.governance.words import proposed
from sealroom_agents.index import Portrait
from sealroom_agents.released import is_local
from sealroom_agents.studies.checking import queries, scripts
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.checking.sizes import sizes
from sealroom_agents.studies.positions import Positions

COMPOSE_FILE = "app-compose.json"


def checked(recipe: Recipe, *, rows: int | None) -> list[Doubt]:
    """What `sealroom study check` finds in a recipe without its folder. rows: of all its datasets."""
    findings, nowhere = Findings(), Positions(COMPOSE_FILE, "")
    scripts.names(recipe, findings)
    queries.labels(recipe, nowhere, findings)
    sizes(recipe, nowhere, findings, None, rows)
    return [
        Doubt(one.certain, plain(f"{one.message}{f': {one.hint}' if one.hint else ''}"))
        for one in sorted(findings.found, key=lambda each: not each.certain)
    ]


def matched(portrait: Portrait, recipe: Recipe) -> tuple[list[DatasetRecord], list[Doubt]]:
    """The registered datasets that a recipe reads, in its order, and what is wrong with them."""
    found: list[DatasetRecord] = []
    doubts: list[Doubt] = []
    for spec in recipe.datasets:
        named = f"{plain(spec.owner)}/{plain(spec.name)}"
        fits = [one for one in portrait.facts.offered if (one.holder_id, one.name) == (spec.owner, spec.name)]
        if not fits:
            told = f"No owner offers {named} here: its owner registers it, and allows some of its budget."
            doubts.append(Doubt(True, told))
            continue
        if len(fits) > 1:
            doubts.append(
                Doubt(True, f"{len(fits)} datasets are called {named}: say by command line which is meant.")
            )
        elif fits[0].version.schema_hash != schema_hash(spec.columns):
            doubts.append(Doubt(True, f"{named} was sealed with other columns than the recipe reads."))
        found.append(fits[0])
    return found, doubts


def study(portrait: Portrait, recipe: Recipe, *, runs: int, days: int, now: float) -> Change | list[Doubt]:
    """The proposal of a study; only what is wrong where its datasets are not there."""
    view = portrait.facts.view
    datasets, doubts = matched(portrait, recipe)
    doubts = [*checked(recipe, rows=sum(one.version.rows for one in datasets) or None), *doubts]
    if len(datasets) < len(recipe.datasets) or len({one.id for one in datasets}) < len(datasets):
        return doubts
    terms = terms_of(recipe, [one.id for one in datasets], runs=runs, expiry=int(now) + days * 86_400)
    content = terms.at(basis=view.basis, nonce=view.nonce)
    doubts += _doubts(portrait, recipe, content, datasets, now)
    told = proposed(content)
    about = to_hex(content.id)
    return Change(
        kind="study", title=f"Propose {plain(recipe.name)}",
        effect=f"Once it is approved: {told}. Your approval proposes it: the others see it at once, and "
        "nothing runs before enough of them have approved.",
        rows=tuple(_rows(portrait, content, datasets)),
        call=Call("Consortium", view.consortium, "approve", (content.solidity(), [])),
        command=desk(view.consortium, f"propose --recipe {COMPOSE_FILE} --runs {runs} --days {days}"),
        voters=voters(view.owners, (), (), [*(one.holder for one in datasets), *view.revokers]),
        needed=view.threshold, proposal=about, doubts=tuple(doubts), recipe=to_hex(recipe.compose_hash),
    )  # fmt: skip


def _doubts(
    portrait: Portrait, recipe: Recipe, content: Study, datasets: list[DatasetRecord], now: float
) -> Iterator[Doubt]:
    view = portrait.facts.view
    if is_local(recipe.image) and view.chain_id not in LOCAL_CHAIN_IDS:
        yield Doubt(True, "The recipe names no image that a machine could run: it is for local rooms.")
    for one in datasets:
        rest = left(one)
        if rest < recipe.epsilon_micro:
            told = f"{plain(one.name)} has ε {epsilon_text(rest)} left here: not even one run opens."
        elif rest < content.epsilon_micro:
            fit = rest // recipe.epsilon_micro
            told = f"{plain(one.name)} has ε {epsilon_text(rest)} left here: {fit} of all runs fit."
        else:
            continue
        yield Doubt(False, told)
    if recipe.guarantee.must_read:
        yield Doubt(False, f"{recipe.guarantee.sentence} Each owner has to read the script.")
    if view.platform is None:
        yield Doubt(
            False, "No gate is adopted yet, and adopting one voids votes for studies: adopt it first."
        )
    if view.live:
        yield Doubt(False, "Once it is approved, it takes the place of the live study.")
    for candidate in portrait.facts.candidates:
        other = candidate.study
        same = (other.compose_hash, other.max_runs, other.basis, other.nonce)
        if (
            same == (content.compose_hash, content.max_runs, content.basis, content.nonce)
            and other.expiry > now
        ):
            yield Doubt(
                False,
                f"The same waits already as {short(to_hex(other.id))}, until {time_text(other.expiry)}: "
                "approve that one, so that votes do not split.",
            )


def _rows(portrait: Portrait, content: Study, datasets: list[DatasetRecord]) -> Iterator[Row]:
    pins = portrait.votes.pins
    before = pins[-1].content if pins else None
    names = {
        one.id: f"{plain(one.holder_id)}/{plain(one.name)}" for one in (*portrait.facts.offered, *datasets)
    }

    def told(one: Study | None) -> list[str]:
        if one is None:
            return ["none was approved"] * 8
        return [
            to_hex(one.compose_hash),
            to_hex(one.output_hash),
            to_hex(one.privacy_hash),
            "\n".join(sorted(names.get(each, short(to_hex(each))) for each in one.datasets)),
            epsilon_text(one.epsilon_micro),
            delta_text(one.delta_pico),
            str(one.max_runs),
            time_text(one.expiry),
        ]

    what = (
        "recipe",
        "what may leave",
        "privacy policy",
        "datasets",
        "ε of all runs",
        "δ of all runs",
        "runs",
        "until",
    )
    yield from zip(what, told(before), told(content), strict=True)
