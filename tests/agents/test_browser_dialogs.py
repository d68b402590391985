# SPDX-License-Identifier: Apache-2.0
"""Each dialog of the study page, button by button: what it says is what the wallet is asked.

WE-01, WE-03: one dialog an act. A button that is not in `BUTTONS` fails a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.agents.browsing import (
    READS,
    Wallet,
    open_dialog,
    opened,
    press,
    pressable,
    served,
    study_page,
    with_wallet,
)
from tests.agents.labs import unchanged
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom import typed
from sealroom.model import ApproveStudy, Revoke, Vote, Withdraw
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.gas import with_room
from sealroom_agents.governance.requests import SignatureFile

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

ACTS = {"approve": "Approve this recipe", "withdraw": "Say no", "revoke": "Revoke"}
KEEP = {"approve": "Not now", "withdraw": "Not now", "revoke": "Keep running"}
SIGN = {
    "approve": "Approve: sign 1 message, send nothing",
    "withdraw": "Say no: sign 1 message, send nothing",
    "revoke": "Sign an order that somebody else must send",
}
SEND = {
    "approve": "Approve: send 1 transaction",
    "withdraw": "Say no: send 1 transaction",
    "revoke": "Revoke now: send 1 transaction",
}
APART, BACK = "I cannot send transactions…", "Back to revoking"
CONNECT, NETWORK = "Connect the wallet", "Switch the wallet to chain 31337"
BUTTONS: dict[tuple[str, str], list[str]] = {
    ("approve", "ask"): [KEEP["approve"], SIGN["approve"], SEND["approve"]],
    ("approve", "unconnected"): [KEEP["approve"], CONNECT],
    ("approve", "elsewhere"): [KEEP["approve"], NETWORK],
    ("approve", "sent"): ["Close"],
    ("approve", "signed"): ["Close", "Save the signature", "Leave it at this console"],
    ("withdraw", "ask"): [KEEP["withdraw"], SIGN["withdraw"], SEND["withdraw"]],
    ("withdraw", "unconnected"): [KEEP["withdraw"], CONNECT],
    ("withdraw", "elsewhere"): [KEEP["withdraw"], NETWORK],
    ("withdraw", "sent"): ["Close"],
    ("withdraw", "signed"): ["Close", "Save the signature"],
    ("revoke", "ask"): [KEEP["revoke"], APART, SEND["revoke"]],
    ("revoke", "apart"): [KEEP["revoke"], BACK, SIGN["revoke"]],
    ("revoke", "unconnected"): [KEEP["revoke"], CONNECT],
    ("revoke", "sent"): ["Close"],
    ("revoke", "signed"): ["Close", "Save the signature"],
}
"""Every button that a person can press, by dialog and state, in order."""
REASON = "Einwilligung zurückgezogen <b>heute</b>"
CONTRACT = interface("Consortium")


@pytest.fixture(scope="module")
def lab(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Proposed by hospital-A, approved by it and by hospital-C; hospital-B, whose data it needs, has not."""
    made = Lab.on(chain, tmp_path_factory.mktemp("dialogs"))
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    made.register()
    made.chain.approve(made.room, made.propose(), 2)
    return made


@pytest.fixture
def study(lab: Lab) -> Iterator[bytes]:
    """The proposal; what is on the chain is afterwards what was there before."""
    with unchanged(lab.chain):
        (proposal,) = lab.reader.study_history(lab.room.consortium).proposals
        yield proposal.content.id


@pytest.fixture
def url(lab: Lab, study: bytes) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as address:
        yield address


def ready(page: Page, url: str, lab: Lab, act: str, wallet: Wallet) -> Locator:
    """The dialog of an act, after its checks."""
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    dialog = open_dialog(page, ACTS[act])
    if act == "revoke":
        expect(dialog.get_by_role("button", name=SEND[act])).to_be_disabled()
        dialog.get_by_label("Why").fill(REASON)
    expect(dialog.get_by_role("button", name=SEND[act])).to_be_enabled()
    return dialog


def press_sign(dialog: Locator, act: str) -> None:
    """A revocation is signed on a screen of its own."""
    if act == "revoke":
        press(dialog, APART)
    press(dialog, SIGN[act])


