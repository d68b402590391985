# SPDX-License-Identifier: Apache-2.0
"""The page on which owners change what they agreed: forms, and the change that a form asks for.

All of it is a query: the page works without scripts, keeps nothing, and its script compares what a wallet is
asked for with what stands in the address bar.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import ConfigDict, Field

from sealroom.codes import Code
from sealroom.encoding import strict_json, to_hex
from sealroom.errors import FormatError, SealroomError
from sealroom.model import REGIMES, Limits, Owner, Roster, Study, Validity
from sealroom.model.units import read_delta, read_epsilon
from sealroom_agents.chain import LogPosition
from sealroom_agents.chain.owner_events import (
    Proposed,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
    UnpinFailure,
)
from sealroom_agents.chain.views import ZERO_ADDRESS
from sealroom_agents.console import adopting, changes, handing_over, registering, spellings
from sealroom_agents.console.adopting import HASH, PlatformFields, Typed
from sealroom_agents.console.changes import Change, Doubt
from sealroom_agents.console.pages import Consortium, Pages
from sealroom_agents.console.proposing import study
from sealroom_agents.console.studies import Studies
from sealroom_agents.errors import ChainError, RequestError, StoreError
from sealroom_agents.facts import DatasetRecord, Handover
from sealroom_agents.governance.files import content_in
from sealroom_agents.governance.proposals import Content
from sealroom_agents.index import Indexed, Portrait
from sealroom_agents.owner.registration import MAX_REGISTRATION_BYTES, Registration

MAX_DRAFT = 16_000
"""Longest draft of a proposal, characters."""
MOST_OFFERED = 16
"""Datasets that are handed over at once: a holder offers a consortium no more."""
DAY_S = 86_400
MOST_DAYS = 400

Kind = Literal["allow", "lifetime", "roster", "platform", "draft", "study"]
"""What owners agree on, and what a holder lets be spent."""
What = Literal[
    "confirm",
    "offer-seat",
    "keep-seat",
    "accept-seat",
    "offer-datasets",
    "keep-datasets",
    "accept-datasets",
    "withdraw",
    "unpin",
    "register",
]
"""What an account does by itself."""


class Asked(PlatformFields):
    """What the forms send, as people typed it."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    what: Literal["", Kind, What] = ""
    """Empty for the forms alone."""
    proposal: str | None = Field(None, pattern=r"^0x[0-9a-f]{64}$")
    dataset: str | None = Field(None, pattern=r"^0x[0-9a-f]{64}$")
    datasets: tuple[Typed, ...] = Field((), max_length=MOST_OFFERED)
    """Ids of datasets that change hands."""
    of: Typed = ""
    """Account whose seat it is."""
    to: Typed = ""
    """Account that may take what is offered."""
    recipe: Typed = ""
    """Compose hash."""
    epsilon: Typed = ""
    delta: Typed = ""
    day: Typed = ""
    """ε a day."""
    runs: Typed = ""
    days: Typed = ""
    remove: tuple[Typed, ...] = Field((), max_length=16)
    threshold: Typed = ""
    id: Typed = ""
    account: Typed = ""
    jurisdiction: Typed = ""
    regimes: tuple[Typed, ...] = Field((), max_length=16)
    draft: str = Field("", max_length=MAX_DRAFT)
    registration: str = Field("", max_length=MAX_REGISTRATION_BYTES)
    """What `sealroom seal` wrote beside a sealed file."""


