# SPDX-License-Identifier: Apache-2.0
"""Four owners decide one study, each in a browser of its own: by transaction, by signature, as a Safe, on a
phone. WE-01, WE-02.

The fifth party, a bystander, hands in what was signed. Afterwards the one on the phone revokes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import Wallet, open_dialog, opened, press, served, study_page, with_wallet
from tests.agents.test_browser_dialogs import ACTS, REASON, SEND, SIGN
from tests.agents.test_browser_wallets import FILES, SIGNERS, SUBMIT
from tests.agents.test_desk_safes import encoded
from tests.contracts import safes
from tests.local_chain import LocalChain, account, member
from tests.outside import Lab, make_recipe, make_room

from sealroom_agents.store import Store

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

PHONE = {"width": 390, "height": 800}
PHONE_OWNER, BYSTANDER = 2, 9


@pytest.fixture
def safe_and_lab(tmp_path: Path) -> Iterator[tuple[safes.Safe, Lab]]:
    """hospital-A to -D, three of whom decide; the data are of the first two. hospital-D is a Safe of three,
    two of whom sign."""
    with LocalChain.start() as chain:
        safe = safes.deploy(chain, safes.V1_4_1).create(SIGNERS, 2)
        accounts = (account(0), account(1), account(PHONE_OWNER), safe.address)
        members = [member(one, f"hospital-{letter}") for one, letter in zip(accounts, "ABCD", strict=True)]
        lab = Lab(
            chain=chain,
            room=make_room(chain, members, threshold=3),
            recipe=make_recipe(tmp_path / "study"),
            reader=chain.reader(),
            store=Store(f"sqlite:///{tmp_path / secrets.token_hex(4)}.db"),
        )
        lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
        lab.register()
        yield safe, lab


def opens(page: Page, url: str, lab: Lab, owner: int) -> Wallet:
    """One person's browser, with a wallet of this account, at the consortium's page."""
    wallet = Wallet(lab.chain, account(owner))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    return wallet


def test_four_owners_approve_each_in_its_way_and_the_one_on_a_phone_revokes(
    browser: Browser, safe_and_lab: tuple[safes.Safe, Lab]
) -> None:
    safe, lab = safe_and_lab
    study = lab.propose()  # hospital-A's vote
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with opened(browser) as page:  # hospital-B signs, and hands it in
            wallet = opens(page, url, lab, 1)
            dialog = open_dialog(page, ACTS["approve"])
            press(dialog, SIGN["approve"])
            press(dialog, "Leave it at this console")
            expect(dialog.locator(".news")).to_contain_text("Your signature lies at this console")
            assert wallet.sent() == []
        with opened(browser) as page:  # one signer of hospital-D, whose Safe executes the file
            wallet = opens(page, url, lab, SIGNERS[0])
            dialog = open_dialog(page, ACTS["approve"])
            with page.expect_download() as download:
                press(dialog, FILES["approve"])
            (transaction,) = json.loads(download.value.path().read_text())["transactions"]
            assert wallet.sent() == []
        safe.execute(lab.room.consortium, encoded(transaction), signers=SIGNERS[:2])
        with opened(browser) as page:  # hospital-C, on a phone
            page.set_viewport_size(PHONE)
            opens(page, url, lab, PHONE_OWNER)
            dialog = open_dialog(page, ACTS["approve"])
            press(dialog, SEND["approve"])
            expect(page.locator(f"tr[data-owner='{account(PHONE_OWNER)}'] .vote")).to_have_text("approved")
            page.wait_for_load_state()  # it was loaded anew: with its style
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert not lab.chain.state(lab.room).live, (
            "three approved, and hospital-B, whose data it needs, only signed"
        )
        with opened(browser) as page:  # anybody sends what hospital-B signed
            opens(page, url, lab, BYSTANDER)
            page.locator("#gathered").get_by_role("button", name="Hand in 1 signature…").click()
            press(page.get_by_role("dialog"), SUBMIT[1])
            expect(page.locator("h1 .pill")).to_have_text("live")
        state = lab.chain.state(lab.room)
        assert state.live and state.study == study
        with opened(browser) as page:
            page.set_viewport_size(PHONE)
            opens(page, url, lab, PHONE_OWNER)
            dialog = open_dialog(page, ACTS["revoke"])
            dialog.get_by_label("Why").fill(REASON)
            press(dialog, SEND["revoke"])
            expect(dialog.locator(".news")).to_contain_text("Revoked.")
        assert lab.chain.state(lab.room).revokers == (account(PHONE_OWNER),)