def call_of(lab: Lab, study: bytes, act: str) -> str:
    arguments: dict[str, tuple[Any, ...]] = {
        "approve": (lab.chain.study(study).solidity(), []),
        "withdraw": (study,),
        "revoke": (REASON,),
    }
    return "0x" + CONTRACT.encode(act, *arguments[act]).hex()


def approved(lab: Lab, study: bytes) -> list[str]:
    """Accounts whose approval counts, as the chain says."""
    votes = lab.chain.call("Lens", lab.chain.lens, "pending", lab.room.consortium, study)
    return [one.lower() for one in votes["approved"]]


@pytest.mark.parametrize("act", ACTS)
def test_a_dialog_has_its_own_buttons_and_no_other(
    page: Page, url: str, lab: Lab, study: bytes, act: str
) -> None:
    """Nothing is asked of the wallet before one of them is pressed but what it
    reads; who keeps things as they are asks nothing either."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    assert pressable(dialog) == BUTTONS[act, "ask"]
    if act == "revoke":
        press(dialog, APART)
        assert pressable(dialog) == BUTTONS[act, "apart"]
        expect(dialog).to_contain_text("This stops nothing until somebody sends it")
        press(dialog, BACK)
        assert pressable(dialog) == BUTTONS[act, "ask"]
    assert page.locator("dialog").count() == 1
    expect(dialog.locator(".tried")).to_contain_text("the contract takes it")
    expect(dialog.locator(".who")).to_contain_text("You act as hospital-B")
    expect(dialog).to_contain_text(CONTRACT.signature(act))
    expect(dialog).to_contain_text(call_of(lab, study, act))
    expect(dialog).to_contain_text(lab.room.consortium)
    press(dialog, KEEP[act])
    expect(page.locator("dialog")).to_have_count(0)
    assert wallet.methods <= READS


def test_the_vote_that_decides_says_what_it_brings_about(page: Page, url: str, lab: Lab) -> None:
    """WE-01: by the wallet's node; where another whose data is read is missing, that it waits for others."""
    wallet = Wallet(lab.chain, account(1))
    told = ready(page, url, lab, "approve", wallet).locator(".tried")
    expect(told).to_contain_text("With this the study goes live: ε")
    expect(told).to_contain_text("ask for runs")
    other = lab.propose(owner=2, max_runs=9)  # with hospital-B's two of three, and without hospital-A's data
    page.goto(study_page(url, lab, other))
    told = open_dialog(page, ACTS["approve"]).locator(".tried")
    expect(told).to_contain_text("the study waits for others")
    expect(told).not_to_contain_text("goes live")


@pytest.mark.parametrize("act", ACTS)
def test_sending_asks_for_the_call_that_the_dialog_shows(
    page: Page, url: str, lab: Lab, study: bytes, act: str
) -> None:
    """One transaction, to this consortium, of this act; the page then shows what the chain says."""
    by = 2 if act == "withdraw" else 1
    wallet = Wallet(lab.chain, account(by))
    dialog = ready(page, url, lab, act, wallet)
    call = {"from": account(by), "to": lab.room.consortium, "data": call_of(lab, study, act)}
    estimate = int(lab.chain.rpc("eth_estimateGas", call), 16)
    press(dialog, SEND[act])
    if act == "revoke":
        expect(dialog.locator(".news")).to_contain_text("Revoked.")
        assert pressable(dialog) == BUTTONS[act, "sent"]
        # The console's own word comes last, and once it is there the page shows it.
        expect(dialog.locator(".news")).to_contain_text("This console has seen it too")
        press(dialog, "Close")
    vote = page.locator(f"tr[data-owner='{account(by)}'] .vote")
    expect(vote).to_have_text({"approve": "approved", "withdraw": "withdrew", "revoke": "revoked"}[act])
    (sent,) = wallet.sent()
    gas = with_room(estimate, bytes.fromhex(call["data"].removeprefix("0x")))
    assert sent == {**call, "value": "0x0", "gas": hex(gas), "chainId": hex(lab.chain.chain_id)}
    assert wallet.methods <= READS | {"eth_requestAccounts", "eth_estimateGas", "eth_sendTransaction"}
    state = lab.chain.state(lab.room)
    if act == "approve":
        assert state.live and state.study == study
        expect(page.locator("h1 .pill")).to_have_text("live")
    elif act == "withdraw":
        assert approved(lab, study) == [account(0)]
    else:
        assert state.revokers == (account(1),)
        (revocation,) = lab.reader.study_history(lab.room.consortium).revocations
        assert revocation.reason == REASON
        expect(page.locator("section.notice")).to_contain_text(REASON)


