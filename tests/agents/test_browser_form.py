# SPDX-License-Identifier: Apache-2.0
"""The form of every page: axe (WCAG 2.2 AA), light and dark, narrow and wide, without scripts, on paper.

SEALROOM_SHOTS=FOLDER keeps a picture of each view, for people to look at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.agents.browsing import Wallet, opened, patient, served, with_wallet
from tests.local_chain import LocalChain, account
from tests.outside import CAP_MICRO, Lab

from sealroom_agents.console.how import EXAMPLE
from sealroom_agents.console.pins import Pinned, Pins
from sealroom_agents.walk.document import read

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

AXE = (Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js").read_text()
RULES = """async () => {
  const found = await axe.run(document, {
    preload: false, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
  });
  return found.violations.flatMap((one) => one.nodes.map((node) => one.id + ": " + node.html.slice(0, 160)));
}"""
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
PINNED = "small-study"
OWNERS = ("hospital-A", "hospital-B", "hospital-C")
DIALOGS = ("approve", "withdraw", "revoke")
BARE = r"""() => {
  const shown = (one) =>
    one.checkVisibility({ visibilityProperty: true }) && one.getBoundingClientRect().width > 2;
  const clear = (colour) => colour === "transparent" || /^rgba.*, 0\)$/.test(colour);
  const canvas = (() => {
    const one = document.body.appendChild(document.createElement("i"));
    one.style.cssText = "background: Canvas; forced-color-adjust: none";
    const found = getComputedStyle(one).backgroundColor;
    one.remove();
    return found;
  })();
  const seen = (colour) => !clear(colour) && colour !== canvas;
  const edged = (style) =>
    style.borderTopStyle !== "none" && parseFloat(style.borderTopWidth) > 0 && seen(style.borderTopColor);
  const filled = (style) => seen(style.backgroundColor);
  const bare = [];
  const each = (selector, holds) => {
    for (const one of document.querySelectorAll(selector))
      if (shown(one) && !holds(one)) bare.push(selector + ": " + one.outerHTML.slice(0, 120));
  };
  each("button:not(.link), a.button, .pill, .state, .seat, .steps .dot, .chip span, dialog", (one) => {
    const style = getComputedStyle(one);
    return edged(style) || filled(style);
  });
  each(".mark, .grade", (one) => {
    const style = getComputedStyle(one, "::before");
    return one.textContent.trim() !== "" && (edged(style) || filled(style));
  });
  const solid = ".seat.approved, .steps .past .dot, .primary:not(:disabled), .chip input:checked + span";
  each(solid, (one) => filled(getComputedStyle(one)));
  each(".meter svg", (one) => getComputedStyle(one).outlineStyle === "solid");
  each(".meter .rail, .meter .fill", (one) => seen(getComputedStyle(one).fill));
  each(".top nav a", (one) =>
    seen(getComputedStyle(one).borderBottomColor) === one.hasAttribute("aria-current"));
  return bare;
}"""
"""What of a page has neither an edge nor a filling of its own where the system chooses the colours."""
SHOTS = os.environ.get("SEALROOM_SHOTS")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Lab, Lab]]:
    """A console whose operator pinned one cohort, and another that has the same name."""
    with LocalChain.start() as chain:
        first = Lab.on(chain, tmp_path_factory.mktemp("first"))
        first.store.add_recipe(first.compose_hash, first.recipe.compose)
        first.live()
        second = Lab.on(chain, tmp_path_factory.mktemp("second"))
        second.datasets = first.datasets
        for dataset in second.datasets:
            chain.allow(second.room, dataset, cap_micro=CAP_MICRO)
        second.propose()
        owners = {account(number): name for number, name in enumerate(OWNERS)}
        pinned = Pinned(
            31337, first.room.consortium, PINNED, "healthcare", "Three hospitals, one answer.", owners
        )
        with served(first.reader, first.store, first.room.factory, pins=Pins((pinned,))) as url:
            yield url, first, second


def paths(first: Lab, second: Lab) -> dict[str, str]:
    """Every page, in each of its states that differ in form."""
    changes = f"/studies/{second.room.consortium}/change"
    hash_ = "0x" + "11" * 32
    platform = f"what=platform&root={hash_}&signer={account(9)}&compose={hash_}&policy={hash_}&images={hash_}"
    return {
        "board": "/",
        "board-nothing": "/?q=nobody&with=grade&status=revoked",
        "study-live": f"/studies/{first.room.consortium}",
        "study-forming": f"/studies/{second.room.consortium}",
        "history": f"/studies/{first.room.consortium}/history",
        "run": f"/runs/{first.submit()}",
        "how": "/how",
        "how-off": "/how?dstack=off",
        "docs": "/docs",
        "queue": f"/needs-you?account={account(1)}",
        "queue-form": "/needs-you",
        "change": changes,
        "change-roster": f"{changes}?what=roster&remove=hospital-C",
        "change-seat": f"{changes}?what=offer-seat&of={account(0)}&to={account(7)}",
        "change-dataset": f"{changes}?dataset=0x{first.datasets[0].id.hex()}",
        "change-confirm": f"{changes}?what=confirm",
        "change-platform": f"{changes}?{platform}",
        "error": "/nothing",
    }


def drawn(page: Page) -> None:
    """Wait until a page has drawn anew what it reads from bytes and from its wallet's node, where it does."""
    page.evaluate("document.fonts.ready")
    for place, says in (
        ("#drawn-source", "Drawn in this page"),
        ("#waiting-mark", "from your wallet’s node"),
    ):
        if page.locator(place).count():
            expect(page.locator(place)).to_contain_text(says)


