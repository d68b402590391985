# SPDX-License-Identifier: Apache-2.0
"""The decision room as one file: in a browser, from disk, with the network off.

WE-01, WE-09, WE-12. It reads, draws and computes without anybody; with a wallet it asks that wallet's node,
whose word takes the place of what was so when the file was made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import READS, Wallet, open_dialog, patient, press, with_wallet
from tests.agents.disk_page import made
from tests.agents.test_browser_form import AXE, BARE, RULES, SHOTS, WIDER
from tests.local_chain import LocalChain, account
from tests.outside import ANALYSIS, Lab, make_recipe

from sealroom.encoding import to_base64, to_hex
from sealroom_agents.chain.contracts import interface
from sealroom_agents.twelve_words import twelve_words

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

BYTES = "computed in this page from the recipe’s bytes"
NODE = "read from your wallet’s node"
LAST = f"{NODE}: 1 study waits"
"""What a page that asks a wallet's node says last; nothing is noted after it."""


@dataclass
class World:
    lab: Lab
    study: bytes
    """Waits, while an earlier one is live; hospital-C approved it."""
    file: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with LocalChain.start() as chain:
        lab = Lab.on(chain, tmp_path_factory.mktemp("first"))
        before = lab.recipe.compose
        lab.live(runs=3)
        recipe = make_recipe(tmp_path_factory.mktemp("second"), analysis=ANALYSIS + "# one line more\n")
        lab = replace(lab, recipe=recipe)
        study = lab.propose(owner=2, epsilon_micro=3_000_000, max_runs=2)
        yield World(lab, study, made(lab, tmp_path_factory.mktemp("page"), study, before))


