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
from tests.agents.browsing import READS, Wallet, open_dialog, opened, served, study_page, with_wallet
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom import typed
from sealroom.model import ApproveStudy, Revoke, Vote, Withdraw
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.gas import with_room
from sealroom_agents.governance.requests import SignatureFile

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

ACTS = {"approve": "Approve this recipe", "withdraw": "Withdraw", "revoke": "Revoke"}
BUTTONS = {
    "approve": ["Cancel", "Approve: sign only, send nothing", "Approve: send 1 transaction"],
    "withdraw": ["Cancel", "Withdraw: sign only, send nothing", "Withdraw: send 1 transaction"],
    "revoke": ["Cancel", "Sign only: stops nothing yet", "Revoke now: send 1 transaction"],
}
"""Every button of each dialog, in order."""
CANCEL, SIGN, SEND = range(3)
REASON = "Einwilligung zurückgezogen <b>heute</b>"
CONTRACT = interface("Consortium")


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


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
    snapshot = lab.chain.snapshot()
    lab.chain.mine()  # a console shows no chain whose head is old
    (proposal,) = lab.reader.study_history(lab.room.consortium).proposals
    yield proposal.content.id
    longest = lab.chain.block_number()
    lab.chain.restore(snapshot)
    # Nobody follows a chain that has become shorter before it is longer again.
    lab.chain.mine(longest - lab.chain.block_number())


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
        expect(dialog.get_by_role("button", name=BUTTONS[act][SEND])).to_be_disabled()
        dialog.get_by_label("Why").fill(REASON)
    expect(dialog.get_by_role("button", name=BUTTONS[act][SEND])).to_be_enabled()
    expect(dialog.get_by_role("button", name=BUTTONS[act][SIGN])).to_be_enabled()
    return dialog


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
    reads; Cancel asks nothing either."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    assert dialog.get_by_role("button").all_inner_texts() == BUTTONS[act]
    assert page.locator("dialog").count() == 1
    expect(dialog).to_contain_text(CONTRACT.signature(act))
    expect(dialog).to_contain_text(call_of(lab, study, act))
    expect(dialog).to_contain_text(lab.room.consortium)
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("dialog")).to_have_count(0)
    assert wallet.methods <= READS


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
    dialog.get_by_role("button", name=BUTTONS[act][SEND]).click()
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
    dialog.get_by_role("button", name=BUTTONS[act][SIGN]).click()
    signature_box = dialog.get_by_label("Your signature")
    expect(signature_box).to_be_visible()
    assert dialog.get_by_role("button").all_inner_texts() == BUTTONS[act]
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
    dialog.get_by_role("button", name=BUTTONS["revoke"][SIGN]).click()
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
    dialog.get_by_role("button", name=BUTTONS["revoke"][SIGN]).click()
    expect(dialog).to_contain_text("This stops nothing yet")
    assert lab.chain.state(lab.room).revokers == ()


def test_a_handler_refuses_what_is_not_its_own(page: Page, url: str, lab: Lab, study: bytes) -> None:
    """WE-03: whoever built the bytes, the last look takes them only for the dialog's act and content."""
    with_wallet(page, Wallet(lab.chain, account(1)))
    page.goto(study_page(url, lab))
    taken = page.evaluate(
        """(reason) => {
          const wanted = { ...Reading.page(), reason };
          const content = { ...wanted.content, maxRuns: "9" };
          const other = { ...wanted, content, reason: "x", study: "0x" + "6".repeat(64) };
          const there = { ...wanted, consortium: "0x" + "6".repeat(40) };
          const [owner, stranger] = ["0x" + "1".repeat(40), "0x" + "2".repeat(40)];
          const taken = [];
          const attempt = (name, work) => { try { work(); taken.push(name); } catch {} };
          const call = (action, data) => Actions.guardCall(action, wanted, data);
          const message = (action, data) => Actions.guardMessage(action, wanted, owner, data);
          for (const one of ["approve", "withdraw", "revoke"]) {
            const mine = Actions[one];
            for (const two of ["approve", "withdraw", "revoke"]) {
              const given = Actions[two];
              attempt(`call ${two} in ${one}`, () => call(mine, given.data(wanted)));
              attempt(`message ${two} in ${one}`, () => message(mine, given.message(wanted, owner, "2")));
            }
            attempt(`other call in ${one}`, () => call(mine, mine.data(other)));
            attempt(`other message in ${one}`, () => message(mine, mine.message(other, owner, "2")));
            attempt(`message elsewhere in ${one}`, () => message(mine, mine.message(there, owner, "2")));
            attempt(`message of another in ${one}`, () => message(mine, mine.message(wanted, stranger, "2")));
          }
          return taken;
        }""",
        REASON,
    )
    assert taken == [f"{what} {act} in {act}" for act in ACTS for what in ("call", "message")]