@pytest.mark.parametrize("act", ACTS)
def test_signing_only_signs_what_the_dialog_is_for(
    page: Page, url: str, lab: Lab, study: bytes, act: str, tmp_path: Path
) -> None:
    """In Revoke, a `Revoke`; in Withdraw, a `Withdraw`; an approval in Approve alone.

    A stranger hands the file in, and the contract takes it for that act.
    """
    by = 2 if act == "withdraw" else 1
    wallet = Wallet(lab.chain, account(by))
    dialog = ready(page, url, lab, act, wallet)
    press_sign(dialog, act)
    signature_box = dialog.get_by_label("Your signature")
    expect(signature_box).to_be_visible()
    assert pressable(dialog) == BUTTONS[act, "signed"]
    (asked,) = wallet.signed()
    file = json.loads(signature_box.input_value())
    content = lab.chain.study(study)
    before = lab.chain.state(lab.room)
    owner = account(by)
    votes: dict[str, tuple[Vote, bytes]] = {
        "approve": (ApproveStudy(owner=owner, study=content), study),
        "withdraw": (Withdraw(owner=owner, proposal=study), study),
        "revoke": (Revoke(owner=owner, reason=REASON, returns=0), bytes(32)),
    }
    vote, proposal = votes[act]
    kind = vote.struct
    message = typed.vote(vote, chain_id=31337, consortium=lab.room.consortium)
    assert asked["primaryType"] == kind
    assert asked["domain"] == typed.consortium_domain(31337, lab.room.consortium)
    assert {name: value for name, value in file.items() if name != "signature"} == {
        "version": 2,
        "kind": kind,
        "chainId": 31337,
        "consortium": lab.room.consortium,
        "proposal": "0x" + proposal.hex(),
        "digest": "0x" + typed.digest(message).hex(),
        "owner": owner,
        "signer": owner,
    }
    (tmp_path / "signature.json").write_text(json.dumps(file))
    assert SignatureFile.load(tmp_path / "signature.json").owner == owner, "the desk reads it"
    signature = bytes.fromhex(file["signature"][2:])
    assert typed.recover(message, signature) == owner
    assert wallet.methods <= READS | {"eth_requestAccounts", "eth_signTypedData_v4"}
    assert lab.chain.state(lab.room) == before, "nothing was sent"

    function, *arguments = {
        "approve": ("approve", content.solidity(), [(owner, signature)]),
        "withdraw": ("withdrawWithSignature", study, (owner, signature)),
        "revoke": ("revokeWithSignature", REASON, (owner, signature)),
    }[act]
    lab.chain.send(9, lab.room.consortium, CONTRACT.encode(function, *arguments))
    state = lab.chain.state(lab.room)
    if act == "approve":
        assert state.live and state.study == study
    elif act == "withdraw":
        assert approved(lab, study) == [account(0)]
    else:
        assert state.revokers == (owner,)


def test_an_order_to_revoke_names_how_often_the_veto_was_lifted(page: Page, url: str, lab: Lab) -> None:
    """After a return the counter is another, so an order signed before is void, and this one is not."""
    lab.chain.revoke(lab.room, 1, "for now")
    lab.chain.approve(lab.room, lab.draft(), 0, 1)
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, "revoke", wallet)
    press_sign(dialog, "revoke")
    expect(dialog.get_by_label("Your signature")).to_be_visible()
    (asked,) = wallet.signed()
    assert asked["message"] == {"owner": account(1), "reason": REASON, "returns": "1"}
    signature = bytes.fromhex(
        json.loads(dialog.get_by_label("Your signature").input_value())["signature"][2:]
    )
    handed_in = CONTRACT.encode("revokeWithSignature", REASON, (account(1), signature))
    lab.chain.send(9, lab.room.consortium, handed_in)
    assert lab.chain.state(lab.room).revokers == (account(1),)


def test_what_stops_nothing_yet_says_so(page: Page, url: str, lab: Lab) -> None:
    """An order to revoke that nobody has handed in is not taken for a revocation."""
    dialog = ready(page, url, lab, "revoke", Wallet(lab.chain, account(1)))
    press_sign(dialog, "revoke")
    expect(dialog.get_by_label("Your signature")).to_be_visible()
    expect(dialog).to_contain_text("This stops nothing until somebody sends it: any account")
    expect(dialog).not_to_contain_text("Revoked.")
    assert lab.chain.state(lab.room).revokers == ()