@contextmanager
def from_disk(browser: Browser, file: Path, wallet: Callable[[str], str] | None = None) -> Iterator[Page]:
    """The file, opened with the network off. No script complains, and nothing is asked of anybody."""
    context = patient(browser, offline=True, accept_downloads=True)
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text))
    page.on("request", lambda request: asked.append(request.url))
    if wallet is not None:
        with_wallet(page, wallet)
    page.goto(file.as_uri())
    yield page
    context.close()
    assert troubles == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_without_a_wallet_the_file_computes_and_gives_what_others_sign(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    lab, study = world.lab, world.study
    call = interface("Consortium").encode("approve", lab.chain.study(study).solidity(), [])
    with from_disk(browser, world.file) as page:
        expect(page.locator("#drawn-source")).to_contain_text("Drawn in this page from the recipe’s bytes")
        expect(page.locator("#drawn-note")).to_be_hidden()
        assert page.locator("[data-mark=bytes]").count() == 0
        expect(page.locator("#drawn-words li")).to_have_text(list(twelve_words(study)))
        expect(page.locator("#drawn-leaves")).to_contain_text("people")
        expect(page.locator("#drawn-buys")).to_contain_text("95.3 in 100")
        expect(page.locator("#drawn-budget")).to_contain_text("All 2 runs fit")
        # what changed, from the bytes of both recipes, and whose word it is that the other was approved
        expect(page.locator("#difference-mark")).to_contain_text("that it was approved is the file’s word")
        expect(page.locator("#drawn-difference .come")).to_have_text(["+ # one line more"])
        # who signed, and who lacks
        expect(page.locator(f"[data-owner='{account(2)}'] [data-cell=vote]")).to_contain_text("approved")
        expect(page.locator(f"[data-owner='{account(1)}'] [data-cell=vote]")).to_contain_text(
            "pending required cohort-B is used: nothing runs without it"
        )
        expect(page.locator("#votes-mark")).to_contain_text("the file’s word")
        assert page.locator("main .mark.chain").count() == 0
        expect(page.get_by_label("This file")).to_contain_text(account(0))
        # for other wallets
        without = page.locator("#drawn-without")
        expect(without.locator(".checks .ok")).to_have_count(3)
        expect(without.locator(".deed")).to_have_text(f"approve({to_hex(study)})")
        expect(without.locator(".calldata")).to_have_text(to_hex(call))
        expect(without).to_contain_text(f"sealroom approval {to_hex(study)} --rpc URL --expect study.json")
        expect(without).to_contain_text(f"sealroom govern approve {to_hex(study)}")
        without.get_by_label("The Safe that is an owner").select_option(account(1))
        with page.expect_download() as download:
            without.get_by_role("button", name="Approve: get the Safe file").click()
        saved = tmp_path / "approve.safe.json"
        download.value.save_as(saved)
        safe = json.loads(saved.read_text())
        assert safe["chainId"] == str(lab.chain.chain_id)
        assert safe["meta"]["createdFromSafeAddress"].lower() == account(1)
        assert safe["transactions"][0]["to"].lower() == lab.room.consortium
        # no link leads to a server
        links = [one.get_attribute("href") or "" for one in page.locator("a").all()]
        assert all(link.startswith("#") for link in links)
        # what needs a wallet says so
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text("No wallet found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_breaks_no_rule_of_access(
    browser: Browser, world: World, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2.2 AA by axe, nothing scrolls sideways; without scripts all is there."""
    with from_disk(browser, world.file) as page:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator("#drawn-without .deed")).to_be_visible()
        expect(page.locator("#difference-mark")).to_contain_text("is the file’s word")
        for width in (320, 390, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert not page.evaluate(WIDER), width
        page.evaluate(AXE)
        assert page.evaluate(RULES) == []
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/disk-{scheme}.png", full_page=True)
    context = patient(browser, offline=True, java_script_enabled=False)
    plain = context.new_page()
    plain.goto(world.file.as_uri())
    expect(plain.locator("#drawn-words li")).to_have_text(list(twelve_words(world.study)))
    context.close()


def test_it_stays_readable_where_the_system_chooses_the_colours(browser: Browser, world: World) -> None:
    """Forced colours: edges and fillings are there, and axe finds nothing."""
    with from_disk(browser, world.file) as page:
        page.emulate_media(forced_colors="active", reduced_motion="reduce")
        expect(page.locator("#drawn-without .deed")).to_be_visible()
        expect(page.locator("#difference-mark")).to_contain_text("is the file’s word")
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        page.evaluate(AXE)
        assert page.evaluate(RULES) + page.evaluate(BARE) == []


def test_other_bytes_than_those_of_the_study_are_caught_in_the_page(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    """Whoever opens a file without checking it first is told too."""
    other = make_recipe(tmp_path / "other", analysis=ANALYSIS + "# forged\n").compose
    text = world.file.read_text()
    forged = tmp_path / "forged.html"
    swapped = text.replace(to_base64(world.lab.recipe.compose), to_base64(other))
    assert swapped != text
    forged.write_text(swapped)
    with from_disk(browser, forged) as page:
        expect(page.locator("#drawn-note")).to_contain_text("do not have the compose hash")
        expect(page.locator("#drawn-without")).to_contain_text("do not have the compose hash")
        expect(page.get_by_role("button", name="Approve: get the Safe file")).to_have_count(0)
    # a script of its maker's own does not run
    scripted = tmp_path / "scripted.html"
    scripted.write_text(text.replace("</main>", "<script>document.title = 'owned'</script></main>"))
    context = patient(browser, offline=True)
    page = context.new_page()
    page.goto(scripted.as_uri())
    expect(page.locator("#drawn-without .deed")).to_be_visible()
    assert page.title() != "owned"
    context.close()


def test_a_study_that_was_proposed_since_is_named_and_is_no_lie_of_the_file(
    browser: Browser, world: World
) -> None:
    """WE-12: the file cannot know it; the wallet's node does, and the page says so in other words than of a
    study that the file leaves out."""
    lab = world.lab
    snapshot = lab.chain.snapshot()
    later = lab.propose(owner=1, epsilon_micro=3_000_000, max_runs=1)
    lab.chain.mine()
    with from_disk(browser, world.file, Wallet(lab.chain, account(1))) as page:
        expect(page.locator("#drawn-note")).to_contain_text(
            "Since this file was made, another study was proposed"
        )
        line = page.locator("#waiting li", has_text=to_hex(later))
        expect(line).to_contain_text("proposed since this file was made")
        assert page.locator("#waiting .mark.broken").count() == 0
        expect(page.locator("#waiting-mark")).not_to_have_class(re.compile("broken"))
    longest = lab.chain.block_number()
    lab.chain.restore(snapshot)
    lab.chain.mine(longest - lab.chain.block_number())
    with from_disk(browser, world.file, Wallet(lab.chain, account(1))) as page:
        expect(page.locator("#waiting-mark")).to_contain_text(LAST)
        expect(page.locator("#drawn-note")).to_be_hidden()


def test_an_owner_signs_then_sends_from_disk_and_the_node_is_newer_than_the_file(
    browser: Browser, world: World
) -> None:
    lab, study = world.lab, world.study
    lab.chain.mine()
    wallet = Wallet(lab.chain, account(1))
    with from_disk(browser, world.file, wallet) as page:
        expect(page.locator("#votes-mark")).to_have_text(f"names, accounts and votes {NODE}")
        expect(page.locator("#budget-mark")).to_have_text(NODE)
        expect(page.locator("#mine")).to_contain_text("cohort-B: ε 0 spent")
        expect(page.locator("#difference-mark")).to_contain_text("approved by your wallet’s node")
        expect(page.locator("#waiting-mark")).to_contain_text(LAST)
        expect(page.locator("#drawn-note")).to_be_hidden()
        assert wallet.methods <= READS
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.locator(".checks .ok")).to_have_count(8)
        expect(dialog).to_contain_text("Compared with the file: it holds the same call, byte for byte.")
        press(dialog, "Approve: sign 1 message, send nothing")
        expect(dialog).to_contain_text("Pass this file to")
        expect(dialog.get_by_role("button", name="Leave it at this console")).to_be_hidden()
        (message,) = wallet.signed()
        assert message["primaryType"] == "ApproveStudy" and wallet.sent() == []
        dialog.get_by_role("button", name="Close").click()
    # hospital-A approves meanwhile: the file does not know it, the node does
    lab.chain.approve(lab.room, study, 0)
    with from_disk(browser, world.file, wallet) as page:
        expect(page.locator(f"[data-owner='{account(0)}'] [data-cell=vote]")).to_contain_text(
            "approved since this file was made"
        )
        expect(page.locator("[data-shown=quorum]")).to_contain_text("2 of 3 approved")
        expect(page.locator("#waiting-mark")).to_contain_text(LAST)
        expect(page.locator("#drawn-note")).to_be_hidden()
        dialog = open_dialog(page, "Approve this recipe")
        press(dialog, "Approve: send 1 transaction")
        expect(dialog).to_contain_text("Approved in block")
    (sent,) = wallet.sent()
    call = interface("Consortium").encode("approve", lab.chain.study(study).solidity(), [])
    assert (sent["to"], sent["data"]) == (lab.room.consortium, to_hex(call))
    assert lab.chain.state(lab.room).study == study
