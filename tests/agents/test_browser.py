# SPDX-License-Identifier: Apache-2.0
"""The console's pages in a real browser: hidden, live, by keyboard, and hostile text that stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.agents.browsing import open_dialog, served, study_page
from tests.agents.labs import afresh
from tests.local_chain import LocalChain, Reverted
from tests.outside import Lab, make_recipe

from sealroom.codes import Code

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

ATTACK = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    with afresh(chain, tmp_path) as made:
        yield made


@pytest.fixture
def url(lab: Lab) -> Iterator[str]:
    """The console over real HTTP."""
    with served(lab.reader, lab.store, lab.room.factory) as address:
        yield address


def test_hostile_text_shows_as_text(page: Page, url: str, lab: Lab, tmp_path: Path) -> None:
    """WE-06: in the question that a researcher writes. The contract refuses it as an owner's name."""
    with pytest.raises(Reverted, match="ConsortiumOwnerInvalid"):
        Lab.on(lab.chain, tmp_path / "..", owners=("<img src=x onerror=a()>", "b", "c"))
    hostile = Lab.on(lab.chain, tmp_path / "..")
    recipe = make_recipe(tmp_path / "hostile", question=json.dumps("Why? " + ATTACK))
    lab.store.add_recipe("0x" + recipe.compose_hash.hex(), recipe.compose)
    hostile.recipe = recipe
    hostile.live()
    page.goto(url)
    expect(page.locator(".question", has_text="Why?")).to_contain_text("Why? " + ATTACK)
    page.goto(f"{url}/studies/{hostile.room.consortium}")
    expect(page.locator(".lead")).to_have_text("Why? " + ATTACK)
    expect(page.locator("#drawn-source")).to_contain_text(
        "Drawn in this page"
    )  # the page's own word of it, too
    assert page.locator("img:not(.mark), main script").count() == 0, "what is no element does not run"
    assert page.title() != "owned"


def test_a_page_without_a_wallet_says_so(page: Page, url: str, lab: Lab) -> None:
    lab.live()
    page.goto(study_page(url, lab))
    open_dialog(page, "Revoke").get_by_label("Why").fill("stop")
    expect(page.get_by_role("alert")).to_contain_text("No wallet found")


def test_a_runs_page_follows_it_live(page: Page, url: str, lab: Lab) -> None:
    """Server-sent events: no reload by hand, and hostile text from an enclave stays text."""
    run = lab.submit()
    page.goto(f"{url}/runs/{run}")
    expect(page.locator("#state")).to_have_text("queued")
    held = lab.take()
    lab.store.advance(held, "computing", message=ATTACK)
    expect(page.locator("#state")).to_have_text("computing")
    expect(page.locator("#timeline li").last).to_contain_text(ATTACK)
    assert page.locator("#timeline").locator("img, script").count() == 0
    lab.store.end(held, "failed", code=Code.JOB_FAILED, message="ValueError")
    expect(page.locator(".ending h2")).to_have_text("Failed: the analysis ended without a result")
    assert page.title() != "owned"


def test_the_keyboard_reaches_everything_on_the_board(page: Page, url: str, lab: Lab) -> None:
    lab.live()
    page.goto(url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.getAttribute('href')"))
    assert {"/", "/build", f"/studies/{lab.room.consortium}"} <= seen


def test_what_is_hidden_is_not_shown(page: Page, url: str, lab: Lab) -> None:
    """WE-01: no rule of the style sheet brings back what a page hides, on any page for any element."""
    lab.register()
    lab.propose()
    for path in ("/", study_page("", lab), f"/runs/{lab.submit()}", "/docs", "/nothing"):
        page.goto(url + path)
        shown = page.evaluate(
            """() => {
              const seen = [];
              const visible = (one) => one.checkVisibility() || one.getClientRects().length > 0;
              for (const one of document.querySelectorAll("[hidden]")) {
                if (visible(one)) seen.push(one.outerHTML);
              }
              // Every kind of element that the page has, hidden: none may stay, whatever its own rules say.
              for (const one of document.body.querySelectorAll("*:not([hidden])")) {
                one.toggleAttribute("hidden", true);
                if (visible(one)) seen.push("hidden: " + one.tagName + "." + one.className);
                one.toggleAttribute("hidden", false);
              }
              return seen;
            }"""
        )
        assert shown == [], path
