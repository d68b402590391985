# SPDX-License-Identifier: Apache-2.0
"""The console's pages in a real browser: an owner reads, approves and revokes with an injected wallet.

The wallet is a few lines of EIP-1193 over anvil's unlocked accounts, so what the page sends is really
mined. The browser is the system's Chromium, else Playwright's own; without either the tests are skipped and
say why.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright
from tests.local_chain import LocalChain, account
from tests.outside import Lab, make_recipe

from sealroom import typed
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.views import study_values
from sealroom_agents.console import create_app

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WALLET = """
window.ethereum = {
  isTest: true,
  async request({ method, params }) {
    const answer = JSON.parse(await window.walletRequest(JSON.stringify({ method, params: params || [] })));
    if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
    return answer.result;
  },
};
"""
ATTACK = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@dataclass
class Wallet:
    """Answers for one account, as a browser wallet does; keeps what it was asked."""

    chain: LocalChain
    account: str
    chain_id: str | None = None
    declines: bool = False
    asked: list[tuple[str, list[Any]]] = field(default_factory=list)

    def __call__(self, raw: str) -> str:
        request = json.loads(raw)
        method, params = request["method"], request["params"]
        self.asked.append((method, params))
        if method == "eth_requestAccounts":
            return json.dumps({"result": [self.account]})
        if method == "eth_chainId" and self.chain_id is not None:
            return json.dumps({"result": self.chain_id})
        if method == "eth_sendTransaction" and self.declines:
            return json.dumps({"error": {"code": 4001, "message": "User rejected the request."}})
        # Through HTTP of its own: the page's loop and the test's thread both use the chain.
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(self.chain.url, json=body, timeout=20).json()
        return json.dumps({name: answer[name] for name in ("result", "error") if name in answer})

    @property
    def methods(self) -> set[str]:
        return {method for method, _ in self.asked}

    def sent(self) -> list[dict[str, Any]]:
        return [params[0] for method, params in self.asked if method == "eth_sendTransaction"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            pytest.skip(f"no browser: {path or 'no Chromium on this system'}: {str(error).splitlines()[0]}")
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    made = Lab.on(chain, tmp_path)
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    yield made
    chain.restore(snapshot)


@pytest.fixture
def url(lab: Lab) -> Iterator[str]:
    """The console over real HTTP."""
    app = create_app(lab.store, lab.reader, factory=lab.room.factory)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that fails the test when the content security policy or a script complains."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    opened = context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
    yield opened
    context.close()
    assert troubles == []


def with_wallet(page: Page, wallet: Wallet) -> None:
    page.expose_function("walletRequest", wallet)
    page.add_init_script(WALLET)


def study_page(url: str, lab: Lab) -> str:
    return f"{url}/studies/{lab.room.consortium}"


def test_an_owner_approves_with_a_wallet_and_the_chain_shows_it(page: Page, url: str, lab: Lab) -> None:
    """WE-01, WE-03: shown first, checked against the wallet's own node, then one transaction and nothing
    else."""
    lab.register()
    study = lab.propose()
    lab.chain.approve(lab.room, study, 0)
    wallet = Wallet(lab.chain, account(1))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    expect(page.locator("tr[data-owner='" + account(1) + "'] .vote")).to_have_text("pending")

    page.get_by_role("button", name="Approve this recipe").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(lab.compose_hash)
    expect(dialog).to_contain_text("0x" + study.hex())
    expect(dialog).to_contain_text("approve((bytes32,bytes32,bytes32,bytes32[],uint64,uint64,uint32,")
    expect(dialog).to_contain_text("ε 4.5 and δ 0.000001 for at most 3 runs, until ")
    expect(dialog).to_contain_text(lab.datasets[0].id.hex())
    expect(dialog.locator(".checks .ok")).to_have_count(4)
    assert wallet.sent() == [], "nothing is asked of the wallet before the owner goes on"
    dialog.get_by_role("button", name="Continue in the wallet").click()

    expect(page.locator(f"tr[data-owner='{account(1)}'] .vote")).to_have_text("approved", timeout=20_000)
    expect(page.locator("h1 .pill")).to_have_text("live")
    (transaction,) = wallet.sent()
    assert set(transaction) == {"from", "to", "data", "value"}
    assert (transaction["to"], transaction["value"]) == (lab.room.consortium, "0x0")
    state = lab.chain.state(lab.room)
    assert state["activeStudy"] == study
    assert account(1) in state["approvals"]
    assert wallet.methods <= {
        "eth_chainId", "eth_call", "eth_requestAccounts", "eth_sendTransaction", "eth_getTransactionReceipt",
    }  # fmt: skip


def test_an_owner_revokes_with_a_wallet_and_the_chain_shows_it(page: Page, url: str, lab: Lab) -> None:
    """The reason goes on chain byte for byte, and comes back as text (WE-06)."""
    lab.live()
    wallet = Wallet(lab.chain, account(2))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    reason = f"Einwilligung zurückgezogen {ATTACK}"
    dialog.get_by_label("Why").fill(reason)
    expect(dialog).to_contain_text("revoke(string)")
    dialog.get_by_role("button", name="Continue in the wallet").click()

    notice = page.locator("section.notice")
    expect(notice).to_contain_text("Revoked by hospital-C", timeout=20_000)
    expect(notice).to_contain_text(reason)
    assert page.title() != "owned"
    state = lab.chain.state(lab.room)
    assert state["revokedBy"] == account(2)
    (revocation,) = lab.reader.study_history(lab.room.consortium).revocations
    assert revocation.reason == reason
    page.goto(url)
    expect(page.locator("article", has_text="hospital-C revoked.")).to_contain_text(reason)
    assert page.title() != "owned"


def test_a_stranger_and_a_wrong_chain_are_stopped_before_anything_is_sent(
    page: Page, url: str, lab: Lab
) -> None:
    """WE-02: chain id and owner are checked in the page; its twin above goes through."""
    lab.register()
    lab.propose()
    wallet = Wallet(lab.chain, account(9))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    page.get_by_role("button", name="Continue in the wallet").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("None of the accounts that your wallet offers is an owner")
    page.get_by_role("button", name="Cancel").click()

    wallet.chain_id = "0x1"
    page.get_by_role("button", name="Approve this recipe").click()
    expect(alert).to_contain_text("Your wallet is on chain 1; this consortium lives on chain 31337")
    expect(page.get_by_role("button", name="Continue in the wallet")).to_be_disabled()
    assert wallet.sent() == []


def test_a_declined_signature_sends_nothing(page: Page, url: str, lab: Lab) -> None:
    lab.register()
    study = lab.propose()
    with_wallet(page, Wallet(lab.chain, account(0), declines=True))
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    page.get_by_role("button", name="Continue in the wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("You declined in the wallet. Nothing was sent.")
    assert lab.chain.call("Consortium", lab.room.consortium, "approvals", study) == ()


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        ("**/v1/calls", {"data": "0x" + "de" * 36}, "The server prepared another call"),
        ("**/v1/calls", {"to": "0x" + "66" * 20}, "The server prepared another call"),
        ("**/v1/calls", {"chainId": 1}, "The server prepared another call"),
        ("**/v1/recipes/*", {"name": "other"}, "do not have the compose hash"),
    ],
    ids=["call-data", "address", "chain", "recipe"],
)
def test_a_lying_server_is_caught_by_the_page(
    page: Page, url: str, lab: Lab, path: str, change: dict[str, Any], says: str
) -> None:
    """WE-01: another call, another contract or another recipe than shown stops before the wallet is asked."""
    lab.register()
    lab.propose()
    wallet = Wallet(lab.chain, account(1))
    with_wallet(page, wallet)

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | change)

    page.route(path, lie)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    expect(page.get_by_role("alert")).to_contain_text(says)
    expect(page.get_by_role("button", name="Continue in the wallet")).to_be_disabled()
    assert wallet.sent() == []


def test_a_page_that_shows_another_analysis_is_caught(page: Page, url: str, lab: Lab) -> None:
    """WE-01: what is read must be what is in the bytes; the twin without this change goes through above."""
    lab.register()
    lab.propose()
    wallet = Wallet(lab.chain, account(1))
    with_wallet(page, wallet)

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("import pandas", "import pandaz", 1))

    page.route("**/studies/*", lie)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    expect(page.get_by_role("alert")).to_contain_text("The analysis on this page is not the one")
    assert wallet.sent() == []


def test_a_page_that_shows_another_content_is_caught(page: Page, url: str, lab: Lab) -> None:
    """WE-01: a larger budget than was proposed, in page and call alike, is another study for the wallet's own
    node."""
    lab.register()
    lab.propose()
    wallet = Wallet(lab.chain, account(1))
    with_wallet(page, wallet)

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("4500000", "9500000"))

    def agree(route: Any) -> None:
        answer = route.fetch()
        data = answer.json()["data"].replace(f"{4_500_000:064x}", f"{9_500_000:064x}")
        route.fulfill(response=answer, json=answer.json() | {"data": data})

    page.route("**/studies/*", lie)
    page.route("**/v1/calls", agree)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    expect(page.get_by_role("dialog")).to_contain_text("ε 9.5 and")
    expect(page.get_by_role("alert")).to_contain_text("this content is another study")
    assert wallet.sent() == []


def test_a_node_that_knows_another_study_stops_the_approval(page: Page, url: str, lab: Lab) -> None:
    """WE-12: what is approved is compared with the contract as the owner's own wallet sees it."""
    lab.register()
    study = lab.propose()

    class Elsewhere(Wallet):
        def __call__(self, raw: str) -> str:
            return super().__call__(raw).replace(study.hex(), "66" * 32)

    wallet = Elsewhere(lab.chain, account(1))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    expect(page.get_by_role("alert")).to_contain_text("this content is another study")
    assert wallet.sent() == []


