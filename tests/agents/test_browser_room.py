# SPDX-License-Identifier: Apache-2.0
"""What an officer sees before any button, in a browser: from the recipe's bytes and the wallet's own node.

WE-01, WE-09, WE-12. One world: a study is live, a second recipe waits, and so does a third study of
it that does not fit into what its datasets have left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.agents.browsing import READS, WALLET, Wallet, open_dialog, patient, served, study_page, with_wallet
from tests.local_chain import LocalChain, account
from tests.outside import ANALYSIS, Lab, make_recipe

from sealroom_agents.chain.event import Event
from sealroom_agents.chain.owner_events import Proposal
from sealroom_agents.index import Portrait
from sealroom_agents.twelve_words import twelve_words

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

BYTES = "computed in this page from the recipe’s bytes"
NODE = "read from your wallet’s node"
FIRST = "<p>Nothing was approved here before: this is the first study of this consortium.</p>"
QUESTION = "How many are there, and of what age?"


@dataclass
class World:
    lab: Lab
    first: bytes
    """The live study."""
    second: bytes
    """Waits, and fits."""
    greedy: bytes
    """Waits, and asks for ten times as much."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with LocalChain.start() as chain:
        lab = Lab.on(chain, tmp_path_factory.mktemp("room"))
        lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
        first = lab.live(runs=3)
        recipe = make_recipe(
            tmp_path_factory.mktemp("second"), question=QUESTION, analysis=ANALYSIS + "# one line more\n"
        )
        lab = replace(lab, recipe=recipe)
        lab.store.add_recipe(lab.compose_hash, recipe.compose)
        second = lab.propose(owner=2, epsilon_micro=3_000_000, max_runs=2)
        greedy = lab.propose(owner=0, epsilon_micro=45_000_000, max_runs=30)
        yield World(lab, first, second, greedy)


@pytest.fixture(autouse=True)
def head(world: World) -> None:
    """A block of now: a console shows no chain whose head is old."""
    world.lab.chain.mine()


def test_the_room_is_drawn_from_bytes_and_the_wallets_node(
    page: Page, browser: Browser, world: World
) -> None:
    lab = world.lab
    with served(lab.reader, lab.store, lab.room.factory) as url:
        wallet = Wallet(lab.chain, account(1))
        with_wallet(page, wallet)
        page.goto(study_page(url, lab, world.second))
        expect(page.locator("#waiting-mark")).to_have_text(f"{NODE}: 2 studies wait")
        expect(page.locator("#drawn-note")).to_be_hidden()
        # what ε buys
        buys = page.locator("section", has=page.locator("#drawn-buys"))
        rows = [" ".join(one.split()) for one in buys.get_by_role("row").all_inner_texts()]
        assert rows[1:3] == ["one run ε 1.5 81.8 in 100", "the whole study, 2 runs ε 3 95.3 in 100"]
        expect(buys).to_contain_text(
            "This is the promise, not the expectation. There is no exception to the bound: δ is 0."
        )
        expect(buys).to_contain_text("With 2\u202f001 registered records")
        expect(buys).to_contain_text("people in a group ±")
        expect(buys.locator(".mark.here")).to_have_text(BYTES)
        # the words of the second machine
        expect(page.locator("#drawn-words li")).to_have_text(list(twelve_words(world.second)))
        # the budget, and mine beside the buttons
        expect(page.locator("#budget-mark")).to_have_text(NODE)
        budget = page.locator("#drawn-budget")
        expect(budget).to_contain_text("All 2 runs fit into what the datasets have left.")
        expect(page.locator("#mine")).to_contain_text(
            "cohort-B: ε 0 spent, this study may take ε 3, ε 1.5 left of ε 4.5."
        )
        for line, owner in ((1, "hospital-A"), (2, "hospital-B")):
            expect(budget.get_by_role("row").nth(line)).to_contain_text(owner)
        # on a phone each field is a card, with a label on all that it says
        page.set_viewport_size({"width": 390, "height": 844})
        leaves = page.locator("#drawn-leaves")
        assert leaves.locator("td").evaluate_all("all => all.every((one) => one.dataset.label)")
        assert leaves.locator(".scroll").evaluate("one => one.scrollWidth <= one.clientWidth")
        assert leaves.locator("tbody tr").first.evaluate("one => getComputedStyle(one).display") == "grid"
        page.set_viewport_size({"width": 1280, "height": 720})
        # who is missing, and why
        expect(page.locator("#votes-mark")).to_have_text(f"names, accounts and votes {NODE}")
        missing = page.locator(f"[data-owner='{account(1)}'] [data-cell=vote]")
        expect(missing).to_contain_text("pending required cohort-B is used: nothing runs without it")
        # what changed since this account approved
        changed = page.locator("#drawn-difference")
        expect(changed).to_contain_text(
            f"Since the study that was pinned last, which your account {account(1)} approved"
        )
        expect(changed.get_by_role("row", name="question")).to_contain_text(QUESTION)
        expect(changed.get_by_role("row", name="ε of all runs")).to_contain_text("4.5")
        expect(changed.locator(".come")).to_have_text(["+ # one line more"])
        expect(page.locator("#difference-mark")).to_contain_text("approved by your wallet’s node")
        assert wallet.methods <= READS
        # the other one, which does not fit
        page.goto(study_page(url, lab, world.greedy))
        expect(page.locator("#budget-mark")).to_have_text(NODE)
        expect(budget).to_contain_text("Only 3 of 30 runs can open: this proposal does not fit.")
        expect(budget).to_contain_text("only 3 of 30 runs fit: its lifetime leaves ε 4.5")
        # without scripts, the same as the server's word
        context = patient(browser, java_script_enabled=False)
        plain = context.new_page()
        plain.goto(study_page(url, lab, world.second))
        expect(plain.locator("#drawn-words li")).to_have_text(list(twelve_words(world.second)))
        expect(plain.locator("#drawn-buys")).to_contain_text("81.8 in 100")
        expect(plain.locator("#budget-mark")).to_contain_text("the server’s word")
        expect(plain.locator("#drawn-difference")).to_contain_text(QUESTION)
        assert plain.locator("main").locator(".mark.here, .mark.chain").count() == 0
        context.close()