def test_revoking_works_while_the_server_lies(browser: Browser, lab: Lab, study: bytes) -> None:
    """Stopping takes the address bar and the wallet's own node: no API, no content, no chain id."""
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:

        def lie(route: Any) -> None:
            answer = route.fetch()
            text = answer.text().replace('data-chain="31337"', 'data-chain="1"').replace("composeHash", "x")
            route.fulfill(response=answer, body=text)

        page.route("**/studies/*", lie)
        page.route("**/v1/**", lambda route: route.abort())
        wallet = Wallet(lab.chain, account(1))
        dialog = ready(page, url, lab, "revoke", wallet)
        dialog.get_by_role("button", name=BUTTONS["revoke"][SEND]).click()
        expect(dialog.locator(".checks")).to_contain_text("Revoked in block")
        assert lab.chain.state(lab.room).revokers == (account(1),)


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
    dialog.get_by_role("button", name=BUTTONS[act][SEND]).click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not show that this happened")
    done = {"approve": "Approved in", "withdraw": "Withdrawn in", "revoke": "Revoked in"}[act]
    expect(dialog).not_to_contain_text(done)


def test_a_declined_signature_sends_nothing(page: Page, url: str, lab: Lab, study: bytes) -> None:
    dialog = ready(page, url, lab, "approve", Wallet(lab.chain, account(1), declines=True))
    dialog.get_by_role("button", name=BUTTONS["approve"][SEND]).click()
    expect(dialog.get_by_role("alert")).to_contain_text("You declined in the wallet. Nothing was sent.")
    assert len(approved(lab, study)) == 2


def test_on_a_small_screen_the_outcome_comes_into_view(page: Page, url: str, lab: Lab) -> None:
    """What happened stands at the end of a long dialog, whose buttons cover the lower half of a phone."""
    page.set_viewport_size({"width": 390, "height": 700})
    wallet = Wallet(lab.chain, account(1), declines=True)
    dialog = ready(page, url, lab, "approve", wallet)
    dialog.get_by_role("button", name=BUTTONS["approve"][SEND]).click()
    # Of a text that ends between two pixels, all but a part of one.
    expect(dialog.get_by_role("alert")).to_be_in_viewport(ratio=0.99)
    dialog.get_by_role("button", name="Cancel").click()
    dialog = open_dialog(page, ACTS["approve"])
    dialog.get_by_role("button", name=BUTTONS["approve"][SIGN]).click()
    expect(dialog.locator(".warn")).to_be_in_viewport()


@pytest.mark.parametrize("way", [SIGN, SEND])
@pytest.mark.parametrize("act", ACTS)
def test_a_stranger_is_stopped_before_anything_is_asked(
    page: Page, url: str, lab: Lab, act: str, way: int
) -> None:
    """WE-02: owners are whom the wallet's own node names, not whom the server names."""
    wallet = Wallet(lab.chain, account(9))
    dialog = ready(page, url, lab, act, wallet)
    dialog.get_by_role("button", name=BUTTONS[act][way]).click()
    expect(dialog.get_by_role("alert")).to_contain_text("None of the accounts that your wallet offers is an")
    assert wallet.methods <= READS | {"eth_requestAccounts"}


@pytest.mark.parametrize("way", [SIGN, SEND])
@pytest.mark.parametrize("act", ACTS)
def test_a_wallet_that_changes_its_chain_is_stopped(
    page: Page, url: str, lab: Lab, act: str, way: int
) -> None:
    """WE-02, WE-12: after the checks and before the button, it went to another chain."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    wallet.chain_id = "0x1"
    dialog.get_by_role("button", name=BUTTONS[act][way]).click()
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


@pytest.mark.parametrize("way", [SIGN, SEND])
@pytest.mark.parametrize("act", ACTS)
def test_a_dialog_that_was_closed_asks_nothing_more(
    page: Page, url: str, lab: Lab, act: str, way: int
) -> None:
    """WE-01, WE-02: closed while the wallet still asked for an account; the act of that dialog is over."""
    wallet = Wallet(lab.chain, account(1))
    dialog = ready(page, url, lab, act, wallet)
    page.evaluate(SLOW)
    dialog.get_by_role("button", name=BUTTONS[act][way]).click()
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("dialog")).to_have_count(0)
    other = open_dialog(page, ACTS["withdraw"])
    expect(other.get_by_role("button", name=BUTTONS["withdraw"][SEND])).to_be_enabled()
    page.evaluate("() => window.connect()")
    # What the first dialog would ask of the wallet comes before what the second asks.
    other.get_by_role("button", name=BUTTONS["withdraw"][SIGN]).click()
    expect(other.get_by_label("Your signature")).to_be_visible()
    assert [one["primaryType"] for one in wallet.signed()] == ["Withdraw"]
    assert wallet.sent() == []