def test_an_owner_signs_an_approval_that_others_hand_in(page: Page, url: str, lab: Lab) -> None:
    """EIP-712 in the wallet, nothing sent; the contract takes the signature as it stands in the file."""
    lab.register()
    study = lab.propose()
    lab.chain.approve(lab.room, study, 0)
    wallet = Wallet(lab.chain, account(1))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Approve this recipe").click()
    page.get_by_role("button", name="Sign only, send nothing").click()
    expect(page.get_by_label("Your signature")).to_be_visible()
    signed = json.loads(page.get_by_label("Your signature").input_value())
    assert wallet.sent() == []
    assert (signed["kind"], signed["proposal"], signed["owner"]) == (
        "ApproveStudy", "0x" + study.hex(), account(1)
    )  # fmt: skip
    signature = bytes.fromhex(signed["signature"][2:])
    content = lab.chain.study(study)
    message = typed.approve_study(content, owner=account(1), chain_id=31337, consortium=lab.room.consortium)
    assert typed.recover(message, signature) == account(1)
    data = interface("Consortium").encode(
        "approveWithSignatures", study_values(content), [account(1)], [signature]
    )
    lab.chain.send(9, lab.room.consortium, data)
    assert lab.chain.state(lab.room)["activeStudy"] == study


def test_an_owner_withdraws_with_a_wallet_and_the_page_says_so(page: Page, url: str, lab: Lab) -> None:
    lab.register()
    study = lab.propose()
    lab.chain.approve(lab.room, study, 1)
    with_wallet(page, Wallet(lab.chain, account(1)))
    page.goto(study_page(url, lab))
    vote = page.locator(f"tr[data-owner='{account(1)}'] .vote")
    expect(vote).to_have_text("approved")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("dialog")).to_contain_text("withdraw(bytes32)")
    page.get_by_role("button", name="Continue in the wallet").click()
    expect(vote).to_have_text("withdrew", timeout=20_000)
    assert lab.chain.call("Consortium", lab.room.consortium, "approvals", study) == ()


