# SPDX-License-Identifier: Apache-2.0
"""The page of changes as its tests use it: its addresses, its checks, what its wallet is asked for, and
servers that lie on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, Route, expect
from tests.agents.browsing import Wallet, opened, with_wallet
from tests.outside import Lab

SENDING = {"eth_sendTransaction", "eth_signTypedData_v4"}


def change(url: str, lab: Lab, **query: Any) -> str:
    return f"{url}/studies/{lab.room.consortium}/change?{urlencode(query, doseq=True)}"


def checked(page: Page) -> None:
    page.get_by_role("button", name="Check with my wallet").click()
    expect(page.locator("[data-send]")).to_be_enabled()
    expect(page.locator("[data-checks] li.bad")).to_have_count(0)


def sent(page: Page, wallet: Wallet) -> dict[str, Any]:
    assert not wallet.methods & SENDING, "nothing is asked before the button"
    page.locator("[data-send]").click()
    expect(page.locator("[data-why]")).to_contain_text("Done.")
    (call,) = wallet.sent()
    return call


def lying(lie: dict[str, str]) -> Callable[[Route], None]:
    """The server's page with these attributes of its call, and these texts in place of others."""

    def answer(route: Route) -> None:
        honest = route.fetch()
        text = honest.text()
        for name, value in lie.items():
            if name.startswith("data-") and "=" not in name:
                start = text.index(f'{name}="') + len(name) + 2
                text = text[:start] + value + text[text.index('"', start) :]
            else:
                assert name in text, "the test changes nothing"
                text = text.replace(name, value)
        route.fulfill(response=honest, body=text)

    return answer


def refused(
    browser: Browser, lab: Lab, asked: str, who: str, lie: dict[str, str], says: str, *, ticks: int = 0
) -> None:
    """The page says what is wrong, and no button sends. ticks: checks that went before."""
    with opened(browser) as page:
        wallet = Wallet(lab.chain, who)
        with_wallet(page, wallet)
        page.route("**/change?*", lying(lie))
        page.goto(asked)
        button, problem = (
            page.get_by_role("button", name="Check with my wallet"),
            page.locator("[data-problem]"),
        )
        # What is wrong with the call itself is said at once, and there is nothing to check then.
        expect(button.or_(problem).filter(visible=True)).to_have_count(1)
        if button.is_visible():
            button.click()
        expect(problem).to_contain_text(says)
        expect(page.locator("[data-send]")).to_be_disabled()
        assert page.locator("[data-checks] li.ok").count() >= ticks
        assert not wallet.methods & SENDING