def troubles(page: Page, url: str) -> list[str]:
    """What a page will have complained of: of its policy, of scripts, of anything that is asked elsewhere."""
    found: list[str] = []
    page.on("console", lambda line: found.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda one: found.append(one.url) if not one.url.startswith((url, "data:")) else None)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_access(browser: Browser, place: tuple[str, Lab, Lab], scheme: Any) -> None:
    """WCAG 2.2 AA by axe; nothing scrolls sideways; nothing is asked of anybody else (WE-08)."""
    url, first, second = place
    context = patient(browser, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    found = troubles(page, url)
    with_wallet(page, Wallet(first.chain, account(1)))
    said: list[str] = []
    for name, path in paths(first, second).items():
        # Loaded once for all widths: no script asks how wide a page is, and style sheets follow.
        page.goto(url + path)
        drawn(page)
        page.evaluate(AXE)
        for width in (320, 390, 768, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate(WIDER):
                said.append(f"{name} scrolls sideways at {width}")
            if SHOTS and width in (390, 1280, 1920):
                page.screenshot(path=f"{SHOTS}/{name}-{width}-{scheme}.png", full_page=True)
            if width not in (390, 1280):
                continue
            said += [f"{name} {width} {line}" for line in page.evaluate(RULES)]
            for act in DIALOGS if name == "study-forming" else ():
                page.locator(f"[data-action={act}]").click()
                page.get_by_role("dialog").wait_for()
                if act == "revoke":
                    page.get_by_label("Why").fill("stop")
                page.locator("dialog .tried .mark").wait_for()  # all checks are done
                said += [f"{act} {width} {line}" for line in page.evaluate(RULES)]
                if SHOTS:
                    page.screenshot(path=f"{SHOTS}/{act}-{width}-{scheme}.png")
                page.keyboard.press("Escape")
                page.get_by_role("dialog").wait_for(state="detached")
    context.close()
    # A page that is not there answers 404, which the browser's console tells.
    assert said + [line for line in found if "404" not in line] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_states_marks_and_buttons_stay_apart_where_the_system_chooses_the_colours(
    browser: Browser, place: tuple[str, Lab, Lab], scheme: Any
) -> None:
    """Forced colours: edges and fillings are there, the focus is seen, and axe finds nothing."""
    url, first, second = place
    context = patient(browser, color_scheme=scheme, forced_colors="active", reduced_motion="reduce")
    page = context.new_page()
    with_wallet(page, Wallet(first.chain, account(1)))
    said: list[str] = []

    def look(name: str) -> None:
        page.evaluate(AXE)
        said.extend(f"{name} {line}" for line in page.evaluate(RULES) + page.evaluate(BARE))
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{name}-forced-{scheme}.png", full_page=True)

    for name, path in (paths(first, second) | {"verify": "/verify", "build": "/build"}).items():
        page.goto(url + path)
        drawn(page)
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        look(name)
        page.keyboard.press("Tab")
        focused = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        said += [] if focused == "solid" else [f"{name} hides the focus: {focused}"]
        for act in DIALOGS if name == "study-forming" else ():
            page.locator(f"[data-action={act}]").click()
            page.get_by_role("dialog").wait_for()
            if act == "revoke":
                page.get_by_label("Why").fill("stop")
            page.locator("dialog .tried .mark").wait_for()  # all checks are done
            look(act)
            page.keyboard.press("Escape")
            page.get_by_role("dialog").wait_for(state="detached")
    context.close()
    assert said == []


def test_without_scripts_a_reader_filters_and_reads_all(
    browser: Browser, place: tuple[str, Lab, Lab]
) -> None:
    url, first, second = place
    context = patient(browser, java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    rows = page.locator(".cohorts tbody tr")
    assert rows.count() == 2 and all(rows.nth(number).is_visible() for number in range(2))
    page.get_by_label("Status").select_option("live")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url(re.compile("status=live"))  # the form's own answer, not the page it was sent from
    expect(rows.filter(visible=True)).to_have_count(1)
    expect(rows.filter(visible=True)).to_have_attribute("data-status", "live")
    page.goto(f"{url}/studies/{second.room.consortium}")
    assert first.recipe.question in page.locator("main").inner_text()
    assert not page.locator("[data-theme-toggle]").is_visible()
    context.close()


def test_without_scripts_dstack_goes_off_and_on_by_the_keyboard(
    browser: Browser, place: tuple[str, Lab, Lab]
) -> None:
    """Rows are on the page only where dstack is off, and stay whole on paper (WE-06: as text)."""
    url, *_ = place
    context = patient(browser, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/how")
    shown = read(EXAMPLE.read_bytes())
    people = [row[0] for table in (shown.central.joined, shown.central.changed) for row in table.sample]
    text = page.locator("main").inner_text()
    assert not any(str(person) in text for person in people)
    assert "Rows that left their owners in the open: none." in text and "dstack on" in text
    switch = page.get_by_role("navigation", name="With or without dstack")
    assert switch.locator("[aria-current]").inner_text().endswith("dstack on")
    switch.get_by_role("link", name="dstack off").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}/how?dstack=off")
    text = page.locator("main").inner_text()
    assert all(str(person) in text for person in people)
    assert page.locator(".walk > li").count() == 5 == page.locator(".gone").count()
    assert page.locator("nav[aria-label=Pages] [aria-current]").inner_text() == "How it works"
    for name in ("recording.json", "envelope.json", "pin.json", "root.der"):
        assert page.request.get(f"{url}/how/{name}").status == 200
    assert page.request.get(f"{url}/how?dstack=maybe").status == 400
    context.close()


def test_the_board_filters_sorts_and_searches_at_once(browser: Browser, place: tuple[str, Lab, Lab]) -> None:
    """And a name that is pinned at another address is red, with both (WE-02)."""
    url, first, second = place
    context = patient(browser)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Search").fill(second.room.consortium)
    page.locator("[data-count]", has_text="1 of 2 shown").wait_for()
    expect(page).to_have_url(f"{url}/?q={second.room.consortium}")
    spoof = page.locator(".cohorts tr:visible .spoof").first
    assert spoof.locator("code").all_text_contents() == [second.room.consortium, first.room.consortium]
    page.get_by_label("Search").fill("no such cohort")
    page.get_by_text("No cohort matches.").wait_for()
    page.get_by_role("link", name="Show all").click()
    page.wait_for_url(url + "/")
    page.get_by_label("more than one jurisdiction").check()
    page.locator("[data-count]", has_text="2 of 2 shown").wait_for()
    page.get_by_role("link", name="records").click()
    page.locator("th[aria-sort=descending]", has_text="records").wait_for()
    page.get_by_role("button", name="Light or dark").click()
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    hashes = page.locator(".pinned .mid").first
    assert hashes.evaluate("one => getComputedStyle(one).fontSize") == "0px"
    page.emulate_media(media="print")
    assert hashes.evaluate("one => parseFloat(getComputedStyle(one).fontSize)") > 8
    context.close()


def test_what_is_typed_before_the_script_of_the_board_came_counts(
    browser: Browser, place: tuple[str, Lab, Lab]
) -> None:
    """On a slow line the form is there first."""
    url, _, second = place
    script, held = re.compile(r"/board[^/]*\.js$"), list[Route]()
    with opened(browser) as page:
        page.route(script, lambda route: held.append(route))
        with page.expect_request(script):
            page.goto(url, wait_until="commit")
        page.get_by_label("Search").fill(second.room.consortium)
        count = page.locator("[data-count]")
        expect(count).to_have_text("2 of 2 shown")
        held[0].continue_()
        expect(count).to_have_text("1 of 2 shown")
