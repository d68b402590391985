# SPDX-License-Identifier: Apache-2.0
"""However a page is reached on which owners decide, its buttons work, and it is as new as it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_utils.address import to_checksum_address
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import Wallet, open_dialog, opened, served, study_page, with_wallet
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom.encoding import to_hex

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

LATER = "const now = Date.now; Date.now = () => now() + Number(localStorage.later || 0)"
ELEVEN_MINUTES_MS = 11 * 60 * 1000


@pytest.fixture(scope="module")
def lab(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A study waits."""
    made = Lab.on(chain, tmp_path_factory.mktemp("reached"))
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    made.register()
    made.propose()
    return made


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as address:
        yield address


@pytest.fixture
def tab(browser: Browser, lab: Lab) -> Iterator[Page]:
    lab.chain.mine()
    with opened(browser) as page:
        with_wallet(page, Wallet(lab.chain, account(1)))
        yield page


def can_approve(page: Page) -> None:
    dialog = open_dialog(page, "Approve this recipe")
    expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
    page.keyboard.press("Escape")


def test_an_address_in_mixed_case_is_the_same_place(tab: Page, url: str, lab: Lab) -> None:
    """People copy addresses as EIP-55 writes them, and a revocation may not fail for that."""
    place = f"{url}/studies/{to_checksum_address(lab.room.consortium)}"
    tab.goto(place)
    can_approve(tab)
    dialog = open_dialog(tab, "Revoke everything")
    dialog.get_by_label("Why").fill("stop")
    expect(dialog.get_by_role("button", name="Revoke now: send 1 transaction")).to_be_enabled()
    data = to_hex(lab.datasets[1].id)
    tab.goto(f"{place}/change?what=allow&dataset={data}&epsilon=3&delta=1e-6&day=0&runs=2")
    tab.get_by_role("button", name="Check with my wallet").click()
    expect(tab.locator("[data-send]")).to_be_enabled()


def test_the_back_button_makes_no_page_younger(tab: Page, url: str, lab: Lab) -> None:
    """WE-01: what was drawn long ago is drawn anew, not shown as if it had just been."""
    tab.add_init_script(LATER)
    tab.goto(study_page(url, lab))
    can_approve(tab)
    tab.evaluate(f"localStorage.later = String({ELEVEN_MINUTES_MS})")
    expect(open_dialog(tab, "Approve this recipe").get_by_role("alert")).to_contain_text("10 minutes")
    block = tab.locator("p.where")
    before = block.inner_text()
    lab.propose(max_runs=2)
    tab.goto(f"{url}/docs")
    tab.go_back()
    expect(block).not_to_have_text(before)
