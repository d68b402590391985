# SPDX-License-Identifier: Apache-2.0
"""The page of the interface in a real browser: folded by subject; links, keys and paper open the folds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import patient, served
from tests.agents.labs import afresh
from tests.agents.test_browser_form import AXE, RULES, SHOTS, WIDER
from tests.local_chain import LocalChain

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

FOLDS = ["Console", "Decisions", "Recipes", "Runs", "Studies", "Bodies", "Codes"]
SEEN = "one => one.checkVisibility({ contentVisibilityAuto: true })"


@pytest.fixture(scope="module")
def url(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        afresh(chain, tmp_path_factory.mktemp("docs")) as lab,
        served(lab.reader, lab.store, lab.room.factory) as address,
    ):
        yield address


def opened_folds(page: Page) -> list[str]:
    return page.locator("details.fold[open] > summary h2").all_inner_texts()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_to_what_a_fold_holds_opens_it(browser: Browser, url: str, scripts: bool) -> None:
    """A route, a body, and the code that the type of a problem leads to."""
    context = patient(browser, java_script_enabled=scripts)
    page = context.new_page()
    page.goto(f"{url}/docs")
    assert page.locator("details.fold > summary h2").all_inner_texts() == FOLDS
    assert opened_folds(page) == []
    for name, fold in (
        ("get-v1-runs-run-id", "Runs"),
        ("schema-Problem", "Bodies"),
        ("unknown-run", "Codes"),
        ("tag-studies", "Studies"),
    ):
        page.goto("about:blank")
        page.goto(f"{url}/docs#{name}")
        expect(page.locator(f"[id='{name}']")).to_be_in_viewport()
        if not name.startswith("tag-"):
            assert opened_folds(page) == [fold]
    page.goto(f"{url}/docs")
    page.get_by_role("navigation", name="Contents").get_by_role("link", name="GET /v1/console").click()
    expect(page.locator("#get-v1-console")).to_be_in_viewport()
    assert opened_folds(page) == ["Console"]
    context.close()


def test_folds_open_by_the_keyboard_and_on_paper(page: Page, url: str) -> None:
    page.goto(f"{url}/docs")
    codes = page.locator("#codes > summary")
    codes.focus()
    page.keyboard.press("Enter")
    assert opened_folds(page) == ["Codes"]
    page.keyboard.press("Enter")
    assert opened_folds(page) == []
    page.emulate_media(media="print")
    for route in page.locator("section.route").all():
        assert route.evaluate("one => one.getBoundingClientRect().height") > 40
    assert page.locator("#unknown-run").evaluate("one => one.getBoundingClientRect().height") > 8
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened_folds(page) == FOLDS
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert opened_folds(page) == []


def test_what_is_looked_for_in_the_page_is_found_in_a_fold(page: Page, url: str) -> None:
    """A fold hides nothing from the browser's own search: it is skipped in drawing, not taken away."""
    page.goto(f"{url}/docs")
    hidden = page.locator("#unknown-run")
    assert not hidden.evaluate(SEEN)
    how = "one => getComputedStyle(one.closest('details'), '::details-content').contentVisibility"
    assert hidden.evaluate(how) == "hidden"
    assert page.locator("details.fold [hidden]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_fold_keeps_the_rules_of_access(browser: Browser, url: str, scheme: Any) -> None:
    context = patient(browser, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{url}/docs")
    page.evaluate(AXE)
    if SHOTS:
        for width in (390, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=f"{SHOTS}/docs-folded-{width}-{scheme}.png", full_page=True)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    said = page.evaluate(RULES)
    for width in (320, 390, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        if page.evaluate(WIDER):
            said.append(f"scrolls sideways at {width}")
        if SHOTS and width in (390, 1280, 1920):
            page.screenshot(path=f"{SHOTS}/docs-open-{width}-{scheme}.png")
    context.close()
    assert said == []