class ChangePage:
    """Draws it."""

    def __init__(
        self,
        pages: Pages,
        indexed: Indexed,
        studies: Studies,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pages = pages
        self._indexed = indexed
        self._studies = studies
        self._clock = clock

    def router(self) -> APIRouter:
        """Its route."""
        web = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

        @web.get("/studies/{consortium}/change")
        def change(consortium: Consortium, wanted: Annotated[Asked, Query()]) -> HTMLResponse:
            return self.page(consortium, wanted)

        return web

    def page(self, consortium: str, wanted: Asked) -> HTMLResponse:
        """The forms, and the change that was asked for, or why there is none."""
        portrait = self._indexed.one(consortium)
        change: Change | None = None
        named: DatasetRecord | None = None
        doubts: tuple[Doubt, ...] = ()
        problem = ""
        try:
            if wanted.dataset is not None and not wanted.what:
                named = self._dataset(portrait, wanted.dataset)
            found = self._change(portrait, wanted)
            if isinstance(found, Change):
                change, doubts = found, found.doubts
            else:
                doubts = tuple(found or ())
        except RequestError as error:
            if wanted.proposal is None:
                raise
            return self._pages.became(consortium, bytes.fromhex(wanted.proposal[2:]), error)
        except (ChainError, StoreError):
            raise
        except SealroomError as error:
            problem = error.message
        held = {one.id: one for one in (*portrait.facts.offered, *portrait.facts.view.datasets)}
        if named is not None:
            held.setdefault(named.id, named)
        return self._pages.draw(
            "change.html",
            status=400 if problem else 200,
            page="study",
            view=portrait.facts.view,
            change=change,
            doubts=doubts,
            problem=problem,
            wanted=wanted,
            datasets=list(held.values()),
            regimes=REGIMES,
            handovers={(one.kind, one.about): one for one in portrait.facts.handovers},
            moving=_moving(portrait),
            kept=_kept(portrait),
            governing=self._studies.picture(consortium).governing,
        )

    def _change(self, portrait: Portrait, wanted: Asked) -> Change | list[Doubt] | None:
        """Raises `FormatError` for what cannot be read, `RequestError` for what is not here."""
        view, now = portrait.facts.view, self._clock()
        if wanted.proposal is not None:
            no = wanted.what == "withdraw"
            if wanted.what and not no:
                raise FormatError(Code.MALFORMED, "a proposal that waits is voted for, or said no to")
            return self._standing(portrait, bytes.fromhex(wanted.proposal[2:]), no=no)
        if wanted.what == "withdraw":
            raise FormatError(Code.MALFORMED, "it takes the id of a proposal to say no to it")
        if wanted.what == "confirm":
            return handing_over.confirm(view)
        if wanted.what == "unpin":
            return handing_over.unpin(view, _kept(portrait))
        if wanted.what in ("offer-seat", "keep-seat", "accept-seat"):
            return _seat(portrait, wanted, now)
        if wanted.what in ("offer-datasets", "keep-datasets", "accept-datasets"):
            return self._datasets(portrait, wanted, now)
        if wanted.what == "register":
            return self._registering(portrait, wanted)
        if wanted.what in ("allow", "lifetime"):
            data = self._dataset(portrait, wanted.dataset)
            # No ε at all takes the dataset back.
            none = wanted.what == "allow" and wanted.epsilon == "0"
            epsilon = 0 if none else read_epsilon(wanted.epsilon, "ε")
            delta = read_delta(wanted.delta or "0", "δ")
            if wanted.what == "lifetime":
                return changes.lifetime(view, data, epsilon, delta)
            per_day = read_epsilon(wanted.day, "ε a day") if wanted.day and wanted.day != "0" else epsilon
            limits = Limits(
                epsilon_micro=epsilon, delta_pico=delta, epsilon_per_day=per_day,
                runs_per_day=_number(wanted.runs or "100", "runs a day", 0, 65_535),
            )  # fmt: skip
            return changes.allowance(view, data, limits, run=self._run(portrait, data))
        if wanted.what == "roster":
            content, command = self._roster(portrait, wanted, now)
            return self._governing(portrait, content, now=now, command=command)
        if wanted.what == "platform":
            return self._platform(portrait, wanted, now)
        if wanted.what == "draft":
            drafted = content_in(strict_json(wanted.draft.encode(), MAX_DRAFT * 4), "the draft")
            if isinstance(drafted, Study):
                raise FormatError(Code.MALFORMED, "a study is proposed from its recipe, not from a draft")
            return self._governing(portrait, drafted, now=now, command="approve --proposal FILE")
        if wanted.what == "study":
            if not HASH.fullmatch(wanted.recipe):
                raise FormatError(
                    Code.MALFORMED,
                    "a recipe is named by its compose hash: 0x and 64 hex digits in lower case",
                )
            recipe = self._studies.recipe(bytes.fromhex(wanted.recipe[2:]))
            if recipe is None:
                raise FormatError(Code.UNKNOWN_RECIPE, "no recipe with this compose hash was handed in here")
            runs = _number(wanted.runs or "1", "runs", 1, 2**32 - 1)
            days = _number(wanted.days or "30", "days", 1, MOST_DAYS)
            return study(portrait, recipe, runs=runs, days=days, now=now)
        return None

    def _dataset(self, portrait: Portrait, wanted: str | None) -> DatasetRecord:
        """A dataset that is used or offered here; else any that is registered. Raises `FormatError`."""
        found = next((one for one in _known(portrait) if to_hex(one.id) == wanted), None)
        if found is None and wanted is not None and HASH.fullmatch(wanted):
            found = self._studies.dataset(portrait.facts.view.consortium, bytes.fromhex(wanted[2:]))
        if found is None:
            raise FormatError(Code.MALFORMED, "nobody has registered such a dataset")
        return found

    def _datasets(self, portrait: Portrait, wanted: Asked, now: float) -> Change:
        found = [self._dataset(portrait, one) for one in dict.fromkeys(wanted.datasets)]
        if not found:
            raise FormatError(Code.MALFORMED, "it takes one dataset at least")
        if wanted.what == "accept-datasets":
            return handing_over.accept_datasets(portrait.facts, found, now=now)
        to = ZERO_ADDRESS if wanted.what == "keep-datasets" else _receiver(wanted)
        return handing_over.offer_datasets(portrait.facts, found, to)

    def _registering(self, portrait: Portrait, wanted: Asked) -> Change:
        view = portrait.facts.view
        value = strict_json(wanted.registration.encode(), MAX_REGISTRATION_BYTES)
        given = Registration.from_json(value, what="the registration")
        known = self._studies.dataset(view.consortium, given.dataset)
        if given.number > 1:
            return registering.version(view, given, known)
        epsilon = read_epsilon(wanted.epsilon, "ε for life")
        delta = read_delta(wanted.delta or "0", "δ for life")
        return registering.dataset(view, given, known, epsilon_micro=epsilon, delta_pico=delta)

    def _run(self, portrait: Portrait, data: DatasetRecord) -> int | None:
        """ε of one run of the live study, where it uses a dataset."""
        one = portrait.facts.view.study
        if one is None or data.id not in one.datasets:
            return None
        recipe = self._studies.recipe(one.compose_hash)
        return recipe.epsilon_micro if recipe else one.epsilon_micro // one.max_runs

    def _standing(self, portrait: Portrait, proposal: bytes, *, no: bool) -> Change:
        """A proposal that waits, to be voted for or said no to. Raises `RequestError` `unknown-study`."""
        unknown = RequestError(
            Code.UNKNOWN_STUDY,
            "no such proposal waits for approval here",
            "where it was proposed just now, try again in a moment",
        )
        votes = next((one for one in portrait.facts.pending if one.id == proposal), None)
        event = next((one for one in portrait.votes.of(Proposed) if one.proposal == proposal), None)
        if votes is None or event is None:
            raise unknown
        content: Content
        match event:
            case ProposedRoster():
                content = event.roster.under(event.terms)
            case ProposedPlatform():
                content = event.platform.under(event.terms)
            case ProposedMachines():
                content = event.machines.under(event.terms)
            case _:
                raise unknown
        if no:
            return handing_over.decline(
                portrait.facts.view, content, approved=votes.approved, withdrawn=votes.withdrawn,
                expiry=event.terms.expiry,
            )  # fmt: skip
        return self._governing(portrait, content, now=self._clock())

    def _governing(self, portrait: Portrait, content: Content, *, now: float, command: str = "") -> Change:
        """With the votes that it has: what was drafted may have been proposed meanwhile."""
        votes = next((one for one in portrait.facts.pending if one.id == content.id), None)
        return changes.governing(
            portrait.facts.view, content, now=now, command=command,
            approved=votes.approved if votes else (), withdrawn=votes.withdrawn if votes else (),
        )  # fmt: skip

    def _platform(self, portrait: Portrait, wanted: Asked, now: float) -> Change:
        days = _number(wanted.days or "30", "days", 1, MOST_DAYS)
        expiry = int(now) + days * DAY_S
        content, command = adopting.proposal(portrait, wanted, days=days, expiry=expiry)
        change = self._governing(portrait, content, now=now, command=command)
        return replace(change, doubts=(*change.doubts, *adopting.doubts(portrait, content, now=now)))

    def _roster(self, portrait: Portrait, wanted: Asked, now: float) -> tuple[Content, str]:
        view = portrait.facts.view
        add: tuple[Owner, ...] = ()
        days = _number(wanted.days or "90", "days", 1, MOST_DAYS)
        command = "roster" + "".join(f" --remove {one}" for one in wanted.remove)
        if wanted.id or wanted.account:
            given = {
                "account": spellings.address(wanted.account), "jurisdiction": wanted.jurisdiction.upper(),
                "regimes": list(wanted.regimes), "id": wanted.id,
            }  # fmt: skip
            add = (Owner.from_json(given, what="the owner who joins"),)
            command += " --add owner.json"
        after = len(view.owners) - len(set(wanted.remove)) + len(add)
        threshold = _number(wanted.threshold or str(min(view.threshold, max(1, after))), "approvals", 1, 16)
        roster = Roster.from_json(
            {"remove": list(wanted.remove), "add": [one.to_json() for one in add], "threshold": threshold}
        )
        terms = Validity(expiry=int(now) + days * DAY_S, follows=view.roster_digest)
        return roster.under(terms), f"{command} --threshold {threshold} --days {days}"


def _seat(portrait: Portrait, wanted: Asked, now: float) -> Change:
    facts, of = portrait.facts, spellings.address(wanted.of)
    if wanted.what == "accept-seat":
        return handing_over.accept_seat(facts, of, now=now)
    to = ZERO_ADDRESS if wanted.what == "keep-seat" else _receiver(wanted)
    return handing_over.offer_seat(facts, of, to)


def _receiver(wanted: Asked) -> str:
    to = spellings.address(wanted.to)
    if to == ZERO_ADDRESS:
        raise FormatError(Code.MALFORMED, "nobody can take anything with the zero account")
    return to


def _moving(portrait: Portrait) -> list[tuple[str, int, list[str]]]:
    """Datasets that are offered: to whom, from when all of them may be taken, and their ids; those of one
    holder together."""
    holders = {to_hex(one.id): one.holder for one in _known(portrait)}
    found: dict[tuple[str, str], list[Handover]] = {}
    for one in portrait.facts.handovers:
        if one.kind == "dataset" and one.about in holders:
            found.setdefault((one.to, holders[one.about]), []).append(one)
    return [
        (to, max(one.due for one in ones), [one.about for one in ones]) for (to, _), ones in found.items()
    ]


def _place(at: LogPosition) -> tuple[int, int]:
    return at.block, at.index


def _kept(portrait: Portrait) -> bytes:
    """Compose hash that the app was told to allow and keeps, although no study is live; or nothing."""
    view, pins = portrait.facts.view, portrait.votes.pins
    study = view.study
    if study is not None:
        return study.compose_hash if view.app_allows and not view.live else b""
    failed = portrait.votes.of(UnpinFailure)
    if failed and pins and _place(failed[-1].at) > _place(pins[-1].at):
        return failed[-1].compose_hash
    return b""


def _known(portrait: Portrait) -> tuple[DatasetRecord, ...]:
    facts = portrait.facts
    return (*facts.offered, *facts.view.datasets, *(one for use in facts.datasets for one in use.datasets))


def _number(text: str, what: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or not low <= int(text) <= high:
        raise FormatError(Code.MALFORMED, f"{what} must be a whole number from {low} to {high}")
    return int(text)