def test_revoking_works_while_the_server_lies(browser: Browser, lab: Lab, study: bytes) -> None:
    """Stopping takes the address bar and the wallet's own node: no API, no content, no chain id, and
    no word of the server on which consortium it is."""
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:

        def lie(route: Any) -> None:
            answer = route.fetch()
            text = answer.text().replace('data-chain="31337"', 'data-chain="1"').replace("composeHash", "x")
            named = f'data-consortium="{lab.room.consortium}"'
            assert named in text
            route.fulfill(response=answer, body=text.replace(named, 'data-consortium="0x66"'))

        page.route("**/studies/*", lie)
        page.route("**/v1/**", lambda route: route.abort())
        wallet = Wallet(lab.chain, account(1))
        dialog = ready(page, url, lab, "revoke", wallet)
        expect(dialog).to_contain_text("What you send counts on your wallet’s chain alone")
        assert pressable(dialog) == [KEEP["revoke"], APART, "Switch the wallet to chain 1", SEND["revoke"]]
        press(dialog, SEND["revoke"])
        expect(dialog.locator(".news")).to_contain_text("Revoked.")
        assert lab.chain.state(lab.room).revokers == (account(1),)


def test_a_no_says_that_it_read_no_recipe(page: Page, url: str, lab: Lab) -> None:
    """WE-01: what a dialog did not check, it does not leave to be believed."""
    dialog = ready(page, url, lab, "withdraw", Wallet(lab.chain, account(1)))
    expect(dialog.locator(".what .mark.said")).to_have_text("the recipe’s bytes are not read for a no")
    expect(dialog.locator(".checks")).not_to_contain_text("recipe")


@pytest.mark.parametrize("block", ['"12</b> and all is well"', "null", "1.5"])
def test_what_the_console_says_it_has_seen_is_a_block_or_nothing(
    page: Page, url: str, lab: Lab, block: str
) -> None:
    """WE-01: of an answer that is none, no word is shown."""

    def lie(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"block": json.loads(block)}
        asked.append(told)
        route.fulfill(response=answer, json=told)

    asked: list[Any] = []
    dialog = ready(page, url, lab, "revoke", Wallet(lab.chain, account(1)))
    page.route("**/v1/studies/*", lie)
    press(dialog, SEND["revoke"])
    expect(dialog.locator(".news")).to_contain_text("Revoked.")
    for _ in range(2):  # it asks again once it has read an answer
        with page.expect_response("**/v1/studies/*"):
            pass
    assert asked and asked[-1]["owners"]
    expect(dialog.locator(".news")).to_contain_text("Waiting until this console has seen it too")
    expect(dialog).not_to_contain_text("all is well")


@pytest.mark.parametrize("act", ACTS)
def test_done_is_said_only_of_this_very_act(page: Page, url: str, lab: Lab, act: str) -> None:
    """A receipt that does not tell of the act, by this owner, is no proof of it."""

    class Elsewhere(Wallet):
        def __call__(self, raw: str) -> str:
            answer = json.loads(super().__call__(raw))
            if '"eth_getTransactionReceipt"' in raw and answer.get("result"):
                for log in answer["result"]["logs"]:
                    log["topics"] = [log["topics"][0], *("0x" + "66" * 32 for _ in log["topics"][1:])]
            return json.dumps(answer)

    dialog = ready(page, url, lab, act, Elsewhere(lab.chain, account(2 if act == "withdraw" else 1)))
    press(dialog, SEND[act])
    expect(dialog.get_by_role("alert")).to_contain_text("does not show that this happened")
    done = {"approve": "Approved in", "withdraw": "Withdrawn in", "revoke": "Revoked."}[act]
    expect(dialog).not_to_contain_text(done)
    assert pressable(dialog) == BUTTONS[act, "sent"]


