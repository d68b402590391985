# SPDX-License-Identifier: Apache-2.0
"""A real browser against a real console: how its pages are served, opened, and given a wallet.

The wallet is a few lines of EIP-1193 over anvil's unlocked accounts, so what a page sends is really mined.
The browser is the system's Chromium, else Playwright's own; without either the tests are skipped and say why.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect, sync_playwright
from tests.agents.following import console
from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.patience import PATIENCE_S

from sealroom_agents.chain import ChainReader
from sealroom_agents.console.app import NO_PINS
from sealroom_agents.console.pins import Pins
from sealroom_agents.index import Portrait
from sealroom_agents.store import Store

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SYSTEM_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first that is here is taken. The shell is the same engine without windows: a page costs it a fifth."""
WAIT_MS = 1000 * PATIENCE_S
"""How long a page may take for anything: a machine may be busy."""
WALLET = """
{
  const heard = {};
  window.ethereum = {
    isTest: true,
    async request({ method, params }) {
      const answer = JSON.parse(await window.walletRequest(JSON.stringify({ method, params: params || [] })));
      if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error);
      return answer.result;
    },
    on(event, told) { (heard[event] ||= new Set()).add(told); },
    removeListener(event, told) { heard[event]?.delete(told); },
  };
  window.walletTells = (event) => heard[event]?.forEach((told) => told());
}
"""
ANNOUNCED = """
for (const info of %s) {
  const announce = () =>
    window.dispatchEvent(
      new CustomEvent("eip6963:announceProvider", { detail: { info, provider: window.ethereum } })
    );
  window.addEventListener("eip6963:requestProvider", announce);
}
"""
READS = {
    "eth_accounts",
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_getCode",
    "eth_getLogs",
    "eth_getTransactionReceipt",
    "eth_simulateV1",
}
"""What a page may ask of a wallet before its owner has pressed a button that says so."""


@dataclass
class Wallet:
    """Answers for one account, as a browser wallet does; keeps what it was asked."""

    chain: LocalChain
    account: str
    chain_id: str | None = None
    declines: bool = False
    code: int = 4001
    """Of the error by which it declines: that of a person who refuses."""
    connected: bool = True
    """Whether it lets the page see its account before its owner says so."""
    asked: list[tuple[str, list[Any]]] = field(default_factory=list)

    def __call__(self, raw: str) -> str:
        request = json.loads(raw)
        method, params = request["method"], request["params"]
        self.asked.append((method, params))
        if method == "eth_requestAccounts":
            self.connected = True
        if method in ("eth_requestAccounts", "eth_accounts"):
            return json.dumps({"result": [self.account] if self.connected else []})
        if method == "eth_chainId" and self.chain_id is not None:
            return json.dumps({"result": self.chain_id})
        if method == "wallet_switchEthereumChain":
            self.chain_id = params[0]["chainId"]
            return json.dumps({"result": None})
        if method in ("eth_sendTransaction", "eth_signTypedData_v4") and self.declines:
            return json.dumps({"error": {"code": self.code, "message": "User rejected the request."}})
        answer = self.chain.ask(method, params)
        return json.dumps({name: answer[name] for name in ("result", "error") if name in answer})

    @property
    def methods(self) -> set[str]:
        return {method for method, _ in self.asked}

    def sent(self) -> list[dict[str, Any]]:
        return [params[0] for method, params in self.asked if method == "eth_sendTransaction"]

    def signed(self) -> list[dict[str, Any]]:
        return [json.loads(params[1]) for method, params in self.asked if method == "eth_signTypedData_v4"]


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser, or a skipped test."""
    path = next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=WAIT_MS)
        except Error as error:
            pytest.skip(f"no browser: {path or 'no Chromium on this system'}: {str(error).splitlines()[0]}")
        expect.set_options(timeout=WAIT_MS)
        yield browser
        browser.close()


def patient(browser: Browser, **options: Any) -> BrowserContext:
    """A context whose pages and requests may take as long as a busy machine takes; to be closed."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    return context


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    """A fresh page that fails the test when the content security policy or a script complains."""
    context = patient(browser)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
    yield page
    page.unroute_all(behavior="ignoreErrors")  # what a page asks again and again, it may be asking just now
    context.close()
    assert troubles == []


@contextmanager
def served(
    chain: ChainReader,
    store: Store,
    factory: str,
    *,
    lie: Callable[[Portrait], Portrait] = lambda told: told,
    pins: Pins = NO_PINS,
) -> Iterator[str]:
    """The console over real HTTP; gives its address. lie: what it shows instead of what the index has; pins:
    what its operator vouches for."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = console(store, chain, factory, lie=lie, pins=pins)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(PATIENCE_S)  # it closes its sockets itself, and fails where they are closed before
    assert not thread.is_alive()
    listener.close()


def with_wallet(
    page: Page, wallet: Callable[[str], str], *, announced: Sequence[dict[str, str]] = ()
) -> None:
    """Inject the wallet into every page that is opened from now on; announced: what it says of itself, and
    each time it says something, as a wallet of its own (EIP-6963)."""
    page.expose_function("walletRequest", wallet)
    page.add_init_script(WALLET)
    if announced:
        page.add_init_script(ANNOUNCED % json.dumps(list(announced)))


def study_page(url: str, lab: Lab, study: bytes | None = None) -> str:
    """Address of the consortium's page, or of one of its proposals."""
    return f"{url}/studies/{lab.room.consortium}" + (f"?study=0x{study.hex()}" if study else "")


def open_dialog(page: Page, label: str) -> Locator:
    """Press the page's button of this label; gives the dialog that it opens."""
    page.locator(".actions").get_by_role("button", name=label).click()
    return page.get_by_role("dialog")


def pressable(dialog: Locator) -> list[str]:
    """The buttons that are there and work, at one moment: wait first for what brings or takes one."""
    shown = dialog.get_by_role("button", disabled=False).filter(visible=True)
    return shown.all_inner_texts()


def press(dialog: Locator, label: str) -> None:
    dialog.get_by_role("button", name=label, exact=True).click()
