# SPDX-License-Identifier: Apache-2.0
"""Wallets of every kind at the dialogs of the study page: announced, on another chain, of a Safe, lying.

WE-01, WE-02, WE-03, WE-12, CH-09. hospital-A has proposed; hospital-C is a Safe of three, two of whom sign.
Each test opens one page and presses every button that its states have.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.agents.browsing import ANNOUNCED as ANNOUNCING
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
from tests.agents.test_browser_dialogs import (
    ACTS,
    BUTTONS,
    CONNECT,
    KEEP,
    NETWORK,
    REASON,
    SEND,
    SIGN,
    SLOW,
    call_of,
    press_sign,
)
from tests.agents.test_desk_safes import encoded
from tests.contracts import safes
from tests.local_chain import LocalChain, account, member
from tests.outside import Lab, make_recipe, make_room

from sealroom import typed
from sealroom.model import ApproveStudy
from sealroom_agents.chain.contracts import interface
from sealroom_agents.governance.requests import SignatureFile, signer_of
from sealroom_agents.owner import safe as builder
from sealroom_agents.store import Store

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

SIGNERS = (12, 13, 14)
FILES = {
    "approve": "Approve: get the Safe file",
    "withdraw": "Say no: get the Safe file",
    "revoke": "Get the Safe file: it stops nothing until it is executed",
}
FOR_SAFE = {
    "approve": "Approve: sign 1 message for the Safe",
    "withdraw": "Say no: sign 1 message for the Safe",
    "revoke": "Sign the Safe’s order that somebody else must send",
}
APART, BACK = "I cannot send transactions…", "Back to revoking"
SAFE_BUTTONS: dict[tuple[str, str], list[str]] = {
    ("approve", "ask"): [KEEP["approve"], FOR_SAFE["approve"], FILES["approve"]],
    ("withdraw", "ask"): [KEEP["withdraw"], FOR_SAFE["withdraw"], FILES["withdraw"]],
    ("revoke", "ask"): [KEEP["revoke"], APART, FILES["revoke"]],
    ("revoke", "apart"): [KEEP["revoke"], BACK, FOR_SAFE["revoke"]],
}
"""The same table for an owner of a Safe."""
SUBMIT = ["Not now", "Hand in: send 1 transaction"]
"""And of the dialog that hands in what others signed."""
CONTRACT = interface("Consortium")


@dataclass
class Desk:
    """The room, its proposal, its Safe, and a console."""

    lab: Lab
    safe: safes.Safe
    study: bytes
    url: str = ""

    def open(self, page: Page, wallet: Callable[[str], str], **options: Any) -> None:
        with_wallet(page, wallet, **options)
        page.goto(study_page(self.url, self.lab))

    def dialog(self, page: Page, act: str) -> Locator:
        dialog = open_dialog(page, ACTS[act])
        if act == "revoke":
            dialog.get_by_label("Why").fill(REASON)
        return dialog


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("wallets")
    with LocalChain.start() as chain:
        safe = safes.deploy(chain, safes.V1_4_1).create(SIGNERS, 2)
        accounts = (account(0), account(1), safe.address)
        members = [member(one, f"hospital-{letter}") for one, letter in zip(accounts, "ABC", strict=True)]
        lab = Lab(
            chain=chain,
            room=make_room(chain, members),
            recipe=make_recipe(folder / "study"),
            reader=chain.reader(),
            store=Store(f"sqlite:///{folder / secrets.token_hex(4)}.db"),
        )
        lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
        lab.register()
        yield Desk(lab, safe, lab.propose())


@pytest.fixture
def desk(world: Desk) -> Iterator[Desk]:
    """The room; what is on the chain is afterwards what was there before."""
    with (
        unchanged(world.lab.chain),
        served(world.lab.reader, world.lab.store, world.lab.room.factory) as url,
    ):
        yield Desk(world.lab, world.safe, world.study, url)


def can(dialog: Locator, label: str) -> None:
    expect(dialog.get_by_role("button", name=label, exact=True)).to_be_enabled()


PICTURE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
ANNOUNCED = [
    {"uuid": "b-1", "name": "MetaMask", "rdns": "io.metamask", "icon": PICTURE},
    {"uuid": "a-2", "name": "MetaMask", "rdns": "io.metamask", "icon": "https://evil.example/x.png"},
    {"uuid": "c-3", "name": "Frame\u202e", "rdns": "sh.frame", "icon": PICTURE + "x" * 33_000},
    {"uuid": "b-1", "name": "Thief", "rdns": "io.thief", "icon": PICTURE},
    {"uuid": "d-4", "name": "<b>no id</b>", "rdns": "<b>", "icon": PICTURE},
]


def test_wallets_stand_by_their_ids_and_none_is_taken_by_itself(page: Page, desk: Desk) -> None:
    """EIP-6963: a wallet that says it is another, takes another's number, hides characters or brings a
    picture from elsewhere. Only a choice asks anything of one."""
    wallet = Wallet(desk.lab.chain, account(1))
    desk.open(page, wallet, announced=ANNOUNCED)
    dialog = desk.dialog(page, "revoke")
    expect(dialog.get_by_role("alert")).to_contain_text("Several wallets answered here: choose the one")
    ways = dialog.locator(".way")
    assert [one.split("\n")[0] for one in ways.all_inner_texts()] == [
        "MetaMask io.metamask",
        "MetaMask io.metamask",
        "Frame\\u{202e} sh.frame",
    ]
    assert dialog.get_by_text("Another wallet here has the same id").count() == 2
    assert [one.get_attribute("src") for one in dialog.locator("img").all()] == [PICTURE]
    assert pressable(dialog) == [KEEP["revoke"]] and wallet.asked == []
    ways.nth(2).click()
    can(dialog, SEND["revoke"])
    assert pressable(dialog) == BUTTONS["revoke", "ask"] and wallet.methods <= READS


class Blank(Wallet):
    """On another chain it knows no contract."""

    def __call__(self, raw: str) -> str:
        answer = super().__call__(raw)
        elsewhere = self.chain_id not in (None, "0x7a69") and '"eth_call"' in raw
        return json.dumps({"result": "0x"}) if elsewhere else answer


def test_a_wallet_that_is_elsewhere_or_not_connected_is_asked_for_just_that(page: Page, desk: Desk) -> None:
    wallet = Blank(desk.lab.chain, account(1))
    desk.open(page, wallet)
    for act in ACTS:
        wallet.chain_id, wallet.connected, wallet.asked = "0x1", False, []
        dialog = desk.dialog(page, act)
        can(dialog, NETWORK)
        assert pressable(dialog) == [KEEP[act], NETWORK]
        press(dialog, NETWORK)
        can(dialog, CONNECT)
        assert pressable(dialog) == BUTTONS[act, "unconnected"]
        others = [(method, params) for method, params in wallet.asked if method not in READS]
        assert others == [("wallet_switchEthereumChain", [{"chainId": "0x7a69"}])]
        press(dialog, CONNECT)
        can(dialog, SEND[act])
        assert pressable(dialog) == BUTTONS[act, "ask"]
        assert wallet.methods <= READS | {"wallet_switchEthereumChain", "eth_requestAccounts"}
        press(dialog, KEEP[act])


class Beginner(Wallet):
    """Knows the chain that it is on, and those that it was asked to add."""

    def __call__(self, raw: str) -> str:
        request = json.loads(raw)
        method, params = request["method"], request["params"]
        added = [each[0]["chainId"] for one, each in self.asked if one == "wallet_addEthereumChain"]
        if method == "wallet_switchEthereumChain" and params[0]["chainId"] not in added:
            self.asked.append((method, params))
            return json.dumps({"error": {"code": 4902, "message": "Unrecognized chain ID."}})
        if method == "wallet_addEthereumChain":
            self.asked.append((method, params))
            return json.dumps({"result": None})
        return super().__call__(raw)


def test_a_chain_that_the_wallet_does_not_know_is_added_by_what_the_page_knows_of_it(
    page: Page, desk: Desk
) -> None:
    """WE-02: no node comes from the server; of a chain that it does not know, the page says so. Revoking
    offers to switch as approving does."""
    named = {"chain": "84532"}

    def elsewhere(route: Any) -> None:
        answer = route.fetch()
        text = answer.text().replace('data-chain="31337"', f'data-chain="{named["chain"]}"')
        route.fulfill(response=answer, body=text)

    page.route("**/studies/*", elsewhere)
    wallet = Beginner(desk.lab.chain, account(1))
    desk.open(page, wallet)
    dialog = desk.dialog(page, "revoke")
    switch = "Switch the wallet to Base Sepolia"
    can(dialog, SEND["revoke"])
    assert pressable(dialog) == [KEEP["revoke"], APART, switch, SEND["revoke"]]
    press(dialog, switch)
    expect(dialog.get_by_role("button", name=switch)).to_be_hidden()
    can(dialog, SEND["revoke"])
    assert pressable(dialog) == BUTTONS["revoke", "ask"]
    change = ("wallet_switchEthereumChain", [{"chainId": "0x14a34"}])
    add = {
        "chainId": "0x14a34",
        "chainName": "Base Sepolia",
        "nativeCurrency": {"name": "Ether", "symbol": "ETH", "decimals": 18},
        "rpcUrls": ["https://sepolia.base.org"],
        "blockExplorerUrls": ["https://sepolia.basescan.org"],
    }
    others = [(method, params) for method, params in wallet.asked if method not in READS]
    assert others == [change, ("wallet_addEthereumChain", [add]), change]

    named["chain"], wallet.chain_id, wallet.asked = "777", None, []
    page.reload()
    dialog = desk.dialog(page, "approve")
    press(dialog, "Switch the wallet to chain 777")
    expect(dialog.get_by_role("alert")).to_contain_text("does not know chain 777, nor does this page")
    assert wallet.methods - READS == {"wallet_switchEthereumChain"}


THIEF = """() => {
  window.stolen = [];
  const provider = { request: async (asked) => { window.stolen.push(asked.method); throw new Error("no"); } };
  const info = { uuid: "late-1", name: "Thief", rdns: "io.thief", icon: "" };
  window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: { info, provider } }));
}"""
"""A wallet that announces itself where the only other one does not."""


def test_a_wallet_that_comes_late_takes_no_press(page: Page, desk: Desk) -> None:
    """WE-02: between the checks and the button it is found out; after the button it is asked nothing, and
    nothing can be chosen."""
    two = [{"uuid": f"w-{n}", "name": f"W{n}", "rdns": f"w{n}.example", "icon": ""} for n in (1, 2)]
    wallet = Wallet(desk.lab.chain, account(1))
    desk.open(page, wallet)
    dialog = desk.dialog(page, "approve")
    can(dialog, SEND["approve"])
    page.evaluate(THIEF)
    press(dialog, SEND["approve"])
    expect(dialog.get_by_role("alert")).to_contain_text("Another wallet is chosen now")
    assert wallet.methods <= READS and page.evaluate("stolen") == []

    page.reload()
    dialog = desk.dialog(page, "approve")
    can(dialog, SEND["approve"])
    page.evaluate(SLOW)
    press(dialog, SEND["approve"])
    page.evaluate(THIEF)
    page.evaluate("() => window.connect()")
    expect(page.locator("h1 .pill")).to_have_text("live")
    assert len(wallet.sent()) == 1

    page.add_init_script(ANNOUNCING % json.dumps(two))
    page.reload()
    dialog = desk.dialog(page, "revoke")
    dialog.locator(".way").nth(1).click()
    can(dialog, SEND["revoke"])
    page.evaluate(SLOW)
    press(dialog, SEND["revoke"])
    expect(dialog.locator(".way input").nth(0)).to_be_disabled()
    page.evaluate("() => window.connect()")
    expect(dialog.locator(".news")).to_contain_text("Revoked.")


def test_a_node_that_does_not_say_where_the_chain_stands_proves_no_revocation(page: Page, desk: Desk) -> None:
    """WE-02: the revocation goes out all the same; an old receipt could stand for it, so nobody is told that
    it happened. What is careful does not begin."""

    class Silent(Wallet):
        def __call__(self, raw: str) -> str:
            if '"eth_blockNumber"' in raw:
                return json.dumps({"error": {"code": -32000, "message": "header not found"}})
            return super().__call__(raw)

    wallet = Silent(desk.lab.chain, account(1))
    desk.open(page, wallet)
    dialog = desk.dialog(page, "approve")
    can(dialog, SEND["approve"])
    press(dialog, SEND["approve"])
    expect(dialog.get_by_role("alert")).to_contain_text("header not found")
    assert wallet.sent() == []
    press(dialog, KEEP["approve"])
    dialog = desk.dialog(page, "revoke")
    can(dialog, SEND["revoke"])
    press(dialog, SEND["revoke"])
    expect(dialog.get_by_role("alert")).to_contain_text("did not say before where the chain stood")
    expect(dialog).not_to_contain_text("Revoked.")
    assert desk.lab.chain.state(desk.lab.room).revokers == (account(1),)


def test_a_wallet_that_changes_and_a_page_that_ages_are_looked_at_anew(page: Page, desk: Desk) -> None:
    """An approval needs a page of now; a revocation does not."""
    page.clock.install()
    wallet = Wallet(desk.lab.chain, account(1))
    desk.open(page, wallet)
    dialog = desk.dialog(page, "approve")
    can(dialog, SEND["approve"])
    wallet.account = account(9)
    page.evaluate("walletTells('accountsChanged')")
    expect(dialog.get_by_role("alert")).to_contain_text("None of the accounts that your wallet offers")
    assert pressable(dialog) == [KEEP["approve"]]
    wallet.account, wallet.chain_id = account(1), "0x1"
    page.evaluate("walletTells('chainChanged')")
    expect(dialog.get_by_role("alert")).to_contain_text("Your wallet is on chain 1")
    can(dialog, NETWORK)
    assert pressable(dialog) == BUTTONS["approve", "elsewhere"]
    wallet.chain_id = None
    page.evaluate("walletTells('chainChanged')")
    can(dialog, SEND["approve"])
    page.clock.fast_forward("10:01")
    for button in (SEND["approve"], None):
        if button:
            press(dialog, button)
        expect(dialog.get_by_role("alert")).to_contain_text("drawn more than 10 minutes ago")
        press(dialog, KEEP["approve"])
        dialog = desk.dialog(page, "approve")
    press(dialog, KEEP["approve"])
    assert wallet.methods <= READS
    can(desk.dialog(page, "revoke"), SEND["revoke"])


def test_an_owner_of_a_safe_gets_its_file_or_signs_its_message(
    page: Page, desk: Desk, tmp_path: Path
) -> None:
    """The file holds the dialog's call in words, with the builder's checksum; executed, it is the act. The
    signature is the Safe's by EIP-1271, and the desk reads it."""
    wallet = Wallet(desk.lab.chain, account(SIGNERS[1]))
    desk.open(page, wallet)
    for act in ACTS:
        dialog = desk.dialog(page, act)
        can(dialog, FILES[act])
        expect(dialog.locator(".who")).to_contain_text("hospital-C, the Safe")
        expect(dialog.locator(".who")).to_contain_text("2 of 3 signers")
        assert pressable(dialog) == SAFE_BUTTONS[act, "ask"]
        with page.expect_download() as download:
            press(dialog, FILES[act])
        expect(dialog.locator(".news")).to_contain_text("Nothing is sent.")
        content = json.loads(download.value.path().read_text())
        assert content["meta"]["checksum"] == builder.checksum(content)
        assert content["meta"]["createdFromSafeAddress"].lower() == desk.safe.address
        (transaction,) = content["transactions"]
        assert (transaction["to"].lower(), content["chainId"]) == (desk.lab.room.consortium, "31337")
        assert "0x" + encoded(transaction).hex() == call_of(desk.lab, desk.study, act)
        if act == "revoke":
            press(dialog, APART)
            assert pressable(dialog) == SAFE_BUTTONS[act, "apart"]
        press(dialog, FOR_SAFE[act])
        box = dialog.get_by_label("Your signature")
        expect(box).to_be_visible()
        assert pressable(dialog) == ["Close", "Save the signature"]
        path = tmp_path / f"{act}.json"
        path.write_text(box.input_value())
        signed = SignatureFile.load(path)
        assert (signed.owner, signed.signer) == (desk.safe.address, wallet.account)
        found = signer_of(signed.signature, owner=signed.owner, chain_id=31337, digest=signed.digest)
        assert found == wallet.account
        assert wallet.signed()[-1]["message"] == {"message": "0x" + signed.digest.hex()}
        press(dialog, "Close")
    assert wallet.sent() == []
    desk.safe.execute(desk.lab.room.consortium, encoded(transaction), signers=SIGNERS[:2])
    assert desk.lab.chain.state(desk.lab.room).revokers == (desk.safe.address,)


