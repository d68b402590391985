# SPDX-License-Identifier: Apache-2.0
"""The longest names and texts that can reach a page, without a space, right to left, with characters of no
width: no page scrolls sideways on a phone or a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.agents.browsing import Wallet, patient, served, with_wallet
from tests.agents.test_browser_form import SHOTS, WIDER, drawn
from tests.local_chain import Dataset, LocalChain, account
from tests.outside import ANALYSIS, CAP_MICRO, COLUMNS, STUDY_YAML, Lab

from sealroom.recipe import Recipe, parse, render
from sealroom.schema import schema_hash
from sealroom_agents.console.pins import MAX_TEXT, Pinned, Pins

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

OWNERS = tuple(letter * 31 for letter in "WMQ")
DATASETS = ("D" * 64, "G" * 64)
COLUMN = "m" * 63
STUDY = "w" * 63
HOSTILE = ("\u202e\u05d0\u200b\u0634\u200d\u2066W\ufeffM" * MAX_TEXT)[:MAX_TEXT]
"""A text of an operator's file, or the reason of a revocation: neither is held to letters."""
WIDTHS = (320, 390, 1280)


def long_recipe(folder: Path) -> Recipe:
    """The small study with each of its names as long as the rules allow."""
    folder.mkdir()
    columns = f"{COLUMNS}, {COLUMN}: float64"
    study = STUDY_YAML.format(question="W" * MAX_TEXT, columns=columns, researchers="[anyone]")
    names = {
        "hospital-A": OWNERS[0],
        "hospital-B": OWNERS[1],
        "cohort-A": DATASETS[0],
        "cohort-B": DATASETS[1],
    }
    names |= {
        "name: small-study": f"name: {STUDY}",
        "column: age": f"column: {COLUMN}",
        "name: people": f"name: {'p' * 63}",
    }
    analysis = ANALYSIS.replace('"people"', f'"{"p" * 63}"')
    for short, long in names.items():
        study, analysis = study.replace(short, long), analysis.replace(short, long)
    (folder / "study.yaml").write_text(study)
    (folder / "analysis.py").write_text(analysis)
    return parse(render(folder))


def lab_of(chain: LocalChain, folder: Path, recipe: Recipe, known: list[Dataset]) -> Lab:
    """A consortium of these owners; the first registers the data, which the others use too."""
    lab = Lab.on(chain, folder, owners=OWNERS, recipe=recipe)
    lab.datasets = known
    for number, spec in enumerate(recipe.datasets if not known else ()):
        made = Dataset(owner=number, rows=10**9, name=spec.name, schema_hash=schema_hash(spec.columns))
        chain.register(lab.room, made, cap_micro=CAP_MICRO)
        known.append(made)
    return lab


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Lab, dict[str, str]]]:
    """A console of three such consortia: live, forming and revoked; gives the paths of its pages too."""
    folder = tmp_path_factory.mktemp("long")
    with LocalChain.start() as chain:
        recipe, known = long_recipe(folder / "study"), list[Dataset]()
        labs = [lab_of(chain, folder, recipe, known) for _ in range(3)]
        for lab in labs[1:]:
            for dataset in known:
                chain.allow(lab.room, dataset, cap_micro=CAP_MICRO)
        live, forming, revoked = labs
        chain.approve(live.room, live.draft(), 0, 1)
        forming.propose()
        chain.approve(revoked.room, revoked.draft(), 0, 1)
        chain.revoke(revoked.room, 2, HOSTILE)
        chain.finalize()
        live.store.add_recipe(live.compose_hash, recipe.compose)
        owners = {account(number): HOSTILE for number in range(3)}
        pinned = tuple(
            Pinned(31337, lab.room.consortium, HOSTILE, HOSTILE, HOSTILE, owners) for lab in (live, revoked)
        )
        change = f"/studies/{forming.room.consortium}/change"
        paths = {
            "board": "/",
            "board-nothing": f"/?q={'W' * 64}",
            "live": f"/studies/{live.room.consortium}",
            "forming": f"/studies/{forming.room.consortium}",
            "revoked": f"/studies/{revoked.room.consortium}",
            "history": f"/studies/{live.room.consortium}/history",
            "history-revoked": f"/studies/{revoked.room.consortium}/history",
            "run": f"/runs/{live.submit()}",
            "queue": f"/needs-you?account={account(1)}",
            "change": change,
            "change-roster": f"{change}?what=roster&remove={OWNERS[2]}",
            "change-dataset": f"{change}?dataset=0x{known[0].id.hex()}",
            "build": "/build",
            "verify": "/verify",
        }
        pins = Pins(pinned)
        with served(live.reader, live.store, live.room.factory, pins=pins) as url:
            yield url, forming, paths


def test_the_longest_names_break_no_page(browser: Browser, place: tuple[str, Lab, dict[str, str]]) -> None:
    """WE-06: whatever it is called, it is text in its place; the dialogs are looked at too."""
    url, forming, paths = place
    context = patient(browser, reduced_motion="reduce")
    page = context.new_page()
    with_wallet(page, Wallet(forming.chain, account(1)))
    said: list[str] = []

    def look(name: str) -> None:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(WIDER):
                said.append(f"{name} scrolls sideways at {width}")
            if SHOTS:
                page.screenshot(path=f"{SHOTS}/long-{name}-{width}.png", full_page=True)

    for name, path in paths.items():
        answer = page.goto(url + path)
        assert answer is not None and answer.status == 200, path
        drawn(page)
        look(name)
        if name == "forming":
            page.locator("[data-action=approve]").click()
            dialog = page.get_by_role("dialog")
            dialog.locator(".tried .mark").wait_for()  # all checks are done
            look("approve")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                if dialog.evaluate("one => one.scrollWidth > one.clientWidth"):
                    said.append(f"the dialog scrolls sideways at {width}")
            page.keyboard.press("Escape")
            dialog.wait_for(state="detached")
    context.close()
    assert said == []
