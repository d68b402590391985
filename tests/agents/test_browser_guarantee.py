# SPDX-License-Identifier: Apache-2.0
"""What an owner sees of a guarantee before signing: read by the page from the recipe's bytes, in a browser.

WE-01, WE-09, DP-03: SQL and guarantee are the bytes'; what is compiled from the SQL is the server's word, and
says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import Wallet, open_dialog, patient, served, study_page, with_wallet
from tests.agents.test_counted import several_rows
from tests.formats import phala
from tests.formats.phala import needs_script
from tests.formats.test_recipe_blocks import by_blocks
from tests.formats.test_recipe_relation import STUDY
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom.recipe import Recipe, parse, render

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

FILES = "  - {owner: hospital-C, name: scans, kind: files}\n"
PEOPLE = "  - {owner: hospital-B, name: people-B"
COMPUTES = {"by-reading": "emit_signed(", "by-blocks": "emit_block("}
SQL = 'SELECT person, max(age) AS age, max(sex) AS sex, count(*) AS visits, avg("Gr'


def renamed(compose: bytes, mark: bytes) -> Recipe:
    """The same over datasets of its own: an account registers each name once."""
    return parse(re.sub(rb"\b(visits|people|cohort)-([AB])", rb"\1-" + mark + rb"-\2", compose))


@pytest.fixture(scope="module")
def labs(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lab]:
    """Consortia of their own: relations, one over tables of two schemas beside files, and scripts."""
    folder = tmp_path_factory.mktemp("relation")
    (folder / "study.yaml").write_text(STUDY.replace(PEOPLE, FILES + PEOPLE))
    made = {
        "by-construction": Lab.on(chain, folder, recipe=parse(render(folder))),
        "several": Lab.on(chain, tmp_path_factory.mktemp("several"), recipe=renamed(several_rows(), b"s")),
        "by-blocks": Lab.on(chain, tmp_path_factory.mktemp("blocks"), recipe=renamed(by_blocks(), b"b")),
        "by-reading": Lab.on(chain, tmp_path_factory.mktemp("script")),
    }
    for lab in made.values():
        lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
        lab.register()
        lab.propose()
    return made


@pytest.fixture(autouse=True)
def head(chain: LocalChain) -> None:
    """A block of now: a console shows no chain whose head is old."""
    chain.mine()


def test_a_relation_is_drawn_from_the_bytes_and_signed_for_as_written(
    page: Page, labs: dict[str, Lab]
) -> None:
    lab = labs["by-construction"]
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, Wallet(lab.chain, account(1)))
        page.goto(study_page(url, lab))
        expect(page.locator("#drawn-source")).to_contain_text("Drawn in this page from the recipe’s bytes")
        expect(page.locator("#waiting-mark")).to_contain_text("read from your wallet’s node")  # said last
        expect(page.locator("#drawn-note")).to_be_hidden()
        agreed = page.locator("#drawn-agreed")
        for told in ("by-construction", "hospital-C/scans (files)", "Größe (cm) decimal(6, 2)"):
            expect(agreed).to_contain_text(told)
        expect(agreed).to_contain_text("sex category of F, M")
        expect(agreed).to_contain_text("scans list of int64")
        expect(page.locator("#drawn-analysis")).to_contain_text(SQL)
        expect(page.locator("#drawn-analysis")).to_contain_text("one row a person")
        assert lab.recipe.compiled is not None
        compiled = page.locator("#compiled")
        expect(compiled).to_contain_text("The server’s word")
        expect(compiled).to_contain_text("sealroom relation app-compose.json")
        expect(compiled.locator("li code").last).to_have_text(lab.recipe.compiled.sql.splitlines()[-1])
        expect(compiled.get_by_role("row", name="height")).to_contain_text(
            "binary fraction (64 bits), may be missing"
        )
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        for told in ("by-construction", SQL, "one row a person", "hospital-C/scans (files)"):
            expect(dialog).to_contain_text(told)
        expect(dialog.locator(".must-read")).to_have_count(0)


@needs_script
def test_a_script_of_phala_is_shown_by_server_and_page_before_an_owner_approves(
    page: Page, chain: LocalChain, tmp_path: Path
) -> None:
    """AT-23: its length, its hash and its lines, the same from both; what the page signs for has it, too."""
    lab = Lab.on(chain, tmp_path, recipe=renamed(phala.wrapped(tmp_path), b"p"))
    lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
    lab.register()
    lab.propose()
    script = lab.recipe.script
    assert script is not None
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, Wallet(lab.chain, account(1)))
        page.goto(study_page(url, lab))
        expect(page.locator("#drawn-source")).to_contain_text("Drawn in this page from the recipe’s bytes")
        expect(page.locator("#waiting-mark")).to_contain_text("read from your wallet’s node")  # said last
        expect(page.locator("#drawn-note")).to_be_hidden()
        expect(page.locator("#drawn-agreed")).to_contain_text("12,328 bytes runs as root in the VM")
        computes = page.locator("#drawn-analysis")
        for told in ("Runs before that, as root", script.digest, script.name, "perform_cleanup()"):
            expect(computes).to_contain_text(told)
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        for told in ("12,328 bytes runs as root in the VM", script.digest, "perform_cleanup()"):
            expect(dialog).to_contain_text(told)


LIES = {
    "sql": ("GROUP BY person</code>", "GROUP BY sex</code>", "What computes"),
    "rows": ("Its result has one row", "Its result has at most 9 rows", "What computes"),
    "heading": ("<h2>The researcher’s SQL</h2>", "<h2>The script</h2>", "What computes"),
    "category": ("category of F, M", "category of F", "What is agreed to"),
    "files": ("hospital-C/scans (files)", "hospital-C/scans (table visits)", "What is agreed to"),
    "guarantee": (">by-construction</strong>", ">by-reading</strong>", "What is agreed to"),
    "blocks": ("50 blocks of people", "500 blocks of people", "What is agreed to"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_shows_another_promise_is_caught(page: Page, labs: dict[str, Lab], lie: str) -> None:
    before, after, says = LIES[lie]
    lab = labs["by-blocks" if lie == "blocks" else "by-construction"]

    def change(route: Any) -> None:
        answer = route.fetch()
        assert before in answer.text(), "the test changes nothing"
        route.fulfill(response=answer, body=answer.text().replace(before, after))

    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, Wallet(lab.chain, account(1)))
        page.route("**/studies/*", change)
        page.goto(study_page(url, lab))
        expect(page.locator("#drawn-note")).to_contain_text(says)
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text(says)
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_disabled()


COUNTED = {
    "by-construction": "one row a person",
    "several": "at most 1,200 rows a person",
    "by-blocks": "50 blocks of people",
    "by-reading": "one row a person",
}
RED = """one => {
  const [red, green, blue] = getComputedStyle(one).backgroundColor.match(/[0-9]+/g).map(Number);
  return red > 1.5 * green && red > 1.5 * blue;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("name", COUNTED)
def test_a_guarantee_is_named_everywhere_and_red_where_it_rests_on_reading(
    browser: Browser, labs: dict[str, Lab], name: str, scheme: Any, width: int
) -> None:
    """On the board, on the page, in the dialog; and no view is wider than its window."""
    lab, must_read = labs[name], name == "by-reading"
    size: Any = {"width": width, "height": 800}
    context = patient(browser, color_scheme=scheme, viewport=size)
    page = context.new_page()

    def named(place: Any) -> None:
        promised = lab.recipe.guarantee.name
        expect(place).to_have_text(promised)
        expect(place.locator("..")).to_contain_text(f"{promised}, {COUNTED[name]}")
        assert place.evaluate(RED) is must_read

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, Wallet(lab.chain, account(1)))
        page.goto(url)
        named(page.locator(".cohorts .guarantee"))
        fits()
        page.goto(study_page(url, lab))
        expect(page.locator("#drawn-source")).to_contain_text("Drawn in this page")
        named(page.locator("#drawn-agreed .guarantee"))
        named(page.locator("#drawn-analysis .guarantee"))
        assert page.locator("#compiled").count() == (0 if lab.recipe.guarantee.by_script else 1)
        fits()
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        named(dialog.locator(".notice .guarantee"))
        expect(dialog.locator(".source")).to_contain_text(COMPUTES.get(name, SQL))
        assert dialog.evaluate("one => one.scrollWidth <= one.clientWidth")
    context.close()