def test_signatures_are_handed_in_verified_and_sent_in_one_transaction(page: Page, desk: Desk) -> None:
    """hospital-B signs and hands in here; anybody sends. What the server invents or shows twice is left out,
    and names are the node's, or the server's word where there is no wallet (WE-01)."""
    wallet = Wallet(desk.lab.chain, account(1))
    desk.open(page, wallet)
    dialog = desk.dialog(page, "approve")
    press(dialog, SIGN["approve"])
    press(dialog, "Leave it at this console")
    expect(dialog.locator(".news")).to_contain_text("Your signature lies at this console")
    signature = json.loads(dialog.get_by_label("Your signature").input_value())["signature"]
    wallet.account, wallet.asked = account(9), []

    claims = ["that the Safe takes it"]

    def invent(route: Any) -> None:
        answer = route.fetch()
        told = answer.json()
        true = told["signatures"][0]
        safe = {**true, "account": desk.safe.address}
        told["signatures"] = [{**true, "owner": "hospital-Z"}, safe, true]
        if claims:
            told["signatures"].append({**safe, "by": "contract"})
        route.fulfill(response=answer, json=told)

    with opened(page.context.browser) as bare:
        bare.route("**/signatures", invent)
        bare.goto(study_page(desk.url, desk.lab))
        expect(bare.locator("#gathered li").first).to_contain_text("hospital-Z, by the server’s word")
    page.route("**/signatures", invent)
    page.reload()
    expect(page.locator("#gathered")).to_contain_text("its contract takes it, the server says")
    page.get_by_role("button", name="Hand in 2 signatures…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".what")).to_contain_text("does not take the signature that is shown as its own")
    can(dialog, SUBMIT[1])
    dialog.get_by_role("button", name=SUBMIT[0]).click()
    page.locator("#gathered").get_by_role("checkbox").uncheck()
    expect(page.get_by_role("button", name="Hand in 1 signature…")).to_be_enabled()
    claims.clear()
    page.reload()
    gathered = page.locator("#gathered")
    expect(gathered.locator("li").first).to_have_text(
        f"{account(1)} signed, recovered in this page hospital-B, by your wallet’s node"
    )
    expect(gathered).to_contain_text(
        "2 that the server shows are not of this study by an owner, or there twice"
    )
    gathered.get_by_role("button", name="Hand in 1 signature…").click()
    dialog = page.get_by_role("dialog")
    can(dialog, SUBMIT[1])
    expect(dialog.locator(".what")).to_contain_text("hospital-B signed, recovered in this page")
    assert pressable(dialog) == SUBMIT
    press(dialog, SUBMIT[1])
    expect(page.locator("h1 .pill")).to_have_text("live")
    (sent,) = wallet.sent()
    content = desk.lab.chain.study(desk.study)
    by = [(account(1), bytes.fromhex(signature[2:]))]
    assert sent["data"] == "0x" + CONTRACT.encode("approve", content.solidity(), by).hex()
    message = typed.vote(
        ApproveStudy(owner=account(1), study=content), chain_id=31337, consortium=desk.lab.room.consortium
    )
    assert typed.recover(message, by[0][1]) == account(1)
    assert desk.lab.chain.state(desk.lab.room).live


Change = Callable[[dict[str, Any]], None]


def _logs(**fields: Any) -> Change:
    def change(receipt: dict[str, Any]) -> None:
        for log in receipt["logs"]:
            log.update(fields)

    return change


def _topic(place: int, value: str) -> Change:
    def change(receipt: dict[str, Any]) -> None:
        for log in receipt["logs"]:
            log["topics"][place] = value

    return change


ANOTHER = "answered with the receipt of another transaction"
NOT_TOLD = "does not show that this happened"
RECEIPTS: dict[str, tuple[Change, str]] = {
    "another-transaction": (lambda receipt: receipt.update(transactionHash="0x" + "66" * 32), ANOTHER),
    "another-owner": (_topic(1, "0x" + "0" * 24 + account(0)[2:]), NOT_TOLD),
    "another-event": (_topic(0, "0x" + "66" * 32), NOT_TOLD),
    "another-contract": (_logs(address="0x" + "66" * 20), NOT_TOLD),
    "the-mark-of-before": (_logs(data="0x" + "0" * 64), NOT_TOLD),
    "an-older-block": (lambda receipt: receipt.update(blockNumber="0x1"), NOT_TOLD),
    "a-failed-one": (lambda receipt: receipt.update(status="0x0"), "The contract refused the transaction"),
}


def test_the_word_revoked_needs_the_receipt_of_this_very_transaction(page: Page, desk: Desk) -> None:
    """Each lie of a node about the receipt; the word never appears."""

    class Liar(Wallet):
        change: Change = staticmethod(lambda receipt: None)

        def __call__(self, raw: str) -> str:
            answer = json.loads(super().__call__(raw))
            if '"eth_getTransactionReceipt"' in raw and answer.get("result"):
                self.change(answer["result"])
            return json.dumps(answer)

    before = desk.lab.chain.snapshot()
    wallet = Liar(desk.lab.chain, account(1))
    desk.open(page, wallet)
    for change, says in RECEIPTS.values():
        wallet.change = change
        dialog = desk.dialog(page, "revoke")
        can(dialog, SEND["revoke"])
        press(dialog, SEND["revoke"])
        expect(dialog.get_by_role("alert")).to_contain_text(says)
        expect(dialog.locator(".news")).to_contain_text("Not revoked yet.")
        expect(dialog).not_to_contain_text("Revoked.")
        assert pressable(dialog) == ["Close"]
        press(dialog, "Close")
        desk.lab.chain.restore(before)
        before = desk.lab.chain.snapshot()


def test_a_wallet_that_signs_other_bytes_is_found_out(page: Page, desk: Desk) -> None:
    """Asked for a Withdraw it has the account sign a Revoke; asked by one account it signs with another."""

    class Other(Wallet):
        by_another = False

        def __call__(self, raw: str) -> str:
            request = json.loads(raw)
            if request["method"] == "eth_signTypedData_v4":
                data = json.loads(request["params"][1])
                if self.by_another:
                    request["params"][0] = account(2)
                else:
                    data["message"]["owner"] = account(3)
                request["params"][1] = json.dumps(data)
            return super().__call__(json.dumps(request))

    wallet = Other(desk.lab.chain, account(1))
    desk.open(page, wallet)
    for act in ACTS:
        wallet.by_another = act == "withdraw"
        dialog = desk.dialog(page, act)
        can(dialog, SEND[act])
        press_sign(dialog, act)
        expect(dialog.get_by_role("alert")).to_contain_text(
            "The wallet signed something else than this message"
        )
        expect(dialog.get_by_label("Your signature")).to_have_count(0)
        press(dialog, KEEP[act])
