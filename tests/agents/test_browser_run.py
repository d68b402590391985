# SPDX-License-Identifier: Apache-2.0
"""The pages of runs and the cards, in a real browser: each state, light and dark, on a phone and a desk.

SEALROOM_SHOTS=FOLDER keeps a picture of each view, for people to look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from tests.agents.browsing import patient, served
from tests.agents.staged import Stage, make_stage
from tests.agents.test_browser_form import AXE, BARE, RULES, SHOTS, WIDER, troubles
from tests.agents.worked_model import STUDY, train
from tests.local_chain import LocalChain
from tests.outside import HOLDER

from sealroom.codes import Code
from sealroom.envelope import parse_envelope
from sealroom.recipe import parse
from sealroom.recipe.result import build_result
from sealroom_agents.store import Run, Store
from sealroom_agents.verification.attestation_file import check_attestation
from sealroom_agents.verification.model_file import read_model

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

FIELDS = """\
    - {name: people, kind: count, by: [sex]}
    - {name: age, kind: mean, column: age, by: [sex], lower: "20", upper: "90", decimals: 1}
    - {name: ages, kind: cdf, by: [sex], column: age, points: ["30", "50", "70", "90"], decimals: 3}
    - {name: ward_by_sex, kind: contingency, by: [sex, ward], decimals: 3}
