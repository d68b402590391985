# SPDX-License-Identifier: Apache-2.0
"""What the page for researchers shows: cards of one consortium, and calls with this console's own address.

Calls are made to be pasted into a shell or into Python, and hold names that strangers chose: each is quoted
for where it goes (WE-09).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.recipe import DatasetSpec
from sealroom.recipe.researchers import ANYONE
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.console.board import Filters, leading, rows
from sealroom_agents.console.pictures import Picture
from sealroom_agents.console.pins import Pins
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.run_page import RunPage
from sealroom_agents.console.studies import Studies
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.store import Run, Store
from sealroom_agents.verification.released_model import trains

LOOKED_AT = 200
"""Newest consortia, and newest runs, among which the page chooses what it shows."""
DATASETS_SHOWN = 6
EXAMPLE = (("hospital-A", "cohort-A"), ("hospital-B", "cohort-B"))
"""Owners and datasets where no consortium is shown."""


@dataclass(frozen=True)
class Call:
    """Something to copy."""

    label: str
    text: str
    verb: str = ""
    path: str = ""


class BuildPage:
    """Gathers what the page for researchers shows."""

    def __init__(
        self, store: Store, recipes: Recipes, studies: Studies, pins: Pins, run_page: RunPage
    ) -> None:
        self._store = store
        self._recipes = recipes
        self._studies = studies
        self._pins = pins
        self._run_page = run_page
        self._drawn: tuple[Run, dict[str, Any]] | None = None
        """The card of a training that was drawn last: an envelope takes long to draw."""

    def values(self, base: str, consortium: str | None) -> dict[str, Any]:
        """By name what its template reads. `base`: scheme and host of this console; `consortium`: whose cards
        it shows, by default those of one that is live. Raises `RequestError`, `ChainError`."""
        picture = self._studies.picture(consortium) if consortium else self._leading()
        run = self._training(picture.view.consortium if consortium and picture else None)
        names = datasets_of(picture)
        return {
            "base": base,
            "picture": picture,
            "chosen": consortium is not None,
            "datasets": _described(picture)[:DATASETS_SHOWN] if picture else [],
            "more": max(0, len(picture.datasets) - DATASETS_SHOWN) if picture else 0,
            "trained": self._trained(run) if run else None,
            "calls": calls(base, picture),
            "analysis": analysis(names),
            "seal": f"sealroom seal --owner {shlex.quote(names[0][0])} "
            f"--in {shlex.quote(names[0][1] + '.parquet')} --study study.json",
        }

    def _trained(self, run: Run) -> dict[str, Any]:
        drawn = self._drawn
        if drawn is None or drawn[0] != run:
            drawn = self._drawn = run, self._run_page.trained(run)
        return drawn[1]

    def _leading(self) -> Picture | None:
        """A consortium to show where none is asked for: the one that the board leads with."""
        shown, _, progress = self._studies.board(start=0, most=LOOKED_AT)
        pictures = self._studies.pictures([row for row in shown if not row.declared], progress)
        lead = leading(rows(pictures, self._pins, Filters()))
        return lead.picture if lead else None

    def _training(self, consortium: str | None) -> Run | None:
        """The newest run that trains a network: one that is done, else one under way."""
        found = self._store.runs(consortium=consortium, limit=LOOKED_AT)
        trained = [run for run in found if (recipe := self._recipes.of(run.compose_hash)) and trains(recipe)]
        return next((run for run in trained if run.state == "done"), trained[0] if trained else None)


def datasets_of(picture: Picture | None) -> tuple[tuple[str, str], ...]:
    """Owner and name of the datasets of a consortium: those of its recipe, else those that are registered,
    else one of each owner, else an example."""
    recipe = picture.current.recipe if picture and picture.current else None
    if recipe is not None:
        return tuple((spec.owner, spec.name) for spec in recipe.datasets)
    known = [(one.holder_id, one.name) for one in picture.datasets if one.holder_id] if picture else []
    owners = [(owner.id, "data") for owner in picture.view.owners] if picture else []
    return tuple(known or owners or EXAMPLE)[:DATASETS_SHOWN]


def analysis(names: Sequence[tuple[str, str]]) -> str:
    """An analysis with two fields over these datasets, as a recipe by reading has it."""
    read = ", ".join(f"unwrap({json.dumps(f'{owner}/{name}.tar')})" for owner, name in names)
    return (
        "import pandas as pd\n\nfrom sealroom import emit_signed, private, unwrap\n\n"
        f"people = private(pd.concat([{read}]))\n"
        'emit_signed(people.count("people").summary() | people.mean("age").summary())\n'
    )


def calls(base: str, picture: Picture | None) -> list[Call]:
    """Calls for a study; without one, with names to fill in."""
    current = picture.current if picture else None
    recipe = current.recipe if current else None
    owners = sorted({spec.owner for spec in recipe.datasets}) if recipe else ["hospital-A", "hospital-B"]
    compose_hash = "0x" + current.study.compose_hash.hex() if current else "0x…"
    consortium = picture.view.consortium if picture else "0x…"
    wanted: dict[str, Any] = {"composeHash": compose_hash, "owners": owners, "consortium": consortium}
    body, lines = json.dumps(wanted), json.dumps(wanted, indent=2)
    # A study that names nobody is for its owners alone; "anyone" asks without saying who.
    asks = recipe is None or recipe.researchers != (ANYONE,)
    who = "an owner or a researcher of the study" if recipe and recipe.researchers else "an owner"
    needs = (
        f"# file token, for the account of {who}; the operator makes it:\n"
        "# sealroom token issue --researcher 0x… --out token\n"
        if asks
        else ""
    )
    header = ' -H "Authorization: Bearer $(cat token)"' if asks else ""
    option = " --token-file token" if asks else ""
    local = picture is not None and picture.view.chain_id in LOCAL_CHAIN_IDS
    verify = (
        "sealroom verify envelope.json --room .sealroom  "
        "# or: --pin pin.json --simulated-root platform/root.der"
        if local
        else "# pin.json: what you know of the consortium and its gate: sealroom pin --help\n"
        "sealroom verify envelope.json --pin pin.json --rpc URL"
    )
    python = "\n".join(
        [
            "from sealroom_agents.client import Connection, Console, Pinned",
            "",
            'key = "0x…"  # what the console’s operator told you',
            f"with Connection({json.dumps(base)}, Pinned(key)) as connection:",
            "    console = Console(connection)",
            f"    for run in console.runs(consortium={json.dumps(consortium)}):",
            '        print(run["id"], run["state"])',
        ]
    )
    return [
        Call(
            "Ask for a run, with curl",
            f"{needs}curl -s --fail-with-body {shlex.quote(base + '/v1/runs')}{header} "
            f"--json {shlex.quote(lines)}\n"
            "RUN=0x…  # the id in the answer",
            "POST",
            "/v1/runs",
        ),
        Call(
            "Follow it, resumable by Last-Event-ID",
            f"curl -sN --fail-with-body {shlex.quote(base)}/v1/runs/$RUN/events",
            "GET",
            "/v1/runs/{id}/events",
        ),
        Call(
            "Fetch the envelope, and verify it on your machine",
            f"curl -s --fail-with-body {shlex.quote(base)}/v1/runs/$RUN/envelope -o envelope.json\n" + verify,
            "GET",
            "/v1/runs/{id}/envelope",
        ),
        Call(
            "The same with sealroom call, which checks who answered",
            f"export SEALROOM_CONSOLE={shlex.quote(base)}\n"
            "export SEALROOM_CONSOLE_KEY=0x…  # what the console’s operator told you\n"
            f"echo {shlex.quote(body)} | sealroom call POST /v1/runs --data -{option}\n"
            "RUN=0x…  # the id in the answer\n"
            "sealroom call GET /v1/runs/$RUN",
        ),
        Call("Python client", python),
    ]


def _described(picture: Picture) -> list[tuple[DatasetRecord, DatasetSpec | None]]:
    """The datasets of a consortium, each with what its recipe says of it."""
    recipe = picture.current.recipe if picture.current else None
    specs = {(spec.owner, spec.name): spec for spec in recipe.datasets} if recipe else {}
    return [(one, specs.get((one.holder_id, one.name))) for one in picture.datasets]