def test_a_declined_signature_sends_nothing(page: Page, url: str, lab: Lab, study: bytes) -> None:
    dialog = ready(page, url, lab, "approve", Wallet(lab.chain, account(1), declines=True))
    press(dialog, SEND["approve"])
    expect(dialog.get_by_role("alert")).to_have_text("You declined. Nothing was sent.")
    assert pressable(dialog) == BUTTONS["approve", "ask"], "to think again"
    press(dialog, SIGN["approve"])
    expect(dialog.get_by_role("alert")).to_have_text("You declined. Nothing was sent.")
    assert len(approved(lab, study)) == 2


def test_a_wallet_that_fails_gives_the_button_back(page: Page, url: str, lab: Lab) -> None:
    """A revocation is not typed anew because a wallet failed before anything was sent."""
    wallet = Wallet(lab.chain, account(1), declines=True, code=-32603)
    dialog = ready(page, url, lab, "revoke", wallet)
    press(dialog, SEND["revoke"])
    expect(dialog.get_by_role("alert")).to_contain_text("User rejected the request.")
    assert pressable(dialog) == BUTTONS["revoke", "ask"]


def test_on_a_small_screen_the_outcome_comes_into_view(page: Page, url: str, lab: Lab) -> None:
    """What happened stands at the end of a long dialog, whose buttons cover the lower half of a phone."""
    page.set_viewport_size({"width": 390, "height": 700})
    wallet = Wallet(lab.chain, account(1), declines=True)
    dialog = ready(page, url, lab, "approve", wallet)
    press(dialog, SEND["approve"])
    # Of a text that ends between two pixels, all but a part of one.
    expect(dialog.get_by_role("alert")).to_be_in_viewport(ratio=0.99)
    wallet.declines = False
    press(dialog, SIGN["approve"])
    expect(dialog.locator(".warn")).to_be_in_viewport()


@pytest.mark.parametrize("act", ACTS)
def test_a_stranger_is_stopped_before_anything_is_asked(page: Page, url: str, lab: Lab, act: str) -> None:
    """WE-02: owners are whom the wallet's own node names, not whom the server names."""
    wallet = Wallet(lab.chain, account(9))
    with_wallet(page, wallet)
    page.goto(study_page(url, lab))
    dialog = open_dialog(page, ACTS[act])
    if act == "revoke":
        dialog.get_by_label("Why").fill(REASON)
    expect(dialog.get_by_role("alert")).to_contain_text("None of the accounts that your wallet offers is an")
    assert pressable(dialog) == [KEEP[act]]
    assert wallet.methods <= READS


@pytest.mark.parametrize("way", ["sign", "send"])
@pytest.mark.parametrize("act", ACTS)
def test_a_wallet_that_changes_its_chain_is_stopped(
    page: Page, url: str, lab: Lab, act: str, way: str
) -> None:
    """WE-02, WE-12: after the checks and before the button, it went to another chain, and says so only when
    it is asked."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    wallet.chain_id = "0x1"
    press_sign(dialog, act) if way == "sign" else press(dialog, SEND[act])
    expect(dialog.get_by_role("alert")).to_contain_text("Your wallet is on chain 1; this consortium lives on")
    assert wallet.methods <= READS | {"eth_requestAccounts"}


SLOW = """() => {
  const connecting = new Promise((done) => (window.connect = done));
  const answers = window.ethereum.request;
  window.ethereum.request = async (asked) => {
    if (asked.method === "eth_requestAccounts") await connecting;
    return answers(asked);
  };
}"""
"""The wallet's owner takes until `connect()` to let the page see an account."""


@pytest.mark.parametrize("way", ["sign", "send"])
@pytest.mark.parametrize("act", ACTS)
def test_a_dialog_that_was_closed_asks_nothing_more(
    page: Page, url: str, lab: Lab, act: str, way: str
) -> None:
    """WE-01, WE-02: closed while the wallet still asked for an account; the act of that dialog is over."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    page.evaluate(SLOW)
    press_sign(dialog, act) if way == "sign" else press(dialog, SEND[act])
    press(dialog, KEEP[act])
    expect(page.locator("dialog")).to_have_count(0)
    other = open_dialog(page, ACTS["withdraw"])
    expect(other.get_by_role("button", name=SEND["withdraw"])).to_be_enabled()
    page.evaluate("() => window.connect()")
    # What the first dialog would ask of the wallet comes before what the second asks.
    press(other, SIGN["withdraw"])
    expect(other.get_by_label("Your signature")).to_be_visible()
    assert [one["primaryType"] for one in wallet.signed()] == ["Withdraw"]
    assert wallet.sent() == []
