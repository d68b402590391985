# SPDX-License-Identifier: Apache-2.0
"""An owner stops a run that computes, in a browser, while the run's page shows its lease.

Chain, console, watcher and runner are the real ones; the enclave says what a test writes, and renews its
lease until it is told to stop. Nodes that disagree stop an approval, and no revocation.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import READS, Wallet, open_dialog, opened, press, served, study_page, with_wallet
from tests.agents.labs import afresh
from tests.agents.test_browser_dialogs import ACTS, KEEP, SEND, SIGN
from tests.agents.test_runner import WAY, ScriptedBackend, ScriptedEnclave
from tests.agents.test_watcher import RecordingGate
from tests.local_chain import LocalChain, account
from tests.outside import Lab
from tests.patience import PATIENCE_S, until

from sealroom_agents.chain.contracts import interface
from sealroom_agents.runner import supervisor
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.watcher.service import Watcher

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

OWNER, REASON = 2, "consent withdrawn"
LEASE_S = 60
RENEWAL_S = 1.0


@dataclass
class Renewing(ScriptedEnclave):
    """Computes, and tells of a renewal again and again."""

    told: float = 0.0

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        if not self.lines and self.exit is None and time.monotonic() - self.told > RENEWAL_S:
            self.told = time.monotonic()
            return {"phase": "renewed", "left": float(LEASE_S), "seconds": LEASE_S}
        return super().line(timeout_s)


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    with afresh(chain, tmp_path) as made:
        yield made


@contextmanager
def working(over: threading.Event, *works: Callable[[], object]) -> Iterator[None]:
    """Processes that go on beside the browser, until it is over."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)