def test_hostile_names_show_as_text(page: Page, url: str, lab: Lab, tmp_path: Path) -> None:
    """WE-06: in the question that a researcher writes and in an owner's name on chain."""
    hostile = Lab.on(lab.chain, tmp_path / "..", owners=("<img src=x onerror=a()>", "b", "c"))
    recipe = make_recipe(tmp_path / "hostile", question=json.dumps("Why? " + ATTACK))
    lab.store.add_recipe("0x" + recipe.compose_hash.hex(), recipe.compose)
    hostile.recipe = recipe
    hostile.live()
    page.goto(url)
    expect(page.locator(".question", has_text="Why?")).to_have_text("Why? " + ATTACK)
    page.goto(f"{url}/studies/{hostile.room.consortium}")
    expect(page.locator(".lead")).to_have_text("Why? " + ATTACK)
    expect(page.locator("tbody th").first).to_have_text("<img src=x onerror=a()>")
    page.wait_for_timeout(300)
    assert page.title() != "owned"
    assert page.locator("img:not(.mark)").count() == 0


def test_a_page_without_a_wallet_says_so(page: Page, url: str, lab: Lab) -> None:
    lab.live()
    page.goto(study_page(url, lab))
    page.get_by_role("button", name="Revoke").click()
    page.get_by_label("Why").fill("stop")
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
    lab.store.end(held, "failed", code="job-failed", message="ValueError")
    expect(page.locator("section.notice h2")).to_have_text("job-failed")
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
    assert {"/", "/docs", f"/studies/{lab.room.consortium}"} <= seen
    start = time.monotonic()
    page.goto(url)
    assert time.monotonic() - start < 5