def left_out(study: bytes) -> Any:
    """A console that hides one of two proposals, and counts one less."""

    def lie(portrait: Portrait) -> Portrait:
        def kept(event: Event) -> bool:
            return not (isinstance(event, Proposal) and event.content.id == study)

        votes = replace(portrait.votes, events=tuple(filter(kept, portrait.votes.events)))
        candidates = tuple(one for one in portrait.facts.candidates if one.study.id != study)
        return replace(portrait, votes=votes, facts=replace(portrait.facts, candidates=candidates))

    return lie


def test_a_proposal_that_the_server_leaves_out_is_found_on_chain(page: Page, world: World) -> None:
    """WE-12: the honest one of two is hidden; the node behind the wallet shows it, and nothing is signed."""
    lab = world.lab
    with served(lab.reader, lab.store, lab.room.factory, lie=left_out(world.second)) as url:
        wallet = Wallet(lab.chain, account(1))
        with_wallet(page, wallet)
        page.goto(study_page(url, lab, world.greedy))
        expect(page.locator("#drawn-note")).to_contain_text("The server left out a study that waits")
        expect(page.locator("#waiting li", has=page.locator(".mark.broken"))).to_contain_text(
            "0x" + world.second.hex()
        )
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text("leaves out a study that waits for approval too")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_disabled()
        assert wallet.methods <= READS
        # A server that names it where nobody sees it, and says whatever it likes of numbers and blocks.
        hidden = f"<i hidden data-proposal='0x{world.second.hex()}'></i>"

        def hide(route: Any) -> None:
            answer = route.fetch()
            body = answer.text().replace(
                '<div id="waiting">', f'{hidden}<div id="waiting" data-told="99" data-block="0">'
            )
            assert hidden in body
            route.fulfill(response=answer, body=body)

        page.route("**/studies/*", hide)
        page.reload()
        expect(page.locator("#waiting li")).to_have_count(2)
        expect(page.locator("#waiting ul.plain").last).to_contain_text("0x" + world.second.hex())
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text("leaves out a study that waits for approval too")
        # One that lists it inside, where nobody sees it; and one with no place for what waits.
        within = '<div id="waiting">', f'<div id="waiting">{hidden}'
        for old, new, says in (
            (*within, "leaves out a study that waits for approval too"),
            ('id="waiting"', "", "does not show which proposals wait"),
        ):
            page.unroute_all()
            page.route("**/studies/*", replacing(old, new))
            page.reload()
            expect(page.locator("#drawn-note")).to_be_visible()
            dialog = open_dialog(page, "Approve this recipe")
            expect(dialog.get_by_role("alert")).to_contain_text(says)
            expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_disabled()