"""
RICH = (
    STUDY.replace("steps: 2\n", "steps: 9\n")
    .replace("curve: 2\n", "curve: 9\n")
    .replace("held: bool}", "held: bool, ward: string}")
    .replace("    sex: [F, M]\n", "    sex: [F, M]\n    ward: [north, south]\n")
    + FIELDS
)


@dataclass
class Place:
    """A console with runs in each state."""

    url: str
    stage: Stage
    store: Store
    done: str
    live: str
    refused: str
    revoked: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("runs")
    with LocalChain.start() as chain:
        stage = make_stage(chain, folder, study_yaml=RICH)
        recipe = parse(stage.recipe)
        granted = stage.granted()
        envelope = replace(granted, result=build_result(train(recipe), recipe)).envelope()
        stage.open(envelope)
        envelope = stage.anchored(envelope)
        store = Store(f"sqlite:///{folder / 'runs.db'}")
        compose_hash = "0x" + recipe.compose_hash.hex()
        store.add_recipe(compose_hash, stage.recipe)

        def taken(run_id: str, *said: tuple[str, str]) -> Run:
            store.submit(
                run_id, compose_hash=compose_hash, consortium=stage.room.consortium, missing=[], waiting=False
            )
            held = store.claim(HOLDER)
            assert held is not None and held.id == run_id
            for phase, message in said:
                if phase in ("attesting", "computing"):
                    store.advance(held, phase, message=message)
                else:
                    store.note(held, phase, message)
            return held

        computing = (
            ("attesting", "it shows its quote"),
            ("granted", "keys"),
            ("computing", "the analysis runs"),
        )
        done = taken("0x" + envelope.receipt.run_id.hex(), *computing, ("emitting", "it leaves"))
        store.emitted(done, "{}")
        store.anchored(done, envelope.encode().decode(), message="receipt #1")
        refused = taken("0x" + "a1" * 32, ("attesting", "it shows its quote"))
        store.end(
            refused, "refused", code=Code.COMPOSE_HASH_MISMATCH, message="the machine booted recipe 0x5e…"
        )
        revoked = taken("0x" + "a2" * 32, *computing, ("lease-ended", "keys are wiped"))
        store.killed(revoked)
        store.end(revoked, "revoked", code=Code.REVOKED, message='revoked by hospital-C: "consent withdrawn"')
        live = taken("0x" + "a3" * 32, *computing)
        store.renewed(live, left=3600.0, seconds=60)
        with served(stage.reader, store, stage.room.factory) as url:
            yield Place(url, stage, store, done.id, live.id, refused.id, revoked.id)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_of_a_run_is_readable(browser: Browser, place: Place, scheme: Any) -> None:
    """WCAG 2.2 AA by axe, nothing scrolls sideways, nothing is asked of anybody else (WE-08)."""
    context = patient(browser, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    found, said = troubles(page, place.url), []
    paths = {
        "build": "/build",
        **{f"run-{name}": f"/runs/{getattr(place, name)}" for name in ("done", "live", "refused", "revoked")},
    }
    for name, path in paths.items():
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(place.url + path)
            page.evaluate("document.fonts.ready")
            page.evaluate(AXE)
            said += [f"{name} {width} {line}" for line in page.evaluate(RULES)]
            if page.evaluate(WIDER):
                said.append(f"{name} scrolls sideways at {width}")
            if SHOTS:
                page.screenshot(path=f"{SHOTS}/{name}-{width}-{scheme}.png", full_page=True)
            if name == "run-done":
                shown = "narrow" if width == 390 else "wide"
                expect(page.locator(f".drawn.{shown} svg").first).to_be_visible()
                assert page.locator(".drawn:visible").count() == page.locator(".figure").count()
                heat = page.locator("[aria-labelledby=field-ward_by_sex] .drawn:visible svg").filter(
                    has=page.locator("rect[fill-opacity]")
                )
                assert heat.locator("rect[fill-opacity]").count() == 4
                assert heat.locator("text").count() == 8  # two labels each way, and a count in each cell
        for width in (320, 768, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(WIDER):
                said.append(f"{name} scrolls sideways at {width}")
    context.close()
    assert said + found == []


def test_every_state_of_a_run_is_seen_where_the_system_chooses_the_colours(
    browser: Browser, place: Place
) -> None:
    """Forced colours: edges and fillings are there, and axe finds nothing."""
    context = patient(browser, forced_colors="active", reduced_motion="reduce")
    page, said = context.new_page(), []
    for name in ("done", "live", "refused", "revoked"):
        page.goto(f"{place.url}/runs/{getattr(place, name)}")
        page.evaluate(AXE)
        said += [f"{name} {line}" for line in page.evaluate(RULES) + page.evaluate(BARE)]
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/run-{name}-forced.png", full_page=True)
    context.close()
    assert said == []


def test_without_scripts_a_result_is_whole(browser: Browser, place: Place) -> None:
    """Pictures, tables, downloads and why a run ended are drawn by the server; so is what paper shows."""
    context = patient(browser, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{place.url}/runs/{place.done}")
    assert page.locator(".finding").count() == 5
    assert page.locator("#field-ages").is_visible() and page.locator(".figure svg path.line").count() > 0
    loss = page.locator(".unit .figure", has_text="Loss by step")
    assert (
        loss.locator("path.band").count() == 2 and "checkpoint verified" in page.locator(".unit").inner_text()
    )
    text = page.locator("main").inner_text()
    assert "Yes, by the ledger: receipt #1" in text and "booked in the ledger" in text
    page.emulate_media(media="print")
    assert page.locator(".finding table").first.is_visible()
    page.goto(f"{place.url}/runs/{place.refused}")
    ending = page.locator(".ending").inner_text()
    for words in (
        "Refused: the machine runs another recipe", "The gate kept the keys. Nothing was read.",
        "no ε was spent", "compose-hash-mismatch", "researcher", "owners", "operator",
    ):  # fmt: skip
        assert words in ending, words
    page.goto(f"{place.url}/runs/{place.revoked}")
    assert "wiped them when its lease ended" in page.locator(".ending").inner_text()
    assert "Compute in the enclave" in page.locator(".steps .no").inner_text()
    missing = page.goto(f"{place.url}/runs/0x{'00' * 32}")
    assert missing is not None and missing.status == 404
    context.close()


def test_what_a_run_gave_can_be_had_as_files(place: Place) -> None:
    """Each is the file that the command makes and `sealroom verify` takes."""

    def got(path: str, run: str = place.done) -> httpx.Response:
        return httpx.get(f"{place.url}/v1/runs/{run}/{path}", timeout=60)

    envelope = parse_envelope(got("envelope").content)
    attestation = got("attestation")
    assert attestation.headers["content-disposition"].startswith('attachment; filename="attestation-')
    check_attestation(attestation.content, envelope)
    model = got("models/risk")
    assert model.headers["content-type"] == "application/octet-stream"
    held = read_model(model.content)
    held.check_weights()
    held.check_chain()
    assert held.envelope == envelope
    for path, run, status, code in (
        ("models/people", place.done, 404, "model-missing"),
        ("models/No..", place.done, 400, "malformed"),
        ("attestation", place.refused, 404, "no-envelope"),
        ("models/risk", place.refused, 404, "no-envelope"),
    ):
        refused = got(path, run)
        assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_the_steps_move_while_it_runs_and_a_lost_stream_is_told(browser: Browser, place: Place) -> None:
    context = patient(browser)
    page = context.new_page()
    held = place.store.submit(
        "0x" + "a4" * 32,
        compose_hash=place.store.run(place.live).compose_hash,
        consortium=place.stage.room.consortium,
        missing=[],
        waiting=False,
    )
    page.goto(f"{place.url}/runs/{held.id}")
    now = page.locator(".steps [aria-current=step]")
    expect(now).to_contain_text("Attest and release")
    taken = place.store.claim(HOLDER)
    assert taken is not None and taken.id == held.id
    for phase in ("attesting", "computing"):
        place.store.advance(taken, phase, message=phase)
    expect(now).to_contain_text("Compute in the enclave")
    expect(page.locator("#state")).to_have_text("computing")
    expect(page.locator(".lease")).to_be_hidden()
    place.store.renewed(taken, left=3500.0, seconds=3600)
    expect(page.locator(".lease [data-of]")).to_have_text("3600")
    assert 0 < int(page.locator(".lease [data-left]").text_content() or "0") <= 3500
    place.store.renewed(taken, left=0.0, seconds=60)
    expect(page.locator(".lease h2")).to_have_text("No renewal came")
    expect(page.locator("#timeline li.computing")).to_have_count(1)
    place.store.end(taken, "failed", code=Code.OUT_OF_MEMORY, message="no room")
    expect(page.locator(".ending h2")).to_have_text("Failed: the analysis needs more memory than there is")
    expect(page.locator("#timeline li.computing")).to_have_count(1)
    # A stream that breaks is told, and taken up again by the browser.
    page.route("**/events", lambda asked: asked.abort())
    page.goto(f"{place.url}/runs/{place.live}")
    expect(page.locator("#connection")).to_contain_text("The connection is lost.")
    page.unroute("**/events")
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("#timeline li.computing")).to_have_count(1)
    # So is one in whose place a proxy answers, which the browser alone would give up.
    page.route("**/events", lambda asked: asked.fulfill(status=502, body="bad gateway"))
    page.goto(f"{place.url}/runs/{place.live}")
    expect(page.locator("#connection")).to_contain_text("cannot be followed now")
    page.unroute("**/events")
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator("#timeline li.computing")).to_have_count(1)
    context.close()


def test_the_cards_say_what_the_chain_says_and_can_be_copied(browser: Browser, place: Place) -> None:
    context = patient(browser, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{place.url}/build")
    view = place.stage.reader.finalized_view(place.stage.room.consortium)
    cards = page.locator("main").inner_text()
    app = page.locator("article", has=page.locator("#app"))
    assert view.app in (app.text_content() or "") and "true for that hash" in app.inner_text()
    assert "0x" + parse(place.stage.recipe).compose_hash.hex() in (app.text_content() or "")
    data = page.get_by_role("article", name="Sealed dataset cohort-A")
    assert "lifetime ε left" in data.inner_text() and "hospital-A" in data.inner_text()
    assert "checkpoint verified" in cards
    first = page.get_by_role("button", name="Copy: Ask for a run, with curl")
    first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#copied")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert f"\ncurl -s --fail-with-body {place.url}/v1/runs -H " in copied
    assert json.loads(copied.partition("--json '")[2].partition("'")[0])["owners"] == [
        "hospital-A",
        "hospital-B",
    ]
    context.close()