def test_revoke_is_pressed_while_the_lease_runs_and_the_run_dies(
    browser: Browser, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-10, WE-01: sent, and nothing is revoked yet; mined, and revoked; the gate hears of it; the job is
    dead, and the run's page says by whom and why, without being loaded again by its reader."""
    monkeypatch.setattr(supervisor, "WIPE_S", PATIENCE_S)
    lab.live()
    run_id = lab.submit()
    enclave, gate, over = (
        Renewing(WAY[:3], exit=None, wipes=True),
        RecordingGate.adopted_by(lab),
        threading.Event(),
    )
    watcher = Watcher(lab.reader, lab.store, gate, factory=lab.room.factory)
    runner = Supervisor(lab.store, lab.reader, ScriptedBackend(enclave), stop=over, run_timeout_s=PATIENCE_S)

    def watch() -> None:
        while not over.is_set():
            watcher.poll()
            over.wait(0.2)

    def supervise() -> None:
        runner.supervise(lab.take())

    with (
        served(lab.reader, lab.store, lab.room.factory) as url,
        working(over, watch, supervise),
        opened(browser) as reader,
        opened(browser) as page,
    ):
        until(lambda: lab.store.run(run_id).lease_until is not None)
        reader.goto(f"{url}/runs/{run_id}")
        lease = reader.locator("[data-lease]")
        expect(lease.locator("[data-lease-says]")).to_have_text("The lease holds")
        expect(lease.locator("[data-of]")).to_have_text(str(LEASE_S))
        expect(lease.locator("[data-left]")).to_have_text(re.compile(r"^([1-5]?\d|60)$"))
        expect(reader.locator("#state")).to_have_text("computing")

        wallet = Wallet(lab.chain, account(OWNER))
        with_wallet(page, wallet)
        page.goto(f"{url}/runs/{run_id}")
        page.get_by_role("link", name="Revoke on the study’s page…").click()
        dialog = open_dialog(page, ACTS["revoke"])
        dialog.get_by_label("Why").fill(REASON)
        with lab.chain.by_hand():
            press(dialog, SEND["revoke"])
            expect(dialog).to_contain_text("Not revoked yet.")
            expect(dialog).not_to_contain_text("Revoked.")
            expect(reader.locator("#state")).to_have_text("computing")
            assert enclave.exit is None and lab.chain.state(lab.room).revokers == ()
            lab.chain.mine()
            expect(dialog.locator(".news")).to_contain_text("Revoked.")
        expect(dialog.locator(".news")).to_contain_text("This console has seen it too")
        until(lambda: gate.reports and lab.room.consortium in gate.revoked)

        expect(reader.locator("#state")).to_have_text("revoked")
        expect(reader.locator("#timeline")).to_have_attribute("data-ended", "yes")
        expect(reader.locator("[data-lease]")).to_have_count(0)
        expect(reader.locator("#timeline .phase").last).to_have_text("revoked")
        told = [one for one in reader.locator("#timeline .phase").all_inner_texts() if one != "queued"]
        assert told[-5:] == ["ordered", "told", "lease-ended", "killed", "revoked"], told
        expect(reader.locator("#timeline")).to_contain_text(f'revoked by hospital-C: "{REASON}"')
    run = lab.store.run(run_id)
    assert (run.state, run.code) == ("revoked", "revoked") and run.killed is not None
    assert enclave.killed and lab.store.envelope(run_id) is None
    (seen,) = lab.store.observations(lab.room.consortium)
    assert (seen.owner, seen.reason, seen.runs) == (account(OWNER), REASON, (run_id,))


@dataclass
class Otherwise(Wallet):
    """A wallet whose node says something else of one view than all other nodes."""

    view: tuple[str, str] = ("", "")

    def __call__(self, raw: str) -> str:
        answer = super().__call__(raw)
        asked: dict[str, Any] = json.loads(raw)
        if asked["method"] != "eth_call" or not self.view[0]:
            return answer
        selector = "0x" + keccak(text=interface(self.view[0]).signature(self.view[1]))[:4].hex()
        return flipped(answer) if asked["params"][0]["data"].startswith(selector) else answer


def flipped(answer: str) -> str:
    """An answer whose last bit is another."""
    digits = "0123456789abcdef"
    end = answer.rindex('"')
    other = digits[digits.index(answer[end - 1]) ^ 1]
    return answer[: end - 1] + other + answer[end:]


DISAGREES = {
    "what an approval follows": (("Consortium", "basis"), "changed what an approval follows"),
    "who approved": (("Consortium", "votes"), "in “Owners and approvals”"),
    "what was spent": (("Ledger", "accountOf"), "in “Datasets and budget”"),
}
"""What the wallet's node says otherwise, and what the page says of it."""


@pytest.mark.parametrize("of", DISAGREES)
def test_nodes_that_disagree_stop_an_approval_and_no_revocation(page: Page, lab: Lab, of: str) -> None:
    """WE-01, WE-12, CH-03: the wallet's node contradicts the server and its nodes: who is right is not known,
    so nothing is approved. Stopping rests on the wallet alone, and goes on."""
    view, says = DISAGREES[of]
    lab.register()
    lab.propose()
    wallet = Otherwise(lab.chain, account(1))
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab))
        dialog = open_dialog(page, ACTS["approve"])
        for button in (SIGN["approve"], SEND["approve"]):
            expect(dialog.get_by_role("button", name=button)).to_be_enabled()  # while all agree
        wallet.view = view
        page.reload()
        dialog = open_dialog(page, ACTS["approve"])
        expect(dialog.get_by_role("alert")).to_contain_text(says)
        for button in (SIGN["approve"], SEND["approve"]):
            expect(dialog.get_by_role("button", name=button)).to_be_disabled()
        assert wallet.methods <= READS
        press(dialog, KEEP["approve"])
        dialog = open_dialog(page, ACTS["revoke"])
        dialog.get_by_label("Why").fill(REASON)
        press(dialog, SEND["revoke"])
        expect(dialog.locator(".news")).to_contain_text("Revoked.")
    assert lab.chain.state(lab.room).revokers == (account(1),)