def replacing(old: str, new: str) -> Any:
    """A server that writes something else in a page."""

    def change(route: Any) -> None:
        answer = route.fetch()
        assert old in answer.text()
        route.fulfill(response=answer, body=answer.text().replace(old, new, 1))

    return change


def test_an_earlier_approval_that_was_invented_is_caught(page: Page, world: World) -> None:
    """WE-01: the server's word decides nothing of a comparison: id, bytes and approval are checked."""
    lab = world.lab
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, Wallet(lab.chain, account(2)))
        lies = {"before": (account(1), account(2)), "bytes": ("", ""), "none": ("", "")}
        told = {"lie": "before"}

        def change(route: Any) -> None:
            answer, (mine, other) = route.fetch(), lies[told["lie"]]
            body = answer.text()
            at = body.index("data-earlier=")
            told_now = body[at:].replace(mine, other, 1) if mine else body[at:]
            if told["lie"] == "none":
                told_now = re.sub(r'data-earlier="[^"]*">', f'data-earlier="[]">{FIRST}', told_now, count=1)
            route.fulfill(response=answer, body=body[:at] + told_now)

        page.route("**/studies/*", change)
        page.goto(study_page(url, lab, world.second))
        expect(page.locator("#difference-mark")).to_have_text("your wallet’s node knows no such approval")
        expect(page.locator("#drawn-note")).to_contain_text(
            "an earlier approval that your wallet’s node does not know"
        )
        # None named at all, and the sentence that there was none: the node knows better.
        told["lie"] = "none"
        page.goto(study_page(url, lab, world.second))
        expect(page.locator("#difference-mark")).to_have_text("your wallet’s node knows one")
        expect(page.locator("#drawn-difference")).not_to_contain_text("this is the first study")
        expect(page.locator("#drawn-difference")).to_contain_text("0x" + world.first.hex())
        told["lie"] = "bytes"
        old = lab.reader.study_history(lab.room.consortium).pins[0].content.compose_hash
        page.route(f"**/v1/recipes/0x{old.hex()}", lambda route: route.fulfill(status=200, body="{}"))
        page.goto(study_page(url, lab, world.second))
        expect(page.locator("#drawn-difference")).to_contain_text(
            "Only the terms and the hashes can be compared."
        )
        expect(page.locator("#drawn-difference")).to_contain_text("0x" + old.hex())


CAME = """window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: {
  info: { uuid: "late-1", name: "Late", rdns: "io.late", icon: "" }, provider: window.ethereum,
} }))"""


def test_a_wallet_that_comes_while_the_page_is_drawn_is_asked(page: Page, world: World) -> None:
    """Before the page has found that there is none, it reads the recipe that was approved before."""
    lab, held = world.lab, list[Route]()
    old = lab.reader.study_history(lab.room.consortium).pins[0].content.compose_hash
    with served(lab.reader, lab.store, lab.room.factory) as url:
        page.expose_function("walletRequest", Wallet(lab.chain, account(1)))
        before = f"**/v1/recipes/0x{old.hex()}"
        page.route(before, lambda route: route.continue_() if held else held.append(route))
        with page.expect_request(before):
            page.goto(study_page(url, lab, world.second))
        page.evaluate(WALLET)
        page.evaluate(CAME)
        held[0].continue_()
        expect(page.locator("#budget-mark")).to_have_text(NODE)
        expect(page.locator("#waiting-mark")).to_have_text(f"{NODE}: 2 studies wait")
